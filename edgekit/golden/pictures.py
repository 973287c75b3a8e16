"""Which pictures are kept: some photos, and a card that shows what photos may hide."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgekit.contract import Contract
from edgekit.images import Picture

#: Photos beside the card.
PHOTOS = 3
#: A photo's shorter side is at most so many times the model's larger one: small, and yet not of
#: the model's size, so that fitting it takes a crop and a resize.
_SHORTER_SIDE = 1.2
#: Side of a coloured square of the card, in pixels.
_SQUARE = 7


def card(contract: Contract) -> Picture:
    """Squares of random colours, larger than the model's input, of odd sides and another aspect.

    Every channel differs from the others nearly everywhere, edges are sharp, and nothing is
    symmetric: a swapped channel, another interpolation, a mirrored or turned picture all show. It
    is more than twice as high as the input is, where `exact` averages before it interpolates.

    Returns:
        uint8[H, W, 3], RGB, the same for the same size.
    """
    height, width = 2 * contract.height + 13 | 1, 5 * contract.width // 4 | 1
    shape = (-(-height // _SQUARE), -(-width // _SQUARE), 3)
    colours = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    squares = colours.repeat(_SQUARE, axis=0).repeat(_SQUARE, axis=1)
    return np.ascontiguousarray(squares[:height, :width])


def choose(scores: npt.NDArray[np.float32], count: int = PHOTOS) -> list[int]:
    """The clearest answers to keep, each of another class as far as there are any.

    Args:
        scores: float32[N, classes], the model's.
        count: How many.

    Returns:
        Positions, at most `count`.
    """
    answers = scores.argmax(axis=1)
    clearest = np.argsort(-margins(scores), kind="stable")
    seen: set[int] = set()
    first: list[int] = []
    rest: list[int] = []
    for position in clearest.tolist():
        (rest if int(answers[position]) in seen else first).append(position)
        seen.add(int(answers[position]))
    return (first + rest)[:count]


def margins(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """By how much the highest score leads: float32[N]; infinite where there is only one class."""
    if scores.shape[1] < 2:
        return np.full(len(scores), np.inf, np.float32)
    two = np.partition(scores, -2, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0], np.float32)


def small(photo: Picture, contract: Contract) -> Picture:
    """The photo, reduced to what shows how it is prepared and no more."""
    height, width = photo.shape[:2]
    wanted = _SHORTER_SIDE * max(contract.height, contract.width)
    scale = wanted / min(height, width)
    if scale >= 1:
        return photo
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)
