"""Which channels of a float graph can be scaled together without changing what it answers.

Where a tensor's channel c is divided by s[c] as it is produced and multiplied by s[c] as it is
consumed, nothing changes: weights and biases take both factors. Through a residual ADD, a pooling
or a reshape the factor passes on, so all tensors that such ops connect share one s: a group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgekit.converters.rewriting import Graph, Op
from edgekit.converters.weighted import Layer, layers

_NONE, _RELU, _RELU6 = 0, 1, 3
#: Fused activations under which scaling is exact, or can be made so (RELU6, within limits).
_ACTIVATIONS = (_NONE, _RELU, _RELU6)
#: Ops with one input and one output that handle each channel alone and alike.
_CHANNELWISE = ("MEAN", "AVERAGE_POOL_2D", "MAX_POOL_2D", "RELU", "RELU6")


@dataclass
class Group:
    """Channels that are scaled together.

    Attributes:
        tensors: The activations.
        producers: Layers that write one of them.
        consumers: Layers that read one of them.
        constants: (op, place) of the constants that are added to one of them.
        clipped: Those of the tensors that a RELU6 writes.
    """

    tensors: list[int] = field(default_factory=list)
    producers: list[Layer] = field(default_factory=list)
    consumers: list[Layer] = field(default_factory=list)
    constants: list[tuple[Op, int]] = field(default_factory=list)
    clipped: list[int] = field(default_factory=list)


def channel_groups(graph: Graph) -> list[Group]:
    """The groups of a graph that have a producer and a consumer, in the order of execution."""
    joined = _Joined()
    weighted = {layer.op: layer for layer in layers(graph)}
    constants: dict[int, list[tuple[Op, int]]] = defaultdict(list)
    clipped: set[int] = set()
    for op in graph.ops:
        if _activation(op) == _RELU6:
            clipped.add(op.output)
        if op in weighted:
            layer, source = weighted[op], op.inputs[0]
            whole = layer.is_depthwise or layer.weights.shape[-1] == graph.shape(source)[-1]
            if not whole:  # a grouped convolution, or a dense layer on flattened positions
                joined.pin(source)
            if _activation(op) not in _ACTIVATIONS:
                joined.pin(op.output)
        elif not _connect(graph, op, joined, constants):
            for tensor in (*op.inputs, *op.outputs):
                joined.pin(tensor)
    for op in graph.ops:
        for tensor in (*op.inputs, *op.outputs):
            if graph.is_output(tensor) or (
                graph.producer(tensor) is None and graph.constant(tensor) is None
            ):
                joined.pin(tensor)

    groups: dict[int, Group] = defaultdict(Group)
    for op in graph.ops:
        tensor = op.output
        group = groups[joined.root(tensor)]
        group.tensors.append(tensor)
        group.constants += constants[tensor]
        group.clipped += [tensor] if tensor in clipped else []
        if op in weighted:
            group.producers.append(weighted[op])
            groups[joined.root(op.inputs[0])].consumers.append(weighted[op])
    return [
        group
        for root, group in groups.items()
        if group.producers and group.consumers and not joined.is_pinned(root)
    ]


def _connect(
    graph: Graph, op: Op, joined: _Joined, constants: dict[int, list[tuple[Op, int]]]
) -> bool:
    """Joins what an op without weights connects; False where it is not understood."""
    if _activation(op) not in _ACTIVATIONS:
        return False
    output = op.output
    channels = graph.shape(output)[-1:]
    if op.name == "ADD":
        for place, tensor in enumerate(op.inputs):
            if graph.constant(tensor) is not None:
                constants[output].append((op, place))
            elif graph.shape(tensor)[-1:] != channels:
                return False
            else:
                joined.join(tensor, output)
        return True
    if op.name == "MUL":  # a gate on every channel, as in squeeze-and-excitation
        values = [t for t in op.inputs if graph.shape(t) == graph.shape(output)]
        gates = [t for t in op.inputs if t not in values]
        if len(values) != 1 or len(gates) != 1:
            return False
        if graph.constant(gates[0]) is None:
            joined.pin(gates[0])
        joined.join(values[0], output)
        return graph.constant(values[0]) is None
    same_channels = graph.shape(op.inputs[0])[-1:] == channels
    if op.name == "RESHAPE" and same_channels:
        joined.join(op.inputs[0], output)
        return True
    if op.name == "PAD" and same_channels:
        paddings = graph.constant(op.inputs[1])
        joined.join(op.inputs[0], output)
        return paddings is not None and not paddings[-1].any()
    if op.name in _CHANNELWISE and same_channels:
        axes = graph.constant(op.inputs[1]) if op.name == "MEAN" else None
        rank = len(graph.shape(op.inputs[0]))
        joined.join(op.inputs[0], output)
        return axes is None or rank - 1 not in {int(a) % rank for a in axes.reshape(-1)}
    return False


def _activation(op: Op) -> int:
    """The activation of an op, fused or its own."""
    if op.name == "RELU6":
        return _RELU6
    return int(op.option("fused_activation_function") or _NONE)


class _Joined:
    """Tensors in sets that grow together; -1 and constants do no harm in it."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}
        self._pinned: set[int] = set()

    def root(self, tensor: int) -> int:
        parent = self._parent.setdefault(tensor, tensor)
        if parent != tensor:
            parent = self._parent[tensor] = self.root(parent)
        return parent

    def join(self, first: int, second: int) -> None:
        one, other = self.root(first), self.root(second)
        if one == other:
            return
        self._parent[one] = other
        if one in self._pinned:
            self._pinned.add(other)

    def pin(self, tensor: int) -> None:
        """Leaves the set of this tensor as it is."""
        self._pinned.add(self.root(tensor))

    def is_pinned(self, tensor: int) -> bool:
        return self.root(tensor) in self._pinned


def names(graph: Graph, groups: list[Group]) -> Iterator[str]:
    """The names of all tensors of some groups."""
    for group in groups:
        yield from (graph.name(tensor) for tensor in group.tensors)
