"""The numbers a classifier is judged by: pure functions of numpy arrays.

Where scores tie, the class with the lower index comes first, as in `argmax`. Outputs of 8 bits tie
often, so the rule is part of the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

#: The 97.5 % quantile of the standard normal distribution: 95 % two-sided.
_Z_95 = 1.959963984540054


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


def top_k_hits(scores: Scores, truth: Indices, k: int) -> npt.NDArray[np.bool_]:
    """Whether the true class is among the k highest scores.

    Args:
        scores: float32[N, classes].
        truth: int64[N], the class of each image.
        k: How many guesses count.

    Returns:
        bool[N].
    """
    rows = np.arange(len(truth))
    own = scores[rows, truth][:, None]
    earlier = np.arange(scores.shape[1])[None, :] < truth[:, None]
    ahead = (scores > own) | ((scores == own) & earlier)
    return np.asarray(ahead.sum(axis=1) < k)


def top_k_accuracy(scores: Scores, truth: Indices, k: int = 1) -> float:
    """The share of images whose true class is among the k highest scores, 0..1.

    Args:
        scores: float32[N, classes], N at least 1.
        truth: int64[N].
        k: How many guesses count.
    """
    return float(np.mean(top_k_hits(scores, truth, k)))


def confusion_matrix(truth: Indices, predicted: Indices, classes: int) -> Indices:
    """Counts of images by true class (rows) and predicted class (columns).

    Args:
        truth: int64[N].
        predicted: int64[N].
        classes: The number of classes.

    Returns:
        int64[classes, classes].
    """
    counts = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


def per_class(confusion: Indices) -> tuple[ClassRow, ...]:
    """Precision, recall and F1 of every class.

    precision = TP / (TP + FP), recall = TP / (TP + FN), F1 = 2 TP / (2 TP + FP + FN)
    (van Rijsbergen, Information Retrieval, 2nd ed. 1979, chapter 7).

    Args:
        confusion: int64[classes, classes], true classes in rows.
    """
    hits = np.diag(confusion)
    samples, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = _ratio(hits, predicted), _ratio(hits, samples)
    f1 = _ratio(2 * hits, samples + predicted)
    return tuple(
        ClassRow(
            i, int(samples[i]), int(predicted[i]), *map(float, (precision[i], recall[i], f1[i]))
        )
        for i in range(len(confusion))
    )


def macro(rows: tuple[ClassRow, ...]) -> Macro:
    """The unweighted means over the classes that have samples; at least one must have.

    Macro F1 is the mean of the classes' F1, not the F1 of the means (Opitz and Burst, "Macro F1
    and Macro F1", 2019, arXiv:1911.03347, recommend the former).
    """
    present = [row for row in rows if row.samples]
    return Macro(
        precision=float(np.mean([row.precision for row in present])),
        recall=float(np.mean([row.recall for row in present])),
        f1=float(np.mean([row.f1 for row in present])),
    )


def agreement(first: Indices, second: Indices) -> float:
    """The share of images on which two models have the same top-1 class, 0..1.

    Args:
        first: int64[N], top-1 classes, N at least 1.
        second: int64[N].
    """
    return float(np.mean(first == second))


def signal_and_noise(reference: Scores, other: Scores) -> tuple[float, float]:
    """The two sums of an SQNR, which add up over blocks of images.

    Returns:
        (sum of reference^2, sum of (reference - other)^2), in float64.
    """
    wide = reference.astype(np.float64)
    return float(np.sum(wide**2)), float(np.sum((wide - other) ** 2))


def decibels(signal: float, noise: float) -> float:
    """`10 log10(signal / noise)`; infinite without noise, minus infinite without signal."""
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def sqnr(reference: Scores, other: Scores) -> float:
    """The signal-to-quantization-noise ratio of a tensor, in dB; infinite where both are equal.

    `10 log10(sum(reference^2) / sum((reference - other)^2))`, over the whole tensor (Sheng et al.,
    "A Quantization-Friendly Separable Convolution for MobileNets", 2018, section 3).

    Args:
        reference: Any shape; the signal.
        other: The same shape.
    """
    return decibels(*signal_and_noise(reference, other))


def wilson_interval(hits: int, total: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share, both ends in 0..1.

    Unlike the normal approximation it holds for small samples and near 0 and 1 (Wilson, JASA 22,
    1927; Brown, Cai and DasGupta, Statistical Science 16, 2001, section 3.1.1).

    Args:
        hits: How many succeeded.
        total: Out of how many, at least 1.
    """
    share, z2 = hits / total, _Z_95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z_95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def softmax(logits: Scores) -> Scores:
    """Probabilities over the last axis: `exp(x - max) / sum(exp(x - max))`, in float64 inside."""
    wide = logits.astype(np.float64)
    powers = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)


def _ratio(part: Indices, whole: Indices) -> npt.NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
