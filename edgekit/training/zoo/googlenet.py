"""GoogLeNet (Inception v1) in Keras 3.

Szegedy et al. 2014, arXiv:1409.4842, table 1, with two changes that all current forms have: a batch
norm after each convolution in place of local response normalization, and no auxiliary classifiers.
In the torch layout the 5x5 kernels are 3x3, as torchvision's are.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from edgekit.training.zoo import blocks
from edgekit.training.zoo.catalogue.description import Entry

_MINIMUM_SIZE = 32

#: Per module: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection.
_STAGES = (
    {"3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64)},
    {
        "4a": (192, 96, 208, 16, 48, 64),
        "4b": (160, 112, 224, 24, 64, 64),
        "4c": (128, 128, 256, 24, 64, 64),
        "4d": (112, 144, 288, 32, 64, 64),
        "4e": (256, 160, 320, 32, 128, 128),
    },
    {"5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128)},
)


def build(entry: Entry, classes: int, size: int, dropout: float | None = None) -> keras.Model:
    """Builds the model with random weights.

    Args:
        entry: The entry.
        classes: Number of outputs (logits).
        size: Input height and width in pixels.
        dropout: Rate before the classifier; by default the entry's.

    Returns:
        float32[N, size, size, 3] -> float32[N, classes].

    Raises:
        UsageError: The size is too small.
    """
    blocks.require_size(entry, size, _MINIMUM_SIZE)
    large = 3 if entry.is_torch else 5
    conv = blocks.NumberedConvs()
    inputs = keras.Input((size, size, 3), name="image")
    x = conv(inputs, 64, 7, 2, torch=True)  # the stem is padded on both sides in all forms
    x = _halve(x, 3, "pool1")
    x = conv(conv(x, 64, 1), 192, 3)
    x = _halve(x, 3, "pool2")
    for number, stage in enumerate(_STAGES, 3):
        for name, widths in stage.items():
            x = _module(x, conv, widths, large, f"inception_{name}")
        if number < 5:
            # The paper's 3x3 pools before 4a and, in torchvision, 2x2 before 5a.
            x = _halve(x, 2 if number == 4 and large == 3 else 3, f"pool{number}")
    return blocks.classifier(
        inputs, blocks.pool(x), entry, classes, entry.dropout if dropout is None else dropout
    )


def _module(
    x: Any, conv: blocks.NumberedConvs, widths: tuple[int, ...], large: int, name: str
) -> Any:
    one, three_reduce, three, five_reduce, five, projection = widths
    branches = [
        conv(x, one, 1),
        conv(conv(x, three_reduce, 1), three, 3),
        conv(conv(x, five_reduce, 1), five, large),
    ]
    pooled = layers.MaxPooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
    branches.append(conv(pooled, projection, 1))
    return layers.Concatenate(name=name)(branches)


def _halve(x: Any, kernel: int, name: str) -> Any:
    return layers.MaxPooling2D(kernel, 2, padding="same", name=name)(x)
