"""Is it really faster? Two cells, compared round by round.

A difference is called only where two things agree: Mann-Whitney's test on the medians of the
rounds, and the 95 % bootstrap interval of the ratio of p50, which has to exclude 1. Both respect
that samples of one process are no independent ones: the same test on pooled samples called 70 to
90 % of pairs of runs of one and the same model different.

How the two were measured matters more than the test:

- **In one run**, their rounds were interleaved in random order. Drift of the machine falls on both
  alike, the test is a randomization test, and sweeps are resampled as a whole.
- **Apart** (two files, two devices), the machine may have changed in between, and no number of
  rounds shows it: on a shared machine the same model, measured twice in a row, was called different
  in up to 27 % of pairs by the test alone, more often the more rounds there were. So the interval
  is widened on both sides by an allowance for drift: 1.5 %, or the drift seen within the runs where
  that is larger. benchmarks/compare_power.py measures what that leaves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgekit.benchmark.budget import Budget, parse
from edgekit.benchmark.differences import Difference, differences
from edgekit.benchmark.document import Round, load
from edgekit.benchmark.pairing import Axis, Pair, match_runs, match_within
from edgekit.benchmark.rank_tests import cliffs_delta, least_shift, mann_whitney
from edgekit.benchmark.resampling import (
    MIN_CLUSTERS,
    Floats,
    draw_weights,
    interval,
    resampled_medians,
)
from edgekit.benchmark.verdict import doubts
from edgekit.errors import UsageError

CallWord = Literal["faster", "slower", "no difference shown"]
BudgetWord = Literal["within", "beyond", "undecided"]

#: With five rounds a side the smallest p-value of the test is 2 / 252 = 0.008.
ALPHA = 0.01
MIN_ROUNDS = MIN_CLUSTERS
#: What two runs of the same model may differ by, on a log scale; see the module.
_DRIFT_ALLOWANCE = 0.015
#: What is just enough is called in half of all cases; to be called in nine of ten it has to be
#: larger by this many halves of the interval: 1.282 / 1.960, normal quantiles.
_NINE_OF_TEN = 0.654
_MOST_ROUNDS = 10_000
_SEEDS = (1, 2)


@dataclass(frozen=True)
class BudgetResult:
    """Whether a budget is kept.

    Attributes:
        budget: What was allowed.
        word: `within` where the whole interval is, `beyond` where all of it is not, or `undecided`.
        rounds_needed: For `undecided`, about how many rounds a side would decide; None where more
            rounds alone would not.
    """

    budget: Budget
    word: BudgetWord
    rounds_needed: int | None


@dataclass(frozen=True)
class Comparison:
    """What is known of b against a.

    Attributes:
        pair: Both cells.
        word: `faster` or `slower` (b than a), or `no difference shown`.
        p50_ms: The medians of a and b over the rounds that were compared, in milliseconds.
        ratio: Of those, b to a: above 1 where b is slower.
        interval: The 95 % interval of that ratio, the allowance for drift included.
        drift_allowance: By which share the interval was widened on each side; 0 in one run.
        p_value: Of Mann-Whitney's test, two-sided.
        u: Its statistic: the pairs of rounds in which b was the slower one.
        cliffs_delta: -1 where every round of b was faster than every one of a, 1 where slower.
        rounds: How many rounds of a and of b were compared.
        smallest: The smallest difference that would have been shown in nine of ten cases, as a
            share of a.
        budget: None where none was given.
        context: What differs between the two besides what is compared.
        warnings: What throws doubt on either.
    """

    pair: Pair
    word: CallWord
    p50_ms: tuple[float, float]
    ratio: float
    interval: tuple[float, float]
    drift_allowance: float
    p_value: float
    u: float
    cliffs_delta: float
    rounds: tuple[int, int]
    smallest: float
    budget: BudgetResult | None
    context: tuple[Difference, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "a": self.pair.a_name,
            "b": self.pair.b_name,
            "common": self.pair.common,
            "interleaved": self.pair.interleaved,
            "verdict": self.word,
            "p50_ms": list(self.p50_ms),
            "ratio": self.ratio,
            "ratio_interval_95": list(self.interval),
            "drift_allowance": self.drift_allowance,
            "p_value": self.p_value,
            "mann_whitney_u": self.u,
            "cliffs_delta": self.cliffs_delta,
            "rounds": list(self.rounds),
            "smallest_difference": self.smallest,
            "budget": None
            if self.budget is None
            else {
                "budget": self.budget.budget.text,
                "verdict": self.budget.word,
                "rounds_needed": self.budget.rounds_needed,
            },
            "context": [
                {"what": d.what, "a": d.a, "b": d.b, "grave": d.grave} for d in self.context
            ],
            "warnings": list(self.warnings),
        }


def compare_files(
    first: Path,
    second: Path | None = None,
    *,
    by: Axis | None = None,
    budget: str | None = None,
    anyway: bool = False,
) -> tuple[Comparison, ...]:
    """Compares what two files hold cell by cell, or the cells of one with each other.

    Args:
        first: A benchmark result; the reference.
        second: Another, or None.
        by: With one file, the axis to compare along; see `pairing.match_within`.
        budget: Such as `+3%`; see `budget.parse`.
        anyway: Compare although inputs or devices differ.

    Raises:
        UnreadableError: A file is no benchmark result.
        UsageError: There is nothing to compare, too few rounds, or not the same was measured.
    """
    allowed = None if budget is None else parse(budget)
    run = load(first)
    if second is None:
        pairs = match_within(run, str(first), by)
    elif by is not None:
        raise UsageError("--by is for the cells of one file", "Leave it out, or name one file.")
    else:
        pairs = match_runs(run, load(second), (str(first), str(second)))
    return tuple(compare(pair, budget=allowed, anyway=anyway) for pair in pairs)


def compare(
    pair: Pair, *, budget: Budget | None = None, anyway: bool = False, alpha: float = ALPHA
) -> Comparison:
    """Compares b with a.

    Args:
        pair: From `edgekit.benchmark.pairing`.
        budget: How much slower b may be.
        anyway: Compare although inputs or devices differ; what differs is in the result.
        alpha: The level of the test.

    Raises:
        UsageError: Too few rounds; or the two measured different things, and not `anyway`.
    """
    found = differences(pair)
    grave = [d for d in found if d.grave]
    if grave and not anyway:
        raise UsageError(
            f"{pair.a_name} and {pair.b_name} were not measured alike: "
            + "; ".join(f"{d.what} {d.a} and {d.b}" for d in grave),
            "Measure both alike, or use --anyway to compare them all the same.",
        )
    _check_rounds(pair, alpha)
    a, b = _rounds(pair)
    medians = _medians(a), _medians(b)
    u, p_value = mann_whitney(*medians)
    allowance = 0.0 if pair.interleaved else max(_DRIFT_ALLOWANCE, *map(_drift, medians))
    p50 = _p50_ms(a), _p50_ms(b)
    ratio = p50[1] / p50[0]
    low, high = _log_interval(a, b, together=pair.interleaved)
    low, high = min(low, math.log(ratio)) - allowance, max(high, math.log(ratio)) + allowance
    word: CallWord = "no difference shown"
    if p_value < alpha and low > 0:
        word = "slower"
    elif p_value < alpha and high < 0:
        word = "faster"
    half = (high - low) / 2 - allowance
    return Comparison(
        pair=pair,
        word=word,
        p50_ms=p50,
        ratio=ratio,
        interval=(math.exp(low), math.exp(high)),
        drift_allowance=math.expm1(allowance),
        p_value=p_value,
        u=u,
        cliffs_delta=cliffs_delta(u, len(a), len(b)),
        rounds=(len(a), len(b)),
        smallest=_smallest(*medians, math.log(ratio), (high - low) / 2, alpha),
        budget=None
        if budget is None
        else _hold(budget, p50[0], math.log(ratio), (low, high), half, min(len(a), len(b))),
        context=found,
        warnings=tuple(_warnings(pair)),
    )


def _check_rounds(pair: Pair, alpha: float) -> None:
    needed = MIN_ROUNDS
    while 2 / math.comb(2 * needed, needed) >= alpha:
        needed += 1
    for cell, name in ((pair.a, pair.a_name), (pair.b, pair.b_name)):
        if len(cell.rounds) < needed:
            raise UsageError(
                f"{name}: {len(cell.rounds)} round(s), and a comparison needs {needed} of each",
                f"Measure again with --rounds {needed} or more: what differs from process to "
                "process can't be seen within one.",
            )


def _rounds(pair: Pair) -> tuple[Sequence[Round], Sequence[Round]]:
    """The rounds to compare. In one run, as many of each as ran side by side.

    One cell may have got more rounds than the other, after it: what drifted since would be taken
    for a difference.
    """
    a, b = pair.a.rounds, pair.b.rounds
    if not pair.interleaved:
        return a, b
    count = min(len(a), len(b))
    return a[:count], b[:count]


def _medians(rounds: Sequence[Round]) -> Floats:
    return np.array([np.median(r.samples_ns) for r in rounds])


def _p50_ms(rounds: Sequence[Round]) -> float:
    return float(np.median(np.concatenate([r.samples_ns for r in rounds]))) / 1e6


def _drift(medians: Floats) -> float:
    """How far the second half of the rounds is from the first, on a log scale."""
    half = medians.size // 2
    return abs(math.log(float(np.median(medians[-half:]) / np.median(medians[:half]))))


def _log_interval(a: Sequence[Round], b: Sequence[Round], *, together: bool) -> tuple[float, float]:
    """The 95 % interval of the logarithm of p50 of b to that of a.

    Args:
        a: Rounds.
        b: Rounds; where `together`, the one at each place ran in the same sweep as that of a.
        together: Draw sweeps, so that what they share cancels.
    """
    weights_a = draw_weights(len(a), _SEEDS[0])
    weights_b = weights_a if together else draw_weights(len(b), _SEEDS[1])
    medians_a = resampled_medians([r.samples_ns for r in a], weights_a)
    medians_b = resampled_medians([r.samples_ns for r in b], weights_b)
    return interval(np.log(medians_b / medians_a), min(len(a), len(b)))


def _smallest(a: Floats, b: Floats, estimate: float, half: float, alpha: float) -> float:
    """The smallest difference that test and interval would have called in nine of ten cases.

    Args:
        a: Medians of the rounds.
        b: Likewise.
        estimate: Of the ratio, on a log scale; b is moved back by it.
        half: Half the width of its interval.
        alpha: The level of the test.
    """
    by_test = least_shift(np.log(a), np.log(b) - estimate, alpha)
    return math.expm1(max(by_test, half) + _NINE_OF_TEN * half)


def _hold(
    budget: Budget,
    reference_ms: float,
    estimate: float,
    bounds: tuple[float, float],
    half: float,
    rounds: int,
) -> BudgetResult:
    """Holds an interval against a budget; all on a log scale.

    Args:
        budget: What is allowed.
        reference_ms: p50 of a.
        estimate: Of the ratio.
        bounds: Of its interval.
        half: Half the width of the interval without the allowance for drift.
        rounds: How many there are.
    """
    limit = math.log(budget.limit(reference_ms) or 1e-300)
    low, high = bounds
    if high <= limit:
        return BudgetResult(budget, "within", None)
    if low > limit:
        return BudgetResult(budget, "beyond", None)
    # An interval narrows with the square root of the rounds; its allowance for drift doesn't.
    room = abs(limit - estimate) - ((high - low) / 2 - half)
    if room <= 0:
        return BudgetResult(budget, "undecided", None)
    needed = max(rounds + 1, math.ceil(rounds * (half / room) ** 2))
    return BudgetResult(budget, "undecided", needed if needed <= _MOST_ROUNDS else None)


def _warnings(pair: Pair) -> list[str]:
    both = doubts(pair.a), doubts(pair.b)
    common = [doubt for doubt in both[0] if doubt in both[1]]
    return [
        *common,
        *(f"{pair.a_name}: {doubt}" for doubt in both[0] if doubt not in common),
        *(f"{pair.b_name}: {doubt}" for doubt in both[1] if doubt not in common),
    ]
