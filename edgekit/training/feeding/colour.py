"""Operations on the pixels of a picture, one after another.

Brightness, contrast, saturation and hue are linear in the channels. Each is a 4 x 4 matrix over
(R, G, B, 1), so that those in a row are multiplied together and the picture is gone over (and
rounded) once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from edgekit.images import Picture

Matrix = npt.NDArray[np.float64]

#: The weights of R, G and B in brightness: ITU-R BT.601.
_LUMA = np.array([0.299, 0.587, 0.114])
#: RGB to YIQ (NTSC, FCC 73.682), in which a turn of (I, Q) turns the hue.
_TO_YIQ = np.array([_LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)
#: What ImageFilter.SMOOTH of Pillow averages with; sharpness goes away from that average.
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


def apply(picture: Picture, operations: Sequence[tuple[str, float]]) -> Picture:
    """Applies operations in turn.

    Args:
        picture: uint8[H, W, 3], RGB; it is not written to.
        operations: (name, amount) of `LINEAR` or `OTHERS`.

    Returns:
        uint8[H, W, 3].
    """
    matrix: Matrix | None = None
    for name, amount in operations:
        if name in LINEAR:
            if matrix is None:
                matrix = np.eye(4)
                mean = np.array([*cv2.mean(picture)[:3], 1.0])
            matrix = LINEAR[name](amount, matrix @ mean) @ matrix
        else:
            picture = OTHERS[name](_transformed(picture, matrix), amount)
            matrix = None
    return _transformed(picture, matrix)


def _transformed(picture: Picture, matrix: Matrix | None) -> Picture:
    return picture if matrix is None else cv2.transform(picture, matrix[:3])


# --- linear operations: (amount, mean R, G, B, 1 of the picture) -> float64[4, 4]


def _brightness(factor: float, _mean: Matrix) -> Matrix:
    return np.diag([factor, factor, factor, 1.0])


def _contrast(factor: float, mean: Matrix) -> Matrix:
    """Towards (below 1) or away from the mean brightness of the picture."""
    matrix = np.diag([factor, factor, factor, 1.0])
    matrix[:3, 3] = (1 - factor) * (_LUMA @ mean[:3])
    return matrix


def _saturation(factor: float, _mean: Matrix) -> Matrix:
    """Towards (below 1) or away from the grey of each pixel."""
    matrix = np.diag([factor, factor, factor, 1.0])
    matrix[:3, :3] += (1 - factor) * _LUMA
    return matrix


def _hue(turn: float, _mean: Matrix) -> Matrix:
    """Turns the colour circle; 1 is a whole turn. The brightness of each pixel stays."""
    sine, cosine = math.sin(2 * math.pi * turn), math.cos(2 * math.pi * turn)
    matrix = np.eye(4)
    rotation = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    matrix[:3, :3] = _FROM_YIQ @ rotation @ _TO_YIQ
    return matrix


LINEAR: dict[str, Callable[[float, Matrix], Matrix]] = {
    "brightness": _brightness,
    "contrast": _contrast,
    "saturation": _saturation,
    "hue": _hue,
}


# --- all others: (picture, amount) -> picture


def _autocontrast(picture: Picture, _amount: float) -> Picture:
    """Stretches each channel to 0..255."""
    low = picture.min(axis=(0, 1)).astype(np.float32)
    spread = picture.max(axis=(0, 1)) - low
    scale = np.where(spread > 0, 255 / np.maximum(spread, 1), 1)
    levels = np.arange(256, dtype=np.float32)[:, None]
    table = (levels - np.where(spread > 0, low, 0)) * scale
    return _look_up(picture, table)


def _equalize(picture: Picture, _amount: float) -> Picture:
    """Equalizes the histogram of each channel."""
    return cv2.merge([cv2.equalizeHist(channel) for channel in cv2.split(picture)])


def _solarize(picture: Picture, threshold: float) -> Picture:
    """Inverts the pixels at or above a grey level."""
    levels = np.arange(256)
    return _look_up(picture, np.where(levels >= threshold, 255 - levels, levels))


def _posterize(picture: Picture, bits: float) -> Picture:
    """Keeps the upper bits of each pixel, 1 to 8."""
    return picture & np.uint8(256 - 2 ** (8 - int(bits)))


def _sharpness(picture: Picture, factor: float) -> Picture:
    """Towards (below 1) or away from a smoothed picture."""
    smooth = cv2.filter2D(picture, -1, _SMOOTH)
    return cv2.addWeighted(picture, factor, smooth, 1 - factor, 0)


def _look_up(picture: Picture, table: npt.NDArray[np.generic]) -> Picture:
    """One look-up table for all channels ([256]), or one each ([256, 3])."""
    table = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    return cv2.LUT(picture, table if table.ndim == 1 else table[None])


OTHERS: dict[str, Callable[[Picture, float], Picture]] = {
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "solarize": _solarize,
    "posterize": _posterize,
    "sharpness": _sharpness,
}


def erase(picture: Picture, rng: np.random.Generator) -> Picture:
    """Fills a random rectangle with noise: Random Erasing (Zhong et al. 2017, arXiv:1708.04896).

    Area 2 to 40 % and aspect 0.3 to 3.3, as in section 4.1 there; noise as in its RE-R.
    """
    height, width = picture.shape[:2]
    area = rng.uniform(0.02, 0.4) * height * width
    aspect = rng.uniform(0.3, 1 / 0.3)
    tall = min(height, max(1, round(math.sqrt(area * aspect))))
    wide = min(width, max(1, round(math.sqrt(area / aspect))))
    top = int(rng.integers(0, height - tall + 1))
    left = int(rng.integers(0, width - wide + 1))
    erased = picture.copy()
    erased[top : top + tall, left : left + wide] = rng.integers(0, 256, (tall, wide, 3), np.uint8)
    return erased
