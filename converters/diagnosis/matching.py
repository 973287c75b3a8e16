"""Which layer of a quantized file is which of the float model.

By the name of the tensor that a layer gives, which converters keep. Where names differ, by order:
the two sequences of ops are aligned, and ops of one kind and output shape that stand in the same
place are taken for the same.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from edgekit import tflite
from edgekit.tflite.arithmetic import BOUNDARY

#: Types of activations that count as quantized.
QUANTIZED = ("int8", "uint8", "int16")


@dataclass(frozen=True, eq=False)
class Pair:
    """One layer in both files.

    Attributes:
        by: `name` or `order`.
        float_op: In the float model.
        float_tensor: What that gives.
        op: In the quantized file.
        tensor: What that gives, quantized with one scale.
    """

    by: str
    float_op: tflite.Operator
    float_tensor: tflite.Tensor
    op: tflite.Operator
    tensor: tflite.Tensor


@dataclass(frozen=True)
class Matching:
    """What was found.

    Attributes:
        pairs: In the order of execution of the quantized file.
        unmatched: Quantized layers without a counterpart, by the name of their tensor.
    """

    pairs: tuple[Pair, ...]
    unmatched: tuple[str, ...]


def match(float_model: tflite.Model, quantized: tflite.Model) -> Matching:
    """Finds the counterpart of every quantized layer.

    QUANTIZE and DEQUANTIZE are no layers: they convert, and their error shows in what reads them.

    Args:
        float_model: The float model; tensor names must be unique.
        quantized: The quantized file.
    """
    theirs = {
        float_model.main.tensors[i].name: (op, float_model.main.tensors[i])
        for op in _computed(float_model.main)
        for i in op.outputs
    }
    wanted = [
        (op, tensor)
        for op in _computed(quantized.main)
        if op.name not in BOUNDARY
        for tensor in (quantized.main.tensors[i] for i in op.outputs)
        if tensor.dtype in QUANTIZED and tensor.scale is not None and tensor.elements
    ]
    found: dict[int, Pair] = {}
    for op, tensor in wanted:
        float_op, float_tensor = theirs.get(tensor.name, (None, None))
        if float_op is not None and float_tensor is not None and _alike(float_tensor, tensor):
            found[tensor.index] = Pair("name", float_op, float_tensor, op, tensor)
    taken = {pair.float_tensor.index for pair in found.values()}
    for float_op, op in _aligned(float_model.main, quantized.main):
        float_tensor = float_model.main.tensors[float_op.outputs[0]]
        tensor = quantized.main.tensors[op.outputs[0]]
        is_wanted = any(tensor is other for _, other in wanted)
        if is_wanted and tensor.index not in found and float_tensor.index not in taken:
            found[tensor.index] = Pair("order", float_op, float_tensor, op, tensor)
    return Matching(
        tuple(found[tensor.index] for _, tensor in wanted if tensor.index in found),
        tuple(tensor.name for _, tensor in wanted if tensor.index not in found),
    )


def _computed(graph: tflite.Subgraph) -> list[tflite.Operator]:
    """The ops that lead to an output; the runtime doesn't compute others."""
    needed, computed = set(graph.outputs), []
    for op in reversed(graph.operators):
        if needed & set(op.outputs):
            needed |= set(op.inputs)
            computed.append(op)
    return computed[::-1]


def _alike(float_tensor: tflite.Tensor, tensor: tflite.Tensor) -> bool:
    return float_tensor.dtype == "float32" and float_tensor.shape == tensor.shape


def _aligned(
    first: tflite.Subgraph, second: tflite.Subgraph
) -> list[tuple[tflite.Operator, tflite.Operator]]:
    """Ops that stand in the same place of both sequences, conversions left out."""
    ops = [[op for op in _computed(graph) if op.name not in BOUNDARY] for graph in (first, second)]
    ours, theirs = (
        [(op.name, graph.tensors[op.outputs[0]].shape) for op in sequence]
        for graph, sequence in zip((first, second), ops, strict=True)
    )
    blocks = difflib.SequenceMatcher(a=ours, b=theirs, autojunk=False).get_matching_blocks()
    return [
        (ops[0][block.a + i], ops[1][block.b + i]) for block in blocks for i in range(block.size)
    ]
