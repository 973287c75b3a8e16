"""Writes a bundle: whole or not at all, and never over somebody's work.

A bundle holds a list of its files and their hashes. So `--force` can bring a folder up to date: it
replaces what is ours and unchanged, leaves what the user added, and refuses where the user changed
what is ours.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import RuntimeFailure, UsageError
from edgekit.files import write_all
from edgekit.version import __version__

MANIFEST = ".edgekit-bundle.json"
_SCHEMA_VERSION = 1
_MOST_NAMED = 3


@dataclass(frozen=True)
class File:
    """A file of a bundle.

    Attributes:
        content: Its bytes.
        executable: Whether it is a program.
    """

    content: bytes
    executable: bool = False


def check(output: Path, *, force: bool) -> None:
    """Checks that a bundle may be written there, before any work is done.

    Raises:
        UsageError: Something is there that isn't ours to replace.
    """
    if not output.parent.is_dir():
        raise UsageError(
            f"{output}: its folder doesn't exist", f"Create it: mkdir -p {output.parent}"
        )
    if output.is_dir() and not any(output.iterdir()):
        return
    if not output.exists():
        return
    listed = _listed(output)
    if listed is None:
        raise UsageError(
            f"{output}: exists and is no bundle of edgekit", "Name another folder with -o."
        )
    if not force:
        raise UsageError(
            f"{output}: exists already",
            "--force brings it up to date; files that you added stay.",
        )
    changed = [name for name, digest in listed.items() if _differs(output / name, digest)]
    if changed:
        names = ", ".join(changed[:_MOST_NAMED]) + (" ..." if len(changed) > _MOST_NAMED else "")
        raise UsageError(
            f"{output}: {len(changed)} file(s) were changed since: {names}",
            "They would be lost. Name another folder with -o, or move them away.",
        )


def write(output: Path, files: Mapping[str, File]) -> None:
    """Writes a bundle where `check` allowed it.

    Args:
        output: The folder.
        files: Relative path -> file.

    Raises:
        RuntimeFailure: The disk is full, or forbids it.
    """
    listed = {name: hashlib.sha256(file.content).hexdigest() for name, file in files.items()}
    values = {"schema": _SCHEMA_VERSION, "edgekit": __version__, "files": listed}
    manifest = File((json.dumps(values, indent=1, sort_keys=True) + "\n").encode())
    whole = {**files, MANIFEST: manifest}
    try:
        if _listed(output) is None:
            _write_new(output, whole)
        else:
            _update(output, whole)
    except OSError as error:
        raise RuntimeFailure(
            f"{output}: could not be written ({error.strerror or error})",
            "Free some space or choose another place with -o.",
        ) from error


def _write_new(output: Path, files: Mapping[str, File]) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as work:
        made = Path(work) / "made"
        made.mkdir()
        for name, file in files.items():
            path = made / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
            path.chmod(0o755 if file.executable else 0o644)
        made.replace(output)


def _update(output: Path, files: Mapping[str, File]) -> None:
    before = _listed(output) or {}
    for name in files:
        (output / name).parent.mkdir(parents=True, exist_ok=True)
    write_all({output / name: file.content for name, file in files.items()})
    for name, file in files.items():
        (output / name).chmod(0o755 if file.executable else 0o644)
    for name in before.keys() - files.keys():
        path = output / name
        path.unlink(missing_ok=True)
        for folder in path.relative_to(output).parents:
            if any((output / folder).iterdir()):
                break
            shutil.rmtree(output / folder)


def _listed(output: Path) -> dict[str, str] | None:
    """File -> hash, as they were written; None where the folder is no bundle."""
    try:
        values = json.loads((output / MANIFEST).read_bytes())
        files = {str(name): str(digest) for name, digest in values["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    inside = all(not Path(name).is_absolute() and ".." not in Path(name).parts for name in files)
    return files if inside else None


def _differs(path: Path, digest: str) -> bool:
    """Whether a file is there and isn't the one that was written."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != digest
