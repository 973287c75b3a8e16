"""ResNet-18, 34, 50, 101 and 152 in Keras 3, with the layer names of keras.applications.

He et al. 2015, arXiv:1512.03385, table 1. The bottleneck has two layouts: keras.applications has
the paper's (stride in the first 1x1, biases before batch norms), torchvision the one called v1.5
(stride in the 3x3, no biases). ResNet-18 and 34 have one, torchvision's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from edgekit.training.zoo import blocks
from edgekit.training.zoo.catalogue.description import Entry

_MINIMUM_SIZE = 32


@dataclass(frozen=True)
class _Form:
    """What is the same in all blocks of a model."""

    bottleneck: bool
    torch: bool

    @property
    def epsilon(self) -> float:
        return 1e-5 if self.torch else 1.001e-5


def build(entry: Entry, classes: int, size: int, dropout: float | None = None) -> keras.Model:
    """Builds the model with random weights.

    Args:
        entry: `arguments`: `repeats` of the four stages, and whether blocks are a `bottleneck`.
        classes: Number of outputs (logits).
        size: Input height and width in pixels.
        dropout: Rate before the classifier; by default the entry's.

    Returns:
        float32[N, size, size, 3] -> float32[N, classes].

    Raises:
        UsageError: The size is too small.
    """
    blocks.require_size(entry, size, _MINIMUM_SIZE)
    bottleneck = entry.arguments["bottleneck"]
    form = _Form(bottleneck, torch=entry.is_torch or not bottleneck)
    inputs = keras.Input((size, size, 3), name="image")
    # Both layouts pad the stem on both sides.
    x = blocks.conv(inputs, 64, 7, 2, name="conv1_conv", torch=True, bias=not form.torch)
    x = layers.ReLU(name="conv1_relu")(_norm(x, "conv1_bn", form))
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, 2, name="pool1_pool")(x)
    for stage, repeats in enumerate(entry.arguments["repeats"]):
        for number in range(1, repeats + 1):
            stride = 2 if stage > 0 and number == 1 else 1
            x = _block(x, 64 << stage, stride, f"conv{stage + 2}_block{number}", form)
    return blocks.classifier(
        inputs, blocks.pool(x), entry, classes, entry.dropout if dropout is None else dropout
    )


def _block(x: Any, filters: int, stride: int, name: str, form: _Form) -> Any:
    """A residual block; where its shape changes, the shortcut is projected (option B)."""
    shortcut, wide = x, filters * 4 if form.bottleneck else filters
    if stride != 1 or x.shape[-1] != wide:
        shortcut = _conv(x, wide, 1, stride, f"{name}_0", form)
    if form.bottleneck:
        first, second = (1, stride) if form.torch else (stride, 1)
        x = layers.ReLU(name=f"{name}_1_relu")(_conv(x, filters, 1, first, f"{name}_1", form))
        x = layers.ReLU(name=f"{name}_2_relu")(_conv(x, filters, 3, second, f"{name}_2", form))
        x = _conv(x, wide, 1, 1, f"{name}_3", form)
    else:
        x = layers.ReLU(name=f"{name}_1_relu")(_conv(x, filters, 3, stride, f"{name}_1", form))
        x = _conv(x, filters, 3, 1, f"{name}_2", form)
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.ReLU(name=f"{name}_out")(x)


def _conv(x: Any, filters: int, kernel: int, stride: int, name: str, form: _Form) -> Any:
    x = blocks.conv(
        x, filters, kernel, stride, name=f"{name}_conv", torch=form.torch, bias=not form.torch
    )
    return _norm(x, f"{name}_bn", form)


def _norm(x: Any, name: str, form: _Form) -> Any:
    return blocks.batch_norm(x, name=name, epsilon=form.epsilon)
