"""What edgekit asks of Python packages, read from its own metadata: setup.cfg is the one place."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Iterator
from typing import Any

from edgekit.doctor.facts import Conflict, Need, Packages

#: The extras that are for users.
EXTRAS = ("convert", "train", "weights", "keras2", "tfmot")

#: Packages that rules ask for by name, beside those that edgekit's metadata names.
_BY_NAME = (
    *("edgekit", "ai-edge-litert", "tflite-runtime", "tensorflow", "keras", "tf-keras", "numpy"),
    *("litert-quantizer", "tensorflow-model-optimization", "pip"),
    *("opencv-python", "opencv-python-headless"),
    *("opencv-contrib-python", "opencv-contrib-python-headless"),
)
#: OpenCV's wheels are one package under four names: each has the module cv2.
OPENCVS = tuple(name for name in _BY_NAME if name.startswith("opencv-"))


def read(distribution: str = "edgekit") -> Packages:
    """Reads what a distribution asks for and what of it is installed; imports none of it."""
    installed = tuple(
        (name, version) for name in _BY_NAME if (version := installed_version(name)) is not None
    )
    try:
        requirement, specifiers = _packaging()
        metadata = importlib.metadata.metadata(distribution)
        # Only for its `requires`: a plain `edgekit` has all extras in one list.
        requirements = [
            requirement(line) for line in importlib.metadata.requires(distribution) or ()
        ]
    except importlib.metadata.PackageNotFoundError:
        unread = f"{distribution} runs from a folder and is not installed"
        return Packages(None, unread, installed=installed)
    except ImportError:
        return Packages(None, "neither pip nor packaging is installed", installed=installed)
    # Not platform's, which has a `+` at the end where Python was built from its repository.
    version = ".".join(map(str, sys.version_info[:3]))
    python = (metadata.get_all("Requires-Python") or [""])[0]
    needs = tuple(_needs(distribution, requirements))
    names = dict.fromkeys([*(name for name, _ in installed), *(need.name for need in needs)])
    return Packages(
        needs=needs,
        requires_python=python,
        python_fits=specifiers(python).contains(version),
        installed=installed,
        conflicts=tuple(_conflicts([n for n in names if n != distribution], requirement)),
    )


def installed_version(name: str) -> str | None:
    """The version of a distribution, or None where it isn't installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _packaging() -> tuple[Any, Any]:
    """Requirement and SpecifierSet, of `packaging` or of the copy that pip carries."""
    for root in ("packaging", "pip._vendor.packaging"):
        try:
            requirements = importlib.import_module(f"{root}.requirements")
            specifiers = importlib.import_module(f"{root}.specifiers")
        except ImportError:
            continue
        return requirements.Requirement, specifiers.SpecifierSet
    raise ImportError("packaging")


def _needs(distribution: str, requirements: list[Any]) -> Iterator[Need]:
    seen = set()
    for extra in ("", *EXTRAS):
        for wanted in requirements:
            inside = extra == "" or not _holds(wanted, "")
            # An extra that takes in another one is listed by what is its own.
            own = wanted.name != distribution and (wanted.name, extra) not in seen
            if not (inside and own and _holds(wanted, extra)):
                continue
            seen.add((wanted.name, extra))
            version = installed_version(wanted.name)
            yield Need(wanted.name, _words(wanted), extra, version, _fits(wanted, version))


def _holds(requirement: Any, extra: str) -> bool:
    return requirement.marker is None or bool(requirement.marker.evaluate({"extra": extra}))


def _conflicts(names: list[str], requirement: Any) -> Iterator[Conflict]:
    """What those packages ask for and don't get, as `pip check` says it of all packages."""
    for name in names:
        if (version := installed_version(name)) is None:
            continue
        for line in importlib.metadata.requires(name) or ():
            try:
                wanted = requirement(line)
            except ValueError:  # metadata of another age
                continue
            there = installed_version(wanted.name)
            if _holds(wanted, "") and not _fits(wanted, there):
                yield Conflict(f"{name} {version}", wanted.name + _words(wanted), there)


def _fits(requirement: Any, version: str | None) -> bool:
    return version is not None and bool(requirement.specifier.contains(version, prereleases=True))


def _words(requirement: Any) -> str:
    """Its versions, the lower bound first."""
    return ",".join(sorted(str(requirement.specifier).split(","), reverse=True))
