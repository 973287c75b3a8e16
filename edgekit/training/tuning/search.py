"""The façade of `edgekit tune`: `check -> open the data -> try the models -> search -> result`.

Nothing here imports TensorFlow or Optuna until the data is known to be sound.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit import datasets, quiet
from edgekit.datasets import Splits
from edgekit.errors import MissingError, UsageError
from edgekit.training import heap
from edgekit.training.hooks import Hooks
from edgekit.training.recipe import Recipe
from edgekit.training.train import DEFAULT_MODEL, Job
from edgekit.training.tuning.result import Tuning
from edgekit.training.tuning.space import Space
from edgekit.training.zoo import entry
from edgekit.training.zoo.weights import sources

if TYPE_CHECKING:
    from edgekit.training.tuning.running import Search

#: Seconds for a search that was given no end.
DEFAULT_BUDGET = 3600.0
_SUFFIX = ".tune.db"


@dataclass(frozen=True)
class Request:
    """What is to be searched, on what, and for how long.

    Attributes:
        data: A folder, or a CSV file's.
        output: The SQLite file of the study; by default the data's name, `.tune.db`, here.
        models: Names of the zoo; the first is the default's.
        weights: `imagenet`, a file (for one model), or None for random ones.
        labels_csv: Path, label and perhaps split of each picture.
        val_share: Share of the pictures that are judged by, where the data has no split.
        storage: The URL of a database instead of `output`.
        study: Name of the study in it; by default the data's name.
        trials: How many trials the study is to have in all, over all processes and all runs of the
            command; None for no limit.
        budget: Seconds for this call; None for an hour where `trials` is None, else for no limit.
    """

    data: Path
    output: Path | None = None
    models: tuple[str, ...] = (DEFAULT_MODEL,)
    weights: str | Path | None = "imagenet"
    labels_csv: Path | None = None
    val_share: float = 0.2
    storage: str | None = None
    study: str | None = None
    trials: int | None = None
    budget: float | None = None


def tune(
    request: Request,
    recipe: Recipe | None = None,
    fixed: Iterable[str] | None = None,
    hooks: Hooks | None = None,
) -> Tuning:
    """Searches for better hyper-parameters than the default's.

    Each trial is a whole training with its own recipe, judged as `edgekit train` judges; the first
    is the default's. The same call goes on with a search that was stopped.

    Args:
        request: What, on what, and for how long.
        recipe: Where the search starts.
        fixed: Fields of the recipe that are not searched; by default those that were changed.
        hooks: Who wants to know how it goes.

    Returns:
        The best, the default, and all trials. Ctrl-C ends the search with what there is.

    Raises:
        UsageError: An option that doesn't fit, or a study of something else.
        UnreadableError: Data, weights or a database that can't be used.
        MissingError: TensorFlow, Optuna, a database's package or weights are not installed.
        RuntimeFailure: No trial was finished, and why; or the database failed.
    """
    began = time.monotonic()
    recipe, hooks = recipe or Recipe(), hooks or Hooks()
    space = Space.of(
        recipe, request.models, frozenset(recipe.changed() if fixed is None else fixed)
    )
    _check(request, space)
    weights = {name: _weights_file(request, name) for name in request.models}
    from edgekit.training.tuning import storage

    url = request.storage or storage.sqlite(_database(request))
    database = storage.connect(url)
    splits = datasets.open_splits(
        request.data,
        labels_csv=request.labels_csv,
        val_share=request.val_share,
        seed=recipe.seed,
        progress=lambda done, total: hooks.progress("checking pictures", done, total),
    )
    heap.keep_freed_memory()
    with quiet.native_stderr():  # importing TensorFlow logs a page
        from edgekit.training.tuning.running import Search
        from edgekit.training.tuning.trials import Trainer

        hooks.progress("opening the models", 0, 0)
        trainer = Trainer(splits, weights, recipe.size)
    budget = request.budget
    if budget is None and request.trials is None:
        budget = DEFAULT_BUDGET
    search = Search(
        database=database,
        study=request.study or _name(request),
        facts=_facts(request, space, splits),
        trainer=trainer,
        space=space,
        images=len(splits.val),
        limit=request.trials,
        deadline=None if budget is None else began + budget,
        hooks=hooks,
    )
    place = str(_database(request)) if request.storage is None else storage.shown(url)
    return _result(request, search, splits, place)


def _check(request: Request, space: Space) -> None:
    """All that can be said before any work is done."""
    for package in ("tensorflow", "matplotlib", "optuna"):
        if importlib.util.find_spec(package) is None:
            raise MissingError(
                f"tuning needs {package}, which is not installed",
                'Install it: pip install "edgekit[train]"',
            )
    for name in request.models:
        entry(name)
    if len(set(request.models)) < len(request.models) or not request.models:
        raise UsageError("a model is named twice, or none is", "Name each once with --model.")
    if not space.names:
        raise UsageError(
            "every hyper-parameter is given, so there is nothing to search",
            "Leave out those that the search shall choose.",
        )
    if request.storage is not None and request.output is not None:
        raise UsageError("a study is in one place, and two are named", "Give -o or --storage.")
    if request.trials is not None and request.trials < 1:
        raise UsageError(f"{request.trials} trials: there is no search without one")
    if isinstance(request.weights, Path) and len(request.models) > 1:
        raise UsageError(
            f"{request.weights}: one file can't hold the weights of {len(request.models)} models",
            "Search them one by one, or leave out --weights.",
        )


def _weights_file(request: Request, name: str) -> Path | None:
    if request.weights is None:
        return None
    return sources.find(entry(name)) if request.weights == "imagenet" else Path(request.weights)


def _name(request: Request) -> str:
    """What the study and its files are called where they have no other name."""
    if request.output is not None:
        return request.output.name.removesuffix(_SUFFIX).removesuffix(".db")
    return request.data.resolve().name or "photos"


def _database(request: Request) -> Path:
    return request.output or Path(f"{_name(request)}{_SUFFIX}")


def _facts(request: Request, space: Space, splits: Splits) -> dict[str, Any]:
    """What must be the same for all trials of a study, as JSON values."""
    weights = request.weights
    return {
        "data": splits.digest,
        "classes": list(splits.classes),
        "training_pictures": len(splits.train),
        "val_pictures": len(splits.val),
        "models": list(request.models),
        "weights": None if weights is None else str(weights),
        "searched": list(space.names),
        **space.base.to_dict(),
    }


def _result(request: Request, search: Search, splits: Splits, storage: str) -> Tuning:
    outcome = search.run()
    model_file = Path(f"{_name(request)}.keras")
    if request.output is not None:
        model_file = request.output.with_name(model_file.name)
    command = None
    if outcome.best is not None:
        from edgekit.training.train import command_line

        assert outcome.best.recipe is not None
        job = Job(
            request.data,
            model_file,
            outcome.best.model,
            request.weights,
            request.labels_csv,
            request.val_share,
        )
        command = command_line(job, Recipe.from_dict(dict(outcome.best.recipe)))
    return Tuning(
        data=f"{request.data}: {len(splits.train):,} train, {len(splits.val):,} val pictures, "
        f"split by {splits.source}",
        images=len(splits.val),
        study=search.name,
        storage=storage,
        trials=outcome.trials,
        best=outcome.best,
        default=outcome.default,
        base=search.space.start(),
        importances=outcome.importances,
        command=command,
        stopped=outcome.stopped,
        interrupted=outcome.interrupted,
    )
