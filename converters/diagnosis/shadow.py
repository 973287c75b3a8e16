"""The float model with a second copy of every layer, whose constants are those of the file.

The copy reads what the float layer reads, so what the two differ by is the error of this layer's
rounded weights and bias, and of nothing before it. Nothing reads the copies, so they are made
outputs: the runtime doesn't compute what leads nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit import tflite
from edgekit.converters.diagnosis.matching import Pair
from edgekit.converters.rewriting import Graph
from edgekit.tflite.edit import edit, write

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Shadowed:
    """A float model with copies.

    Attributes:
        model: The bytes of the .tflite file.
        copies: Name of a float tensor -> name of what the layer's copy gives.
    """

    model: bytes
    copies: dict[str, str]


def add(
    model: bytes, pairs: Sequence[Pair], float_model: tflite.Model, quantized: tflite.Model
) -> Shadowed:
    """Adds a copy of each layer that has constants.

    Args:
        model: The bytes of the float model.
        pairs: Its layers and those of the file.
        float_model: The float model.
        quantized: The quantized file.
    """
    graph = Graph(model, "the float model")
    originals = list(graph.ops)
    copies: dict[str, str] = {}
    for pair in pairs:
        if pair.float_op.name != pair.op.name or len(pair.op.outputs) != 1:
            continue
        original = originals[pair.float_op.index]
        inputs, changed = list(original.inputs), False
        for place, values in stored_constants(pair, float_model, quantized).items():
            name = f"{graph.name(original.output)}/stored_{place}"
            inputs[place] = graph.add_constant(name, values.astype(np.float32))
            changed = True
        if not changed:
            continue
        output = graph.add_activation(
            f"{graph.name(original.output)}/stored", graph.shape(original.output)
        )
        options = original.fields.get("builtin_options")
        copy = graph.new_op(original.name, inputs, output, options)
        graph.ops.insert(graph.ops.index(original) + 1, copy)
        copies[pair.float_tensor.name] = graph.name(output)
    return Shadowed(_with_outputs(graph.to_bytes(), set(copies.values())), copies)


def _with_outputs(model: bytes, names: set[str]) -> bytes:
    """The model with more outputs, after those that it has."""
    root = edit(model, "the float model with copies")
    main = root["subgraphs"][0]
    more = [i for i, tensor in enumerate(main["tensors"]) if tensor["name"] in names]
    main["outputs"] = np.array([*main["outputs"], *more], np.int32)
    return write(root)


def stored_constants(
    pair: Pair, float_model: tflite.Model, quantized: tflite.Model
) -> dict[int, Array]:
    """A layer's constants as the file holds them, in real units.

    Returns:
        Place among the inputs -> float64 of the float constant's shape. Constants that aren't
        quantized (axes, shapes) are left out, and so are those of another shape.
    """
    found = {}
    for place, (theirs, own) in enumerate(zip(pair.float_op.inputs, pair.op.inputs, strict=False)):
        if min(theirs, own) < 0:
            continue
        float_tensor, tensor = float_model.main.tensors[theirs], quantized.main.tensors[own]
        values = quantized.constant(tensor)
        is_float = float_tensor.dtype == "float32" and float_model.is_constant(float_tensor)
        same_shape = float_tensor.shape == tensor.shape
        if is_float and same_shape and values is not None and tensor.is_quantized:
            found[place] = dequantize(values, tensor)
    return found


def dequantize(values: Array, tensor: tflite.Tensor) -> Array:
    """Real values of a constant, float64: `(values - zero point) * scale`, channel by channel."""
    shape = [1] * values.ndim
    if len(tensor.scales) > 1:
        shape[tensor.quantized_dimension] = len(tensor.scales)
    real = values.astype(np.float64)
    if len(tensor.zero_points):
        real -= tensor.zero_points.reshape(shape)
    return np.asarray(real * tensor.scales.reshape(shape))
