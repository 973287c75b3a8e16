"""What is rewritten before quantization: the same answers in float, int8 only, better SQNR."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import randomize

from edgekit import images, tflite
from edgekit.contract import Contract
from edgekit.converters import (
    calibrate,
    flatbuffer,
    lowering,
    make_options,
    procedural,
    quantize,
    ranges,
    tflite_source,
    verify,
)
from edgekit.evaluation.metrics import sqnr
from edgekit.evaluation.run import run_all

_SIZE = 32
_CONTRACT = Contract(_SIZE, _SIZE, (127.5,) * 3, (127.5,) * 3)
_SHAPES = ("RESHAPE", "TRANSPOSE", "STRIDED_SLICE")


def _pictures(count: int, size: int = _SIZE) -> images.Picture:
    return procedural.images(size, size, 5, count)


def _float_model(model: Any) -> bytes:
    from edgekit.converters import graph

    path = Path("model")
    frozen = graph.open_keras(path, model, None).freeze(path)
    return flatbuffer.prepare(graph.to_tflite(frozen, path), "model")


def _ops(model: bytes) -> Counter[str]:
    return Counter(op.name for op in tflite.read(model, "model").main.operators)


def _scores(model: bytes, contract: Contract = _CONTRACT, count: int = 6) -> np.ndarray:
    return run_all(model, _pictures(count, contract.height), contract)


def _int8(model: bytes, contract: Contract = _CONTRACT, narrow: bool = True) -> bytes:
    pictures = _pictures(12, contract.height)
    observed = calibrate.calibrate(model, pictures, contract).observed
    parsed = tflite.read(model, "model")
    source, scores = tflite_source.end_names(parsed)
    found = ranges.percentile_ranges(observed, 100.0, scores)
    if narrow:
        found = ranges.without_masks(found, parsed)
    return quantize.quantize(model, make_options(), found, source, contract)


def _classifier(keras3: Any, body: Callable[[Any, Any], Any]) -> bytes:
    """Four by four tokens of 24 channels, `body`, mean, three logits; weights as after training."""
    layers = keras3.layers
    inputs = keras3.Input((_SIZE, _SIZE, 3))
    x = body(layers, layers.Conv2D(24, 8, 8)(inputs))
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D()(x)
    elif len(x.shape) == 3:
        x = layers.GlobalAveragePooling1D()(x)
    model = keras3.Model(inputs, layers.Dense(3)(x))
    randomize(model)
    return _float_model(model)


def _assert_same_in_float(model: bytes, lowered: bytes) -> None:
    expected = _scores(model)
    assert np.ptp(expected, axis=0).max() > 0.1  # the pictures do make a difference
    np.testing.assert_allclose(_scores(lowered), expected, rtol=0, atol=2e-4)


# --- layer normalization


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}], ids=str)
def test_layer_norm_goes_into_the_dense_layers_behind_it(keras3: Any, options: Any) -> None:
    def body(layers: Any, x: Any) -> Any:
        x = layers.LayerNormalization(**options)(layers.Reshape((16, 24))(x))
        return layers.Add()([layers.Dense(8)(x), layers.Dense(8, use_bias=False)(x)])

    model = _classifier(keras3, body)
    assert _ops(model)["NEG"] == 1
    lowered = lowering.lower(model, "model")
    _assert_same_in_float(model, lowered)
    ops = _ops(lowered)
    assert not ops["NEG"] and not ops["SQUARED_DIFFERENCE"]
    assert (ops["RSQRT"], ops["SUB"], ops["MUL"], ops["BATCH_MATMUL"]) == (1, 1, 1, 1)
    assert ops["ADD"] == 2  # epsilon, and the sum of the dense layers
    assert verify.float_ops(tflite.read(_int8(lowered), "int8")) == []


def test_layer_norm_keeps_its_factors_where_something_else_reads_it(keras3: Any) -> None:
    def body(layers: Any, x: Any) -> Any:
        x = layers.LayerNormalization()(x)
        return layers.Add()([x, layers.Dense(24)(x)])

    model = _classifier(keras3, body)
    lowered = lowering.lower(model, "model")
    _assert_same_in_float(model, lowered)
    assert _ops(lowered)["MUL"] == 2  # by the deviation, and by gamma
    assert not _ops(lowered)["NEG"]


def test_layer_norm_passes_through_what_moves_tokens(keras3: Any) -> None:
    """A cyclic shift and windows, as in Swin; and the mean over tokens before a classifier."""

    def body(layers: Any, x: Any) -> Any:
        y = layers.LayerNormalization()(x)
        y = layers.Concatenate(axis=1)(
            [layers.Cropping2D(((1, 0), (0, 0)))(y), layers.Cropping2D(((0, 3), (0, 0)))(y)]
        )
        y = layers.Permute((1, 3, 2, 4, 5))(layers.Reshape((2, 2, 2, 2, 24))(y))
        y = layers.Dense(24, activation="relu")(layers.Reshape((4, 4, 24))(y))
        return layers.LayerNormalization()(layers.Add()([x, y]))

    model = _classifier(keras3, body)
    lowered = lowering.lower(model, "model")
    _assert_same_in_float(model, lowered)
    assert (_ops(lowered)["RSQRT"], _ops(lowered)["MUL"]) == (2, 2)


@pytest.mark.parametrize("how", ["channels", "half", "other"])
def test_layer_norm_stays_apart_from_what_mixes_channels(keras3: Any, how: str) -> None:
    """Its factors can't go past a permutation of channels, a part of them, or another tensor."""

    def body(layers: Any, x: Any) -> Any:
        y = layers.LayerNormalization()(x)
        if how == "channels":
            y = layers.Reshape((16, 24))(layers.Permute((1, 3, 2))(layers.Reshape((16, 6, 4))(y)))
        elif how == "half":
            y = layers.Reshape((32, 12))(y)
        else:
            y = layers.Concatenate(axis=1)([y, x])
        return layers.Dense(8)(y)

    model = _classifier(keras3, body)
    lowered = lowering.lower(model, "model")
    _assert_same_in_float(model, lowered)
    assert _ops(lowered)["MUL"] == 2
    assert not _ops(lowered)["NEG"]


def test_normalization_over_other_axes_is_left_as_it_is(keras3: Any) -> None:
    def body(layers: Any, x: Any) -> Any:
        return layers.Dense(8)(layers.LayerNormalization(axis=[1, 2, 3])(x))

    model = _classifier(keras3, body)
    lowered = lowering.lower(model, "model")
    _assert_same_in_float(model, lowered)
    assert _ops(lowered)["SQUARED_DIFFERENCE"] == _ops(model)["SQUARED_DIFFERENCE"] == 1
    assert not _ops(lowered)["NEG"]
    assert verify.float_ops(tflite.read(_int8(lowered), "int8")) == []


def test_the_sum_of_squares_survives_an_outlier(keras3: Any) -> None:
    """One channel forty times as large: squared in int8, all others would round to nothing."""

    def body(layers: Any, x: Any) -> Any:
        factors = np.ones(24, np.float32)
        factors[5] = 40
        x = layers.Reshape((16, 24))(x)
        x = keras3.ops.multiply(x, factors)
        return layers.Dense(16)(layers.LayerNormalization()(x))

    model = _classifier(keras3, body)
    lowered = lowering.lower(model, "model")
    assert sqnr(_scores(model), _scores(_int8(lowered))) > 12


# --- attention


def _attention_model(keras3: Any, tokens_to_a_side: int, sharpness: float) -> bytes:
    """One head of attention over the tokens; the larger `sharpness`, the less even."""
    layers, ops = keras3.layers, keras3.ops
    side = tokens_to_a_side
    inputs = keras3.Input((8 * side, 8 * side, 3))
    x = layers.Reshape((side * side, 32))(layers.Conv2D(32, 8, 8)(inputs))
    query, key, value = (layers.Dense(32, name=name)(x) for name in ("query", "key", "value"))
    weights = layers.Softmax()(ops.matmul(query, ops.transpose(key, (0, 2, 1))))
    x = layers.Add()([x, layers.Dense(32)(ops.matmul(weights, value))])
    model = keras3.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling1D()(x)))
    randomize(model)
    for name in ("query", "key"):
        kernel, bias = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([kernel * sharpness, bias * sharpness])
    return _float_model(model)


def test_even_attention_keeps_its_mean(keras3: Any) -> None:
    """Of 196 tokens each gets 1.3 steps of SOFTMAX's 1/256, rounded to one: 23 % are lost."""
    model = _attention_model(keras3, 14, sharpness=0.02)
    contract = Contract(112, 112, (127.5,) * 3, (127.5,) * 3)
    lowered = lowering.lower(model, "model")
    expected = _scores(model, contract)
    np.testing.assert_allclose(_scores(lowered, contract), expected, rtol=0, atol=2e-4)
    before = sqnr(expected, _scores(_int8(model, contract), contract))
    after = sqnr(expected, _scores(_int8(lowered, contract), contract))
    assert after > 25
    assert after > before + 6


def test_sharp_attention_loses_little(keras3: Any) -> None:
    """Two more roundings, where SOFTMAX's own did no harm."""
    model = _attention_model(keras3, 8, sharpness=1.0)
    lowered = lowering.lower(model, "model")
    contract = Contract(64, 64, (127.5,) * 3, (127.5,) * 3)
    expected = _scores(model, contract)
    before, after = (
        sqnr(expected, _scores(_int8(m, contract), contract)) for m in (model, lowered)
    )
    assert lowered != model
    assert after > max(before - 3, 30)


def test_attention_among_few_tokens_is_left_alone(keras3: Any) -> None:
    model = _attention_model(keras3, 4, sharpness=1.0)
    assert lowering.lower(model, "model") is model


def test_keras_own_attention_is_int8_throughout(keras3: Any) -> None:
    def body(layers: Any, x: Any) -> Any:
        x = layers.Reshape((16, 24))(x)
        y = layers.LayerNormalization()(x)
        return layers.Add()([x, layers.MultiHeadAttention(3, 8)(y, y)])

    model = _classifier(keras3, body)
    lowered = lowering.lower(model, "model")
    _assert_same_in_float(model, lowered)
    int8 = _int8(lowered)
    assert verify.float_ops(tflite.read(int8, "int8")) == []
    assert sqnr(_scores(model), _scores(int8)) > 20


def test_a_mask_leaves_the_scores_their_steps(keras3: Any) -> None:
    def body(layers: Any, x: Any) -> Any:
        ops = keras3.ops
        x = layers.Reshape((16, 24))(x)
        query, key, value = (layers.Dense(24)(x) for _ in range(3))
        apart = np.arange(16)[:, None] // 4 != np.arange(16)[None, :] // 4
        scores = ops.matmul(query, ops.transpose(key, (0, 2, 1)))
        scores = ops.add(scores, (-100.0 * apart).astype(np.float32))
        return ops.matmul(layers.Softmax()(scores), value)

    model = _classifier(keras3, body)
    lowered = lowering.lower(model, "model")
    _assert_same_in_float(model, lowered)
    expected = _scores(model)
    coarse = sqnr(expected, _scores(_int8(lowered, narrow=False)))
    fine = sqnr(expected, _scores(_int8(lowered)))
    assert fine > 20
    assert fine > coarse + 3


# --- the rest


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("added", [True, False], ids=["then a constant is added", "alone"])
def test_a_constant_token_is_added_instead_of_joined(keras3: Any, place: str, added: bool) -> None:
    def body(layers: Any, x: Any) -> Any:
        ops = keras3.ops
        x = layers.Reshape((16, 24))(x)
        rng = np.random.default_rng(3)
        token = ops.add(ops.zeros_like(x[:, :1]), rng.normal(size=(1, 1, 24)).astype(np.float32))
        x = layers.Concatenate(axis=1)([token, x] if place == "first" else [x, token])
        if added:
            x = ops.add(x, rng.normal(size=(1, 17, 24)).astype(np.float32))
        # One of the three rows by itself, so that a wrong place would be seen.
        return layers.Concatenate()([x[:, 0], x[:, 1], x[:, 16]])

    model = _classifier(keras3, body)
    assert _ops(model)["CONCATENATION"] == 2
    lowered = lowering.lower(model, "model")
    _assert_same_in_float(model, lowered)
    ops = _ops(lowered)
    assert (ops["CONCATENATION"], ops["PAD"], ops["ADD"]) == (1, 1, 1)
    int8 = _int8(lowered)
    assert verify.float_ops(tflite.read(int8, "int8")) == []
    assert sqnr(_scores(model), _scores(int8)) > 20


def test_a_negation_becomes_a_product(keras3: Any) -> None:
    def body(layers: Any, x: Any) -> Any:
        return layers.ReLU()(keras3.ops.negative(x))

    model = _classifier(keras3, body)
    assert _ops(model)["NEG"] == 1
    lowered = lowering.lower(model, "model")
    _assert_same_in_float(model, lowered)
    assert not _ops(lowered)["NEG"]
    assert verify.float_ops(tflite.read(_int8(lowered), "int8")) == []


def test_hard_swish_is_spelled_out_where_it_is_asked_for(keras3: Any) -> None:
    """With ops that every accelerator has: the same in float, and about as good in int8."""

    def body(layers: Any, x: Any) -> Any:
        for _ in range(3):
            x = layers.Activation("hard_silu")(layers.Conv2D(24, 3, padding="same")(x))
        return x

    model = _classifier(keras3, body)
    assert _ops(model)["HARD_SWISH"] == 3
    assert lowering.lower(model, "model") is model
    lowered = lowering.lower(model, "model", ["HARD_SWISH"])
    _assert_same_in_float(model, lowered)
    ops = _ops(lowered)
    assert (ops["HARD_SWISH"], ops["ADD"], ops["MUL"]) == (0, 3, 6)
    plain, spelled = _int8(model), _int8(lowered)
    assert verify.float_ops(tflite.read(spelled, "int8")) == []
    gap = sqnr(_scores(model), _scores(plain)) - sqnr(_scores(model), _scores(spelled))
    assert -3 < gap < 1


def test_a_model_without_these_patterns_is_left_alone(tiny_float: Path) -> None:
    model = flatbuffer.prepare(tiny_float.read_bytes(), str(tiny_float))
    assert lowering.lower(model, str(tiny_float)) is model


def test_nothing_unused_is_left_in_the_file(keras3: Any) -> None:
    def body(layers: Any, x: Any) -> Any:
        return layers.Dense(8)(layers.LayerNormalization()(x))

    lowered = tflite.read(lowering.lower(_classifier(keras3, body), "model"), "model")
    graph = lowered.main
    used = {i for op in graph.operators for i in (*op.inputs, *op.outputs) if i >= 0}
    assert used | {*graph.inputs, *graph.outputs} == set(range(len(graph.tensors)))
    names = [tensor.name for tensor in graph.tensors]
    assert len(set(names)) == len(names)
