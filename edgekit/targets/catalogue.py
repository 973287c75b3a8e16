"""Finds targets: those that edgekit carries, by name or alias, and users' own files."""

from __future__ import annotations

import difflib
import functools
from pathlib import Path

from edgekit.errors import UsageError
from edgekit.targets.reading import read_accelerator, read_target
from edgekit.targets.target import Accelerator, Target

_FOLDER = Path(__file__).parent
_MOST_SUGGESTED = 3


def names() -> list[str]:
    """The names of all targets that edgekit carries."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def find(wanted: str) -> Target:
    """A target.

    Args:
        wanted: Its name or alias, with an Android API level where it has one (`android_nnapi@30`),
            or a path of one's own .toml file.

    Raises:
        UsageError: There is none of that name; the message has the nearest ones.
        UnreadableError: The file makes no sense.
    """
    name, _, level = wanted.partition("@")
    if name.endswith(".toml"):
        return read_target(Path(name), _accelerator, _level(wanted, level))
    path = _FOLDER / f"{name}.toml"
    if name not in names():
        aliases = {alias: target.name for target in _all() for alias in target.aliases}
        if name not in aliases:
            raise _unknown(name, [*names(), *aliases])
        path = _FOLDER / f"{aliases[name]}.toml"
    target = read_target(path, _accelerator, _level(wanted, level))
    if level and target.level is None:
        raise UsageError(f"target {wanted}: {target.title} has no levels", f"Leave @{level} out.")
    return target


@functools.cache
def _all() -> tuple[Target, ...]:
    return tuple(read_target(_FOLDER / f"{name}.toml", _accelerator) for name in names())


@functools.cache
def _accelerator(name: str) -> Accelerator:
    path = _FOLDER / "ops" / f"{name}.toml"
    if not path.is_file():
        known = sorted(other.stem for other in (_FOLDER / "ops").glob("*.toml"))
        raise UsageError(f"accelerator {name!r}: not known", f"There are {', '.join(known)}.")
    return read_accelerator(path)


def _level(wanted: str, level: str) -> int | None:
    if not level:
        return None
    if not level.isdecimal():
        raise UsageError(
            f"target {wanted}: {level!r} is no Android API level", "Such as android_nnapi@30."
        )
    return int(level)


def _unknown(name: str, known: list[str]) -> UsageError:
    near = difflib.get_close_matches(name, known, _MOST_SUGGESTED, 0.4)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    return UsageError(
        f"target {name!r}: not known",
        f"{hint}There are {', '.join(names())}; or a .toml file of your own.",
    )
