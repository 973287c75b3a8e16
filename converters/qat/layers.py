"""The Keras layers of a quantization-aware model. Imports TensorFlow.

Importing this module is all that Keras needs to load such a model:

    import edgekit.converters.qat.layers
    model = keras.models.load_model("q.keras")

Each op of the .tflite graph is one layer, `Operation` or `WeightedOperation`, and all that the op
is stands in its configuration, so that the graph can be written from the layers again. `FakeQuant`
rounds activations to the int8 grid; where several tensors share one scale, they go through the same
layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from edgekit.converters.qat import kernels
from edgekit.converters.qat.recognizing import FORMAT, PACKAGE
from edgekit.tflite.schema import ACTIVATIONS

_REGISTERED = keras.saving.register_keras_serializable(package=PACKAGE)

#: A channel whose weights are all 0 gets the scale that litert-quantizer gives it.
_SMALLEST_WEIGHT = 1e-9
#: int8 activations; weights leave out -128.
_LOW, _HIGH = -128, 127

Array = npt.NDArray[Any]


class _Layer(keras.layers.Layer):
    """A layer whose configuration says which version of edgekit's it is."""

    def get_config(self) -> dict[str, Any]:
        """All that makes the layer, as plain JSON values."""
        return {**super().get_config(), "format": FORMAT}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> _Layer:
        config = dict(config)
        version = config.pop("format", None)
        if version != FORMAT:
            raise ValueError(
                f"the layer {config.get('name')} is of format {version} of edgekit's "
                f"quantization-aware models, and this edgekit knows {FORMAT}"
            )
        return cls(**config)


@_REGISTERED
class FakeQuant(_Layer):
    """Rounds activations to an int8 grid; gradients pass where nothing is clipped.

    Args:
        scale: The size of a step in real units.
        zero_point: The int8 value that means 0.0.
        tensors: Names of the .tflite tensors that are on this grid.
        values: `steps`: what comes is in steps already, and leaves as whole steps, int8 value less
            zero point; `real`: real values come and leave; `learned`: likewise, and the scale is
            trained (LSQ, Esser et al. 2019, arXiv:1902.08153), the zero point stays.
        factor: What `steps` come in is multiplied by this first.
        shift: What is added to them then.
    """

    def __init__(
        self,
        scale: float,
        zero_point: int,
        tensors: Sequence[str],
        values: str = "steps",
        factor: float = 1.0,
        shift: float = 0.0,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.start, self.zero_point = float(scale), int(zero_point)
        self.tensors, self.values, self.factor = tuple(tensors), values, float(factor)
        self.shift = float(shift)
        self.ratio: Any = None

    def build(self, input_shape: Any) -> None:
        """The trained scale is a ratio to the start, so that Adam's steps fit every layer."""
        if self.values == "learned":
            self.ratio = self.add_weight(name="ratio", shape=(), initializer="ones")

    @property
    def scale(self) -> float:
        """The size of a step now, in real units."""
        return self.start * (1.0 if self.ratio is None else float(self.ratio.numpy()))

    def call(self, x: Any) -> Any:
        """float32 of any shape -> the nearest values of the grid."""
        low, high = _LOW - self.zero_point, _HIGH - self.zero_point
        if self.values == "steps":
            steps = x if self.factor == 1 else x * self.factor
            return _to_steps(steps if self.shift == 0 else steps + self.shift, low, high)
        if self.values == "real":
            return tf.quantization.fake_quant_with_min_max_args(
                x, low * self.start, high * self.start
            )
        elements = max(1, int(np.prod([n for n in x.shape[1:] if n])))
        return _to_learned_grid(x, self.start * self.ratio, low, high, elements)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """All that makes the layer, as plain JSON values."""
        return {
            **super().get_config(),
            "scale": self.start,
            "zero_point": self.zero_point,
            "tensors": list(self.tensors),
            "values": self.values,
            "factor": self.factor,
            "shift": self.shift,
        }


@_REGISTERED
class RealValues(_Layer):
    """The real values of steps.

    Args:
        scale: The size of a step in real units.
    """

    def __init__(self, scale: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.scale = float(scale)

    def call(self, steps: Any) -> Any:
        """float32 of any shape, steps -> real units."""
        return steps * self.scale

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """All that makes the layer, as plain JSON values."""
        return {**super().get_config(), "scale": self.scale}


@_REGISTERED
class Operation(_Layer):
    """One op of a .tflite graph.

    Args:
        op: Its builtin operator, such as `ADD`.
        tensor: The name of the tensor it writes.
        shape: Of that tensor, for one picture.
        operands: What it reads, in order: plain dictionaries with a `kind`:
            `tensor` (`shape`): the next input of this layer;
            `steering` (`name`, `dtype`, `values`): integers such as axes;
            `constant` (`name`, `shape`, and `scales`, `zero_points`, `axis` where it is quantized);
            `kernel`, `bias` (`name`, `shape`; see `WeightedOperation`);
            None for one that is left out.
        options: The name of its option table and the fields of it, or None.
        version: Of the op.
        position: Its place in the order of execution.
        scales: Of the tensors it reads, each in its turn, where they come in steps; None where
            real values come and leave.
        grid: (scale, zero point) of what it writes, in steps then.
        rounds_twice: Whether the product of two tensors is rounded as `kernels.product_steps` says.
        corrections: [input, summand] in steps: where the int8 kernel gives something else than the
            nearest step (`tables`).
    """

    def __init__(
        self,
        op: str,
        tensor: str,
        shape: Sequence[int],
        operands: Sequence[dict[str, Any] | None],
        options: Sequence[Any] | None,
        version: int = 1,
        position: int = 0,
        scales: Sequence[float] | None = None,
        grid: Sequence[Any] = (1.0, 0),
        rounds_twice: bool = False,
        corrections: Sequence[Sequence[float]] = (),
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.op, self.tensor, self.shape = op, tensor, tuple(shape)
        self.operands = [None if o is None else dict(o) for o in operands]
        self.table = None if options is None else (str(options[0]), dict(options[1]))
        self.version, self.position = version, position
        self.scales = None if scales is None else tuple(float(scale) for scale in scales)
        self.grid = float(grid[0]), int(grid[1])
        self.rounds_twice = rounds_twice
        self.corrections = [(float(at), float(by)) for at, by in corrections]
        self.constants: dict[int, Any] = {}

    def build(self, input_shape: Any) -> None:
        """Makes the constants, which are not trained."""
        for i, operand in enumerate(self.operands):
            if operand is not None and operand["kind"] == "constant":
                self.constants[i] = self.add_weight(
                    name=f"constant_{i}", shape=tuple(operand["shape"]), trainable=False
                )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Batches in compact form (`kernels`) -> the batch that the op makes of them."""
        if self.scales is None:
            return kernels.KERNELS[self.op](self._call_of(inputs))
        if self._keeps_steps():
            result = kernels.KERNELS[self.op](self._call_of(inputs))
            halves = kernels.HALVES.get(self.op)
            return result if halves is None else halves(result, self.grid[1])
        if self._takes_two_scales():
            is_sum = self.op in kernels.SUMS
            return self._sum(inputs, exact=not training) if is_sum else self._product(inputs)
        result = kernels.KERNELS[self.op](self._call_of(inputs, self.scales)) * (1 / self.grid[0])
        for at, by in self.corrections:
            result += by * tf.cast(tf.equal(inputs, at), tf.float32)
        return result

    def _keeps_steps(self) -> bool:
        """Whether the op may be given steps for real values: it takes one scale, and gives it."""
        constant = any(o is not None and o["kind"] == "constant" for o in self.operands)
        alike = set(self.scales or ()) == {self.grid[0]}
        return self.op in kernels.SAME_SCALE and alike and not constant and self._keeps_zero()

    def _takes_two_scales(self) -> bool:
        """Whether the op is a sum or a product of two operands, each with one scale."""
        constants = [o for o in self.operands if o is not None and o["kind"] == "constant"]
        alone = all(len(o.get("scales", ())) == 1 for o in constants)
        return self.op in kernels.SUMS | kernels.PRODUCTS and alone and self._keeps_zero()

    def _keeps_zero(self) -> bool:
        """Whether the fused activation is the same for steps as for real values."""
        return ACTIVATIONS[self._fused] in ("NONE", "RELU")

    @property
    def _fused(self) -> int:
        return int((self.table[1] if self.table else {}).get("fused_activation_function", 0))

    def _sum(self, inputs: Any, exact: bool) -> Any:
        """The sum of two tensors; exact in whole numbers, which have no gradient."""
        call, scales = self._in_steps(inputs)
        factors, shift = kernels.sum_factors(scales, self.grid[0])
        pairs = list(zip(call.inputs, factors, strict=True))
        if not exact:
            summands = [steps * (factor / 2.0**shift) for steps, factor in pairs]
            return kernels.KERNELS[self.op](call.having(summands))
        whole = [tf.cast(tf.round(steps), tf.int32) * factor for steps, factor in pairs]
        return kernels.sum_steps(kernels.KERNELS[self.op](call.having(whole)), shift)

    def _product(self, inputs: Any) -> Any:
        """The product of two tensors, or a sum of such."""
        call, (one, other) = self._in_steps(inputs)
        factor = float(np.float32(one) * np.float32(other) / np.float32(self.grid[0]))
        total = kernels.KERNELS[self.op](call)
        return kernels.product_steps(total, factor) if self.rounds_twice else total * factor

    def _in_steps(self, inputs: Any) -> tuple[kernels.Call, list[float]]:
        """The op's call with all operands in steps, and their scales."""
        call, computed = self._call_of(inputs), iter(self.scales or ())
        values, scales = [], []
        for value, operand in zip(call.inputs, self.operands, strict=True):
            assert operand is not None
            is_computed = operand["kind"] == "tensor"
            scales.append(next(computed) if is_computed else float(operand["scales"][0]))
            values.append(value if is_computed else tf.round(value / scales[-1]))
        return call.having(values), scales

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The batch, and what the op makes of one picture."""
        return (None, *kernels.compact_shape(self.shape))

    def get_config(self) -> dict[str, Any]:
        """All that makes the layer, as plain JSON values."""
        return {
            **super().get_config(),
            "op": self.op,
            "tensor": self.tensor,
            "shape": list(self.shape),
            "operands": self.operands,
            "options": self.table,
            "version": self.version,
            "position": self.position,
            "scales": self.scales,
            "grid": self.grid,
            "rounds_twice": self.rounds_twice,
            "corrections": self.corrections,
        }

    def _call_of(self, inputs: Any, scales: Sequence[float] = ()) -> kernels.Call:
        """The op's call; what comes in steps is given its scales."""
        waiting = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        if scales:
            waiting = [value * scale for value, scale in zip(waiting, scales, strict=True)]
        values: list[Any] = []
        shapes: list[kernels.Shape] = []
        computed = []
        for i, operand in enumerate(self.operands):
            described = operand or {"kind": "missing"}
            value, shape = None, tuple(described.get("shape", ()))
            if described["kind"] == "tensor":
                value = waiting.pop(0)
            elif described["kind"] == "steering":
                value = np.array(described["values"], described["dtype"])
                shape = value.shape
            elif described["kind"] == "constant":
                value = on_grid(tf.convert_to_tensor(self.constants[i]), described)
            values.append(value)
            shapes.append(shape)
            computed.append(described["kind"] == "tensor")
        options = self.table[1] if self.table else {}
        return kernels.Call(values, shapes, computed, self.shape, options)


@_REGISTERED
class WeightedOperation(Operation):
    """CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED; its weights and bias are trained.

    What is trained is weight / unit, with unit the channel's largest weight at the start (and for
    biases a size of the output): folding batch norm leaves channels whose weights differ by orders
    of magnitude, and a step of Adam has the same length for all. Units are powers of two, so that
    nothing is rounded on the way there and back.

    In steps, all is as in the int8 kernel: the sums of products of whole numbers are exact as long
    as they stay below 2^24, biases are whole numbers too, and what they add up to is multiplied by
    one factor for each channel.

    Args:
        quantized: `channels` or `tensor`, what has a scale of its own; None for float weights.
        **settings: As `Operation`.
    """

    def __init__(self, quantized: str | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.quantized = quantized
        self.kernel: Any = None
        self.bias: Any = None

    def build(self, input_shape: Any) -> None:
        """Makes what is trained, and the units."""
        super().build(input_shape)
        self._kernel_shape = keras_layout(self.op, self._operand("kernel")["shape"])
        units = self._kernel_shape[-1]
        self.kernel = self.add_weight(name="kernel", shape=self._kernel_shape)
        self.kernel_unit = self.add_weight(
            name="kernel_unit", shape=(units,), trainable=False, initializer="ones"
        )
        if self._operand("bias"):
            self.bias = self.add_weight(name="bias", shape=(units,), initializer="zeros")
            self.bias_unit = self.add_weight(
                name="bias_unit", shape=(units,), trainable=False, initializer="ones"
            )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The op with its weights as they are deployed."""
        call = self._call_of(inputs)
        kernel = self.kernel * self.kernel_unit
        bias = None if self.bias is None else self.bias * self.bias_unit
        if self.quantized is None:
            return kernels.activated(self._apply(call, kernel, bias), call.options)
        kernel, scale = _weight_steps(kernel, per_channel=self.quantized == "channels")
        if self.scales is None:
            return kernels.activated(self._apply(call, kernel * scale, bias), call.options)
        bias = None if bias is None else _bias_steps(bias, self.scales[0], scale)
        factor = self.scales[0] * scale / self.grid[0]
        return self._clipped(self._apply(call, kernel, bias) * factor)

    def _apply(self, call: kernels.Call, kernel: Any, bias: Any) -> Any:
        if self.op == "DEPTHWISE_CONV_2D":
            channels = call.x.shape[-1]
            kernel = tf.reshape(kernel, (*self._kernel_shape[:2], channels, -1))
        return kernels.WEIGHTED[self.op](call.x, kernel, bias, call)

    def _clipped(self, steps: Any) -> Any:
        """The fused activation, where the ends of the int8 range are not that already."""
        scale, zero_point = self.grid
        ends = {"NONE": (-np.inf, np.inf), "RELU": (0, np.inf), "RELU6": (0, 6), "TANH": (-1, 1)}
        least, most = (end / scale for end in ends[ACTIVATIONS[self._fused]])
        low, high = _LOW - zero_point, _HIGH - zero_point
        if least <= low and most >= high:
            return steps
        return tf.clip_by_value(steps, max(low, np.rint(least)), min(high, np.rint(most)))

    def set_weights_from(self, kernel: Array, bias: Array | None, size: float) -> None:
        """Starts from the weights of a float graph.

        Args:
            kernel: float32, in TFLite's layout.
            bias: float32[channels], or None where the op has none.
            size: Of the output, in real units: what biases are measured in.
        """
        values = to_keras_layout(self.op, kernel)
        unit = _power_of_two(np.abs(values).reshape(-1, values.shape[-1]).max(axis=0))
        self.kernel_unit.assign(unit)
        self.kernel.assign(values / unit)
        if bias is not None:
            unit = _power_of_two(np.full(bias.shape, size))
            self.bias_unit.assign(unit)
            self.bias.assign(bias / unit)

    def weights_now(self) -> tuple[Array, Array | None]:
        """(kernel float32 in TFLite's layout, bias float32[channels] or None)."""
        values = np.asarray(self.kernel * self.kernel_unit, np.float32)
        kernel = to_tflite_layout(self.op, values, tuple(self._operand("kernel")["shape"]))
        bias = None if self.bias is None else np.asarray(self.bias * self.bias_unit, np.float32)
        return kernel, bias

    def get_config(self) -> dict[str, Any]:
        """All that makes the layer, as plain JSON values."""
        return {**super().get_config(), "quantized": self.quantized}

    def _operand(self, kind: str) -> dict[str, Any]:
        return next((o for o in self.operands if o is not None and o["kind"] == kind), {})


def keras_layout(op: str, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of a kernel as it is trained: output channels last."""
    if op == "CONV_2D":
        return (*shape[1:], shape[0])
    return tuple(shape[1:]) if op == "DEPTHWISE_CONV_2D" else (shape[1], shape[0])


def to_keras_layout(op: str, kernel: Array) -> Array:
    """A kernel of a .tflite file as it is trained."""
    if op == "DEPTHWISE_CONV_2D":
        return kernel[0]
    return np.moveaxis(kernel, 0, -1)


def to_tflite_layout(op: str, kernel: Array, shape: tuple[int, ...]) -> Array:
    """The reverse."""
    if op == "DEPTHWISE_CONV_2D":
        return kernel.reshape(shape)
    return np.ascontiguousarray(np.moveaxis(kernel, -1, 0))


def _power_of_two(sizes: Array) -> Array:
    """The next power of two, float32; 1 for 0."""
    # The smallest that a float32 holds without losing digits.
    exponent = np.ceil(np.log2(np.maximum(sizes, 2.0**-126)))
    return np.where(sizes > 0, 2.0**exponent, 1.0).astype(np.float32)


def on_grid(value: Any, operand: dict[str, Any]) -> Any:
    """A constant as its int8 form holds it; a float one as it is."""
    scales = operand.get("scales")
    if not scales:
        return value
    spread = [1] * len(operand["shape"])
    if len(scales) > 1:
        spread[operand["axis"]] = len(scales)
    shape = spread if len(scales) > 1 else []
    scale = np.array(scales, np.float32).reshape(shape)
    zero = np.array(operand["zero_points"], np.float32).reshape(shape)
    steps = tf.clip_by_value(tf.round(value / scale) + zero, float(_LOW), float(_HIGH))
    return (steps - zero) * scale


def _weight_steps(kernel: Any, per_channel: bool) -> tuple[Any, Any]:
    """Weights as whole steps, symmetric, and the scale: the largest weight / 127.

    Gradients pass to all weights.
    """
    others = list(range(len(kernel.shape) - 1)) if per_channel else None
    largest = tf.maximum(tf.reduce_max(tf.abs(kernel), others), _SMALLEST_WEIGHT)
    scale = tf.stop_gradient(largest) / _HIGH
    steps = kernel / scale
    return steps + tf.stop_gradient(tf.round(steps) - steps), scale


def _bias_steps(bias: Any, input_scale: float, weight_scale: Any) -> Any:
    """Biases as the whole numbers that int32 holds; gradients pass."""
    # In 64 bits, as the quantizer divides: in 32, one in a hundred would be rounded otherwise.
    size = tf.cast(weight_scale, tf.float64) * input_scale
    whole = tf.cast(tf.round(tf.cast(bias, tf.float64) / size), tf.float32)
    steps = bias / tf.cast(size, tf.float32)
    return steps + tf.stop_gradient(whole - steps)


def _to_steps(x: Any, low: int, high: int) -> Any:
    """Rounds halves to even, as the int8 kernels do, and clips.

    TensorFlow's own fake quantization rounds them up, and loses digits on the way; its gradient is
    taken, which is one kernel.
    """

    @tf.custom_gradient
    def rounded(x: Any) -> Any:
        steps = tf.raw_ops.ClipByValue(
            t=tf.round(x), clip_value_min=float(low), clip_value_max=float(high)
        )

        def gradient(upstream: Any) -> Any:
            return tf.quantization.fake_quant_with_min_max_args_gradient(
                upstream, x, float(low), float(high)
            )

        return steps, gradient

    return rounded(x)


def _to_learned_grid(x: Any, scale: Any, low: int, high: int, elements: int) -> Any:
    """LSQ (arXiv:1902.08153): eq. 1 and 2 forward, eq. 3 for the scale, section 2.2 for its size.

    Args:
        x: float32, any shape.
        scale: float32 scalar.
        low: The lowest step, at most 0.
        high: The highest step.
        elements: Of one picture's tensor; gradients of the scale are divided by the root of it
            times `high`.
    """

    @tf.custom_gradient
    def rounded_to_grid(x: Any, scale: Any) -> Any:
        steps = x / scale
        rounded = tf.round(tf.clip_by_value(steps, low, high))

        def gradient(upstream: Any) -> tuple[Any, Any]:
            inside = tf.logical_and(steps >= low, steps <= high)
            error = rounded - tf.where(inside, steps, 0.0)
            size = 1 / np.sqrt(elements * max(high, 1))
            return tf.where(inside, upstream, 0.0), tf.reduce_sum(upstream * error) * size

        return rounded * scale, gradient

    return rounded_to_grid(x, scale)
