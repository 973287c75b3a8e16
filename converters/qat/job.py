"""`edgekit qat`: from a trained model and photos to a quantization-aware model.

`check -> open the data -> read the model -> calibrate -> train -> judge -> write`. TensorFlow is
imported once the data and the model are known to be sound.
"""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit import datasets, images, quiet
from edgekit.converters import calibrate, lowering, quantize, reading
from edgekit.converters.options import Options
from edgekit.converters.qat import labels, recognizing
from edgekit.converters.qat.recipe import Recipe
from edgekit.converters.qat.result import Result
from edgekit.converters.rungs import draft
from edgekit.converters.rungs.draft import Material
from edgekit.errors import EdgekitError, RuntimeFailure, UsageError
from edgekit.files import sha256
from edgekit.overrides import Overrides
from edgekit.report.facts import CardFacts, ModelFacts
from edgekit.training import accounts, cache, heap, keras_file, output, starting
from edgekit.training.checkpoint import Checkpoint, State
from edgekit.training.feeding import PictureStore
from edgekit.training.hooks import Hooks
from edgekit.types import Accuracy

if TYPE_CHECKING:
    from edgekit.converters.qat.training import Session, Tuned

_READING, _CALIBRATING, _JUDGING = "reading", "calibrating", "judging"
_PACKAGES = ("tensorflow", "keras", "litert-quantizer", "ai-edge-litert", "numpy")


@dataclass(frozen=True)
class Job:
    """What is to be trained, on what, and where the result goes.

    Attributes:
        source: A `.keras`, `.h5`, SavedModel folder or float32 `.tflite`.
        data: A folder of labelled photos, as for `edgekit train`.
        output: The `.keras` file to write.
        labels_csv: Path, label and perhaps split of each picture.
        val_share: Share of the pictures that are judged by, where the data has no split.
        budget: Seconds for all of it, or None.
        overrides: What is known of the model's preprocessing.
        resume: Go on with a training that was stopped.
        force: Replace existing outputs, and a state that is kept.
    """

    source: Path
    data: Path
    output: Path
    labels_csv: Path | None = None
    val_share: float = 0.2
    budget: float | None = None
    overrides: Overrides = dataclasses.field(default_factory=Overrides)
    resume: bool = False
    force: bool = False


def quantization_aware_train(job: Job, recipe: Recipe, hooks: Hooks | None = None) -> Result:
    """Trains a model to be as good in int8 as in float.

    Args:
        job: What, on what, and where to.
        recipe: How.
        hooks: Who wants to know how it goes.

    Returns:
        What came out; the files are written.

    Raises:
        UsageError: An option that doesn't fit, an existing output, labels that are not the
            model's, a layer that can't be trained, a model that was trained so already.
        UnreadableError: A model or data that can't be used.
        MissingError: TensorFlow, matplotlib or litert-quantizer is not installed.
        NotMetError: A layer would stay in float.
        RuntimeFailure: The loss is no number, the memory or the disk doesn't suffice. The best so
            far is written where there is one.
        KeyboardInterrupt: Ctrl-C before the first epoch was finished.
    """
    began, told = time.monotonic(), hooks or Hooks()
    keeper = Checkpoint(output.work_folder_of(job.output))
    _check(job, keeper)
    splits = datasets.open_splits(
        job.data,
        labels_csv=job.labels_csv,
        val_share=job.val_share,
        seed=recipe.seed,
        progress=lambda done, total: told.progress("checking pictures", done, total),
    )
    request = {
        starting.MODEL: sha256(job.source),
        starting.DATA: splits.digest,
        **recipe.to_dict(),
    }
    state = _state(request, job, keeper)
    exported = reading.export_float(job.source, job.overrides, told.progress)
    splits = labels.in_order_of(exported.contract.labels, exported.classes, splits, str(job.source))
    contract = dataclasses.replace(exported.contract, labels=splits.classes)
    read = time.monotonic()
    options, where = Options(), str(job.source)
    model = lowering.lower(exported.model, where)
    heap.keep_freed_memory()
    with quiet.native_stderr():  # importing TensorFlow logs a page
        from edgekit.converters.qat.training import Session, Task
    kept = accounts.calibration_pictures(PictureStore(cache.pictures(), splits.train, contract))
    pictures = np.stack([picture for _, picture in kept])
    calibrated = calibrate.calibrate(
        model, pictures, contract, lambda done, total: told.progress(_CALIBRATING, done, total)
    )
    begun = draft.plain(
        model, calibrated, Material(pictures, calibrated.scores, contract, where), options
    )
    session = Session(Task(begun, contract, where), splits, recipe, keeper, state, job.budget, told)
    now = time.monotonic()
    for stage, spent in ((_READING, read - began), (_CALIBRATING, now - read)):
        state.stages[stage] = state.stages.get(stage, 0.0) + spent
        state.seconds += spent
    return _finish(job, session, kept, told)


def _check(job: Job, keeper: Checkpoint) -> None:
    """All that can be said before any work is done."""
    starting.require_packages()
    quantize.require()
    starting.require_budget(job.budget)
    if recognizing.is_quantization_aware(job.source):
        raise UsageError(
            f"{job.source}: was trained quantization-aware already",
            f"Convert it: edgekit convert --int8 {shlex.quote(str(job.source))}. To train anew, "
            "begin with the float model that it was made from.",
        )
    starting.require_place(
        job.output, keeper, resume=job.resume, force=job.force, source=job.source
    )


def _state(request: dict[str, Any], job: Job, keeper: Checkpoint) -> State:
    """A new state, or the one that is kept.

    Raises:
        UsageError: That was started with other settings.
    """
    if not (job.resume and keeper.exists()):
        keeper.remove()
        return State(request)
    state, _ = keeper.load()
    starting.require_same(request, state, keeper.folder)
    return state


def _finish(
    job: Job, session: Session, kept: tuple[tuple[int, images.Picture], ...], hooks: Hooks
) -> Result:
    """Trains, and writes the best there is, however it ended."""
    state, failure, interrupted = session.state, None, False
    try:
        session.run()
    except KeyboardInterrupt:
        if state.best is None:
            raise
        interrupted, state.stopped = True, "interrupted"
    except RuntimeFailure as error:
        if state.best is None:
            raise
        failure, state.stopped = error, error.message
    result = _judged(job, session, kept, hooks, interrupted)
    _raise_if_failed(failure, job)
    if not interrupted:
        session.keeper.remove()
    return result


def _raise_if_failed(failure: EdgekitError | None, job: Job) -> None:
    if failure is not None:
        raise RuntimeFailure(
            f"{failure.message.rstrip('.')}. The best so far is in {job.output}", failure.hint
        )


def _judged(
    job: Job,
    session: Session,
    kept: tuple[tuple[int, images.Picture], ...],
    hooks: Hooks,
    interrupted: bool,
) -> Result:
    splits, contract = session.splits, session.task.contract
    began = time.monotonic()
    tuned = session.finish()
    _, store = session.pictures
    guesses, results = accounts.results(session.scores_of, splits, store, contract)
    session.state.stages[_JUDGING] = time.monotonic() - began
    facts = _facts(job, session, tuned, results)
    metrics = {
        "schema": "edgekit.qat/1",
        "model": str(job.source),
        "float_val_accuracy": tuned.float_val_accuracy,
        "int8_val_accuracy_before": tuned.before,
        "int8_val_accuracy": tuned.val_accuracy,
        **accounts.metrics(facts, splits, session.state, session.recipe.to_dict()),
    }
    hooks.progress("writing", 0, 0)
    output.write(
        job.output,
        session.keeper.folder / "outputs",
        output.Outputs(
            session.model,
            contract,
            facts,
            metrics,
            guesses,
            tuple(example.path.name for example in splits.val),
            lambda positions: np.stack([store.fitted(int(i)) for i in positions]),
            kept,
        ),
    )
    return Result(
        job.output,
        keras_file.folder_beside(job.output),
        facts,
        metrics,
        interrupted,
        float_accuracy=tuned.float_val_accuracy,
        before=tuned.before,
    )


def _facts(job: Job, session: Session, tuned: Tuned, results: Mapping[str, Accuracy]) -> CardFacts:
    state, recipe = session.state, session.recipe
    model = ModelFacts(
        path=str(job.output),
        architecture=job.source.name,
        paper="trained quantization-aware: arXiv:1712.05877, section 3",
        weights=str(job.source),
        licence="that of the model it started from",
        parameters=sum(int(np.prod(w.shape)) for w in session.model.trainable_weights),
    )
    best = state.best if tuned.kept else None
    how = accounts.training_facts(state, command_line(job, recipe), recipe.changed(), best)
    contract = session.task.contract
    return accounts.facts(
        job.output, model, job.data, session.splits, how, results, contract, _PACKAGES
    )


def command_line(job: Job, recipe: Recipe) -> str:
    """The line that does it again."""
    words = ["edgekit", "qat", str(job.source), "--data", str(job.data)]
    if job.labels_csv is not None:
        words += ["--labels-csv", str(job.labels_csv)]
    if job.val_share != Job.val_share:
        words += ["--val-share", f"{job.val_share:g}"]
    for name, value in recipe.changed().items():
        option = f"--{name.replace('_', '-')}"
        words += [option] if value is True else [option, str(value)]
    if job.budget is not None:
        words += ["--time-budget", f"{job.budget:g}s"]
    return shlex.join([*words, "-o", str(job.output)])
