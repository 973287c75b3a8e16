"""What every road to a device shares: run a POSIX sh script there, and know that it really ended.

A transport only has to say which command on this machine runs a script on that one, and why it
failed when no answer came. Neither ssh's exit code nor adb's can tell a script that failed from a
line that was cut (and old adbs report no exit code at all), so each script's output is framed by
two lines with a random mark, the last one carrying its exit code. No last line means: cut. The
first one also drops what a talkative login file prints.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shlex
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgekit.errors import EdgekitError, RuntimeFailure, UsageError

#: A script that waits for something sends a line every second; so much silence is a dead line.
SILENCE_S = 30.0
#: How long a script that is under way may take to end when the user presses Ctrl-C.
_PATIENCE_S = 5.0

quote = shlex.quote


def command_in(variable: str, usual: str) -> list[str]:
    """The words of a command that a variable of the environment may replace.

    Args:
        variable: Its name.
        usual: The command where it is unset or empty.

    Raises:
        UsageError: What it says is no command.
    """
    told = os.environ.get(variable) or usual
    try:
        words = shlex.split(told)
    except ValueError as error:
        raise UsageError(f"{variable}={told}: {str(error).lower()}") from error
    if not words:
        raise UsageError(f"{variable} is blank", f"Let it name a command, or: unset {variable}")
    return words


class ConnectionLost(RuntimeFailure):
    """The line to the device broke: what was under way there may or may not have happened."""


@dataclass(frozen=True)
class Finished:
    """A program or script that ended on a device.

    Attributes:
        exit_code: Its exit code; 128 + N where signal N ended it.
        stdout: All it wrote to its standard output.
        stderr: All it wrote to its standard error, decoded as UTF-8 with replacements.
        timed_out: Whether it was ended because its time was up.
    """

    exit_code: int
    stdout: bytes
    stderr: str
    timed_out: bool = False

    @property
    def last_words(self) -> str:
        """The last line of what it said, or its exit code: for an error message."""
        said = self.stderr.strip() or self.stdout.decode(errors="replace").strip()
        return said.rpartition("\n")[2] or f"exit code {self.exit_code}"


class Transport(ABC):
    """A road to one device.

    Attributes:
        name: The device as the user wrote it, for messages.
        default_folder: An sh word that expands, on the device, to the folder for our files.
    """

    default_folder = "${XDG_CACHE_HOME:-${HOME:?is not set}/.cache}/edgekit"

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def connect(self) -> None:
        """Opens the road, or opens it again.

        Raises:
            EdgekitError: The device can't be reached; the message says why.
        """

    @abstractmethod
    def close(self) -> None:
        """Closes the road; does nothing where it is closed already."""

    @abstractmethod
    def alive(self) -> bool:
        """Whether the road looks open, asked without using the device."""

    @abstractmethod
    def command(self, script: str) -> list[str]:
        """The arguments of a process on this machine that runs a POSIX sh script on that one."""

    @abstractmethod
    def explain(self, stderr: str) -> EdgekitError:
        """Why no answer came, from what that process wrote to its standard error."""

    def upload(self, source: Path, target: str, then: str) -> Finished:
        """Copies a file to `target` on the device, then runs the script `then` there.

        It is one script for one connection, so that no line can be cut between the two.
        """
        part = quote(target)
        copy = f"cat >{part} || {{ rm -f {part}; exit 12; }}\n{then}"
        with source.open("rb") as file:
            return self.run(copy, file, timeout_s=None)

    def run(
        self, script: str, stdin: IO[bytes] | bytes | None = None, timeout_s: float | None = 30
    ) -> Finished:
        """Runs a short script and waits for its end.

        Args:
            script: POSIX sh.
            stdin: What it reads; nothing by default.
            timeout_s: When to give up.

        Raises:
            ConnectionLost: No complete answer came (in time).
        """
        mark, framed = _frame(script)
        with _started(self.command(framed), stdin) as child:
            given = stdin if isinstance(stdin, bytes) else None
            try:
                out, err = child.communicate(given, timeout_s)
            except subprocess.TimeoutExpired as error:
                raise ConnectionLost(
                    f"{self.name}: gave no answer within {timeout_s:g} s",
                    "Is it very busy, or the connection very slow? Try again.",
                ) from error
            except KeyboardInterrupt:
                if stdin is None:  # let it end, so that what it began is known
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        child.communicate(timeout=_PATIENCE_S)
                raise
        stderr = err.decode(errors="replace")
        _, begun, answer = out.partition(f"{mark} begin\n".encode())
        body, ended, code = answer.rpartition(f"\n{mark} end ".encode())
        if not begun or not ended or not code.endswith(b"\n"):
            raise self._lost(stderr)
        return Finished(int(code), body, stderr)

    def lines(self, script: str, on_line: Callable[[str], object]) -> int:
        """Runs a script that may wait long, and passes each line on as it comes.

        Args:
            script: POSIX sh; writes a line at least every few seconds while it waits.
            on_line: Called with each line, without its end.

        Returns:
            The script's exit code.

        Raises:
            ConnectionLost: The line broke, or was silent for half a minute.
        """
        mark, framed = _frame(script)
        begun = False
        with _started(self.command(framed), None) as child:
            assert child.stdout is not None and child.stderr is not None
            for raw in _lines(child.stdout):
                line = raw.decode(errors="replace")
                if line.startswith(f"{mark} end "):
                    return int(line.rpartition(" ")[2])
                if begun and line:
                    on_line(line)
                begun = begun or line == f"{mark} begin"
            _end(child)
            stderr = child.stderr.read().decode(errors="replace")
        raise self._lost(stderr)

    def _lost(self, stderr: str) -> ConnectionLost:
        reason = self.explain(stderr)
        return ConnectionLost(reason.message, reason.hint)


def _frame(script: str) -> tuple[str, str]:
    """A fresh mark, and the script between the two lines that carry it."""
    mark = f"edgekit-{secrets.token_hex(8)}"
    return mark, f"echo {mark} begin\n(\n{script}\n)\nprintf '\\n%s\\n' \"{mark} end $?\""


@contextlib.contextmanager
def _started(
    command: list[str], stdin: IO[bytes] | bytes | None
) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a session of its own, so that a Ctrl-C meant for us doesn't cut the line."""
    source: IO[bytes] | int
    if stdin is None:
        source = subprocess.DEVNULL
    else:
        source = subprocess.PIPE if isinstance(stdin, bytes) else stdin
    child = subprocess.Popen(
        command,
        stdin=source,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        _end(child)
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines of a pipe as they come, until its end or until it is silent for too long."""
    rest, last = b"", time.monotonic()
    while (left := last + SILENCE_S - time.monotonic()) > 0:
        if not select.select([stream], [], [], left)[0]:
            return
        block = os.read(stream.fileno(), 1 << 16)
        if not block:
            return
        last = time.monotonic()
        *complete, rest = (rest + block).split(b"\n")
        yield from complete
