"""Tables as text: for a terminal, and in Markdown."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

_GAP = "  "


def table(headers: Sequence[object], rows: Iterable[Sequence[object]], align: str = "") -> str:
    """Aligns rows in columns under their headers.

    Args:
        headers: One per column; all empty for a table without a header line.
        rows: Cells, turned to text with `str`; a short row is filled with empty cells.
        align: `<` or `>` per column. By default a column goes to the right where every cell is
            empty, a dash, or starts like a number, and to the left otherwise.

    Returns:
        The lines, without a newline at the end or blanks at the ends of lines.
    """
    count = len(headers)
    cells = [[printable(str(cell)) for cell in (*row, *[""] * (count - len(row)))] for row in rows]
    head = [printable(str(header)) for header in headers]
    lines = [head, *cells] if any(head) else cells
    widths = [max((_width(line[i]) for line in lines), default=0) for i in range(count)]
    sides = align or "".join(
        ">" if cells and all(_like_a_number(row[i]) for row in cells) else "<" for i in range(count)
    )
    return "\n".join(
        _GAP.join(
            _pad(cell, width, side) for cell, width, side in zip(line, widths, sides, strict=True)
        ).rstrip()
        for line in lines
    )


def markdown(headers: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """The same table in Markdown; the lines, without a newline at the end."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(
        f"| {' | '.join(printable(str(cell)).replace('|', chr(92) + '|') for cell in line)} |"
        for line in lines
    )


def printable(text: str) -> str:
    """The text on one line, with what could steer a terminal replaced.

    Names come from files of unknown origin, and an escape sequence in one must stay a name.
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _like_a_number(cell: str) -> bool:
    return cell.lstrip("+-<>~ ")[:1].isdigit() or cell in ("", "-", "\N{EN DASH}")


def _pad(cell: str, width: int, side: str) -> str:
    blanks = " " * (width - _width(cell))
    return blanks + cell if side == ">" else cell + blanks


def _width(text: str) -> int:
    """Columns on a terminal: wide East Asian letters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
