"""Text that a picture can show: what the font of this OpenCV lacks is spelled in letters it has.

OpenCV 5 draws most scripts, OpenCV 4 (Hershey fonts) ASCII alone; both draw a question mark for
what they lack and say nothing.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

Canvas = npt.NDArray[np.uint8]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LATIN = re.compile(r"LATIN (?P<case>SMALL|CAPITAL) (LETTER|LIGATURE) (?P<base>[A-Z]{1,2})\b")
#: Latin letters that no rule of Unicode takes apart.
_SPELLED = {"\N{LATIN SMALL LETTER SHARP S}": "ss", "\N{LATIN SMALL LETTER THORN}": "th"}
_ELLIPSIS = ".."


@functools.cache
def can_draw(character: str) -> bool:
    """Whether this OpenCV has a glyph for a character."""
    if not character.isprintable():  # among them the stray bytes of a file's name
        return False
    if character.isascii() or not hasattr(cv2, "FontFace"):
        return character.isascii()
    return not np.array_equal(_glyph(character), _glyph("?"))


def spell(text: str, drawable: Callable[[str], bool] = can_draw) -> str:
    """The text in characters that can be drawn.

    An accent or stroke is dropped where only the letter below it can be drawn; any other character
    that can't be is written as its code point, such as \\u732b.

    Args:
        text: Any text; one line comes back.
        drawable: Whether a single character can be drawn.
    """
    return "".join(
        c if drawable(c) else _spell(c, drawable) for c in unicodedata.normalize("NFC", text)
    )


def width(text: str, size: float) -> int:
    """The width of a text in pixels; `size` is OpenCV's font scale."""
    return int(cv2.getTextSize(text, _FONT, size, 1)[0][0])


def shorten(text: str, room: int, size: float, *, keep_end: bool = False) -> str:
    """Cuts a text to `room` pixels; dots stand for what is left out, at its end or its start."""
    if width(text, size) <= room:
        return text
    for length in range(len(text) - 1, 0, -1):
        cut = _ELLIPSIS + text[-length:] if keep_end else text[:length] + _ELLIPSIS
        if width(cut, size) <= room:
            return cut
    return ""


def write(
    canvas: Canvas, text: str, place: tuple[int, int], size: float, colour: tuple[int, int, int]
) -> None:
    """Draws a line of text.

    Args:
        canvas: uint8[H, W, 3], BGR; drawn on.
        text: As `spell` gives it.
        place: (x, y) of the left end of its base line.
        size: OpenCV's font scale.
        colour: BGR.
    """
    cv2.putText(canvas, text, place, _FONT, size, colour, 1, cv2.LINE_AA)


def _spell(character: str, drawable: Callable[[str], bool]) -> str:
    if not character.isprintable():
        return " " if character.isspace() else _code_point(character)
    # NFKD turns ligatures and wide letters into plain ones, too.
    base = "".join(
        c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c)
    )
    if base and base != character and all(map(drawable, base)):
        return base
    if character.lower() in _SPELLED:
        return _SPELLED[character.lower()]
    latin = _LATIN.match(unicodedata.name(character, ""))
    if latin is None:
        return _code_point(character)
    return latin["base"].lower() if latin["case"] == "SMALL" else latin["base"]


def _code_point(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _glyph(character: str) -> Canvas:
    canvas = np.zeros((40, 60, 3), np.uint8)
    write(canvas, character, (5, 30), 0.8, (255, 255, 255))
    return canvas
