"""Takes fake quantization out of a frozen graph: the float model, and the ranges it was trained in.

Quantization-aware training with tensorflow-model-optimization leaves a FakeQuant op behind every
tensor that it saw quantized. TFLiteConverter folds batch norm and fuses activations around those on
activations, and writes each as a pair QUANTIZE, DEQUANTIZE: so a pair in the converted file names
the tensor that will exist on the device, and its range. Here the pairs are read and taken out, and
what is left is a float file like any other.

Weights come out as the training's last step left them. Per channel, edgekit's own rounding is what
the training saw: symmetric, with the largest absolute value at 127 (`LastValueQuantizer`). Where
the training saw one scale for all channels (dense layers, and depthwise kernels, whose last axis is
not the channel), the weights are first rounded to that grid: it is what the other weights were
trained to go with, and the finer grid per channel adds little to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from edgekit import tflite
from edgekit.converters import flatbuffer
from edgekit.converters.graph import Frozen, to_tflite
from edgekit.converters.ranges import Ranges
from edgekit.converters.rewriting import Graph
from edgekit.errors import UnreadableError

_FAKE_QUANT = ("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel")
#: Ops whose int8 kernels give the output the scale of the first input.
_SAME_RANGE = frozenset(
    {"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "PAD", "MAX_POOL_2D", "STRIDED_SLICE"}
    | {"SLICE", "AVERAGE_POOL_2D", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "MIRROR_PAD"}
)
#: Ops whose int8 kernels give the output one scale and zero point for good (TFLite's 8-bit
#: quantization specification).
_FIXED_RANGE = {
    "SOFTMAX": (0.0, 255 / 256),
    "LOGISTIC": (0.0, 255 / 256),
    "TANH": (-1.0, 127 / 128),
}


@dataclass(frozen=True)
class Learned:
    """A float model and the ranges it was trained in.

    Attributes:
        model: A float32 .tflite file without fake quantization, tensor names unique.
        ranges: The range of each activation that has one, by tensor name.
        unlearned: The activations that training left in float; not the input.
        probe: What TensorFlow makes of the probe input without fake quantization: the float file
            is held against it. float32[1, classes].
    """

    model: bytes
    ranges: Ranges
    unlearned: tuple[str, ...]
    probe: npt.NDArray[np.float32]


def has_fake_quantization(frozen: Frozen) -> bool:
    """Whether a graph was trained with fake quantization, by whatever tool."""
    return any(node.op in _FAKE_QUANT for node in frozen.graph_def.node)


def separate(frozen: Frozen, probe_input: npt.NDArray[np.float32], path: Path) -> Learned:
    """Separates a graph with fake quantization into a float file and ranges.

    Args:
        frozen: A graph of constants.
        probe_input: float32[1, H, W, 3].
        path: The source, for errors.

    Raises:
        UnreadableError: It was trained for another number of bits than 8.
    """
    _require_8_bits(frozen, path)
    with_float_weights = _replace(frozen, _weight_replacements(frozen))
    activations = {node.name: _identity(node) for node in _fake_quants(with_float_weights)}
    plain = _replace(with_float_weights, activations)
    marked = flatbuffer.prepare(to_tflite(with_float_weights, path), str(path))
    model, found = _take_pairs_out(marked, str(path))
    ranges, unlearned = _spread(found, model, str(path))
    return Learned(model, ranges, unlearned, _run(plain, probe_input))


def _fake_quants(frozen: Frozen) -> Iterator[Any]:
    return (node for node in frozen.graph_def.node if node.op in _FAKE_QUANT)


def _require_8_bits(frozen: Frozen, path: Path) -> None:
    odd = [n for n in _fake_quants(frozen) if n.attr["num_bits"].i not in (0, 8)]  # 0: left out
    if odd:
        raise UnreadableError(
            f"{path}: was trained for {odd[0].attr['num_bits'].i} bits ({odd[0].name}), and "
            "edgekit writes 8",
            "Train it with the default 8-bit scheme of tensorflow-model-optimization.",
        )


# --- the TensorFlow graph


def _weight_replacements(frozen: Frozen) -> dict[str, Any]:
    """What stands for each FakeQuant op on weights: the weights, or their values on its grid."""
    nodes = {node.name: node for node in frozen.graph_def.node}
    replacements = {}
    for node in _fake_quants(frozen):
        weights, low, high = (_constant(nodes, name) for name in node.input[:3])
        if weights is None:
            continue
        if low.size > 1:
            replacements[node.name] = _identity(node)
            continue
        values = tf.quantization.fake_quant_with_min_max_vars(
            weights, low.item(), high.item(), narrow_range=node.attr["narrow_range"].b
        )
        constant = tf.compat.v1.NodeDef(name=node.name, op="Const")
        constant.attr["dtype"].type = tf.float32.as_datatype_enum
        constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values.numpy()))
        replacements[node.name] = constant
    return replacements


def _constant(nodes: dict[str, Any], name: str) -> Any:
    """The value of a constant behind any number of Identity nodes, or None."""
    node = nodes[name.split(":")[0]]
    while node.op in ("Identity", "ReadVariableOp"):
        node = nodes[node.input[0].split(":")[0]]
    return tf.make_ndarray(node.attr["value"].tensor) if node.op == "Const" else None


def _identity(node: Any) -> Any:
    identity = tf.compat.v1.NodeDef(name=node.name, op="Identity", input=node.input[:1])
    identity.attr["T"].type = tf.float32.as_datatype_enum
    return identity


def _replace(frozen: Frozen, replacements: dict[str, Any]) -> Frozen:
    """The graph with other nodes under the names of some."""
    graph_def = tf.compat.v1.GraphDef(
        versions=frozen.graph_def.versions, library=frozen.graph_def.library
    )
    for node in frozen.graph_def.node:
        graph_def.node.add().CopyFrom(replacements.get(node.name, node))
    return dataclasses.replace(frozen, graph_def=graph_def)


def _run(frozen: Frozen, probe_input: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What TensorFlow itself makes of an input."""
    ends = [frozen.inputs[0].name, frozen.outputs[0].name]
    wrapped = tf.compat.v1.wrap_function(
        lambda: tf.graph_util.import_graph_def(frozen.graph_def, name=""), []
    )
    function = wrapped.prune(*(wrapped.graph.get_tensor_by_name(name) for name in ends))
    return np.asarray(function(tf.constant(probe_input)), np.float32)


# --- the TFLite graph


def _take_pairs_out(marked: bytes, where: str) -> tuple[bytes, Ranges]:
    """Takes each QUANTIZE, DEQUANTIZE pair out of a float file, and notes its range."""
    types = {tensor.name: tensor for tensor in tflite.read(marked, where).main.tensors}
    graph = Graph(marked, where)
    ranges: Ranges = {}
    for quantize in [op for op in graph.ops if op.name == "QUANTIZE"]:
        low, high = _range(types[graph.name(quantize.output)])
        source = quantize.inputs[0]
        for dequantize in graph.consumers(quantize.output):
            source = _join(graph, source, dequantize.output)
            graph.replace(dequantize, [])  # the QUANTIZE goes with the last of them
        name = graph.name(source)
        known = ranges.get(name, (low, high))
        # Of two ranges for one tensor the wider one: on the device it has a single one.
        ranges[name] = min(low, known[0]), max(high, known[1])
    return graph.to_bytes(), ranges


def _range(tensor: tflite.Tensor) -> tuple[float, float]:
    """The real values at the ends of a quantized tensor's type."""
    first, last = {"uint8": (0, 255), "int8": (-128, 127)}[tensor.dtype]
    scale, zero_point = float(tensor.scales[0]), int(tensor.zero_points[0])
    return (first - zero_point) * scale, (last - zero_point) * scale


def _join(graph: Graph, source: int, copy: int) -> int:
    """Makes one tensor of two; returns the one that stays."""
    stays, goes = (copy, source) if graph.is_output(copy) else (source, copy)
    producer = graph.producer(source)
    if stays == copy and producer is not None:
        producer.outputs = [copy if i == source else i for i in producer.outputs]
    for op in graph.consumers(goes):
        op.inputs = [stays if i == goes else i for i in op.inputs]
    return stays


def _spread(ranges: Ranges, model: bytes, where: str) -> tuple[Ranges, tuple[str, ...]]:
    """Adds the ranges that follow from others, as TFLite's kernels have them.

    Returns:
        All ranges, and the names of the activations that have none.
    """
    graph, known = Graph(model, where), dict(ranges)
    for op in graph.ops:
        name = graph.name(op.output)
        if op.name in _FIXED_RANGE:
            known.setdefault(name, _FIXED_RANGE[op.name])
        elif op.name in _SAME_RANGE and graph.name(op.inputs[0]) in known:
            known.setdefault(name, known[graph.name(op.inputs[0])])
    for op in reversed(graph.ops):
        sources = op.inputs if op.name == "CONCATENATION" else op.inputs[:1]
        if op.name in _SAME_RANGE | {"CONCATENATION"} and graph.name(op.output) in known:
            for source in sources:
                if graph.constant(source) is None:
                    known.setdefault(graph.name(source), known[graph.name(op.output)])
    # The input is left out: its range is the contract's.
    written = [graph.name(i) for op in graph.ops for i in op.outputs]
    return known, tuple(name for name in written if name not in known)
