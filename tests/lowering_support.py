"""Small classifiers as float .tflite files, what they answer, and their plain int8 form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from conftest import randomize

from edgekit import images, tflite
from edgekit.contract import Contract
from edgekit.converters import (
    calibrate,
    flatbuffer,
    make_options,
    procedural,
    quantize,
    ranges,
    tflite_source,
)
from edgekit.evaluation.run import run_all

SIZE = 32
CONTRACT = Contract(SIZE, SIZE, (127.5,) * 3, (127.5,) * 3)


def some_pictures(count: int, size: int = SIZE) -> images.Picture:
    return procedural.images(size, size, 5, count)


def float_model(model: Any) -> bytes:
    from edgekit.converters import graph

    path = Path("model")
    frozen = graph.open_keras(path, model, None).freeze(path)
    return flatbuffer.prepare(graph.to_tflite(frozen, path), "model")


def op_counts(model: bytes) -> Counter[str]:
    return Counter(op.name for op in tflite.read(model, "model").main.operators)


def answers(model: bytes, contract: Contract = CONTRACT, count: int = 6) -> np.ndarray:
    return run_all(model, some_pictures(count, contract.height), contract)


def to_int8(model: bytes, contract: Contract = CONTRACT, narrow: bool = True) -> bytes:
    pictures = some_pictures(12, contract.height)
    observed = calibrate.calibrate(model, pictures, contract).observed
    parsed = tflite.read(model, "model")
    source, scores = tflite_source.end_names(parsed)
    found = ranges.percentile_ranges(observed, 100.0, scores)
    if narrow:
        found = ranges.without_masks(found, parsed)
    return quantize.quantize(model, make_options(), found, source, contract)


def small_classifier(keras3: Any, body: Callable[[Any, Any], Any]) -> bytes:
    """Four by four tokens of 24 channels, `body`, mean, three logits; weights as after training."""
    layers = keras3.layers
    inputs = keras3.Input((SIZE, SIZE, 3))
    x = body(layers, layers.Conv2D(24, 8, 8)(inputs))
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D()(x)
    elif len(x.shape) == 3:
        x = layers.GlobalAveragePooling1D()(x)
    model = keras3.Model(inputs, layers.Dense(3)(x))
    randomize(model)
    return float_model(model)


def assert_same_in_float(model: bytes, lowered: bytes) -> None:
    expected = answers(model)
    assert np.ptp(expected, axis=0).max() > 0.1  # the pictures do make a difference
    np.testing.assert_allclose(answers(lowered), expected, rtol=0, atol=2e-4)
