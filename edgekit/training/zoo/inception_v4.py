"""Inception v4 in Keras 3.

Szegedy et al. 2016, arXiv:1602.07261, figures 3 to 9; each convolution is followed by a batch norm
and relu. In figure 4 to 9 the widths k, l, m, n of Reduction-A are table 1's for Inception-v4.
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
    conv = blocks.NumberedConvs()
    inputs = keras.Input((size, size, 3), name="image")
    x = _stem(inputs, conv)
    for number in range(1, 5):
        x = _module_a(x, conv, f"inception_a{number}")
    x = _reduction_a(x, conv)
    for number in range(1, 8):
        x = _module_b(x, conv, f"inception_b{number}")
    x = _reduction_b(x, conv)
    for number in range(1, 4):
        x = _module_c(x, conv, f"inception_c{number}")
    return blocks.classifier(
        inputs, blocks.pool(x), entry, classes, entry.dropout if dropout is None else dropout
    )


def _stem(x: Any, conv: blocks.NumberedConvs) -> Any:
    """Figure 3: 299 x 299 x 3 to 35 x 35 x 384."""
    x = conv(conv(conv(x, 32, 3, 2, valid=True), 32, 3, valid=True), 64, 3)
    pooled = layers.MaxPooling2D(3, 2, name="stem1_pool")(x)
    x = layers.Concatenate(name="stem1")([pooled, conv(x, 96, 3, 2, valid=True)])
    short = conv(conv(x, 64, 1), 96, 3, valid=True)
    long = conv(conv(conv(x, 64, 1), 64, (1, 7)), 64, (7, 1))
    x = layers.Concatenate(name="stem2")([short, conv(long, 96, 3, valid=True)])
    strided = conv(x, 192, 3, 2, valid=True)
    pooled = layers.MaxPooling2D(3, 2, name="stem3_pool")(x)
    return layers.Concatenate(name="stem3")([strided, pooled])


def _module_a(x: Any, conv: blocks.NumberedConvs, name: str) -> Any:
    """Figure 4, on the 35 x 35 grid."""
    one = conv(x, 96, 1)
    three = conv(conv(x, 64, 1), 96, 3)
    double = conv(conv(conv(x, 64, 1), 96, 3), 96, 3)
    pooled = conv(_average(x, name), 96, 1)
    return layers.Concatenate(name=name)([one, three, double, pooled])


def _reduction_a(x: Any, conv: blocks.NumberedConvs) -> Any:
    """Figure 7: 35 x 35 to 17 x 17; k, l, m, n = 192, 224, 256, 384."""
    three = conv(x, 384, 3, 2, valid=True)
    double = conv(conv(conv(x, 192, 1), 224, 3), 256, 3, 2, valid=True)
    pooled = layers.MaxPooling2D(3, 2, name="reduction_a_pool")(x)
    return layers.Concatenate(name="reduction_a")([three, double, pooled])


def _module_b(x: Any, conv: blocks.NumberedConvs, name: str) -> Any:
    """Figure 5, on the 17 x 17 grid."""
    one = conv(x, 384, 1)
    seven = conv(conv(conv(x, 192, 1), 224, (1, 7)), 256, (7, 1))
    double = conv(conv(conv(x, 192, 1), 192, (7, 1)), 224, (1, 7))
    double = conv(conv(double, 224, (7, 1)), 256, (1, 7))
    pooled = conv(_average(x, name), 128, 1)
    return layers.Concatenate(name=name)([one, seven, double, pooled])


def _reduction_b(x: Any, conv: blocks.NumberedConvs) -> Any:
    """Figure 8: 17 x 17 to 8 x 8."""
    three = conv(conv(x, 192, 1), 192, 3, 2, valid=True)
    seven = conv(conv(conv(x, 256, 1), 256, (1, 7)), 320, (7, 1))
    seven = conv(seven, 320, 3, 2, valid=True)
    pooled = layers.MaxPooling2D(3, 2, name="reduction_b_pool")(x)
    return layers.Concatenate(name="reduction_b")([three, seven, pooled])


def _module_c(x: Any, conv: blocks.NumberedConvs, name: str) -> Any:
    """Figure 6, on the 8 x 8 grid."""
    one = conv(x, 256, 1)
    short = conv(x, 384, 1)
    short = [conv(short, 256, (1, 3)), conv(short, 256, (3, 1))]
    long = conv(conv(conv(x, 384, 1), 448, (3, 1)), 512, (1, 3))
    long = [conv(long, 256, (1, 3)), conv(long, 256, (3, 1))]
    pooled = conv(_average(x, name), 256, 1)
    return layers.Concatenate(name=name)([one, *short, *long, pooled])


def _average(x: Any, name: str) -> Any:
    return layers.AveragePooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
