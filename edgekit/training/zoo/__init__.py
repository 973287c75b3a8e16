"""The model zoo: list what there is, build a model, or create a file from it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit import quiet
from edgekit.contract import Contract
from edgekit.errors import MissingError, UsageError
from edgekit.files import refuse_overwrite
from edgekit.training.zoo.catalogue import CATALOGUE, Entry, entry
from edgekit.training.zoo.weights import sources

if TYPE_CHECKING:
    from edgekit.training.zoo.assembly import Assembled

__all__ = [
    "CATALOGUE",
    "Created",
    "Entry",
    "build",
    "create",
    "create_described",
    "entry",
    "imagenet_labels",
]

IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class Created:
    """A model file that was written.

    Attributes:
        path: The file.
        entry: What it is.
        contract: How pictures become its input.
        classes: Number of outputs.
        weights: The file its weights come from, or None where they are random.
        random: The layers whose weights are random all the same.
    """

    path: Path
    entry: Entry
    contract: Contract
    classes: int
    weights: Path | None
    random: tuple[str, ...]


def imagenet_labels() -> tuple[str, ...]:
    """The 1,000 class names of ImageNet (ILSVRC 2012), in the order of the usual class index.

    The names are torchvision's (BSD 3-Clause), which are unique where WordNet's first lemmas are
    not (two kinds of crane, two of maillot).
    """
    text = (Path(__file__).parent.parent / "data" / "imagenet_labels.txt").read_text("utf-8")
    return tuple(text.splitlines())


def build(
    name: str,
    *,
    classes: int = IMAGENET_CLASSES,
    size: int | None = None,
    weights: str | Path | None = "imagenet",
    labels: Sequence[str] | None = None,
    dropout: float | None = None,
) -> tuple[Any, Contract]:
    """Builds a model of the zoo, ready to be trained.

    Args:
        name: A name of `CATALOGUE`.
        classes: Number of outputs; the classifier is random where the weights are for others.
        size: Input height and width in pixels; by default the paper's.
        weights: `imagenet`, a file (`.keras`, `.h5`, `.pth`), or None for random weights.
        labels: Names of the classes for the contract; by default those of the weights, if any.
        dropout: Rate before the classifier; by default the entry's.

    Returns:
        The Keras model, float32[N, size, size, 3] -> float32[N, classes] logits, and how pictures
        become its input.

    Raises:
        UsageError: No such model, no weights for it, weights that don't fit, or a bad size.
        UnreadableError: The file of weights can't be read.
        MissingError: TensorFlow or the ImageNet weights are not there.
    """
    chosen = entry(name)
    size = _check(chosen, classes, size)
    if labels is None:
        labels = _labels(weights, classes)
    made = _assemble(chosen, _locate(chosen, weights), classes, size, labels, dropout)
    return made.model, made.contract


def create(
    name: str,
    output: Path | str,
    *,
    weights: str | Path | None = "imagenet",
    classes: int = IMAGENET_CLASSES,
    size: int | None = None,
    force: bool = False,
) -> Path:
    """Writes a model of the zoo as a `.keras` file that carries its contract.

    Args:
        name: A name of `CATALOGUE`.
        output: The `.keras` file to write.
        weights: `imagenet`, a file (`.keras`, `.h5`, `.pth`), or None for random weights.
        classes: Number of outputs; the classifier is random where the weights are for others.
        size: Input height and width in pixels; by default the paper's.
        force: Replace an existing file.

    Raises:
        UsageError: No such model, no weights for it, weights that don't fit, a bad size, or the
            file exists.
        UnreadableError: The file of weights can't be read.
        MissingError: TensorFlow or the ImageNet weights are not there.
    """
    return create_described(
        name, output, weights=weights, classes=classes, size=size, force=force
    ).path


def create_described(
    name: str,
    output: Path | str,
    *,
    weights: str | Path | None = "imagenet",
    classes: int = IMAGENET_CLASSES,
    size: int | None = None,
    force: bool = False,
) -> Created:
    """As `create`, and tells what was written."""
    chosen, output = entry(name), Path(output)
    if output.suffix != ".keras":
        raise UsageError(f"{output}: a model is written as .keras", "Name it with -o m.keras.")
    size = _check(chosen, classes, size)
    from_file = weights not in (None, "imagenet")
    refuse_overwrite(output, force=force, source=Path(str(weights)) if from_file else None)
    file = _locate(chosen, weights)
    made = _assemble(chosen, file, classes, size, _labels(weights, classes), None)
    made.write(output)
    return Created(output, chosen, made.contract, classes, file, made.random)


def _check(chosen: Entry, classes: int, size: int | None) -> int:
    """The input size; what a model can take beyond this, its builder says."""
    if not 1 <= classes <= 100_000:
        raise UsageError(f"{classes} classes: expected 1 to 100,000")
    size = chosen.size if size is None else size
    if not 32 <= size <= 1024:
        raise UsageError(f"input size {size}: expected 32 to 1024 pixels")
    return size


def _locate(chosen: Entry, weights: str | Path | None) -> Path | None:
    """The file of weights, or None for random ones."""
    if weights is None:
        return None
    return sources.find(chosen) if weights == "imagenet" else Path(weights)


def _labels(weights: str | Path | None, classes: int) -> tuple[str, ...] | None:
    return imagenet_labels() if (weights, classes) == ("imagenet", IMAGENET_CLASSES) else None


def _assemble(
    chosen: Entry,
    file: Path | None,
    classes: int,
    size: int,
    labels: Sequence[str] | None,
    dropout: float | None,
) -> Assembled:
    if importlib.util.find_spec("tensorflow") is None:
        raise MissingError(
            "creating a model needs TensorFlow", 'Install it: pip install "edgekit[convert]"'
        )
    with quiet.native_stderr():  # importing TensorFlow logs a page
        from edgekit.training.zoo.assembly import assemble

        return assemble(chosen, file, classes=classes, size=size, labels=labels, dropout=dropout)
