"""How the values of an activation are spread, and the ranges that follow from that."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.converters.ranges import Ranges
from edgekit.converters.rewriting import Array

BINS = 2048
#: Steps of int8.
_STEPS = 256
#: Shares of each end of the range that are tried.
_SHARES = tuple(np.linspace(1.0, 0.3, 15))


class Histograms:
    """Counts of the values of each tensor, in bins of equal width between its extremes.

    Args:
        extremes: The range of each tensor; what lies outside counts at its end.

    Attributes:
        counts: tensor name -> int64[BINS].
    """

    def __init__(self, extremes: Ranges) -> None:
        self._extremes = extremes
        self.counts: dict[str, Array] = {}

    def add(self, values: Mapping[str, Array], picture: int) -> None:
        """Takes one picture."""
        for name, value in values.items():
            low, high = self._extremes[name]
            inside = np.clip(value.reshape(-1), low, high)
            counts, _ = np.histogram(inside, BINS, (low, high))
            self.counts[name] = self.counts.get(name, 0) + counts


def range_by_error(counts: Array, low: float, high: float) -> tuple[float, float]:
    """The range with the least mean squared error of rounding and clipping.

    Args:
        counts: int64[BINS] between `low` and `high`.
        low: The lowest value.
        high: The highest.
    """
    values, weights = _centres(counts, low, high)
    return min(_candidates(low, high), key=lambda ends: _squared_error(values, weights, *ends))


def range_by_entropy(counts: Array, low: float, high: float) -> tuple[float, float]:
    """The range that keeps the distribution of the values best.

    The least Kullback-Leibler divergence between the distribution and what is left of it in 256
    steps (Migacz 2017, "8-bit Inference with TensorRT", GTC), for both ends of an asymmetric range.
    """
    values, weights = _centres(counts, low, high)
    return min(_candidates(low, high), key=lambda ends: _divergence(values, weights, *ends))


def _candidates(low: float, high: float) -> list[tuple[float, float]]:
    """Ranges with either end or both nearer to 0."""
    lows = {min(low * share, 0.0) for share in _SHARES} if low < 0 else {0.0}
    highs = {max(high * share, 0.0) for share in _SHARES} if high > 0 else {0.0}
    return sorted((a, b) for a in lows for b in highs if b > a) or [(low, high)]


def _centres(counts: Array, low: float, high: float) -> tuple[Array, Array]:
    width = (high - low) / BINS
    filled = np.flatnonzero(counts)
    return low + (filled + 0.5) * width, counts[filled] / counts.sum()


def _squared_error(values: Array, weights: Array, low: float, high: float) -> float:
    step = (high - low) / (_STEPS - 1)
    rounded = np.rint((np.clip(values, low, high) - low) / step) * step + low
    return float(weights @ (values - rounded) ** 2)


def _divergence(values: Array, weights: Array, low: float, high: float) -> float:
    step = (high - low) / (_STEPS - 1)
    codes = np.rint((np.clip(values, low, high) - low) / step).astype(int)
    inside = (values >= low) & (values <= high)
    # What is clipped piles up at the ends, where the quantized distribution has nothing.
    clipped = np.bincount(codes, weights, _STEPS)
    kept = np.bincount(codes[inside], weights[inside], _STEPS)
    bins = np.bincount(codes[inside], minlength=_STEPS)
    spread = kept[codes] / np.maximum(bins[codes], 1)
    piled = np.where(inside, weights, 0.0)
    ends = clipped - kept
    for code in (0, _STEPS - 1):
        place = np.flatnonzero(inside & (codes == code))
        if len(place):
            piled[place] += ends[code] / len(place)
    if kept.sum() <= 0:
        return float("inf")
    p, q = piled[inside], spread[inside] / kept.sum()
    used = (p > 0) & (q > 0)
    return float(np.sum(p[used] * np.log(p[used] / q[used])))
