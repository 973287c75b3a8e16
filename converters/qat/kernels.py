"""The arithmetic of TFLite's ops on batches, in TensorFlow. Imports TensorFlow.

A .tflite graph is made for one picture, so its tensors have a shape for one picture: `shape` below
is always that. A batch of N adds an axis in front. Where the shape begins with 1, as in
`[1, H, W, C]`, that axis is the batch already: N pictures are `[N, H, W, C]`, as Keras has them.
Where it doesn't (`[tokens, channels]`), N pictures are `[N, tokens, channels]`. The first is
`compact`; `full` puts the batch before the whole shape: `[N, 1, H, W, C]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from edgekit.tflite.schema import ACTIVATIONS, PADDINGS

Shape = tuple[int, ...]
Options = dict[str, Any]
#: What an op makes of its inputs.
Kernel = Callable[["Call"], Any]


class Call:
    """One op that is to be computed.

    Attributes:
        inputs: Tensors in compact form; constants as they are, integer ones as numpy arrays; None
            for an input that is left out.
        shapes: For one picture, of each input.
        computed: Whether each input depends on the picture.
        shape: For one picture, of the output.
        options: The fields of the op's option table.
    """

    def __init__(
        self,
        inputs: Sequence[Any],
        shapes: Sequence[Shape],
        computed: Sequence[bool],
        shape: Shape,
        options: Options,
    ) -> None:
        self.inputs, self.shapes, self.computed = tuple(inputs), tuple(shapes), tuple(computed)
        self.shape, self.options = shape, options

    @property
    def x(self) -> Any:
        """The first input."""
        return self.inputs[0]

    def having(self, inputs: Sequence[Any]) -> Call:
        """The same with other values."""
        return Call(inputs, self.shapes, self.computed, self.shape, self.options)

    def full(self, i: int = 0) -> Any:
        """An input with the batch before its whole shape."""
        return tf.reshape(self.inputs[i], (-1, *self.shapes[i]))

    def compact(self, full: Any) -> Any:
        """The output as it is handed on."""
        return tf.reshape(full, (-1, *compact_shape(self.shape)))


def compact_shape(shape: Shape) -> Shape:
    """What follows the batch axis in compact form."""
    return shape[1:] if shape[:1] == (1,) else shape


# --- weights, without the activation that is fused


def convolve(x: Any, kernel: Any, bias: Any, call: Call) -> Any:
    """CONV_2D; kernel [h, w, in, out], grouped where `in` is a part of the channels."""
    options = call.options
    dilations = [options["dilation_h_factor"], options["dilation_w_factor"]]
    strides = [options["stride_h"], options["stride_w"]]
    padding = PADDINGS[options["padding"]]
    if max(dilations) > 1:  # which has no gradient on CPUs
        y = tf.nn.with_space_to_batch(
            x,
            dilations,
            padding,
            lambda spread, _, valid: tf.nn.conv2d(spread, kernel, 1, valid),
            filter_shape=kernel.shape[:2],
        )
    else:
        y = tf.nn.conv2d(x, kernel, strides, padding)
    return y if bias is None else tf.nn.bias_add(y, bias)


def convolve_depthwise(x: Any, kernel: Any, bias: Any, call: Call) -> Any:
    """DEPTHWISE_CONV_2D; kernel [h, w, in, multiplier]."""
    options = call.options
    dilations = [options["dilation_h_factor"], options["dilation_w_factor"]]
    strides = [1, options["stride_h"], options["stride_w"], 1]
    padding = PADDINGS[options["padding"]]
    y = tf.nn.depthwise_conv2d(x, kernel, strides, padding, dilations=dilations)
    return y if bias is None else tf.nn.bias_add(y, bias)


def connect(x: Any, kernel: Any, bias: Any, call: Call) -> Any:
    """FULLY_CONNECTED; kernel [in, out]. Rows of `in` values are taken whatever the shape is."""
    y = tf.reshape(x, (-1, kernel.shape[0])) @ kernel
    return call.compact(y if bias is None else tf.nn.bias_add(y, bias))


# --- element by element


def _elementwise(function: Callable[[Any, Any], Any]) -> Kernel:
    """An op of two operands that are broadcast; per picture, as TFLite broadcasts them."""

    def kernel(call: Call) -> Any:
        rank, lead = len(call.shape), call.shape[:1]
        alike = all(
            len(shape) == rank and shape[:1] == (1,)
            for shape, computed in zip(call.shapes, call.computed, strict=True)
            if computed
        )
        if lead == (1,) and alike:
            return activated(function(*call.inputs), call.options)
        # Axes are aligned from the last one on, so a shorter operand gets ones after the batch.
        operands = [
            tf.reshape(value, (-1, *(1,) * (rank - len(shape)), *shape)) if computed else value
            for value, shape, computed in zip(call.inputs, call.shapes, call.computed, strict=True)
        ]
        return call.compact(activated(function(*operands), call.options))

    return kernel


def _unary(function: Callable[[Any], Any]) -> Kernel:
    return lambda call: function(call.x)


def _hard_swish(x: Any) -> Any:
    return x * tf.nn.relu6(x + 3.0) * (1 / 6)


def _gelu(call: Call) -> Any:
    return tf.nn.gelu(call.x, approximate=bool(call.options["approximate"]))


def _softmax(call: Call) -> Any:
    beta = call.options["beta"]
    return tf.nn.softmax(call.x if beta == 1 else call.x * beta)


def activated(x: Any, options: Options) -> Any:
    """The activation that is fused into an op."""
    return _FUSED[ACTIVATIONS[options.get("fused_activation_function", 0)]](x)


_FUSED: dict[str, Callable[[Any], Any]] = {
    "NONE": lambda x: x,
    "RELU": tf.nn.relu,
    "RELU6": tf.nn.relu6,
    "RELU_N1_TO_1": lambda x: tf.clip_by_value(x, -1.0, 1.0),
    "TANH": tf.tanh,
}


# --- pooling and resizing


def _pool(function: Callable[..., Any]) -> Kernel:
    """TensorFlow's pools leave padding out of maximum and mean, as TFLite's do."""

    def kernel(call: Call) -> Any:
        options = call.options
        window = [options["filter_height"], options["filter_width"]]
        strides = [options["stride_h"], options["stride_w"]]
        pooled = function(call.x, window, strides, PADDINGS[options["padding"]])
        return activated(pooled, options)

    return kernel


def _reduce(function: Callable[..., Any]) -> Kernel:
    def kernel(call: Call) -> Any:
        axes = _positive(call.inputs[1], len(call.shapes[0]))
        if call.shapes[0][:1] == (1,) and 0 not in axes:
            return call.compact(function(call.x, axes))
        return call.compact(function(call.full(), [axis + 1 for axis in axes]))

    return kernel


def _resize(function: Callable[..., Any]) -> Kernel:
    def kernel(call: Call) -> Any:
        options = call.options
        size = tf.constant([int(n) for n in call.inputs[1]])
        return function(
            images=call.x,
            size=size,
            align_corners=bool(options["align_corners"]),
            half_pixel_centers=bool(options["half_pixel_centers"]),
        )

    return kernel


# --- moving values


def _reshape(call: Call) -> Any:
    return call.compact(call.x)


def _transpose(call: Call) -> Any:
    order = [int(axis) for axis in call.inputs[1]]
    if call.shapes[0][:1] == (1,) and order[0] == 0:
        return tf.transpose(call.x, order)
    return call.compact(tf.transpose(call.full(), [0, *(axis + 1 for axis in order)]))


def _strided_slice(call: Call) -> Any:
    options = call.options
    begin, end, strides = (np.asarray(part) for part in call.inputs[1:4])
    end = end + begin if options["offset"] else end
    # The batch comes first and is taken whole: bit 0 of the masks that say "from the start" and
    # "to the end".
    sliced = tf.strided_slice(
        call.full(),
        [0, *begin.tolist()],
        [0, *end.tolist()],
        [1, *strides.tolist()],
        begin_mask=(options["begin_mask"] << 1) | 1,
        end_mask=(options["end_mask"] << 1) | 1,
        ellipsis_mask=options["ellipsis_mask"] << 1,
        new_axis_mask=options["new_axis_mask"] << 1,
        shrink_axis_mask=options["shrink_axis_mask"] << 1,
    )
    return call.compact(sliced)


def _pad(call: Call) -> Any:
    paddings = np.asarray(call.inputs[1]).tolist()
    if call.shapes[0][:1] == (1,) and paddings[0] == [0, 0]:
        return tf.pad(call.x, paddings)
    return call.compact(tf.pad(call.full(), [[0, 0], *paddings]))


def _concatenate(call: Call) -> Any:
    options = call.options
    axis = options["axis"] % len(call.shape)
    if all(call.computed) and axis > 0 and all(shape[:1] == (1,) for shape in call.shapes):
        return activated(tf.concat(call.inputs, axis), options)
    count = tf.shape(call.inputs[call.computed.index(True)])[0]
    parts = [
        call.full(i)
        if computed
        else tf.tile(call.inputs[i][None], [count, *(1 for _ in call.shapes[i])])
        for i, computed in enumerate(call.computed)
    ]
    return call.compact(activated(tf.concat(parts, axis + 1), options))


# --- products of two tensors


def _multiply_matrices(call: Call) -> Any:
    options = call.options
    rank = max(len(shape) for shape in call.shapes)
    operands = [
        tf.reshape(value, (-1, *(1,) * (rank - len(shape)), *shape)) if computed else value
        for value, shape, computed in zip(call.inputs, call.shapes, call.computed, strict=True)
    ]
    product = tf.matmul(*operands, transpose_a=options["adj_x"], transpose_b=options["adj_y"])
    return call.compact(product)


def _positive(axes: Any, rank: int) -> list[int]:
    return [int(axis) % rank for axis in np.asarray(axes).reshape(-1)]


#: Ops with weights: function of input, kernel, bias and the call.
WEIGHTED: dict[str, Callable[[Any, Any, Any, Call], Any]] = {
    "CONV_2D": convolve,
    "DEPTHWISE_CONV_2D": convolve_depthwise,
    "FULLY_CONNECTED": connect,
}

#: The other ops.
KERNELS: dict[str, Kernel] = {
    "ADD": _elementwise(tf.add),
    "SUB": _elementwise(tf.subtract),
    "MUL": _elementwise(tf.multiply),
    "MAXIMUM": _elementwise(tf.maximum),
    "SQUARED_DIFFERENCE": _elementwise(tf.math.squared_difference),
    "RELU": _unary(tf.nn.relu),
    "HARD_SWISH": _unary(_hard_swish),
    "LOGISTIC": _unary(tf.sigmoid),
    "TANH": _unary(tf.tanh),
    "GELU": _gelu,
    "RSQRT": _unary(tf.math.rsqrt),
    "SOFTMAX": _softmax,
    "MEAN": _reduce(tf.reduce_mean),
    "SUM": _reduce(tf.reduce_sum),
    "MAX_POOL_2D": _pool(tf.nn.max_pool2d),
    "AVERAGE_POOL_2D": _pool(tf.nn.avg_pool2d),
    "RESIZE_BILINEAR": _resize(tf.raw_ops.ResizeBilinear),
    "RESIZE_NEAREST_NEIGHBOR": _resize(tf.raw_ops.ResizeNearestNeighbor),
    "BATCH_MATMUL": _multiply_matrices,
    "RESHAPE": _reshape,
    "TRANSPOSE": _transpose,
    "STRIDED_SLICE": _strided_slice,
    "PAD": _pad,
    "CONCATENATION": _concatenate,
}

#: Ops that hand values on as they are (and zeros): what was on the grid of their input stays there.
MOVING = frozenset({"RESHAPE", "TRANSPOSE", "STRIDED_SLICE", "PAD", "CONCATENATION"})
MOVING |= {"MAX_POOL_2D", "RESIZE_NEAREST_NEIGHBOR"}

#: Sums of two tensors, and products.
SUMS = frozenset({"ADD", "SUB"})
PRODUCTS = frozenset({"MUL", "BATCH_MATMUL"})


def sum_factors(scales: Sequence[float], scale: float) -> tuple[list[int], int]:
    """What the steps of two operands are multiplied by, to be added in steps of the sum.

    They have 20 bits behind the leading one of the larger (XNNPACK,
    `xnn_init_qs8_add_minmax_scalar_params`).

    Args:
        scales: Of the operands.
        scale: Of the sum.

    Returns:
        Whole factors, and by how many bits they were shifted to be whole.
    """
    ratios = np.asarray(scales, np.float32) / np.float32(scale)
    shift = 20 - int(np.floor(np.log2(ratios.max())))
    return [int(factor) for factor in np.rint(ratios * 2.0**shift)], shift


def sum_steps(total: Any, shift: int) -> Any:
    """A sum of multiplied steps, int32, shifted back; halves are rounded up."""
    return tf.cast(tf.bitwise.right_shift(total + (1 << (shift - 1)), shift), tf.float32)


def product_steps(total: Any, factor: float) -> Any:
    """A sum of products of steps, in steps of what is written, as BATCH_MATMUL's kernel has it.

    It rounds twice (TFLite, `MultiplyByQuantizedMultiplier`): once what is multiplied by the digits
    of the factor, and then, halves away from 0, what is shifted by its exponent.

    Args:
        total: float32, whole numbers.
        factor: The product of the operands' scales over the scale of the output.
    """
    digits, exponent = np.frexp(factor)
    if exponent >= 0:
        return total * factor
    scaled = total * float(digits)
    whole = scaled + tf.stop_gradient(tf.round(scaled) - scaled)
    steps = whole * 2.0 ** float(exponent)
    return steps + tf.stop_gradient(tf.sign(steps)) * 2.0 ** float(exponent - 2)


#: Ops whose int8 kernels write with the scale they read, so that steps may stand for real values.
SAME_SCALE = MOVING | {"AVERAGE_POOL_2D", "RESIZE_BILINEAR"}

#: A value in the middle between two steps is moved by so many, to be rounded as the int8 kernel
#: rounds it. Far more than the rounding of float32, and far less than any other value is away from
#: the middle.
NUDGE = 1e-3


def _away_from_zero(steps: Any, zero_point: int) -> Any:
    """The kernel rounds halves of the int8 value away from 0."""
    return steps + NUDGE * tf.sign(steps + zero_point)


def _up(steps: Any, zero_point: int) -> Any:
    """The kernel rounds halves up."""
    return steps + NUDGE


#: Means of few values with the scale of their input often lie in the middle between two steps:
#: (steps, zero point) -> where rounding them to the nearest gives what the kernel gives.
HALVES: dict[str, Callable[[Any, int], Any]] = {
    "AVERAGE_POOL_2D": _away_from_zero,
    "RESIZE_BILINEAR": _up,
}
