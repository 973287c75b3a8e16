"""Which part of a picture is shown, and how it is turned: one resampling for all of it.

Every geometric operation is a matrix over the output's pixels; crop, rotation, shear and
translation are multiplied together and the picture is resampled once. Resampling in turn would
blur it each time and show borders that are not there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgekit import images
from edgekit.contract import Contract

Matrix = npt.NDArray[np.float64]

#: How often a random crop is drawn before the largest possible one is taken.
_TRIES = 10


@dataclass(frozen=True)
class Box:
    """A part of a picture, in its pixels; it may reach beyond the border."""

    left: float
    top: float
    width: float
    height: float


def fitted_box(height: int, width: int, contract: Contract) -> Box:
    """What the contract's resize rule shows of a picture of that size; see `images.fit`."""
    if contract.fit == "crop":
        box = _largest_box(Box(0, 0, width, height), contract.width / contract.height, 0.5, 0.5)
        return _scaled(box, contract.crop_fraction)
    return _frame(height, width, contract)


def random_box(
    height: int,
    width: int,
    contract: Contract,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: np.random.Generator,
) -> Box:
    """The random resized crop of Szegedy et al. 2014 (arXiv:1409.4842, section 6).

    The crop is taken from what the contract would show at most: the whole picture, or with `pad`
    the picture and its black bars. With `stretch`, whose output is distorted already, the ratio
    is taken relative to that distortion.

    Args:
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        contract: Its size and `fit` are used.
        scale: Range of the share of the area, (0, 1].
        ratio: Range of width over height, relative to an undistorted crop.
        rng: Where chance comes from.
    """
    frame = _frame(height, width, contract)
    undistorted = contract.width / contract.height
    if contract.fit == "stretch":
        undistorted = frame.width / frame.height
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(_TRIES):
        area = frame.width * frame.height * rng.uniform(*scale)
        aspect = undistorted * math.exp(rng.uniform(low, high))
        box_width, box_height = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if box_width <= frame.width and box_height <= frame.height:
            left = frame.left + rng.uniform(0, frame.width - box_width)
            top = frame.top + rng.uniform(0, frame.height - box_height)
            return Box(left, top, box_width, box_height)
    return _largest_box(frame, undistorted, rng.uniform(), rng.uniform())


def show(
    picture: images.Picture, box: Box, motions: Sequence[tuple[str, float]], contract: Contract
) -> images.Picture:
    """Resamples a box of a picture to the contract's size, turned by some motions.

    Where it is made smaller by half or more, whole boxes of pixels are averaged first, as the
    contract's `exact` does; the rest is bilinear. What lies beyond the border is mirrored, or
    black where the contract pads.

    Args:
        picture: uint8[H, W, 3].
        box: What to show.
        motions: (name, amount) of `MOTIONS`.
        contract: Its size and `fit` are used.

    Returns:
        uint8[height, width, 3].
    """
    height, width = contract.height, contract.width
    # A padded box may be far larger than the picture in it.
    reduce_y = max(1, int(min(box.height / height, picture.shape[0])))
    reduce_x = max(1, int(min(box.width / width, picture.shape[1])))
    if not motions and (inside := _pixels(box, picture.shape)) is not None:
        part = images.box_reduce(picture[inside], reduce_y, reduce_x)
        return images.resize(part, height, width, "linear")

    reduced = images.box_reduce(picture, reduce_y, reduce_x)
    cut_y, cut_x = (picture.shape[0] % reduce_y) // 2, (picture.shape[1] % reduce_x) // 2
    to_box = np.array(
        [
            [box.width / width / reduce_x, 0, (box.left - cut_x) / reduce_x],
            [0, box.height / height / reduce_y, (box.top - cut_y) / reduce_y],
            [0, 0, 1],
        ]
    )
    moved = _translation(width / 2, height / 2)
    for name, amount in motions:
        moved = moved @ MOTIONS[name](amount, height, width)
    # Output pixel (0, 0) has its centre at (0.5, 0.5), in the source as well.
    matrix = (
        _translation(-0.5, -0.5)
        @ to_box
        @ moved
        @ _translation(-width / 2, -height / 2)
        @ _translation(0.5, 0.5)
    )
    border = cv2.BORDER_CONSTANT if contract.fit == "pad" else cv2.BORDER_REFLECT_101
    return cv2.warpAffine(
        reduced,
        matrix[:2],
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=border,
    )


# --- motions: from an output pixel, seen from the centre, to where it is taken from


def _rotate(degrees: float, _height: int, _width: int) -> Matrix:
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def _shear_x(slope: float, _height: int, _width: int) -> Matrix:
    return np.array([[1, slope, 0], [0, 1, 0], [0, 0, 1]])


def _shear_y(slope: float, _height: int, _width: int) -> Matrix:
    return np.array([[1, 0, 0], [slope, 1, 0], [0, 0, 1]])


def _translate_x(share: float, _height: int, width: int) -> Matrix:
    return _translation(share * width, 0)


def _translate_y(share: float, height: int, _width: int) -> Matrix:
    return _translation(0, share * height)


#: name -> the matrix for (amount, output height, output width). Amounts: `rotate` in degrees,
#: `shear_*` in pixels per pixel, `translate_*` as a share of the output's size.
MOTIONS: dict[str, Callable[[float, int, int], Matrix]] = {
    "rotate": _rotate,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}


def _translation(x: float, y: float) -> Matrix:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


# --- boxes


def _frame(height: int, width: int, contract: Contract) -> Box:
    """All that the contract could show of a picture: with `pad`, its black bars as well."""
    if contract.fit != "pad":
        return Box(0, 0, width, height)
    scale = max(height / contract.height, width / contract.width)
    full_height, full_width = contract.height * scale, contract.width * scale
    return Box((width - full_width) / 2, (height - full_height) / 2, full_width, full_height)


def _largest_box(frame: Box, aspect: float, along: float, down: float) -> Box:
    """The largest box of an aspect ratio inside a frame; 0.5, 0.5 puts it into the centre."""
    width = min(frame.width, frame.height * aspect)
    height = width / aspect
    left = frame.left + along * (frame.width - width)
    return Box(left, frame.top + down * (frame.height - height), width, height)


def _scaled(box: Box, share: float) -> Box:
    """A box made smaller around its centre."""
    width, height = box.width * share, box.height * share
    return Box(
        box.left + (box.width - width) / 2, box.top + (box.height - height) / 2, width, height
    )


def _pixels(box: Box, shape: tuple[int, ...]) -> tuple[slice, slice] | None:
    """The whole pixels nearest to a box, or None where it reaches beyond the picture."""
    top, bottom = round(box.top), round(box.top + box.height)
    left, right = round(box.left), round(box.left + box.width)
    if top < 0 or left < 0 or bottom > shape[0] or right > shape[1]:
        return None
    bottom, right = max(bottom, top + 1), max(right, left + 1)
    return slice(top, bottom), slice(left, right)
