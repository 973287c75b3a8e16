"""What kind of model file this is, and whether it is safe to hand to Keras. No TensorFlow here.

Keras says "File not found" of a truncated `.keras` and unpacks whatever a zip claims to hold. So
the archive is checked first: its members' names, sizes and checksums.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

from edgekit.errors import UnreadableError

#: kind -> what to call it in a message.
KINDS = {
    "keras": "a Keras .keras file",
    "h5": "a Keras HDF5 file",
    "savedmodel": "a TensorFlow SavedModel folder",
    "tflite": "a TFLite file",
}

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_KERAS_MEMBERS = ("config.json", "metadata.json", "model.weights.h5")
#: Limits for a .keras archive: no classifier of the zoo comes near them.
_MAX_BYTES = 4 << 30
_MAX_CONFIG_BYTES = 64 << 20
_MAX_MEMBERS = 1000

_PLAIN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

_READABLE = "edgekit reads .keras, .h5, a SavedModel folder, and float .tflite files."


def kind_of(path: Path) -> str:
    """Tells what a model file is by its content, whatever its name says.

    Returns:
        A key of `KINDS`.

    Raises:
        UnreadableError: It is missing, empty, or none of these.
    """
    try:
        if path.is_dir():
            if (path / "saved_model.pb").is_file():
                return "savedmodel"
            raise UnreadableError(
                f"{path}: a folder, but no SavedModel (it holds no saved_model.pb)", _READABLE
            )
        if path.exists() and not path.is_file():
            raise UnreadableError(f"{path}: neither a file nor a folder", _READABLE)
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}", _READABLE) from error
    if not head:
        raise UnreadableError(f"{path}: the file is empty", _READABLE)
    if head.startswith(b"PK"):
        return "keras"
    if head.startswith(_HDF5_SIGNATURE):
        return "h5"
    if head[4:8] == b"TFL3":
        return "tflite"
    if path.name == "saved_model.pb":
        raise UnreadableError(
            f"{path}: one file of a SavedModel", f"Give its folder: {path.parent}"
        )
    raise UnreadableError(
        f"{path}: not a model file: its content is neither Keras (.keras, .h5) nor TFLite",
        f"The file is damaged or misnamed. {_READABLE}",
    )


def check_keras_archive(path: Path) -> dict[str, Any]:
    """Checks a `.keras` file before Keras sees it.

    Returns:
        Its `config.json`, parsed.

    Raises:
        UnreadableError: It is truncated or damaged, lacks a member, has a member whose name leaves
            the archive, or claims absurd sizes.
    """
    damaged = "The file is damaged: save or copy it again."
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(path, members)
            for member in members:
                with archive.open(member) as file:  # reading to the end checks the CRC
                    while file.read(1 << 20):
                        pass
            config = json.loads(archive.read("config.json"))
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        OSError,
        ValueError,
        RuntimeError,
        NotImplementedError,
        RecursionError,
    ) as error:
        raise UnreadableError(f"{path}: not a sound .keras file ({error})", damaged) from error
    if not isinstance(config, dict):
        raise UnreadableError(f"{path}: its config.json describes no model", damaged)
    return config


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    if len(members) > _MAX_MEMBERS or len(set(names)) != len(names):
        raise UnreadableError(
            f"{path}: a zip of {len(members)} members, or with the same name twice",
            "No honest .keras file is; don't use this file.",
        )
    missing = [name for name in _KERAS_MEMBERS if name not in names]
    if missing:
        raise UnreadableError(
            f"{path}: a zip, but no .keras file (it lacks {', '.join(missing)})",
            "Save the model with model.save('m.keras').",
        )
    total = 0
    for member in members:
        _check_member(path, member)
        total += member.file_size
    if total > _MAX_BYTES:
        raise UnreadableError(
            f"{path}: claims {total:,} bytes unpacked", "No honest .keras file does; don't use it."
        )


def _check_member(path: Path, member: zipfile.ZipInfo) -> None:
    parts = Path(member.filename.replace("\\", "/")).parts
    if member.filename.startswith(("/", "\\")) or ".." in parts or ":" in member.filename:
        raise UnreadableError(
            f"{path}: member {member.filename!r} would be written outside its folder",
            "No honest .keras file has such a member; don't use this file.",
        )
    if member.compress_type not in _PLAIN_METHODS:
        raise UnreadableError(
            f"{path}: member {member.filename!r} is compressed in a way that Keras doesn't use",
            "Save the model again with model.save('m.keras').",
        )
    limit = _MAX_CONFIG_BYTES if member.filename.endswith(".json") else _MAX_BYTES
    if member.file_size > limit or member.file_size > 1000 * max(member.compress_size, 1024):
        raise UnreadableError(
            f"{path}: member {member.filename!r} claims {member.file_size:,} bytes from "
            f"{member.compress_size:,}",
            "No honest .keras file does; don't use this file.",
        )
