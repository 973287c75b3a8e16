"""The worst mistakes at a glance: pictures with what they are and what the model took them for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgekit.errors import RuntimeFailure
from edgekit.report import lettering

_COLUMNS = 6
_TILE, _GAP, _TITLE = 190, 14, 40
_LINE = 18
_CAPTION = 3 * _LINE + 8
_SIZE, _TITLE_SIZE = 0.42, 0.55
_JPEG_QUALITY = 92
#: Okabe & Ito's vermillion and bluish green, BGR; words say the same.
_WRONG, _RIGHT = (0, 94, 213), (115, 158, 0)
_INK, _PALE_INK = (40, 40, 40), (120, 120, 120)


@dataclass(frozen=True)
class Guess:
    """What a model said of one picture.

    Attributes:
        file: The name of the file.
        truth: The class it is.
        predicted: The class the model named.
        confidence: The probability it gave that class, 0..1.
    """

    file: str
    truth: str
    predicted: str
    confidence: float


def contact_sheet_jpeg(pictures: npt.NDArray[np.uint8], guesses: Sequence[Guess]) -> bytes:
    """Draws pictures in rows of six, in the order given, each framed and with its caption.

    Args:
        pictures: uint8[N, h, w, 3], RGB, as the model saw them.
        guesses: N, one per picture.

    Returns:
        The bytes of a JPEG file.
    """
    columns = max(1, min(_COLUMNS, len(guesses)))
    rows = -(-len(guesses) // columns)
    wrong = sum(guess.truth != guess.predicted for guess in guesses)
    title = f"The worst pictures by loss: {wrong} wrong, {len(guesses) - wrong} right"
    width = max(_GAP + columns * (_TILE + _GAP), lettering.width(title, _TITLE_SIZE) + 2 * _GAP)
    height = _TITLE + rows * (_TILE + _CAPTION + _GAP)
    canvas = np.full((height, width, 3), 255, np.uint8)
    lettering.write(canvas, title, (_GAP, 26), _TITLE_SIZE, _INK)
    for number, (picture, guess) in enumerate(zip(pictures, guesses, strict=True)):
        row, column = divmod(number, columns)
        left, top = _GAP + column * (_TILE + _GAP), _TITLE + row * (_TILE + _CAPTION + _GAP)
        _draw_picture(canvas[top : top + _TILE, left : left + _TILE], picture, guess)
        _draw_caption(canvas, guess, left, top + _TILE)
    ok, data = cv2.imencode(".jpg", canvas, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))
    if not ok:
        raise RuntimeFailure("OpenCV could not encode the contact sheet as JPEG")
    return bytes(data)


def _draw_picture(
    tile: npt.NDArray[np.uint8], picture: npt.NDArray[np.uint8], guess: Guess
) -> None:
    """Fits the picture into the tile with its own aspect ratio, and frames it."""
    height, width = picture.shape[:2]
    scale = _TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.cvtColor(cv2.resize(picture, size, interpolation=way), cv2.COLOR_RGB2BGR)
    tile[...] = 240
    left, top = (_TILE - size[0]) // 2, (_TILE - size[1]) // 2
    tile[top : top + size[1], left : left + size[0]] = small
    colour = _RIGHT if guess.truth == guess.predicted else _WRONG
    cv2.rectangle(tile, (0, 0), (_TILE - 1, _TILE - 1), colour, 3)


def _draw_caption(canvas: npt.NDArray[np.uint8], guess: Guess, left: int, top: int) -> None:
    right = guess.truth == guess.predicted
    percent = f" {100 * guess.confidence:.0f} %"
    said = "right, " if right else "said "
    room = _TILE - lettering.width(said + percent, _SIZE)
    predicted = lettering.shorten(lettering.spell(guess.predicted), room, _SIZE)
    truth = lettering.shorten("is " + lettering.spell(guess.truth), _TILE, _SIZE)
    file = lettering.shorten(lettering.spell(guess.file), _TILE, _SIZE, keep_end=True)
    colour = _RIGHT if right else _WRONG
    for number, (text, ink) in enumerate(
        ((truth, _INK), (said + predicted + percent, colour), (file, _PALE_INK)), 1
    ):
        lettering.write(canvas, text, (left, top + number * _LINE), _SIZE, ink)
