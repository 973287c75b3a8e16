"""The hyper-parameters of a training with tensorflow-model-optimization. Imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgekit.errors import UsageError

_RANGES = {
    "epochs": (1, 10_000),
    "batch": (1, 4096),
    "rate": (0, 10),
    "warmup": (0, 100),
    "weight_decay": (0, 10),
    "label_smoothing": (0, 0.9),
    "seed": (0, 2**31 - 1),
}


@dataclass(frozen=True)
class Recipe:
    """How to train; AdamW (Loshchilov and Hutter 2017, arXiv:1711.05101) on the pictures as given.

    Attributes:
        epochs: How often all pictures are gone through.
        batch: Pictures in a step of the optimizer.
        rate: Peak learning rate; it falls along a cosine to 0.
        warmup: Epochs of linear warm-up.
        weight_decay: Decoupled, of kernels only.
        label_smoothing: Share of the target that is spread over all classes.
        seed: Of the order of the pictures.
    """

    epochs: int = 10
    batch: int = 32
    rate: float = 1e-4
    warmup: float = 0.5
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise UsageError(
                    f"{name.replace('_', ' ')} {value:g} is not in {low:g} to {high:g}"
                )
