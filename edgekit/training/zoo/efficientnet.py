"""EfficientNet B0 to B7 and V2 B0 to B3 in Keras 3, with the layer names of keras.applications.

V1: Tan and Le 2019, arXiv:1905.11946, table 1, and the coefficients of the reference
implementation (tensorflow/tpu, models/official/efficientnet/efficientnet_builder.py). V2: Tan and
Le 2021, arXiv:2104.00298; its B models are in google/automl, efficientnetv2/effnetv2_configs.py.

Normalization is the contract's, not a layer's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from edgekit.training.zoo import blocks
from edgekit.training.zoo.catalogue.description import Entry

_MINIMUM_SIZE = 32
#: Rate of the last block; it grows linearly from 0 at the first (stochastic depth, Huang et al.
#: 2016, arXiv:1603.09382).
_DROP_CONNECT = 0.2


@dataclass(frozen=True)
class _Stage:
    kernel: int
    repeats: int
    filters: int
    expansion: int
    stride: int
    fused: bool = False
    excite: bool = True


_V1 = (
    _Stage(3, 1, 16, 1, 1),
    _Stage(3, 2, 24, 6, 2),
    _Stage(5, 2, 40, 6, 2),
    _Stage(3, 3, 80, 6, 2),
    _Stage(5, 3, 112, 6, 1),
    _Stage(5, 4, 192, 6, 2),
    _Stage(3, 1, 320, 6, 1),
)
_V2 = (
    _Stage(3, 1, 16, 1, 1, fused=True, excite=False),
    _Stage(3, 2, 32, 4, 2, fused=True, excite=False),
    _Stage(3, 2, 48, 4, 2, fused=True, excite=False),
    _Stage(3, 3, 96, 4, 2),
    _Stage(3, 5, 112, 6, 1),
    _Stage(3, 8, 192, 6, 2),
)


@dataclass(frozen=True)
class _Form:
    """What is the same in all blocks of a model."""

    depthwise_name: str
    torch: bool
    epsilon: float


def build(entry: Entry, classes: int, size: int, dropout: float | None = None) -> keras.Model:
    """Builds the model with random weights.

    Args:
        entry: `arguments`: `version`, `width` and `depth`, and with the torch layout `epsilon`.
        classes: Number of outputs (logits).
        size: Input height and width in pixels.
        dropout: Rate before the classifier; by default the entry's.

    Returns:
        float32[N, size, size, 3] -> float32[N, classes].

    Raises:
        UsageError: The size is too small.
    """
    blocks.require_size(entry, size, _MINIMUM_SIZE)
    version, width = entry.arguments["version"], entry.arguments["width"]
    torch = entry.is_torch
    form = _Form(
        depthwise_name="dwconv" if version == 1 else "dwconv2",
        torch=torch,
        epsilon=entry.arguments["torch_epsilon"] if torch else 1e-3,
    )
    inputs = keras.Input((size, size, 3), name="image")
    x = blocks.conv(inputs, _channels(32 * width, version), 3, 2, name="stem_conv", torch=torch)
    x = _swish(blocks.batch_norm(x, name="stem_bn", epsilon=form.epsilon), "stem_activation")
    x = _stages(x, _V1 if version == 1 else _V2, entry, form)
    x = blocks.conv(x, _channels(1280 * width, version), 1, name="top_conv")
    x = _swish(blocks.batch_norm(x, name="top_bn", epsilon=form.epsilon), "top_activation")
    return blocks.classifier(
        inputs, blocks.pool(x), entry, classes, entry.dropout if dropout is None else dropout
    )


def _stages(x: Any, stages: tuple[_Stage, ...], entry: Entry, form: _Form) -> Any:
    version, width, depth = (entry.arguments[name] for name in ("version", "width", "depth"))
    repeats = [math.ceil(stage.repeats * depth) for stage in stages]
    # V2's reference counts the repeats before they are scaled; keras.applications does too.
    total = sum(repeats) if version == 1 else sum(stage.repeats for stage in stages)
    number = 0
    for index, stage in enumerate(stages):
        filters = _channels(stage.filters * width, version)
        block = _fused_block if stage.fused else _block
        for repeat in range(repeats[index]):
            stride = stage.stride if repeat == 0 else 1
            prefix = f"block{index + 1}{chr(97 + repeat)}_"
            x = block(x, stage, filters, stride, prefix, _DROP_CONNECT * number / total, form)
            number += 1
    return x


def _block(
    x: Any, stage: _Stage, filters: int, stride: int, prefix: str, drop: float, form: _Form
) -> Any:
    """MBConv: an inverted residual with squeeze-and-excitation."""
    shortcut, channels = x, x.shape[-1]
    if stage.expansion != 1:
        x = blocks.conv(x, channels * stage.expansion, 1, name=f"{prefix}expand_conv")
        x = blocks.batch_norm(x, name=f"{prefix}expand_bn", epsilon=form.epsilon)
        x = _swish(x, f"{prefix}expand_activation")
    x = blocks.depthwise(
        x, stage.kernel, stride, name=f"{prefix}{form.depthwise_name}", torch=form.torch
    )
    x = blocks.batch_norm(x, name=f"{prefix}bn", epsilon=form.epsilon)
    x = _swish(x, f"{prefix}activation")
    if stage.excite:
        x = _squeeze_excite(x, max(1, channels // 4), f"{prefix}se_")
    x = blocks.conv(x, filters, 1, name=f"{prefix}project_conv")
    x = blocks.batch_norm(x, name=f"{prefix}project_bn", epsilon=form.epsilon)
    return _residual(x, shortcut, stride, drop, prefix)


def _fused_block(
    x: Any, stage: _Stage, filters: int, stride: int, prefix: str, drop: float, form: _Form
) -> Any:
    """Fused-MBConv (arXiv:2104.00298, figure 2): one 3x3 for the expansion and the depthwise."""
    shortcut, channels = x, x.shape[-1]
    expands = stage.expansion != 1
    if expands:
        x = blocks.conv(
            x, channels * stage.expansion, stage.kernel, stride, name=f"{prefix}expand_conv"
        )
        x = blocks.batch_norm(x, name=f"{prefix}expand_bn", epsilon=form.epsilon)
        x = _swish(x, f"{prefix}expand_activation")
    kernel, last_stride = (1, 1) if expands else (stage.kernel, stride)
    x = blocks.conv(x, filters, kernel, last_stride, name=f"{prefix}project_conv")
    x = blocks.batch_norm(x, name=f"{prefix}project_bn", epsilon=form.epsilon)
    if not expands:
        x = _swish(x, f"{prefix}project_activation")
    return _residual(x, shortcut, stride, drop, prefix)


def _residual(x: Any, shortcut: Any, stride: int, drop: float, prefix: str) -> Any:
    if stride != 1 or x.shape[-1] != shortcut.shape[-1]:
        return x
    if drop:
        x = layers.Dropout(drop, noise_shape=(None, 1, 1, 1), name=f"{prefix}drop")(x)
    return layers.Add(name=f"{prefix}add")([x, shortcut])


def _squeeze_excite(x: Any, squeezed: int, prefix: str) -> Any:
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{prefix}squeeze")(x)
    y = blocks.conv(y, squeezed, 1, name=f"{prefix}reduce", bias=True)
    y = _swish(y, f"{prefix}reduce_activation")
    y = blocks.conv(y, x.shape[-1], 1, name=f"{prefix}expand", bias=True)
    y = layers.Activation("sigmoid", name=f"{prefix}expand_activation")(y)
    return layers.Multiply(name=f"{prefix}excite")([x, y])


def _channels(scaled: float, version: int) -> int:
    """V2's reference rounds to the nearest multiple of 8, also down by over 10 %."""
    return blocks.round_channels(scaled) if version == 1 else max(8, int(scaled + 4) // 8 * 8)


def _swish(x: Any, name: str) -> Any:
    return layers.Activation("swish", name=name)(x)
