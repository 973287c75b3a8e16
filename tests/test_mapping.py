"""What is rewritten so that an accelerator takes it: the same in float, and where it runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import randomize
from lowering_support import (
    SIZE,
    answers,
    assert_same_in_float,
    float_model,
    op_counts,
    small_classifier,
    to_int8,
)

from edgekit import targets, tflite
from edgekit.contract import Contract
from edgekit.converters import convert, make_options, mapping, verify
from edgekit.errors import RuntimeFailure
from edgekit.evaluation.metrics import softmax, sqnr
from edgekit.images import to_input
from edgekit.runtime import Interpreter
from edgekit.targets.target import REWRITES

_CORAL, _GPU = targets.find("coral"), targets.find("android_gpu")


def _rewritten(model: bytes, target: targets.Target, **options: Any) -> bytes:
    return mapping.rewrite(model, "model", target, **options)[0]


def _stays(model: bytes, target: targets.Target) -> list[str]:
    """What of an int8 model isn't taken."""
    return [op.op for op in targets.place(tflite.read(model, "model"), target).left]


def _loss(model: bytes, rewritten: bytes, contract: Contract, count: int = 12) -> float:
    """How much SQNR the rewriting costs in int8, in dB."""
    expected = answers(model, contract, count)
    before, after = (
        sqnr(expected, answers(to_int8(m, contract), contract, count)) for m in (model, rewritten)
    )
    return before - after


def _difference(first: bytes, second: bytes) -> float:
    """The largest one on noise."""
    interpreters = [Interpreter(model) for model in (first, second)]
    noise = np.random.default_rng(5).uniform(-1, 1, interpreters[0].input.shape)
    one, other = (np.asarray(i.invoke(noise.astype(np.float32))) for i in interpreters)
    assert np.ptp(one) > 0.01
    return float(np.abs(one - other).max())


def test_every_way_that_the_data_names_is_there() -> None:
    assert set(mapping.REWRITES) == set(REWRITES)


# --- hard-swish


def test_hard_swish_is_spelled_out(keras3: Any) -> None:
    """With ops that every accelerator has: the same in float, and about as good in int8."""

    def body(layers: Any, x: Any) -> Any:
        for _ in range(3):
            x = layers.Activation("hard_silu")(layers.Conv2D(24, 3, padding="same")(x))
        return x

    model = small_classifier(keras3, body)
    assert op_counts(model)["HARD_SWISH"] == 3
    rewritten, made = mapping.rewrite(model, "model", _CORAL)
    assert made == (mapping.Rewritten("HARD_SWISH", "spell_out", 3),)
    assert_same_in_float(model, rewritten)
    counts = op_counts(rewritten)
    assert (counts["HARD_SWISH"], counts["ADD"], counts["MUL"]) == (0, 3, 6)
    spelled = to_int8(rewritten)
    assert verify.float_ops(tflite.read(spelled, "int8")) == []
    assert _stays(spelled, _CORAL) == []
    gap = sqnr(answers(model), answers(to_int8(model))) - sqnr(answers(model), answers(spelled))
    assert -3 < gap < 1


@pytest.mark.parametrize("target", ["pi4", "android_nnapi@30"])
def test_what_a_target_takes_or_need_not_is_left_alone(keras3: Any, target: str) -> None:
    def body(layers: Any, x: Any) -> Any:
        return layers.Activation("hard_silu")(x)

    model = small_classifier(keras3, body)
    assert _rewritten(model, targets.find(target)) is model


# --- the mean of a plane


def _squeeze_and_excite(layers: Any, x: Any) -> Any:
    """As EfficientNet and MobileNetV3 have it (Keras 3.15, keras/src/applications)."""
    channels = x.shape[-1]
    gate = layers.GlobalAveragePooling2D()(x)
    gate = layers.Reshape((1, 1, channels))(gate)
    gate = layers.Conv2D(4, 1, activation="relu")(gate)
    return layers.Multiply()([x, layers.Conv2D(channels, 1, activation="sigmoid")(gate)])


def test_means_become_poolings_on_a_gpu(keras3: Any) -> None:
    """One op for the mean of squeeze-and-excitation; two at the end, where it drops dimensions."""
    model = small_classifier(keras3, _squeeze_and_excite)
    assert op_counts(model)["MEAN"] == 2
    rewritten, made = mapping.rewrite(model, "model", _GPU)
    assert made == (mapping.Rewritten("MEAN", "pool", 2),)
    assert_same_in_float(model, rewritten)
    counts = op_counts(rewritten)
    assert (counts["MEAN"], counts["AVERAGE_POOL_2D"], counts["RESHAPE"]) == (0, 2, 1)
    assert _stays(to_int8(model), _GPU) == ["MEAN", "MEAN"]
    int8 = to_int8(rewritten)
    assert verify.float_ops(tflite.read(int8, "int8")) == []
    assert _stays(int8, _GPU) == []


def test_a_pooling_costs_little_in_int8(keras3: Any) -> None:
    """It has the steps of what it averages, where a mean has its own."""
    model = small_classifier(keras3, _squeeze_and_excite)
    contract = Contract(SIZE, SIZE, (127.5,) * 3, (127.5,) * 3)
    assert -2 < _loss(model, _rewritten(model, _GPU), contract) < 2


def test_a_mean_of_something_else_stays(keras3: Any) -> None:
    def body(layers: Any, x: Any) -> Any:
        return layers.GlobalAveragePooling1D()(layers.Reshape((16, 24))(x))

    model = small_classifier(keras3, body)
    assert op_counts(model)["MEAN"] == 1
    assert _rewritten(model, _GPU) is model


def _large_plane(keras3: Any, height: int, width: int) -> bytes:
    layers = keras3.layers
    inputs = keras3.Input((height, width, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    model = keras3.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    randomize(model)
    return float_model(model)


@pytest.mark.parametrize(
    ("size", "bands"),
    [((112, 112), 2), ((256, 128), 4), ((113, 112), 2), ((150, 150), 3)],
    ids=str,
)
def test_the_mean_of_a_large_plane_is_split(keras3: Any, size: tuple[int, int], bands: int) -> None:
    """Into equal bands of at most 8,192 pixels, along the width where the height can't be cut."""
    model = _large_plane(keras3, *size)
    rewritten, made = mapping.rewrite(model, "model", _CORAL)
    assert made == (mapping.Rewritten("MEAN", "split", 1),)
    assert _difference(model, rewritten) < 1e-5
    counts = op_counts(rewritten)
    assert (counts["SPLIT"], counts["MEAN"], counts["CONCATENATION"]) == (1, bands + 1, 1)


def test_a_split_mean_maps_and_costs_little(keras3: Any) -> None:
    model = _large_plane(keras3, 112, 112)
    rewritten = _rewritten(model, _CORAL)
    contract = Contract(112, 112, (127.5,) * 3, (127.5,) * 3)
    assert "MEAN" in _stays(to_int8(model, contract), _CORAL)
    int8 = to_int8(rewritten, contract)
    assert verify.float_ops(tflite.read(int8, "int8")) == []
    assert _stays(int8, _CORAL) == []
    assert -3 < _loss(model, rewritten, contract) < 1


@pytest.mark.parametrize("size", [(64, 128), (97, 101)], ids=["small", "prime"])
def test_a_mean_that_fits_or_can_not_be_cut_stays(keras3: Any, size: tuple[int, int]) -> None:
    model = _large_plane(keras3, *size)
    assert _rewritten(model, _CORAL) is model
    if size == (97, 101):
        assert not _is_taken(model)


def _is_taken(model: bytes) -> bool:
    parsed = tflite.read(model, "model")
    (mean,) = [op for op in parsed.main.operators if op.name == "MEAN"]
    return targets.takes(parsed, mean, _CORAL)


# --- the end


def _with_softmax(keras3: Any, classes: int) -> Any:
    layers = keras3.layers
    inputs = keras3.Input((SIZE, SIZE, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, 2, activation="relu")(inputs))
    model = keras3.Model(inputs, layers.Dense(classes, activation="softmax")(x))
    randomize(model)
    return model


def test_a_softmax_stays_where_it_is_taken(keras3: Any) -> None:
    model = float_model(_with_softmax(keras3, 16000))
    assert _rewritten(model, _CORAL) is model


def test_a_softmax_that_is_too_long_is_cut_off(keras3: Any, run_cli: Any, tmp_path: Path) -> None:
    """The file says that it gives logits, so that `predict` still tells probabilities."""
    source = _with_softmax(keras3, 16001)
    source.save(tmp_path / "m.keras")
    output = tmp_path / "m.tflite"
    options = ("--int8", tmp_path / "m.keras", "--preprocess", "tf", "-o", output)
    run = run_cli("convert", *options, "--target", "coral", "--json")
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert document["rewritten"] == [{"op": "SOFTMAX", "how": "cut_off", "count": 1}]
    assert document["contract"]["output"] == "logits"
    assert all(op["accelerated"] for op in document["placement"]["ops"])
    assert any("SOFTMAX at the end is cut off" in w for w in document["calibration"]["warnings"])

    contract = tflite.read_contract(output.read_bytes(), str(output))
    assert contract is not None and contract.output == "logits"
    picture = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    plain = Contract(SIZE, SIZE, (127.5,) * 3, (127.5,) * 3)
    expected = np.asarray(source(to_input(picture[None], plain, np.float32)))[0]
    interpreter = Interpreter(output.read_bytes())
    steps = interpreter.invoke(to_input(picture[None], contract, np.int8))
    found = softmax(interpreter.output.dequantize(steps))
    assert expected.max() > 3 / 16001  # not about even
    assert found[expected.argmax()] == pytest.approx(expected.max(), rel=0.1)


def test_a_softmax_is_cut_off_on_request(keras3: Any, run_cli: Any, tmp_path: Path) -> None:
    _with_softmax(keras3, 5).save(tmp_path / "m.keras")
    for name, asked, output in (("a", (), "probabilities"), ("b", ("--logits",), "logits")):
        path = tmp_path / f"{name}.tflite"
        options = ("--int8", tmp_path / "m.keras", "--preprocess", "tf", "-o", path, *asked)
        run = run_cli("convert", *options)
        assert run.returncode == 0, run.stderr
        assert f", {output}, no labels" in run.stdout
        assert ("SOFTMAX at the end is cut off" in run.stderr) == bool(asked)
    first, second = (tflite.read((tmp_path / f"{n}.tflite").read_bytes(), n) for n in "ab")
    assert [op.name for op in first.main.operators][:-1] == [
        op.name for op in second.main.operators
    ]


def test_logits_where_there_is_nothing_to_cut_off(
    keras3: Any, run_cli: Any, tmp_path: Path
) -> None:
    layers = keras3.layers
    inputs = keras3.Input((SIZE, SIZE, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, 4)(inputs))
    for name, end in (("sigmoid", "sigmoid"), ("logits", None)):
        keras3.Model(inputs, layers.Dense(4, activation=end)(x)).save(tmp_path / f"{name}.keras")
    output = tmp_path / "m.tflite"
    options = ("--int8", "--preprocess", "tf", "--logits", "-o", output)
    run = run_cli("convert", tmp_path / "sigmoid.keras", *options)
    assert run.returncode == 2
    assert "it gives probabilities, and has no softmax" in run.stderr
    assert not output.exists()
    assert run_cli("convert", tmp_path / "logits.keras", *options).returncode == 0


def test_the_softmax_of_one_of_two_outputs_stays(keras3: Any) -> None:
    import tensorflow as tf

    layers = keras3.layers
    inputs = keras3.Input((SIZE, SIZE, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, 4)(inputs))
    both = [layers.Dense(4, activation="softmax")(x), layers.Dense(2)(x)]
    converter = tf.lite.TFLiteConverter.from_keras_model(keras3.Model(inputs, both))
    model = tflite.read(bytes(converter.convert()), "model")
    (softmax_,) = (op for op in model.main.operators if op.name == "SOFTMAX")
    other = next(i for i in model.main.outputs if i not in softmax_.outputs)
    for outputs, planned in (
        ((*softmax_.outputs, other), None),
        ((other, *softmax_.outputs), None),
        (softmax_.outputs, "cut_off"),
    ):
        main = dataclasses.replace(model.main, outputs=outputs)
        ordered = dataclasses.replace(model, subgraphs=(main,))
        assert mapping.planned(ordered, softmax_, None, logits=True) == planned


def test_cut_off_scores_are_compared_as_probabilities(
    keras3: Any, run_cli: Any, tmp_path: Path
) -> None:
    _with_softmax(keras3, 5).save(tmp_path / "m.keras")
    path = tmp_path / "m.tflite"
    options = ("--int8", tmp_path / "m.keras", "--preprocess", "tf", "-o", path, "--logits")
    assert run_cli("convert", *options).returncode == 0
    against = ("--quantization", "--against", tmp_path / "m.keras", "--preprocess", "tf", "--json")
    run = run_cli("inspect", path, *against)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["scores_sqnr_db"] > 10


def test_a_softmax_in_the_middle_stays(keras3: Any) -> None:
    def body(layers: Any, x: Any) -> Any:
        return layers.Softmax()(x)

    model = small_classifier(keras3, body)
    assert op_counts(model)["SOFTMAX"] == 1
    assert "SOFTMAX" in _stays(to_int8(model), _CORAL)
    assert mapping.rewrite(model, "model", _CORAL, logits=True) == (model, ())


# --- convert


def test_a_float_file_for_a_gpu_is_rewritten_too(tiny_keras: Path, tmp_path: Path) -> None:
    options = make_options("float16", target="android_gpu")
    conversion = convert(tiny_keras, tmp_path / "m.tflite", options=options)
    assert [made.op for made in conversion.rewritten] == ["MEAN"]
    assert op_counts(conversion.output.read_bytes())["AVERAGE_POOL_2D"] == 1
    assert conversion.quality is not None and conversion.quality.sqnr_db > 50


def test_the_stock_engine_takes_the_model_as_it_is(tiny_keras: Path, tmp_path: Path) -> None:
    options = make_options(engine="tflite", target="android_gpu")
    conversion = convert(tiny_keras, tmp_path / "m.tflite", options=options)
    assert conversion.rewritten == ()
    assert op_counts(conversion.output.read_bytes())["MEAN"] == 1
    assert "1 MEAN are left as they are: --engine tflite" in " ".join(conversion.warnings)


def test_a_wrong_rewriting_is_found(keras3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(graph: Any, op: Any, conditions: Any) -> bool:
        zero = graph.add_constant("zero", np.zeros(1, np.float32))
        graph.replace(
            op, [graph.new_op("MUL", [op.inputs[0], zero], op.output, ("MulOptions", {}))]
        )
        return True

    model = small_classifier(keras3, lambda layers, x: layers.Activation("hard_silu")(x))
    spelled = dataclasses.replace(mapping.REWRITES["spell_out"], apply=wrong)
    monkeypatch.setitem(mapping.REWRITES, "spell_out", spelled)
    with pytest.raises(RuntimeFailure, match="it answers otherwise"):
        mapping.rewrite(model, "model", _CORAL)
