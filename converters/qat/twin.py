"""From a float .tflite graph to the Keras model that is trained: the same ops, one layer each.

The grids are read out of the int8 file that litert-quantizer makes of the graph, so activations are
rounded exactly where that file rounds them, and to the same values: after fused activations, after
residual additions, with one scale for all parts of a concatenation, with the fixed scales of
SOFTMAX and LOGISTIC. Between the layers go whole steps (int8 value less zero point), as between the
ops of the file: real values would be rounded by float32, and one that lies next to the middle
between two steps would now and then fall to the other side. Where the scales are trained too, it is
real values that go. Imports TensorFlow.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from edgekit import tflite
from edgekit.contract import Contract
from edgekit.converters import weighted
from edgekit.converters.qat import kernels, tables
from edgekit.converters.qat.layers import FakeQuant, Operation, RealValues, WeightedOperation
from edgekit.errors import NotMetError, RuntimeFailure, UsageError
from edgekit.tflite.edit import edit

#: Tensor name -> a layer's name that is not taken yet.
Namer = Callable[[str], str]

#: Ops whose int8 kernels write with one scale that is theirs.
_FIXED_SCALE = frozenset({"SOFTMAX", "LOGISTIC", "TANH"})


def require_trainable(model: bytes, quantized: bytes, where: str) -> None:
    """Checks that every op can be trained, before that begins.

    Args:
        model: The float graph.
        quantized: The int8 file made of it.
        where: The file it came from.

    Raises:
        NotMetError: An op would stay in float; the layers are named.
        UsageError: An op is not known here; the layers are named.
    """
    _require_int8(tflite.read(quantized, where), where)
    _require_known(tflite.read(model, where), where)


def _require_known(parsed: tflite.Model, where: str) -> None:
    unknown = [
        f"{_tensor(parsed, op.outputs[0]).name.split(';')[0]} ({op.name})"
        for op in parsed.main.operators
        if not _is_known(parsed, op)
    ]
    if unknown:
        raise UsageError(
            f"{where}: {len(unknown)} op(s) can't be trained quantization-aware: {_some(unknown)}",
            "Nothing was trained. Replace those layers, or convert without this training: "
            "edgekit convert --int8",
        )


def build(
    model: bytes,
    quantized: bytes | None,
    contract: Contract | None,
    where: str,
    *,
    learned_ranges: bool = False,
) -> keras.Model:
    """The Keras model of a float graph.

    Args:
        model: A float32 .tflite file, batch 1.
        quantized: The int8 file made from it, whose grids the model rounds to; None for a model
            that rounds nothing.
        contract: How pictures become the int8 file's input; None without such a file.
        where: The file it came from, for errors.
        learned_ranges: Train the scales of activations.

    Returns:
        float32[N, H, W, 3] -> float32[N, classes], the real values of the int8 outputs.

    Raises:
        UsageError: An op is not known here.
        NotMetError: `quantized` has float ops.
    """
    parsed = tflite.read(model, where)
    _require_known(parsed, where)
    return _Builder(
        parsed, edit(model, where), quantized, _shift_of(contract), where, learned_ranges
    ).model()


class _Builder:
    def __init__(
        self,
        parsed: tflite.Model,
        root: dict[str, Any],
        quantized: bytes | None,
        shift: float,
        where: str,
        learned: bool,
    ) -> None:
        self._shift = shift
        self._parsed = parsed
        self._fields = root["subgraphs"][0]["operators"]
        self._where, self._learned = where, learned
        #: The graph that is walked: the int8 one has the same ops, and QUANTIZE where scales meet.
        self._walked = parsed if quantized is None else tflite.read(quantized, where)
        self._rounds = quantized is not None
        if self._rounds:
            _require_int8(self._walked, where)
        self._groups = _Groups(self._walked, learned) if self._rounds else None
        self._in_steps = self._rounds and not learned
        self._names: set[str] = set()
        self._made: dict[int, Any] = {}
        self._weights: list[tuple[Operation, dict[str, Any]]] = []

    def model(self) -> keras.Model:
        graph = self._walked.main
        shape = _tensor(self._walked, graph.inputs[0]).shape
        image = keras.Input(shape[1:], name="image")
        self._made[graph.inputs[0]] = self._on_grid(graph.inputs[0], image)
        originals = iter(enumerate(self._parsed.main.operators))
        for op in graph.operators:
            if op.name == "QUANTIZE":
                self._requantize(op.inputs[0], op.outputs[0])
                continue
            position, original = next(originals)
            if original.name != op.name:
                raise RuntimeFailure(
                    f"{self._where}: its int8 form has {op.name} where the float graph has "
                    f"{original.name}",
                    "Please report the model: this way of quantizing it can't be trained.",
                )
            self._add(position, original, op)
        made = keras.Model(image, self._real(graph.outputs[0]), name="quantization_aware")
        for layer, values in self._weights:
            _start(layer, values)
        return made

    def _add(self, position: int, original: tflite.Operator, op: tflite.Operator) -> None:
        """Adds the layer of one op, and the rounding of what it writes."""
        output = _tensor(self._parsed, original.outputs[0])
        operands, values = self._operands(original, op)
        is_weighted = op.name in kernels.WEIGHTED
        kind = WeightedOperation if is_weighted else Operation
        settings = self._grids(op)
        if is_weighted and self._groups is not None:
            settings["quantized"] = self._granularity(op)
        layer = kind(
            op=op.name,
            tensor=output.name,
            shape=output.shape,
            operands=operands,
            options=_plain(self._fields[position]["builtin_options"]),
            version=original.version,
            position=position,
            name=self._layer_name(output.name),
            **settings,
        )
        inputs = [
            self._made[i]
            for i, operand in zip(op.inputs, operands, strict=True)
            if operand is not None and operand["kind"] == "tensor"
        ]
        if self._in_steps and op.name in tables.UNARY:
            layer.corrections = self._corrections(layer, position, op)
        result = layer(inputs if len(inputs) > 1 else inputs[0])
        self._weights.append((layer, values | {"size": self._size_of(op.outputs[0])}))
        stays = op.name in kernels.MOVING and not op.options.get("fused_activation_function")
        computed = [i for i in op.inputs if i in self._made]
        if self._groups is None or (stays and self._groups.are_one([*computed, op.outputs[0]])):
            self._made[op.outputs[0]] = result
        else:
            self._made[op.outputs[0]] = self._on_grid(op.outputs[0], result)

    def _requantize(self, source: int, target: int) -> None:
        """Brings a tensor to another grid."""
        assert self._groups is not None
        if self._in_steps:
            layer = self._groups.requantizing(source, target, self._layer_name)
        else:
            layer = self._groups.layer(target, self._layer_name)
        self._made[target] = layer(self._made[source])

    def _operands(
        self, original: tflite.Operator, op: tflite.Operator
    ) -> tuple[list[dict[str, Any] | None], dict[str, Any]]:
        """What an op reads, and the values of what it holds."""
        operands: list[dict[str, Any] | None] = []
        values: dict[str, Any] = {}
        for place, (index, now) in enumerate(zip(original.inputs, op.inputs, strict=True)):
            if index < 0:
                operands.append(None)
                continue
            tensor = _tensor(self._parsed, index)
            value = self._parsed.constant(tensor)
            described: dict[str, Any] = {"kind": "tensor", "shape": list(tensor.shape)}
            if value is not None and tensor.dtype != "float32":
                described = {"kind": "steering", "name": tensor.name, "dtype": tensor.dtype}
                described["values"] = value.tolist()
            elif value is not None:
                described |= {"kind": "constant", "name": tensor.name}
                if op.name in kernels.WEIGHTED and place in (1, 2):
                    described["kind"] = ("kernel", "bias")[place - 1]
                elif self._rounds:
                    described |= _grid_of_constant(_tensor(self._walked, now))
                values[described["kind"] if place in (1, 2) else str(place)] = value
                values[str(place)] = value
            operands.append(described)
        return operands, values

    def _grids(self, op: tflite.Operator) -> dict[str, Any]:
        """The grids of what an op reads and writes, where it works on steps."""
        if not self._in_steps:
            return {}
        output = _tensor(self._walked, op.outputs[0])
        read = [_tensor(self._walked, i) for i in op.inputs if i in self._made]
        settings: dict[str, Any] = {"scales": [tensor.scale for tensor in read]}
        settings["grid"] = (output.scale, output.zero_point)
        if op.name == "BATCH_MATMUL" and read[-1].zero_point != 0:
            # XNNPACK takes the product where the zero point is 0, and TFLite's own kernel else.
            settings["rounds_twice"] = True
        return settings

    def _corrections(
        self, layer: Operation, position: int, op: tflite.Operator
    ) -> list[tuple[float, float]]:
        """Where the int8 kernel of an op of one operand gives another step than the nearest."""
        source, target = (_tensor(self._walked, i) for i in (op.inputs[0], op.outputs[0]))
        assert source.zero_point is not None and target.zero_point is not None
        steps = np.arange(-128, 128, dtype=np.float32) - source.zero_point
        found = np.asarray(layer.call(steps[:, None]))[:, 0]
        options = self._fields[position]["builtin_options"]
        wanted = tables.table(op, options, source, target).astype(np.float32) - target.zero_point
        nearest = np.clip(np.rint(found), -128 - target.zero_point, 127 - target.zero_point)
        wrong = np.flatnonzero(nearest != wanted)
        return [(float(steps[i]), float(wanted[i] - found[i])) for i in wrong]

    def _granularity(self, op: tflite.Operator) -> str:
        """What has a scale of its own in an op's int8 weights."""
        weights = _tensor(self._walked, op.inputs[1])
        channels = weights.shape[weighted.CHANNEL_AXIS[op.name]]
        return "channels" if len(weights.scales) == channels else "tensor"

    def _size_of(self, index: int) -> float:
        """A length that fits what a tensor holds, in real units."""
        scale = _tensor(self._walked, index).scale if self._rounds else None
        return 1.0 if scale is None else 128 * scale

    def _on_grid(self, index: int, value: Any) -> Any:
        """A tensor's value, rounded to its grid."""
        if self._groups is None:
            return value
        if self._in_steps and index == self._walked.main.inputs[0]:
            return self._groups.of_input(index, self._shift, self._layer_name)(value)
        return self._groups.layer(index, self._layer_name)(value)

    def _real(self, index: int) -> Any:
        """The real values of a tensor."""
        if not self._in_steps:
            return self._made[index]
        scale = _tensor(self._walked, index).scale
        assert scale is not None
        name = _tensor(self._walked, index).name.split(";")[0]
        return RealValues(scale, name=self._layer_name(f"{name}.real"))(self._made[index])

    def _layer_name(self, tensor: str) -> str:
        """The first part of a tensor's name, as Keras and TensorFlow allow it."""
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", tensor.split(";")[0].replace("/", "."))
        name = name if re.match(r"[A-Za-z0-9.]", name) else f"op{name}"
        chosen, number = name, 1
        while chosen in self._names:
            number += 1
            chosen = f"{name}_{number}"
        self._names.add(chosen)
        return chosen


class _Groups:
    """The tensors of an int8 graph, grouped by the scale that they must share."""

    def __init__(self, quantized: tflite.Model, learned: bool) -> None:
        self._quantized, self._learned = quantized, learned
        self._parent: dict[int, int] = {}
        self._layers: dict[int, FakeQuant] = {}
        graph = quantized.main
        fixed = set(graph.inputs)
        for op in graph.operators:
            if op.name in kernels.SAME_SCALE:
                for index in op.inputs:
                    if self._shares_grid(index, op.outputs[0]):
                        self._join(index, op.outputs[0])
            if op.name in _FIXED_SCALE or op.name == "QUANTIZE":
                fixed |= set(op.outputs)
            if op.name == "CONCATENATION" and any(
                quantized.constant(_tensor(quantized, i)) is not None for i in op.inputs
            ):
                fixed |= set(op.outputs)
        self._fixed = {self._root(index) for index in fixed}
        self._members: dict[int, list[str]] = defaultdict(list)
        # In the order of execution: the input's name comes first in its group.
        for index in (*graph.inputs, *(i for op in graph.operators for i in op.outputs)):
            self._members[self._root(index)].append(_tensor(quantized, index).name)

    def are_one(self, indices: Sequence[int]) -> bool:
        """Whether tensors are all of one group."""
        return len({self._root(index) for index in indices}) == 1

    def layer(self, index: int, name: Namer) -> FakeQuant:
        """The layer that rounds to the grid of a tensor."""
        root = self._root(index)
        if root not in self._layers:
            values = "steps"
            if self._learned:
                values = "real" if root in self._fixed else "learned"
            self._layers[root] = self._new(index, name, values)
        return self._layers[root]

    def of_input(self, index: int, shift: float, name: Namer) -> FakeQuant:
        """The layer that rounds real input to steps."""
        scale = _tensor(self._quantized, index).scale
        assert scale is not None
        return self._new(index, name, "steps", 1 / scale, shift)

    def requantizing(self, source: int, target: int, name: Namer) -> FakeQuant:
        """A layer that brings steps of one tensor to those of another."""
        one, other = (_tensor(self._quantized, index).scale for index in (source, target))
        assert one is not None and other is not None
        # The kernel's factor has eight bits behind the point, and its halves are rounded up.
        factor = np.rint(256 * one / other) / 256
        return self._new(target, name, "steps", factor, kernels.NUDGE)

    def _new(
        self, index: int, name: Namer, values: str, factor: float = 1.0, shift: float = 0.0
    ) -> FakeQuant:
        tensor = _tensor(self._quantized, index)
        assert tensor.scale is not None and tensor.zero_point is not None
        return FakeQuant(
            tensor.scale,
            tensor.zero_point,
            self._members[self._root(index)],
            values,
            factor,
            shift,
            name=name(f"{tensor.name.split(';')[0]}.grid"),
        )

    def _shares_grid(self, one: int, other: int) -> bool:
        first, second = _tensor(self._quantized, one), _tensor(self._quantized, other)
        if self._quantized.constant(first) is not None or first.scale is None:
            return False
        return (first.scale, first.zero_point) == (second.scale, second.zero_point)

    def _root(self, index: int) -> int:
        while index in self._parent:
            index = self._parent[index]
        return index

    def _join(self, one: int, other: int) -> None:
        first, second = self._root(one), self._root(other)
        if first != second:
            self._parent[second] = first


def _shift_of(contract: Contract | None) -> float:
    """The int8 input `pixel - 128` in steps, less the pixel's own value in steps."""
    if contract is None or not contract.int8_is_pixel_minus_128:
        return 0.0
    return contract.mean[0] - math.floor(contract.mean[0])


def _is_known(parsed: tflite.Model, op: tflite.Operator) -> bool:
    if len(op.outputs) != 1 or (op.name not in kernels.KERNELS and op.name not in kernels.WEIGHTED):
        return False
    if op.name in kernels.WEIGHTED:
        held = [parsed.constant(_tensor(parsed, i)) for i in op.inputs[1:] if i >= 0]
        return all(value is not None for value in held)
    return any(parsed.constant(_tensor(parsed, i)) is None for i in op.inputs)


def _require_int8(quantized: tflite.Model, where: str) -> None:
    left = [
        f"{_tensor(quantized, op.outputs[0]).name.split(';')[0]} ({op.name})"
        for op in quantized.main.operators
        if op.name not in ("QUANTIZE", "DEQUANTIZE")
        and any(_tensor(quantized, i).is_float for i in (*op.inputs, *op.outputs) if i >= 0)
    ]
    if left:
        raise NotMetError(
            f"{where}: {len(left)} op(s) would stay in float in the int8 file: {_some(left)}",
            "Nothing was trained. Replace those layers: they have no int8 kernel here.",
        )


def _grid_of_constant(tensor: tflite.Tensor) -> dict[str, Any]:
    zero_points = tensor.zero_points if len(tensor.zero_points) else np.zeros(len(tensor.scales))
    return {
        "scales": [float(scale) for scale in tensor.scales],
        "zero_points": [int(zero) for zero in zero_points],
        "axis": tensor.quantized_dimension,
    }


def _start(layer: Operation, values: dict[str, Any]) -> None:
    """Gives a layer the values of the graph."""
    for place, variable in layer.constants.items():
        variable.assign(values[str(place)])
    if isinstance(layer, WeightedOperation):
        layer.set_weights_from(values["kernel"], values.get("bias"), values["size"])


def _plain(options: tuple[str, dict[str, Any]] | None) -> list[Any] | None:
    """An option table as JSON holds it."""
    if options is None:
        return None
    name, fields = options
    return [name, {key: np.asarray(value).tolist() for key, value in fields.items()}]


def _tensor(model: tflite.Model, index: int) -> tflite.Tensor:
    return model.main.tensors[index]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f", and {len(names) - 5} more" if len(names) > 5 else "")
