"""The user's folders for edgekit (XDG base directories)."""

from __future__ import annotations

import os
from pathlib import Path

from edgekit.errors import MissingError


def cache() -> Path:
    """What can be made again: `${XDG_CACHE_HOME:-~/.cache}/edgekit`.

    Raises:
        MissingError: The user has no home folder.
    """
    return _folder("XDG_CACHE_HOME", ".cache")


def data() -> Path:
    """What can't be made again: `${XDG_DATA_HOME:-~/.local/share}/edgekit`.

    Raises:
        MissingError: The user has no home folder.
    """
    return _folder("XDG_DATA_HOME", ".local/share")


def _folder(variable: str, at_home: str) -> Path:
    told = os.environ.get(variable)
    if told:
        return Path(told) / "edgekit"
    try:
        return Path.home() / at_home / "edgekit"
    except RuntimeError as error:
        raise MissingError(
            "this user has no home folder", f"Say where: export {variable}=/tmp"
        ) from error
