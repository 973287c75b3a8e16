"""What is settled before a training begins: can it run, may it write there, does it go on."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekit.errors import MissingError, UsageError
from edgekit.files import refuse_overwrite
from edgekit.training import keras_file, output
from edgekit.training.checkpoint import Checkpoint, State

#: What a request names by its digest: when they differ, the digests say nothing.
DATA, WEIGHTS, MODEL = "the pictures or their labels", "the weights", "the model"


def require_packages() -> None:
    """Checks that what trains and draws is installed.

    Raises:
        MissingError: It is not.
    """
    for package in ("tensorflow", "matplotlib"):
        if importlib.util.find_spec(package) is None:
            raise MissingError(
                f"training needs {package}, which is not installed",
                'Install it: pip install "edgekit[train]"',
            )


def require_budget(budget: float | None) -> None:
    """Checks that a time budget leaves time.

    Raises:
        UsageError: It doesn't.
    """
    if budget is not None and budget <= 0:
        raise UsageError("a time budget of 0 leaves no time", "Give such as --time-budget 10m.")


def require_place(
    path: Path, keeper: Checkpoint, *, resume: bool, force: bool, source: Path | None = None
) -> None:
    """Checks that a model and its folder may be written, and that no kept state would be lost.

    Args:
        path: The `.keras` file to write.
        keeper: Where its state is kept.
        resume: Go on with a training that was stopped.
        force: Replace existing outputs, and a state that is kept.
        source: The model it is made from, which is never replaced.

    Raises:
        UsageError: Something is there, or there is nothing to go on with.
    """
    if path.suffix != ".keras":
        raise UsageError(f"{path}: a model is written as .keras", "Name it with -o m.keras.")
    going_on = resume and keeper.exists()
    if resume and not going_on and path.exists() and not force:
        raise UsageError(
            f"{path}: its training is over, there is nothing to resume",
            "Use --force to train it anew.",
        )
    if keeper.exists() and not (resume or force):
        raise UsageError(
            f"{keeper.folder}: a training of this name was stopped there",
            "Go on with it with --resume, or start anew with --force.",
        )
    refuse_overwrite(path, force=force or going_on, source=source)
    folder = keras_file.folder_beside(path)
    if folder.exists() and not (force or going_on):
        raise UsageError(f"{folder}: exists already", "Use --force to replace it.")
    if folder.exists() and not (folder / output.FILES["metrics"]).is_file():
        raise UsageError(
            f"{folder}: is no folder that edgekit wrote, and is not replaced",
            "Choose another place with -o, or remove it yourself.",
        )


def require_same(request: Mapping[str, Any], state: State, folder: Path) -> None:
    """Checks that a training may go on from a state.

    Raises:
        UsageError: It was asked for something else; the differences are named.
    """
    differences = [
        f"{name} differ{'s' if name == MODEL else ''}"
        if name in (DATA, WEIGHTS, MODEL)
        else f"{name.replace('_', '-')} was {state.request.get(name)}, is {request.get(name)}"
        for name in sorted({*request, *state.request})
        if request.get(name) != state.request.get(name)
    ]
    if differences:
        raise UsageError(
            f"{folder}: the training kept there was started with other settings: "
            f"{'; '.join(differences)}",
            "Give the same settings with --resume, or start anew with --force.",
        )
