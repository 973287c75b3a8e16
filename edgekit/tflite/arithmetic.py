"""In which numbers a model computes: its quantization, and the float islands in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from edgekit.tflite.cost import WEIGHTS_INPUT
from edgekit.tflite.model import Model, Operator, Subgraph, Tensor

#: Between the worlds: they compute nothing themselves.
BOUNDARY = ("QUANTIZE", "DEQUANTIZE")
_INTEGERS = ("int8", "uint8", "int4", "int2", "uint4")


@dataclass(frozen=True)
class FloatIsland:
    """Connected operators that compute in float inside a model that is quantized otherwise.

    Attributes:
        operators: Their indices in the order of execution.
        names: Their operator names, in the same order.
        tensors: The float tensors they compute or share, by name.
        boundary: The QUANTIZE and DEQUANTIZE operators around it, as `NAME #index`.
    """

    operators: tuple[int, ...]
    names: tuple[str, ...]
    tensors: tuple[str, ...]
    boundary: tuple[str, ...]


@dataclass(frozen=True)
class Arithmetic:
    """How a model computes.

    Attributes:
        kind: `int8`; `uint8` (the older scheme); `int16x8` (int16 activations, int8 weights);
            `dynamic` (int8 weights, quantized activations made on the fly by each operator);
            `weight_only` (integer weights, turned to float before use); `float16` (so stored);
            `float32`; or `mixed`, where operators differ.
        reason: How that was decided, in words.
        islands: Float islands; empty unless some operators are quantized.
    """

    kind: str
    reason: str
    islands: tuple[FloatIsland, ...]


def describe(model: Model, graph: Subgraph) -> Arithmetic:
    """Decides how a graph computes.

    Each operator but QUANTIZE and DEQUANTIZE has a kind by its tensors: the type of its activations
    and, where it has weights, that of the weights. If operators with weights (or custom ones) are
    of one kind, and no operator is a float island, that is the model's kind.
    """
    producers = {index: op for op in graph.operators for index in op.outputs}
    kinds = {
        operator.index: kind
        for operator in graph.operators
        if operator.name not in BOUNDARY
        if (kind := _kind(model, graph, producers, operator)) is not None
    }
    if not kinds:
        return Arithmetic("float32", "no operator computes in quantized numbers", ())
    quantized = {i for i, kind in kinds.items() if kind in ("int8", "uint8", "int16x8")}
    floats = [graph.operators[i] for i in kinds if i not in quantized]
    islands = _islands(model, graph, floats) if quantized else ()
    counts = Counter(kinds.values())
    shares = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    reason = f"by the types of activations and weights: of {len(kinds)} ops {shares}"
    # A float ADD between dynamic convolutions is part of that scheme: those with weights decide.
    deciding = {
        kind
        for i, kind in kinds.items()
        if graph.operators[i].name in WEIGHTS_INPUT or graph.operators[i].custom
    } or set(kinds.values())
    if islands:
        return Arithmetic("mixed", reason, islands)
    if len(deciding) == 1:
        kind = deciding.pop()
        outside = [
            word
            for word, indices in (("input", graph.inputs), ("output", graph.outputs))
            if kind in ("int8", "uint8", "int16x8")
            and any(graph.tensors[i].is_float for i in indices)
        ]
        if outside:
            reason += f"; float {' and '.join(outside)}"
        return Arithmetic(kind, reason, ())
    return Arithmetic("mixed", reason, ())


def _kind(
    model: Model, graph: Subgraph, producers: dict[int, Operator], operator: Operator
) -> str | None:
    """The kind of one operator, or None where it handles only indices, shapes or constants."""
    tensors = [graph.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]
    activations = [t for t in tensors if not model.is_constant(t)]
    position = WEIGHTS_INPUT.get(operator.name)
    weights: Tensor | None = None
    if position is not None and len(operator.inputs) > position and operator.inputs[position] >= 0:
        weights = graph.tensors[operator.inputs[position]]
        activations = [t for t in activations if t is not weights]
    if any(t.is_float for t in activations):
        return _float_kind(model, graph, producers, weights)
    types = {t.dtype for t in activations if t.is_quantized or t.dtype in _INTEGERS}
    if "int16" in {t.dtype for t in activations if t.is_quantized}:
        return "int16x8"
    for kind in ("int8", "uint8"):
        if kind in types:
            return kind
    return None


def _float_kind(
    model: Model, graph: Subgraph, producers: dict[int, Operator], weights: Tensor | None
) -> str:
    if weights is None:
        return "float32"
    if weights.dtype in _INTEGERS:
        return "dynamic"
    producer = producers.get(weights.index)
    if producer is not None and producer.name == "DEQUANTIZE" and producer.inputs[0] >= 0:
        stored = graph.tensors[producer.inputs[0]]
        if model.is_constant(stored):
            return "float16" if stored.dtype == "float16" else "weight_only"
    return "float16" if weights.dtype == "float16" else "float32"


def _islands(model: Model, graph: Subgraph, operators: list[Operator]) -> tuple[FloatIsland, ...]:
    """Groups float operators that share a float tensor."""
    floats = {
        op.index: {
            i
            for i in (*op.inputs, *op.outputs)
            if i >= 0 and graph.tensors[i].is_float and not model.is_constant(graph.tensors[i])
        }
        for op in operators
    }
    groups: list[tuple[set[int], set[int]]] = []
    for index, tensors in floats.items():
        members, shared = {index}, set(tensors)
        apart = []
        for group in groups:
            if group[1] & shared:
                members |= group[0]
                shared |= group[1]
            else:
                apart.append(group)
        groups = [*apart, (members, shared)]
    islands = []
    for members, shared in sorted(groups, key=lambda group: min(group[0])):
        boundary = [
            f"{op.name} #{op.index}"
            for op in graph.operators
            if op.name in BOUNDARY and shared & {*op.inputs, *op.outputs}
        ]
        islands.append(
            FloatIsland(
                tuple(sorted(members)),
                tuple(graph.operators[i].name for i in sorted(members)),
                tuple(graph.tensors[i].name for i in sorted(shared)),
                tuple(boundary),
            )
        )
    return tuple(islands)
