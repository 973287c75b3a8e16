"""What several tests use and is dear to make, made once and kept between runs below build/tests/.

An artefact is a folder. It is made anew when anything changes that goes into it: the product's
source, the versions of the packages that make models, the code of the maker with the module it is
in, or what is given as `of`. Tests get a copy, so that what one writes beside a model is not there
for the next.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import importlib.metadata
import inspect
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import processor_time

_TESTS = Path(__file__).resolve().parent
_ROOT = _TESTS.parent
_KEPT = _ROOT / "build" / "tests"
_SECONDS_KEPT = 3 * 24 * 3600
_PACKAGES = (
    *("tensorflow", "keras", "tf-keras", "tensorflow-model-optimization", "ai-edge-litert"),
    *("litert-quantizer", "numpy", "h5py", "opencv-python"),
)


def copy_of(
    name: str,
    folder: Path,
    make: Callable[[Path], object],
    *,
    of: str = "",
    product: bool = True,
) -> Path:
    """Copies an artefact, after making it where it isn't there yet.

    Args:
        name: Its name, for whoever looks into build/tests/.
        folder: Where the copy goes; it must not exist.
        make: Writes the artefact into the folder it is given.
        of: What else it depends on.
        product: Whether edgekit makes it. False: it doesn't change with edgekit's source.

    Returns:
        `folder`.
    """
    kept = _KEPT / f"{name}-{_key(make, of, product)}"
    _KEPT.mkdir(parents=True, exist_ok=True)
    # Two test processes may want it at the same time.
    with (_KEPT / f".{name}.lock").open("w") as lock, processor_time.apart(name):
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.is_dir():
            with tempfile.TemporaryDirectory(dir=_KEPT, prefix=f".{name}-") as work:
                made = Path(work) / "made"
                made.mkdir()
                make(made)
                made.rename(kept)
        os.utime(kept)
    return Path(shutil.copytree(kept, folder))


def remove_old() -> None:
    """Removes what no run used for three days."""
    for path in _KEPT.glob("*-*"):
        if path.is_dir() and time.time() - path.stat().st_mtime > _SECONDS_KEPT:
            shutil.rmtree(path, ignore_errors=True)


def _key(make: Callable[[Path], object], of: str, product: bool) -> str:
    digest = hashlib.sha256(f"{sys.version}\0{of}\0{inspect.getsource(make)}".encode())
    module = Path(inspect.getsourcefile(make) or "")
    digest.update(module.read_bytes())
    digest.update(_versions().encode())
    if product:
        digest.update(_source().encode())
    return digest.hexdigest()[:16]


@functools.cache
def _versions() -> str:
    return " ".join(_version(package) for package in _PACKAGES)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "-"


@functools.cache
def _source() -> str:
    """The digest of all that the product consists of, and of what the tests share."""
    digest = hashlib.sha256()
    for path in _files():
        digest.update(f"{path.relative_to(_ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _files() -> Iterator[Path]:
    for folder in ("edgekit", "converters"):
        for path in sorted((_ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".toml", ".csv", ".txt"):
                yield path
    yield _TESTS / "conftest.py"
    yield from sorted(_TESTS.glob("*_support.py"))
