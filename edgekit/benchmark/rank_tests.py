"""Two rank tests and an effect size: they ask only which values are larger, not by how much.

Latencies have long tails to one side, so that tests of means see mostly the tail.
"""

from __future__ import annotations

import bisect
import functools
import math
from statistics import NormalDist

import numpy as np

from edgekit.benchmark.resampling import Floats, Integers

#: Exact below this many pairs of values; the normal approximation is good long before.
_EXACT_PAIRS = 2500
_EXACT_SIGNED = 60


def mann_whitney(a: Floats, b: Floats) -> tuple[float, float]:
    """Mann & Whitney's test that neither of two independent samples tends to be larger.

    Exact without ties and for small samples; else by the normal approximation with the correction
    for ties and for continuity (Mann & Whitney, "On a Test of Whether one of Two Random Variables
    is Stochastically Larger than the Other", Annals of Mathematical Statistics 18(1), 1947).

    Args:
        a: float64[m].
        b: float64[n].

    Returns:
        U of b (how many pairs have b larger, ties as one half) and the two-sided p-value.
    """
    m, n = a.size, b.size
    u = float((b[:, np.newaxis] > a).sum() + 0.5 * (b[:, np.newaxis] == a).sum())
    _, ties = np.unique(np.concatenate([a, b]), return_counts=True)
    if ties.max() == 1 and m * n <= _EXACT_PAIRS:
        ways = _ways_of_u(m, n)
        tail = ways[: int(min(u, m * n - u)) + 1].sum() / ways.sum()
        return u, min(1.0, 2 * float(tail))
    total = m + n
    variance = m * n / 12 * (total + 1 - float((ties**3 - ties).sum()) / (total * (total - 1)))
    return u, _two_sided(abs(u - m * n / 2), variance)


def wilcoxon(differences: Floats) -> tuple[float, float]:
    """Wilcoxon's signed-rank test that paired differences are symmetric about zero.

    Differences of zero are left out. Exact for small samples, ties included: the distribution over
    all choices of signs of the ranks there are (Wilcoxon, "Individual Comparisons by Ranking
    Methods", Biometrics Bulletin 1(6), 1945); else by the normal approximation.

    Args:
        differences: float64[pairs].

    Returns:
        The sum of the ranks of the positive differences and the two-sided p-value.
    """
    kept = differences[differences != 0]
    if not kept.size:
        return 0.0, 1.0
    doubled = _doubled_ranks(np.abs(kept))
    total, w = int(doubled.sum()), int(doubled[kept > 0].sum())
    if kept.size <= _EXACT_SIGNED:
        ways = np.zeros(total + 1)
        ways[0] = 1
        for rank in doubled:
            ways[rank:] += ways[: total + 1 - rank].copy()
        tail = ways[: min(w, total - w) + 1].sum() / ways.sum()
        return w / 2, min(1.0, 2 * float(tail))
    variance = float((doubled.astype(float) ** 2).sum()) / 16
    return w / 2, _two_sided(abs(w - total / 2) / 2, variance)


def least_shift(a: Floats, b: Floats, alpha: float) -> float:
    """By how much b has to be moved upwards for Mann & Whitney's test to call it larger.

    U changes only where a value of b passes one of a: at one of the differences of both.

    Args:
        a: float64[m].
        b: float64[n].
        alpha: The level of the two-sided test; it can be reached with this many values.
    """
    gaps = np.sort((a[:, np.newaxis] - b).ravel())
    step = 1e-9 * float(np.abs(a).max())

    def called(i: int) -> bool:
        return mann_whitney(a, b + gaps[i] + step)[1] < alpha

    return float(gaps[bisect.bisect_left(range(gaps.size - 1), True, gaps.size // 2, key=called)])


def cliffs_delta(u: float, m: int, n: int) -> float:
    """Cliff's delta: -1 where every value of b is smaller than every one of a, 1 where larger.

    Source: Cliff, "Dominance Statistics: Ordinal Analyses to Answer Ordinal Questions",
    Psychological Bulletin 114(3), 1993.
    """
    return 2 * u / (m * n) - 1


@functools.cache
def _ways_of_u(m: int, n: int) -> Floats:
    """float64[m n + 1]: in how many orders of m and n values U is 0, 1, 2, ...

    The coefficients of the Gaussian binomial: multiply by 1 - q^(n+i), divide by 1 - q^i.
    """
    ways = [1] + [0] * (m * n)
    for i in range(1, m + 1):
        for u in range(m * n, n + i - 1, -1):
            ways[u] -= ways[u - n - i]
        for u in range(i, m * n + 1):
            ways[u] += ways[u - i]
    return np.array(ways, float)


def _doubled_ranks(values: Floats) -> Integers:
    """int64[n]: twice the ranks from 1, so that the mean rank of tied values is whole."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((2 * last - counts + 1)[inverse], np.int64)


def _two_sided(distance: float, variance: float) -> float:
    if variance <= 0:
        return 1.0
    return min(1.0, 2 * NormalDist().cdf(-max(0.0, distance - 0.5) / math.sqrt(variance)))
