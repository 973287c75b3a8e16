"""Every hyper-parameter of a training, as one frozen value. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass, field
from typing import Any, TypedDict

from edgekit.errors import UsageError
from edgekit.training.feeding.augmentation import Augmentation

OPTIMIZERS = ("adamw", "sgd")
BALANCES = ("none", "sampling", "weights")
BATCH_NORMS = ("frozen", "train")


class Settings(TypedDict, total=False):
    """The fields of `Recipe`, for calls that take them as keywords; a test compares the two."""

    size: int | None
    seed: int
    batch: int
    optimizer: str
    momentum: float
    weight_decay: float
    label_smoothing: float
    dropout: float | None
    balance: str
    augmentation: Augmentation
    feature_epochs: int
    views: int
    feature_rate: float
    pull: float
    epochs: int
    unfreeze: int | str
    rate: float
    warmup: float
    batch_norm: str
    average: float
    patience: int


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune; the defaults suit a few hundred to a few thousand photos.

    Attributes:
        size: Input height and width in pixels, or None for the model's own.
        seed: Of the order, the augmentation, the dropout and a split.
        batch: Pictures in a step of the optimizer.
        optimizer: `adamw` (Loshchilov and Hutter 2017, arXiv:1711.05101) or `sgd` with Nesterov
            momentum.
        momentum: Of `sgd`.
        weight_decay: Decoupled, of kernels only: biases and batch norms are left alone.
        label_smoothing: Share of the target that is spread over all classes (Szegedy et al. 2015,
            arXiv:1512.00567, section 7).
        dropout: Rate before the classifier, or None for the model's own.
        balance: `none`; `sampling` draws each class equally often; `weights` weighs the loss of a
            picture by how rare its class is.
        augmentation: How training pictures are varied.
        feature_epochs: Epochs of feature extraction: the backbone is frozen, and its outputs are
            computed once.
        views: Variants of every picture whose features are computed: the picture itself, and
            augmented ones. An epoch draws one of them for each picture.
        feature_rate: Peak learning rate of feature extraction.
        pull: Strength of the pull of the classifier to its start (L2-SP, Li et al. 2018,
            arXiv:1802.01483), in feature extraction.
        epochs: Epochs of fine-tuning; 0 for feature extraction alone.
        unfreeze: What is fine-tuned: so many of the last blocks, a share of them such as `1/2`, or
            `all`.
        rate: Peak learning rate of fine-tuning.
        warmup: Epochs of linear warm-up; after it the rate falls along a cosine to 0.
        batch_norm: `train` adapts the statistics to the new photos; `frozen` keeps those that the
            weights came with, which very small batches need.
        average: Decay per step of the moving average of the weights that is judged and kept
            (Polyak and Juditsky 1992); 0 for none.
        patience: Fine-tuning stops after so many epochs without a better one; 0 for never.
    """

    size: int | None = None
    seed: int = 0
    batch: int = 32
    optimizer: str = "adamw"
    momentum: float = 0.9
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    dropout: float | None = None
    balance: str = "none"
    augmentation: Augmentation = field(default_factory=Augmentation)
    feature_epochs: int = 30
    views: int = 4
    feature_rate: float = 3e-3
    pull: float = 0.03
    epochs: int = 20
    unfreeze: int | str = "1/2"
    rate: float = 6e-4
    warmup: float = 1.0
    batch_norm: str = "train"
    average: float = 0.98
    patience: int = 6

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UsageError(
                    f"{name.replace('_', ' ')} {getattr(self, name)!r} is not known",
                    f"Choose {', '.join(choices)}.",
                )
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                raise UsageError(
                    f"{name.replace('_', ' ')} {value:g} is not in {low:g} to {high:g}"
                )
        blocks_of(self.unfreeze, 1)
        if self.feature_epochs == 0 and self.epochs == 0:
            raise UsageError("no epoch of feature extraction and none of fine-tuning: no training")

    def changed(self) -> dict[str, object]:
        """The settings that are not at their default, by name."""
        default = Recipe()
        return {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != getattr(default, f.name)
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        values["augmentation"] = str(self.augmentation)
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """The recipe from the values of `to_dict`.

        Raises:
            UsageError: A value is out of its range.
            KeyError, TypeError: The values are none of a recipe.
        """
        augmentation = Augmentation.parse(values["augmentation"])
        return cls(**{**values, "augmentation": augmentation})


def blocks_of(unfreeze: int | str, blocks: int) -> int:
    """How many of the last blocks `unfreeze` means, for a model that has `blocks`.

    Raises:
        UsageError: It is no number of blocks, no share of them and not `all`.
    """
    if unfreeze == "all":
        return blocks
    text = str(unfreeze)
    share = re.fullmatch(r"([1-9]\d{0,2})/([1-9]\d{0,2})", text)
    if share and int(share[1]) <= int(share[2]):
        return max(1, round(blocks * int(share[1]) / int(share[2])))
    if re.fullmatch(r"[1-9]\d{0,3}", text):
        return int(text)
    raise UsageError(
        f"unfreeze {text!r}: nothing of the model is meant by this",
        "Write how many of the last blocks are fine-tuned, a share such as 1/2, or all.",
    )


_CHOICES = {"optimizer": OPTIMIZERS, "balance": BALANCES, "batch_norm": BATCH_NORMS}

_RANGES: dict[str, tuple[float, float]] = {
    "size": (32, 1024),
    "seed": (0, 2**31 - 1),
    "batch": (1, 4096),
    "momentum": (0, 0.9999),
    "weight_decay": (0, 10),
    "label_smoothing": (0, 0.9),
    "dropout": (0, 0.95),
    "feature_epochs": (0, 10_000),
    "views": (1, 64),
    "feature_rate": (0, 10),
    "pull": (0, 100),
    "epochs": (0, 10_000),
    "rate": (0, 10),
    "warmup": (0, 100),
    "average": (0, 0.99999),
    "patience": (0, 10_000),
}
