"""From scores to `Accuracy`: the one road that training and `edgekit evaluate` both take."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.evaluation import metrics
from edgekit.types import Accuracy


@dataclass(frozen=True)
class Guesses:
    """What is kept of a model's scores: one entry per image, whatever the number of classes.

    Attributes:
        classes: The number of classes.
        truth: int64[N], the true classes.
        top1: int64[N], the classes with the highest score.
        confidence: float64[N], the probabilities of those, 0..1.
        in_top5: bool[N], whether the true class is among the five highest.
        loss: float64[N], the negative log likelihood of the true class, in nats.
    """

    classes: int
    truth: metrics.Indices
    top1: metrics.Indices
    confidence: metrics.Floats
    in_top5: npt.NDArray[np.bool_]
    loss: metrics.Floats

    def worst(self, count: int = 24) -> metrics.Indices:
        """The positions of the worst images: wrong ones first, then by falling loss.

        A loss of NaN comes before any number.

        Returns:
            int64[at most `count`].
        """
        loss = np.where(np.isnan(self.loss), np.inf, self.loss)
        return np.lexsort((-loss, self.top1 == self.truth))[:count]


def guesses(scores: metrics.Scores, truth: metrics.Indices, output: str = "logits") -> Guesses:
    """Keeps of the scores what judging needs.

    Args:
        scores: float32[N, classes].
        truth: int64[N].
        output: `logits` or `probabilities`, as in the contract.
    """
    logs = metrics.log_probabilities(scores, output)
    rows, top1 = np.arange(len(truth)), np.argmax(scores, axis=1)
    return Guesses(
        classes=scores.shape[1],
        truth=truth,
        top1=top1,
        confidence=np.exp(logs[rows, top1]),
        in_top5=metrics.top_k_hits(scores, truth, 5),
        loss=-logs[rows, truth],
    )


def join(blocks: Sequence[Guesses]) -> Guesses:
    """One after the other; at least one, all of the same model."""
    fields = [field.name for field in dataclasses.fields(Guesses) if field.name != "classes"]
    return Guesses(
        blocks[0].classes,
        **{name: np.concatenate([getattr(block, name) for block in blocks]) for name in fields},
    )


def accuracy(guesses: Guesses) -> Accuracy:
    """All that is said of a model's answers; at least one image."""
    confusion = metrics.confusion_matrix(guesses.truth, guesses.top1, guesses.classes)
    rows = metrics.per_class(confusion)
    hits, total = int(np.trace(confusion)), len(guesses.truth)
    return Accuracy(
        images=total,
        top1=hits / total,
        top1_interval=metrics.wilson_interval(hits, total),
        top5=float(np.mean(guesses.in_top5)) if guesses.classes > 5 else None,
        macro=metrics.macro(rows),
        per_class=rows,
        confusion=confusion,
        calibration=metrics.calibration_of(guesses.confidence, guesses.top1 == guesses.truth),
        nll=float(np.mean(guesses.loss)),
    )


def judge(scores: metrics.Scores, truth: metrics.Indices, output: str = "logits") -> Accuracy:
    """How good the answers are, from all scores at once.

    Args:
        scores: float32[N, classes], N at least 1.
        truth: int64[N].
        output: `logits` or `probabilities`.
    """
    return accuracy(guesses(scores, truth, output))
