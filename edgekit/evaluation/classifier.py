"""A classifier ready to be measured: a model file with the contract that goes with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgekit import tflite
from edgekit.contract import Contract
from edgekit.errors import UnreadableError, UsageError
from edgekit.overrides import Overrides, normalization_choices
from edgekit.runtime import check_in_child


@dataclass(frozen=True)
class Classifier:
    """A model and its contract.

    Attributes:
        name: What to call it: the file's name.
        path: The file as the user gave it.
        model: The bytes of a .tflite file (for a Keras file, of its float32 export).
        contract: How pictures become its input.
        classes: The number of outputs.
        exported: Whether `model` is the float32 export of a Keras file.
    """

    name: str
    path: Path
    model: bytes
    contract: Contract
    classes: int
    exported: bool = False


def open_tflite(path: Path, overrides: Overrides) -> Classifier:
    """Opens a .tflite file of unknown origin: checked, tried in a child process, then trusted.

    Raises:
        UnreadableError: It is no sound .tflite file or no image classifier.
        UsageError: It carries no contract and `overrides` gives none.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}") from error
    model = tflite.read(data, str(path))
    height, width, classes = tflite.classifier_shape(model, str(path))
    check_in_child(data, str(path))
    contract = tflite.read_contract(data, str(path))
    if contract is None:
        if overrides.normalization is None:
            raise UsageError(
                f"{path}: carries no preprocessing contract, and edgekit doesn't guess one",
                f"Say how its input was prepared with --preprocess: {normalization_choices()}.",
            )
        contract = Contract(height, width, output=tflite.output_meaning(model) or "logits")
    if (contract.height, contract.width) != (height, width):
        raise UsageError(
            f"{path}: its contract says {contract.height} x {contract.width}, its input is "
            f"{height} x {width}",
            "The file was changed after edgekit packed it; convert it again.",
        )
    return Classifier(path.name, path, data, overrides.apply(contract, classes), classes)
