"""What was asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from edgekit import devices
from edgekit.errors import UsageError


@dataclass(frozen=True)
class Wishes:
    """A question to the advisor.

    Attributes:
        data: The photos, laid out as for `edgekit train`.
        target: A name of `edgekit.targets`, or a .toml file.
        max_latency: Of one inference, in ms.
        max_size: Of the int8 file, in MiB.
        min_accuracy: Wished for on one's own photos, 0..1.
        train_budget: For the training, in minutes.
        top: How many models to list.
        labels_csv: path,label[,split], instead of folders.
        device: Where it is measured, as `edgekit benchmark --on` takes it; or None.
        folder: Where the models go.
        probe: Whether to try how far frozen features go.
    """

    data: Path
    target: str
    max_latency: float | None = None
    max_size: float | None = None
    min_accuracy: float | None = None
    train_budget: float | None = None
    top: int = 3
    labels_csv: Path | None = None
    device: str | None = None
    folder: Path = Path()
    probe: bool = False

    def __post_init__(self) -> None:
        for name in ("max_latency", "max_size", "train_budget"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name.replace('_', ' ')} {value:g} is not positive")
        wished = self.min_accuracy
        if wished is not None and not 0 <= wished <= 1:
            raise UsageError(
                f"min accuracy {wished:g} is not in 0 to 1", "Give 0.9 for 90 % of the photos."
            )
        if self.top < 1:
            raise UsageError(f"top {self.top}: at least one model has to be listed")
        if self.device is not None:
            # Only its name is looked at.
            devices.open_device(self.device)
