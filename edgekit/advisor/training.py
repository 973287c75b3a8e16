"""How a model is to be trained on the photos."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.advisor.candidates import Candidate
from edgekit.advisor.features import Probe
from edgekit.advisor.photos import Photos
from edgekit.advisor.wishes import Wishes
from edgekit.datasets.splitting import IMBALANCE
from edgekit.targets import Target

#: Below so many photos to learn from only the classifier is trained. The defaults of `train` are
#: for a few hundred and more (edgekit/training/recipe.py); a judgement, not a measurement.
FEW = 100


@dataclass(frozen=True)
class Training:
    """What is chosen of a training; all else is as `edgekit train` has it.

    Attributes:
        pretrained: Whether it starts from ImageNet weights.
        frozen: Whether only a new classifier is trained, on features that stay.
        size: Height and width of the input, in pixels.
        balanced: Whether each class is drawn equally often.
        augmentation: As `edgekit train --augmentation` takes it.
        qat: Whether quantization-aware training follows.
    """

    pretrained: bool
    frozen: bool
    size: int
    balanced: bool
    augmentation: str
    qat: bool

    @property
    def words(self) -> str:
        """The same for people."""
        start = "ImageNet's features" if self.pretrained else "random features"
        parts = [
            f"a new classifier on {start}{'' if self.frozen else ', then fine-tuning of both'}",
            f"{self.size} x {self.size} pixels",
            "augmentation by default (crops, mirroring, colours, mixup)",
            *(["each class drawn equally often"] if self.balanced else []),
            "quantization-aware training" if self.qat else "int8 after training, without QAT",
        ]
        return "; ".join(parts)


def training(
    candidate: Candidate,
    photos: Photos,
    target: Target,
    wishes: Wishes,
    probe: Probe | None = None,
) -> Training:
    """What suits a model and the photos.

    Args:
        candidate: The model.
        photos: What it learns from.
        target: Where it is to run.
        wishes: What was asked for.
        probe: What frozen features get, or None where that isn't known.
    """
    pretrained = bool(candidate.facts.weights)
    # Random features are worth nothing, whatever a probe says of ImageNet's.
    suffices = pretrained and probe is not None and probe.suffices(wishes.min_accuracy)
    return Training(
        pretrained=pretrained,
        frozen=photos.train < FEW or suffices,
        size=candidate.facts.input,
        balanced=photos.balance * IMBALANCE < 1,
        augmentation="default",
        qat=candidate.wants_qat and not _is_rewritten(candidate, target),
    )


def _is_rewritten(candidate: Candidate, target: Target) -> bool:
    """Whether it maps only as `edgekit convert --target` rewrites it: of QAT models it does not."""
    if target.accelerator is None:
        return False
    ops, rewrites = set(candidate.facts.ops), target.accelerator.rewrites
    averages_planes = "LOGISTIC" in ops  # squeeze-and-excitation
    return bool(ops & set(rewrites)) or (averages_planes and "MEAN" in rewrites)
