"""The training loop for a model that tensorflow-model-optimization quantized. Runs in the child."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from edgekit import images
from edgekit.contract import Contract
from edgekit.converters.tfmot.recipe import Recipe
from edgekit.errors import RuntimeFailure
from edgekit.training import schedule

Pictures = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

#: Steps before the timed ones: TensorFlow traces in the first, and its allocator settles.
_WARM_UP_STEPS = 5
#: What weight decay leaves alone.
_NOT_DECAYED = ["bias", "gamma", "beta"]


class Trainer:
    """Trains a tf_keras classifier by cross-entropy and keeps its best epoch.

    Attributes:
        step_seconds: Wall time of each step of the optimizer so far, its batch in memory.
    """

    def __init__(
        self, model: Any, tf_keras: Any, contract: Contract, recipe: Recipe, where: str
    ) -> None:
        """Prepares the training.

        Args:
            model: A tf_keras model; float32[N, H, W, 3] -> scores as `contract.output` says.
            tf_keras: The module.
            contract: Turns pictures into its input.
            recipe: How to train.
            where: The source, for errors.
        """
        self._model, self._contract, self._recipe, self._where = model, contract, recipe, where
        self._classes = int(model.output_shape[-1])
        self._loss = tf_keras.losses.CategoricalCrossentropy(
            from_logits=contract.output == "logits", label_smoothing=recipe.label_smoothing
        )
        self._optimizer = tf_keras.optimizers.AdamW(
            recipe.rate, weight_decay=recipe.weight_decay, jit_compile=False
        )
        self._optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
        # A step that makes variables would be traced twice.
        self._optimizer.build(model.trainable_variables)
        shape = (None, contract.height, contract.width, 3)
        signature = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec((None,), tf.int64)]
        self._step = tf.function(self._learn, input_signature=signature, jit_compile=False)
        self.step_seconds: list[float] = []

    def run(
        self,
        train: tuple[Pictures, Labels],
        val: tuple[Pictures, Labels],
        on_epoch: Callable[..., None],
        on_step: Callable[[int, int], None],
    ) -> float:
        """Trains, and leaves the model with the weights of its best epoch.

        Args:
            train: uint8[N, H, W, 3] and int64[N].
            val: The same, to judge epochs by.
            on_epoch: Called with the fields of `edgekit.types.EpochRow` but its phase.
            on_step: Called with (steps done, steps in all).

        Returns:
            The best accuracy on `val`, 0..1, fake quantization in place.

        Raises:
            RuntimeFailure: The loss became NaN or infinite.
        """
        pictures, labels = train
        recipe, steps = self._recipe, math.ceil(len(labels) / self._recipe.batch)
        total, best, kept = steps * recipe.epochs, -1.0, self._model.get_weights()
        for epoch in range(recipe.epochs):
            started, losses, right = time.perf_counter(), 0.0, 0
            order = np.random.default_rng((recipe.seed, epoch)).permutation(len(labels))
            for number in range(steps):
                done = epoch * steps + number
                rate = schedule.rate(done, total, recipe.warmup * steps, recipe.rate)
                # In the order of the file, so that the disk is read forwards.
                chosen = np.sort(order[number * recipe.batch : (number + 1) * recipe.batch])
                loss, hits = self._timed_step(pictures[chosen], labels[chosen], rate)
                if not math.isfinite(loss):
                    raise RuntimeFailure(
                        f"{self._where}: the loss became {loss} in step {done + 1} of {total}",
                        "Lower the learning rate, and look for broken pictures or labels.",
                    )
                losses, right = losses + loss * len(chosen), right + hits
                on_step(done + 1, total)
            val_loss, val_accuracy = self.judge(self._model, *val)
            if val_accuracy > best:
                best, kept = val_accuracy, self._model.get_weights()
            on_epoch(
                epoch=epoch + 1,
                seconds=time.perf_counter() - started,
                learning_rate=rate,
                loss=losses / len(labels),
                accuracy=right / len(labels),
                val_loss=val_loss,
                val_accuracy=val_accuracy,
            )
        self._model.set_weights(kept)
        return best

    def judge(self, model: Any, pictures: Pictures, labels: Labels) -> tuple[float, float]:
        """The mean loss and the accuracy, 0..1, of a model with the same input and output."""
        losses, right = 0.0, 0
        for first in range(0, len(labels), self._recipe.batch):
            chosen = slice(first, first + self._recipe.batch)
            scores = model(self._inputs(pictures[chosen]), training=False)
            truth = labels[chosen]
            losses += float(self._loss(self._targets(truth), scores)) * len(truth)
            right += int((np.asarray(scores).argmax(axis=1) == truth).sum())
        return losses / len(labels), right / len(labels)

    def time_steps(self, count: int) -> list[float]:
        """Seconds of so many steps on one batch of noise."""
        rng, batch = np.random.default_rng(0), self._recipe.batch
        shape = (batch, self._contract.height, self._contract.width, 3)
        pictures = rng.integers(0, 256, shape, np.uint8)
        labels = rng.integers(0, self._classes, batch)
        for _ in range(_WARM_UP_STEPS + count):
            self._timed_step(pictures, labels, self._recipe.rate)
        return self.step_seconds[-count:]

    def _timed_step(self, pictures: Pictures, labels: Labels, rate: float) -> tuple[float, int]:
        inputs, truth = self._inputs(pictures), tf.constant(labels, tf.int64)
        started = time.perf_counter()
        self._optimizer.learning_rate.assign(rate)
        loss, hits = self._step(inputs, truth)
        result = float(loss), int(hits)  # waits for the step to end
        self.step_seconds.append(time.perf_counter() - started)
        return result

    def _learn(self, inputs: Any, labels: Any) -> tuple[Any, Any]:
        variables = self._model.trainable_variables
        with tf.GradientTape() as tape:
            scores = self._model(inputs, training=True)
            loss = self._loss(self._targets(labels), scores)
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        hits = tf.equal(tf.argmax(scores, axis=1), labels)
        return loss, tf.math.count_nonzero(hits)

    def _inputs(self, pictures: Pictures) -> Any:
        return tf.constant(images.to_input(pictures, self._contract, np.float32))

    def _targets(self, labels: Any) -> Any:
        return tf.one_hot(labels, self._classes)
