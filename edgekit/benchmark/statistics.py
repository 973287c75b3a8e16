"""How long an inference takes, and how sure that is.

The headline is the median of all samples with an interval that respects how they came about: the
samples of one process are no independent ones, so what is resampled are rounds (see `resampling`).
The mean is kept and is never the headline: one pause of the system moves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from edgekit.benchmark.document import Cell, Nanoseconds
from edgekit.benchmark.resampling import (
    MIN_CLUSTERS,
    Integers,
    draw_weights,
    interval,
    resampled_medians,
)

#: What an interval accounts for: `rounds` includes what differs from process to process, `batches`
#: only what differs within the processes there were.
Basis = Literal["rounds", "batches"]

#: 10 to 30 are advised (Schmeiser, "Batch Size Effects in the Analysis of Simulation Output",
#: Operations Research 30(3), 1982): fewer and longer batches are less correlated.
_BATCHES = 20
#: A percentile is given where at least this many samples lie beyond it.
_SAMPLES_BEYOND = 10
_SEED = 0
_NS_PER_MS = 1e6


@dataclass(frozen=True)
class Summary:
    """What a cell's samples say. Times are in milliseconds.

    Percentiles are linearly interpolated (definition 7 of Hyndman & Fan, "Sample Quantiles in
    Statistical Packages", The American Statistician 50(4), 1996; numpy's default).

    Attributes:
        p50_ms: The median of all samples.
        interval_ms: Its 95 % bootstrap interval; None where there are too few samples for one.
        basis: What that interval accounts for.
        p90_ms: None with fewer than 100 samples.
        p99_ms: None with fewer than 1,000 samples.
        min_ms: The fastest inference.
        mean_ms: For completeness.
        first_ms: The first inference after loading, median over the rounds.
        load_ms: Loading the model, median over the rounds.
        samples: Inferences measured.
        rounds: Processes they come from.
    """

    p50_ms: float
    interval_ms: tuple[float, float] | None
    basis: Basis
    p90_ms: float | None
    p99_ms: float | None
    min_ms: float
    mean_ms: float
    first_ms: float
    load_ms: float
    samples: int
    rounds: int

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval as a share of p50: the `±` of a table."""
        if self.interval_ms is None:
            return None
        low, high = self.interval_ms
        return (high - low) / 2 / self.p50_ms

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "p50_ms": self.p50_ms,
            "p50_interval_95_ms": None if self.interval_ms is None else list(self.interval_ms),
            "p50_half_width": self.half_width,
            "interval_over": self.basis,
            "p90_ms": self.p90_ms,
            "p99_ms": self.p99_ms,
            "min_ms": self.min_ms,
            "mean_ms": self.mean_ms,
            "first_ms": self.first_ms,
            "load_ms": self.load_ms,
            "samples": self.samples,
            "rounds": self.rounds,
        }


def summarize(cell: Cell) -> Summary:
    """The summary of a cell that has at least one round; the same samples give the same one."""
    samples = cell.samples_ns
    median = float(np.median(samples))
    clusters, basis = clusters_of(cell)
    return Summary(
        p50_ms=median / _NS_PER_MS,
        interval_ms=_median_interval(clusters, median),
        basis=basis,
        p90_ms=_percentile(samples, 90),
        p99_ms=_percentile(samples, 99),
        min_ms=float(samples.min()) / _NS_PER_MS,
        mean_ms=float(samples.mean()) / _NS_PER_MS,
        first_ms=float(np.median([r["first_ns"] for r in cell.rounds])) / _NS_PER_MS,
        load_ms=float(np.median([r["load_ns"] for r in cell.rounds])) / _NS_PER_MS,
        samples=samples.size,
        rounds=len(cell.rounds),
    )


def clusters_of(cell: Cell) -> tuple[list[Integers], Basis]:
    """What may be resampled: the rounds, or batches of them where there are too few rounds.

    Batches of one long round are long enough to be nearly independent, but an interval over them
    says nothing of what the next process would have measured.
    """
    rounds = [r.samples_ns for r in cell.rounds]
    if len(rounds) >= MIN_CLUSTERS:
        return rounds, "rounds"
    each = -(-_BATCHES // len(rounds))
    return [batch for r in rounds for batch in batches(r, each)], "batches"


def batches(samples: Nanoseconds, count: int) -> list[Integers]:
    """Cuts samples into at most `count` stretches of equal length, none of them empty."""
    return list(np.array_split(samples, min(count, samples.size)))


def _median_interval(clusters: Sequence[Integers], median: float) -> tuple[float, float] | None:
    if len(clusters) < MIN_CLUSTERS:
        return None
    resampled = resampled_medians(clusters, draw_weights(len(clusters), _SEED))
    low, high = interval(resampled, len(clusters))
    # Where the clock's ticks are coarse for the model, many samples are equal; the resampled
    # medians lie between two ticks then, all of them perhaps on one side of the median itself.
    return min(low, median) / _NS_PER_MS, max(high, median) / _NS_PER_MS


def _percentile(samples: Nanoseconds, percent: int) -> float | None:
    if samples.size * (100 - percent) < 100 * _SAMPLES_BEYOND:
        return None
    return float(np.percentile(samples, percent)) / _NS_PER_MS
