"""How much memory a model needs on a target: an estimate, from the file alone.

The activations that are alive at once at the peak, the parameters as the file holds them, scales
and zero points, and of what the CPU computes: a second copy of the parameters, which XNNPACK packs
anew for its kernels, and its indirection buffers. The runtime itself, the system, and what an
accelerator keeps for itself are not counted. How far that is off, docs/targets.md says.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgekit.targets.placement import Placement
from edgekit.targets.target import Target
from edgekit.targets.xnnpack import indirection_bytes
from edgekit.tflite.cost import parameter_bytes, peak_activation_bytes, quantization_bytes
from edgekit.tflite.model import Model


@dataclass(frozen=True)
class Memory:
    """What a model needs, and what there is.

    Attributes:
        activation_bytes: At the peak, with inputs and outputs all the time; see
            `edgekit.tflite.cost.peak_activation_bytes`.
        parameter_bytes: In the file.
        quantization_bytes: Of scales and zero points; see `edgekit.tflite.cost`.
        packed_bytes: The CPU's copy of its parameters.
        indirection_bytes: What XNNPACK keeps besides; see `edgekit.targets.xnnpack`.
        available_bytes: All memory of the target; None where that isn't known.
    """

    activation_bytes: int
    parameter_bytes: int
    quantization_bytes: int
    packed_bytes: int
    indirection_bytes: int
    available_bytes: int | None

    @property
    def needed_bytes(self) -> int:
        """All of it."""
        of_model = self.activation_bytes + self.parameter_bytes + self.quantization_bytes
        return of_model + self.packed_bytes + self.indirection_bytes

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
    graph = model.main
    sizes = parameter_bytes(model, graph)
    peak, _ = peak_activation_bytes(model, graph, ends_kept=True)
    available = target.numbers.get("memory")
    return Memory(
        activation_bytes=peak,
        parameter_bytes=sum(sizes),
        quantization_bytes=quantization_bytes(graph),
        packed_bytes=sum(sizes[op.index] for op in placement.left),
        indirection_bytes=sum(
            indirection_bytes(graph.operators[op.index], graph) for op in placement.left
        ),
        available_bytes=None if available is None else int(available.value * (1 << 20)),
    )
