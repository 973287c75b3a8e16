"""The layers of a float graph that have constant weights, each as one matrix of filters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgekit.converters.rewriting import Array, Graph, Op

#: The dimension of the output channels in each op's weights: [out, h, w, in] of a convolution,
#: [1, h, w, out] of a depthwise one, [out, in] of a dense layer.
CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}


@dataclass(frozen=True)
class Layer:
    """An op with constant float weights.

    Attributes:
        op: The op; its inputs are (source, weights, bias), the bias perhaps missing.
        weights: float32, as TFLite lays them out.
        bias: float32[out]; zeros where the op has none.
    """

    op: Op
    weights: Array
    bias: Array

    @property
    def source(self) -> int:
        """The tensor it reads."""
        return self.op.inputs[0]

    @property
    def has_bias(self) -> bool:
        """Whether the op adds one."""
        return len(self.op.inputs) > 2 and self.op.inputs[2] >= 0

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel is filtered by itself."""
        return self.op.name == "DEPTHWISE_CONV_2D"

    @property
    def channel_axis(self) -> int:
        """The dimension of the output channels in the weights."""
        return CHANNEL_AXIS[self.op.name]

    @property
    def pointwise(self) -> bool:
        """Whether it sees one position at a time, so that no padding takes part."""
        return self.op.name == "FULLY_CONNECTED" or self.weights.shape[1:3] == (1, 1)

    def filters(self) -> Array:
        """The weights as float64[out, in]: a row for each output channel."""
        wide = np.moveaxis(self.weights, self.channel_axis, 0).astype(np.float64)
        return wide.reshape(len(wide), -1)

    def from_filters(self, filters: Array) -> Array:
        """The inverse of `filters`: float32, as TFLite lays them out."""
        others = [n for i, n in enumerate(self.weights.shape) if i != self.channel_axis]
        shaped = np.moveaxis(filters.reshape(len(filters), *others), 0, self.channel_axis)
        return np.ascontiguousarray(shaped, np.float32)


def layers(graph: Graph) -> Iterator[Layer]:
    """The layers with constant float32 weights and no bias but a constant one, in order."""
    for op in graph.ops:
        if op.name not in CHANNEL_AXIS:
            continue
        weights = graph.constant(op.inputs[1])
        has_bias = len(op.inputs) > 2 and op.inputs[2] >= 0
        bias = graph.constant(op.inputs[2]) if has_bias else None
        if weights is None or weights.dtype != np.float32 or (has_bias and bias is None):
            continue
        if bias is None:
            bias = np.zeros(weights.shape[CHANNEL_AXIS[op.name]], np.float32)
        yield Layer(op, weights, bias)


def put(
    graph: Graph, layer: Layer, weights: Array | None = None, bias: Array | None = None
) -> None:
    """Gives a layer other weights, another bias, or both, as constants of its own."""
    op, name = layer.op, graph.name(layer.op.output)
    inputs = [*op.inputs, -1][:3]
    if weights is not None:
        inputs[1] = graph.add_constant(f"{name}/weights", weights.astype(np.float32))
    if bias is not None:
        inputs[2] = graph.add_constant(f"{name}/bias", bias.astype(np.float32))
    op.inputs = inputs if inputs[2] >= 0 else inputs[:2]


def steps(filters: Array, per_channel: bool) -> Array:
    """The step of each filter as int8, symmetric, narrow range: max|w| / 127, float64[out].

    Args:
        filters: float64[out, in].
        per_channel: One for each filter, or one for all.
    """
    sizes = np.abs(filters).max(axis=1)
    if not per_channel:
        sizes = np.full_like(sizes, sizes.max())
    return np.where(sizes > 0, sizes / 127, 1.0)
