"""MobileNet V1, V2 and V3 in Keras 3, with the layer names of keras.applications.

V1: Howard et al. 2017, arXiv:1704.04861, table 1. V2: Sandler et al. 2018, arXiv:1801.04381, table
2. V3: Howard et al. 2019, arXiv:1905.02244, tables 1 and 2; its minimalistic forms (no
squeeze-and-excitation, no hard-swish, no 5x5 kernels) are those of tensorflow/models, slim.

Strided depthwise convolutions pad with `same` where keras.applications has a layer for it: the
same numbers on even sizes, without a PAD op.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from edgekit.training.zoo import blocks
from edgekit.training.zoo.catalogue.description import Entry

_MINIMUM_SIZE = 32


def build(entry: Entry, classes: int, size: int, dropout: float | None = None) -> keras.Model:
    """Builds the model with random weights.

    Args:
        entry: `arguments`: `version`, and of version 3 `large` and `minimalistic`.
        classes: Number of outputs (logits).
        size: Input height and width in pixels.
        dropout: Rate before the classifier; by default the entry's.

    Returns:
        float32[N, size, size, 3] -> float32[N, classes].

    Raises:
        UsageError: The size is too small.
    """
    blocks.require_size(entry, size, _MINIMUM_SIZE)
    inputs = keras.Input((size, size, 3), name="image")
    features = {1: _v1, 2: _v2, 3: _v3}[entry.arguments["version"]](inputs, entry)
    return blocks.classifier(
        inputs, features, entry, classes, entry.dropout if dropout is None else dropout
    )


# --- version 1


#: Filters and stride of each depthwise separable convolution.
_V1_BLOCKS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)


def _v1(x: Any, entry: Entry) -> Any:
    torch = entry.is_torch
    epsilon = 1e-5 if torch else 1e-3
    x = blocks.conv(x, 32, 3, 2, name="conv1", torch=torch)
    x = _relu6(blocks.batch_norm(x, name="conv1_bn", epsilon=epsilon), "conv1")
    for number, (filters, stride) in enumerate(_V1_BLOCKS, 1):
        name = f"conv_dw_{number}"
        x = blocks.depthwise(x, 3, stride, name=name, torch=torch)
        x = _relu6(blocks.batch_norm(x, name=f"{name}_bn", epsilon=epsilon), name)
        name = f"conv_pw_{number}"
        x = blocks.conv(x, filters, 1, name=name)
        x = _relu6(blocks.batch_norm(x, name=f"{name}_bn", epsilon=epsilon), name)
    return blocks.pool(x)


# --- version 2

#: Expansion, filters, repeats, stride of the first.
_V2_STAGES = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


def _v2(x: Any, entry: Entry) -> Any:
    torch = entry.is_torch
    epsilon = 1e-5 if torch else 1e-3
    x = blocks.conv(x, 32, 3, 2, name="Conv1", torch=torch)
    x = _relu6(blocks.batch_norm(x, name="bn_Conv1", epsilon=epsilon), "Conv1")
    number = 0
    for expansion, filters, repeats, first_stride in _V2_STAGES:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            x = _v2_block(x, expansion, filters, stride, number, torch, epsilon)
            number += 1
    x = blocks.conv(x, 1280, 1, name="Conv_1")
    x = _relu6(blocks.batch_norm(x, name="Conv_1_bn", epsilon=epsilon), "out")
    return blocks.pool(x)


def _v2_block(
    x: Any, expansion: int, filters: int, stride: int, number: int, torch: bool, epsilon: float
) -> Any:
    """An inverted residual with a linear bottleneck (section 3.3)."""
    shortcut, channels = x, x.shape[-1]
    prefix = f"block_{number}" if number else "expanded_conv"
    if number:
        x = blocks.conv(x, channels * expansion, 1, name=f"{prefix}_expand")
        x = blocks.batch_norm(x, name=f"{prefix}_expand_BN", epsilon=epsilon)
        x = _relu6(x, f"{prefix}_expand")
    x = blocks.depthwise(x, 3, stride, name=f"{prefix}_depthwise", torch=torch)
    x = blocks.batch_norm(x, name=f"{prefix}_depthwise_BN", epsilon=epsilon)
    x = _relu6(x, f"{prefix}_depthwise")
    x = blocks.conv(x, filters, 1, name=f"{prefix}_project")
    x = blocks.batch_norm(x, name=f"{prefix}_project_BN", epsilon=epsilon)
    if stride == 1 and channels == filters:
        x = layers.Add(name=f"{prefix}_add")([shortcut, x])
    return x


def _relu6(x: Any, prefix: str) -> Any:
    return layers.ReLU(6.0, name=f"{prefix}_relu")(x)


# --- version 3


@dataclass(frozen=True)
class _Bneck:
    """A row of table 1 or 2; `expanded` is the absolute width of the expansion."""

    kernel: int
    expanded: int
    filters: int
    excite: bool
    hard_swish: bool
    stride: int


_LARGE = (
    _Bneck(3, 16, 16, False, False, 1),
    _Bneck(3, 64, 24, False, False, 2),
    _Bneck(3, 72, 24, False, False, 1),
    _Bneck(5, 72, 40, True, False, 2),
    _Bneck(5, 120, 40, True, False, 1),
    _Bneck(5, 120, 40, True, False, 1),
    _Bneck(3, 240, 80, False, True, 2),
    _Bneck(3, 200, 80, False, True, 1),
    _Bneck(3, 184, 80, False, True, 1),
    _Bneck(3, 184, 80, False, True, 1),
    _Bneck(3, 480, 112, True, True, 1),
    _Bneck(3, 672, 112, True, True, 1),
    _Bneck(5, 672, 160, True, True, 2),
    _Bneck(5, 960, 160, True, True, 1),
    _Bneck(5, 960, 160, True, True, 1),
)
_SMALL = (
    _Bneck(3, 16, 16, True, False, 2),
    _Bneck(3, 72, 24, False, False, 2),
    _Bneck(3, 88, 24, False, False, 1),
    _Bneck(5, 96, 40, True, True, 2),
    _Bneck(5, 240, 40, True, True, 1),
    _Bneck(5, 240, 40, True, True, 1),
    _Bneck(5, 120, 48, True, True, 1),
    _Bneck(5, 144, 48, True, True, 1),
    _Bneck(5, 288, 96, True, True, 2),
    _Bneck(5, 576, 96, True, True, 1),
    _Bneck(5, 576, 96, True, True, 1),
)


def _v3(x: Any, entry: Entry) -> Any:
    large, minimalistic = entry.arguments["large"], entry.arguments["minimalistic"]
    torch = entry.is_torch
    hard = not minimalistic
    x = blocks.conv(x, 16, 3, 2, name="conv", torch=torch)
    x = _v3_activation(blocks.batch_norm(x, name="conv_bn"), hard, "conv")
    for number, bneck in enumerate(_LARGE if large else _SMALL):
        x = _v3_block(x, bneck, number, minimalistic, torch)
    x = blocks.conv(x, x.shape[-1] * 6, 1, name="conv_1")
    x = _v3_activation(blocks.batch_norm(x, name="conv_1_bn"), hard, "conv_1")
    x = layers.Dense(1280 if large else 1024, name="conv_2")(blocks.pool(x))
    return _v3_activation(x, hard, "conv_2")


def _v3_block(x: Any, bneck: _Bneck, number: int, minimalistic: bool, torch: bool) -> Any:
    shortcut, channels = x, x.shape[-1]
    prefix = f"expanded_conv_{number}" if number else "expanded_conv"
    hard = bneck.hard_swish and not minimalistic
    if number:
        x = blocks.conv(x, bneck.expanded, 1, name=f"{prefix}_expand")
        x = _v3_activation(
            blocks.batch_norm(x, name=f"{prefix}_expand_bn"), hard, f"{prefix}_expand"
        )
    kernel = 3 if minimalistic else bneck.kernel
    x = blocks.depthwise(x, kernel, bneck.stride, name=f"{prefix}_depthwise", torch=torch)
    x = blocks.batch_norm(x, name=f"{prefix}_depthwise_bn")
    x = _v3_activation(x, hard, f"{prefix}_depthwise")
    if bneck.excite and not minimalistic:
        x = _squeeze_excite(x, f"{prefix}_squeeze_excite")
    x = blocks.conv(x, bneck.filters, 1, name=f"{prefix}_project")
    x = blocks.batch_norm(x, name=f"{prefix}_project_bn")
    if bneck.stride == 1 and channels == bneck.filters:
        x = layers.Add(name=f"{prefix}_add")([shortcut, x])
    return x


def _squeeze_excite(x: Any, name: str) -> Any:
    """A quarter of the channels, relu, and a hard sigmoid (section 5.2 and 5.3)."""
    channels = x.shape[-1]
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_avg_pool")(x)
    y = blocks.conv(y, blocks.round_channels(channels / 4), 1, name=f"{name}_conv", bias=True)
    y = layers.ReLU(name=f"{name}_relu")(y)
    y = blocks.conv(y, channels, 1, name=f"{name}_conv_1", bias=True)
    y = layers.Activation("hard_sigmoid", name=f"{name}_hard_sigmoid")(y)
    return layers.Multiply(name=f"{name}_mul")([x, y])


def _v3_activation(x: Any, hard: bool, prefix: str) -> Any:
    if hard:
        return layers.Activation("hard_swish", name=f"{prefix}_hard_swish")(x)
    return layers.ReLU(name=f"{prefix}_relu")(x)
