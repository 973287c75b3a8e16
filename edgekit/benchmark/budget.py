"""How much slower something may be: `+3%`, `-10%`, `+0.5ms`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from edgekit.errors import UsageError

_PATTERN = re.compile(r"([+-]?\d+(?:\.\d+)?) ?(%|ms)")


@dataclass(frozen=True)
class Budget:
    """The largest change of p50 that is accepted.

    Attributes:
        text: As the user wrote it.
        value: A share (0.03) or milliseconds; negative where it has to become faster.
        milliseconds: Whether it is in milliseconds.
    """

    text: str
    value: float
    milliseconds: bool

    def limit(self, reference_ms: float) -> float:
        """The largest ratio to the reference's p50 that is within the budget; 0 or more."""
        share = self.value / reference_ms if self.milliseconds else self.value
        return max(0.0, 1 + share)


def parse(text: str) -> Budget:
    """Reads a budget.

    Raises:
        UsageError: It is no number with a unit.
    """
    match = _PATTERN.fullmatch(text.strip())
    value = float(match[1]) if match else math.nan
    if match is None or not math.isfinite(value):
        raise UsageError(
            f"--budget {text}: not a change of latency",
            "Write how much slower it may be, such as +3% or +0.5ms; or -10% for a gain it needs.",
        )
    milliseconds = match[2] == "ms"
    return Budget(text.strip(), value if milliseconds else value / 100, milliseconds)
