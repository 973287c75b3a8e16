"""Pictures decoded once and kept on the disk, so that later epochs only read them.

A file a picture, named by the SHA-256 of the original and the settings it was made with: equal
names mean equal contents, so several data sets and processes may share a folder. A file appears
under its name when it is whole (written beside, then renamed), so a kill at any moment leaves a
usable store. Reading maps the file into memory; the system's cache keeps what fits.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import secrets
import shutil
import struct
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from edgekit import images
from edgekit.contract import Contract
from edgekit.datasets import Example
from edgekit.errors import RuntimeFailure, UnreadableError

#: How much larger than the contract's own crop a kept picture is, so that a random crop of 3/4 of
#: the area still has a pixel for each of the model's.
MARGIN = 1.15
#: A picture is made smaller if it is larger than needed by this factor; else it costs more time
#: and sharpness than it saves.
_WORTH_SHRINKING = 1.5

#: The most that a store takes, in bytes, unless told otherwise.
DEFAULT_LIMIT = 8 * 2**30
#: The share of the free disk that a store takes at most.
_FREE_SHARE = 0.5
#: A temporary file as old as this was left by a process that was killed, in seconds.
_ABANDONED_AFTER = 3600.0

#: Magic, height, width, CRC-32 of the pixels.
_HEADER = struct.Struct("<8sIII")
_MAGIC = b"edgekit1"


class PictureStore:
    """The pictures of some examples, decoded, each made when it is first asked for.

    Whatever is on the disk, the pictures are the same, byte for byte: what doesn't fit in `limit`
    is made anew each time. May be used from several threads.

    Args:
        folder: Where the pictures are kept, made if it is missing; None to keep nothing.
        examples: The pictures; an index counts in these.
        contract: Its size, `fit`, `crop_fraction` and `interpolation` decide what is kept.
        limit: The most bytes that this folder may hold. At most half of what is free on the disk
            is taken in any case.

    Raises:
        RuntimeFailure: The folder can't be made or looked into.
    """

    def __init__(
        self,
        folder: Path | None,
        examples: Sequence[Example],
        contract: Contract,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        self.examples = tuple(examples)
        self.contract = contract
        self._short_side = short_side(contract)
        self._shelves = {
            "picture": f"short-{self._short_side}",
            "fitted": "fitted-" + "-".join(map(str, _settings(contract))),
        }
        self._folder = folder
        self._verified: set[Path] = set()
        self._lock = threading.Lock()
        self._left = 0
        if folder is not None:
            self._left = self._prepare(folder, limit)

    def picture(self, index: int) -> images.Picture:
        """A picture to augment: made smaller where it is much larger than the model needs.

        Returns:
            uint8[H, W, 3], RGB, not to be written to. Its short side is less than 1.5 times
            `short_side(contract)`.

        Raises:
            UnreadableError: The file can't be read any more, or was changed since `open_splits`.
        """
        return self._get("picture", index, lambda original: _shrunk(original, self._short_side))

    def fitted(self, index: int) -> images.Picture:
        """The evaluation picture: exactly `images.load` of the file.

        Returns:
            uint8[height, width, 3], RGB, not to be written to.

        Raises:
            UnreadableError: As `picture`.
        """
        return self._get("fitted", index, lambda original: images.fit(original, self.contract))

    def serves(self, examples: Sequence[Example], contract: Contract) -> bool:
        """Whether these are its examples, fitted as this contract fits them."""
        return self.examples == tuple(examples) and _settings(self.contract) == _settings(contract)

    def _get(
        self, kind: str, index: int, make: Callable[[images.Picture], images.Picture]
    ) -> images.Picture:
        example = self.examples[index]
        if self._folder is None:
            return make(_decoded(example))
        path = self._folder / self._shelves[kind] / example.digest[:2] / example.digest
        kept = self._read(path)
        if kept is None:
            kept = make(_decoded(example))
            self._keep(path, kept)
        return kept

    def _read(self, path: Path) -> images.Picture | None:
        """The picture kept in a file, or None where there is none, or none that is whole."""
        try:
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # missing, or empty
            return None
        if len(mapped) < _HEADER.size:
            return None
        magic, height, width, checksum = _HEADER.unpack_from(mapped)
        if magic != _MAGIC or len(mapped) != _HEADER.size + height * width * 3:
            return None
        pixels = np.frombuffer(mapped, np.uint8, offset=_HEADER.size)
        # A rename may outlive a power cut that the contents don't: look once at each file.
        if path not in self._verified:
            if zlib.crc32(pixels.data) != checksum:
                return None
            self._verified.add(path)
        return pixels.reshape(height, width, 3)

    def _keep(self, path: Path, picture: images.Picture) -> None:
        """Writes a picture if there is room; a disk that is full only costs time."""
        pixels = np.ascontiguousarray(picture)
        size = _HEADER.size + pixels.nbytes
        with self._lock:
            if size > self._left:
                return
            self._left -= size
        header = _HEADER.pack(_MAGIC, *pixels.shape[:2], zlib.crc32(pixels.data))
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                file.write(header)
                file.write(pixels.data)
            temporary.replace(path)
            self._verified.add(path)
        except OSError:
            with self._lock:
                self._left = 0  # no room, or no right to write: don't try again
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _prepare(self, folder: Path, limit: int) -> int:
        """Makes the folder, sweeps out what killed processes left, and says how much fits in."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            used = 0
            for file in folder.rglob("*"):
                with contextlib.suppress(FileNotFoundError):  # another process renamed it
                    status = file.stat()
                    abandoned = time.time() - status.st_mtime > _ABANDONED_AFTER
                    if file.suffix == ".part" and abandoned:
                        file.unlink()
                    elif file.is_file():
                        used += status.st_size
            free = shutil.disk_usage(folder).free
        except OSError as error:
            raise RuntimeFailure(
                f"{folder}: can't be used to keep pictures ({error.strerror or error})",
                "Choose another place, or free some space.",
            ) from error
        return max(0, min(limit - used, int(free * _FREE_SHARE)))


def short_side(contract: Contract) -> int:
    """The short side of a picture that is kept to be augmented, in pixels."""
    return round(max(contract.height, contract.width) * MARGIN / contract.crop_fraction)


def _decoded(example: Example) -> images.Picture:
    data = images.read_file(example.path)
    if hashlib.sha256(data).hexdigest() != example.digest:
        raise UnreadableError(
            f"{example.path}: was changed since training began",
            "Start the command again, so that the pictures are checked and split anew.",
        )
    return images.decode_bytes(data, str(example.path))


def _shrunk(picture: images.Picture, short: int) -> images.Picture:
    height, width = picture.shape[:2]
    scale = short / min(height, width)
    if scale * _WORTH_SHRINKING >= 1:
        return picture
    size = (max(short, round(width * scale)), max(short, round(height * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _settings(contract: Contract) -> list[object]:
    """All of a contract that `images.fit` looks at."""
    return [
        contract.height,
        contract.width,
        contract.fit,
        contract.crop_fraction,
        contract.interpolation,
    ]
