"""Conditions under which an accelerator takes an op, by the names that the data uses.

Each looks at one operator and says why it doesn't hold, or None. What it reads of the operator may
be missing or of an odd shape: then it doesn't hold, and never fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.tflite.model import Model, Operator, Tensor


@dataclass(frozen=True)
class Case:
    """An operator in its model, on a target.

    Attributes:
        model: The model.
        operator: The operator.
        level: The target's Android API level, or None.
    """

    model: Model
    operator: Operator
    level: int | None

    @property
    def inputs(self) -> list[Tensor]:
        """Its inputs, those that are left out not counted."""
        tensors = self.model.main.tensors
        return [tensors[i] for i in self.operator.inputs if i >= 0]

    @property
    def outputs(self) -> list[Tensor]:
        """Its outputs."""
        return [self.model.main.tensors[i] for i in self.operator.outputs]

    def option(self, name: str, default: Any = 0) -> Any:
        """A field of its option table."""
        return self.operator.options.get(name, default)

    def constant(self, position: int) -> list[int] | None:
        """The whole numbers of a constant input, or None."""
        if position >= len(self.operator.inputs) or self.operator.inputs[position] < 0:
            return None
        tensor = self.model.main.tensors[self.operator.inputs[position]]
        value = self.model.constant(tensor)
        return None if value is None else [int(v) for v in np.asarray(value).reshape(-1)]


@dataclass(frozen=True)
class Rule:
    """A condition.

    Attributes:
        check: Why it doesn't hold for a case, or None.
        needs: The names of the values that the data gives it.
    """

    check: Callable[[Case, Mapping[str, Any]], str | None]
    needs: frozenset[str] = frozenset()


def _no_fused_activation(case: Case, values: Mapping[str, Any]) -> str | None:
    activation = case.option("fused_activation_function", "NONE")
    return None if activation == "NONE" else f"its activation {activation} is fused into it"


def _same_dilation(case: Case, values: Mapping[str, Any]) -> str | None:
    across, down = case.option("dilation_w_factor", 1), case.option("dilation_h_factor", 1)
    return None if across == down else f"its dilation differs: {down} x {across}"


def _not_over_batch(case: Case, values: Mapping[str, Any]) -> str | None:
    """The second input holds the axes of a reduction."""
    axes, rank = case.constant(1), len(case.inputs[0].shape) if case.inputs else 0
    if axes is None:
        return "its axes are not constant"
    return "it reduces over the batch" if any(axis % max(rank, 1) == 0 for axis in axes) else None


def _depth_multiple(case: Case, values: Mapping[str, Any]) -> str | None:
    """Holds too where the reduction isn't over the depth."""
    axes, rank = case.constant(1), len(case.inputs[0].shape) if case.inputs else 0
    if axes is None or rank == 0:
        return "its axes are not constant"
    depth, of = case.inputs[0].shape[-1], int(values["of"])
    if any(axis % rank == rank - 1 for axis in axes) and depth % of:
        return f"it reduces over a depth of {depth}, which is no multiple of {of}"
    return None


def _plane_at_most(case: Case, values: Mapping[str, Any]) -> str | None:
    """Of a reduction: how many elements, next to batch and depth, it makes into one."""
    axes, shape = case.constant(1), case.inputs[0].shape if case.inputs else ()
    if axes is None or not shape:
        return "its axes are not constant"
    inner = {axis % len(shape) for axis in axes} - {0, len(shape) - 1}
    pixels, most = int(np.prod([shape[axis] for axis in inner])), int(values["pixels"])
    return None if pixels <= most else f"it reduces {pixels} pixels; up to {most} are known to map"


def _no_padding_of_batch(case: Case, values: Mapping[str, Any]) -> str | None:
    paddings = case.constant(1)
    if paddings is None:
        return "its paddings are not constant"
    rank = len(paddings) // 2
    return "it pads the batch" if rank == 4 and any(paddings[:2]) else None


def _axis_not_batch(case: Case, values: Mapping[str, Any]) -> str | None:
    rank = len(case.outputs[0].shape) if case.outputs else 0
    axis = int(case.option("axis", -1))
    if case.operator.name == "SPLIT":
        given = case.constant(0)
        if not given:
            return "its axis is not constant"
        axis = given[0]
    return "it works along the batch" if rank > 1 and axis % rank == 0 else None


def _constants_only_as_zeros(case: Case, values: Mapping[str, Any]) -> str | None:
    """Of a concatenation: with a constant input there are two, and the constant is all zeros."""
    constants = [tensor for tensor in case.inputs if case.model.is_constant(tensor)]
    if not constants:
        return None
    if len(case.inputs) != 2 or len(constants) != 1:
        return "it has a constant input beside several others"
    value = case.model.constant(constants[0])
    zero = constants[0].zero_point or 0
    if value is None or np.any(np.asarray(value) != zero):
        return "its constant input is not all zeros"
    return None


def _one_vector(case: Case, values: Mapping[str, Any]) -> str | None:
    """One dimension larger than 1 at most, and not too long."""
    shape, most = case.inputs[0].shape if case.inputs else (), int(values["most"])
    if sum(size > 1 for size in shape) > 1:
        return f"its input {list(shape)} is no vector"
    elements = int(np.prod(shape)) if shape else 1
    return None if elements <= most else f"its input has {elements} elements, more than {most}"


def _output_is_a_vector(case: Case, values: Mapping[str, Any]) -> str | None:
    shape = case.outputs[0].shape if case.outputs else ()
    return (
        None if sum(size > 1 for size in shape) <= 1 else f"its output {list(shape)} is no vector"
    )


def _default_weights(case: Case, values: Mapping[str, Any]) -> str | None:
    form = case.option("weights_format", "DEFAULT")
    return None if form in ("DEFAULT", 0) else f"its weights are stored as {form}"


def _constant_weights(case: Case, values: Mapping[str, Any]) -> str | None:
    """Of a layer: parameters have to be known when the model is compiled."""
    if all(case.model.is_constant(tensor) for tensor in case.inputs[1:]):
        return None
    return "its weights are computed, not constant"


def _leading_ones(case: Case, values: Mapping[str, Any]) -> str | None:
    """Of a squeeze: what is dropped stands in front."""
    before = list(case.inputs[0].shape) if case.inputs else []
    after = list(case.outputs[0].shape) if case.outputs else []
    front = before[: len(before) - len(after)]
    if all(size == 1 for size in front) and before[len(front) :] == after:
        return None
    return f"it drops dimensions behind others: {before} to {after}"


def _strides_of_one(case: Case, values: Mapping[str, Any]) -> str | None:
    strides = case.constant(3)
    if strides is None or any(stride != 1 for stride in strides):
        return "its strides are not all 1"
    masks = [name for name in ("ellipsis_mask", "new_axis_mask") if case.option(name)]
    return f"it has an {masks[0].replace('_', ' ')}" if masks else None


def _from_more_than_a_pixel(case: Case, values: Mapping[str, Any]) -> str | None:
    shape = case.inputs[0].shape if case.inputs else ()
    if len(shape) == 4 and shape[1] * shape[2] > 1:
        return None
    return "it enlarges a single pixel"


def _tensors_fit(case: Case, values: Mapping[str, Any]) -> str | None:
    """Input and output together."""
    most = float(values["mib"]) * (1 << 20)
    size = sum(tensor.byte_size for tensor in (*case.inputs[:1], *case.outputs[:1]))
    if size < most:
        return None
    return f"its tensors take {size / (1 << 20):.1f} MiB, {values['mib']:g} are there"


def _version_at_most(case: Case, values: Mapping[str, Any]) -> str | None:
    version, most = case.operator.version, int(values["version"])
    return None if version <= most else f"its version {version} is newer than {most}"


def _api_level(case: Case, values: Mapping[str, Any]) -> str | None:
    least, level = int(values["at_least"]), case.level or 0
    return None if level >= least else f"it came with API level {least}, this is {level}"


def _int8_since(case: Case, values: Mapping[str, Any]) -> str | None:
    signed = any(tensor.dtype == "int8" for tensor in (*case.inputs[:1], *case.outputs[:1]))
    least, level = int(values["level"]), case.level or 0
    if not signed or level >= least:
        return None
    return f"it works on int8, which is taken since API level {least}, this is {level}"


def _float_only(case: Case, values: Mapping[str, Any]) -> str | None:
    if all(tensor.is_float for tensor in case.inputs[:1]):
        return None
    return f"it is taken in floating-point numbers only, not in {case.inputs[0].dtype}"


RULES: Mapping[str, Rule] = {
    "no_fused_activation": Rule(_no_fused_activation),
    "same_dilation": Rule(_same_dilation),
    "not_over_batch": Rule(_not_over_batch),
    "depth_multiple": Rule(_depth_multiple, frozenset({"of"})),
    "plane_at_most": Rule(_plane_at_most, frozenset({"pixels"})),
    "no_padding_of_batch": Rule(_no_padding_of_batch),
    "axis_not_batch": Rule(_axis_not_batch),
    "constants_only_as_zeros": Rule(_constants_only_as_zeros),
    "one_vector": Rule(_one_vector, frozenset({"most"})),
    "output_is_a_vector": Rule(_output_is_a_vector),
    "default_weights": Rule(_default_weights),
    "constant_weights": Rule(_constant_weights),
    "leading_ones": Rule(_leading_ones),
    "strides_of_one": Rule(_strides_of_one),
    "from_more_than_a_pixel": Rule(_from_more_than_a_pixel),
    "tensors_fit": Rule(_tensors_fit, frozenset({"mib"})),
    "version_at_most": Rule(_version_at_most, frozenset({"version"})),
    "int8_since": Rule(_int8_since, frozenset({"level"})),
    "float_only": Rule(_float_only),
    "api_level": Rule(_api_level, frozenset({"at_least"})),
}
