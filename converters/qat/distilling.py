"""One step of quantization-aware training: learn from the labels and from the float model.

Imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from edgekit.converters.qat.recipe import Recipe
from edgekit.training.learner import Learner


class Distiller(Learner):
    """Trains a quantization-aware model to answer as its float model does.

    The loss of a picture is (1 - d) * cross-entropy(labels, student)
    + d * T^2 * KL(softmax(teacher / T) || softmax(student / T)), with d the share of distillation
    and T the temperature (Hinton et al. 2015, arXiv:1503.02531, section 2: T^2 keeps the size of
    the gradients).

    Args:
        prepare: uint8 pictures -> what both models take.
        student: -> logits, rounded as int8 does.
        teacher: -> logits of the float model.
        recipe: How.
    """

    def __init__(
        self,
        prepare: Callable[[Any], Any],
        student: keras.Model,
        teacher: keras.Model,
        recipe: Recipe,
    ) -> None:
        super().__init__(prepare, None, student, recipe.learning())
        self._student, self._teacher, self._how = student, teacher, recipe

    def _gradients(self, inputs: Any, targets: Any, share: Any) -> tuple[Any, Any, Any]:
        x, how = self._prepare(inputs), self._how
        taught = self._teacher(x, training=False) if how.distillation else None
        with tf.GradientTape() as tape:
            logits = self._student(x, training=True)
            smooth = how.label_smoothing
            wanted = targets * (1 - smooth) + smooth / targets.shape[-1]
            losses = tf.nn.softmax_cross_entropy_with_logits(wanted, logits)
            if taught is not None:
                losses *= 1 - how.distillation
                losses += how.distillation * _divergence(taught, logits, how.temperature)
            total = tf.reduce_sum(losses)
            goal = total * share
        right = tf.argmax(logits, -1) == tf.argmax(targets, -1)
        gradients = tape.gradient(goal, self.trained)
        return gradients, total, tf.reduce_sum(tf.cast(right, tf.float32))


def _divergence(teacher: Any, student: Any, temperature: float) -> Any:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), float32[N]."""
    taught = tf.nn.log_softmax(teacher / temperature)
    learned = tf.nn.log_softmax(student / temperature)
    return temperature**2 * tf.reduce_sum(tf.exp(taught) * (taught - learned), -1)
