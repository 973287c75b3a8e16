"""The search itself: one trial after another, until there is no time or nothing left to try.

Imports Optuna and TensorFlow.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
import tensorflow as tf
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from edgekit.errors import RuntimeFailure
from edgekit.quiet import debugging
from edgekit.report import words
from edgekit.training.fitting import FINE_TUNING
from edgekit.training.hooks import Hooks
from edgekit.training.tuning import result, sampling, storage
from edgekit.training.tuning.importance import importances
from edgekit.training.tuning.result import Trial
from edgekit.training.tuning.space import DEFAULT, MODEL, Space
from edgekit.training.tuning.trials import Trainer, value
from edgekit.types import EpochRow

#: If the first so many trials fail, the others would too.
_HOPELESS = 5
_STATES = {
    TrialState.COMPLETE: result.COMPLETE,
    TrialState.PRUNED: result.PRUNED,
    TrialState.RUNNING: result.RUNNING,
}
_DONE = (result.COMPLETE, result.PRUNED, result.FAILED)


class _TimeOver(Exception):
    """The time budget ended in the middle of a trial."""


@dataclass(frozen=True)
class Outcome:
    """What a search found; see `result.Tuning`."""

    trials: tuple[Trial, ...]
    best: Trial | None
    default: Trial | None
    importances: Mapping[str, float] | None
    stopped: str
    interrupted: bool


class Search:
    """A search in one study.

    Args:
        database: Where the study is kept.
        study: Its name.
        facts: What must be the same for all its trials.
        trainer: Trains.
        space: What is searched.
        images: Pictures of the validation set.
        limit: Trials in all, or None.
        deadline: On the monotonic clock, or None.
        hooks: Who wants to know how it goes.
    """

    def __init__(
        self,
        *,
        database: RDBStorage,
        study: str,
        facts: Mapping[str, Any],
        trainer: Trainer,
        space: Space,
        images: int,
        limit: int | None,
        deadline: float | None,
        hooks: Hooks,
    ) -> None:
        self.name, self.space = study, space
        self._trainer, self._images = trainer, images
        self._limit, self._deadline, self._hooks = limit, deadline, hooks
        self._running: int | None = None
        with _quiet():
            self._study = storage.open_study(
                database,
                study,
                facts,
                space.queue(),
                sampling.SeededTPE(space.base.seed),
                sampling.pruner(space.base.epochs),
            )

    def run(self) -> Outcome:
        """Searches until it is over.

        Raises:
            RuntimeFailure: No trial is complete, and none can be expected; or the database failed.
        """
        interrupted = False
        try:
            with _quiet():
                stopped = self._search()
        except KeyboardInterrupt:
            interrupted, stopped = True, "interrupted; the same command goes on"
        except optuna.exceptions.StorageInternalError as error:
            raise RuntimeFailure(
                f"the database of the study {self.name!r} failed ({error.__cause__ or error})",
                "What it holds is kept: mend it, and the same command goes on.",
            ) from error
        with _quiet():
            outcome = self._outcome(stopped, interrupted)
        if outcome.best is None and not interrupted:
            raise self._nothing(outcome)
        return outcome

    def _search(self) -> str:
        """One trial after another; why it ended."""
        while True:
            stopped = self._over()
            if stopped is not None:
                return stopped
            try:
                # Collecting garbage after a trial frees its model: it hangs together in circles.
                self._study.optimize(
                    self._try, n_trials=1, catch=(RuntimeFailure, _TimeOver), gc_after_trial=True
                )
            except optuna.exceptions.UpdateFinishedTrialError:
                self._hooks.say(
                    f"Trial {self._running} was given up by another process, which saw no sign of "
                    "life of it; its result is dropped."
                )
            finally:
                self._tidy()

    def _over(self) -> str | None:
        """Why the search is over, or None where it goes on."""
        trials = self._trials()
        left = self._left()
        if left <= 0:
            return "the time budget is spent"
        done = [trial for trial in trials if trial.state in _DONE]
        if len(done) >= _HOPELESS and all(trial.state == result.FAILED for trial in done):
            return "all trials failed"
        if self._limit is not None and self._taken(trials) >= self._limit:
            # Some may only seem to run: their process was killed.
            storage.recover(self._study, self._pause)
            if self._taken(self._trials()) >= self._limit:
                return f"all of --trials {self._limit}"
        times = [t.seconds for t in done if t.state == result.COMPLETE and t.seconds is not None]
        if times and min(times) > left:
            return f"no further trial fits into the {words.duration(left)} that are left"
        return None

    @staticmethod
    def _taken(trials: tuple[Trial, ...]) -> int:
        return sum(trial.state in (*_DONE, result.RUNNING) for trial in trials)

    def _left(self) -> float:
        return float("inf") if self._deadline is None else self._deadline - time.monotonic()

    def _pause(self, seconds: float) -> bool:
        time.sleep(max(0.0, min(seconds, self._left())))
        return self._left() > 0

    def _try(self, trial: optuna.Trial) -> float:
        """One trial: what it reached."""
        self._running = trial.number
        settings = sampling.settings(trial, self.space)
        model = str(settings.get(MODEL, self.space.models[0]))
        recipe = self.space.recipe(settings)
        trial.set_user_attr("model", model)
        trial.set_user_attr("recipe", recipe.to_dict())
        self._hooks.say(f"{_title(trial)}: {self._differences(settings)}")
        watch = _Watch(trial, self._images, self._left, self._hooks)
        began, cut = time.monotonic(), True
        try:
            outcome = self._trainer.train(model, recipe, watch.hooks)
            watch.best, cut = (outcome.accuracy, outcome.val_loss), False
        except optuna.TrialPruned:
            cut = False
            raise
        except RuntimeFailure as error:
            trial.set_user_attr(storage.ERROR, error.message)
            cut = False
            raise
        finally:
            trial.set_user_attr(storage.CUT, cut)
            trial.set_user_attr("seconds", time.monotonic() - began)
            trial.set_user_attr("epochs", watch.epochs)
            if watch.best is not None:
                trial.set_user_attr("accuracy", watch.best[0])
                trial.set_user_attr("val_loss", watch.best[1])
        return value(*watch.best, self._images)

    def _tidy(self) -> None:
        """After a trial: says how it ended, and puts one that was cut back in the queue."""
        number, self._running = self._running, None
        if number is None:
            return
        frozen = self._study.get_trials(deepcopy=False)[number]
        trial = _read(frozen, self.space)
        if frozen.state is TrialState.FAIL and frozen.user_attrs.get(storage.CUT):
            storage.requeue(self._study, frozen)
        self._hooks.say(self._ended(trial))

    def _ended(self, trial: Trial) -> str:
        """A line about a trial that is over."""
        title = trial.title.capitalize()
        if trial.state == result.FAILED:
            return f"{title} failed: {trial.error}"
        reached = "" if trial.accuracy is None else f"{100 * trial.accuracy:.2f} %, "
        ended = trial.state != result.COMPLETE and trial.epochs
        after = f" after epoch {trial.epochs}" if ended else ""
        seconds = "" if trial.seconds is None else f", {words.duration(trial.seconds)}"
        best = _best(self._trials())
        so_far = ""
        if best is not None and best.accuracy is not None:
            so_far = f"; best {100 * best.accuracy:.2f} % ({best.title})"
        return f"{title}: {reached}{trial.state}{after}{seconds}{so_far}"

    def _differences(self, settings: Mapping[str, Any]) -> str:
        start = self.space.start()
        changed = [f"{k} {_short(v)}" for k, v in settings.items() if v != start[k]]
        return ", ".join(changed) or "the default recipe"

    def _trials(self) -> tuple[Trial, ...]:
        return tuple(
            _read(trial, self.space)
            for trial in self._study.get_trials(deepcopy=False)
            if trial.state is not TrialState.WAITING
        )

    def _outcome(self, stopped: str, interrupted: bool) -> Outcome:
        trials = self._trials()
        complete = [trial for trial in trials if trial.state == result.COMPLETE]
        return Outcome(
            trials,
            _best(trials),
            next((trial for trial in complete if trial.name == DEFAULT), None),
            importances(self._study.get_trials(deepcopy=False), sampling.distributions(self.space)),
            stopped,
            interrupted,
        )

    def _nothing(self, outcome: Outcome) -> RuntimeFailure:
        failed = [trial for trial in outcome.trials if trial.state == result.FAILED]
        if failed:
            return RuntimeFailure(
                f"no trial was finished: {words.plural(len(failed), 'trial')} failed, the first "
                f"with: {failed[0].error}",
                "Try the same data with edgekit train first.",
            )
        return RuntimeFailure(
            f"no trial was finished: {outcome.stopped}",
            "The same command goes on; give more --time-budget, or fewer --epochs.",
        )


class _Watch:
    """Looks at a training that runs: reports its epochs, and ends it in time."""

    def __init__(self, trial: optuna.Trial, images: int, left: Any, hooks: Hooks) -> None:
        self._trial, self._images, self._left, self._outer = trial, images, left, hooks
        #: (accuracy, loss) of the best epoch.
        self.best: tuple[float, float] | None = None
        #: Epochs of fine-tuning that are done.
        self.epochs = 0
        self.hooks = Hooks(self._progress, self._on_epoch, hooks.say)

    def _progress(self, stage: str, done: int, total: int) -> None:
        if self._left() <= 0:
            raise _TimeOver
        self._outer.progress(f"{_title(self._trial)}: {stage}", done, total)

    def _on_epoch(self, row: EpochRow) -> None:
        reached = (row.val_accuracy, row.val_loss)
        if self.best is None or _rank(reached) > _rank(self.best):
            self.best = reached
        self._outer.on_epoch(row)
        if row.phase != FINE_TUNING:
            return
        self.epochs = row.epoch
        self._trial.report(value(*self.best, self._images), row.epoch)
        if self._trial.should_prune():
            raise optuna.TrialPruned


def _rank(reached: tuple[float, float]) -> tuple[float, float]:
    return reached[0], -reached[1]


def _title(trial: optuna.Trial) -> str:
    name = trial.user_attrs.get(storage.NAME)
    return f"Trial {trial.number}" + (f" ({name})" if name else "")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _best(trials: tuple[Trial, ...]) -> Trial | None:
    complete = [t for t in trials if t.state == result.COMPLETE]
    if not complete:
        return None
    return max(complete, key=lambda t: _rank((t.accuracy or 0.0, t.val_loss or 0.0)))


def _read(trial: FrozenTrial, space: Space) -> Trial:
    """A trial as the study holds it."""
    notes = trial.user_attrs
    error, state = notes.get(storage.ERROR), _STATES.get(trial.state, result.CUT)
    if trial.state is TrialState.FAIL:
        if error is None and notes.get(storage.RETRIES, 0) >= storage.RETRIES_MAX:
            error = "its process was killed, each time it was begun"
        if error is None and not notes.get(storage.CUT) and "accuracy" in notes:
            error = "the loss is not a number"
        state = result.CUT if error is None else result.FAILED
    return Trial(
        number=trial.number,
        name=notes.get(storage.NAME),
        state=state,
        settings={**space.start(), **trial.params},
        model=notes.get("model", space.models[0]),
        recipe=notes.get("recipe"),
        accuracy=notes.get("accuracy"),
        val_loss=notes.get("val_loss"),
        epochs=notes.get("epochs", 0),
        seconds=notes.get("seconds"),
        error=error,
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what Optuna and TensorFlow log off the terminal, unless it was asked for."""
    if debugging():
        yield
        return
    # TensorFlow warns of functions that are traced anew, and each trial is a new model.
    logger = tf.get_logger()
    before = logger.level
    logger.setLevel("ERROR")
    try:
        with storage.quiet_optuna():
            yield
    finally:
        logger.setLevel(before)
