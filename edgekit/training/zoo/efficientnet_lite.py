"""EfficientNet-Lite in Keras 3, and its ImageNet weights.

EfficientNet-B0's layout without squeeze-and-excitation, with relu6 instead of swish and with stem
and head of fixed width: all of it has int8 kernels everywhere. Follows efficientnet_lite_builder.py
of tensorflow/tpu (models/official/efficientnet/lite).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from edgekit.contract import NORMALIZATIONS, Contract
from edgekit.training.zoo.catalogue import Entry


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
_BATCH_NORM = {"epsilon": 1e-3, "momentum": 0.99}

#: The reference crops 224 of 256 pixels (`CROP_PADDING = 32`), so 0.875 at Lite0.
CROP_PADDING = 32


def contract(entry: Entry, size: int, labels: tuple[str, ...] | None) -> Contract:
    """The preprocessing that the reference implementation evaluates with.

    Its resampling is bicubic; this one is `exact` (see docs/contract.md for what that costs).
    """
    normalization = NORMALIZATIONS["efficientnet_lite"]
    return Contract(
        height=size,
        width=size,
        mean=normalization.mean,
        std=normalization.std,
        fit="crop",
        crop_fraction=size / (size + CROP_PADDING),
        labels=labels,
        output="logits",
    )


def build(entry: Entry, classes: int, size: int) -> keras.Model:
    """Builds the model with random weights.

    Args:
        entry: Its coefficients.
        classes: Number of outputs (logits).
        size: Input height and width in pixels.

    Returns:
        float32[N, size, size, 3] -> float32[N, classes].
    """
    inputs = keras.Input((size, size, 3), name="image")
    x = _conv_bn(inputs, _STEM_FILTERS, 3, 2, "stem", activation=True)
    for number, stage in enumerate(_STAGES):
        fixed = number in (0, len(_STAGES) - 1)  # the first and last stage keep their depth
        repeats = stage.repeats if fixed else math.ceil(stage.repeats * entry.depth)
        filters = _round_filters(stage.filters, entry.width)
        for repeat in range(repeats):
            stride = stage.stride if repeat == 0 else 1
            x = _block(x, stage, filters, stride, f"block{number + 1}{chr(97 + repeat)}")
    x = _conv_bn(x, _HEAD_FILTERS, 1, 1, "head", activation=True)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(entry.dropout, name="dropout")(x)
    outputs = layers.Dense(classes, name="logits")(x)
    return keras.Model(inputs, outputs, name=entry.name)


def assign(model: keras.Model, state: dict[str, npt.NDArray[np.generic]]) -> None:
    """Fills the model from a PyTorch state dict of the reference port.

    The layers of both are in the same order, kind by kind, so they are paired in that order; a
    model with another number of classes keeps its own classifier.

    Raises:
        ValueError: A shape doesn't fit.
    """
    kernels = iter([value for value in state.values() if value.ndim == 4])
    norms = iter(_batch_norms(state))
    for layer in model.layers:
        if isinstance(layer, layers.DepthwiseConv2D):
            layer.set_weights([next(kernels).transpose(2, 3, 0, 1)])
        elif isinstance(layer, layers.Conv2D):
            layer.set_weights([next(kernels).transpose(2, 3, 1, 0)])
        elif isinstance(layer, layers.BatchNormalization):
            layer.set_weights(next(norms))
        elif isinstance(layer, layers.Dense) and layer.units == len(state["_fc.bias"]):
            layer.set_weights([state["_fc.weight"].T, state["_fc.bias"]])
    if next(kernels, None) is not None or next(norms, None) is not None:
        raise ValueError("the weights have more layers than the model")


def _batch_norms(state: dict[str, npt.NDArray[np.generic]]) -> list[list[Any]]:
    """Each batch norm as Keras orders it: gamma, beta, moving mean, moving variance."""
    prefixes = [name.removesuffix("running_mean") for name in state if "running_mean" in name]
    parts = ("weight", "bias", "running_mean", "running_var")
    return [[state[prefix + part] for part in parts] for prefix in prefixes]


def _conv_bn(x: Any, filters: int, kernel: int, stride: int, name: str, activation: bool) -> Any:
    x = layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")(
        x
    )
    x = layers.BatchNormalization(name=f"{name}_bn", **_BATCH_NORM)(x)
    return layers.ReLU(6.0, name=f"{name}_relu6")(x) if activation else x


def _block(x: Any, stage: _Stage, filters: int, stride: int, name: str) -> Any:
    """An inverted residual (MBConv) without squeeze-and-excitation."""
    inputs, channels = x, x.shape[-1]
    if stage.expansion != 1:
        x = _conv_bn(x, channels * stage.expansion, 1, 1, f"{name}_expand", activation=True)
    x = layers.DepthwiseConv2D(
        stage.kernel, stride, padding="same", use_bias=False, name=f"{name}_dwconv"
    )(x)
    x = layers.BatchNormalization(name=f"{name}_bn", **_BATCH_NORM)(x)
    x = layers.ReLU(6.0, name=f"{name}_relu6")(x)
    x = _conv_bn(x, filters, 1, 1, f"{name}_project", activation=False)
    if stride == 1 and channels == filters:
        x = layers.Add(name=f"{name}_add")([inputs, x])
    return x


def _round_filters(filters: int, width: float, divisor: int = 8) -> int:
    """Scales a channel count and rounds it to a multiple of 8, never down by over 10 %."""
    scaled = filters * width
    rounded = max(divisor, int(scaled + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * scaled else rounded
