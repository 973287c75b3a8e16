"""From a folder of photos to a model worth deploying.

`check -> open the data -> load the model -> fit -> judge -> write`. Nothing here imports TensorFlow
until the data is known to be sound.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit import datasets, quiet
from edgekit.contract import Contract
from edgekit.datasets import Splits
from edgekit.errors import EdgekitError, RuntimeFailure, UsageError
from edgekit.files import sha256
from edgekit.report.facts import CardFacts, ModelFacts
from edgekit.training import accounts, cache, heap, keras_file, output, starting
from edgekit.training.checkpoint import Checkpoint, State
from edgekit.training.feeding import PictureStore
from edgekit.training.hooks import Hooks
from edgekit.training.peers import Peers, require_equal_shares
from edgekit.training.recipe import Recipe
from edgekit.training.result import Training
from edgekit.training.zoo import Entry, entry
from edgekit.training.zoo.weights import sources
from edgekit.types import Accuracy, EpochRow

if TYPE_CHECKING:
    from edgekit.training.fitting import Fit, Pictures

DEFAULT_MODEL = "efficientnet_lite0"
_IMAGENET_CLASSES = 1000
_PREPARING, _JUDGING = "preparing", "judging"
_PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python")


@dataclass(frozen=True)
class Job:
    """What is to be trained, on what, and where the result goes.

    Attributes:
        data: A folder, or a CSV file with `labels_csv`'s columns.
        output: The `.keras` file to write.
        model: A name of the zoo.
        weights: `imagenet`, a file, or None for random ones.
        labels_csv: Path, label and perhaps split of each picture.
        val_share: Share of the pictures that are judged by, where the data has no split.
        budget: Seconds for all of it, or None.
        distribute: `none`, `mirrored` or `multiworker`.
        tensorboard: A folder for a TensorBoard log, or None.
        resume: Go on with a training that was stopped.
        force: Replace existing outputs, and a state that is kept.
    """

    data: Path
    output: Path
    model: str = DEFAULT_MODEL
    weights: str | Path | None = "imagenet"
    labels_csv: Path | None = None
    val_share: float = 0.2
    budget: float | None = None
    distribute: str = "none"
    tensorboard: Path | None = None
    resume: bool = False
    force: bool = False


def train(job: Job, recipe: Recipe, hooks: Hooks | None = None) -> Training:
    """Fine-tunes a model of the zoo.

    Args:
        job: What, on what, and where to.
        recipe: How.
        hooks: Who wants to know how it goes.

    Returns:
        What came out; the files are written.

    Raises:
        UsageError: An option that doesn't fit, an existing output, another training to go on with.
        UnreadableError: Data or weights that can't be used.
        MissingError: TensorFlow, matplotlib or the weights are not installed.
        RuntimeFailure: The loss is no number, the memory or the disk doesn't suffice. The best so
            far is written where there is one.
        KeyboardInterrupt: Ctrl-C before the first epoch was finished.
    """
    began, told = time.monotonic(), hooks or Hooks()
    chosen = entry(job.model)
    keeper = Checkpoint(output.work_folder_of(job.output))
    _check(job, keeper)
    peers = Peers.from_environment() if job.distribute == "multiworker" else None
    require_equal_shares(1 if peers is None else len(peers.addresses), recipe.batch)
    weights = _weights_file(chosen, job.weights)
    heap.keep_freed_memory()
    with quiet.native_stderr():  # importing TensorFlow logs a page
        import tensorflow as tf

        from edgekit.training import distribution, fitting
    splits = datasets.open_splits(
        job.data,
        labels_csv=job.labels_csv,
        val_share=job.val_share,
        seed=recipe.seed,
        progress=lambda done, total: told.progress("checking pictures", done, total),
    )
    request = _request(job, recipe, splits, weights)
    going_on = job.resume and keeper.exists()
    if going_on:
        state, _ = keeper.load()
        starting.require_same(request, state, keeper.folder)
    else:
        state = fitting.new_state(request)
    if peers is not None:
        # From here on the chief may write: all have looked whether there is something.
        place = {"phase": state.phase, "epoch": state.epoch, "step": state.step}
        peers.meet({**request, **place}, told.say)
    with quiet.native_stderr():  # as it looks for devices
        # It has to be the first thing that TensorFlow does.
        cluster = distribution.join(job.distribute, peers)
        tf.config.list_logical_devices()
    require_equal_shares(cluster.replicas, recipe.batch)
    if not cluster.is_chief:
        job, told = replace(job, tensorboard=None), Hooks()
    elif not going_on:
        keeper.remove()
    with _logged(job, state, told) as logged, cluster.scope():
        fit = _prepared(chosen, weights, splits, recipe, keeper, state, job, cluster, logged, began)
        return _finish(job, chosen, fit, logged)


@contextmanager
def _logged(job: Job, state: State, hooks: Hooks) -> Iterator[Hooks]:
    """The hooks, with a TensorBoard log where one is wanted."""
    if job.tensorboard is None:
        yield hooks
        return
    from edgekit.training import tensorboard

    with tensorboard.log(job.tensorboard, job.output.stem, len(state.history)) as write:

        def on_epoch(row: EpochRow) -> None:
            write(row)
            hooks.on_epoch(row)

        yield replace(hooks, on_epoch=on_epoch)


def _check(job: Job, keeper: Checkpoint) -> None:
    """All that can be said before any work is done."""
    starting.require_packages()
    if job.distribute == "multiworker" and job.budget is not None:
        raise UsageError(
            "a time budget can't be kept by several machines, whose clocks differ",
            "Give --epochs instead of --time-budget.",
        )
    starting.require_budget(job.budget)
    starting.require_place(job.output, keeper, resume=job.resume, force=job.force)


def _weights_file(chosen: Entry, weights: str | Path | None) -> Path | None:
    if weights is None:
        return None
    return sources.find(chosen) if weights == "imagenet" else Path(weights)


def _request(job: Job, recipe: Recipe, splits: Splits, weights: Path | None) -> dict[str, Any]:
    """What decides the result: a training goes on only if all of it is the same."""
    readable = weights is not None and weights.is_file()  # else it is said when they are read
    return {
        "model": job.model,
        starting.WEIGHTS: sha256(weights) if weights is not None and readable else None,
        starting.DATA: splits.digest,
        "distribute": job.distribute,
        "time_budget": job.budget,
        **recipe.to_dict(),
    }


def _prepared(
    chosen: Entry,
    weights: Path | None,
    splits: Splits,
    recipe: Recipe,
    keeper: Checkpoint,
    state: State,
    job: Job,
    cluster: Any,
    hooks: Hooks,
    began: float,
) -> Fit:
    import keras

    from edgekit.training import fitting, memory
    from edgekit.training.zoo.assembly import assemble

    memory.require_room(chosen.name, chosen.parameters)
    keras.utils.set_random_seed(recipe.seed)
    # With all its old classes: the new classifier starts from them.
    assembled = assemble(
        chosen, weights, classes=_IMAGENET_CLASSES, size=recipe.size or chosen.size
    )
    pictures = open_pictures(splits, assembled.contract)
    spent = time.monotonic() - began
    state.seconds += spent
    state.stages[_PREPARING] = state.stages.get(_PREPARING, 0.0) + spent
    return fitting.Fit(assembled, pictures, recipe, keeper, state, job.budget, cluster, hooks)


def open_pictures(splits: Splits, contract: Any) -> Pictures:
    """The pictures of a data set, decoded once and kept in the cache."""
    from edgekit.training.fitting import Pictures

    folder = cache.pictures()
    return Pictures(
        splits,
        PictureStore(folder, splits.train, contract),
        PictureStore(folder, splits.val, contract),
    )


def _finish(job: Job, chosen: Entry, fit: Fit, hooks: Hooks) -> Training:
    """Trains, and writes the best there is, however it ended."""
    failure: EdgekitError | None = None
    interrupted = False
    try:
        fit.run()
    except KeyboardInterrupt:
        if fit.state.best is None:
            raise
        interrupted, fit.state.stopped = True, "interrupted"
    except RuntimeFailure as error:
        if fit.state.best is None:
            raise
        failure, fit.state.stopped = error, error.message
    fit.restore_best()
    if failure is None and not interrupted:
        fit.cluster.wait()  # the chief removes what the others have read
    training = _judged(job, chosen, fit, hooks, interrupted)
    if failure is not None:
        raise RuntimeFailure(
            f"{failure.message.rstrip('.')}. The best so far is in {job.output}", failure.hint
        )
    if not interrupted and fit.cluster.is_chief:
        fit.keeper.remove()
    return training


def _judged(job: Job, chosen: Entry, fit: Fit, hooks: Hooks, interrupted: bool) -> Training:
    splits, store = fit.pictures.splits, fit.pictures.val
    contract = replace(fit.contract, labels=splits.classes)
    hooks.progress("judging", 0, 0)
    began = time.monotonic()
    guesses, results = accounts.results(fit.logits, splits, store, contract)
    fit.state.stages[_JUDGING] = time.monotonic() - began
    facts = _facts(job, chosen, fit, results, contract)
    metrics = {
        "schema": "edgekit.metrics/1",
        "model": job.model,
        **accounts.metrics(facts, splits, fit.state, fit.recipe.to_dict()),
    }
    if fit.cluster.is_chief:
        hooks.progress("writing", 0, 0)
        output.write(
            job.output,
            fit.keeper.folder / "outputs",
            output.Outputs(
                fit.model,
                contract,
                facts,
                metrics,
                guesses,
                tuple(example.path.name for example in splits.val),
                lambda positions: np.stack([store.fitted(int(i)) for i in positions]),
                accounts.calibration_pictures(fit.pictures.train),
            ),
        )
    return Training(
        job.output,
        keras_file.folder_beside(job.output),
        facts,
        metrics,
        interrupted,
        written=fit.cluster.is_chief,
    )


def _facts(
    job: Job, chosen: Entry, fit: Fit, results: Mapping[str, Accuracy], contract: Contract
) -> CardFacts:
    state, recipe = fit.state, fit.recipe
    model = ModelFacts(
        path=str(job.output),
        architecture=chosen.name,
        paper=chosen.paper,
        weights=_weights_in_words(chosen, job.weights),
        licence=chosen.licence,
        parameters=sum(int(np.prod(w.shape)) for w in fit.model.trainable_weights),
    )
    how = accounts.training_facts(state, command_line(job, recipe), recipe.changed(), state.best)
    splits = fit.pictures.splits
    return accounts.facts(job.output, model, job.data, splits, how, results, contract, _PACKAGES)


def _weights_in_words(chosen: Entry, weights: str | Path | None) -> str:
    if weights is None:
        return "random"
    return f"ImageNet, from {chosen.weights}" if weights == "imagenet" else f"from {weights}"


def command_line(job: Job, recipe: Recipe) -> str:
    """The line that does it again."""
    words = ["edgekit", "train", str(job.data), "--model", job.model]
    if job.weights != "imagenet":
        words += ["--weights", "none" if job.weights is None else str(job.weights)]
    if job.labels_csv is not None:
        words += ["--labels-csv", str(job.labels_csv)]
    if job.val_share != Job.val_share:
        words += ["--val-share", f"{job.val_share:g}"]
    for name, value in recipe.changed().items():
        option = name.replace("_", "-")
        words += [f"--{option}", "all" if value is None else str(value)]
    if job.budget is not None:
        words += ["--time-budget", f"{job.budget:g}s"]
    if job.distribute != "none":
        words += ["--distribute", job.distribute]
    return shlex.join([*words, "-o", str(job.output)])
