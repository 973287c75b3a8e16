"""Quantization-aware training: the twin, its export, the training, and the parity gate."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import artefacts
import numpy as np
import processor_time
import pytest
import qat_support as support
from conftest import randomize, write_procedural
from training_support import write_photos

import edgekit
from edgekit import tflite
from edgekit.converters import reading
from edgekit.errors import EXIT_INTERRUPTED, NotMetError, UnreadableError, UsageError
from edgekit.training import keras_file
from edgekit.training.feeding import NONE
from edgekit.training.hooks import Hooks

pytestmark = pytest.mark.usefixtures("keras3")

#: A short training in which everything that has a state takes part.
SHORT: dict[str, Any] = {"epochs": 2, "batch": 8, "rate": 1e-3, "average": 0.5, "patience": 0}


def conditioned(model: Any) -> Any:
    """Random weights, with batch norms that know the statistics of what they see."""
    import keras

    from edgekit.converters import procedural

    randomize(model)
    height, width = model.input_shape[1:3]
    pictures = procedural.images(height, width, 1, 32).astype(np.float32)
    norms = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    for norm in norms:
        norm.momentum = 0.0
    model((pictures - 127) / 128, training=True)
    return model


def zoo_model(name: str) -> Any:
    from edgekit.training import zoo

    model, _ = zoo.build(name, classes=10, size=64, weights=None)
    return conditioned(model)


def nested_model() -> Any:
    """What people fine-tune: a backbone of keras.applications inside a Sequential."""
    import keras

    backbone = keras.applications.MobileNetV2(
        (64, 64, 3), alpha=0.35, include_top=False, weights=None
    )
    layers = keras.layers
    return conditioned(
        keras.Sequential(
            [
                keras.Input((64, 64, 3)),
                layers.Rescaling(1.0),
                backbone,
                layers.GlobalAveragePooling2D(),
                layers.Dropout(0.2),
                layers.Dense(7, activation="softmax", name="classes"),
            ]
        )
    )


def odd_model() -> Any:
    """Ops that the zoo has none of, each in a form that is easy to get wrong."""
    import keras

    layers = keras.layers
    image = keras.Input((24, 20, 3))
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=4)(image)
    a = layers.AveragePooling2D(3, 2, padding="same")(x)
    b = layers.MaxPooling2D(2)(x)
    x = layers.Concatenate()([layers.Maximum()([a, b]), layers.Subtract()([a, b]), b])
    x = layers.Conv2D(8, 3, dilation_rate=2, padding="same", activation="tanh")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.Resizing(20, 17, interpolation="nearest")(x)
    x = layers.ZeroPadding2D(((1, 0), (0, 2)))(x)
    x = layers.Conv2D(8, 3, strides=3, activation="relu")(x)
    gate = keras.ops.sum(x, axis=(1, 2), keepdims=True)
    gate = layers.Conv2D(8, 1, activation="sigmoid")(gate)
    x = layers.Multiply()([x, gate])
    x = layers.Flatten()(layers.Cropping2D(((1, 0), (0, 1)))(x))
    model = keras.Model(image, layers.Dense(6, name="logits")(layers.Dense(8, "relu6")(x)))
    randomize(model)
    return model


MODELS: dict[str, Callable[[], Any]] = {
    "odd": odd_model,
    "nested": nested_model,
    "mobilenet_v2": lambda: zoo_model("mobilenet_v2"),
    "mobilenet_v3_small": lambda: zoo_model("mobilenet_v3_small"),
    "efficientnet_b0": lambda: zoo_model("efficientnet_b0"),
}


# --- the twin


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_twin_is_the_float_graph_the_int8_file_and_the_way_back(name: str, tmp_path: Path) -> None:
    from edgekit.converters.qat import export, twin

    path = tmp_path / f"{name}.keras"
    support.write(MODELS[name](), path, "probabilities" if name == "nested" else "logits")
    of = support.quantized(path)

    # Without rounding it is the float graph, on a batch as on single pictures.
    expected = support.answers(of.model, of)
    found = twin.build(of.model, None, None, name)(of.inputs).numpy()
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()

    # With rounding, each layer is that op of the int8 file: given the same inputs, hardly a value
    # is another, and none by more than a step.
    model = twin.build(of.model, of.int8, of.contract, name)
    layers = support.differences(model, of)
    assert len(layers) == len(tflite.read(of.model, name).main.operators)
    assert max(layer.largest for layer in layers) <= 1
    assert max(layer.share for layer in layers) <= 1e-3

    # The graph that is written from the layers has the same grids. All of it together answers as
    # its int8 file does, though behind fifty layers of random weights every step that differs
    # somewhere has become thirty.
    exported = export.export(model)
    again = support.to_int8(exported.model, exported.ranges, of.contract)
    assert support.grids(again) == support.grids(of.int8)
    second = twin.build(exported.model, again, of.contract, name)
    found = support.compare(second, dataclasses.replace(of, model=exported.model, int8=again))
    assert found.is_met and found.close > 0.995, found

    # What is read from that file is written as the same file again.
    exported = export.export(second)
    assert support.to_int8(exported.model, exported.ranges, of.contract) == again


@pytest.mark.slow
def test_layers_keep_the_names_of_nested_models(tmp_path: Path) -> None:
    from edgekit.converters.qat import twin

    of = support.quantized(support.write(nested_model(), tmp_path / "m.keras", "probabilities"))
    names = [layer.name for layer in twin.build(of.model, of.int8, of.contract, "m").layers]
    assert any("block_3_depthwise" in name for name in names)
    assert any("classes" in name for name in names)


@pytest.mark.slow
def test_only_what_int8_rounds_is_rounded(tiny_keras: Path) -> None:
    from edgekit.converters.qat import twin
    from edgekit.converters.qat.layers import FakeQuant

    of = support.quantized(tiny_keras)
    model = twin.build(of.model, of.int8, of.contract, "tiny")
    graph = tflite.read(of.int8, "int8").main
    activations = {graph.inputs[0], *(i for op in graph.operators for i in op.outputs)}
    on_grids = [
        name for layer in model.layers if isinstance(layer, FakeQuant) for name in layer.tensors
    ]
    assert sorted(on_grids) == sorted(graph.tensors[i].name for i in activations)
    # The convolution, its batch norm and its relu6 are one op: one rounding after all three. With
    # the input and its rounding, and the real values of the output:
    assert len(model.layers) == 2 * len(graph.operators) + 3


@pytest.mark.parametrize("name", ["tiny", "odd"])
def test_gradients_reach_every_weight(name: str, tiny_keras: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    from edgekit.converters.qat import twin

    path = tiny_keras if name == "tiny" else support.write(odd_model(), tmp_path / "odd.keras")
    of = support.quantized(path)
    for learned in (False, True):
        model = twin.build(of.model, of.int8, of.contract, name, learned_ranges=learned)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(of.inputs, training=True) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        names = [variable.name for variable in model.trainable_variables]
        assert ("ratio" in names) == learned
        assert all(np.abs(gradient).max() > 0 for gradient in gradients), names


def test_learned_step_follows_lsq() -> None:
    """The gradient of the scale next to eq. 3 of arXiv:1902.08153, written out."""
    import tensorflow as tf

    from edgekit.converters.qat.layers import FakeQuant

    layer = FakeQuant(0.1, -28, ["x"], "learned")
    values = np.array([[-20.0, -0.512, 0.0, 0.049, 3.3333, 15.4, 16.0, 99.0]], np.float32)
    layer.build(values.shape)
    x = tf.Variable(values)
    with tf.GradientTape() as tape:
        rounded = layer(x)
        total = tf.reduce_sum(rounded)
    to_x, to_ratio = tape.gradient(total, [x, layer.ratio])

    low, high = -100, 155
    steps = values / np.float32(0.1)
    inside = (steps >= low) & (steps <= high)
    assert np.allclose(rounded, np.clip(np.rint(steps), low, high) * 0.1, atol=1e-6)
    assert np.array_equal(to_x, inside.astype(np.float32))
    by_scale = np.where(inside, np.rint(steps) - steps, np.clip(steps, low, high))
    expected = 0.1 * by_scale.sum() / np.sqrt(values.size * high)
    assert float(to_ratio) == pytest.approx(float(expected), rel=1e-3)


def test_a_dead_channel_keeps_its_bias(keras3: Any, tmp_path: Path) -> None:
    """Weights of 1e-12 next to a bias of 2: int32 has no room for it at that scale."""
    from edgekit.converters.qat import twin

    layers = keras3.layers
    image = keras3.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, name="conv")(image)
    model = keras3.Model(image, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))
    randomize(model)
    kernel, bias = model.get_layer("conv").get_weights()
    kernel[..., 5] *= 1e-12
    bias[5] = 2.0
    model.get_layer("conv").set_weights([kernel, bias])
    path = support.write(model, tmp_path / "m.keras")
    of = support.quantized(path)
    wanted = support.answers(of.model, of)

    def error(int8: bytes) -> float:
        return float(np.median(np.abs(support.answers(int8, of) - wanted)) / of.step)

    assert error(support.to_int8(of.base, of.ranges, of.contract)) > 10
    assert error(of.int8) < 1.5
    converted = edgekit.convert(path, tmp_path / "m.tflite").output.read_bytes()
    assert error(converted) < 4, "a plain conversion, in its own ranges"
    assert support.compare(twin.build(of.model, of.int8, of.contract, "m"), of).is_met


# --- the training, from a file to a file


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _photos(tmp_path_factory.mktemp("photos"))


def _photos(folder: Path) -> Path:
    return write_photos(folder, train=16, val=10)


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained classifier of colours that plain quantization hurts.

    Between two convolutions, channels are scaled up and down by factors up to 100 that cancel out:
    one range for all of them leaves few steps for most.
    """
    folder = tmp_path_factory.mktemp("fragile") / "files"
    return artefacts.copy_of("fragile", folder, _make_fragile) / "m.keras"


def _make_fragile(folder: Path) -> None:
    import keras

    from edgekit import datasets, images
    from edgekit.contract import Contract

    contract = Contract(32, 32, (127.0,) * 3, (128.0,) * 3)
    splits = datasets.open_splits(_photos(folder / "photos"))
    pictures = np.stack([images.load(e.path, contract) for e in splits.train])
    inputs = images.to_input(pictures, contract, np.float32)
    labels = np.array([e.label for e in splits.train])
    keras.utils.set_random_seed(3)
    layers = keras.layers
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(12, 3, 2, activation="relu", name="first")(image)
    x = layers.Conv2D(12, 3, 2, activation="relu", name="second")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(3, name="logits")(x), name="fragile")
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.fit(inputs, labels, 16, epochs=40, verbose=0)
    factors = np.geomspace(0.05, 500, 12).astype(np.float32)
    first, second = model.get_layer("first"), model.get_layer("second")
    (kernel, bias), (after, after_bias) = first.get_weights(), second.get_weights()
    first.set_weights([kernel * factors, bias * factors])
    second.set_weights([after / factors[:, None], after_bias])
    path = folder / "m.keras"
    model.save(path)
    keras_file.add_contract(path, dataclasses.replace(contract, labels=splits.classes))


@pytest.fixture(scope="module")
def trained(fragile: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The result of a training by all defaults but its length."""
    output = tmp_path_factory.mktemp("qat") / "q.keras"
    with processor_time.apart("edgekit qat"):
        return edgekit.qat(fragile, photos, output, **{**SHORT, "epochs": 8, "augmentation": NONE})


def test_training_brings_accuracy_back(trained: Any) -> None:
    assert trained.float_accuracy >= 0.9
    assert trained.before <= trained.float_accuracy - 0.1, "plain quantization should hurt here"
    assert trained.accuracy.top1 >= trained.before + 0.2
    assert trained.metrics["int8_val_accuracy"] == trained.accuracy.top1
    text = str(trained)
    assert "Float accuracy" in text and "Int8 before" in text and "convert --int8" in text
    assert keras_file.read_contract(trained.output)[0].labels == ("blue", "green", "red")
    assert len(list((trained.folder / "calibration").glob("*.png"))) == 48


@pytest.mark.slow
def test_reloads_in_a_fresh_process_without_custom_objects(trained: Any) -> None:
    import keras

    image = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    here = keras.saving.load_model(trained.output, compile=False)(image).numpy()
    code = (
        "import sys, numpy as np, keras\n"
        "import edgekit.converters.qat.layers\n"
        "model = keras.models.load_model(sys.argv[1])\n"
        "image = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)\n"
        "print(model(image).numpy().tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, trained.output], capture_output=True, text=True, check=True
    )
    assert np.allclose(json.loads(done.stdout.splitlines()[-1]), here, atol=1e-6)


def test_converts_without_data_to_the_file_that_was_trained(trained: Any, tmp_path: Path) -> None:
    import keras

    from edgekit.converters.qat import export

    conversion = edgekit.convert(trained.output, tmp_path / "q.tflite")
    grids = support.grids(conversion.output.read_bytes())
    model = keras.saving.load_model(trained.output, compile=False)
    ranges = export.ranges_of(model)
    assert set(ranges) <= set(grids)
    for name, (low, high) in ranges.items():
        scale, zero_point = grids[name]
        assert scale == pytest.approx((high - low) / 255, rel=1e-6)
        assert zero_point == round(-128 - low / scale)
    assert conversion.parity is not None and conversion.parity.is_met


@pytest.mark.slow
def test_learned_ranges_are_handed_on(
    fragile: Path, photos: Path, trained: Any, tmp_path: Path
) -> None:
    import keras

    from edgekit.converters.qat import export

    output = tmp_path / "q.keras"
    result = edgekit.qat(fragile, photos, output, learned_ranges=True, augmentation=NONE, **SHORT)
    assert result.accuracy.top1 >= result.before
    read = reading.read(reading.Request(output, "keras"), reading.Stopwatch(None))
    assert read.learned is not None
    found, fixed = (
        export.ranges_of(keras.saving.load_model(path, compile=False))
        for path in (output, trained.output)
    )
    assert read.learned.ranges == found
    assert found["image"] == fixed["image"], "the contract's"
    assert all(found[name] != fixed[name] for name in found if name != "image")


@pytest.mark.slow
def test_resumes_as_if_nothing_had_happened(fragile: Path, photos: Path, tmp_path: Path) -> None:
    import keras

    settings = {**SHORT, "epochs": 3}
    whole = edgekit.qat(fragile, photos, tmp_path / "whole.keras", **settings)

    def stop(row: Any) -> None:
        if row.epoch == 2:
            raise KeyboardInterrupt

    output = tmp_path / "q.keras"
    cut = edgekit.qat(fragile, photos, output, hooks=Hooks(on_epoch=stop), **settings)
    assert cut.interrupted and output.is_file()
    with pytest.raises(UsageError, match="other settings"):
        edgekit.qat(fragile, photos, output, job={"resume": True}, **{**settings, "rate": 1e-4})
    resumed = edgekit.qat(fragile, photos, output, job={"resume": True}, **settings)
    assert not resumed.interrupted
    assert [row.loss for row in resumed.history] == pytest.approx(
        [row.loss for row in whole.history], rel=1e-3
    )
    one, other = (keras.saving.load_model(p, compile=False) for p in (whole.output, output))
    for mine, its in zip(one.weights, other.weights, strict=True):
        assert np.allclose(mine, its, atol=1e-4), mine.path
    assert not (tmp_path / "q.training").exists()


@pytest.mark.slow
def test_killed_then_interrupted_then_resumed_in_processes_of_their_own(
    fragile: Path, photos: Path, tmp_path: Path
) -> None:
    output, settings = tmp_path / "q.keras", {**SHORT, "epochs": 12}
    whole = edgekit.qat(fragile, photos, tmp_path / "whole.keras", **settings)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "edgekit", "qat", fragile, "--data", photos, *options]

    def run_until(line: str, sent: signal.Signals | None, *more: str) -> int:
        with subprocess.Popen(
            [*command, "-o", output, *more], stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            for written in process.stderr:
                if sent is not None and written.startswith(line):
                    process.send_signal(sent)
        return process.returncode

    assert run_until("epoch   1", signal.SIGKILL) == -signal.SIGKILL
    assert not output.exists() and not keras_file.folder_beside(output).exists()
    assert run_until("epoch   4", signal.SIGINT, "--resume") == EXIT_INTERRUPTED
    assert output.is_file(), "the best so far"
    assert run_until("", None, "--resume") == 0
    told = json.loads((keras_file.folder_beside(output) / "metrics.json").read_text())
    assert [row["loss"] for row in told["history"]] == pytest.approx(
        [row.loss for row in whole.history], rel=1e-3
    )


@pytest.mark.slow
def test_a_time_budget_ends_it(fragile: Path, photos: Path, tmp_path: Path) -> None:
    settings = {**SHORT, "epochs": 10_000}
    result = edgekit.qat(fragile, photos, tmp_path / "q.keras", job={"budget": 15.0}, **settings)
    assert 0 < len(result.history) < 10_000
    assert "time budget" in str(result)


@pytest.mark.slow
def test_the_start_is_kept_where_no_epoch_is_better(
    fragile: Path, photos: Path, tmp_path: Path
) -> None:
    result = edgekit.qat(
        fragile, photos, tmp_path / "q.keras", steps=2, batch=8, rate=0.0, average=0.0
    )
    assert result.accuracy.top1 == result.before
    assert result.metrics["kept"] is None and len(result.history) == 1


# --- the parity gate


def test_gate_names_the_layer_that_is_wrong(tiny_keras: Path) -> None:
    from edgekit.converters.qat import parity, twin

    of = support.quantized(tiny_keras)
    model = twin.build(of.model, of.int8, of.contract, "tiny")
    assert support.compare(model, of).is_met
    spoiled = next(layer for layer in model.layers if getattr(layer, "op", "") == "ADD")
    layer = next(x for x in model.layers if getattr(x, "op", "") == "DEPTHWISE_CONV_2D")
    layer.kernel.assign(layer.kernel * -1.0)
    found = support.compare(model, of)
    assert not found.is_met
    error = parity.not_met(found, support.differences(model, of), "tiny.keras")
    assert isinstance(error, NotMetError)
    assert f"the first that differs: {layer.tensor.split(';')[0]}" in error.message
    assert spoiled.tensor.split(";")[0] not in error.message.partition("the worst")[0]


def test_gate_is_closed_by_either_promise() -> None:
    from edgekit.converters.qat import parity

    scores = np.random.default_rng(0).normal(0, 50, (400, 10)).round().astype(np.float32)
    assert parity.compare(scores, scores, 1.0).is_met
    assert parity.compare(scores, scores + 2, 1.0).is_met
    far = scores.copy()
    far[:, 0] -= np.where(np.arange(400) < 60, 3, 0)  # 1.5 % of the outputs
    assert not parity.compare(scores, far, 1.0).is_met
    turned = scores.copy()
    turned[:3] = np.roll(scores[:3], 1, axis=1)  # 3 of 400 answers, 0.75 % of the outputs
    found = parity.compare(scores, turned, 1.0)
    assert found.close >= 0.99 and found.same_top1 == 397 and not found.is_met


# --- what is refused


def _refused(source: Path, data: Path, output: Path, **job: Any) -> None:
    edgekit.qat(source, data, output, job=job, **SHORT)


def test_refuses_what_can_not_be_trained(keras3: Any, photos: Path, tmp_path: Path) -> None:
    layers = keras3.layers

    def save(
        name: str, activation: Any, outputs: int = 3, last: Any = None, split: bool = False
    ) -> Path:
        image = keras3.Input((16, 16, 3))
        x = layers.Conv2D(4, 3, activation=activation, name="strange")(image)
        x = layers.Add()(keras3.ops.split(x, 2, axis=1)) if split else x
        x = layers.GlobalAveragePooling2D()(x)
        model = keras3.Model(image, layers.Dense(outputs, activation=last)(x))
        output = "logits" if last is None else "probabilities"
        return support.write(model, tmp_path / f"{name}.keras", output)

    output = tmp_path / "q.keras"
    with pytest.raises(NotMetError, match=r"strange.*\(ELU\)"):
        _refused(save("elu", "elu"), photos, output)
    with pytest.raises(UsageError, match=r"trained quantization-aware: .*\(SPLIT\)"):
        _refused(save("split", None, split=True), photos, output)
    with pytest.raises(UsageError, match=r"3 classes, but .* 5 outputs"):
        _refused(save("five", "relu", 5), photos, output)
    with pytest.raises(UsageError, match="sigmoid"):
        _refused(save("sigmoid", "relu", 3, "sigmoid"), photos, output)
    labelled = save("labels", "relu")
    contract, _ = keras_file.read_contract(labelled)
    contract = dataclasses.replace(contract, labels=("a", "b", "red"))
    _rewrite(labelled, keras_file.MEMBER, contract.to_json())
    with pytest.raises(UsageError, match="'blue' is none of its labels"):
        _refused(labelled, photos, output)
    assert not output.exists() and not (tmp_path / "q.edgekit").exists()


@pytest.mark.slow
def test_data_are_brought_into_the_order_of_the_labels(
    fragile: Path, photos: Path, tmp_path: Path
) -> None:
    """The same model with its outputs in another order is as good."""
    import keras

    model = keras.saving.load_model(fragile, compile=False)
    kernel, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([kernel[:, ::-1], bias[::-1]])
    turned = tmp_path / "m.keras"
    model.save(turned)
    contract, _ = keras_file.read_contract(fragile)
    keras_file.add_contract(turned, dataclasses.replace(contract, labels=contract.labels[::-1]))
    result = edgekit.qat(turned, photos, tmp_path / "q.keras", steps=1, batch=8)
    assert result.float_accuracy >= 0.9
    assert keras_file.read_contract(result.output)[0].labels == ("red", "green", "blue")


@pytest.mark.slow
def test_refuses_a_model_trained_so_already_or_by_a_newer_edgekit(
    trained: Any, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="trained quantization-aware already"):
        _refused(trained.output, photos, tmp_path / "again.keras")
    newer = tmp_path / "newer.keras"
    newer.write_bytes(trained.output.read_bytes())
    with zipfile.ZipFile(newer) as archive:
        config = archive.read("config.json").decode()
    _rewrite(newer, "config.json", config.replace('"format": 1', '"format": 2'))
    with pytest.raises(UnreadableError, match="format 2, and this edgekit reads format 1"):
        edgekit.convert(newer, tmp_path / "m.tflite", data=photos)


def test_refuses_existing_outputs_and_odd_settings(
    fragile: Path, photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "q.keras"
    output.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists already"):
        _refused(fragile, photos, output)
    assert output.read_bytes() == b"mine"
    with pytest.raises(UsageError, match=r"written as \.keras"):
        _refused(fragile, photos, tmp_path / "q.h5")
    with pytest.raises(UsageError, match="would be replaced"):
        _refused(fragile, photos, fragile, force=True)
    with pytest.raises(UsageError, match="distillation 2 is not in 0 to 1"):
        edgekit.qat(fragile, photos, tmp_path / "p.keras", distillation=2.0)
    single = write_procedural(tmp_path / "single", 3)
    with pytest.raises(UnreadableError):
        _refused(fragile, single, tmp_path / "p.keras")


def _rewrite(path: Path, member: str, text: str) -> None:
    """Replaces one member of a zip."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (contents | {member: text.encode()}).items():
            archive.writestr(name, data)


# --- the command line


@pytest.mark.slow
def test_command_line(
    fragile: Path, photos: Path, tmp_path: Path, run_cli: Callable[..., Any]
) -> None:
    output = tmp_path / "q.keras"
    done = run_cli("qat", fragile, "--data", photos, "-o", output, "--steps", 2, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["output"] == str(output) and document["recipe"]["steps"] == 2
    assert "epoch   1" in done.stderr and "Error" not in done.stderr
    again = run_cli("qat", fragile, "--data", photos, "-o", output)
    assert again.returncode == 2 and "exists already" in again.stderr
    missing = run_cli("qat", tmp_path / "no.keras", "--data", photos, "-o", tmp_path / "p.keras")
    assert missing.returncode == 3


def test_help_says_the_defaults_of_the_recipe(run_cli: Callable[..., Any]) -> None:
    import re
    import typing

    from edgekit.converters.qat.recipe import Recipe, Settings

    recipe = Recipe()
    assert list(typing.get_type_hints(Settings)) == [f.name for f in dataclasses.fields(Recipe)]
    text = " ".join(run_cli("qat", "--help").stdout.split())
    assert "Examples:" in text and "Exit codes:" in text
    for name in ("epochs", "batch", "rate", "warmup", "distillation", "temperature", "average"):
        option = name.replace("_", "-")
        told = re.search(rf"--{option} .*?\[default: ([^\]]+)\]", text)
        assert told is not None, name
        assert float(told[1]) == getattr(recipe, name), name
