"""EfficientNet-Lite in Keras 3.

EfficientNet-B0's layout without squeeze-and-excitation, with relu6 instead of swish and with stem
and head of fixed width: all of it has int8 kernels everywhere. Follows efficientnet_lite_builder.py
of tensorflow/tpu (models/official/efficientnet/lite).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from edgekit.training.zoo import blocks
from edgekit.training.zoo.catalogue.description import Entry


@dataclass(frozen=True)
class _Stage:
    kernel: int
    repeats: int
    filters: int
    expansion: int
    stride: int


#: EfficientNet-B0's stages: arXiv:1905.11946, table 1.
_STAGES = (
    _Stage(3, 1, 16, 1, 1),
    _Stage(3, 2, 24, 6, 2),
    _Stage(5, 2, 40, 6, 2),
    _Stage(3, 3, 80, 6, 2),
    _Stage(5, 3, 112, 6, 1),
    _Stage(5, 4, 192, 6, 2),
    _Stage(3, 1, 320, 6, 1),
)
_STEM_FILTERS = 32
_HEAD_FILTERS = 1280
_MINIMUM_SIZE = 32


def build(entry: Entry, classes: int, size: int, dropout: float | None = None) -> keras.Model:
    """Builds the model with random weights.

    Args:
        entry: `arguments`: its coefficients, `width` and `depth`.
        classes: Number of outputs (logits).
        size: Input height and width in pixels.
        dropout: Rate before the classifier; by default the entry's.

    Returns:
        float32[N, size, size, 3] -> float32[N, classes].

    Raises:
        UsageError: The size is too small.
    """
    blocks.require_size(entry, size, _MINIMUM_SIZE)
    width, depth = entry.arguments["width"], entry.arguments["depth"]
    inputs = keras.Input((size, size, 3), name="image")
    x = _conv_bn(inputs, _STEM_FILTERS, 3, 2, "stem", activation=True)
    for number, stage in enumerate(_STAGES):
        fixed = number in (0, len(_STAGES) - 1)  # the first and last stage keep their depth
        repeats = stage.repeats if fixed else math.ceil(stage.repeats * depth)
        filters = blocks.round_channels(stage.filters * width)
        for repeat in range(repeats):
            stride = stage.stride if repeat == 0 else 1
            x = _block(x, stage, filters, stride, f"block{number + 1}{chr(97 + repeat)}")
    x = _conv_bn(x, _HEAD_FILTERS, 1, 1, "head", activation=True)
    return blocks.classifier(
        inputs, blocks.pool(x), entry, classes, entry.dropout if dropout is None else dropout
    )


def _conv_bn(x: Any, filters: int, kernel: int, stride: int, name: str, activation: bool) -> Any:
    x = blocks.conv(x, filters, kernel, stride, name=f"{name}_conv")
    x = blocks.batch_norm(x, name=f"{name}_bn")
    return layers.ReLU(6.0, name=f"{name}_relu6")(x) if activation else x


def _block(x: Any, stage: _Stage, filters: int, stride: int, name: str) -> Any:
    """An inverted residual (MBConv) without squeeze-and-excitation."""
    inputs, channels = x, x.shape[-1]
    if stage.expansion != 1:
        x = _conv_bn(x, channels * stage.expansion, 1, 1, f"{name}_expand", activation=True)
    x = blocks.depthwise(x, stage.kernel, stride, name=f"{name}_dwconv")
    x = blocks.batch_norm(x, name=f"{name}_bn")
    x = layers.ReLU(6.0, name=f"{name}_relu6")(x)
    x = _conv_bn(x, filters, 1, 1, f"{name}_project", activation=False)
    if stride == 1 and channels == filters:
        x = layers.Add(name=f"{name}_add")([inputs, x])
    return x
