"""What the benchmark program printed, or the error that it reports."""

from __future__ import annotations

import contextlib
import json
import signal
from typing import Any

from edgekit.devices import Finished
from edgekit.errors import (
    EdgekitError,
    MissingError,
    NotMetError,
    RuntimeFailure,
    UnreadableError,
    UsageError,
)

_ERRORS: dict[int, type[EdgekitError]] = {
    cls.exit_code: cls
    for cls in (NotMetError, UsageError, UnreadableError, RuntimeFailure, MissingError)
}


def document(finished: Finished, where: str, timeout_s: float) -> dict[str, Any]:
    """The document of one run of the program.

    Args:
        finished: The run.
        where: What ran, for errors.
        timeout_s: How long it had.

    Raises:
        EdgekitError: The error that it reports; `RuntimeFailure` where it printed none.
    """
    if finished.timed_out:
        raise RuntimeFailure(f"{where}: gave no result within {timeout_s:.0f} s")
    try:
        found: dict[str, Any] = json.loads(finished.stdout)
    except ValueError:
        raise _crash(finished, where) from None
    if found.get("status") == "error":
        error = found["error"]
        kind = _ERRORS.get(error["exit_code"], RuntimeFailure)
        raise kind(f"{where}: {error['message']}", error.get("hint"))
    return found


def _crash(finished: Finished, where: str) -> RuntimeFailure:
    said = (finished.stderr.strip().splitlines() or ["it said nothing"])[-1]
    how = f"exit code {finished.exit_code}"
    if finished.exit_code > 128:
        with contextlib.suppress(ValueError):
            how = signal.Signals(finished.exit_code - 128).name
    return RuntimeFailure(
        f"{where}: the benchmark ended with {how} and printed no result: {said}",
        "Try --delegate none or another --runtime: the runtime may not fit this processor.",
    )
