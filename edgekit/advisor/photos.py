"""Looks at the photos a model is to be trained on, without training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit import images
from edgekit.datasets import Example, Splits

#: Photos that are measured for the typical resolution.
_MEASURED = 64
#: Folders with photos that nothing is learned from; what was chosen by least comes first.
_JUDGING = ("test", "val", "valid", "validation")


@dataclass(frozen=True)
class Photos:
    """What was seen of the photos.

    Attributes:
        root: Where they are.
        train: How many to learn from.
        val: How many to judge by, split off where there is no folder for them.
        test: How many to look at once, at the end.
        classes: class -> how many of its photos are learned from.
        split_by: What gives the splits, in words.
        width: The median, in pixels.
        height: Likewise.
        unreadable: How many files can't be read, and are left out.
        judge: The folder with photos that nothing is learned from, or None.
        digest: Of all of them and their labels, in hexadecimal.
        warnings: What is likely to hurt, a sentence or two each.
    """

    root: Path
    train: int
    val: int
    test: int
    classes: dict[str, int]
    split_by: str
    width: int
    height: int
    unreadable: int
    judge: Path | None
    digest: str
    warnings: tuple[str, ...]

    @property
    def balance(self) -> float:
        """Photos of the smallest class / of the largest, 0..1."""
        return min(self.classes.values()) / max(self.classes.values())


def look(splits: Splits, labels_csv: Path | None = None) -> Photos:
    """What is to be known of a training set.

    Args:
        splits: As `edgekit train` would read it.
        labels_csv: The table that it was read from, if any.
    """
    width, height = _typical(splits)
    return Photos(
        root=splits.root,
        train=len(splits.train),
        val=len(splits.val),
        test=len(splits.test),
        classes={name: counts[0] for name, counts in splits.counts().items()},
        split_by=splits.source,
        width=width,
        height=height,
        unreadable=len(splits.broken),
        judge=None if labels_csv else _judging(splits.root),
        digest=splits.digest,
        warnings=splits.warnings,
    )


def _typical(splits: Splits) -> tuple[int, int]:
    chosen = _evenly(splits.train, _MEASURED)
    sizes = np.array([images.decode(example.path).shape[:2] for example in chosen])
    height, width = np.median(sizes, axis=0)
    return int(width), int(height)


def _evenly(examples: Sequence[Example], count: int) -> list[Example]:
    places = np.linspace(0, len(examples) - 1, min(count, len(examples)))
    return [examples[int(place)] for place in places]


def _judging(root: Path) -> Path | None:
    """Only where there is a `train` beside it is it a split, not a class."""
    folders = {folder.name.lower(): folder for folder in root.iterdir() if folder.is_dir()}
    if "train" not in folders:
        return None
    return next((folders[name] for name in _JUDGING if name in folders), None)
