"""What is installed, what is missing, and the line that mends it: `edgekit doctor`.

First facts are gathered as frozen values, then rules judge them, so that a test can feed the facts
of any machine.

| module | what it does |
|---|---|
| `facts` | the values |
| `look` | what a POSIX shell sees, of this machine or a device: one script |
| `requirements` | Python packages and their pins, from their own metadata |
| `trials`, `tiny` | what only a try can tell, in child processes |
| `desk` | all that this Python sees of this machine |
| `areas` | the rules, a module per area |
| `examine` | the façade |

Nothing here needs numpy, OpenCV or a runtime: where one is missing or broken, this says so.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Sequence

from edgekit.doctor.examine import examine
from edgekit.doctor.finding import EVERY, PURPOSES, Finding

__all__ = ["EVERY", "PURPOSES", "Finding", "doctor", "examine"]


def doctor(
    on: str | None = None,
    for_: str | Sequence[str] | None = None,
    notify: Callable[[str], None] | None = None,
) -> tuple[Finding, ...]:
    """Says what is installed, what is missing, and the line that mends it.

    Args:
        on: A device: `local`, `ssh:[USER@]HOST[:PORT]`, `adb[:SERIAL]`; None for this machine with
            its Python packages and tools.
        for_: What it is to be good for: a verb, or another of `PURPOSES`, or several.
        notify: Called with what should be known meanwhile.

    Returns:
        All that was found; with `for_`, only what stands in the way of it: nothing, where this
        machine is ready.

    Raises:
        EdgekitError: See `edgekit.doctor.examine.examine`.
    """
    asked = () if for_ is None else (for_,) if isinstance(for_, str) else tuple(for_)
    findings = examine(on, asked, notify)
    return tuple(f for f in findings if not asked or f.matters(asked))


class _Callable(types.ModuleType):
    """Once this package is imported, `edgekit.doctor` is the package: it stays the call as well."""

    def __call__(
        self,
        on: str | None = None,
        for_: str | Sequence[str] | None = None,
        notify: Callable[[str], None] | None = None,
    ) -> tuple[Finding, ...]:
        return doctor(on, for_, notify)


sys.modules[__name__].__class__ = _Callable
