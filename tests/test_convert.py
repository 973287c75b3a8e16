"""`edgekit convert`: a real model on real photos, then every mode and many small models."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import processor_time
import pytest
from conftest import randomize, write_picture, write_procedural

import edgekit
from edgekit import datasets, images, tflite
from edgekit.contract import NORMALIZATIONS, Contract
from edgekit.converters import Conversion, bias_correction, convert, make_options
from edgekit.evaluation import metrics
from edgekit.evaluation.run import run_all
from edgekit.overrides import Overrides
from edgekit.runtime import Interpreter
from edgekit.training import keras_file

Cli = Callable[..., subprocess.CompletedProcess[str]]

UNIT = Overrides(normalization=NORMALIZATIONS["unit"])


def contract_of(path: Path) -> Contract:
    contract = tflite.read_contract(path.read_bytes(), str(path))
    assert contract is not None
    return contract


def pictures_of(folder: Path, contract: Contract) -> images.Picture:
    return datasets.load(datasets.find(folder).samples, contract).pictures


def scores_of(path: Path, photos: Path) -> np.ndarray:
    """What a converted file answers, dequantized."""
    contract = contract_of(path)
    return run_all(path.read_bytes(), pictures_of(photos, contract), contract)


def keras_scores(model: Any, photos: Path, contract: Contract) -> np.ndarray:
    """What the Keras model itself answers."""
    values = images.to_input(pictures_of(photos, contract), contract, np.float32)
    return np.asarray(model(values, training=False), np.float32)


def assert_int8_throughout(path: Path) -> None:
    inspection = edgekit.inspect(path)
    assert inspection.arithmetic.kind == "int8", inspection.arithmetic.reason
    assert inspection.arithmetic.islands == ()
    graph = tflite.read(path.read_bytes(), str(path)).main
    assert not [t.name for t in graph.tensors if t.is_float]
    for op in graph.operators:
        if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            weights = graph.tensors[op.inputs[1]]
            channels = weights.shape[3 if op.name == "DEPTHWISE_CONV_2D" else 0]
            assert len(weights.scales) == channels, f"{weights.name} is not per channel"


# --- EfficientNet-Lite0 on real photos


@dataclass(frozen=True)
class Lite0:
    """One conversion through the command line."""

    run: subprocess.CompletedProcess[str]
    output: Path
    passport: dict[str, Any]


@pytest.fixture(scope="module")
def lite0(
    run_cli: Cli,
    lite0_keras: Path,
    imagenet_split: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Lite0:
    output = tmp_path_factory.mktemp("out") / "lite0.tflite"
    with processor_time.apart("edgekit convert on photos"):
        run = run_cli(
            *("convert", "--int8", lite0_keras, "--data", imagenet_split[0]),
            *("-o", output, "--layers"),
        )
    assert run.returncode == 0, run.stderr
    return Lite0(run, output, json.loads(output.with_name("lite0.tflite.json").read_text()))


@pytest.mark.slow
@pytest.mark.road
def test_lite0_is_the_same_classifier(
    lite0: Lite0, lite0_float: Path, imagenet_split: tuple[Path, Path]
) -> None:
    reference, result = edgekit.evaluate([lite0_float, lite0.output], imagenet_split[1]).models
    assert result.agreement is not None and result.sqnr_db is not None
    assert 0.97 <= result.agreement <= 1.0
    assert 20 <= result.sqnr_db <= 26
    assert reference.accuracy is not None and result.accuracy is not None
    assert abs(reference.accuracy.top1 - result.accuracy.top1) <= 0.02
    assert 0.25 <= result.size_bytes / reference.size_bytes <= 0.35


def test_lite0_has_no_float_op_and_a_pinned_input(lite0: Lite0) -> None:
    assert_int8_throughout(lite0.output)
    inspection = edgekit.inspect(lite0.output)
    source, scores = inspection.inputs[0], inspection.outputs[0]
    assert (source.dtype, source.scale, source.zero_point) == ("int8", 1 / 128, -1)
    assert (scores.dtype, scores.shape) == ("int8", (1, 1000))
    assert "int8 input = pixel - 128" in lite0.run.stdout


def test_lite0_carries_contract_and_labels(lite0: Lite0, lite0_keras: Path) -> None:
    stored = keras_file.read_contract(lite0_keras)
    assert stored is not None
    assert contract_of(lite0.output) == stored[0]
    assert edgekit.inspect(lite0.output).contract_source == "edgekit.json"
    with zipfile.ZipFile(lite0.output) as archive:
        assert archive.testzip() is None
        assert "edgekit.json" in archive.namelist()
        (labels,) = [name for name in archive.namelist() if name.endswith(".txt")]
        assert archive.read(labels).decode().splitlines()[7] == "cock"


def test_lite0_runs_by_its_signature(lite0: Lite0, imagenet_split: tuple[Path, Path]) -> None:
    from ai_edge_litert.interpreter import Interpreter as Native

    contract, model = contract_of(lite0.output), lite0.output.read_bytes()
    picture = pictures_of(imagenet_split[1], contract)[0]
    value = (picture.astype(np.int16) - 128).astype(np.int8)[None]
    native = Native(model_content=model)
    assert list(native.get_signature_list()) == ["serving_default"]
    (scores,) = native.get_signature_runner("serving_default")(image=value).values()
    np.testing.assert_array_equal(scores[0], Interpreter(model).invoke(value))


def test_lite0_passport(lite0: Lite0, lite0_keras: Path) -> None:
    passport = lite0.passport
    for part, path in (("source", lite0_keras), ("output", lite0.output)):
        assert passport[part]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert passport[part]["file"] == path.name
    assert passport["output"]["bytes"] == lite0.output.stat().st_size
    for package in ("tensorflow", "keras", "ai-edge-litert", "litert-quantizer", "numpy"):
        assert passport["versions"][package] == importlib.metadata.version(package)
    assert passport["options"]["quantization"] == "int8"
    assert passport["options"]["seed"] == 0
    assert passport["recipe"][0]["op_config"]["weight_tensor_config"]["num_bits"] == 8
    assert passport["calibration"]["method"] == "profiler"
    assert "100 of 100 photos" in passport["calibration"]["source"]
    assert passport["results"]["on"] == "calibration images"
    assert passport["results"]["images"] == 100
    assert 0.97 <= passport["results"]["top1_agreement_with_float"] <= 1
    assert 20 <= passport["results"]["sqnr_db"] <= 26
    assert {"read", "export", "load images", "calibrate", "quantize", "verify"} <= set(
        passport["seconds"]
    )
    assert all(seconds >= 0 for seconds in passport["seconds"].values())


def test_lite0_text_and_layers(lite0: Lite0) -> None:
    text = lite0.run.stdout
    assert "same top-1 as float on 100 calibration images" in text
    assert "accuracy" not in (text + lite0.run.stderr).lower()
    assert "from lite0.keras itself" in text
    assert f"Written: {lite0.output}" in text
    layers = lite0.passport["results"]["worst_layers"]
    assert len(layers) == 5
    ratios = [layer["sqnr_db"] for layer in layers]
    assert ratios == sorted(ratios)
    assert all(layer["name"] in text for layer in layers)
    assert all(5 < ratio < 30 for ratio in ratios)


@pytest.mark.slow
def test_lite0_again_gives_the_same_bytes_and_json(
    run_cli: Cli,
    lite0: Lite0,
    lite0_keras: Path,
    imagenet_split: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    output = tmp_path / "again.tflite"
    run = run_cli(
        "convert", "--int8", lite0_keras, "--data", imagenet_split[0], "-o", output, "--json"
    )
    document = json.loads(run.stdout)
    assert document["written"] == str(output)
    assert document["results"]["images"] == 100
    assert output.read_bytes() == lite0.output.read_bytes()


# --- every mode, on a small model


@pytest.fixture(scope="module")
def tiny_model(keras3: Any, tiny_keras: Path) -> Any:
    return keras3.saving.load_model(tiny_keras)


@pytest.fixture(scope="module")
def tiny_int8(
    tiny_keras: Path, tiny_photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Conversion:
    output = tmp_path_factory.mktemp("int8") / "tiny.tflite"
    return convert(tiny_keras, output, data=tiny_photos)


def test_float32_answers_as_keras(tiny_float: Path, tiny_model: Any, tiny_photos: Path) -> None:
    expected = keras_scores(tiny_model, tiny_photos, contract_of(tiny_float))
    np.testing.assert_allclose(scores_of(tiny_float, tiny_photos), expected, atol=1e-5)
    assert edgekit.inspect(tiny_float).arithmetic.kind == "float32"
    passport = json.loads(Path(f"{tiny_float}.json").read_text())
    assert (passport["recipe"], passport["results"]) == (None, None)


def test_int8_on_a_small_model(tiny_int8: Conversion, tiny_model: Any, tiny_photos: Path) -> None:
    assert_int8_throughout(tiny_int8.output)
    expected = keras_scores(tiny_model, tiny_photos, tiny_int8.contract)
    found = scores_of(tiny_int8.output, tiny_photos)
    assert tiny_int8.quality is not None
    assert 24 <= metrics.sqnr(expected, found) <= 42
    assert tiny_int8.quality.sqnr_db == pytest.approx(metrics.sqnr(expected, found), abs=0.05)
    same = metrics.agreement(expected.argmax(1), found.argmax(1))
    assert tiny_int8.quality.agreement == same
    assert (tiny_int8.contract.mean, tiny_int8.contract.fit) == ((127.0,) * 3, "crop")


@pytest.mark.parametrize(
    ("quantization", "dtype", "kind", "low", "high"),
    [
        ("float16", "float16", "float16", 55, 90),
        ("dynamic", "int8", "dynamic", 25, 55),
        ("int16x8", "int16", "int16x8", 30, 55),
    ],
)
def test_other_quantizations(
    tiny_float: Path,
    tiny_photos: Path,
    tmp_path: Path,
    quantization: str,
    dtype: str,
    kind: str,
    low: float,
    high: float,
) -> None:
    conversion = convert(
        tiny_float, tmp_path / "m.tflite", options=make_options(quantization), data=tiny_photos
    )
    inspection = edgekit.inspect(conversion.output)
    assert inspection.arithmetic.kind == kind
    assert (inspection.inputs[0].dtype, inspection.outputs[0].dtype) == ("float32", "float32")
    graph = tflite.read(conversion.output.read_bytes(), "m").main
    assert dtype in {tensor.dtype for tensor in graph.tensors}
    reference = scores_of(tiny_float, tiny_photos)
    assert low <= metrics.sqnr(reference, scores_of(conversion.output, tiny_photos)) <= high


@pytest.mark.slow
def test_io_types_change_no_answer(
    tiny_float: Path, tiny_int8: Conversion, tiny_photos: Path, tmp_path: Path
) -> None:
    expected = scores_of(tiny_int8.output, tiny_photos)
    step = edgekit.inspect(tiny_int8.output).outputs[0].scale
    assert step is not None
    for given in ("int8", "uint8", "float32"):
        for wanted in ("int8", "uint8", "float32"):
            options = make_options(input_type=given, output_type=wanted)
            output = tmp_path / f"{given}_{wanted}.tflite"
            convert(tiny_float, output, options=options, data=tiny_photos)
            ends = edgekit.inspect(output)
            assert (ends.inputs[0].dtype, ends.outputs[0].dtype) == (given, wanted)
            found = scores_of(output, tiny_photos)
            np.testing.assert_allclose(found, expected, atol=1.001 * step)


@pytest.mark.parametrize("source", ["float_tflite", "savedmodel"])
def test_other_sources_give_the_same_file(
    keras3: Any,
    tiny_float: Path,
    tiny_model: Any,
    tiny_int8: Conversion,
    tiny_photos: Path,
    tmp_path: Path,
    source: str,
) -> None:
    path, overrides = tiny_float, Overrides()
    if source == "savedmodel":
        path = tmp_path / "saved"
        tiny_model.export(path, verbose=False)
        normalization = NORMALIZATIONS["efficientnet_lite"]
        overrides = Overrides(normalization=normalization, resize_rule="crop")
    conversion = convert(path, tmp_path / "m.tflite", data=tiny_photos, overrides=overrides)
    assert_int8_throughout(conversion.output)
    assert conversion.contract == tiny_int8.contract
    expected = scores_of(tiny_int8.output, tiny_photos)
    np.testing.assert_array_equal(scores_of(conversion.output, tiny_photos), expected)


def test_stock_engine(
    tiny_keras: Path, tiny_float: Path, tiny_photos: Path, tmp_path: Path
) -> None:
    conversion = convert(
        tiny_keras,
        tmp_path / "m.tflite",
        options=make_options(engine="tflite"),
        data=tiny_photos,
    )
    assert_int8_throughout(conversion.output)
    assert conversion.options.engine == "tflite"
    reference = scores_of(tiny_float, tiny_photos)
    assert 24 <= metrics.sqnr(reference, scores_of(conversion.output, tiny_photos)) <= 48
    # The recipe in the passport is litert-quantizer's, which had no part in this file.
    assert json.loads(conversion.passport.read_text())["recipe"] is None


def test_without_data_it_says_what_that_costs(
    run_cli: Cli, tiny_float: Path, tmp_path: Path
) -> None:
    output = tmp_path / "m.tflite"
    run = run_cli("convert", tiny_float, "-o", output)
    assert run.returncode == 0, run.stderr
    assert "Warning: No --data was given" in run.stderr
    assert "got another answer" in run.stderr
    assert "--data PHOTOS" in run.stderr
    assert "64 procedural images (seed 0)" in run.stdout
    passport = json.loads(Path(f"{output}.json").read_text())
    assert passport["calibration"]["warnings"][0].startswith("No --data was given")
    assert_int8_throughout(output)


def test_images_kept_beside_the_model_are_used(
    tiny_float: Path, tiny_int8: Conversion, tiny_photos: Path, tmp_path: Path
) -> None:
    source = tmp_path / "mine.tflite"
    shutil.copyfile(tiny_float, source)
    kept = keras_file.calibration_beside(source)
    kept.mkdir(parents=True)
    contract = Contract(32, 32, fit="crop")
    for photo in tiny_photos.iterdir():
        write_picture(kept / photo.name, images.load(photo, contract))
    conversion = convert(source, tmp_path / "out.tflite")
    assert conversion.calibration_source is not None
    assert "40 of 40 photos" in conversion.calibration_source
    assert str(Path("mine.edgekit", "calibration")) in conversion.calibration_source
    assert conversion.calibration_sha256 == tiny_int8.calibration_sha256
    assert not [w for w in conversion.warnings if "No --data" in w]


# --- small models of many kinds


def _vgg(keras: Any, **ends: Any) -> Any:
    """A plain convolutional classifier with a name that tells nothing."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(12, 3, activation="relu", **ends),
            layers.MaxPooling2D(),
            layers.Conv2D(12, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4),
        ],
        name="plain",
    )


def _nested(keras: Any) -> Any:
    layers = keras.layers
    inputs = keras.Input((32, 32, 3))
    x = layers.BatchNormalization()(layers.Conv2D(12, 3, strides=2, use_bias=False)(inputs))
    backbone = keras.Model(inputs, layers.ReLU(6.0)(x), name="backbone")
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.RandomFlip("horizontal"),
            backbone,
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.5),
            layers.Dense(4, activation="softmax"),
        ]
    )


def _shared_layer(keras: Any) -> Any:
    layers = keras.layers
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, strides=2, activation="relu6")(inputs)
    twice = layers.Conv2D(8, 3, padding="same", activation="relu6")
    x = layers.GlobalAveragePooling2D()(twice(twice(x)))
    return keras.Model(inputs, layers.Dense(4)(x))


def _grouped(keras: Any) -> Any:
    layers = keras.layers
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(12, 3, strides=2, activation="relu")(inputs)
    x = layers.Conv2D(24, 3, groups=4, activation="relu")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(x)
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))


def _branches(keras: Any) -> Any:
    layers = keras.layers
    inputs = keras.Input((32, 32, 3))
    left = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")(inputs)
    right = layers.AveragePooling2D(2)(layers.Conv2D(6, 5, padding="same")(inputs))
    x = layers.Conv2D(12, 1, activation="relu6")(layers.Concatenate()([left, right]))
    return keras.Model(inputs, layers.Dense(4)(layers.Flatten()(layers.MaxPooling2D(4)(x))))


def _normalization(keras: Any) -> Any:
    layers = keras.layers
    normalization = layers.Normalization()
    normalization.adapt(np.random.default_rng(0).normal((120, 110, 100), 60, (8, 32, 32, 3)))
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(12, 3, strides=2, activation="relu")(normalization(inputs))
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))


def _mixed_precision(keras: Any) -> Any:
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        return _vgg(keras)
    finally:
        keras.mixed_precision.set_global_policy("float32")


_KINDS: dict[str, tuple[Callable[[Any], Any], str, Overrides]] = {
    "nested": (_nested, ".h5", UNIT),
    "shared_layer": (_shared_layer, ".keras", UNIT),
    "grouped": (_grouped, ".keras", UNIT),
    "branches": (_branches, ".h5", UNIT),
    "normalization": (_normalization, ".keras", Overrides()),
    "mixed_precision": (_mixed_precision, ".keras", UNIT),
}


@pytest.mark.parametrize("kind", list(_KINDS))
def test_models_of_many_kinds(keras3: Any, tiny_photos: Path, tmp_path: Path, kind: str) -> None:
    build, suffix, overrides = _KINDS[kind]
    model = build(keras3)
    kept = [w.numpy() for w in model.layers[1].weights] if kind == "normalization" else []
    randomize(model)
    for weight, value in zip(model.layers[1].weights, kept, strict=False):
        weight.assign(value)
    source, output = tmp_path / f"m{suffix}", tmp_path / "m.tflite"
    model.save(source)
    options = make_options("float32")
    exported = convert(source, tmp_path / "f.tflite", options=options, overrides=overrides)
    convert(exported.output, output, data=tiny_photos)
    assert_int8_throughout(output)
    if kind == "normalization":
        assert "raw pixels, inferred from layer" in exported.contract_source
        assert "(Normalization)" in exported.contract_source
    if kind == "mixed_precision":  # the same weights, computed as they are exported
        weights, model = model.get_weights(), _vgg(keras3)
        model.set_weights(weights)
    expected = keras_scores(model, tiny_photos, exported.contract)
    np.testing.assert_allclose(scores_of(exported.output, tiny_photos), expected, atol=2e-5)
    assert 18 <= metrics.sqnr(expected, scores_of(output, tiny_photos)) <= 50


def test_a_nested_h5_becomes_int8(keras3: Any, tiny_photos: Path, tmp_path: Path) -> None:
    model = _nested(keras3)
    model.save(tmp_path / "m.h5")
    conversion = convert(tmp_path / "m.h5", data=tiny_photos, overrides=UNIT)
    assert_int8_throughout(conversion.output)
    assert conversion.output == tmp_path / "m.tflite"
    assert conversion.contract.output == "probabilities"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "source"),
    [
        ("MobileNetV2", 96, "tf, inferred from the name 'mobilenetv2_1.00_96'"),
        ("MobileNetV3Small", 224, "(Rescaling)"),
        ("EfficientNetB0", 96, "(Normalization) at the input"),
        ("ResNet50", 64, "caffe, inferred from the name 'resnet50'"),
    ],
)
def test_keras_applications_have_no_float_op(
    keras3: Any, tiny_photos: Path, tmp_path: Path, name: str, size: int, source: str
) -> None:
    model = getattr(keras3.applications, name)(input_shape=(size, size, 3), weights=None)
    path, output = tmp_path / "m.keras", tmp_path / "m.tflite"
    model.save(path)
    del model
    conversion = convert(path, output, options=make_options(samples=8), data=tiny_photos)
    assert_int8_throughout(output)
    assert source in conversion.contract_source
    assert conversion.contract.output == "probabilities"
    assert edgekit.inspect(output).outputs[0].scale == 1 / 256


# --- the contract: from where, and said so


@pytest.mark.parametrize(
    ("kind", "arguments", "says", "mean", "std"),
    [
        ("stored", (), "from m.contract.json", 1.0, 2.0),
        ("rescaling", (), "raw pixels, inferred from layer 'rescaling", 0.0, 1.0),
        ("operators", (), "raw pixels, inferred from layer", 0.0, 1.0),
        ("name", (), "tf, inferred from the name 'mobilenetv2_1.00_32'", 127.5, 127.5),
        ("given", ("--mean", "10", "--std", "20"), "given on the command line", 10.0, 20.0),
        (
            "stored",
            ("--preprocess", "unit", "--resize", "pad"),
            "from m.contract.json, changed by --preprocess or --mean/--std, --resize",
            0.0,
            255.0,
        ),
    ],
)
def test_where_the_contract_comes_from(
    keras3: Any,
    run_cli: Cli,
    tmp_path: Path,
    kind: str,
    arguments: tuple[str, ...],
    says: str,
    mean: float,
    std: float,
) -> None:
    layers = keras3.layers
    x = inputs = keras3.Input((32, 32, 3))
    if kind == "rescaling":
        x = layers.Rescaling(1 / 127.5, -1)(x)
    elif kind == "operators":
        x = keras3.applications.mobilenet_v2.preprocess_input(x)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(x))
    name = "mobilenetv2_1.00_32" if kind == "name" else "net"
    keras3.Model(inputs, layers.Dense(3)(x), name=name).save(tmp_path / "m.keras")
    if kind == "stored":
        stored = Contract(32, 32, (1.0,) * 3, (2.0,) * 3)
        (tmp_path / "m.contract.json").write_text(stored.to_json())
    run = run_cli("convert", "--float32", tmp_path / "m.keras", *arguments)
    assert run.returncode == 0, run.stderr
    assert says in run.stdout
    contract = contract_of(tmp_path / "m.tflite")
    assert (contract.mean, contract.std) == ((mean,) * 3, (std,) * 3)
    assert json.loads((tmp_path / "m.tflite.json").read_text())["contract_source"] in run.stdout


def test_labels_from_class_folders_are_said(run_cli: Cli, tiny_float: Path, tmp_path: Path) -> None:
    names = ["ash", "beech", "cedar", "elm", "fir"]
    for number, name in enumerate(names):
        write_procedural(tmp_path / "data" / name, 4, seed=number)
    run = run_cli("convert", tiny_float, "-o", tmp_path / "m.tflite", "--data", tmp_path / "data")
    assert run.returncode == 0, run.stderr
    assert "labels: the 5 class folders of" in run.stdout
    assert contract_of(tmp_path / "m.tflite").labels == tuple(names)


def test_labels_from_a_file(run_cli: Cli, tiny_float: Path, tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("a\nb\nc\nd\ne\n")
    run = run_cli(
        *("convert", "--float32", tiny_float, "-o", tmp_path / "m.tflite"),
        *("--labels", tmp_path / "l.txt"),
    )
    assert run.returncode == 0, run.stderr
    assert "changed by --labels" in run.stdout
    assert contract_of(tmp_path / "m.tflite").labels == ("a", "b", "c", "d", "e")


# --- bias correction


def _convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """VALID, stride 1: x [h, w, in], kernel [h, w, in] -> [h', w'], one output channel."""
    kh, kw, _ = kernel.shape
    rows, columns = x.shape[0] - kh + 1, x.shape[1] - kw + 1
    return np.array(
        [[np.sum(x[r : r + kh, c : c + kw] * kernel) for c in range(columns)] for r in range(rows)]
    )


@pytest.mark.parametrize(
    ("op", "shape", "channels"),
    [
        ("CONV_2D", (5, 3, 3, 4), 4),
        ("CONV_2D", (8, 3, 2, 2), 8),
        ("DEPTHWISE_CONV_2D", (1, 3, 3, 4), 4),
        ("DEPTHWISE_CONV_2D", (1, 3, 2, 12), 4),
        ("FULLY_CONNECTED", (5, 7), 7),
    ],
)
def test_mean_shift_is_what_rounding_does(op: str, shape: tuple[int, ...], channels: int) -> None:
    """Against brute force: run both layers and compare the means of what they give.

    Each picture is constant over its positions, so that border effects play no part.
    """
    rng = np.random.default_rng(3)
    weights = rng.normal(0, 0.2, shape).astype(np.float32)
    values = rng.uniform(-1, 3, (6, channels))
    axis = 3 if op == "DEPTHWISE_CONV_2D" else 0
    rounded = bias_correction.round_to_int8(weights, axis)
    assert len(np.unique(np.rint(rounded / np.abs(rounded).max()))) > 1

    def layer(kernel: np.ndarray, value: np.ndarray) -> np.ndarray:
        if op == "FULLY_CONNECTED":
            return kernel @ value
        x = np.broadcast_to(value, (5, 5, channels))
        if op == "DEPTHWISE_CONV_2D":
            multiplier = shape[3] // channels
            taps = [
                _convolve(x[..., [o // multiplier]], kernel[0, ..., [o]].transpose(1, 2, 0))
                for o in range(shape[3])
            ]
        else:
            depth, groups = shape[3], channels // shape[3]
            per_group = shape[0] // groups
            starts = [o // per_group * depth for o in range(shape[0])]
            taps = [_convolve(x[..., s : s + depth], kernel[o]) for o, s in enumerate(starts)]
        return np.array([tap.mean() for tap in taps])

    expected = np.mean([layer(rounded, v) - layer(weights, v) for v in values], axis=0)
    found = bias_correction.mean_shift(op, weights, values.mean(axis=0))
    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_rounding_is_that_of_the_quantizer(
    tiny_float: Path, tiny_photos: Path, tmp_path: Path
) -> None:
    """What bias correction takes for the int8 weights is what is written."""
    options = make_options(bias_correction=False)
    output = convert(tiny_float, tmp_path / "m.tflite", options=options, data=tiny_photos).output
    graphs = [tflite.read(path.read_bytes(), "m") for path in (tiny_float, output)]
    compared = 0
    for mine, theirs in zip(*(g.main.operators for g in graphs), strict=True):
        if mine.name not in ("CONV_2D", "FULLY_CONNECTED"):
            continue
        weights, written = (
            g.main.tensors[op.inputs[1]] for g, op in zip(graphs, (mine, theirs), strict=True)
        )
        real, steps = graphs[0].constant(weights), graphs[1].constant(written)
        assert real is not None and steps is not None
        scales = written.scales.reshape(-1, *[1] * (real.ndim - 1)).astype(np.float64)
        found = bias_correction.round_to_int8(real, 0)
        np.testing.assert_allclose(found, steps * scales, atol=float(scales.max()) * 1e-3)
        compared += 1
    assert compared == 4


@pytest.mark.slow
def test_correction_raises_sqnr(
    lite0_float: Path, imagenet_split: tuple[Path, Path], tmp_path: Path
) -> None:
    found = {}
    for corrected in (False, True):
        options = make_options(samples=32, bias_correction=corrected)
        output = tmp_path / f"{corrected}.tflite"
        conversion = convert(lite0_float, output, options=options, data=imagenet_split[0])
        assert conversion.quality is not None
        found[corrected] = conversion.quality.sqnr_db
    assert 1.5 <= found[True] - found[False] <= 6


def test_correction_gives_each_layer_a_bias_of_its_own(
    keras3: Any, tiny_photos: Path, tmp_path: Path
) -> None:
    """Zero biases of one shape are one buffer in the file; their corrections differ."""
    layers = keras3.layers
    x = inputs = keras3.Input((32, 32, 3))
    for _ in range(4):
        x = layers.ReLU()(layers.Conv2D(8, 3, padding="same", use_bias=False)(x))
    model = keras3.Model(inputs, layers.Dense(8)(layers.GlobalAveragePooling2D()(x)))
    model.save(tmp_path / "m.keras")
    exported = convert(tmp_path / "m.keras", options=make_options("float32"), overrides=UNIT).output
    contract = contract_of(exported)
    pictures = pictures_of(tiny_photos, contract)
    before = tflite.read(exported.read_bytes(), "m")
    corrected = bias_correction.correct(exported.read_bytes(), pictures, contract, "m")
    after = tflite.read(corrected, "m")

    def biases(parsed: tflite.Model) -> list[tuple[int, np.ndarray]]:
        found = []
        for op in parsed.main.operators:
            if op.name == "CONV_2D":
                tensor = parsed.main.tensors[op.inputs[2]]
                value = parsed.constant(tensor)
                assert value is not None
                found.append((tensor.buffer, value))
        return found

    assert len(biases(before)) == 4
    assert len({buffer for buffer, _ in biases(before)}) == 1
    assert len({buffer for buffer, _ in biases(after)}) == 4
    assert not any(value.any() for _, value in biases(before))
    means, interpreter = [], Interpreter(exported.read_bytes(), keep_all_tensors=True)
    convolutions = [op for op in before.main.operators if op.name == "CONV_2D"]
    for picture in pictures[:32]:
        interpreter.invoke(images.to_input(picture, contract, np.float32))
        value = interpreter.tensor(convolutions[1].inputs[0])
        assert value is not None
        means.append(value.mean(axis=(0, 1, 2)))
    weights = before.constant(before.main.tensors[convolutions[1].inputs[1]])
    assert weights is not None
    shift = bias_correction.mean_shift("CONV_2D", weights, np.mean(means, axis=0))
    np.testing.assert_allclose(biases(after)[1][1], -shift, rtol=1e-3, atol=1e-6)


def test_the_python_call_takes_what_the_command_takes(
    tiny_float: Path, tiny_photos: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\nd\ne\n")
    conversion = edgekit.convert(
        tiny_float,
        tmp_path / "m.tflite",
        "int16x8",
        data=str(tiny_photos),
        options={"samples": 7},
        labels=str(labels),
        resize="pad",
    )
    assert conversion.contract.labels == ("a", "b", "c", "d", "e")
    assert conversion.contract.fit == "pad"
    assert conversion.quality is not None and conversion.quality.images == 7
    assert edgekit.inspect(conversion.output).arithmetic.kind == "int16x8"


def test_without_photos_the_scores_get_headroom(tiny_float: Path, tmp_path: Path) -> None:
    from edgekit.converters import procedural, ranges

    conversion = convert(tiny_float, tmp_path / "m.tflite")
    contract = conversion.contract
    pictures = procedural.images(contract.height, contract.width, 0)
    scores = run_all(tiny_float.read_bytes(), pictures, contract)
    seen = max(scores.max(), 0) - min(scores.min(), 0)
    scale = Interpreter(conversion.output.read_bytes()).output.scale
    assert scale is not None
    assert scale * 255 == pytest.approx(ranges.PROCEDURAL_HEADROOM * seen, rel=0.01)
