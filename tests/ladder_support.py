"""A model whose int8 file is bad until its channels are evened out, and photos labelled by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from conftest import randomize, write_picture

from edgekit import datasets, images, tflite
from edgekit.contract import Contract
from edgekit.converters import convert, make_options, procedural
from edgekit.evaluation.run import run_all
from edgekit.overrides import parse

SIZE, CLASSES = 32, 5
CONTRACT = Contract(SIZE, SIZE, (127.0,) * 3, (128.0,) * 3, fit="stretch")


def uneven_model(keras: Any, folder: Path) -> Path:
    """A float32 .tflite whose middle activation has channels from 1 to 1000 times the smallest.

    The layer after it takes the factor back, so the float model is a sound one.
    """
    from edgekit.training import keras_file

    layers = keras.layers
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(16, 3, 2, padding="same", activation="relu")(inputs)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    x = layers.Conv2D(24, 1, name="uneven")(x)
    x = layers.Conv2D(32, 1, activation="relu", name="after")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(CLASSES, name="logits")(x), name="uneven_model")
    randomize(model, seed=3)
    factors = np.logspace(0, 3, 24).astype(np.float32)
    uneven, after = model.get_layer("uneven"), model.get_layer("after")
    kernel, bias = uneven.get_weights()
    uneven.set_weights([kernel * factors, bias * factors])
    kernel, bias = after.get_weights()
    after.set_weights([kernel / factors[None, None, :, None], bias])
    # Random networks say the same of every picture; with the mean answer taken away they don't.
    shown = (procedural.images(SIZE, SIZE, seed=6, count=64).astype(np.float32) - 127) / 128
    kernel, bias = model.get_layer("logits").get_weights()
    mean = model.predict(shown, verbose=0).mean(axis=0)
    model.get_layer("logits").set_weights([kernel, bias - mean])
    path = folder / "uneven.keras"
    model.save(path)
    keras_file.add_contract(path, CONTRACT)
    return convert(path, folder / "uneven.tflite", options=make_options("float32")).output


def photos_labelled_by(model: Path, folder: Path, count: int) -> Path:
    """Procedural pictures whose names begin with the float model's answer to them.

    The model's scores are far apart on average: those pictures are kept that it is surest of.
    """
    folder.mkdir(parents=True)
    shown = procedural.images(SIZE, SIZE, seed=5, count=2 * count)
    scores = run_all(model.read_bytes(), shown, CONTRACT)
    ordered = np.sort(scores, axis=1)
    sure = np.argsort(ordered[:, -2] - ordered[:, -1])[:count]
    for place in sorted(sure):
        index = int(scores[place].argmax())
        write_picture(folder / f"{index:03}_picture{place}.png", shown[place])
    return folder


def pictures_in(folder: Path) -> images.Picture:
    """All pictures of a folder, fitted."""
    return datasets.load(datasets.find(folder).samples, CONTRACT).pictures


def weights_of(model: bytes) -> list[tuple[np.ndarray, np.ndarray, str]]:
    """(values, scales, op) of the weights of each layer."""
    parsed = tflite.read(model, "m")
    found = []
    for op in parsed.main.operators:
        if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            tensor = parsed.main.tensors[op.inputs[1]]
            value = parsed.constant(tensor)
            assert value is not None
            found.append((value, tensor.scales, op.name))
    return found


def many_convolutions(keras: Any, folder: Path) -> bytes:
    """Convolutions of all kinds side by side on an 11 x 13 input, as a float32 .tflite file."""
    layers = keras.layers
    inputs = keras.Input((11, 13, 3))
    seen = []
    for kernel, strides, padding, dilation in (
        (3, 1, "same", 1),
        (3, 2, "same", 1),
        (5, 2, "valid", 1),
        (3, 1, "same", 2),
        (1, 2, "same", 1),
    ):
        given = {"strides": strides, "padding": padding, "dilation_rate": dilation}
        for layer in (
            layers.Conv2D(6, kernel, **given),
            layers.DepthwiseConv2D(kernel, **given),
        ):
            seen.append(layers.GlobalAveragePooling2D()(layer(inputs)))
    model = keras.Model(inputs, layers.Dense(2)(layers.Concatenate()(seen)))
    randomize(model)
    model.save(folder / "m.keras")
    given_contract = parse(preprocess="unit", resize="stretch")
    options = make_options("float32")
    return convert(
        folder / "m.keras", options=options, overrides=given_contract
    ).output.read_bytes()
