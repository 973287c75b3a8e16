"""What the tests of training share: a model that is built in a second, and data it can learn."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import COLOURS, colour_picture, write_picture

from edgekit.training.recipe import Recipe
from edgekit.training.result import Training
from edgekit.training.train import Job
from edgekit.training.train import train as run

TINY = "resnet_tiny"
SIZE = 32


def register_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a ResNet of two blocks into the zoo."""
    from edgekit.training.zoo.catalogue import CATALOGUE

    entry = dataclasses.replace(
        CATALOGUE["resnet18"],
        name=TINY,
        arguments={"repeats": (1, 1), "bottleneck": False},
        weights=None,
    )
    monkeypatch.setitem(CATALOGUE, TINY, entry)


def write_photos(root: Path, **counts: int) -> Path:
    """Split folders with so many pictures of each colour; every third one is hard to tell."""
    number = 0
    for split, count in counts.items():
        for colour in COLOURS:
            folder = root / split / colour
            folder.mkdir(parents=True)
            for i in range(count):
                number += 1
                picture = colour_picture(colour, number)
                if i % 3 == 2:
                    picture = picture // 4 + colour_picture(COLOURS[i % 2], number + 1000) // 5
                write_picture(folder / f"{i:02}.png", picture)
    return root


def recipe(**changes: Any) -> Recipe:
    """A short one, in which everything that has a state takes part."""
    settings: dict[str, Any] = {
        "size": SIZE,
        "batch": 8,
        "feature_epochs": 2,
        "views": 2,
        "epochs": 2,
        "rate": 1e-3,
        "dropout": 0.2,
        "batch_norm": "train",
        "average": 0.5,
        "patience": 0,
        "unfreeze": "all",
    }
    return Recipe(**{**settings, **changes})


def train(data: Path, output: Path, how: Recipe, hooks: Any = None, **job: Any) -> Training:
    """Trains the tiny model from random weights."""
    return run(Job(data, output, TINY, **{"weights": None, **job}), how, hooks)


def weights(path: Path) -> dict[str, np.ndarray]:
    """The weights in a `.keras` file by name, random states left out."""
    import keras

    model = keras.saving.load_model(path, compile=False)
    return {v.path: v.numpy() for v in model.variables if "seed_generator" not in v.path}


def equal_weights(one: Path, other: Path) -> bool:
    """Whether two `.keras` files hold the same weights, bit for bit."""
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )


def history(training: Training) -> list[dict[str, Any]]:
    """The epochs without how long they took."""
    return [{k: v for k, v in vars(row).items() if k != "seconds"} for row in training.history]
