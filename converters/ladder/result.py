"""What came of each rung: rows of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.converters.ladder.promise import Judgement, Promise
from edgekit.report import words
from edgekit.report.table import table


@dataclass(frozen=True)
class Step:
    """One rung that was climbed, or skipped.

    Attributes:
        rung: Its name.
        judgement: What the judging images say, or None where it was skipped.
        reason: Why it was skipped, or None.
        adopted: Whether later rungs go on from it.
        bytes: Size of the file, or None where it was skipped.
        cost: Estimated time of an inference next to all int8, or None where it was skipped.
        seconds: How long the rung took.
    """

    rung: str
    judgement: Judgement | None
    reason: str | None
    adopted: bool
    bytes: int | None
    cost: float | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        judged = self.judgement
        values: dict[str, Any] = {"rung": self.rung, "seconds": round(self.seconds, 2)}
        if judged is None:
            return {**values, "skipped": self.reason}
        return {
            **values,
            "verdict": judged.verdict,
            "images": judged.images,
            "top1": judged.top1,
            "lost": None if judged.paired is None else judged.paired.lost,
            "won": None if judged.paired is None else judged.paired.won,
            "drop": judged.drop,
            "drop_interval": judged.interval,
            "agreement": judged.agreement,
            "agreement_at_least": judged.agreement_limit,
            "sqnr_db": judged.sqnr_db if math.isfinite(judged.sqnr_db) else None,
            "confidence": judged.confidence,
            "images_needed": judged.needed,
            "bytes": self.bytes,
            "relative_cost": self.cost,
            "adopted": self.adopted,
        }


def show(steps: Sequence[Step]) -> str:
    """The table of rungs; a rung that was skipped says why."""
    headers = ("rung", "top-1", "drop", "interval", "agreement", "SQNR", "MiB", "cost", "time", "")
    return table(headers, [_row(step) for step in steps])


def _row(step: Step) -> tuple[str, ...]:
    judged = step.judgement
    if judged is None:
        return (step.rung, "-", "-", "-", "-", "-", "-", "-", "-", f"skipped: {step.reason}")
    assert step.bytes is not None and step.cost is not None
    verdict = judged.verdict if step.adopted else f"{judged.verdict}, no better"
    return (
        step.rung,
        "-" if judged.top1 is None else f"{100 * judged.top1:.2f} %",
        "-" if judged.drop is None else f"{100 * judged.drop:+.2f}",
        "-" if judged.interval is None else points(judged.interval),
        f"{100 * judged.agreement:.2f} %",
        f"{judged.sqnr_db:.1f} dB",
        f"{step.bytes / 2**20:.2f}",
        f"{step.cost:.2f}",
        words.duration(step.seconds),
        verdict,
    )


def points(interval: tuple[float, float]) -> str:
    """An interval of a drop, in points."""
    return f"{100 * interval[0]:+.2f} to {100 * interval[1]:+.2f}"


def verdict_in_words(promise: Promise, best: Judgement) -> str:
    """What is to be said in the end of the best file."""
    if best.drop is not None and best.interval is not None and promise.max_drop is not None:
        found = f"{100 * best.drop:+.2f} points lost ({points(best.interval)})"
    else:
        found = (
            f"agreement {100 * best.agreement:.2f} % (at least {100 * best.agreement_limit:.2f})"
        )
    return f"{promise.words}: {best.verdict}; {found} on {best.images} judging images"
