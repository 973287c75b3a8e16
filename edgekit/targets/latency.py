"""The latency of a model on a target, by what is known best of it.

| kind | where it comes from |
|---|---|
| `measured` | the user's own measurement of the same architecture there |
| `corrected` | published latencies, times what the user's own took of their estimates |
| `borrowed` | likewise, with the rate of another CPU: of this one too little is published |
| `published` | published latencies alone |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgekit.targets import own
from edgekit.targets.estimate import Rate, Work, borrowed, estimate, estimates
from edgekit.targets.own import Measured
from edgekit.targets.target import Target

Kind = Literal["measured", "corrected", "borrowed", "published"]


@dataclass(frozen=True)
class Latency:
    """How long an inference takes.

    Attributes:
        kind: Where it comes from.
        ms: Of one inference.
        low: In 80 % of cases it is more; of a measurement, what was measured.
        high: In 80 % of cases it is less; likewise.
        setting: Processor, threads and runtime, in words.
        own: How many models of the user's it stands on.
        rate: What was fitted to published latencies; None of a measurement.
        factor: By which its estimate was multiplied.
    """

    kind: Kind
    ms: float
    low: float
    high: float
    setting: str
    own: int
    rate: Rate | None
    factor: float


def latency_of(work: Work, target: Target) -> Latency | None:
    """What is known best, or None where nothing is.

    Args:
        work: What one inference does.
        target: Where it is to run, all of it: on the accelerator, if there is one.
    """
    mine = own.comparable(target)
    same = [one for one in mine if one.work is not None and one.work.is_like(work)]
    if same:
        best = min(same, key=lambda one: one.p50_ms)
        ms = best.p50_ms
        return Latency("measured", ms, ms, ms, best.setting, len(same), None, 1.0)
    rate = _surest(work, target)
    if rate is not None:
        factor, count = _factor(rate, work, target, mine)
        return _scaled("corrected" if count else "published", rate, work, target, factor, count)
    rate = borrowed()
    if target.accelerator is not None or work.precision != rate.precision:
        return None
    factor, count = _factor(rate, work, target, mine)
    return _scaled("borrowed", rate, work, target, factor, count) if count else None


def _surest(work: Work, target: Target) -> Rate | None:
    """Of the settings that are known of a target, the one that is least off; then the narrowest."""
    rates = [found.rate for found in estimates(work, target)]
    return min(rates, key=lambda r: (r.median_error, r.high / max(r.low, 1e-6)), default=None)


def _factor(rate: Rate, work: Work, target: Target, mine: Sequence[Measured]) -> tuple[float, int]:
    """What the user's measurements took of their estimates, the geometric mean, and how many."""
    factors = [
        one.p50_ms / estimate(one.work.features(target.on_chip_bytes), rate).ms
        for one in mine
        if one.work is not None and one.work.precision == work.precision
    ]
    mean = math.exp(sum(map(math.log, factors)) / len(factors)) if factors else 1.0
    return mean, len(factors)


def _scaled(
    kind: Kind, rate: Rate, work: Work, target: Target, factor: float, count: int
) -> Latency:
    found = estimate(work.features(target.on_chip_bytes), rate)
    ms, low, high = (factor * value for value in (found.ms, found.low, found.high))
    return Latency(kind, ms, low, high, rate.setting, count, rate, factor)
