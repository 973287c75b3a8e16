"""CSV files of paths and labels."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from edgekit import images
from edgekit.errors import UnreadableError


@dataclass(frozen=True)
class Row:
    """One picture of a table.

    Attributes:
        number: Its row in the file, from 1, blank rows not counted.
        path: The file; it exists.
        label: The second cell.
        more: The cells behind.
    """

    number: int
    path: Path
    label: str
    more: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A CSV of paths and labels.

    Attributes:
        header: The cells of its header, or None where it has none.
        rows: Sorted by path.
    """

    header: tuple[str, ...] | None
    rows: tuple[Row, ...]


def read_table(root: Path, labels_csv: Path) -> Table:
    """Reads a CSV of path and label, with or without a header.

    Args:
        root: What paths are relative to; where there is no such file, the CSV's folder.
        labels_csv: UTF-8, with commas.

    Raises:
        UnreadableError: It can't be read, lists no picture, names a file that isn't there, or
            mixes numbers and names.
    """
    try:
        with labels_csv.open(newline="", encoding="utf-8-sig") as file:
            found = [row for row in csv.reader(file) if row and row[0].strip()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnreadableError(f"{labels_csv}: can't be read as a CSV file ({error})") from error
    header: tuple[str, ...] | None = None
    rows = []
    for number, cells in enumerate(found, 1):
        if len(cells) < 2:
            raise UnreadableError(
                f"{labels_csv}, row {number}: expected a path and a label, found {cells!r}"
            )
        name, label, *more = (cell.strip() for cell in cells)
        path = next((d / name for d in (root, labels_csv.parent) if (d / name).is_file()), None)
        if path is not None:
            rows.append(Row(number, path, label, tuple(more)))
        elif number == 1 and Path(name).suffix.lower() not in images.EXTENSIONS:
            header = (name, label, *more)
        else:
            raise UnreadableError(
                f"{labels_csv}, row {number}: no file {name} in {root} or {labels_csv.parent}"
            )
    if not rows:
        raise UnreadableError(f"{labels_csv}: no picture is listed in it")
    if len({row.label.isdecimal() for row in rows}) > 1:
        raise UnreadableError(
            f"{labels_csv}: some labels are numbers and some are names", "Use one kind."
        )
    return Table(header, tuple(sorted(rows, key=lambda row: row.path)))
