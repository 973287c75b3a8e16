"""Public value types that more than one room shares."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a model.

    Attributes:
        name: Its name in the file.
        index: Its index in the main subgraph.
        shape: Its shape, the batch included, such as (1, 224, 224, 3).
        dtype: Its numpy dtype name, such as `int8`.
        scale: The size of a quantization step in real units, or None for a float tensor.
        zero_point: The quantized value that means 0.0, or None for a float tensor.
    """

    name: str
    index: int
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None

    @property
    def quantization(self) -> tuple[float, int] | None:
        """(scale, zero point), or None for a float tensor."""
        if self.scale is None or self.zero_point is None:
            return None
        return self.scale, self.zero_point

    @property
    def nbytes(self) -> int:
        """The size of its value in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def dequantize(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """Real values, float32 of the same shape: `(values - zero_point) * scale`."""
        if self.scale is None or self.zero_point is None:
            return values.astype(np.float32)
        real = (values.astype(np.int32) - self.zero_point) * np.float32(self.scale)
        return real.astype(np.float32)


@dataclass(frozen=True)
class EpochRow:
    """One finished epoch of training.

    Attributes:
        phase: `feature extraction` or `fine-tuning`.
        epoch: Counted from 1 within its phase.
        seconds: How long it took, validation included.
        learning_rate: At its end.
        loss: Mean training loss, as the optimizer saw it (augmented, with label smoothing).
        accuracy: Training accuracy, 0..1.
        val_loss: Loss on the validation set.
        val_accuracy: Accuracy on the validation set, 0..1.
    """

    phase: str
    epoch: int
    seconds: float
    learning_rate: float
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float


@dataclass(frozen=True)
class ClassRow:
    """How one class fares.

    Attributes:
        index: The class.
        samples: Images of this class (the support).
        predicted: Images that were taken for this class.
        precision: Of those taken for this class, the share that is; 0 where none was.
        recall: Of those of this class, the share that was found; 0 where there are none.
        f1: The harmonic mean of the two; 0 where both are 0.
    """

    index: int
    samples: int
    predicted: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Macro:
    """Means over the classes that have samples, each class with the same weight.

    Classes without samples are left out: their recall is undefined, and counting it as 0 would
    punish a model for the choice of photos.
    """

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class CalibrationBin:
    """The images whose top-1 confidence falls in one interval.

    Attributes:
        low: Its lower end, which belongs to the bin below.
        high: Its upper end, which belongs to it.
        count: How many images fall in it.
        confidence: Their mean confidence, or None where there are none.
        accuracy: The share of them that is right, or None where there are none.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """Whether a model is as often right as it says.

    Attributes:
        ece: Expected calibration error, 0..1: the mean over images of the gap between confidence
            and accuracy of their bin.
        mce: Maximum calibration error, 0..1: the largest gap of a bin.
        bins: Of equal width, from 0 to 1.
    """

    ece: float
    mce: float
    bins: tuple[CalibrationBin, ...]


@dataclass(frozen=True)
class Accuracy:
    """How often a model is right, and whether it knows.

    Attributes:
        images: How many it was judged on.
        top1: Share of images whose class it names, 0..1.
        top1_interval: Its 95 % Wilson interval.
        top5: Share with the class among the five highest scores; None with 5 classes or fewer.
        macro: Means over the classes that have samples.
        per_class: One row per class of the model.
        confusion: int64[classes, classes], true classes in rows.
        calibration: Of the top-1 confidence.
        nll: Mean negative log likelihood of the true class, in nats.
    """

    images: int
    top1: float
    top1_interval: tuple[float, float]
    top5: float | None
    macro: Macro
    per_class: tuple[ClassRow, ...]
    confusion: npt.NDArray[np.int64]
    calibration: Calibration
    nll: float

    def to_dict(self, labels: Sequence[str] | None = None) -> dict[str, Any]:
        """Plain JSON values.

        A confusion matrix is written as its non-zero entries, `[true, predicted, count]`: with a
        thousand classes nearly all are zero. Classes with no image and no guess are left out, and
        so are empty bins. A number that isn't finite (of a model whose scores aren't) is a text.

        Args:
            labels: One name per class; their numbers by default.
        """
        rows, columns = np.nonzero(self.confusion)
        return {
            "images": self.images,
            "top1": self.top1,
            "top1_interval_95": list(self.top1_interval),
            "top5": self.top5,
            "macro": dataclasses.asdict(self.macro),
            "per_class": [
                {
                    "label": str(row.index) if labels is None else labels[row.index],
                    **dataclasses.asdict(row),
                }
                for row in self.per_class
                if row.samples or row.predicted
            ],
            "confusion": [
                [int(r), int(c), int(self.confusion[r, c])]
                for r, c in zip(rows, columns, strict=True)
            ],
            "calibration": {
                "ece": finite(self.calibration.ece),
                "mce": finite(self.calibration.mce),
                "bins": [
                    {name: finite(value) for name, value in dataclasses.asdict(b).items()}
                    for b in self.calibration.bins
                    if b.count
                ],
            },
            "negative_log_likelihood": finite(self.nll),
        }


def finite(value: float | None) -> float | str | None:
    """The value as JSON can hold it, which has no infinity and no NaN: those become text."""
    return value if value is None or math.isfinite(value) else str(value)
