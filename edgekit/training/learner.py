"""One step of training: loss, gradients, update. Imports TensorFlow.

The same code serves one device, several (MirroredStrategy) and several machines
(MultiWorkerMirroredStrategy): a replica's loss is its sum over the size of the whole batch, so that
the sum of all gradients is that of the mean loss. Keras' optimizers sum the gradients of all
replicas before they apply them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from edgekit.contract import Contract
from edgekit.errors import RuntimeFailure
from edgekit.training.inference import OUT_OF_MEMORY, Inference
from edgekit.training.recipe import Recipe


@dataclass(frozen=True)
class Outcome:
    """What one step gave.

    Attributes:
        loss: Summed over the pictures.
        hits: How many the model got right (by the highest target).
        count: Pictures.
    """

    loss: float
    hits: float
    count: int


class Learner:
    """Trains a body and a classifier; what lies before them is frozen.

    Made in the scope of a `tf.distribute` strategy, it trains on all of its replicas.

    Args:
        prepare: Inputs as they are fed -> what the body takes; not trained.
        body: -> features float32[N, F], or None where the features are fed.
        head: Features -> logits: Dropout and Dense.
        recipe: Optimizer, loss and batch norm.
        class_weights: float32[classes], of each class in the loss; ones by default.
        start: float32[F, classes], where the classifier's kernel is pulled to, or None.
    """

    def __init__(
        self,
        prepare: Callable[[Any], Any],
        body: keras.Model | None,
        head: keras.Model,
        recipe: Recipe,
        class_weights: npt.NDArray[np.float32] | None = None,
        start: npt.NDArray[np.float32] | None = None,
    ) -> None:
        self._recipe, self._prepare, self._head = recipe, prepare, head
        self._body = body
        norms = [] if body is None else _batch_norms(body)
        adapts = recipe.batch_norm == "train"
        # Keras runs a model in one mode: where batch norms keep their statistics, what drops
        # within the body (EfficientNet's stochastic depth) doesn't drop either.
        self._trains_body = adapts or not norms
        self._classes = head.output.shape[-1]
        self._class_weights = tf.constant(
            np.ones(self._classes, np.float32) if class_weights is None else class_weights
        )
        self._start = None if start is None else tf.constant(start)
        models = [head] if body is None else [body, head]
        #: Everything that training changes, random states included.
        self.variables: list[Any] = [v for model in models for v in model.variables]
        self.trained = [v for model in models for v in model.trainable_variables]
        self._statistics = (
            [v for norm in norms for v in (norm.moving_mean, norm.moving_variance)]
            if adapts
            else []
        )
        #: A step goes through in so many pieces, one after the other, where memory is short.
        self.pieces = 1
        self._strategy = tf.distribute.get_strategy()
        self._step = tf.function(self._over_replicas, reduce_retracing=True)
        self._gradients_of = tf.function(self._gradients, reduce_retracing=True)
        self._inference = Inference(self._forward)

    @cached_property
    def optimizer(self) -> keras.optimizers.Optimizer:
        """Made when it is first asked for: who only predicts needs none, and it is large."""
        return _optimizer(self._recipe, self.trained)

    def train(self, inputs: Any, targets: Any, rate: float, whole: int) -> Outcome:
        """One step of the optimizer.

        Args:
            inputs: This worker's share of the batch.
            targets: float32[B, classes], each row sums to 1.
            rate: The learning rate.
            whole: Pictures in the whole batch, over all workers.

        Raises:
            tf.errors.ResourceExhaustedError: The batch doesn't fit in the memory of the one device.
            RuntimeFailure: It doesn't fit in that of one of several.
        """
        self.optimizer.learning_rate.assign(rate)
        share = tf.constant(1 / whole, tf.float32)
        if self._strategy.num_replicas_in_sync > 1:
            loss, hits = self._train_on_all(inputs, targets, share)
        elif self.pieces > 1:
            loss, hits = self._train_in_pieces(inputs, targets, share)
        else:
            loss, hits = self._step(inputs, targets, share)
        return Outcome(float(loss), float(hits), whole)

    def predict(self, inputs: Any) -> npt.NDArray[np.float32]:
        """Logits float32[B, classes] in inference mode, computed on one device."""
        self._inference.pieces = max(self._inference.pieces, self.pieces)
        return self._inference(inputs)

    def _train_on_all(self, inputs: Any, targets: Any, share: Any) -> tuple[Any, Any]:
        too_large = RuntimeFailure(
            f"out of memory: {len(inputs)} pictures at once are too many for a device, and with "
            "several devices a step can't go through in pieces",
            "Choose a smaller --batch.",
        )
        if self.pieces > 1:
            raise too_large
        try:
            return self._step(*(_dealt(self._strategy, a) for a in (inputs, targets)), share)
        except OUT_OF_MEMORY as error:
            # The others are in the middle of the step, so it can't be done again in pieces.
            raise too_large from error

    def _over_replicas(self, inputs: Any, targets: Any, share: Any) -> tuple[Any, Any]:
        results = self._strategy.run(self._run, args=(inputs, targets, share))
        loss, hits = (self._strategy.reduce("SUM", value, axis=None) for value in results)
        return loss, hits

    def _train_in_pieces(self, inputs: Any, targets: Any, share: Any) -> tuple[Any, Any]:
        total, loss, hits = None, 0.0, 0.0
        pieces = min(self.pieces, len(inputs))
        for some, wanted in zip(
            np.array_split(inputs, pieces), np.array_split(targets, pieces), strict=True
        ):
            gradients, part_loss, part_hits = self._gradients_of(some, wanted, share)
            total = (
                gradients
                if total is None
                else [a + b for a, b in zip(total, gradients, strict=True)]
            )
            loss, hits = loss + part_loss, hits + part_hits
        self.optimizer.apply(total, self.trained)
        return loss, hits

    def _run(self, inputs: Any, targets: Any, share: Any) -> tuple[Any, Any]:
        gradients, loss, hits = self._gradients(inputs, targets, share)
        self.optimizer.apply(gradients, self.trained)
        if self._statistics and self._strategy.num_replicas_in_sync > 1:
            # Keras leaves each replica with the statistics of its own pictures.
            means = tf.distribute.get_replica_context().all_reduce(
                tf.distribute.ReduceOp.MEAN, [tf.identity(v.value) for v in self._statistics]
            )
            for variable, mean in zip(self._statistics, means, strict=True):
                variable.assign(mean)
        return loss, hits

    def _gradients(self, inputs: Any, targets: Any, share: Any) -> tuple[Any, Any, Any]:
        recipe = self._recipe
        x = self._prepare(inputs)
        with tf.GradientTape() as tape:
            features = x if self._body is None else self._body(x, training=self._trains_body)
            logits = self._head(features, training=True)
            smooth = targets * (1 - recipe.label_smoothing) + recipe.label_smoothing / self._classes
            losses = tf.nn.softmax_cross_entropy_with_logits(smooth, logits)
            losses *= tf.linalg.matvec(targets, self._class_weights)
            total = tf.reduce_sum(losses)
            goal = total * share
            if self._start is not None:
                # A piece, or a replica, carries its part of the penalty.
                part = share * tf.cast(tf.shape(logits)[0], tf.float32)
                kernel = self._head.layers[-1].kernel
                goal += part * recipe.pull / 2 * tf.reduce_sum((kernel - self._start) ** 2)
        right = tf.argmax(logits, -1) == tf.argmax(targets, -1)
        # That of a learned table comes as slices, which can't be added up.
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(goal, self.trained)]
        return gradients, total, tf.reduce_sum(tf.cast(right, tf.float32))

    def _forward(self, inputs: Any) -> Any:
        x = self._prepare(inputs)
        features = x if self._body is None else self._body(x, training=False)
        return self._head(features, training=False)


def normalizer(contract: Contract) -> Callable[[Any], Any]:
    """Pictures uint8[N, h, w, 3] RGB -> float32 as the contract says; part of the graph."""
    mean, std = np.array(contract.mean, np.float32), np.array(contract.std, np.float32)

    def normalize(pictures: Any) -> Any:
        x = tf.cast(pictures, tf.float32)
        if contract.colour_order == "BGR":
            x = x[..., ::-1]
        return (x - mean) / std

    return normalize


def frozen(model: keras.Model | None, normalize: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Pictures -> the output of a frozen model, or the normalized pictures where there is none."""
    if model is None:
        return normalize
    return lambda pictures: tf.stop_gradient(model(normalize(pictures), training=False))


def _batch_norms(model: keras.Model) -> list[Any]:
    return [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]


def _optimizer(recipe: Recipe, variables: Sequence[Any]) -> keras.optimizers.Optimizer:
    if recipe.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(recipe.rate, weight_decay=recipe.weight_decay)
    else:
        optimizer = keras.optimizers.SGD(
            recipe.rate, recipe.momentum, nesterov=True, weight_decay=recipe.weight_decay
        )
    # Biases, norms, and the tables of transformers (positions, class token) are left alone.
    kept = [v for v in variables if not v.path.endswith("kernel")]
    optimizer.exclude_from_weight_decay(var_list=kept)
    optimizer.build(variables)
    return optimizer


def _dealt(strategy: Any, values: Any) -> Any:
    """Gives each of this worker's replicas its equal part."""
    parts = np.array_split(values, len(strategy.extended.worker_devices))
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.convert_to_tensor(parts[context.replica_id_in_sync_group % len(parts)])
    )
