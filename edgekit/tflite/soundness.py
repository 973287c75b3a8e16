"""What must hold in a .tflite file beyond its bytes being within bounds.

The rules are what the native loader and its kernels rely on without checking, or check too late to
say where.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable

import numpy as np

from edgekit.tflite import schema
from edgekit.tflite.flatbuffer import Fields, Malformed
from edgekit.tflite.model import Model, Operator, Subgraph, Tensor

#: The kernels count elements in 32-bit integers.
_MOST_ELEMENTS = (1 << 31) - 1
#: Kernels go up to 6; beyond 8 some loop over fixed arrays.
_MOST_DIMENSIONS = 8
#: Quotients of scales become fixed-point multipliers, and an overflow there aborts the process.
_LEAST_SCALE, _GREATEST_SCALE = 1e-30, 1e30
#: The float kernel of DEPTHWISE_CONV_2D reads the bias without asking whether there is one.
_BIAS_INPUT = {"DEPTHWISE_CONV_2D": 2}


def check_root(root: Fields) -> None:
    """Checks that every index points at something, so that a Model can be built.

    Raises:
        Malformed: One doesn't, or the file uses what edgekit doesn't read.
    """
    if root["version"] != schema.SCHEMA_VERSION:
        raise Malformed(f"schema version {root['version']}, not {schema.SCHEMA_VERSION}")
    if not root["subgraphs"]:
        raise Malformed("no subgraph")
    for i, code in enumerate(root["operator_codes"]):
        number = max(code["builtin_code"], code["deprecated_builtin_code"])
        if number < 0 or (number == schema.CUSTOM_OPERATOR and not code["custom_code"]):
            raise Malformed(f"operator_codes[{i}] names no operator")
    for g, graph in enumerate(root["subgraphs"]):
        for i, tensor in enumerate(graph["tensors"]):
            place = f"subgraphs[{g}].tensors[{i}]"
            _check_index(tensor["buffer"], len(root["buffers"]), f"{place}.buffer")
            _check_index(tensor["type"], len(schema.TENSOR_TYPES), f"{place}.type")
            if tensor["external_buffer"]:
                raise Malformed(f"{place} keeps its value in another file")
            if len(tensor["shape"]) > _MOST_DIMENSIONS:
                raise Malformed(f"{place} has {len(tensor['shape'])} dimensions")
        for i, operator in enumerate(graph["operators"]):
            place = f"subgraphs[{g}].operators[{i}]"
            _check_index(
                operator["opcode_index"], len(root["operator_codes"]), f"{place}.opcode_index"
            )
            _check_indices(
                operator["intermediates"], len(graph["tensors"]), f"{place}.intermediates", -1
            )
    for i, entry in enumerate(root["metadata"]):
        _check_index(entry["buffer"], len(root["buffers"]), f"metadata[{i}].buffer")
    for i, entry in enumerate(root["signature_defs"]):
        place = f"signature_defs[{i}]"
        _check_index(entry["subgraph_index"], len(root["subgraphs"]), f"{place}.subgraph_index")
        count = len(root["subgraphs"][entry["subgraph_index"]]["tensors"])
        for pair in (*entry["inputs"], *entry["outputs"]):
            _check_index(pair["tensor_index"], count, f"{place}.tensor_index")


def check_model(model: Model) -> None:
    """Checks tensors, the order of operators, and calls between subgraphs.

    Raises:
        Malformed: Something contradicts itself.
    """
    for g, graph in enumerate(model.subgraphs):
        for tensor in graph.tensors:
            place = f"subgraphs[{g}].tensors[{tensor.index}] ({tensor.name!r:.80})"
            _check_shape(tensor, place)
            _check_constant(model, tensor, place)
            _check_quantization(model, tensor, place)
        _check_order(model, graph, f"subgraphs[{g}]")
    _check_calls(model)


def _check_shape(tensor: Tensor, place: str) -> None:
    if any(n < 0 for n in tensor.shape):
        raise Malformed(f"{place} has the shape {tensor.shape}")
    # A dimension of zero mustn't hide that the others overflow.
    if math.prod(max(n, 1) for n in tensor.shape) > _MOST_ELEMENTS:
        raise Malformed(f"{place} has the absurd shape {tensor.shape}")
    if len(tensor.shape_signature) != len(tensor.shape):
        raise Malformed(f"{place} has a shape_signature of another length than its shape")


def _check_constant(model: Model, tensor: Tensor, place: str) -> None:
    stored = model.constant_bytes(tensor)
    if not stored or tensor.sparse:
        return
    if tensor.dtype == "string":
        _check_strings(model.buffers[tensor.buffer], tensor, place)
    elif tensor.dtype in schema.BITS and stored != tensor.byte_size:
        raise Malformed(
            f"{place} of type {tensor.dtype} and shape {tensor.shape} takes {tensor.byte_size} "
            f"bytes, but its buffer has {stored}"
        )


def _check_strings(data: memoryview, tensor: Tensor, place: str) -> None:
    """A string tensor: int32 count, count + 1 int32 offsets from its start, the text."""
    count = struct.unpack_from("<i", data)[0] if len(data) >= 4 else -1
    if count != tensor.elements or len(data) < 4 * (count + 2):
        raise Malformed(f"{place} holds another number of strings than its shape says")
    offsets = np.frombuffer(data, "<i4", count + 1, 4)
    if offsets[0] < 4 * (count + 2) or offsets[-1] > len(data) or np.any(np.diff(offsets) < 0):
        raise Malformed(f"{place} holds strings that lie outside its buffer")


def _check_quantization(model: Model, tensor: Tensor, place: str) -> None:
    scales, zero_points = tensor.scales, tensor.zero_points
    if not len(scales):
        return
    if len(zero_points) not in (0, len(scales)):
        raise Malformed(f"{place} has {len(scales)} scales, but {len(zero_points)} zero points")
    if len(scales) > 1:
        axis = tensor.quantized_dimension
        if not 0 <= axis < len(tensor.shape) or tensor.shape[axis] != len(scales):
            raise Malformed(
                f"{place} has {len(scales)} scales along dimension {axis} of {tensor.shape}"
            )
    # TFLite's own quantizer gives a channel of zeros the scale 0.
    least = 0.0 if model.is_constant(tensor) else _LEAST_SCALE
    if not np.all((scales >= least) & (scales <= _GREATEST_SCALE)):
        raise Malformed(f"{place} has a scale that is not a sensible positive number")


def _check_order(model: Model, graph: Subgraph, place: str) -> None:
    count = len(graph.tensors)
    _check_indices(graph.inputs, count, f"{place}.inputs")
    _check_indices(graph.outputs, count, f"{place}.outputs")
    ready = [
        model.is_constant(tensor) or tensor.is_variable or tensor.elements == 0
        for tensor in graph.tensors
    ]
    given = set(graph.inputs)
    written: set[int] = set()
    for index in given:
        if model.is_constant(graph.tensors[index]):
            raise Malformed(f"{place}.inputs: tensor {index} is a constant")
        ready[index] = True
    for operator in graph.operators:
        here = f"{place}.operators[{operator.index}] ({operator.name!s:.80})"
        _check_indices(operator.inputs, count, f"{here}.inputs", -1)
        _check_indices(operator.outputs, count, f"{here}.outputs")
        bias = _BIAS_INPUT.get(operator.name)
        if bias is not None and (len(operator.inputs) <= bias or operator.inputs[bias] < 0):
            raise Malformed(f"{here} has no bias")
        for index in operator.inputs:
            if index >= 0 and not ready[index]:
                raise Malformed(f"{here} reads tensor {index} before anything writes it")
        for index in operator.outputs:
            if index in written or index in given or model.is_constant(graph.tensors[index]):
                raise Malformed(f"{here} writes tensor {index}, which has its value already")
            written.add(index)
            ready[index] = True
    for index in graph.outputs:
        if not ready[index]:
            raise Malformed(f"{place}.outputs: nothing writes tensor {index}")


def _check_calls(model: Model) -> None:
    """Subgraphs that operators call exist, and none calls itself."""
    calls = [
        {
            target
            for operator in graph.operators
            for target in _targets(operator, len(model.subgraphs))
        }
        for graph in model.subgraphs
    ]
    settled: set[int] = set()
    # Each round settles the subgraphs that call only settled ones; a circle never settles.
    while len(settled) < len(calls):
        fresh = {i for i, targets in enumerate(calls) if i not in settled and targets <= settled}
        if not fresh:
            raise Malformed("subgraphs that call each other in a circle")
        settled |= fresh


def _targets(operator: Operator, count: int) -> Iterable[int]:
    for name, value in operator.options.items():
        if name == "subgraph" or name.endswith(("subgraph_index", "subgraph_indices")):
            for target in value if isinstance(value, tuple) else (value,):
                if target == -1:
                    continue
                _check_index(target, count, f"{operator.name}.{name}")
                yield target


def _check_index(index: int, count: int, place: str) -> None:
    if not 0 <= index < count:
        raise Malformed(f"{place} is {index}, of {count}")


def _check_indices(indices: Iterable[int], count: int, place: str, least: int = 0) -> None:
    for index in indices:
        if not least <= index < count:
            raise Malformed(f"{place}: tensor {index}, of {count}")
