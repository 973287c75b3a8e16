"""The parity gate: the int8 file has to answer as the Keras model that was trained.

What training saw is worth nothing if the device computes something else. So the outputs of the two
are compared on photos, in steps of the int8 output. The difference that is left is that of float32
and integer arithmetic: a value next to the middle between two steps falls to either side, and later
layers carry that on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.errors import NotMetError

#: The share of photos with the same top-1.
SAME_TOP1 = 0.995
#: The share of outputs that lie within `STEPS` steps of each other.
CLOSE = 0.99
STEPS = 2.0

#: Values are whole steps apart, but for the rounding of float32.
_SLACK = 0.01
_SHOWN = 5


@dataclass(frozen=True)
class Parity:
    """How near the int8 file is to the Keras model.

    Attributes:
        images: How many photos were compared.
        same_top1: On how many of them the two name the same class.
        close: The share of all outputs within `STEPS` steps of each other, 0..1.
        largest: The largest difference of two outputs, in steps.
    """

    images: int
    same_top1: int
    close: float
    largest: float

    @property
    def is_met(self) -> bool:
        """Whether the gate is open. One photo may differ, however few there are."""
        allowed = max(1.0, (1 - SAME_TOP1) * self.images)
        return self.images - self.same_top1 <= allowed and self.close >= CLOSE

    def __str__(self) -> str:
        return (
            f"same top-1 on {self.same_top1} of {self.images} photos, {100 * self.close:.2f} % of "
            f"the outputs within {STEPS:g} steps, the largest difference {self.largest:.0f} steps"
        )


@dataclass(frozen=True)
class LayerDifference:
    """How far one op is from its layer, both given the int8 file's own inputs.

    Attributes:
        name: The tensor it writes.
        op: The op.
        largest: In steps.
        share: Of its values that differ, 0..1.
    """

    name: str
    op: str
    largest: float
    share: float


def compare(
    trained: npt.NDArray[np.float32], deployed: npt.NDArray[np.float32], step: float
) -> Parity:
    """Compares outputs.

    Args:
        trained: float32[N, classes] of the Keras model.
        deployed: float32[N, classes], the real values of the int8 file's.
        step: The scale of the int8 output.
    """
    steps = np.abs(trained.astype(np.float64) - deployed) / step
    return Parity(
        len(trained),
        int((trained.argmax(axis=1) == deployed.argmax(axis=1)).sum()),
        float((steps <= STEPS + _SLACK).mean()),
        float(steps.max()),
    )


def not_met(parity: Parity, layers: Sequence[LayerDifference], where: str) -> NotMetError:
    """The error of a closed gate: the first and the worst layers.

    Args:
        parity: What was found.
        layers: Of all ops, in the order of execution.
        where: The Keras model.
    """
    differing = [layer for layer in layers if layer.share > 0]
    worst = sorted(differing, key=lambda layer: (layer.largest, layer.share), reverse=True)
    lines = [f"the first that differs: {_line(differing[0])}"] if differing else []
    lines += [f"the worst: {'; '.join(map(_line, worst[:_SHOWN]))}"] if worst else []
    found = f" By layer, each given the same inputs: {'. '.join(lines)}." if lines else ""
    return NotMetError(
        f"{where}: its int8 file answers otherwise than the trained model: {parity}; wanted are "
        f"{100 * SAME_TOP1:g} % and {100 * CLOSE:g} %.{found}",
        "Nothing was written. Please report the model; edgekit convert --int8 of the model it was "
        "trained from works without this training.",
    )


def _line(layer: LayerDifference) -> str:
    return (
        f"{layer.name.split(';')[0]} ({layer.op}): up to {layer.largest:.0f} steps, "
        f"{100 * layer.share:.2f} % of its values"
    )
