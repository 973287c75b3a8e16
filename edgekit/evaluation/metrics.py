"""The numbers a classifier is judged by: pure functions of numpy arrays.

Where scores tie, the class with the lower index comes first, as in `argmax`. Outputs of 8 bits tie
often, so the rule is part of the result.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgekit.types import Calibration, CalibrationBin, ClassRow, Macro

Floats = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

#: The 97.5 % quantile of the standard normal distribution: 95 % two-sided.
_Z_95 = 1.959963984540054

#: Probabilities below the resolution of float32 near 1 count as this: a quantized output says 0 of
#: what is merely less than half a step, and one such image would make a mean log infinite.
_SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)


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


def mean_sqnr(reference: Scores, other: Scores) -> float:
    """The mean over images of the SQNR of each one's scores, in dB; infinite where both are equal.

    Every image counts the same. In the SQNR over all of them a few whose scores are ten times as
    large, as undertrained models give them, outweigh all the others by their square.

    Args:
        reference: [N, classes]; the signal.
        other: The same shape.
    """
    if np.array_equal(reference, other):
        return math.inf
    wide = reference.astype(np.float64)
    signal, noise = (wide**2).sum(axis=1), ((wide - other) ** 2).sum(axis=1)
    # An image without any error, or without any signal, has no finite SQNR: both end at 60 dB.
    share = np.divide(noise, signal, out=np.ones_like(noise), where=signal > 0)
    return float(np.mean(-10 * np.log10(np.clip(share, 1e-6, 1e6))))


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


def log_probabilities(scores: Scores, output: str) -> Floats:
    """The natural logarithms of the probabilities that scores stand for.

    Args:
        scores: float32[N, classes].
        output: `logits`, which pass through a log-softmax, or `probabilities`, which are taken as
            they are, at least 2^-23 each.

    Returns:
        float64[N, classes].
    """
    wide = scores.astype(np.float64)
    if output == "probabilities":
        return np.log(np.maximum(wide, _SMALLEST_PROBABILITY))
    with np.errstate(invalid="ignore"):  # infinite scores give NaN, which is said further on
        shifted = wide - wide.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def negative_log_likelihood(probabilities: Scores, truth: Indices) -> float:
    """The mean of `-log p(true class)` in nats; see `log_probabilities` for zeros.

    Args:
        probabilities: float32[N, classes], N at least 1.
        truth: int64[N].
    """
    logs = log_probabilities(probabilities, "probabilities")
    return float(-np.mean(logs[np.arange(len(truth)), truth]))


def calibration(probabilities: Scores, truth: Indices, bins: int = 15) -> Calibration:
    """Whether a model is as often right as it says; see `calibration_of`.

    Args:
        probabilities: float32[N, classes], N at least 1.
        truth: int64[N].
        bins: How many intervals of equal width.
    """
    top1 = np.argmax(probabilities, axis=1)
    confidence = probabilities[np.arange(len(truth)), top1].astype(np.float64)
    return calibration_of(confidence, top1 == truth, bins)


def calibration_of(
    confidence: Floats, correct: npt.NDArray[np.bool_], bins: int = 15
) -> Calibration:
    """The expected and the maximum calibration error, by bins of equal width.

    Bin m of M holds confidences in ((m - 1) / M, m / M]; ECE = sum over bins of count / N times
    |accuracy - confidence|, MCE the largest of these gaps (Guo et al., "On Calibration of Modern
    Neural Networks", 2017, arXiv:1706.04599, equations 3 and 5). The estimate depends on the bins
    and is biased upwards for few images.

    Args:
        confidence: float64[N], the probability of the top-1 class, N at least 1.
        correct: bool[N], whether that class is the true one.
        bins: How many intervals; 15 in the paper.

    Returns:
        The errors (NaN where a confidence is NaN) and every bin, empty ones included.
    """
    edges = np.arange(bins + 1) / bins
    # A quantized output may say 0, which belongs to the first bin.
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidences = np.bincount(place, confidence, bins) / counts
        accuracies = np.bincount(place, correct, bins) / counts
    filled = counts > 0
    gaps = np.abs(accuracies - confidences)[filled]
    return Calibration(
        ece=float(np.sum(counts[filled] * gaps) / len(confidence)),
        mce=float(np.max(gaps)),
        bins=tuple(
            CalibrationBin(
                low=float(edges[i]),
                high=float(edges[i + 1]),
                count=int(counts[i]),
                confidence=float(confidences[i]) if filled[i] else None,
                accuracy=float(accuracies[i]) if filled[i] else None,
            )
            for i in range(bins)
        ),
    )


def _ratio(part: Indices, whole: Indices) -> npt.NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
