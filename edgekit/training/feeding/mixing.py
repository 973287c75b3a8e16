"""Mixing the pictures of a batch in pairs: mixup and CutMix.

Neighbours in the batch are partners (0 with 1, 2 with 3): the batch is shuffled already, and so a
part of it can be made without the rest.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from edgekit.images import Picture


def partner(position: int, count: int) -> int:
    """Whom the picture at a position of a batch of `count` is mixed with; perhaps itself."""
    other = position ^ 1
    return other if other < count else position


def mix(
    picture: Picture, other: Picture, mixup: float, cutmix: float, rng: np.random.Generator
) -> tuple[Picture, float]:
    """Mixes another picture into one, by mixup or CutMix (either half of the time, if both).

    Args:
        picture: uint8[H, W, 3]; it is not written to.
        other: uint8[H, W, 3].
        mixup: Alpha of the Beta distribution of the weight, 0 for none: Zhang et al. 2017,
            arXiv:1710.09412, section 2.
        cutmix: The same of the area, 0 for none: Yun et al. 2019, arXiv:1905.04899, section 3.1.
        rng: Where chance comes from.

    Returns:
        uint8[H, W, 3], and the weight of `picture` in it, which is its weight in the target: 0..1.
    """
    by_area = cutmix > 0 and (mixup == 0 or rng.uniform() < 0.5)
    if by_area:
        return _cut_in(picture, other, rng.beta(cutmix, cutmix), rng)
    weight = float(rng.beta(mixup, mixup))
    return cv2.addWeighted(picture, weight, other, 1 - weight, 0), weight


def _cut_in(
    picture: Picture, other: Picture, weight: float, rng: np.random.Generator
) -> tuple[Picture, float]:
    """A box of `1 - weight` of the area around a random point, cut off at the borders."""
    height, width = picture.shape[:2]
    side = math.sqrt(1 - weight)
    tall, wide = round(side * height), round(side * width)
    y, x = int(rng.integers(height)), int(rng.integers(width))
    top, bottom = max(0, y - tall // 2), min(height, y - tall // 2 + tall)
    left, right = max(0, x - wide // 2), min(width, x - wide // 2 + wide)
    mixed = picture.copy()
    mixed[top:bottom, left:right] = other[top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)
