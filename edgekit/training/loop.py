"""The epochs of one phase: train, judge, keep the best, write down. Imports TensorFlow."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt

from edgekit.errors import RuntimeFailure
from edgekit.evaluation import metrics
from edgekit.training import checkpoint, schedule
from edgekit.training.checkpoint import Checkpoint, State
from edgekit.training.hooks import Hooks
from edgekit.training.inference import OUT_OF_MEMORY, too_little_memory
from edgekit.training.learner import Learner
from edgekit.types import EpochRow

#: The share of the time that checkpoints in the middle of an epoch may take, and the fewest seconds
#: between two of them.
_SAVE_SHARE, _SAVE_EVERY = 0.02, 5.0


class Source(Protocol):
    """Batches of a phase; an epoch is the same every time it is asked for."""

    @property
    def steps(self) -> int:
        """Batches in an epoch."""

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Any, Any, int]]:
        """(inputs, targets float32[B, classes], pictures in the whole batch), from `start` on."""


@dataclass(frozen=True)
class Phase:
    """What one phase is to do.

    Attributes:
        name: `feature extraction` or `fine-tuning`.
        learner: What learns.
        source: What from.
        judge: -> (logits float32[M, classes], truth int64[M]) of the validation set.
        epochs: How many.
        batch: Inputs in a step; it can't go through in more pieces.
        peak: Highest learning rate.
        warmup: Epochs of linear warm-up.
        patience: Stops after so many epochs without a better one; 0 for never.
        average: Decay of the moving average of the weights that is judged and kept; 0 for none.
    """

    name: str
    learner: Learner
    source: Source
    judge: Callable[[], tuple[metrics.Scores, metrics.Indices]]
    epochs: int
    batch: int
    peak: float
    warmup: float
    patience: int
    average: float = 0.0


class Clock:
    """How much time there is, and what it went into, over all runs of one training.

    Args:
        state: Where that is written down.
        budget: Seconds for all of it, or None.
        reserve: What is kept back for the outputs, in seconds; a tenth of the budget at most.
    """

    def __init__(self, state: State, budget: float | None, reserve: float = 10.0) -> None:
        self._state, self._budget = state, budget
        self._reserve = 0.0 if budget is None else min(reserve, budget / 10)
        self._stage: str | None = None
        self._noted = time.monotonic()

    def enter(self, stage: str | None) -> None:
        """Counts for another stage from here on, or for none."""
        self.note()
        self._stage = stage

    def note(self) -> None:
        """Writes into the state what was spent until now."""
        now = time.monotonic()
        if self._stage is not None:
            spent = now - self._noted
            self._state.seconds += spent
            self._state.stages[self._stage] = self._state.stages.get(self._stage, 0.0) + spent
        self._noted = now

    def left(self) -> float:
        """Seconds that training may still take."""
        if self._budget is None:
            return math.inf
        self.note()
        return self._budget - self._reserve - self._state.seconds


class Runner:
    """Runs phases, and can be killed at any moment.

    Args:
        state: Where the training is; changed as it goes on.
        keeper: Where that is written.
        clock: The time there is.
        chief: Whether this process writes; of several workers only one does.
        hooks: Who wants to know how it goes.
    """

    def __init__(
        self,
        state: State,
        keeper: Checkpoint,
        clock: Clock,
        chief: bool = True,
        hooks: Hooks | None = None,
    ) -> None:
        self.state, self._keeper, self._clock, self._chief = state, keeper, clock, chief
        self._hooks = hooks or Hooks()
        self._saved, self._cost = time.monotonic(), 0.0
        self._epoch_takes = math.inf

    def run(self, phase: Phase) -> None:
        """Runs a phase to its end, or goes on with it where it was.

        Raises:
            RuntimeFailure: The loss is no longer a number, or one picture alone is too much for
                the memory.
        """
        state = self.state
        average = _Average(phase.learner, phase.average)
        if state.phase == phase.name:
            self._restore(phase, average, self._keeper.load()[1])
        else:
            self._enter(phase)
            self.save(phase, average)
        while state.epoch < (state.planned or phase.epochs) and state.stopped is None:
            if self._is_late():
                break
            try:
                row = self._epoch(phase, average)
            except OUT_OF_MEMORY as error:
                self._go_back(phase, average, error)
                continue
            if row is None:
                break
            state.history.append(row)
            self._hooks.on_epoch(row)
            if self._is_best(row):
                self._keep(phase, average)
            state.epoch += 1
            state.step, state.loss, state.hits, state.count = 0, 0.0, 0.0, 0
            state.epoch_seconds = 0.0
            self._plan(phase)
            self._stop_early(phase)
            self.save(phase, average)
        if state.stopped is None and state.epoch < phase.epochs:
            state.stopped = (
                f"{state.epoch} of {phase.epochs} epochs of {phase.name} fit into the time budget"
            )

    def save(self, phase: Phase, average: _Average) -> None:
        """Writes down where we are."""
        began = time.monotonic()
        self._clock.note()
        if self._chief:
            self._keeper.save(self.state, _arrays(phase.learner, average))
        self._saved = time.monotonic()
        self._cost = self._saved - began

    def _is_due(self) -> bool:
        """Whether it is time for a checkpoint in the middle of an epoch."""
        return time.monotonic() - self._saved > max(_SAVE_EVERY, self._cost / _SAVE_SHARE)

    def _is_late(self) -> bool:
        """Whether the time is over. There is always time for one epoch: else all was in vain."""
        return self.state.best is not None and self._clock.left() <= 0

    def _enter(self, phase: Phase) -> None:
        state = self.state
        state.phase, state.epoch, state.step, state.planned = phase.name, 0, 0, None
        state.loss, state.hits, state.count, state.epoch_seconds = 0.0, 0.0, 0, 0.0
        state.stopped = None

    def _restore(self, phase: Phase, average: _Average, arrays: checkpoint.Arrays) -> None:
        phase.learner.pieces = self.state.pieces
        for name, variables in _groups(phase.learner, average).items():
            part = {k.partition("/")[2]: v for k, v in arrays.items() if k.startswith(f"{name}/")}
            checkpoint.assign(variables, part)

    def _go_back(self, phase: Phase, average: _Average, error: BaseException) -> None:
        """Goes on from the last checkpoint with each step in twice as many pieces.

        A step that ran out of memory may have changed some of the weights already.
        """
        state = self.state
        if state.pieces >= phase.batch or not self._chief:
            raise too_little_memory() from error
        state.pieces *= 2
        message = (
            f"Out of memory in {phase.name}: from here on a batch of {phase.batch} goes through in "
            f"{state.pieces} pieces. Its gradients are those of the whole batch."
        )
        state.warnings.append(message)
        self._hooks.say(message)
        earlier, arrays = self._keeper.load()
        state.step, state.loss, state.hits = earlier.step, earlier.loss, earlier.hits
        state.count, state.epoch_seconds = earlier.count, earlier.epoch_seconds
        self._restore(phase, average, arrays)

    def _epoch(self, phase: Phase, average: _Average) -> EpochRow | None:
        """One epoch, from where it stands; None where the time is over before its end."""
        state, steps = self.state, phase.source.steps
        began, earlier = time.monotonic(), state.epoch_seconds
        epochs = state.planned or phase.epochs
        rate, took, before = 0.0, [], began
        for inputs, targets, whole in phase.source.epoch(state.epoch, state.step):
            place = state.epoch * steps + state.step
            rate = schedule.rate(place, epochs * steps, phase.warmup * steps, phase.peak)
            outcome = phase.learner.train(inputs, targets, rate, whole)
            state.step += 1
            state.loss += outcome.loss
            state.hits += outcome.hits
            state.count += outcome.count
            if not math.isfinite(outcome.loss):
                raise self._diverged(phase, rate, "the loss is no longer a number")
            average.update()
            self._hooks.progress(phase.name, place + 1, epochs * steps)
            now = time.monotonic()
            state.epoch_seconds = earlier + now - began
            took.append(now - before)
            before = now
            if state.step < steps and self._is_late():
                return None
            if state.step < steps and self._is_due():
                self.save(phase, average)
        before = time.monotonic()
        with average.applied():
            logits, truth = phase.judge()
        if not np.isfinite(logits).all():
            raise self._diverged(phase, rate, "the model no longer gives numbers")
        if took:  # the median, since the first step also builds the graph
            self._epoch_takes = steps * statistics.median(took) + time.monotonic() - before
        return EpochRow(
            phase=phase.name,
            epoch=state.epoch + 1,
            seconds=earlier + time.monotonic() - began,
            learning_rate=rate,
            loss=state.loss / state.count,
            accuracy=state.hits / state.count,
            val_loss=metrics.negative_log_likelihood(metrics.softmax(logits), truth),
            val_accuracy=metrics.top_k_accuracy(logits, truth),
        )

    def _diverged(self, phase: Phase, rate: float, what: str) -> RuntimeFailure:
        state = self.state
        where = f"{phase.name}, epoch {state.epoch + 1}, step {state.step}: {what}."
        if state.epoch == 0 and state.step <= 1 and phase.source.steps > 1:
            return RuntimeFailure(
                f"{where} No weight was changed yet, so the weights it started from overflow.",
                "Give other weights with --weights, and --force to start anew.",
            )
        option = "feature-rate" if phase.name == "feature extraction" else "rate"
        return RuntimeFailure(
            f"{where} The learning rate ({rate:g}) is likely too high for this model and batch.",
            f"Train anew with a lower one: --{option} {phase.peak / 10:g} --force",
        )

    def _is_best(self, row: EpochRow) -> bool:
        state = self.state
        if state.best is None:
            return True
        best = state.history[state.best]
        return (row.val_accuracy, -row.val_loss) > (best.val_accuracy, -best.val_loss)

    def _keep(self, phase: Phase, average: _Average) -> None:
        best = len(self.state.history) - 1
        name = f"best-{best:05}.npz"
        if self._chief:
            with average.applied():
                arrays = checkpoint.values_of(phase.learner.variables)
            self._keeper.save_best(name, arrays)
        # Not before: Ctrl-C may come in between.
        self.state.best, self.state.best_file = best, name

    def _plan(self, phase: Phase) -> None:
        """Fits the number of epochs, and so the fall of the rate, to the time that is left."""
        left, state = self._clock.left(), self.state
        if math.isinf(left) or math.isinf(self._epoch_takes):
            return
        fitting = state.epoch + max(0, int(left / max(self._epoch_takes, 1e-3)))
        state.planned = fitting if fitting < phase.epochs else None
        if state.epoch == 1 and state.planned is not None:
            self._hooks.say(
                f"{phase.name}: about {fitting} of {phase.epochs} epochs fit into the time budget."
            )

    def _stop_early(self, phase: Phase) -> None:
        state = self.state
        mine = [i for i, row in enumerate(state.history) if row.phase == phase.name]
        if not phase.patience or state.epoch >= (state.planned or phase.epochs):
            return
        since = max((state.best if state.best is not None else -1) + 1, mine[0])
        if len(state.history) - since >= phase.patience:
            state.stopped = f"no better epoch in the last {phase.patience} of {phase.name}"


class _Average:
    """The moving average of what a learner trains: judged and kept instead of the weights."""

    def __init__(self, learner: Learner, decay: float) -> None:
        self._decay = decay
        self._variables = learner.trained if decay else []
        self.values = [keras.Variable(v.numpy(), trainable=False) for v in self._variables]
        self.count = keras.Variable(np.float32(0), trainable=False)

    def update(self) -> None:
        """After a step. The first steps count more, so that the start doesn't linger."""
        if not self._decay:
            return
        count = float(self.count.numpy()) + 1
        self.count.assign(count)
        decay = min(self._decay, count / (count + 9))
        for value, variable in zip(self.values, self._variables, strict=True):
            value.assign(decay * value + (1 - decay) * variable)

    def applied(self) -> _Applied:
        """A context in which the model has the averaged weights."""
        return _Applied(self._variables, self.values)


class _Applied:
    def __init__(self, variables: list[Any], values: list[Any]) -> None:
        self._variables, self._values = variables, values
        self._saved: list[npt.NDArray[np.generic]] = []

    def __enter__(self) -> None:
        self._saved = [v.numpy() for v in self._variables]
        for variable, value in zip(self._variables, self._values, strict=True):
            variable.assign(value)

    def __exit__(self, *_: object) -> None:
        for variable, value in zip(self._variables, self._saved, strict=True):
            variable.assign(value)


def _groups(learner: Learner, average: _Average) -> dict[str, list[Any]]:
    """Everything that a phase changes, by what it is."""
    return {
        "model": learner.variables,
        "optimizer": list(learner.optimizer.variables),
        "average": [*average.values, average.count],
    }


def _arrays(learner: Learner, average: _Average) -> dict[str, npt.NDArray[np.generic]]:
    return {
        f"{name}/{key}": value
        for name, variables in _groups(learner, average).items()
        for key, value in checkpoint.values_of(variables).items()
    }
