"""The bootstrap of a median over clusters of samples, and the quantiles it needs.

Inferences of one process share their memory layout, its neighbours on the machine and its minute:
they are correlated, and to resample them one by one gives intervals that are far too narrow. So
whole clusters are drawn (rounds, or long batches of one), and nothing within them: their spread has
what happens within them in it already, and to draw both would count that twice (Davison & Hinkley,
"Bootstrap Methods and their Application", 1997, section 3.8).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Fewer can't carry a 95 % interval: the range of five medians holds the true one with 94 %.
MIN_CLUSTERS = 5

_DRAWS = 4000
#: Values between which a resampled median is interpolated; all there are where there are fewer.
_GRID = 256


def draw_weights(clusters: int, seed: int) -> Floats:
    """How often each cluster is drawn in each resample: float64[draws, clusters].

    Args:
        clusters: How many there are; as many are drawn, with replacement.
        seed: The same seed gives the same draws.
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(clusters, np.full(clusters, 1 / clusters), _DRAWS).astype(float)


def resampled_medians(clusters: Sequence[Integers], weights: Floats) -> Floats:
    """The median of all samples of the clusters drawn, for each resample.

    A weighted median is where the weighted sum of the clusters' distribution functions crosses one
    half, so all resamples are one matrix product; and since it lies between the smallest and the
    largest of the clusters' own medians, only that range has to be looked at.

    Args:
        clusters: The samples of each, none of them empty.
        weights: float64[draws, clusters], see `draw_weights`.

    Returns:
        float64[draws], in the samples' unit.
    """
    medians = [np.median(cluster) for cluster in clusters]
    values = np.unique(np.concatenate(clusters))
    low = np.searchsorted(values, min(medians), "right") - 1
    # One value more: with ties, half of the samples can be at the largest median itself.
    high = np.searchsorted(values, max(medians), "left") + 2
    values = values[low:high]
    if values.size > _GRID:
        values = values[np.linspace(0, values.size - 1, _GRID).round().astype(int)]
    at = np.stack([_middle_ranks(cluster, values) for cluster in clusters])
    sizes = np.array([cluster.size for cluster in clusters], float)
    share = (weights @ at) / (weights @ sizes)[:, np.newaxis]
    right = np.argmax(share >= 0.5, axis=1)
    left = np.maximum(right - 1, 0)
    draws = np.arange(len(share))
    step = share[draws, right] - share[draws, left]
    part = np.divide(0.5 - share[draws, left], step, out=np.ones_like(step), where=step > 0)
    result: Floats = values[left] + part * (values[right] - values[left])
    return result


def _middle_ranks(cluster: Integers, values: Integers) -> Floats:
    """How many samples are below each value, plus half of those equal to it."""
    ordered = np.sort(cluster)
    below = np.searchsorted(ordered, values, "left")
    upto = np.searchsorted(ordered, values, "right")
    result: Floats = (below + upto) / 2
    return result


def interval(resampled: Floats, clusters: int, confidence: float = 0.95) -> tuple[float, float]:
    """The expanded percentile interval: widened for few clusters as Student's t is.

    The plain percentile interval is too narrow by a factor sqrt((n - 1) / n) and by that of the
    normal to the t quantile (Hesterberg, "What Teachers Should Know About the Bootstrap", The
    American Statistician 69(4), 2015, section 5.3 "Expanded percentile").

    Args:
        resampled: The statistic of each resample.
        clusters: How many clusters each resample drew.
        confidence: Of the interval.
    """
    quantile = student_t(confidence, clusters - 1) * math.sqrt(clusters / (clusters - 1))
    tail = NormalDist().cdf(-quantile)
    low, high = np.quantile(resampled, (tail, 1 - tail))
    return float(low), float(high)


@functools.cache
def student_t(confidence: float, degrees: int) -> float:
    """The value that Student's t stays within, on both sides, with this probability."""
    low, high = 0.0, 1e6
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        if _t_within(middle, degrees) < confidence:
            low = middle
        else:
            high = middle
    return high


def _t_within(t: float, degrees: int) -> float:
    """P(|T| < t): Abramowitz & Stegun, "Handbook of Mathematical Functions", 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(degrees))
    cosine, odd = math.cos(angle), degrees % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(odd, degrees - 1, 2):
        total += term
        term *= cosine**2 * (k + 1) / (k + 2)
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total
