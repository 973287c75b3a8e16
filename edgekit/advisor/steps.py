"""Runs the commands of a recipe, each in a process of its own, and keeps what came of them.

What a user would type is what runs here: TensorFlow gives its memory back after each step, and any
line can be typed again. A step that wrote a model leaves `MODEL.step.json` beside it; the next run
of the same line on the same photos takes the model from there, so that an interrupted trial goes on
where it was.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edgekit.advisor.recipe import Command
from edgekit.errors import MissingError, RuntimeFailure
from edgekit.files import sha256, write_all

_OURS = "edgekit"
#: Verbs of edgekit that take --force.
_FORCED = frozenset({"train", "qat", "convert"})
#: What a record has beside the model's hash.
_KEPT = frozenset({"command", "photos", "seconds", "result"})


@dataclass(frozen=True)
class Done:
    """A step that was taken.

    Attributes:
        result: What it printed as JSON; empty for other programs than edgekit.
        seconds: How long it took, now or when it was taken.
        kept: Whether it had been taken before.
    """

    result: Mapping[str, Any]
    seconds: float
    kept: bool


class Take(Protocol):
    """Takes one step, as `take` does."""

    def __call__(self, command: Command, photos: str, *, again: bool, force: bool = False) -> Done:
        """See there."""


def require(commands: Iterable[Command]) -> None:
    """Sees that each program is there, before a training of many minutes rather than after it.

    Raises:
        MissingError: One isn't installed.
    """
    for program in {command.arguments[0] for command in commands} - {_OURS}:
        if shutil.which(program) is None:
            raise MissingError(
                f"{program} is not installed here", "`edgekit doctor` says how to get it."
            )


def take(command: Command, photos: str, *, again: bool, force: bool = False) -> Done:
    """Takes one step, unless it was taken before.

    Args:
        command: Of a recipe.
        photos: What tells the photos from others, such as their digest.
        again: Take it again in any case: what it starts from is new.
        force: Likewise, and replace what it writes whoever wrote that.

    Raises:
        MissingError: Something that the command needs isn't installed.
        RuntimeFailure: The command failed; its own words are in the message.
    """
    ours = _record_of(command.writes)
    asked = {"command": command.line, "photos": photos}
    if ours and not (again or force) and all(ours[key] == asked[key] for key in asked):
        return Done(ours["result"], ours["seconds"], kept=True)
    started = time.monotonic()
    result = run(command, replace=force or bool(ours))
    done = Done(result, time.monotonic() - started, kept=False)
    if command.writes is not None:
        if not command.writes.exists():
            raise RuntimeFailure(
                f"{command.verb} ended, and didn't write {command.writes}",
                f"See for yourself: {command.line}",
            )
        _keep(command.writes, {**asked, "seconds": done.seconds, "result": result})
    return done


def run(command: Command, *, replace: bool = False) -> Mapping[str, Any]:
    """Runs a command in a process of its own.

    Args:
        command: Of a recipe.
        replace: Let it replace what it writes.

    Returns:
        What it printed as JSON; empty for other programs than edgekit.

    Raises:
        MissingError: Something that it needs isn't installed.
        RuntimeFailure: It failed; its own words are in the message.
    """
    program, *arguments = command.arguments
    if program == _OURS:
        forced = ["--force"] if replace and command.verb in _FORCED else []
        line = [sys.executable, "-m", "edgekit", *arguments, *forced, "--json"]
    else:
        line = list(command.arguments)
    ended = subprocess.run(line, capture_output=True, text=True, errors="replace", check=False)
    if ended.returncode:
        said = ended.stderr.strip() or ended.stdout.strip()
        if program == _OURS and ended.returncode == MissingError.exit_code:
            message, _, hint = _error(said).partition("\n")
            raise MissingError(message, " ".join(hint.split()) or None)
        raise RuntimeFailure(
            f"{command.verb} ended with exit code {ended.returncode}: "
            f"{' '.join(_error(said).split())}",
            f"See for yourself: {command.line}",
        )
    return json.loads(ended.stdout) if program == _OURS else {}


def _error(said: str) -> str:
    """The error in what a command said: from its last `Error:` on."""
    _, found, error = said.rpartition("Error: ")
    return error if found else said


def _keep(model: Path, record: Mapping[str, Any]) -> None:
    content = json.dumps({**record, "sha256": sha256(model)}, ensure_ascii=False)
    write_all({_place(model): content.encode()})


def _record_of(model: Path | None) -> dict[str, Any] | None:
    """What was kept of a step, if the model is still as that step wrote it."""
    if model is None:
        return None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads(_place(model).read_text("utf-8"))
        if record["sha256"] == sha256(model) and record.keys() >= _KEPT:
            return record
    return None


def _place(model: Path) -> Path:
    return model.with_name(f"{model.name}.step.json")
