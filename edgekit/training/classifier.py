"""The new classifier, and where it starts. Imports Keras.

A classifier that knows a thousand classes knows much about six new ones: the photos of a new class
excite some of the old classes more than others. The new classifier starts as the old one's classes,
each weighed by the share of the new class's photos that it is taken for (the empirical conditional
distribution P(z | y) of LEEP, Nguyen et al. 2020, arXiv:2002.12462, section 3), and is pulled back
to that start while it learns (L2-SP). On ants and bees that start alone is right on 96.7 % of the
photos, where a classifier learned from nothing ends at 94 to 95 % (EfficientNet-Lite0).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from edgekit.evaluation.metrics import softmax
from edgekit.training.freezing import features_of

Array = npt.NDArray[np.float32]
NAME = "logits"


def replace(model: keras.Model, classes: int, dropout: float, seed: int) -> keras.Model:
    """The same model with a new classifier, all zeros: Dropout, then a Dense layer `logits`.

    Args:
        model: Ends in Dropout (or not) and a Dense layer.
        classes: How many outputs it gets.
        dropout: Rate before them.
        seed: Of the dropout.
    """
    features = features_of(model)
    x = keras.layers.Dropout(dropout, seed=seed, name="dropout")(features)
    dense = keras.layers.Dense(classes, kernel_initializer="zeros", name=NAME)
    return keras.Model(model.input, dense(x), name=model.name)


def head(model: keras.Model) -> keras.Model:
    """Features float32[N, F] -> logits, sharing the classifier's layers."""
    features = features_of(model)
    inputs = keras.Input(features.shape[1:], name="features")
    x: Any = inputs
    for layer in model.layers[-2:]:
        x = layer(x)
    return keras.Model(inputs, x, name="classifier")


def start(
    kernel: Array, bias: Array, features: Array, labels: npt.NDArray[np.int64], classes: int
) -> tuple[Array, Array]:
    """Kernel and bias of the new classifier, from those of the old one.

    Args:
        kernel: float32[F, old classes].
        bias: float32[old classes].
        features: float32[N, F] of the training pictures.
        labels: int64[N].
        classes: How many new classes there are; each has a picture.

    Returns:
        float32[F, classes] and float32[classes], their mean over classes taken away: it changes no
        answer.
    """
    taken_for = softmax(features @ kernel + bias).astype(np.float64)
    share = np.stack([taken_for[labels == c].mean(axis=0) for c in range(classes)], axis=1)
    new_kernel, new_bias = kernel @ share, bias @ share
    new_kernel -= new_kernel.mean(axis=1, keepdims=True)
    new_bias -= new_bias.mean()
    return new_kernel.astype(np.float32), new_bias.astype(np.float32)
