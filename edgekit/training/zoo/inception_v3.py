"""Inception v3 in Keras 3, with the layer names of keras.applications.

Szegedy et al. 2015, arXiv:1512.00567, without the auxiliary classifier. The torch layout differs
twice: its batch norms have a scale, and its average pools count the border's zeros.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from edgekit.training.zoo import blocks
from edgekit.training.zoo.catalogue.description import Entry

_MINIMUM_SIZE = 75


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
    torch = entry.is_torch
    conv = blocks.NumberedConvs(scale=torch)
    inputs = keras.Input((size, size, 3), name="image")
    x = conv(conv(inputs, 32, 3, 2, valid=True), 32, 3, valid=True)
    x = layers.MaxPooling2D(3, 2, name="pool1")(conv(x, 64, 3))
    x = conv(conv(x, 80, 1), 192, 3, valid=True)
    x = layers.MaxPooling2D(3, 2, name="pool2")(x)
    for number, projection in enumerate((32, 64, 64)):
        x = _module_35(x, conv, projection, torch, f"mixed{number}")
    x = _reduce_35(x, conv, "mixed3")
    for number, width in enumerate((128, 160, 160, 192), 4):
        x = _module_17(x, conv, width, torch, f"mixed{number}")
    x = _reduce_17(x, conv, "mixed8")
    for number in (9, 10):
        x = _module_8(x, conv, torch, f"mixed{number}")
    return blocks.classifier(
        inputs, blocks.pool(x), entry, classes, entry.dropout if dropout is None else dropout
    )


def _module_35(x: Any, conv: blocks.NumberedConvs, projection: int, torch: bool, name: str) -> Any:
    """Figure 5, on the 35 x 35 grid."""
    one = conv(x, 64, 1)
    five = conv(conv(x, 48, 1), 64, 5)
    double = conv(conv(conv(x, 64, 1), 96, 3), 96, 3)
    pooled = conv(_average(x, torch, name), projection, 1)
    return layers.Concatenate(name=name)([one, five, double, pooled])


def _reduce_35(x: Any, conv: blocks.NumberedConvs, name: str) -> Any:
    three = conv(x, 384, 3, 2, valid=True)
    double = conv(conv(conv(x, 64, 1), 96, 3), 96, 3, 2, valid=True)
    pooled = layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x)
    return layers.Concatenate(name=name)([three, double, pooled])


def _module_17(x: Any, conv: blocks.NumberedConvs, width: int, torch: bool, name: str) -> Any:
    """Figure 6 with n = 7, on the 17 x 17 grid."""
    one = conv(x, 192, 1)
    seven = conv(conv(conv(x, width, 1), width, (1, 7)), 192, (7, 1))
    double = conv(conv(conv(x, width, 1), width, (7, 1)), width, (1, 7))
    double = conv(conv(double, width, (7, 1)), 192, (1, 7))
    pooled = conv(_average(x, torch, name), 192, 1)
    return layers.Concatenate(name=name)([one, seven, double, pooled])


def _reduce_17(x: Any, conv: blocks.NumberedConvs, name: str) -> Any:
    three = conv(conv(x, 192, 1), 320, 3, 2, valid=True)
    seven = conv(conv(conv(x, 192, 1), 192, (1, 7)), 192, (7, 1))
    seven = conv(seven, 192, 3, 2, valid=True)
    pooled = layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x)
    return layers.Concatenate(name=name)([three, seven, pooled])


def _module_8(x: Any, conv: blocks.NumberedConvs, torch: bool, name: str) -> Any:
    """Figure 7, on the 8 x 8 grid.

    Each pair is concatenated first, as in keras.applications: weights files list layers in the
    order that the graph gives them.
    """
    one = conv(x, 320, 1)
    three = conv(x, 384, 1)
    three = layers.Concatenate(name=f"{name}_three")(
        [conv(three, 384, (1, 3)), conv(three, 384, (3, 1))]
    )
    double = conv(conv(x, 448, 1), 384, 3)
    double = layers.Concatenate(name=f"{name}_double")(
        [conv(double, 384, (1, 3)), conv(double, 384, (3, 1))]
    )
    pooled = conv(_average(x, torch, name), 192, 1)
    return layers.Concatenate(name=name)([one, three, double, pooled])


def _average(x: Any, torch: bool, name: str) -> Any:
    if torch:
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        return layers.AveragePooling2D(3, 1, name=f"{name}_pool")(x)
    return layers.AveragePooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
