"""`edgekit qat`: from a trained model and photos to a quantization-aware model.

`check -> open the data -> read the model -> calibrate -> train -> judge -> write`. TensorFlow is
imported once the data and the model are known to be sound.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit import datasets, images, quiet
from edgekit.contract import Contract
from edgekit.converters import calibrate, lowering, quantize, reading
from edgekit.converters.options import Options
from edgekit.converters.qat import labels, recognizing
from edgekit.converters.qat.recipe import Recipe
from edgekit.converters.qat.result import Result
from edgekit.converters.rungs import draft
from edgekit.converters.rungs.draft import Material
from edgekit.cpus import describe_machine
from edgekit.datasets import Example, Splits
from edgekit.errors import EdgekitError, MissingError, RuntimeFailure, UsageError
from edgekit.evaluation import judging
from edgekit.files import refuse_overwrite, sha256
from edgekit.overrides import Overrides
from edgekit.report.facts import CardFacts, DataFacts, ModelFacts, TrainingFacts
from edgekit.training import cache, keras_file, output
from edgekit.training.checkpoint import Checkpoint, State
from edgekit.training.feeding import PictureStore
from edgekit.training.hooks import Hooks
from edgekit.version import __version__

if TYPE_CHECKING:
    from edgekit.converters.qat.training import Session, Tuned

_CALIBRATION = 200
_READING, _CALIBRATING, _JUDGING = "reading", "calibrating", "judging"
_PACKAGES = ("tensorflow", "keras", "litert-quantizer", "ai-edge-litert", "numpy")
_MODEL, _DATA = "the model", "the pictures or their labels"


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
    request = {_MODEL: sha256(job.source), _DATA: splits.digest, **recipe.to_dict()}
    state = _state(request, job, keeper)
    exported = reading.export_float(job.source, job.overrides, told.progress)
    splits = labels.in_order_of(exported.contract.labels, exported.classes, splits, str(job.source))
    contract = dataclasses.replace(exported.contract, labels=splits.classes)
    read = time.monotonic()
    options, where = Options(), str(job.source)
    model = lowering.lower(exported.model, where)
    with quiet.native_stderr():  # importing TensorFlow logs a page
        from edgekit.converters.qat.training import Session, Task
    kept = _calibration_pictures(splits, contract)
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
    if job.output.suffix != ".keras":
        raise UsageError(f"{job.output}: a model is written as .keras", "Name it with -o q.keras.")
    for package in ("tensorflow", "matplotlib"):
        if importlib.util.find_spec(package) is None:
            raise MissingError(
                f"training needs {package}, which is not installed",
                'Install it: pip install "edgekit[train]"',
            )
    quantize.require()
    if job.budget is not None and job.budget <= 0:
        raise UsageError("a time budget of 0 leaves no time", "Give such as --time-budget 10m.")
    if recognizing.is_quantization_aware(job.source):
        raise UsageError(
            f"{job.source}: was trained quantization-aware already",
            f"Convert it: edgekit convert --int8 {shlex.quote(str(job.source))}. To train anew, "
            "begin with the float model that it was made from.",
        )
    going_on = job.resume and keeper.exists()
    if job.resume and not going_on and job.output.exists() and not job.force:
        raise UsageError(
            f"{job.output}: its training is over, there is nothing to resume",
            "Use --force to train it anew.",
        )
    if keeper.exists() and not (job.resume or job.force):
        raise UsageError(
            f"{keeper.folder}: a training of this name was stopped there",
            "Go on with it with --resume, or start anew with --force.",
        )
    refuse_overwrite(job.output, force=job.force or going_on, source=job.source)
    folder = keras_file.folder_beside(job.output)
    if folder.exists() and not (job.force or going_on):
        raise UsageError(f"{folder}: exists already", "Use --force to replace it.")
    if folder.exists() and not (folder / output.FILES["metrics"]).is_file():
        raise UsageError(
            f"{folder}: is no folder that edgekit wrote, and is not replaced",
            "Choose another place with -o, or remove it yourself.",
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
    differing = [
        f"{name} differ" if name in (_MODEL, _DATA) else name.replace("_", "-")
        for name in sorted({*request, *state.request})
        if request.get(name) != state.request.get(name)
    ]
    if differing:
        raise UsageError(
            f"{keeper.folder}: the training kept there was started with other settings: "
            f"{', '.join(differing)}",
            "Give the same settings with --resume, or start anew with --force.",
        )
    return state


def _calibration_pictures(
    splits: Splits, contract: Contract
) -> tuple[tuple[int, images.Picture], ...]:
    """(label, picture) of training pictures as the model takes them, evenly over classes."""
    store = PictureStore(cache.pictures(), splits.train, contract)
    place = {example.path: i for i, example in enumerate(splits.train)}
    samples = [datasets.Sample(e.path, index=e.label) for e in splits.train]
    chosen = [place[s.path] for s in datasets.select(samples, _CALIBRATION)]
    return tuple((splits.train[i].label, store.fitted(i)) for i in chosen)


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
    guesses = judging.guesses(session.scores_of(splits.val, store), _truth(splits.val))
    results = {"val": judging.accuracy(guesses)}
    if splits.test:
        test = PictureStore(None, splits.test, contract)
        results["test"] = judging.judge(session.scores_of(splits.test, test), _truth(splits.test))
    session.state.stages[_JUDGING] = time.monotonic() - began
    facts = _facts(job, session, tuned, results)
    metrics = _metrics(job, session, tuned, results)
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
        tuned.float_val_accuracy,
        tuned.before,
        interrupted,
    )


def _truth(examples: tuple[Example, ...]) -> Any:
    return np.array([example.label for example in examples], np.int64)


def _facts(job: Job, session: Session, tuned: Tuned, results: Mapping[str, Any]) -> CardFacts:
    splits, state = session.splits, session.state
    counts = splits.counts()
    pictures = {
        name: tuple(counts[label][i] for label in splits.classes)
        for i, name in enumerate(("train", "val", "test"))
        if any(count[i] for count in counts.values())
    }
    folder = keras_file.folder_beside(job.output)
    return CardFacts(
        model=ModelFacts(
            path=str(job.output),
            architecture=job.source.name,
            paper="trained quantization-aware: arXiv:1712.05877, section 3",
            weights=str(job.source),
            licence="that of the model it started from",
            parameters=sum(int(np.prod(w.shape)) for w in session.model.trainable_weights),
        ),
        data=DataFacts(
            root=str(job.data),
            labels=splits.classes,
            pictures=pictures,
            split_by=splits.source,
            digest=splits.digest,
            broken=tuple((str(path), reason) for path, reason in splits.broken),
            warnings=splits.warnings,
        ),
        training=TrainingFacts(
            command=command_line(job, session.recipe),
            changed=session.recipe.changed(),
            history=tuple(state.history),
            kept=state.best if tuned.kept else None,
            stopped=state.stopped,
            seconds=dict(state.stages),
            warnings=tuple(state.warnings),
        ),
        preprocessing=session.task.contract.to_dict(),
        results=results,
        files=output.FILES,
        written=(str(job.output), f"{folder}{os.sep}"),
        versions={"edgekit": __version__}
        | {name: importlib.metadata.version(name) for name in _PACKAGES},
        machine=describe_machine(),
        date=date.today().isoformat(),
    )


def _metrics(
    job: Job, session: Session, tuned: Tuned, results: Mapping[str, Any]
) -> dict[str, Any]:
    splits, state = session.splits, session.state
    return {
        "schema": "edgekit.qat/1",
        "model": str(job.source),
        "float_val_accuracy": tuned.float_val_accuracy,
        "int8_val_accuracy_before": tuned.before,
        "int8_val_accuracy": tuned.val_accuracy,
        "results": {name: found.to_dict(splits.classes) for name, found in results.items()},
        "history": [vars(row) for row in state.history],
        "kept": state.best if tuned.kept else None,
        "stopped": state.stopped,
        "seconds": state.stages,
        "recipe": session.recipe.to_dict(),
        "command": command_line(job, session.recipe),
        "data": {
            "root": str(job.data),
            "classes": list(splits.classes),
            "counts": splits.counts(),
            "split": splits.source,
            "digest": splits.digest,
            "broken": [[str(path), reason] for path, reason in splits.broken],
            "warnings": list(splits.warnings),
        },
        "warnings": list(state.warnings),
    }


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
