"""Numbers in words: how the summary and the model card both say them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edgekit.report.facts import TrainingFacts
from edgekit.types import Accuracy, ClassRow

CLASS_HEADERS = ("class", "pictures", "predicted", "precision", "recall", "F1")
CLASS_ALIGN = "<>>>>>"


def percent(share: float | None) -> str:
    """`96.7 %`, or a dash for None."""
    return "-" if share is None else f"{100 * share:.1f} %"


def interval(ends: tuple[float, float]) -> str:
    """`92.6 to 98.6 %`."""
    return f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f} %"


def duration(seconds: float) -> str:
    """`4.1 s`, `2 min 30 s` or `1 h 5 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def plural(count: int, noun: str, ending: str = "s") -> str:
    """`1 epoch`, `2 epochs`, `1,225 epochs`; with the ending `es`: `2 classes`."""
    return f"{count:,} {noun}{'' if count == 1 else ending}"


def hits(accuracy: Accuracy) -> str:
    """`148 of 153`."""
    return f"{round(accuracy.top1 * accuracy.images):,} of {accuracy.images:,}"


def class_cells(rows: Iterable[ClassRow], labels: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The cells of `CLASS_HEADERS`, a row per class."""
    return [
        (
            *(labels[row.index], str(row.samples), str(row.predicted)),
            *map(percent, (row.precision, row.recall, row.f1)),
        )
        for row in rows
    ]


def stages(seconds: Mapping[str, float]) -> str:
    """`2 min 30 s (read 3.1 s, train 2 min 27 s)`; stages too short to matter are left out."""
    named = ", ".join(f"{name} {duration(s)}" for name, s in seconds.items() if s >= 0.05)
    total = duration(sum(seconds.values()))
    return f"{total} ({named})" if named else total


def kept_epoch(training: TrainingFacts) -> str | None:
    """`epoch 6 of fine-tuning`, or None where no epoch was kept."""
    if training.kept is None:
        return None
    row = training.history[training.kept]
    return f"epoch {row.epoch} of {row.phase}"


def size(preprocessing: Mapping[str, object]) -> str:
    """`224 x 224`, height first."""
    return f"{preprocessing['height']} x {preprocessing['width']}"
