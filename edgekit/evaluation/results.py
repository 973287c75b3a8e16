"""What `evaluate` hands back: frozen values that become JSON by `Evaluation.to_dict`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.evaluation.latency import Latency
from edgekit.types import Accuracy, finite


@dataclass(frozen=True)
class ModelResult:
    """What was measured of one model.

    Attributes:
        name: The file's name.
        path: The file.
        size_bytes: The size of the .tflite file (for a Keras file, of its float32 export).
        exported: Whether a Keras file was measured as its float32 TFLite export.
        labels: One name per class: the model's, or else those of the data's class folders.
        preprocessing: Its contract, without the labels.
        accuracy: None where the data carries no labels.
        agreement: Share of images with the same top-1 as the first model; None for the first
            itself and where the classes differ.
        sqnr_db: Of its scores against the first model's, over all images; None for the first and
            where the outputs don't mean the same.
        latency: Batch 1, one thread, alone.
        remark: Why something was not compared, or None.
    """

    name: str
    path: Path
    size_bytes: int
    exported: bool
    labels: tuple[str, ...] | None
    preprocessing: dict[str, Any]
    accuracy: Accuracy | None
    agreement: float | None
    sqnr_db: float | None
    latency: Latency
    remark: str | None

    def label(self, index: int) -> str:
        """The name of a class, or its number where there are no labels."""
        return self.labels[index] if self.labels is not None else str(index)


@dataclass(frozen=True)
class Difference:
    """One image on which the models' top-1 differ.

    Attributes:
        path: The image.
        truth: The name of its class, or None without labels.
        top1: Each model's top-1 by name, in the order of the models.
    """

    path: Path
    truth: str | None
    top1: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        data: The folder or CSV file.
        labelled_by: Where the labels come from, or None where there are none.
        images: How many were read.
        broken: (path, reason) of the files that couldn't be read.
        models: One result per model, in the order given; the first is the reference.
        differences: The images on which the models differ, by path.
    """

    data: Path
    labelled_by: str | None
    images: int
    broken: tuple[tuple[Path, str], ...]
    models: tuple[ModelResult, ...]
    differences: tuple[Difference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values (see `Accuracy.to_dict`); an infinite SQNR is the text "inf"."""
        return {
            "data": str(self.data),
            "labelled_by": self.labelled_by,
            "images": self.images,
            "broken": [{"path": str(path), "reason": reason} for path, reason in self.broken],
            "models": [_model_dict(model) for model in self.models],
            "differences": [
                {"path": str(d.path), "truth": d.truth, "top1": list(d.top1)}
                for d in self.differences
            ],
        }


def _model_dict(model: ModelResult) -> dict[str, Any]:
    accuracy = model.accuracy
    return {
        "name": model.name,
        "path": str(model.path),
        "size_bytes": model.size_bytes,
        "measured_as": "float32 TFLite export" if model.exported else "the file itself",
        "labels": None if model.labels is None else list(model.labels),
        "preprocessing": model.preprocessing,
        "accuracy": None if accuracy is None else accuracy.to_dict(model.labels),
        "agreement": model.agreement,
        "sqnr_db": finite(model.sqnr_db),
        "latency": model.latency.to_dict(),
        "remark": model.remark,
    }
