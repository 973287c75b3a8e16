"""VGG-16 and VGG-19 in Keras 3, with the layer names of keras.applications.

Simonyan and Zisserman 2014, arXiv:1409.1556, table 1, configurations D and E.
"""

from __future__ import annotations

import keras
from keras import layers

from edgekit.training.zoo import blocks
from edgekit.training.zoo.catalogue.description import Entry

_MINIMUM_SIZE = 32
_FILTERS = (64, 128, 256, 512, 512)


def build(entry: Entry, classes: int, size: int, dropout: float | None = None) -> keras.Model:
    """Builds the model with random weights.

    `fc1` has as many weights as the last feature map has numbers, so that weights for one input
    size don't fit another.

    Args:
        entry: `arguments`: `repeats` of the five stages.
        classes: Number of outputs (logits).
        size: Input height and width in pixels.
        dropout: Rate before `fc2` and before the classifier; by default the entry's.

    Returns:
        float32[N, size, size, 3] -> float32[N, classes].

    Raises:
        UsageError: The size is too small.
    """
    blocks.require_size(entry, size, _MINIMUM_SIZE)
    rate = entry.dropout if dropout is None else dropout
    x = inputs = keras.Input((size, size, 3), name="image")
    for stage, repeats in enumerate(entry.arguments["repeats"]):
        name = f"block{stage + 1}"
        for number in range(1, repeats + 1):
            x = blocks.conv(x, _FILTERS[stage], 3, name=f"{name}_conv{number}", bias=True)
            x = layers.ReLU(name=f"{name}_relu{number}")(x)
        x = layers.MaxPooling2D(2, 2, name=f"{name}_pool")(x)
    x = layers.Dense(4096, activation="relu", name="fc1")(layers.Flatten(name="flatten")(x))
    x = layers.Dropout(rate, name="fc1_dropout")(x)
    x = layers.Dense(4096, activation="relu", name="fc2")(x)
    return blocks.classifier(inputs, x, entry, classes, rate)
