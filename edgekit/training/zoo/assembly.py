"""Builds a model of the zoo with its weights and its contract. Imports Keras."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.contract import NORMALIZATIONS, Contract, Normalization
from edgekit.files import write_all
from edgekit.training import keras_file
from edgekit.training.zoo.catalogue import Entry
from edgekit.training.zoo.weights.filling import CLASSIFIER, fill, weighted_layers
from edgekit.training.zoo.weights.reading import read


@dataclass(frozen=True)
class Assembled:
    """A model of the zoo.

    Attributes:
        model: float32[N, size, size, 3] -> float32[N, classes], logits.
        contract: How pictures become its input.
        random: The layers whose weights are random; empty where the file had all.
    """

    model: Any
    contract: Contract
    random: tuple[str, ...]

    def write(self, output: Path) -> None:
        """Writes the model as a `.keras` file that carries its contract."""
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            path = Path(folder) / "model.keras"
            self.model.save(path)
            keras_file.add_contract(path, self.contract)
            write_all({output: path.read_bytes()})


def assemble(
    entry: Entry,
    file: Path | None,
    *,
    classes: int,
    size: int,
    labels: Sequence[str] | None = None,
    dropout: float | None = None,
) -> Assembled:
    """Builds the model in the layout that its weights need, and fills it.

    Args:
        entry: The model.
        file: Its weights, or None for random ones.
        classes: Number of outputs.
        size: Input height and width in pixels.
        labels: Names of the classes; by default those that come with the weights.
        dropout: Rate before the classifier; by default the entry's.

    Raises:
        UsageError: A size the model can't take, or weights that don't fit.
        UnreadableError: The weights can't be read.
    """
    weights = read(file, entry) if file is not None else None
    entry = weights.entry if weights else entry
    builder = importlib.import_module(f"edgekit.training.zoo.{entry.builder}")
    model = builder.build(entry, classes, size, dropout)
    if weights is None:
        names = tuple(layer.name for layer in weighted_layers(model))
        return Assembled(model, _contract(entry, size, labels), names)
    random = fill(model, weights)
    known = weights.contract
    if labels is None and known is not None and CLASSIFIER not in random:
        labels = known.labels
    contract = _contract(entry, size, labels)
    if known is not None:
        contract = contract.with_normalization(
            Normalization(known.mean, known.std, known.colour_order)
        )
    return Assembled(model, contract, random)


def _contract(entry: Entry, size: int, labels: Sequence[str] | None) -> Contract:
    """The preprocessing that the model is evaluated with; `crop_fraction` is kept at all sizes.

    The resampling of the references is bicubic or bilinear; this one is `exact` (see
    docs/contract.md for what that costs).
    """
    normalization = NORMALIZATIONS[entry.normalization]
    return Contract(
        height=size,
        width=size,
        mean=normalization.mean,
        std=normalization.std,
        colour_order=normalization.colour_order,
        fit="crop",
        crop_fraction=entry.crop_fraction,
        labels=tuple(labels) if labels is not None else None,
        output="logits",
    )
