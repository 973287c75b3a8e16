"""What an operator costs: multiply-accumulates, parameters, and the memory of activations."""

from __future__ import annotations

import math

from edgekit.tflite.model import Model, Operator, Subgraph, Tensor

#: Where the weights of an operator stand among its inputs.
WEIGHTS_INPUT = {
    "CONV_2D": 1,
    "DEPTHWISE_CONV_2D": 1,
    "FULLY_CONNECTED": 1,
    "TRANSPOSE_CONV": 1,
    "CONV_3D": 1,
    "BATCH_MATMUL": 1,
}

#: They multiply too, but by formulas that aren't here.
UNCOUNTED = frozenset(
    {
        "BIDIRECTIONAL_SEQUENCE_LSTM",
        "BIDIRECTIONAL_SEQUENCE_RNN",
        "CONV_3D_TRANSPOSE",
        "LSTM",
        "RNN",
        "STABLEHLO_CONVOLUTION",
        "STABLEHLO_DOT_GENERAL",
        "SVDF",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "UNIDIRECTIONAL_SEQUENCE_RNN",
    }
)
_INDEX_TYPES = frozenset({"int32", "int64", "uint32", "bool", "string"})
_STORED_AS_CONSTANTS = ("DEQUANTIZE", "DENSIFY")


def macs(operator: Operator, graph: Subgraph) -> int | None:
    """Multiply-accumulates of one inference; 0 for elementwise operators.

    * CONV_2D: outputs x kernel height x kernel width x input channels of a group, as the weights
      [cout, kh, kw, cin / groups] say;
    * DEPTHWISE_CONV_2D: outputs x kernel height x kernel width;
    * FULLY_CONNECTED: outputs x inputs;
    * TRANSPOSE_CONV: inputs x kernel height x kernel width x output channels;
    * CONV_3D: outputs x kernel volume x input channels;
    * BATCH_MATMUL: outputs x the dimension that is summed over.

    Returns:
        None where it isn't known: custom operators, recurrent ones, subgraphs that are called, and
        pictures of any size.
    """
    if operator.custom or operator.name in UNCOUNTED or _calls(operator):
        return None
    if operator.name not in WEIGHTS_INPUT:
        return 0
    inputs = [graph.tensors[i] if i >= 0 else None for i in operator.inputs]
    if len(inputs) < 2 or not operator.outputs:
        return None
    if -1 in graph.tensors[operator.outputs[0]].shape_signature[1:]:
        return None
    first, weights = inputs[0], inputs[1]
    outputs = graph.tensors[operator.outputs[0]].elements
    if first is None or weights is None:
        return None
    shape = weights.shape
    if operator.name == "BATCH_MATMUL" and len(first.shape) >= 2:
        return outputs * first.shape[-2 if operator.options.get("adj_x") else -1]
    if operator.name == "FULLY_CONNECTED" and len(shape) == 2:
        return outputs * shape[1]
    if operator.name == "CONV_2D" and len(shape) == 4:
        return outputs * math.prod(shape[1:])
    if operator.name == "DEPTHWISE_CONV_2D" and len(shape) == 4:
        return outputs * shape[1] * shape[2]
    if operator.name == "CONV_3D" and len(shape) == 5:
        return outputs * math.prod(shape[:4])
    if operator.name == "TRANSPOSE_CONV" and len(shape) == 4 and len(inputs) > 2:
        image = inputs[2]
        return None if image is None else image.elements * math.prod(shape[:3])
    return None


def parameter_tensors(model: Model, graph: Subgraph) -> list[list[Tensor]]:
    """The learned constants of each operator: weights, biases, factors.

    Constants of an integer type without a scale are shapes, axes and indices, and left out, but for
    biases. Weights that are stored in another type and turned by DEQUANTIZE or DENSIFY belong to
    the operator that uses them. A constant that several use belongs to the first.
    """
    producers = {index: op for op in graph.operators for index in op.outputs}
    seen: set[int] = set()
    result = []
    for operator in graph.operators:
        mine: list[Tensor] = []
        storing = operator.name in _STORED_AS_CONSTANTS
        for position, index in enumerate(operator.inputs):
            tensor = _stored(model, graph, producers, index)
            if tensor is None or tensor.index in seen or (storing and model.is_constant(tensor)):
                continue
            bias = operator.name in WEIGHTS_INPUT and position == 2
            if tensor.dtype in _INDEX_TYPES and not tensor.is_quantized and not bias:
                continue
            seen.add(tensor.index)
            mine.append(tensor)
        result.append(mine)
    return result


def parameter_bytes(model: Model, graph: Subgraph) -> list[int]:
    """The bytes that the learned constants of each operator take; see `parameter_tensors`."""
    return [
        sum(model.constant_bytes(tensor) for tensor in tensors)
        for tensors in parameter_tensors(model, graph)
    ]


def quantization_bytes(graph: Subgraph) -> int:
    """What scales and zero points take, of which weights and biases per channel have many.

    Each pair takes 12 bytes in the file (a float and a long in schema.fbs) and 8 in TFLite's copy
    (a float and an int in TfLiteAffineQuantization; `ParseQuantization` in interpreter_builder.cc).
    """
    return 20 * sum(len(tensor.scales) for tensor in graph.tensors)


def peak_activation_bytes(
    model: Model, graph: Subgraph, *, ends_kept: bool = False
) -> tuple[int, int | None]:
    """The most bytes of activations that are alive at once, and the operator where.

    The sum, at each operator, of all tensors that aren't constant and are alive then: from the
    operator that writes one to the last that reads it; inputs of the graph from the start, outputs
    to the end, variables always. It is a lower bound of a runtime's arena: without scratch buffers,
    alignment and gaps, and without an operator writing over its input. Dimensions that may change
    count as stored in the file, strings as nothing.

    Returns:
        (bytes, index of the first operator with that peak, or None in a graph without any).
    """
    last = len(graph.operators)
    starts: dict[int, int] = dict.fromkeys(graph.inputs, 0)
    ends: dict[int, int] = {}
    for operator in graph.operators:
        for index in operator.outputs:
            starts[index] = operator.index
            ends.setdefault(index, operator.index)
        for index in operator.inputs:
            if index >= 0:
                ends[index] = operator.index
    ends.update(dict.fromkeys(graph.outputs, last))
    if ends_kept:
        starts.update(dict.fromkeys(graph.outputs, 0))
        ends.update(dict.fromkeys(graph.inputs, last))
    changes = [0] * (last + 2)
    for tensor in graph.tensors:
        if model.is_constant(tensor):
            continue
        if tensor.is_variable:
            start, end = 0, last
        elif tensor.index in starts:
            start, end = starts[tensor.index], ends.get(tensor.index, 0)
        else:
            continue
        changes[start] += tensor.byte_size
        changes[end + 1] -= tensor.byte_size
    peak, where, alive = 0, None, 0
    for index, change in enumerate(changes[: max(last, 1)]):
        alive += change
        if alive > peak:
            peak, where = alive, index if last else None
    return peak, where


def _stored(
    model: Model, graph: Subgraph, producers: dict[int, Operator], index: int
) -> Tensor | None:
    """The constant behind an input, through the operators that only unpack it."""
    while index >= 0:
        tensor = graph.tensors[index]
        if model.is_constant(tensor):
            return tensor
        producer = producers.get(index)
        if producer is None or producer.name not in _STORED_AS_CONSTANTS or not producer.inputs:
            return None
        index = producer.inputs[0]
    return None


def _calls(operator: Operator) -> bool:
    endings = ("subgraph", "subgraph_index", "subgraph_indices")
    return any(name.endswith(endings) for name in operator.options)
