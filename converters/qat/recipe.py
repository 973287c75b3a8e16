"""Every setting of a quantization-aware training, as one frozen value. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, TypedDict

from edgekit.errors import UsageError
from edgekit.training.feeding.augmentation import Augmentation
from edgekit.training.recipe import Recipe as Learning

BALANCES = ("none", "sampling")


class Settings(TypedDict, total=False):
    """The fields of `Recipe`, for calls that take them as keywords; a test compares the two."""

    epochs: int
    steps: int | None
    batch: int
    rate: float
    warmup: float
    weight_decay: float
    label_smoothing: float
    distillation: float
    temperature: float
    learned_ranges: bool
    average: float
    patience: int
    balance: str
    augmentation: Augmentation
    seed: int


@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults bring a model that lost some points in int8 back in minutes.

    Attributes:
        epochs: Of the training pictures.
        steps: Steps of the optimizer in all instead of epochs, or None.
        batch: Pictures in a step.
        rate: Peak learning rate of AdamW, in shares of a channel's largest weight: what is trained
            is weight / largest weight.
        warmup: Epochs of linear warm-up; after it the rate falls along a cosine to 0.
        weight_decay: Decoupled, of kernels.
        label_smoothing: Share of the target that is spread over all classes.
        distillation: Share of the float model's answers in the loss, 0 to 1; the rest is the
            cross-entropy with the labels.
        temperature: Of those answers (Hinton et al. 2015, arXiv:1503.02531, section 2).
        learned_ranges: Train the ranges of activations too (LSQ, Esser et al. 2019,
            arXiv:1902.08153).
        average: Decay per step of the moving average of the weights that is judged and kept; 0 for
            none.
        patience: Stops after so many epochs without a better one; 0 for never.
        balance: `none`, or `sampling` to draw each class equally often.
        augmentation: How training pictures are varied.
        seed: Of the order, the augmentation and a split.
    """

    epochs: int = 10
    steps: int | None = None
    batch: int = 32
    rate: float = 1e-4
    warmup: float = 0.5
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    distillation: float = 0.7
    temperature: float = 2.0
    learned_ranges: bool = False
    average: float = 0.98
    patience: int = 4
    balance: str = "none"
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.balance not in BALANCES:
            raise UsageError(
                f"balance {self.balance!r} is not known", f"Choose {', '.join(BALANCES)}."
            )
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                raise UsageError(
                    f"{name.replace('_', ' ')} {value:g} is not in {low:g} to {high:g}"
                )

    def learning(self) -> Learning:
        """The same as the recipe of a fine-tuning, for the room that steps and feeds."""
        return Learning(
            seed=self.seed,
            batch=self.batch,
            weight_decay=self.weight_decay,
            label_smoothing=self.label_smoothing,
            augmentation=self.augmentation,
            epochs=self.epochs,
            rate=self.rate,
            warmup=self.warmup,
            average=self.average,
            patience=self.patience,
        )

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


_RANGES: dict[str, tuple[float, float]] = {
    "epochs": (1, 10_000),
    "steps": (1, 10_000_000),
    "batch": (1, 4096),
    "rate": (0, 10),
    "warmup": (0, 100),
    "weight_decay": (0, 10),
    "label_smoothing": (0, 0.9),
    "distillation": (0, 1),
    "temperature": (0.1, 100),
    "average": (0, 0.99999),
    "patience": (0, 10_000),
    "seed": (0, 2**31 - 1),
}
