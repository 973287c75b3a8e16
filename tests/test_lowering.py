"""What is rewritten before quantization: the same answers in float, int8 only, better SQNR."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import randomize
from lowering_support import (
    answers,
    assert_same_in_float,
    float_model,
    op_counts,
    small_classifier,
    to_int8,
)

from edgekit import tflite
from edgekit.contract import Contract
from edgekit.converters import (
    flatbuffer,
    lowering,
    verify,
)
from edgekit.evaluation.metrics import sqnr

# --- layer normalization


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}], ids=str)
def test_layer_norm_goes_into_the_dense_layers_behind_it(keras3: Any, options: Any) -> None:
    def body(layers: Any, x: Any) -> Any:
        x = layers.LayerNormalization(**options)(layers.Reshape((16, 24))(x))
        return layers.Add()([layers.Dense(8)(x), layers.Dense(8, use_bias=False)(x)])

    model = small_classifier(keras3, body)
    assert op_counts(model)["NEG"] == 1
    lowered = lowering.lower(model, "model")
    assert_same_in_float(model, lowered)
    ops = op_counts(lowered)
    assert not ops["NEG"] and not ops["SQUARED_DIFFERENCE"]
    assert (ops["RSQRT"], ops["SUB"], ops["MUL"], ops["BATCH_MATMUL"]) == (1, 1, 1, 1)
    assert ops["ADD"] == 2  # epsilon, and the sum of the dense layers
    assert verify.float_ops(tflite.read(to_int8(lowered), "int8")) == []


def test_layer_norm_keeps_its_factors_where_something_else_reads_it(keras3: Any) -> None:
    def body(layers: Any, x: Any) -> Any:
        x = layers.LayerNormalization()(x)
        return layers.Add()([x, layers.Dense(24)(x)])

    model = small_classifier(keras3, body)
    lowered = lowering.lower(model, "model")
    assert_same_in_float(model, lowered)
    assert op_counts(lowered)["MUL"] == 2  # by the deviation, and by gamma
    assert not op_counts(lowered)["NEG"]


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

    model = small_classifier(keras3, body)
    lowered = lowering.lower(model, "model")
    assert_same_in_float(model, lowered)
    assert (op_counts(lowered)["RSQRT"], op_counts(lowered)["MUL"]) == (2, 2)


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

    model = small_classifier(keras3, body)
    lowered = lowering.lower(model, "model")
    assert_same_in_float(model, lowered)
    assert op_counts(lowered)["MUL"] == 2
    assert not op_counts(lowered)["NEG"]


def test_normalization_over_other_axes_is_left_as_it_is(keras3: Any) -> None:
    def body(layers: Any, x: Any) -> Any:
        return layers.Dense(8)(layers.LayerNormalization(axis=[1, 2, 3])(x))

    model = small_classifier(keras3, body)
    lowered = lowering.lower(model, "model")
    assert_same_in_float(model, lowered)
    assert op_counts(lowered)["SQUARED_DIFFERENCE"] == op_counts(model)["SQUARED_DIFFERENCE"] == 1
    assert not op_counts(lowered)["NEG"]
    assert verify.float_ops(tflite.read(to_int8(lowered), "int8")) == []


def test_the_sum_of_squares_survives_an_outlier(keras3: Any) -> None:
    """One channel forty times as large: squared in int8, all others would round to nothing."""

    def body(layers: Any, x: Any) -> Any:
        factors = np.ones(24, np.float32)
        factors[5] = 40
        x = layers.Reshape((16, 24))(x)
        x = keras3.ops.multiply(x, factors)
        return layers.Dense(16)(layers.LayerNormalization()(x))

    model = small_classifier(keras3, body)
    lowered = lowering.lower(model, "model")
    assert sqnr(answers(model), answers(to_int8(lowered))) > 12


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
    return float_model(model)


def test_even_attention_keeps_its_mean(keras3: Any) -> None:
    """Of 196 tokens each gets 1.3 steps of SOFTMAX's 1/256, rounded to one: 23 % are lost."""
    model = _attention_model(keras3, 14, sharpness=0.02)
    contract = Contract(112, 112, (127.5,) * 3, (127.5,) * 3)
    lowered = lowering.lower(model, "model")
    expected = answers(model, contract)
    np.testing.assert_allclose(answers(lowered, contract), expected, rtol=0, atol=2e-4)
    before = sqnr(expected, answers(to_int8(model, contract), contract))
    after = sqnr(expected, answers(to_int8(lowered, contract), contract))
    assert after > 25
    assert after > before + 6


def test_sharp_attention_loses_little(keras3: Any) -> None:
    """Two more roundings, where SOFTMAX's own did no harm."""
    model = _attention_model(keras3, 8, sharpness=1.0)
    lowered = lowering.lower(model, "model")
    contract = Contract(64, 64, (127.5,) * 3, (127.5,) * 3)
    expected = answers(model, contract)
    before, after = (
        sqnr(expected, answers(to_int8(m, contract), contract)) for m in (model, lowered)
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

    model = small_classifier(keras3, body)
    lowered = lowering.lower(model, "model")
    assert_same_in_float(model, lowered)
    int8 = to_int8(lowered)
    assert verify.float_ops(tflite.read(int8, "int8")) == []
    assert sqnr(answers(model), answers(int8)) > 20


def test_a_mask_leaves_the_scores_their_steps(keras3: Any) -> None:
    def body(layers: Any, x: Any) -> Any:
        ops = keras3.ops
        x = layers.Reshape((16, 24))(x)
        query, key, value = (layers.Dense(24)(x) for _ in range(3))
        apart = np.arange(16)[:, None] // 4 != np.arange(16)[None, :] // 4
        scores = ops.matmul(query, ops.transpose(key, (0, 2, 1)))
        scores = ops.add(scores, (-100.0 * apart).astype(np.float32))
        return ops.matmul(layers.Softmax()(scores), value)

    model = small_classifier(keras3, body)
    lowered = lowering.lower(model, "model")
    assert_same_in_float(model, lowered)
    expected = answers(model)
    coarse = sqnr(expected, answers(to_int8(lowered, narrow=False)))
    fine = sqnr(expected, answers(to_int8(lowered)))
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

    model = small_classifier(keras3, body)
    assert op_counts(model)["CONCATENATION"] == 2
    lowered = lowering.lower(model, "model")
    assert_same_in_float(model, lowered)
    ops = op_counts(lowered)
    assert (ops["CONCATENATION"], ops["PAD"], ops["ADD"]) == (1, 1, 1)
    int8 = to_int8(lowered)
    assert verify.float_ops(tflite.read(int8, "int8")) == []
    assert sqnr(answers(model), answers(int8)) > 20


def test_a_negation_becomes_a_product(keras3: Any) -> None:
    def body(layers: Any, x: Any) -> Any:
        return layers.ReLU()(keras3.ops.negative(x))

    model = small_classifier(keras3, body)
    assert op_counts(model)["NEG"] == 1
    lowered = lowering.lower(model, "model")
    assert_same_in_float(model, lowered)
    assert not op_counts(lowered)["NEG"]
    assert verify.float_ops(tflite.read(to_int8(lowered), "int8")) == []


def test_a_model_without_these_patterns_is_left_alone(tiny_float: Path) -> None:
    model = flatbuffer.prepare(tiny_float.read_bytes(), str(tiny_float))
    assert lowering.lower(model, str(tiny_float)) is model


def test_nothing_unused_is_left_in_the_file(keras3: Any) -> None:
    def body(layers: Any, x: Any) -> Any:
        return layers.Dense(8)(layers.LayerNormalization()(x))

    lowered = tflite.read(lowering.lower(small_classifier(keras3, body), "model"), "model")
    graph = lowered.main
    used = {i for op in graph.operators for i in (*op.inputs, *op.outputs) if i >= 0}
    assert used | {*graph.inputs, *graph.outputs} == set(range(len(graph.tensors)))
    names = [tensor.name for tensor in graph.tensors]
    assert len(set(names)) == len(names)
