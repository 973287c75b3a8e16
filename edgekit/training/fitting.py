"""Fine-tuning itself: a model of the zoo and a checked data set in, trained weights out.

`load -> new classifier -> feature extraction -> fine-tuning -> the best weights`. Writes nothing
but checkpoints and caches. Imports TensorFlow.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from edgekit.contract import Contract
from edgekit.datasets import Example, Splits
from edgekit.errors import RuntimeFailure
from edgekit.evaluation import metrics
from edgekit.training import checkpoint, classifier, features, freezing, memory
from edgekit.training.checkpoint import Checkpoint, State
from edgekit.training.distribution import Cluster
from edgekit.training.feeding import Loader, PictureStore, evaluation_batches
from edgekit.training.hooks import Hooks
from edgekit.training.inference import Inference
from edgekit.training.learner import Learner, frozen, normalizer
from edgekit.training.loop import Clock, Phase, Runner
from edgekit.training.recipe import Recipe
from edgekit.training.sources import FeatureSource, PictureSource, class_weights, labels_of
from edgekit.training.zoo.assembly import Assembled

EXTRACTION, FINE_TUNING = "feature extraction", "fine-tuning"
#: What the frozen part makes of the validation set is kept in memory up to so many bytes.
_KEPT_BYTES = 2**30
#: Seconds between two notes of the time that computing features took.
_NOTE_EVERY = 10.0


@dataclass(frozen=True)
class Pictures:
    """A checked data set and its decoded pictures.

    Attributes:
        splits: What is learned from and judged by.
        train: The pictures of `splits.train`.
        val: Those of `splits.val`.
    """

    splits: Splits
    train: PictureStore
    val: PictureStore


@dataclass(eq=False)
class Fit:
    """One training under way.

    Args:
        assembled: A model of the zoo with its weights; its classifier is replaced.
        pictures: What it learns from.
        recipe: How.
        keeper: Where its state is kept.
        state: Where it is: a new one, or one read back.
        budget: Seconds for all of it, or None.
        cluster: The machines it runs on.
        hooks: Who wants to know what.
    """

    assembled: Assembled
    pictures: Pictures
    recipe: Recipe
    keeper: Checkpoint
    state: State
    budget: float | None = None
    cluster: Cluster = field(default_factory=Cluster)
    hooks: Hooks = field(default_factory=Hooks)

    def __post_init__(self) -> None:
        splits = self.pictures.splits
        self.classes = len(splits.classes)
        self._clock = Clock(self.state, self.budget)
        source = self.assembled.model
        self._old_classifier = (
            None if classifier.NAME in self.assembled.random else source.layers[-1].get_weights()
        )
        rate = _dropout_of(source) if self.recipe.dropout is None else self.recipe.dropout
        self.model = classifier.replace(source, self.classes, rate, self.recipe.seed)
        self._head = classifier.head(self.model)
        self._parts = freezing.split(self.model, self.recipe.unfreeze)
        self.contract: Contract = self.assembled.contract
        self._labels = labels_of(splits.train)
        self._batch = self.cluster.batch(self.recipe.batch, len(splits.train))
        self._runner = Runner(
            self.state,
            self.keeper,
            self._clock,
            self.cluster.is_chief,
            self.hooks,
        )

    def run(self) -> None:
        """Trains to the end, or goes on from where the state is. Leaves the last weights.

        Raises:
            EdgekitError: The loss is no number, the model is too large, a picture can't be read.
            KeyboardInterrupt: Ctrl-C; `best` still works where an epoch was finished.
        """
        state, recipe, body = self.state, self.recipe, self._parts.body
        # The estimate comes first: who waits an hour to hear that the memory is too small?
        if recipe.epochs and body is not None and not state.done:
            share = -(-recipe.batch // self.cluster.shard.count)
            self._pieces = memory.pieces(self.model.name, body, share)
            self.cluster.require_whole_steps(share, self._pieces)
        # What fine-tuning changes, as it is now: feature extraction may turn out better.
        self._original = checkpoint.values_of(body.variables if recipe.epochs and body else [])
        if state.done:
            return
        self._require_numbers()
        if state.phase == "":
            self._save()
        try:
            if recipe.feature_epochs and state.phase in ("", EXTRACTION):
                self._extract()
                self.cluster.wait()  # the chief may still write what the others read
            if recipe.epochs:
                self._fine_tune()
        finally:
            self._clock.enter(None)
        state.done = True
        self._save()
        self.cluster.wait()  # likewise, the best weights

    def restore_best(self) -> None:
        """Gives the model the weights of the best epoch.

        Raises:
            UnreadableError: They can't be read back.
        """
        state, body = self.state, self._parts.body
        assert state.best is not None and state.best_file is not None
        arrays, models = self.keeper.load_arrays(state.best_file), [self._head]
        if state.history[state.best].phase == FINE_TUNING and body is not None:
            models = [body, self._head]
        elif self._original and body is not None:
            checkpoint.assign(body.variables, self._original)
        checkpoint.assign([v for model in models for v in model.variables], arrays)

    def logits(self, examples: tuple[Example, ...], store: PictureStore) -> metrics.Scores:
        """What the model says of some pictures as the contract prepares them: float32[M, K]."""
        normalize = normalizer(self.contract)
        infer = Inference(
            lambda pictures: self.model(normalize(pictures), training=False), self.state.pieces
        )
        return self._over(examples, store, infer)

    def _extract(self) -> None:
        recipe, splits = self.recipe, self.pictures.splits
        self._clock.enter("features")
        found = features.extract(
            self._parts.features,
            self.contract,
            splits,
            (self.pictures.train, self.pictures.val),
            recipe,
            self._extracting,
        )
        start = None
        dense = self._head.layers[-1]
        if self._old_classifier is not None:
            kernel, bias = self._old_classifier
            start, bias = classifier.start(kernel, bias, found.train[0], self._labels, self.classes)
            if self.state.phase == "":
                dense.set_weights([start, bias])
        learner = Learner(lambda x: x, None, self._head, recipe, self._class_weights(), start)
        truth = labels_of(splits.val)
        source = FeatureSource(
            found.train,
            self._labels,
            self.classes,
            self._batch,
            recipe.seed,
            recipe.balance == "sampling",
            self.cluster.shard,
            drop_last=self.cluster.replicas > 1,
        )
        phase = Phase(
            EXTRACTION,
            learner,
            source,
            lambda: (self.cluster.agreed(learner.predict(found.val)), truth),
            recipe.feature_epochs,
            self._batch,
            recipe.feature_rate,
            min(recipe.warmup, 1.0),
            patience=0,
        )
        self._clock.enter(EXTRACTION)
        self._runner.run(phase)
        self._say_extracted()

    def _say_extracted(self) -> None:
        history, best = self.state.history, self.state.best
        if best is not None:
            self.hooks.say(
                f"{EXTRACTION}: {len(history)} epochs, the best is epoch {history[best].epoch} "
                f"with val accuracy {100 * history[best].val_accuracy:.2f} %, "
                f"{self.state.stages[EXTRACTION]:.1f} s"
            )

    def _fine_tune(self) -> None:
        recipe, splits, state, parts = self.recipe, self.pictures.splits, self.state, self._parts
        self._clock.enter(FINE_TUNING)
        if state.phase == EXTRACTION and state.best_file is not None:
            # Go on from the best classifier, not from the last.
            checkpoint.assign(self._head.variables, self.keeper.load_arrays(state.best_file))
        if state.phase != FINE_TUNING:
            state.pieces = self._pieces
        learner = Learner(
            frozen(parts.trunk, normalizer(self.contract)),
            parts.body,
            self._head,
            recipe,
            self._class_weights(),
        )
        learner.pieces = state.pieces
        loader = Loader(
            splits.train,
            self.classes,
            self.contract,
            self.pictures.train,
            recipe.augmentation,
            self._batch,
            recipe.seed,
            balance=recipe.balance == "sampling",
            drop_last=self.cluster.replicas > 1,
        )
        phase = Phase(
            FINE_TUNING,
            learner,
            PictureSource(loader, recipe.views, self.cluster.shard),
            self._judge_of(learner),
            recipe.epochs,
            self._batch,
            recipe.rate,
            recipe.warmup,
            recipe.patience,
            recipe.average,
        )
        self._runner.run(phase)

    def _judge_of(self, learner: Learner) -> Callable[[], tuple[metrics.Scores, metrics.Indices]]:
        """How an epoch of fine-tuning is judged.

        Where a part of the model is frozen, what it makes of the validation set is computed once.
        """
        val, store = self.pictures.splits.val, self.pictures.val
        trunk, body = self._parts.trunk, self._parts.body
        truth = labels_of(val)
        if trunk is None or body is None or _output_bytes(trunk) * len(val) > _KEPT_BYTES:
            return lambda: (self.cluster.agreed(self._over(val, store, learner.predict)), truth)
        infer = Inference(
            lambda x: self._head(body(x, training=False), training=False), self.state.pieces
        )
        prepare = Inference(frozen(trunk, normalizer(self.contract)), self.state.pieces)
        kept: list[metrics.Scores] = []

        def judge() -> tuple[metrics.Scores, metrics.Indices]:
            if not kept:
                kept.append(self._over(val, store, prepare))
            size = self.recipe.batch
            parts = [kept[0][i : i + size] for i in range(0, len(val), size)]
            return self.cluster.agreed(np.concatenate([infer(part) for part in parts])), truth

        return judge

    def _over(
        self,
        examples: tuple[Example, ...],
        store: PictureStore,
        infer: Callable[[Any], metrics.Scores],
    ) -> metrics.Scores:
        """A function of the pictures, batch by batch: float32[M, ...]."""
        batches = evaluation_batches(
            examples, self.contract, self.recipe.batch, store, self.classes
        )
        return np.concatenate([infer(batch.pictures) for batch in batches])

    def _extracting(self, done: int, total: int) -> None:
        """Shows how far features are, and now and then writes down the time they take."""
        self.hooks.progress("features", done, total)
        if self.state.phase == "" and time.monotonic() - self._saved > _NOTE_EVERY:
            self._save()

    def _save(self) -> None:
        """Writes down where we are while no phase runs."""
        self._clock.note()
        if self.cluster.is_chief:
            self.keeper.save(self.state, {})
        self._saved = time.monotonic()

    def _require_numbers(self) -> None:
        """Checks the weights that training starts from.

        Raises:
            RuntimeFailure: Some are infinite or not numbers.
        """
        for layer in self.assembled.model.layers:
            if not all(np.isfinite(weight.numpy()).all() for weight in layer.weights):
                raise RuntimeFailure(
                    f"{self.model.name}: the weights it starts from are damaged: the layer "
                    f"{layer.name} holds values that are not numbers",
                    "Give sound weights with --weights.",
                )

    def _class_weights(self) -> Any:
        if self.recipe.balance != "weights":
            return None
        return class_weights(self._labels, self.classes)


def new_state(request: dict[str, Any]) -> State:
    """The state of a training that has not begun."""
    return State(request)


def _output_bytes(model: keras.Model) -> float:
    """Of what a model makes of one picture, in float32."""
    return 4.0 * float(np.prod(model.output.shape[1:]))


def _dropout_of(model: keras.Model) -> float:
    """The rate before a model's own classifier."""
    layer = model.layers[-2]
    return float(layer.rate) if isinstance(layer, keras.layers.Dropout) else 0.0
