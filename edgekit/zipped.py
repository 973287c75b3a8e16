"""Zip files: that behind a flatbuffer, in which TFLite metadata keeps its files, and our own.

Nothing is ever unpacked to the disk, and members are read by their exact names only, so that a name
such as `../x` means nothing.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping

from edgekit.errors import UnreadableError

#: No label file or contract comes near this; a zip bomb does.
_MOST_BYTES = 4 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX, _REGULAR_FILE_RW_R_R = 3, 0o100644 << 16
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)


def listing(data: bytes) -> tuple[tuple[str, int], ...]:
    """(name, bytes) of each file in the zip; none where there is no zip."""
    archive = _open(data)
    if archive is None:
        return ()
    with archive:
        return tuple((info.filename, info.file_size) for info in archive.infolist())


def start(data: bytes) -> int:
    """Where the zip begins: the size of what stands before it, all of it where there is no zip."""
    archive = _open(data)
    if archive is None:
        return len(data)
    with archive:
        return min((info.header_offset for info in archive.infolist()), default=len(data))


def member(data: bytes, name: str, where: str, most: int = _MOST_BYTES) -> bytes | None:
    """The content of one file in the zip, or None where it isn't there.

    Args:
        data: The zip, or a file with a zip at its end.
        name: The file's exact name.
        where: What the zip is called, for errors.
        most: Bytes that are read at most.

    Raises:
        UnreadableError: It is there, but damaged, encrypted or larger than `most`.
    """
    archive = _open(data)
    if archive is None:
        return None
    with archive:
        try:
            info = archive.getinfo(name)
        except KeyError:
            return None
        try:
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"compression method {info.compress_type}")
            with archive.open(info) as file:
                # The size in the directory may lie: read no further than the limit.
                content = file.read(most + 1)
        except _DAMAGE as error:
            raise UnreadableError(
                f"{where}: {name!r:.80} in its zip can't be read ({error})",
                "The file is damaged; get or convert it again.",
            ) from error
    if len(content) > most:
        raise UnreadableError(f"{where}: {name!r:.80} in its zip takes more than {most >> 20} MiB")
    return content


def append(model: bytes, files: Mapping[str, bytes]) -> bytes:
    """The model with a zip behind it: uncompressed, which is all that the C++ readers of TFLite
    metadata know, with offsets from the start of the whole file, as unzip expects them.

    Same files, same bytes.

    Args:
        model: The bytes of the model; none for a zip of its own.
        files: What goes into the zip, by name.
    """
    whole = io.BytesIO(model)
    whole.seek(0, io.SEEK_END)
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system, info.external_attr = _UNIX, _REGULAR_FILE_RW_R_R
            archive.writestr(info, content)
    return whole.getvalue()


def _open(data: bytes) -> zipfile.ZipFile | None:
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except _DAMAGE:
        return None
