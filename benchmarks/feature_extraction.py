"""An epoch of feature extraction: edgekit's cached features against plain Keras `fit`.

Both train a new classifier on a frozen EfficientNet-Lite0, batch 32, on the same photos, and judge
it on the same validation photos after each epoch. Plain Keras does what its transfer-learning guide
shows: `image_dataset_from_directory`, `trainable = False`, `fit`, the whole backbone in every
epoch. In one run, in turns. edgekit's features are computed first, with an empty cache; that time
is stated, and the ratio over all epochs with it.

    python benchmarks/feature_extraction.py PHOTOS -o result.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

import edgekit
from edgekit.cpus import describe_machine
from edgekit.training import freezing, zoo

_EPOCHS, _ROUNDS = 30, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="With train/ and val/.")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()

    plain = _Plain(arguments.photos)
    plain.epoch()  # traces the functions
    ours: list[dict[str, float]] = []
    theirs: list[float] = []
    for _ in range(_ROUNDS):
        theirs.append(plain.epoch())
        ours.append(_cached(arguments.photos))
    epoch = statistics.median(row["epoch"] for row in ours)
    whole = statistics.median(row["features"] + row["extraction"] for row in ours)
    keras_epoch = statistics.median(theirs)
    result = {
        "what": "an epoch of feature extraction, EfficientNet-Lite0, batch 32",
        "data": arguments.photos.name,
        "keras_fit_epoch_s": theirs,
        "edgekit": ours,
        "ratio_per_epoch": keras_epoch / epoch,
        f"ratio_over_{_EPOCHS}_epochs_with_computing_the_features": _EPOCHS * keras_epoch / whole,
        "machine": describe_machine(),
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
        "date": date.today().isoformat(),
        "command": "python benchmarks/feature_extraction.py PHOTOS",
    }
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.output is not None:
        arguments.output.write_text(text, encoding="utf-8")


class _Plain:
    """A frozen backbone and a new classifier in plain Keras."""

    def __init__(self, photos: Path) -> None:
        model, contract = zoo.build("efficientnet_lite0")
        backbone = keras.Model(model.input, freezing.features_of(model))
        backbone.trainable = False
        size = (contract.height, contract.width)
        self._train, self._val = (
            keras.utils.image_dataset_from_directory(
                photos / name, image_size=size, batch_size=32, seed=0, verbose=False
            ).prefetch(tf.data.AUTOTUNE)
            for name in ("train", "val")
        )
        classes = len([p for p in (photos / "train").iterdir() if p.is_dir()])
        inputs = keras.Input((*size, 3))
        x = keras.layers.Rescaling(1 / contract.std[0], -contract.mean[0] / contract.std[0])(inputs)
        x = keras.layers.Dropout(0.2)(backbone(x, training=False))
        self._model = keras.Model(inputs, keras.layers.Dense(classes)(x))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self._model.compile("adam", loss, metrics=["accuracy"])

    def epoch(self) -> float:
        began = time.perf_counter()
        self._model.fit(self._train, validation_data=self._val, verbose=0)
        return time.perf_counter() - began


def _cached(photos: Path) -> dict[str, float]:
    """Seconds of edgekit's feature extraction, with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EDGEKIT_CACHE"] = str(Path(folder) / "cache")
        training: Any = edgekit.train(
            photos, Path(folder) / "m.keras", feature_epochs=_EPOCHS, epochs=0
        )
    seconds = training.facts.training.seconds
    # The first epoch traces the functions, as plain Keras did before.
    later = [row.seconds for row in training.history[1:]]
    return {
        "features": seconds["features"],
        "extraction": seconds["feature extraction"],
        "epoch": statistics.median(later),
    }


if __name__ == "__main__":
    main()
