"""Where decoded pictures and features are kept between runs, and how much of them."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from edgekit import folders

#: What all features together may take, in bytes; the oldest go first.
FEATURES_LIMIT = 8 * 2**30


def folder() -> Path:
    """EDGEKIT_CACHE, or `edgekit` in the user's cache folder (XDG base directories)."""
    told = os.environ.get("EDGEKIT_CACHE")
    if told:
        return Path(told)
    return folders.cache()


def pictures() -> Path:
    """Where decoded pictures are kept."""
    return folder() / "pictures"


def features() -> Path:
    """Where the outputs of frozen backbones are kept."""
    return folder() / "features"


def prune(root: Path, limit: int, keep: Path) -> None:
    """Removes the folders in `root` that were not used for longest, until the rest fits.

    Args:
        root: A folder of folders.
        limit: In bytes.
        keep: One that is in use and stays.
    """
    found = []
    for entry in root.iterdir():
        with contextlib.suppress(OSError):  # another process removes it too
            size = sum(file.stat().st_size for file in entry.rglob("*") if file.is_file())
            found.append((entry.stat().st_mtime, size, entry))
    total = sum(size for _, size, _ in found)
    for _, size, entry in sorted(found, key=lambda item: item[0]):
        if total <= limit:
            return
        if entry != keep:
            shutil.rmtree(entry, ignore_errors=True)
            total -= size
