"""Quantization-aware training of a float .tflite graph. Imports TensorFlow.

`quantize -> twin -> train on labels and the float model's answers -> best epoch -> draft`. What
goes in and what comes out is a draft, so this stands beside the other rungs of the accuracy ladder.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgekit.contract import Contract
from edgekit.converters.qat import export, twin
from edgekit.converters.qat.distilling import Distiller
from edgekit.converters.qat.layers import Operation, RealValues
from edgekit.converters.qat.recipe import Recipe
from edgekit.converters.rungs.draft import Draft
from edgekit.datasets import Splits
from edgekit.errors import UsageError
from edgekit.evaluation import metrics
from edgekit.training import checkpoint, memory
from edgekit.training.checkpoint import Checkpoint, State
from edgekit.training.feeding import Loader, PictureStore, evaluation_batches
from edgekit.training.hooks import Hooks
from edgekit.training.inference import Inference
from edgekit.training.learner import normalizer
from edgekit.training.loop import Clock, Phase, Runner
from edgekit.training.sources import PictureSource, Shard, labels_of
from edgekit.training.train import open_pictures

#: The name of the one phase.
TRAINING = "quantization-aware training"


@dataclass(frozen=True, eq=False)
class Tuned:
    """What a training gave.

    Attributes:
        draft: The float graph with the trained weights, and the ranges of its activations.
        val_accuracy: Of the int8 model on the validation set, 0..1.
        before: The same before the training.
        float_val_accuracy: The same of the float model.
        epochs: How many ran.
        kept: The number of the epoch that was kept, from 1; 0 where none was better than the start.
        seconds: How long it took.
    """

    draft: Draft
    val_accuracy: float
    before: float
    float_val_accuracy: float
    epochs: int
    kept: int
    seconds: float


@dataclass(frozen=True)
class Task:
    """What is to be trained.

    Attributes:
        draft: Its `model` is trained in its `ranges`; what is learned from is its `base`. All of
            it is int8: `higher` is empty.
        contract: How pictures become its input.
        where: What it is called in errors.
    """

    draft: Draft
    contract: Contract
    where: str


def fine_tune(
    task: Task,
    splits: Splits,
    recipe: Recipe,
    hooks: Hooks | None = None,
    budget: float | None = None,
) -> Tuned:
    """Trains a graph to be as good in int8 as in float.

    Args:
        task: What is trained.
        splits: Labelled pictures; labels are positions in the model's output.
        recipe: How.
        hooks: Who wants to know how it goes.
        budget: Seconds that training may take, or None.

    Raises:
        UsageError: An op can't be trained, or the labels don't fit the outputs.
        NotMetError: An op would stay in float.
        RuntimeFailure: The loss is no number, or the memory doesn't suffice.
    """
    with tempfile.TemporaryDirectory(prefix="edgekit-qat-") as folder:
        keeper = Checkpoint(Path(folder) / "state")
        session = Session(task, splits, recipe, keeper, State({}), budget, hooks)
        session.run()
        return session.finish()


class Session:
    """One training under way; made, it is ready to run.

    Args:
        task: What is trained.
        splits: Labelled pictures.
        recipe: How.
        keeper: Where its state is kept.
        state: Where it is: a new one, or one read back.
        budget: Seconds for all of it, or None.
        hooks: Who wants to know how it goes.

    Raises:
        As `fine_tune`.
    """

    def __init__(
        self,
        task: Task,
        splits: Splits,
        recipe: Recipe,
        keeper: Checkpoint,
        state: State,
        budget: float | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        self.task, self.splits, self.recipe, self.state = task, splits, recipe, state
        self.keeper, self._hooks = keeper, hooks or Hooks()
        self._clock = Clock(state, budget)
        self._pictures = open_pictures(splits, task.contract)
        self._truth = labels_of(splits.val)
        self._hooks.progress("preparing", 0, 0)
        self._start = task.draft.roomy()
        quantized = self._start.quantized(task.contract)
        twin.require_trainable(self._start.model, quantized, task.where)
        self._student = twin.build(
            self._start.model,
            quantized,
            task.contract,
            task.where,
            learned_ranges=recipe.learned_ranges,
        )
        teacher = twin.build(task.draft.base, None, None, task.where)
        self._teacher = logits_of(teacher, task.where)
        classes = int(self._teacher.output.shape[-1])
        if len(splits.classes) != classes:
            raise UsageError(
                f"{splits.root}: {len(splits.classes)} classes, but {task.where} has "
                f"{classes} outputs",
                "Train on photos of the model's own classes.",
            )
        body = logits_of(self._student, task.where)
        self._normalize = normalizer(task.contract)
        self._learner = Distiller(self._normalize, body, self._teacher, recipe)
        if not state.phase:
            state.pieces = memory.pieces(task.where, body, recipe.batch)
        self._learner.pieces = state.pieces
        self._before = self._judge()

    @property
    def pictures(self) -> tuple[PictureStore, PictureStore]:
        """The decoded pictures of the training and of the validation set."""
        return self._pictures.train, self._pictures.val

    def run(self) -> None:
        """Trains to the end, or goes on from where the state is.

        Raises:
            RuntimeFailure: The loss is no number, or the memory doesn't suffice.
            KeyboardInterrupt: Ctrl-C; `finish` still works where an epoch was finished.
        """
        state, recipe, learning = self.state, self.recipe, self.recipe.learning()
        if state.done:
            return
        loader = Loader(
            self.splits.train,
            len(self.splits.classes),
            self.task.contract,
            self._pictures.train,
            recipe.augmentation,
            min(recipe.batch, len(self.splits.train)),
            recipe.seed,
            balance=recipe.balance == "sampling",
        )
        source = _Steps(PictureSource(loader, 0, Shard()), recipe)
        runner = Runner(state, self.keeper, self._clock, hooks=self._hooks)
        phase = Phase(
            TRAINING,
            self._learner,
            source,
            lambda: (self._judge(), self._truth),
            source.epochs,
            recipe.batch,
            recipe.rate,
            learning.warmup,
            recipe.patience,
            recipe.average,
        )
        self._clock.enter(TRAINING)
        try:
            runner.run(phase)
        finally:
            self._clock.enter(None)
        state.done = True
        self.keeper.save(state, {})

    def finish(self) -> Tuned:
        """The best epoch, or the start where no epoch was better."""
        state, task = self.state, self.task
        self._hooks.progress("judging", 0, 0)
        kept, draft = 0, self._start
        best = None if state.best is None else state.history[state.best]
        if best is not None and (best.val_accuracy, -best.val_loss) > self._quality(self._before):
            assert state.best_file is not None
            arrays = self.keeper.load_arrays(state.best_file)
            checkpoint.assign(self._learner.variables, arrays)
            exported = export.export(self._student)
            kept = best.epoch
            draft = replace(draft, model=exported.model, ranges=exported.ranges)
        # What the kept model rounds to is read from the int8 file again.
        draft = draft.roomy()
        quantized = draft.quantized(task.contract)
        self.model = twin.build(draft.model, quantized, task.contract, task.where)
        scores = self._scores(logits_of(self.model, task.where))
        taught = self._scores(self._teacher)
        return Tuned(
            draft,
            metrics.top_k_accuracy(scores, self._truth),
            metrics.top_k_accuracy(self._before, self._truth),
            metrics.top_k_accuracy(taught, self._truth),
            len(state.history),
            kept,
            state.seconds,
        )

    def scores_of(self, examples: Any, store: PictureStore) -> metrics.Scores:
        """What the trained model says of pictures: the real values of its int8 logits."""
        infer = Inference(self._forward(logits_of(self.model, self.task.where)))
        return self._over(examples, store, infer)

    def _judge(self) -> metrics.Scores:
        return self._over(self.splits.val, self._pictures.val, self._learner.predict)

    def _scores(self, model: keras.Model) -> metrics.Scores:
        infer = Inference(self._forward(model), self.state.pieces)
        return self._over(self.splits.val, self._pictures.val, infer)

    def _forward(self, model: keras.Model) -> Any:
        return lambda pictures: model(self._normalize(pictures), training=False)

    def _over(self, examples: Any, store: PictureStore, infer: Any) -> metrics.Scores:
        """A function of the pictures, batch by batch: float32[M, classes]."""
        batches = evaluation_batches(
            examples, self.task.contract, self.recipe.batch, store, len(self.splits.classes)
        )
        return np.concatenate([infer(batch.pictures) for batch in batches])

    def _quality(self, scores: metrics.Scores) -> tuple[float, float]:
        loss = metrics.negative_log_likelihood(metrics.softmax(scores), self._truth)
        return metrics.top_k_accuracy(scores, self._truth), -loss


def logits_of(model: keras.Model, where: str) -> keras.Model:
    """The same model without a softmax at its end, which has nothing to train.

    Raises:
        UsageError: It ends in another function that makes probabilities.
    """
    tensor = model.output
    while not isinstance(tensor._keras_history.operation, Operation):
        tensor = _source(tensor)
    last = tensor._keras_history.operation
    if last.op == "LOGISTIC":
        raise UsageError(
            f"{where}: its outputs are independent probabilities (a sigmoid), and this training "
            "is for models that choose one class",
            "Give the model a softmax or logits as its last layer.",
        )
    if last.op != "SOFTMAX":
        return model
    logits = _source(tensor)
    if last.scales is not None:
        logits = RealValues(last.scales[0], name="logits.real")(logits)
    return keras.Model(model.input, logits)


def _source(tensor: Any) -> Any:
    """What the layer of a Keras tensor was called with."""
    layer, node, _ = tensor._keras_history
    return layer._inbound_nodes[node].input_tensors[0]


class _Steps:
    """A source of as many steps as the recipe asks for: whole epochs, or equal parts of them."""

    def __init__(self, source: PictureSource, recipe: Recipe) -> None:
        self._source = source
        self.epochs, self.steps = recipe.epochs, source.steps
        if recipe.steps is not None:
            self.epochs = math.ceil(recipe.steps / source.steps)
            self.steps = math.ceil(recipe.steps / self.epochs)

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Any, Any, int]]:
        """As `PictureSource.epoch`."""
        return itertools.islice(self._source.epoch(number, start), self.steps - start)
