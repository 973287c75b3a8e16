"""Layer by layer: how far the int8 file is from the Keras model it was made of. TensorFlow."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from edgekit import images, tflite
from edgekit.contract import Contract
from edgekit.converters.qat import kernels
from edgekit.converters.qat.layers import Operation
from edgekit.converters.qat.parity import LayerDifference
from edgekit.runtime import Interpreter

#: More don't change which layers differ.
IMAGES = 4
_LOW, _HIGH = -128, 127


def by_layer(
    model: keras.Model, quantized: bytes, pictures: images.Picture, contract: Contract
) -> tuple[LayerDifference, ...]:
    """Gives each layer the inputs that its op has in the int8 file, and compares what they make.

    Args:
        model: The quantization-aware model, in steps.
        quantized: The int8 file, of the same tensor names.
        pictures: uint8[N, height, width, 3]; up to `IMAGES` are used.
        contract: Turns pictures into inputs.

    Returns:
        All ops that could be compared, in the order of execution.
    """
    parsed = tflite.read(quantized, "the int8 file")
    interpreter = Interpreter(quantized, keep_all_tensors=True)
    layers = {layer.tensor: layer for layer in model.layers if isinstance(layer, Operation)}
    found: dict[str, list[tuple[float, float]]] = {}
    for picture in pictures[:IMAGES]:
        interpreter.invoke(images.to_input(picture, contract, interpreter.input.dtype))
        for op in parsed.main.operators:
            output = parsed.main.tensors[op.outputs[0]]
            if output.name in layers:
                difference = _difference(layers[output.name], op, output, parsed, interpreter)
                if difference is not None:
                    found.setdefault(output.name, []).append(difference)
    return tuple(
        LayerDifference(
            name,
            layers[name].op,
            max(largest for largest, _ in seen),
            float(np.mean([share for _, share in seen])),
        )
        for name, seen in found.items()
    )


def _difference(
    layer: Operation,
    op: tflite.Operator,
    output: tflite.Tensor,
    parsed: tflite.Model,
    interpreter: Interpreter,
) -> tuple[float, float] | None:
    """(the largest in steps, the share of values that differ), or None where a value is missing."""
    inputs = []
    for index in op.inputs:
        tensor = parsed.main.tensors[index] if index >= 0 else None
        if tensor is None or parsed.constant(tensor) is not None:
            continue
        value = interpreter.tensor(index)
        if value is None or tensor.zero_point is None:
            return None
        value = value.astype(np.float32) - tensor.zero_point
        inputs.append(tf.constant(value.reshape(1, *kernels.compact_shape(tensor.shape))))
    deployed = interpreter.tensor(output.index)
    if deployed is None or output.zero_point is None:
        return None
    made = np.asarray(layer(inputs if len(inputs) > 1 else inputs[0])).reshape(-1)
    steps = np.clip(np.rint(made) + output.zero_point, _LOW, _HIGH)
    apart = np.abs(steps - deployed.reshape(-1).astype(np.float64))
    return float(apart.max()), float((apart > 0).mean())
