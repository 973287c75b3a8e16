"""What the features that ImageNet taught are worth on the photos, and what follows from that.

The measure is the accuracy of a new classifier on them (a linear probe). Scores that need no
classifier, such as LogME (You et al. 2021, arXiv:2102.11005), are made to choose between models;
what one value means for the accuracy they don't say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgekit.advisor.outcome import Accuracy, trained_accuracy

#: The square of the 97.5 % quantile of the standard normal distribution.
_Z2 = 3.841458820694124
#: From here on fine-tuning is said to have little to gain, unless the photos can tell more. A
#: judgement, for where few photos judge: 19 of 24 right can't be told from 24 either.
_LITTLE_LEFT = 0.95
#: What fine-tuning was measured to gain (docs/advise.md, "How near to ImageNet").
_GAINED = "It gained 5.9 points on six classes of trash, none on ants and bees."
_JUDGEMENT = (
    "That other models' features, where another is trained, are as good is a judgement, not a "
    "measurement."
)


@dataclass(frozen=True)
class Probe:
    """What a new classifier on frozen ImageNet features gets.

    Attributes:
        model: Whose features they are.
        accuracy: On photos that nothing was learned from or chosen by.
        kappa: The same relative to chance, whatever the number of classes: 0 is chance, 1 is all
            of them right.
        largest: The share of the largest class among those photos: what naming it always gets.
        learned: How many photos it learned from, those included that its best epoch was chosen by.
        seconds: How long it took.
    """

    model: str
    accuracy: Accuracy
    kappa: float
    largest: float
    learned: int
    seconds: float

    @property
    def is_chance(self) -> bool:
        """Whether it can't be told from naming the largest class always."""
        return self.accuracy.interval[0] <= self.largest

    @property
    def is_near(self) -> bool:
        """Whether fine-tuning has little to gain.

        That is where even a model without a mistake couldn't be told from this one on these photos:
        their 95 % intervals overlap.
        """
        photos = self.accuracy.photos
        flawless = photos / (photos + _Z2)  # the lower end of Wilson's interval of a share of 1
        unknowable = self.accuracy.interval[1] >= flawless
        return not self.is_chance and unknowable and self.accuracy.top1 >= _LITTLE_LEFT

    def suffices(self, asked: float | None) -> bool:
        """Whether the classifier alone is enough.

        Args:
            asked: The accuracy that is wished for, 0..1, or None.
        """
        if asked is None:
            return self.is_near
        surely = not self.is_chance and self.accuracy.interval[0] >= asked
        return surely or (self.is_near and self.accuracy.top1 >= asked)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"is_near": self.is_near, "is_chance": self.is_chance}


def read(model: str, trained: Mapping[str, Any], learned: int, seconds: float) -> Probe:
    """A probe, from what `edgekit train --epochs 0` printed of photos with a test split."""
    rows = trained["results"]["test"]["per_class"]
    accuracy = trained_accuracy(trained)
    samples = [row["samples"] for row in rows]
    kappa = _kappa(accuracy.top1, samples, [row["predicted"] for row in rows])
    return Probe(model, accuracy, kappa, max(samples) / sum(samples), learned, seconds)


def _kappa(top1: float, samples: list[int], predicted: list[int]) -> float:
    """Cohen's kappa of the predictions and the labels: (p_o - p_e) / (1 - p_e).

    p_e is how often both would agree if they were drawn independently, each with its own shares of
    the classes (https://scikit-learn.org/stable/modules/generated/sklearn.metrics.cohen_kappa_score).
    """
    pairs = sum(one * other for one, other in zip(samples, predicted, strict=True))
    by_chance = pairs / sum(samples) ** 2
    return (top1 - by_chance) / (1 - by_chance)


def summary(probe: Probe) -> str:
    """What was found, in a sentence."""
    accuracy = probe.accuracy
    low, high = (100 * end for end in accuracy.interval)
    return (
        f"frozen ImageNet features ({probe.model}) and a new classifier, learned from "
        f"{probe.learned} photos: {100 * accuracy.top1:.1f} % ({low:.1f} to {high:.1f}) of "
        f"{accuracy.photos}, kappa {probe.kappa:.2f} (0 is chance, 1 all right): {_nearness(probe)}"
    )


def _nearness(probe: Probe) -> str:
    if probe.is_chance:
        return "no better than chance"
    if probe.is_near:
        return "near to ImageNet; fine-tuning has little to gain"
    return "some way from ImageNet; fine-tuning has something to gain"


def note(probe: Probe, asked: float | None) -> str:
    """What follows for the training, in a few sentences.

    Args:
        probe: What was found.
        asked: The accuracy that is wished for, 0..1, or None.
    """
    top1, photos = 100 * probe.accuracy.top1, probe.accuracy.photos
    if probe.is_chance:
        return (
            f"On {photos} photos frozen features can't be told from naming the largest class "
            f"always ({probe.largest:.1%}): look whether the labels are right. If they are, the "
            "photos are far from ImageNet or too few, and what fine-tuning gives is open."
        )
    if asked is not None and top1 < 100 * asked:
        return (
            f"Frozen features get {top1:.1f} of the {100 * asked:g} % asked for: "
            f"{100 * asked - top1:.1f} points are left for fine-tuning to close. {_GAINED}"
        )
    if asked is not None and probe.accuracy.interval[0] >= asked:
        more = "" if probe.is_near else " Fine-tuning may gain more."
        return (
            f"Frozen features surely get the {100 * asked:g} % asked for: a new classifier is "
            f"enough (--epochs 0).{more} {_JUDGEMENT}"
        )
    if probe.is_near:
        return (
            f"Frozen features leave {100 - top1:.1f} % wrong, and on {photos} photos even a model "
            "without a mistake couldn't be told from that: a new classifier is enough "
            f"(--epochs 0). {_JUDGEMENT}"
        )
    return f"Frozen features leave {100 - top1:.1f} points for fine-tuning to gain. {_GAINED}"
