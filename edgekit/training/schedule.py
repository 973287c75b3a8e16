"""The learning rate of each step: linear warm-up, then a cosine to 0."""

from __future__ import annotations

import math


def rate(step: int, steps: int, warmup: float, peak: float) -> float:
    """The learning rate of a step (Loshchilov and Hutter 2016, arXiv:1608.03983, eq. 5, one cycle).

    Args:
        step: From 0.
        steps: Of the whole phase.
        warmup: Steps of linear warm-up.
        peak: The highest rate.
    """
    if step < warmup:
        return peak * (step + 1) / (math.floor(warmup) + 1)
    share = (step - warmup) / max(1.0, steps - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
