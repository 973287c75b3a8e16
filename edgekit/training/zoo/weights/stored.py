"""What all readers of weights give: arrays for the layers of a model, before any is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.contract import Contract
from edgekit.training.zoo.catalogue.description import Entry

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Stored:
    """The weights of one layer.

    Attributes:
        source: The layer's name in the file.
        arrays: In the order and layout of Keras; empty where the file's layer is of another kind.
        shapes: Their shapes as the file has them, for messages.
        settings: The layer's configuration, where the file has it.
    """

    source: str
    arrays: tuple[Array, ...]
    shapes: tuple[tuple[int, ...], ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Matched:
    """The layers of a file beside those of a model.

    Attributes:
        stored: Name of the model's layer -> its weights in the file.
        left: Layers of the file that the model has none for.
    """

    stored: Mapping[str, Stored]
    left: tuple[str, ...]


@dataclass(frozen=True)
class Weights:
    """The weights of one file.

    Attributes:
        path: The file.
        entry: The model they are for, with the layout and the normalization that they need.
        match: Pairs the file's layers with those of a model.
        contract: The preprocessing contract that the file carries, or None.
    """

    path: Path
    entry: Entry
    match: Callable[[Any], Matched]
    contract: Contract | None = None
