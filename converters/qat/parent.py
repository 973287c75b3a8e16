"""The parent's side of what `child` does with a quantization-aware model. No TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgekit import images, tflite
from edgekit.contract import Contract
from edgekit.converters.export import Export
from edgekit.converters.qat import parity
from edgekit.converters.qat.parity import LayerDifference, Parity

#: Files in the folder that both sides know.
INPUTS, SCORES, INT8 = "inputs.npy", "scores.npy", "int8.tflite"


def require_parity(
    source: Path,
    trained: npt.NDArray[np.float32],
    deployed: npt.NDArray[np.float32],
    quantized: bytes,
    pictures: images.Picture,
    contract: Contract,
) -> Parity:
    """The gate: the int8 file answers as the trained model does.

    Args:
        source: The `.keras` file.
        trained: float32[N, classes], its answers.
        deployed: float32[N, classes], the real values of the int8 file's.
        quantized: The int8 file.
        pictures: uint8[N, height, width, 3], what both were asked.
        contract: Turns pictures into inputs.

    Raises:
        NotMetError: It doesn't; the first and the worst layers are named.
    """
    found = parity.compare(trained, deployed, _output_step(quantized, str(source)))
    if not found.is_met:
        raise parity.not_met(found, _by_layer(source, quantized, pictures, contract), str(source))
    return found


def _output_step(quantized: bytes, where: str) -> float:
    """The scale of the int8 output; where the file gives float32, of what that is made from."""
    graph = tflite.read(quantized, where).main
    output = graph.outputs[0]
    if graph.tensors[output].scale is None:
        output = next(op.inputs[0] for op in graph.operators if output in op.outputs)
    step = graph.tensors[output].scale
    assert step is not None
    return step


class _Layers(Export):
    """A child that compares layer by layer."""

    _module = "edgekit.converters.qat.child"

    def __init__(self, path: Path, contract: Contract) -> None:
        super().__init__(path, "keras")
        self._request["contract"] = contract.to_json()

    def layers(self) -> tuple[LayerDifference, ...]:
        """Waits for them."""
        return tuple(LayerDifference(**layer) for layer in self._next("layers")["layers"])


def _by_layer(
    source: Path, quantized: bytes, pictures: images.Picture, contract: Contract
) -> tuple[LayerDifference, ...]:
    comparing = _Layers(source, contract)
    (comparing.work / INT8).write_bytes(quantized)
    np.save(comparing.work / INPUTS, pictures[:8])
    with comparing as child:
        return child.layers()
