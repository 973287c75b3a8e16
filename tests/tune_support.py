"""A model small enough to be trained in a second, as one of the zoo; run as a script: `edgekit`.

`python tune_support.py ARGUMENTS` is `edgekit ARGUMENTS` with that model in the zoo.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from edgekit.training import zoo
from edgekit.training.zoo import Entry

TINY = Entry(
    name="tiny",
    family="Tests",
    size=32,
    parameters=0,
    macs=0,
    builder="tiny",
    normalization="tf",
    crop_fraction=1.0,
    dropout=0.1,
    paper="none",
    licence="Apache-2.0",
)


def register(catalogue: dict[str, Entry] = zoo.CATALOGUE) -> None:
    """Adds the model to the zoo."""
    catalogue[TINY.name] = TINY
    module = ModuleType("edgekit.training.zoo.tiny")
    module.build = _build  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module


def _build(entry: Entry, classes: int, size: int, dropout: float | None = None) -> Any:
    """Three convolutions, a block each."""
    import keras
    from keras import layers

    x = inputs = keras.Input((size, size, 3), name="image")
    for i, filters in enumerate((8, 8, 16)):
        x = layers.Conv2D(filters, 3, 2, "same", activation="relu", name=f"conv_{i}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(entry.dropout if dropout is None else dropout, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(classes, name="predictions")(x), name=entry.name)


if __name__ == "__main__":
    from edgekit.cli.main import main

    register()
    main(sys.argv[1:])
