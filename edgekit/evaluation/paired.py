"""What two models' answers to the same images say of the difference between them.

Both models see the same images, so only those count on which one is right and the other wrong: a
much sharper comparison than that of two accuracies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Paired:
    """Counts of the images that two models answered.

    Attributes:
        images: All of them.
        lost: Those that the first model got right and the second didn't.
        won: Those that the second got right and the first didn't.
    """

    images: int
    lost: int
    won: int

    @property
    def drop(self) -> float:
        """How much lower the second's accuracy is, -1..1."""
        return (self.lost - self.won) / self.images


def limits(paired: Paired, confidence: float) -> tuple[float, float]:
    """The lower and the upper confidence limit of the drop, each one-sided.

    The score interval of Tango 1998, "Equivalence test and confidence interval for the difference
    in proportions for the paired-sample design", Statistics in Medicine 17, 891-908, equations 4 to
    8. It holds where few images differ or none, where the usual one has no width at all.

    Args:
        paired: The counts; at least one image.
        confidence: Of each limit by itself, 0.5..1; at 0.5 both are the drop.

    Returns:
        Two shares, -1..1.
    """
    z, drop = NormalDist().inv_cdf(confidence), paired.drop
    if z < _TOLERANCE:
        return drop, drop
    low = _bisect(lambda delta: _score(paired, delta) - z, -1.0, drop)
    high = _bisect(lambda delta: _score(paired, delta) + z, drop, 1.0)
    return low, high


def images_needed(paired: Paired, promise: float, confidence: float) -> int | None:
    """How many images would show that the drop is at most `promise`, if it went on like this.

    Args:
        paired: The counts so far.
        promise: The highest drop, a share.
        confidence: Of the upper limit.

    Returns:
        A number of images, or None where the drop so far is not below the promise.
    """
    if paired.drop >= promise:
        return None

    def shown(images: float) -> bool:
        factor = images / paired.images
        scaled = _Scaled(images, paired.lost * factor, paired.won * factor)
        return _score(scaled, promise) <= -NormalDist().inv_cdf(confidence)

    enough = float(paired.images)
    while not shown(enough):
        enough *= 2
    too_few = max(enough / 2, 1.0)
    while enough - too_few > 1:
        middle = (enough + too_few) / 2
        enough, too_few = (middle, too_few) if shown(middle) else (enough, middle)
    return math.ceil(enough)


def lower_limit(hits: int, images: int, confidence: float) -> float:
    """The one-sided lower limit of a share (Wilson 1927; see `metrics.wilson_interval`)."""
    z2 = NormalDist().inv_cdf(confidence) ** 2
    share = hits / images
    centre = share + z2 / (2 * images)
    half = math.sqrt(z2 * (share * (1 - share) / images + z2 / (4 * images**2)))
    return max(0.0, (centre - half) / (1 + z2 / images))


@dataclass(frozen=True)
class _Scaled:
    """`Paired` for an imagined number of images, which need not be whole."""

    images: float
    lost: float
    won: float


def _score(paired: Paired | _Scaled, delta: float) -> float:
    """How many standard errors the drop lies above `delta`, if `delta` is the true one."""
    n, lost, won = paired.images, paired.lost, paired.won
    a = 2 * n
    b = -lost - won + (2 * n - lost + won) * delta
    c = -won * delta * (1 - delta)
    rare = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * rare + delta * (1 - delta))
    distance = lost - won - n * delta
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def _bisect(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses 0 between two places."""
    while high - low > _TOLERANCE:
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
