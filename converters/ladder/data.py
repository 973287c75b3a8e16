"""The images a promise is judged by: never among those that the model is fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit import datasets, images
from edgekit.contract import Contract
from edgekit.converters.rewriting import Array
from edgekit.datasets import Dataset
from edgekit.datasets.loading import Progress
from edgekit.errors import UnreadableError, UsageError

#: Bytes of judging images that are held: 20,000 of 224 x 224.
_MOST_BYTES = 3 << 30
#: Calibration images, and those that rungs are fitted to, at most.
MOST_CALIBRATION = 1000


@dataclass(frozen=True)
class Data:
    """Where the images come from.

    Attributes:
        calibration: To calibrate on and to fit.
        judging: To judge by.
        note: How they were told apart, in words.
    """

    calibration: Dataset
    judging: Dataset
    note: str


@dataclass(frozen=True)
class Judges:
    """Images that judge.

    Attributes:
        pictures: uint8[N, height, width, 3], fitted to the contract.
        truth: int64[N], their classes, or None.
    """

    pictures: images.Picture
    truth: Array | None


def open_data(
    data: Path | None,
    judge: Path | None,
    labels_csv: Path | None,
    progress: Progress | None = None,
) -> Data:
    """Finds the images, and splits them where no judging images were given.

    Raises:
        UsageError: No images were given, too few, or the two sets have pictures in common.
        UnreadableError: A folder can't be read.
    """
    if data is None:
        raise UsageError(
            "a promise is judged by photos, and none were given",
            "Give some hundred, labelled by class folders: --data PHOTOS",
        )
    dataset = datasets.find(data, labels_csv)
    if judge is not None:
        judging = datasets.find(judge)
        datasets.refuse_overlap(
            [s.path for s in dataset.samples], [s.path for s in judging.samples], progress
        )
        return Data(dataset, judging, f"judged by {judge}")
    held = datasets.hold_out(dataset, MOST_CALIBRATION, progress)
    note = (
        f"split by content: {len(held.calibration.samples):,} to calibrate, "
        f"{len(held.judging.samples):,} to judge"
    )
    if held.repeated:
        note += f"; {held.repeated} file(s) with the content of another left out"
    if held.broken:
        note += f"; {len(held.broken)} unreadable"
    return Data(held.calibration, held.judging, note)


def load_judges(
    judging: Dataset,
    contract: Contract,
    classes: int,
    *,
    labels_needed: bool,
    progress: Progress | None = None,
) -> Judges:
    """Decodes the judging images.

    Raises:
        UsageError: The promise is on accuracy and there are no labels, or they don't fit the model.
        UnreadableError: None can be read.
    """
    truth = judging.indices(contract, classes)
    if labels_needed and truth is None:
        raise UsageError(
            f"{judging.root}: a promise on accuracy needs labels, and these pictures have none",
            "Put them in class folders or give --labels-csv, or promise --min-agreement instead.",
        )
    most = max(1, _MOST_BYTES // (contract.height * contract.width * 3))
    chosen = datasets.select(judging.samples, most)
    loaded = datasets.load(chosen, contract, progress)
    if not loaded.samples:
        path, reason = loaded.broken[0]
        raise UnreadableError(
            f"{judging.root}: no judging picture can be read ({path.name}: {reason})"
        )
    if truth is None:
        return Judges(loaded.pictures, None)
    of = dict(zip((s.path for s in judging.samples), truth, strict=True))
    return Judges(loaded.pictures, np.array([of[s.path] for s in loaded.samples], np.int64))
