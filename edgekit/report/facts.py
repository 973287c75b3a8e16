"""What is known of a training when it is over: the source of the model card and the summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from edgekit.types import Accuracy, EpochRow


@dataclass(frozen=True)
class ModelFacts:
    """What was trained.

    Attributes:
        path: The file as the user gave it, such as `out/ants.keras`.
        architecture: Its name in the zoo.
        paper: Where it was published.
        weights: What it started from, in words, such as `ImageNet, from PACKAGE 0.1.0`.
        licence: Of those weights.
        parameters: Trainable ones, with its present classes.
        macs: Multiply-accumulates of one inference, or None where not counted.
    """

    path: str
    architecture: str
    paper: str
    weights: str
    licence: str
    parameters: int
    macs: int | None = None


@dataclass(frozen=True)
class DataFacts:
    """What it was trained on.

    Attributes:
        root: The folder or CSV as the user gave it.
        labels: The classes, in the order of the outputs.
        pictures: Split (`train`, `val`, perhaps `test`) -> pictures per class, in that order.
        split_by: How the split came about, in words, such as `the folders train/ and val/`.
        digest: A hash of the pictures and their labels, in hexadecimal.
        broken: (file, reason) of those that can't be read.
        warnings: What the linter said.
    """

    root: str
    labels: tuple[str, ...]
    pictures: Mapping[str, tuple[int, ...]]
    split_by: str
    digest: str
    broken: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Phase:
    """One phase of the training.

    Attributes:
        name: `feature extraction` or `fine-tuning`.
        epochs: How many ran.
        seconds: How long they took together.
    """

    name: str
    epochs: int
    seconds: float


@dataclass(frozen=True)
class TrainingFacts:
    """How it was trained.

    Attributes:
        command: The line that does it again.
        changed: Every setting that is not at its default, by the name of its option.
        history: The epochs, in the order they ran.
        kept: The position in `history` of the epoch whose weights were kept, or None.
        stopped: Why it ended before the last epoch, in words, or None.
        seconds: Stage -> how long it took, in the order they ran.
        warnings: What happened on the way, such as a batch that was halved.
    """

    command: str
    changed: Mapping[str, object]
    history: tuple[EpochRow, ...]
    kept: int | None
    stopped: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases, in the order they ran."""
        runs = [(name, list(rows)) for name, rows in groupby(self.history, lambda row: row.phase)]
        return tuple(Phase(name, len(rows), sum(r.seconds for r in rows)) for name, rows in runs)


@dataclass(frozen=True)
class CardFacts:
    """All that the model card and the summary tell.

    Attributes:
        model: What was trained.
        data: On what.
        training: How.
        preprocessing: `Contract.to_dict()`.
        results: Split -> how good it is there, `val` before `test`.
        files: What lies in the card's folder, by role (`curves`, `confusion`, `reliability`,
            `mistakes`, `metrics`, ...) -> the file's name.
        written: Every path that was written, as the user should see it.
        versions: Package -> version.
        machine: What it ran on, in words.
        date: The day, or None for a card without one.
    """

    model: ModelFacts
    data: DataFacts
    training: TrainingFacts
    preprocessing: Mapping[str, Any]
    results: Mapping[str, Accuracy]
    files: Mapping[str, str]
    written: tuple[str, ...]
    versions: Mapping[str, str]
    machine: str
    date: str | None = None
