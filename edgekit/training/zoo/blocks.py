"""What the builders of the convolutional families share.

Two layouts of the same architecture are known. `keras` pads a strided convolution as TensorFlow
does (`same`: the odd pixel goes to the right and the bottom); `torch` pads both sides alike. The
layers and their weights have the same names and shapes in both, and the outputs differ: weights of
one give nonsense in the other, so the layout is part of the entry that is built.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from edgekit.errors import UsageError
from edgekit.training.zoo.catalogue.description import Entry


def require_size(entry: Entry, size: int, minimum: int) -> None:
    """Checks the input size.

    Raises:
        UsageError: It is smaller than what the strides and unpadded layers leave something of.
    """
    if size < minimum:
        raise UsageError(
            f"{entry.name}: input size {size} is too small for its strides",
            f"Choose {minimum} to 1024 pixels; the paper has {entry.size}.",
        )


def conv(
    x: Any,
    filters: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    *,
    name: str,
    torch: bool = False,
    bias: bool = False,
) -> Any:
    """A convolution that keeps the size (divided by its stride), without activation."""
    x, padding = _pad(x, kernel, stride, torch, name)
    return layers.Conv2D(filters, kernel, stride, padding=padding, use_bias=bias, name=name)(x)


def depthwise(x: Any, kernel: int, stride: int, *, name: str, torch: bool = False) -> Any:
    """A depthwise convolution that keeps the size (divided by its stride), without bias."""
    x, padding = _pad(x, kernel, stride, torch, name)
    return layers.DepthwiseConv2D(kernel, stride, padding=padding, use_bias=False, name=name)(x)


def batch_norm(x: Any, *, name: str, epsilon: float = 1e-3, scale: bool = True) -> Any:
    """A batch norm; its statistics settle within some hundred steps.

    keras.applications has a momentum of 0.999 in places, which suits a million steps: fine-tuning
    on a few hundred photos would end before the statistics have moved.
    """
    return layers.BatchNormalization(epsilon=epsilon, momentum=0.99, scale=scale, name=name)(x)


def classifier(inputs: Any, features: Any, entry: Entry, classes: int, rate: float) -> keras.Model:
    """Closes a model: float32[N, features] -> dropout -> float32[N, classes] logits."""
    x = layers.Dropout(rate, name="dropout")(features)
    outputs = layers.Dense(classes, name="logits")(x)
    return keras.Model(inputs, outputs, name=entry.model_name)


def pool(x: Any) -> Any:
    """Global average pooling: float32[N, H, W, C] -> float32[N, C]."""
    return layers.GlobalAveragePooling2D(name="pool")(x)


class NumberedConvs:
    """Convolution, batch norm and relu under one number, as keras.applications names Inception's.

    The numbers follow the order in which the layers are made: `conv2d`, `conv2d_1`, ...
    """

    def __init__(self, *, scale: bool = True) -> None:
        self._scale, self._count = scale, 0

    def __call__(
        self,
        x: Any,
        filters: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        *,
        valid: bool = False,
        torch: bool = False,
    ) -> Any:
        """Adds the three layers; `valid` leaves the borders unpadded."""
        suffix = f"_{self._count}" if self._count else ""
        self._count += 1
        if valid:
            x = layers.Conv2D(filters, kernel, stride, use_bias=False, name=f"conv2d{suffix}")(x)
        else:
            x = conv(x, filters, kernel, stride, name=f"conv2d{suffix}", torch=torch)
        x = batch_norm(x, name=f"batch_normalization{suffix}", scale=self._scale)
        return layers.ReLU(name=f"activation{suffix}")(x)


def round_channels(channels: float, divisor: int = 8) -> int:
    """Rounds a scaled channel count to a multiple of 8, never down by over 10 %.

    Source: `_make_divisible` of tensorflow/models, research/slim/nets/mobilenet/mobilenet.py.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def _pad(
    x: Any, kernel: int | tuple[int, int], stride: int, torch: bool, name: str
) -> tuple[Any, str]:
    """Pads by hand where `same` would not pad both sides alike."""
    if not torch or stride == 1:
        return x, "same"
    assert isinstance(kernel, int)
    if kernel == 1:
        return x, "valid"
    return layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x), "valid"
