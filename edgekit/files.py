"""Writing files so that nothing is lost and nothing half-written is left behind."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from edgekit.errors import RuntimeFailure, UsageError


def refuse_overwrite(*paths: Path, force: bool, source: Path | None = None) -> None:
    """Checks that outputs may be written, before any work is done.

    Args:
        paths: The files to write.
        force: Whether existing files may be replaced.
        source: What they are made from, which is never replaced.

    Raises:
        UsageError: One of the files exists and `force` is not set, it is the source, or its folder
            is missing.
        RuntimeFailure: Nothing can be written there.
    """
    for path in paths:
        try:
            _refuse_overwrite(path, force, source)
        except OSError as error:  # a name that is too long, a folder that can't be entered
            raise UsageError(
                f"{path}: can't be written ({error.strerror or error})",
                "Choose another place with -o.",
            ) from error


def _refuse_overwrite(path: Path, force: bool, source: Path | None) -> None:
    if path.is_dir():
        raise UsageError(f"{path}: is a folder", "Name a file with -o.")
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise UsageError(
            f"{path}: is the file that is read, and would be replaced by what is made from it",
            "Name another file with -o.",
        )
    if path.exists() and not force:
        raise UsageError(f"{path}: exists already", "Use --force to replace it.")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: its folder doesn't exist", f"Create it: mkdir -p {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise RuntimeFailure(
            f"{path}: its folder can't be written to", "Choose another place with -o."
        )


def write_all(contents: dict[Path, bytes]) -> None:
    """Writes several files; all appear under their final names, or none does.

    Each is written to a temporary file in its own folder, flushed to the disk, and renamed.

    Raises:
        RuntimeFailure: The disk is full, or a file can't be written there.
    """
    with contextlib.ExitStack() as stack:
        temporaries = {path: stack.enter_context(_temporary_beside(path)) for path in contents}
        path, fresh = next(iter(contents)), [path for path in contents if not path.exists()]
        written: list[Path] = []
        try:
            for path, data in contents.items():
                _write_and_flush(temporaries[path], data)
            for path, temporary in temporaries.items():
                temporary.replace(path)
                written.append(path)
        except BaseException as error:
            # Renaming fails only where someone made a folder of that name since; or Ctrl-C.
            for done in written:
                if done in fresh:
                    done.unlink(missing_ok=True)
            if not isinstance(error, OSError):
                raise
            raise RuntimeFailure(
                f"{path}: could not be written ({error.strerror or error})",
                "Nothing was left behind. Free some space or choose another place with -o.",
            ) from error


def sha256(path: Path) -> str:
    """The SHA-256 of a file, or of all files below a folder (names included), in hexadecimal."""
    digest = hashlib.sha256()
    if path.is_dir():
        for entry in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{entry.relative_to(path).as_posix()}\0{sha256(entry)}\0".encode())
        return digest.hexdigest()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _write_and_flush(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    """A name in the same folder, so that the rename can't cross file systems."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
