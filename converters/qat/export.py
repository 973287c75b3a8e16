"""From a quantization-aware Keras model back to a float .tflite graph and its ranges.

The graph is written from the layers, op by op: nothing is traced, and nothing of the file that the
training began with is needed. Imports TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from edgekit.converters.qat.layers import FakeQuant, Operation, WeightedOperation
from edgekit.converters.ranges import Ranges
from edgekit.tflite.edit import operator_code, write
from edgekit.tflite.schema import SCHEMA_VERSION, TENSOR_TYPES

#: The last code that fits the older field of an operator code.
_INPUT = "image"


@dataclass(frozen=True)
class Exported:
    """A quantization-aware model as what the quantizer takes.

    Attributes:
        model: A float32 .tflite file, batch 1, with the trained weights.
        ranges: The range of each activation: quantized in it, a tensor gets the grid that the
            model was trained on.
    """

    model: bytes
    ranges: Ranges


def is_quantization_aware(model: Any) -> bool:
    """Whether a Keras model is one of this package's."""
    return any(isinstance(layer, Operation) for layer in getattr(model, "layers", ()))


def export(model: keras.Model) -> Exported:
    """Writes the float graph of a quantization-aware model.

    Args:
        model: As `twin.build` makes it, or read from its `.keras` file.
    """
    return Exported(_Writer(model).graph(), ranges_of(model))


def ranges_of(model: keras.Model) -> Ranges:
    """The range of each activation that has one."""
    ranges = {}
    for layer in model.layers:
        if isinstance(layer, FakeQuant):
            low, high = -128 - layer.zero_point, 127 - layer.zero_point
            for tensor in layer.tensors:
                ranges[tensor] = (low * layer.scale, high * layer.scale)
    return ranges


class _Writer:
    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._tensors: list[dict[str, Any]] = []
        self._buffers: list[dict[str, Any]] = [_buffer(np.zeros(0, np.uint8))]
        self._codes: list[dict[str, Any]] = []
        self._made: dict[str, int] = {}

    def graph(self) -> bytes:
        image = self._model.inputs[0]
        name = _input_name(self._model)
        start = self._tensor(name, (1, *image.shape[1:]), "float32")
        layers = [layer for layer in self._model.layers if isinstance(layer, Operation)]
        layers.sort(key=lambda layer: layer.position)
        operators = [self._operator(layer, name) for layer in layers]
        last = _writer_of(self._model.outputs[0], name)
        return write(
            {
                "version": SCHEMA_VERSION,
                "description": "edgekit",
                "operator_codes": self._codes,
                "subgraphs": [
                    {
                        "name": "main",
                        "tensors": self._tensors,
                        "inputs": np.array([start], np.int32),
                        "outputs": np.array([self._made[last]], np.int32),
                        "operators": operators,
                    }
                ],
                "buffers": self._buffers,
            }
        )

    def _operator(self, layer: Operation, image: str) -> dict[str, Any]:
        sources = [_writer_of(tensor, image) for tensor in _inputs_of(layer)]
        inputs = []
        for place, operand in enumerate(layer.operands):
            if operand is None:
                inputs.append(-1)
            elif operand["kind"] == "tensor":
                inputs.append(self._made[sources.pop(0)])
            else:
                inputs.append(self._constant(operand["name"], _value(layer, place, operand)))
        output = self._tensor(layer.tensor, layer.shape, "float32")
        return {
            "opcode_index": self._code(layer.op, layer.version),
            "inputs": np.array(inputs, np.int32),
            "outputs": np.array([output], np.int32),
            "builtin_options": layer.table,
        }

    def _tensor(self, name: str, shape: tuple[int, ...], dtype: str, buffer: int = 0) -> int:
        while name in self._made:
            name += ";"
        self._made[name] = len(self._tensors)
        self._tensors.append(
            {
                "name": name,
                "shape": np.array(shape, np.int32),
                "type": TENSOR_TYPES.index(dtype),
                "buffer": buffer,
                "has_rank": True,
            }
        )
        return self._made[name]

    def _constant(self, name: str, value: npt.NDArray[Any]) -> int:
        """Each op gets its own: what was one constant for several may have been trained apart."""
        self._buffers.append(_buffer(value))
        return self._tensor(name, value.shape, value.dtype.name, len(self._buffers) - 1)

    def _code(self, op: str, version: int) -> int:
        wanted = operator_code(op, version)
        if wanted not in self._codes:
            self._codes.append(wanted)
        return self._codes.index(wanted)


def _value(layer: Operation, place: int, operand: dict[str, Any]) -> npt.NDArray[Any]:
    """What the file holds for one operand."""
    if operand["kind"] == "steering":
        return np.array(operand["values"], operand["dtype"])
    if operand["kind"] == "constant":
        return np.asarray(layer.constants[place].numpy())
    assert isinstance(layer, WeightedOperation)
    kernel, bias = layer.weights_now()
    value = kernel if operand["kind"] == "kernel" else bias
    assert value is not None
    return value


def _inputs_of(layer: Operation) -> list[Any]:
    """The Keras tensors that an op's layer was called with."""
    return list(layer._inbound_nodes[0].input_tensors)


def _writer_of(tensor: Any, image: str) -> str:
    """The .tflite tensor that a Keras tensor is, with what only rounds it looked through."""
    while True:
        layer, node, _ = tensor._keras_history
        if isinstance(layer, Operation):
            return layer.tensor
        inputs = layer._inbound_nodes[node].input_tensors
        if not inputs:
            return image
        tensor = inputs[0]


def _input_name(model: keras.Model) -> str:
    """What the graph called its input: the first tensor that is rounded, where one is."""
    first = model.inputs[0]
    for layer in model.layers:
        if isinstance(layer, FakeQuant) and layer._inbound_nodes[0].input_tensors[0] is first:
            return layer.tensors[0]
    return _INPUT


def _buffer(value: npt.NDArray[Any]) -> dict[str, Any]:
    data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
    return {"data": data if data.size else (), "offset": 0, "size": 0}
