"""Cross-layer equalization: every channel of a tensor gets to use the same range.

A tensor has one scale for all its channels, and so have weights that are quantized per tensor; a
channel with a hundredth of the largest one's range gets a hundredth of the steps. Dividing channel
c by s[c] where it is produced, and multiplying by s[c] where it is consumed, changes nothing in the
float model (`channel_groups`) and evens the ranges out:

    s[c] = sqrt(r1[c] / r2[c])

(Nagel et al. 2019, "Data-Free Quantization", arXiv:1906.04721, equation 11), where r2 is the range
of the consumers' weights for channel c, and r1 that of the producer's weights where weights are
quantized per tensor. Per channel, the producer's weights have a scale for each c already, and what
is left to even out is the activation itself: r1 is then its range over calibration images, which is
the rule of SmoothQuant (Xiao et al. 2022, arXiv:2211.10438, equation 4, alpha = 0.5). A depthwise
consumer has a scale for each channel too, so there the activation is evened out in full.

A RELU6 is not scaled with its input. The paper puts RELU in its place; on EfficientNet-Lite0 that
alone changes 41 % of the answers, so such tensors are left as they are. Scaling up the channels
that didn't reach 6 on 100 calibration images (with a margin of two) cost more on other photos,
which reached further, than it brought.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekit import images
from edgekit.contract import Contract
from edgekit.converters.activations import ChannelRanges, channel_ranges
from edgekit.converters.rewriting import Array, Graph, Op
from edgekit.converters.rungs.channel_groups import Group, channel_groups, names
from edgekit.converters.rungs.draft import Draft, Material, Progress, Skipped, recalibrated
from edgekit.converters.weighted import Layer, put

#: No channel is scaled by more than this: one that is nearly dead would blow up what noise it has.
_MOST = 64.0


def equalize(draft: Draft, material: Material, progress: Progress) -> Draft:
    """Evens out the ranges of channels, and calibrates again; the float model's answers stay.

    Raises:
        Skipped: No channel can be scaled.
    """
    base = equalized(
        draft.base, material.pictures, material.contract, material.where, draft.options.per_channel
    )
    if base is None:
        raise Skipped("no channel between two layers can be scaled")
    return recalibrated(draft, base, material, progress)


def equalized(
    model: bytes,
    pictures: images.Picture,
    contract: Contract,
    where: str,
    per_channel: Callable[[str], bool] = lambda op: True,
) -> bytes | None:
    """Evens out the ranges of channels.

    Args:
        model: A float32 .tflite file, batch 1.
        pictures: uint8[N, height, width, 3], calibration images.
        contract: Turns pictures into the model's input.
        where: The file the model came from, for errors.
        per_channel: Whether weights of an op will have a scale for each output channel.

    Returns:
        The float model with other weights and biases, or None where no channel can be scaled.
    """
    graph = Graph(model, where)
    groups = [group for group in channel_groups(graph) if not group.clipped]
    if not groups:
        return None
    seen = channel_ranges(model, pictures, contract, set(names(graph, groups)))
    # The factors of all groups first: they are of the weights as they were.
    divisors: dict[Op, Array] = {}
    multipliers: dict[Op, Array] = {}
    taken: dict[Op, Array] = {}
    given: dict[Op, Array] = {}
    weighted: dict[Op, Layer] = {}
    for group in groups:
        scales, shift = _factors(graph, group, seen, per_channel), _shift(graph, group, seen)
        divisors |= {layer.op: scales for layer in group.producers}
        multipliers |= {layer.op: scales for layer in group.consumers}
        if shift is not None:
            taken |= {layer.op: shift for layer in group.producers}
            given |= {layer.op: shift for layer in group.consumers}
        weighted |= {layer.op: layer for layer in (*group.producers, *group.consumers)}
        for op, place in group.constants:
            _divide_constant(graph, op, place, scales)
    for op, layer in weighted.items():
        filters, bias = layer.filters(), layer.bias.astype(np.float64)
        if op in given:
            bias = bias + filters @ _for_inputs(layer, given[op])
        if op in multipliers:
            factors = _for_inputs(layer, multipliers[op])
            filters = filters * (factors[:, None] if layer.is_depthwise else factors)
        if op in divisors:
            filters, bias = (
                filters / divisors[op][:, None],
                (bias - taken.get(op, 0)) / divisors[op],
            )
        put(
            graph,
            layer,
            layer.from_filters(filters),
            bias if op in divisors or op in given else None,
        )
    return graph.to_bytes()


def _factors(
    graph: Graph, group: Group, seen: ChannelRanges, per_channel: Callable[[str], bool]
) -> Array:
    """s[c] of a group: float64[channels], around 1."""
    reach = np.max([_relative(_reach(graph, t, seen)) for t in group.tensors], axis=0)
    consumers = [
        r
        for layer in group.consumers
        if (r := _read_by(layer, per_channel(layer.op.name))) is not None
    ]
    read = np.max(consumers, axis=0) if consumers else None
    if all(per_channel(layer.op.name) for layer in group.producers):
        made = reach
    else:
        made = np.max([_relative(np.abs(p.filters()).max(axis=1)) for p in group.producers], axis=0)
    scales = made.copy() if read is None else np.sqrt(made / np.where(read > 0, read, 1))
    usable = (made > 0) & (reach > 0) & ((read is None) | (read > 0) if read is not None else True)
    scales = np.where(usable, scales, 1)
    return np.clip(scales / scales.max(), 1 / _MOST, 1)


def _shift(graph: Graph, group: Group, seen: ChannelRanges) -> Array | None:
    """What the biases take from each channel before its scale is chosen, or None.

    High-bias absorption (arXiv:1906.04721, section 4.1.3): what a channel never goes below need not
    be stored. The paper estimates it from batch norm; here it is what calibration saw. A tensor
    without an activation can be moved either way, so there each channel is centred.
    """
    alone = len(group.tensors) == len(group.producers) and not group.constants
    if not alone or not all(layer.pointwise for layer in group.consumers):
        return None
    low = np.min([seen.low[graph.name(t)] for t in group.tensors], axis=0)
    high = np.max([seen.high[graph.name(t)] for t in group.tensors], axis=0)
    if any(layer.op.option("fused_activation_function") for layer in group.producers):
        return np.maximum(low, 0).astype(np.float64)
    return ((low + high) / 2).astype(np.float64)


def _reach(graph: Graph, tensor: int, seen: ChannelRanges) -> Array:
    name = graph.name(tensor)
    return np.maximum(np.abs(seen.low[name]), np.abs(seen.high[name])).astype(np.float64)


def _read_by(layer: Layer, per_channel: bool) -> Array | None:
    """The range of a consumer's weights for each channel it reads, or None where it is free."""
    sizes = np.abs(layer.weights.astype(np.float64))
    if layer.is_depthwise:
        if per_channel:
            return None
        multiplier = sizes.shape[3] // _channels_read(layer)
        by_output = sizes.max(axis=(0, 1, 2))
        return _relative(by_output.reshape(-1, multiplier).max(axis=1))
    if per_channel:
        rows = sizes.reshape(len(sizes), -1).max(axis=1)
        sizes = sizes / np.where(rows > 0, rows, 1).reshape(-1, *[1] * (sizes.ndim - 1))
    return _relative(sizes.reshape(-1, sizes.shape[-1]).max(axis=0))


def _channels_read(layer: Layer) -> int:
    return layer.weights.shape[3] // int(layer.op.option("depth_multiplier") or 1)


def _for_inputs(layer: Layer, channels: Array) -> Array:
    """A number for each channel, as float64[inputs] of a filter, or [out] where depthwise."""
    if layer.is_depthwise:
        return np.repeat(channels, len(layer.filters()) // len(channels))
    return np.tile(channels, layer.filters().shape[1] // len(channels))


def _relative(sizes: Array) -> Array:
    largest = sizes.max()
    return sizes / largest if largest > 0 else sizes


def _divide_constant(graph: Graph, op: Op, place: int, scales: Array) -> None:
    value = graph.constant(op.inputs[place])
    assert value is not None
    name = f"{graph.name(op.output)}/addend"
    op.inputs[place] = graph.add_constant(name, (value / scales).astype(np.float32))
