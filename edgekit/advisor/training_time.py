"""How long `edgekit train` takes: a rough estimate, scaled from two trainings.

Both are of EfficientNet-Lite0 (385 million MACs) with all defaults, on two cores of an AMD EPYC
(README.md, "What `train` gives"): 244 photos in 65 to 66 s, 1,225 photos in 681 s. Their times per
photo differ by 2.1 times, since the second went on for more epochs before its patience ended; that
is the range. It is scaled with MACs and photos, which no other model was measured to follow.
"""

from __future__ import annotations

from dataclasses import dataclass

_MACS = 385_187_552
#: Seconds for each photo to learn from, of the quicker and the slower training.
_LOW, _HIGH = 65 / 244, 681 / 1225


@dataclass(frozen=True)
class Minutes:
    """A training's time on two cores, roughly.

    Attributes:
        low: In minutes, where it ends early.
        high: Where it goes on for long.
    """

    low: float
    high: float


def estimate(macs: int, images: int) -> Minutes:
    """The time of a training.

    Args:
        macs: Multiply-accumulates of an inference.
        images: Photos to learn from.
    """
    minutes = macs / _MACS * images / 60
    return Minutes(minutes * _LOW, minutes * _HIGH)
