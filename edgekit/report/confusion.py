"""The confusion matrix, as text for few classes and as a picture for any number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgekit.errors import RuntimeFailure
from edgekit.report.table import table

#: With more classes than this, text is no longer readable.
MAX_TEXT_CLASSES = 12

_CELL_PIXELS = (1, 48)
_PICTURE_PIXELS = 960
_MARGIN = 12
_FONT = cv2.FONT_HERSHEY_SIMPLEX
#: A class name is drawn where its row is at least this high.
_READABLE_PIXELS = 14
_MAX_NAME = 20


@dataclass(frozen=True)
class Panel:
    """The confusion matrix of one model.

    Attributes:
        name: The model's.
        confusion: int64[classes, classes], true classes in rows.
        labels: One name per class.
    """

    name: str
    confusion: npt.NDArray[np.int64]
    labels: tuple[str, ...]


def as_text(panel: Panel) -> str:
    """The matrix as a table, true classes in rows."""
    rows = [
        (label, *map(str, row))
        for label, row in zip(panel.labels, panel.confusion.tolist(), strict=True)
    ]
    return table(("true \\ predicted", *panel.labels), rows, "<" + ">" * len(panel.labels))


def as_png(panels: Sequence[Panel]) -> bytes:
    """Heat maps side by side, one per model: rows normalized, so that dark means a high share.

    Class names and counts are drawn where they fit.

    Args:
        panels: At least one.

    Returns:
        The bytes of a PNG file.
    """
    drawn = [_draw(panel) for panel in panels]
    height = max(picture.shape[0] for picture in drawn)
    canvas = np.full((height, sum(picture.shape[1] for picture in drawn), 3), 255, np.uint8)
    left = 0
    for picture in drawn:
        canvas[: picture.shape[0], left : left + picture.shape[1]] = picture
        left += picture.shape[1]
    ok, png = cv2.imencode(".png", canvas)
    if not ok:
        raise RuntimeFailure("OpenCV could not encode the confusion matrix as PNG")
    return bytes(png)


def _draw(panel: Panel) -> npt.NDArray[np.uint8]:
    confusion, labels = panel.confusion, panel.labels
    cell = int(np.clip(_PICTURE_PIXELS // len(labels), *_CELL_PIXELS))
    samples = confusion.sum(axis=1, keepdims=True)
    share = confusion / np.maximum(samples, 1)
    # Viridis reversed: pale for 0, dark for 1, and readable without colour vision.
    heat = cv2.applyColorMap(np.rint(255 * (1 - share)).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    heat[share == 0] = 255
    heat = np.kron(heat, np.ones((cell, cell, 1), np.uint8))
    named = cell >= _READABLE_PIXELS
    names = [_short(label) for label in labels] if named else []
    size = min(0.5, cell / 28)
    left = max([_text_width(n, size) for n in names], default=0) + 2 * _MARGIN
    title = f"{_short(panel.name, 48)}: true classes in rows, predicted in columns"
    top = 40
    width = max(left + heat.shape[1], _text_width(title, 0.5) + _MARGIN) + _MARGIN
    height = top + heat.shape[0] + (left if named else _MARGIN)
    canvas = np.full((height, width, 3), 255, np.uint8)
    canvas[top : top + heat.shape[0], left : left + heat.shape[1]] = heat
    frame = ((left - 1, top - 1), (left + heat.shape[1], top + heat.shape[0]))
    cv2.rectangle(canvas, *frame, (160, 160, 160))
    _write(canvas, title, (_MARGIN, 24), 0.5)
    for i, text in enumerate(names):
        middle = i * cell + cell // 2 + round(10 * size)
        _write(canvas, text, (left - _MARGIN // 2 - _text_width(text, size), top + middle), size)
        _write_upwards(canvas, text, (left + middle, top + heat.shape[0] + _MARGIN // 2), size)
    if named:
        for row, column in np.argwhere(confusion):
            text = str(confusion[row, column])
            x = left + column * cell + (cell - _text_width(text, size)) // 2
            y = top + row * cell + cell // 2 + round(10 * size)
            light = 255 if share[row, column] > 0.5 else 0
            _write(canvas, text, (int(x), int(y)), size, (light,) * 3)
    return canvas


def _short(name: str, length: int = _MAX_NAME) -> str:
    return name if len(name) <= length else name[: length - 2] + ".."


def _text_width(text: str, size: float) -> int:
    return int(cv2.getTextSize(text, _FONT, size, 1)[0][0])


def _write(
    canvas: npt.NDArray[np.uint8],
    text: str,
    place: tuple[int, int],
    size: float,
    colour: tuple[int, ...] = (0, 0, 0),
) -> None:
    cv2.putText(canvas, text, place, _FONT, size, colour, 1, cv2.LINE_AA)


def _write_upwards(
    canvas: npt.NDArray[np.uint8], text: str, place: tuple[int, int], size: float
) -> None:
    """Text that reads from the bottom to the top, its end at `place`."""
    length, height = _text_width(text, size), round(30 * size)
    strip = np.full((height, length, 3), 255, np.uint8)
    _write(strip, text, (0, round(22 * size)), size)
    turned = cv2.rotate(strip, cv2.ROTATE_90_COUNTERCLOCKWISE)
    x, y = place[0] - round(22 * size), place[1]
    turned = turned[: canvas.shape[0] - y, : canvas.shape[1] - x]
    canvas[y : y + turned.shape[0], x : x + turned.shape[1]] = turned
