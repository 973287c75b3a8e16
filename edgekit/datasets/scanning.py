"""Reading every file of a set once: its hash, and whether it can be decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edgekit import images
from edgekit.cpus import usable_cpus
from edgekit.datasets.loading import Progress
from edgekit.errors import UnreadableError


@dataclass(frozen=True)
class Scan:
    """What reading the files gave.

    Attributes:
        digests: SHA-256 of the bytes of each file that can be decoded, in hexadecimal.
        broken: (path, reason) of the others, in the order they were given.
    """

    digests: dict[Path, str]
    broken: tuple[tuple[Path, str], ...]


def scan(paths: Sequence[Path], progress: Progress | None = None) -> Scan:
    """Reads and decodes each file once, on all cores; no picture is kept in memory."""
    digests: dict[Path, str] = {}
    broken = []
    with ThreadPoolExecutor(usable_cpus()) as pool:
        for done, (path, result) in enumerate(zip(paths, pool.map(_read, paths), strict=True), 1):
            if isinstance(result, UnreadableError):
                broken.append((path, result.message.removeprefix(f"{path}: ")))
            else:
                digests[path] = result
            if progress is not None:
                progress(done, len(paths))
    return Scan(digests, tuple(broken))


def _read(path: Path) -> str | UnreadableError:
    try:
        data = images.read_file(path)
        images.decode_bytes(data, str(path))
    except UnreadableError as error:
        return error
    return hashlib.sha256(data).hexdigest()
