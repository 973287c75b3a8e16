"""Finding pictures and their labels.

Labels come from class folders (`cats/1.jpg`), from a CSV of path and label, or from the leading
index of file names (`007_cock.jpg`), in that order of preference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit import images
from edgekit.contract import Contract
from edgekit.datasets.tables import read_table
from edgekit.errors import UnreadableError, UsageError

# Five digits at most and a letter behind, so that a date in a file name is no class.
_LEADING_INDEX = re.compile(r"^(\d{1,5})[_-]\D")
SPLIT_NAMES = frozenset({"train", "val", "valid", "validation", "test"})


@dataclass(frozen=True)
class Sample:
    """One picture of a dataset.

    Attributes:
        path: The file.
        class_name: The name of its class (folder, CSV label), or None.
        index: The class index written in its name (`007_cock.jpg` is 7) or CSV, or None.
    """

    path: Path
    class_name: str | None = None
    index: int | None = None


@dataclass(frozen=True)
class Dataset:
    """The pictures found at a place.

    Attributes:
        root: The folder or CSV file it was read from.
        samples: Sorted by path.
        labelled_by: Where labels come from, in words, or None where there are none.
    """

    root: Path
    samples: tuple[Sample, ...]
    labelled_by: str | None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class names that occur, sorted as Keras sorts folders."""
        return tuple(sorted({s.class_name for s in self.samples if s.class_name is not None}))

    def indices(self, contract: Contract, classes: int) -> list[int] | None:
        """The class index of every sample, in the order of the model's outputs.

        Class names are looked up in the contract's labels; without labels there, the sorted class
        names must be as many as the model has outputs.

        Args:
            contract: Its labels are used.
            classes: How many outputs the model has.

        Returns:
            One index per sample, or None where the dataset carries no labels.

        Raises:
            UsageError: The classes don't fit the model.
        """
        if self.labelled_by is None:
            return None
        if all(s.index is not None for s in self.samples):
            found = [s.index for s in self.samples if s.index is not None]
            if max(found) >= classes:
                raise UsageError(
                    f"{self.root}: class index {max(found)}, but the model has {classes} outputs",
                    "Give data of the classes that the model was trained on.",
                )
            return found
        names = self.class_names
        order = contract.labels
        if order is None:
            if len(names) != classes:
                raise UsageError(
                    f"{self.root}: {len(names)} classes, but the model has {classes} outputs and "
                    "carries no labels",
                    "Give the names of all classes in order with --labels FILE, one a line.",
                )
            order = names
        position = {label: i for i, label in reversed(list(enumerate(order)))}
        unknown = [name for name in names if name not in position]
        if unknown:
            raise UsageError(
                f"{self.root}: {len(unknown)} class(es) that the model doesn't know: "
                f"{', '.join(unknown[:5])}",
                f"Its labels are {', '.join(order[:5])}{', ...' if len(order) > 5 else ''}.",
            )
        return [position[str(s.class_name)] for s in self.samples]


def find(root: Path, labels_csv: Path | None = None) -> Dataset:
    """Finds the pictures at a place.

    Args:
        root: A folder, of any depth and any mix of picture formats, or one picture.
        labels_csv: A CSV of path and label (with or without a header), its paths relative to
            `root` or to the CSV's folder.

    Raises:
        UnreadableError: The folder is missing, or holds no picture.
    """
    if labels_csv is not None:
        return _from_csv(root, labels_csv)
    if not root.exists():
        raise UnreadableError(f"{root}: no such folder", "Give a folder of photos with --data.")
    if root.is_file():
        return Dataset(root, (Sample(root),), None)
    paths = pictures_below(root)
    if not paths:
        raise UnreadableError(
            f"{root}: no picture in this folder or below it",
            f"edgekit reads {', '.join(sorted(images.EXTENSIONS))}.",
        )
    return _labelled(root, paths)


def pictures_below(folder: Path) -> list[Path]:
    """All picture files in a folder and its subfolders, sorted; links to folders not followed.

    Raises:
        UnreadableError: A folder can't be listed.
    """
    return sorted(p for p in _walk(folder) if p.suffix.lower() in images.EXTENSIONS)


def _walk(root: Path) -> Iterator[Path]:
    try:
        entries = sorted(root.iterdir())
    except OSError as error:
        raise UnreadableError(f"{root}: {error.strerror or error}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield from _walk(entry)
        elif entry.is_file():
            yield entry


def _labelled(root: Path, paths: Sequence[Path]) -> Dataset:
    folders = [_class_folder(path.relative_to(root)) for path in paths]
    if all(folders) and len(set(folders)) > 1:
        samples = [Sample(p, name) for p, name in zip(paths, folders, strict=True)]
        return Dataset(root, tuple(samples), f"{len(set(folders))} class folders")
    matches = [_LEADING_INDEX.match(path.name) for path in paths]
    if all(matches):
        samples = [
            Sample(p, None, int(m.group(1))) for p, m in zip(paths, matches, strict=True) if m
        ]
        return Dataset(root, tuple(samples), "the leading index of the file names")
    return Dataset(root, tuple(Sample(p) for p in paths), None)


def _class_folder(relative: Path) -> str | None:
    """The first folder of a relative path, `train/`, `val/` and the like left out."""
    folders = relative.parts[:-1]
    if folders and folders[0].lower() in SPLIT_NAMES:
        folders = folders[1:]
    return folders[0] if folders else None


def _from_csv(root: Path, labels_csv: Path) -> Dataset:
    samples = [
        Sample(row.path, None, int(row.label))
        if row.label.isdecimal()
        else Sample(row.path, row.label)
        for row in read_table(root, labels_csv).rows
    ]
    return Dataset(labels_csv, tuple(samples), f"the labels of {labels_csv.name}")
