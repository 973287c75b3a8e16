"""How much memory a model needs on a target: an estimate, from the file alone.

The activations that are alive at once at the peak, the parameters as the file holds them, and a
second copy of those that the CPU computes with: XNNPACK packs them anew for its kernels. The
runtime itself, the system, and what an accelerator keeps for itself are not counted. How far that
is off, docs/targets.md says.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgekit.targets.placement import Placement
from edgekit.targets.target import Target
from edgekit.tflite.cost import parameter_bytes, peak_activation_bytes
from edgekit.tflite.model import Model


@dataclass(frozen=True)
class Memory:
    """What a model needs, and what there is.

    Attributes:
        activation_bytes: At the peak; see `edgekit.tflite.cost.peak_activation_bytes`.
        parameter_bytes: In the file.
        packed_bytes: The CPU's copy of its parameters.
        available_bytes: All memory of the target; None where that isn't known.
    """

    activation_bytes: int
    parameter_bytes: int
    packed_bytes: int
    available_bytes: int | None

    @property
    def needed_bytes(self) -> int:
        """All of it."""
        return self.activation_bytes + self.parameter_bytes + self.packed_bytes

    @property
    def fits(self) -> bool | None:
        """Whether it may fit; None where it isn't known what there is."""
        return None if self.available_bytes is None else self.needed_bytes <= self.available_bytes

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "needed_bytes": self.needed_bytes, "fits": self.fits}


def memory_of(model: Model, placement: Placement, target: Target) -> Memory:
    """Estimates the memory that a model needs.

    Args:
        model: From `edgekit.tflite.read`.
        placement: Of the model on the target.
        target: Where it is to run.
    """
    sizes = parameter_bytes(model, model.main)
    peak, _ = peak_activation_bytes(model, model.main)
    available = target.numbers.get("memory")
    return Memory(
        peak,
        sum(sizes),
        sum(sizes[op.index] for op in placement.left),
        None if available is None else int(available.value * (1 << 20)),
    )
