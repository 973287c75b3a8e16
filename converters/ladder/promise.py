"""What is promised of the int8 file, and whether the judging images say that it is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.converters.rewriting import Array
from edgekit.errors import UsageError
from edgekit.evaluation.metrics import agreement, mean_sqnr
from edgekit.evaluation.paired import Paired, images_needed, limits, lower_limit

KEPT, UNDECIDED, BROKEN = "kept", "undecided", "broken"


@dataclass(frozen=True)
class Promise:
    """How much may be lost.

    Attributes:
        max_drop: The highest drop of top-1 accuracy, in points; None for a promise on agreement.
        min_agreement: The lowest share of images with the float model's answer, in percent; None
            for a promise on accuracy.
        confidence: How sure the promise must be, in percent, over all rungs; 0 takes what was
            observed as it is.
    """

    max_drop: float | None = None
    min_agreement: float | None = None
    confidence: float = 95.0

    def __post_init__(self) -> None:
        if (self.max_drop is None) == (self.min_agreement is None):
            raise UsageError(
                "a promise is on accuracy or on agreement", "Give --max-drop or --min-agreement."
            )
        if self.max_drop is not None and not 0 <= self.max_drop <= 100:
            raise UsageError(f"--max-drop {self.max_drop:g}: expected 0 to 100 points")
        if self.min_agreement is not None and not 0 < self.min_agreement <= 100:
            raise UsageError(f"--min-agreement {self.min_agreement:g}: expected up to 100 percent")
        if not (self.confidence == 0 or 50 <= self.confidence < 100):
            raise UsageError(
                f"--confidence {self.confidence:g}: expected 50 to 99.9 percent, or 0 for what was "
                "observed"
            )

    @property
    def words(self) -> str:
        """The promise in words."""
        if self.max_drop is not None:
            return f"at most {self.max_drop:g} points of top-1 lost"
        return f"the float model's answer on at least {self.min_agreement:g} % of images"

    def confidence_of(self, look: int) -> float:
        """The confidence that look number 0, 1, ... at the judging images is held to, 0.5..1.

        Every look is a chance to be lucky, so each may err with half the probability of the one
        before: all together err with at most 1 - `confidence` (a union bound).
        """
        if self.confidence == 0:
            return 0.5
        return 1 - (1 - self.confidence / 100) / 2 ** (look + 1)


@dataclass(frozen=True)
class Judgement:
    """What the judging images say of one file.

    Attributes:
        verdict: `kept`, `undecided` or `broken`.
        images: How many judged.
        top1: Accuracy, 0..1, or None without labels.
        paired: The images that only one of the two got right, or None without labels.
        interval: The one-sided limits of the drop, or None without labels.
        agreement: Share with the float model's answer, 0..1.
        agreement_limit: Its one-sided lower limit.
        sqnr_db: Of the scores, the mean over the images, in dB.
        confidence: Of the limits, 0.5..1.
        needed: How many images would show that the promise is kept if it went on like this, or
            None where more images wouldn't.
    """

    verdict: str
    images: int
    top1: float | None
    paired: Paired | None
    interval: tuple[float, float] | None
    agreement: float
    agreement_limit: float
    sqnr_db: float
    confidence: float
    needed: int | None

    @property
    def drop(self) -> float | None:
        """How much lower the accuracy is than the float model's, -1..1, or None without labels."""
        return None if self.paired is None else self.paired.drop


def judge(
    promise: Promise, look: int, float_scores: Array, scores: Array, truth: Array | None
) -> Judgement:
    """Judges one file by its answers.

    Args:
        promise: What was promised.
        look: How often these images have been looked at before.
        float_scores: float32[N, classes], the float model's.
        scores: float32[N, classes], the file's.
        truth: int64[N], the true classes, or None.
    """
    expected, answers = float_scores.argmax(axis=1), scores.argmax(axis=1)
    images, confidence = len(answers), promise.confidence_of(look)
    same = int((expected == answers).sum())
    limit = same / images
    if promise.confidence:
        limit = lower_limit(same, images, confidence)
    paired = interval = None
    if truth is not None:
        right, still_right = expected == truth, answers == truth
        lost, won = int((right & ~still_right).sum()), int((still_right & ~right).sum())
        paired = Paired(images, lost, won)
        interval = limits(paired, confidence)
    if promise.max_drop is not None:
        assert paired is not None and interval is not None
        allowed = promise.max_drop / 100
        verdict = _verdict(interval[1] <= allowed, interval[0] > allowed)
        needed = images_needed(paired, allowed, confidence) if verdict == UNDECIDED else None
    else:
        assert promise.min_agreement is not None
        share = promise.min_agreement / 100
        # That of disagreement is the upper limit of agreement.
        highest = (
            1 - lower_limit(images - same, images, confidence) if promise.confidence else limit
        )
        verdict = _verdict(limit >= share, highest < share)
        needed = (
            _agreement_needed(same, images, share, confidence) if verdict == UNDECIDED else None
        )
    return Judgement(
        verdict=verdict,
        images=images,
        top1=None if truth is None else float(np.mean(answers == truth)),
        paired=paired,
        interval=interval,
        agreement=agreement(expected, answers),
        agreement_limit=limit,
        sqnr_db=mean_sqnr(float_scores, scores),
        confidence=confidence,
        needed=needed,
    )


def _verdict(kept: bool, broken: bool) -> str:
    return KEPT if kept else BROKEN if broken else UNDECIDED


def _agreement_needed(same: int, images: int, share: float, confidence: float) -> int | None:
    """How many images would show an agreement of at least `share`, if it went on like this."""
    if same / images <= share:
        return None
    factor = 1.0
    while lower_limit(round(same * factor), round(images * factor), confidence) < share:
        factor *= 1.05
    return round(images * factor)
