"""tensorflow-model-optimization: models quantized with it are read, and it trains.

The models are written in a child process, since it needs Keras 2 and these tests Keras 3.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import artefacts
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import COLOURS, colour_picture, randomize, write_picture

from edgekit import tflite
from edgekit.cli.qat import command as qat_command
from edgekit.contract import NORMALIZATIONS, Contract
from edgekit.converters import convert, make_options, sources, tfmot
from edgekit.converters.export import Export, LearnedRanges
from edgekit.errors import MissingError, NotMetError, UnreadableError, UsageError
from edgekit.overrides import Overrides
from edgekit.runtime import Interpreter
from edgekit.training import keras_file
from edgekit.training.hooks import Hooks
from edgekit.types import EpochRow

if importlib.util.find_spec("tensorflow_model_optimization") is None:
    pytest.skip(
        'tensorflow-model-optimization is not installed: pip install "edgekit[tfmot]"',
        allow_module_level=True,
    )

pytestmark = pytest.mark.slow

TF = Overrides(normalization=NORMALIZATIONS["tf"])
SIZE = 32

#: Writes NAME.h5, NAME.keras, and NAME.npz with a few inputs and what the model answers.
_WRITE = """
import sys
import numpy as np
import tf_keras as keras
import tensorflow_model_optimization as tfmot
from tensorflow_model_optimization.python.core.quantization.keras.experimental.default_n_bit \\
    import default_n_bit_quantize_scheme as n_bit

folder, layers, rng = sys.argv[1], keras.layers, np.random.default_rng(5)
quantization = tfmot.quantization.keras
keras.utils.set_random_seed(5)
colours, noise = rng.uniform(-0.8, 0.8, (96, 1, 1, 3)), rng.uniform(-0.2, 0.2, (96, 32, 32, 3))
images = (colours + noise).astype(np.float32)

def convolution(x, filters, name, **options):
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=name, **options)(x)
    x = layers.BatchNormalization(momentum=0.8, name=name + "_norm")(x)
    return layers.ReLU(6.0, name=name + "_relu")(x)

def network():
    inputs = keras.Input((32, 32, 3), name="image")
    x = skip = convolution(inputs, 8, "stem", strides=2)
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.8)(x))
    x = layers.BatchNormalization(momentum=0.8)(layers.Conv2D(8, 1, use_bias=False)(x))
    x = layers.MaxPooling2D(2)(layers.Add(name="add")([skip, x]))
    left = layers.Conv2D(4, 1, activation="relu", name="left")(x)
    right = layers.Conv2D(8, 3, padding="same", activation="relu", name="right")(x)
    x = layers.ZeroPadding2D(1)(layers.Concatenate(name="join")([left, right]))
    x = layers.Conv2D(16, 3, activation="relu", name="last")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(5, name="top")(x), name="small")

def trained():
    model = quantization.quantize_model(network())
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    labels = np.argmax(colours[:, 0, 0] @ rng.normal(0, 1, (3, 5)), axis=1)
    model.fit(images, labels, batch_size=16, epochs=6, verbose=0)
    return model

def annotated():
    return quantization.quantize_annotate_model(network())

def partial():
    annotate = quantization.quantize_annotate_layer
    mark = lambda layer: annotate(layer) if layer.name in ("left", "right", "join") else layer
    return quantization.quantize_apply(keras.models.clone_model(network(), clone_function=mark))

def pruned():
    return tfmot.sparsity.keras.prune_low_magnitude(network())

def four_bits():
    scheme = n_bit.DefaultNBitQuantizeScheme(num_bits_weight=4, num_bits_activation=4)
    return quantization.quantize_apply(quantization.quantize_annotate_model(network()), scheme)

for name in ("trained", "annotated", "partial", "pruned", "four_bits"):
    model = globals()[name]()
    np.savez(f"{folder}/{name}.npz", x=images[:32], y=model(images[:32], training=False))
    model.save(f"{folder}/{name}.h5")
    model.save(f"{folder}/{name}.keras")
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that were made with tensorflow-model-optimization elsewhere."""
    return artefacts.copy_of(
        "tfmot", tmp_path_factory.mktemp("tfmot") / "files", _write, product=False
    )


def _write(folder: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _WRITE, folder],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1"},
    )
    assert run.returncode == 0, run.stderr


# --- models that were quantized elsewhere


def _export(source: Path) -> tuple[bytes, LearnedRanges | None]:
    """The float file, which is held against TensorFlow's answer, and the learned ranges."""
    with Export(source, sources.kind_of(source)) as export:
        export.described()
        return export.float_model(), export.learned


def test_int8_in_the_learned_ranges_answers_as_the_trained_model(
    written: Path, tmp_path: Path
) -> None:
    """Within 2 steps of the output, on inputs the fake-quantized model was asked in Keras 2."""
    source, output = written / "trained.h5", tmp_path / "m.tflite"
    conversion = convert(source, output, options=make_options(samples=8), overrides=TF)
    assert "tensorflow-model-optimization" in conversion.framework
    passport = json.loads(conversion.passport.read_text())
    assert "tensorflow-model-optimization" in passport["source"]["read_with"]

    kept = np.load(written / "trained.npz")
    model = output.read_bytes()
    graph = tflite.read(model, "m").main
    image, scores = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    assert not [t.name for t in graph.tensors if t.is_float]
    # Pinned by the contract: pixel - 128.
    assert (image.scales[0], image.zero_points[0]) == (pytest.approx(1 / 127.5), -1)
    _, learned = _export(source)
    assert learned is not None
    low, high = learned.ranges[scores.name]
    assert scores.scales[0] == pytest.approx((high - low) / 255, rel=1e-5)

    interpreter = Interpreter(model)
    steps = [
        interpreter.invoke(np.clip(np.rint(x * 127.5) - 1, -128, 127).astype(np.int8)).astype(int)
        for x in kept["x"]
    ]
    off = np.abs(np.stack(steps) - scores.zero_points[0] - kept["y"] / scores.scales[0])
    assert (off <= 2).mean() >= 0.99
    assert kept["y"].std(axis=0).max() > 5 * scores.scales[0]  # the answers depend on the picture


def test_ranges_are_there_for_every_tensor_and_no_pair_is_left(written: Path) -> None:
    """From the `.keras` file, which the package itself can't read back, the same as from HDF5."""
    (model, learned), (from_hdf5, _) = (_export(written / f"trained{s}") for s in (".keras", ".h5"))
    assert model == from_hdf5
    assert learned is not None
    graph = tflite.read(model, "m").main
    assert not {"QUANTIZE", "DEQUANTIZE"} & {op.name for op in graph.operators}
    assert {graph.tensors[i].name for op in graph.operators for i in op.outputs} <= set(
        learned.ranges
    )
    assert learned.unlearned == ()
    # Where a kernel keeps the scale of its input, so does the range.
    (pool,) = [op for op in graph.operators if op.name == "MAX_POOL_2D"]
    before, after = (graph.tensors[i].name for i in (pool.inputs[0], pool.outputs[0]))
    assert learned.ranges[before] == learned.ranges[after]


def test_what_training_left_in_float_is_named(written: Path) -> None:
    _, learned = _export(written / "partial.h5")
    assert learned is not None
    assert any("last" in name for name in learned.unlearned)
    assert any("join" in name for name in learned.ranges)


@pytest.mark.parametrize("file", ["annotated.keras", "pruned.h5"])
def test_models_that_are_only_wrapped_are_float_models(written: Path, file: str) -> None:
    model, learned = _export(written / file)
    assert learned is None
    kept = np.load((written / file).with_suffix(".npz"))
    interpreter = Interpreter(model)
    found = np.stack([interpreter.invoke(x) for x in kept["x"]])
    np.testing.assert_allclose(found, kept["y"], atol=1e-5)


def test_another_number_of_bits_is_refused(written: Path) -> None:
    with pytest.raises(UnreadableError, match="was trained for 4 bits"):
        _export(written / "four_bits.h5")


def test_the_stock_converter_would_calibrate_it_and_is_refused(
    written: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--engine tflite would calibrate it"):
        convert(
            written / "trained.h5",
            tmp_path / "m.tflite",
            options=make_options(engine="tflite", samples=8),
            overrides=TF,
        )


def test_without_the_package_the_line_that_installs_it_is_given(
    keras3: Any, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgekit.converters import keras_loader

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if "model_optimization" in name else real(name, *rest),
    )
    with pytest.raises(MissingError, match="tensorflow_model_optimization is not") as raised:
        keras_loader.load(written / "trained.h5", "h5", ())
    assert raised.value.exit_code == 5
    assert 'pip install "edgekit[tfmot]"' in str(raised.value.hint)


def test_only_known_classes_of_the_package_are_loaded(
    keras3: Any, written: Path, tmp_path: Path
) -> None:
    from edgekit.converters import keras_loader

    foreign = tmp_path / "m.keras"
    with zipfile.ZipFile(written / "trained.keras") as old, zipfile.ZipFile(foreign, "w") as new:
        for name in old.namelist():
            data = old.read(name).replace(b'"QuantizeLayer"', b'"load_library"')
            new.writestr(name, data if name == "config.json" else old.read(name))
    with pytest.raises(UnreadableError, match="load_library"):
        keras_loader.load(foreign, "keras", ())


# --- which models can be trained


def _applications() -> dict[str, tuple[str, dict[str, Any], str]]:
    """Name -> class, options, and the first layer that is refused."""
    return {
        "v3": ("MobileNetV3Small", {}, "hard_silu"),
        "efficientnet": (
            "EfficientNetB0",
            {},
            "'stem_activation' (Activation with activation silu",
        ),
        "resnet_v2": ("ResNet50V2", {}, "'conv2_block1_preact_bn' (BatchNormalization that"),
    }


@pytest.mark.parametrize("name", ["v3", "efficientnet", "resnet_v2"])
def test_layers_that_would_stay_float_are_named(keras3: Any, name: str) -> None:
    from edgekit.converters.tfmot import bridge

    application, options, named = _applications()[name]
    model = getattr(keras3.applications, application)(
        input_shape=(64, 64, 3), weights=None, classes=3, **options
    )
    with pytest.raises(NotMetError, match="can't quantize") as raised:
        bridge.refuse_what_stays_float(model, Path("m.keras"))
    assert named in raised.value.message
    assert raised.value.exit_code == 1


def test_odd_layers_are_refused_and_plain_ones_are_not(keras3: Any) -> None:
    from edgekit.converters.tfmot import bridge

    layers = keras3.layers
    image = keras3.Input((16, 16, 3))
    plain = layers.Conv2D(4, 3, activation="relu6", name="conv")(layers.Rescaling(1 / 255)(image))
    bridge.refuse_what_stays_float(keras3.Model(image, plain), Path("m.keras"))
    for odd in (
        layers.Rescaling(2.0, name="odd"),
        layers.Conv2D(4, 3, activation="tanh", name="odd"),
        layers.Conv2D(4, 3, groups=2, name="odd"),
        layers.ReLU(negative_slope=0.1, name="odd"),
        layers.LayerNormalization(name="odd"),
    ):
        with pytest.raises(NotMetError, match="'odd'"):
            bridge.refuse_what_stays_float(keras3.Model(image, odd(plain)), Path("m.keras"))
    with pytest.raises(NotMetError, match="addition of a constant"):
        bridge.refuse_what_stays_float(keras3.Model(image, plain + 1.0), Path("m.keras"))


def test_a_refusal_comes_before_training_and_in_words(keras3: Any, tmp_path: Path) -> None:
    """Through the child; a layer that is called twice shows up only when the twin is built."""
    layers = keras3.layers
    image, shared = keras3.Input((SIZE, SIZE, 3)), layers.Conv2D(3, 1, name="shared")
    x = layers.GlobalAveragePooling2D()(shared(shared(image)))
    source = tmp_path / "m.keras"
    keras3.Model(image, layers.Dense(3)(x)).save(source)
    epochs: list[EpochRow] = []
    with pytest.raises(NotMetError, match="'shared' is called more than once"):
        _train(source, Contract(SIZE, SIZE), hooks=Hooks(on_epoch=epochs.append))
    assert not epochs


# --- training


def _colours(per_class: int, seed: int) -> tfmot.Labelled:
    labels = np.arange(per_class * len(COLOURS)) % len(COLOURS)
    pictures = [
        colour_picture(COLOURS[label], seed + number, SIZE, SIZE)
        for number, label in enumerate(labels)
    ]
    return tfmot.Labelled(np.stack(pictures), labels)


def _train(source: Path, contract: Contract, **options: Any) -> tfmot.Result:
    recipe = options.pop("recipe", tfmot.Recipe(epochs=2, batch=16, rate=1e-3))
    return tfmot.quantization_aware_train(
        source, contract, _colours(24, 0), _colours(8, 1000), recipe=recipe, **options
    )


@pytest.fixture(scope="module")
def colour_classifier(keras3: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A residual backbone inside a Sequential, with its own preprocessing; trained."""
    folder = tmp_path_factory.mktemp("colours") / "files"
    return artefacts.copy_of("colour_classifier", folder, _make_colour_classifier) / "m.keras"


def _make_colour_classifier(folder: Path) -> None:
    keras3 = importlib.import_module("keras")
    keras3.utils.set_random_seed(1)
    layers = keras3.layers

    def convolution(x: Any, name: str, relu: bool = True, **options: Any) -> Any:
        x = layers.Conv2D(8, 3, padding="same", use_bias=False, name=name, **options)(x)
        x = layers.BatchNormalization(momentum=0.8, name=f"{name}_norm")(x)
        return layers.Activation("relu", name=f"{name}_relu")(x) if relu else x

    image = keras3.Input((SIZE, SIZE, 3), name="pixels")
    x = skip = convolution(image, "stem", strides=2)
    x = convolution(convolution(x, "first"), "second", relu=False)
    x = keras3.ops.relu(skip + x)
    backbone = keras3.Model(image, layers.MaxPooling2D(2)(x), name="backbone")
    model = keras3.Sequential(
        [
            keras3.Input((SIZE, SIZE, 3)),
            layers.RandomFlip("horizontal"),
            layers.Rescaling(1 / 127.5, offset=-1),
            backbone,
            layers.Conv2D(16, 1, activation="relu6", name="head"),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.1),
            layers.Dense(len(COLOURS), name="logits"),
        ],
        name="colours",
    )
    loss = keras3.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras3.optimizers.Adam(3e-3), loss)
    learned = _colours(24, 0)
    model.fit(learned.pictures.astype(np.float32), learned.labels, 16, 15, verbose=0)
    model.save(folder / "m.keras")
    keras_file.add_contract(folder / "m.keras", Contract(SIZE, SIZE, labels=COLOURS))


def test_a_nested_model_is_trained_to_int8(colour_classifier: Path) -> None:
    contract, _ = keras_file.read_contract(colour_classifier) or pytest.fail("no contract")
    epochs: list[EpochRow] = []
    stages: set[str] = set()
    hooks = Hooks(
        progress=lambda stage, done, total: stages.add(stage),
        on_epoch=epochs.append,
    )
    result = _train(colour_classifier, contract, hooks=hooks)
    assert result.float_accuracy >= 0.9
    assert result.val_accuracy >= 0.9
    assert result.trained_accuracy == max(row.val_accuracy for row in epochs)
    assert result.epochs == tuple(epochs)
    assert [row.epoch for row in epochs] == [1, 2]
    assert "quantization-aware training" in stages

    # What the model did to pixels is in the contract now, so that the device does no arithmetic.
    assert result.contract.normalization_name == "tf"
    assert result.contract.labels == COLOURS
    assert tflite.read_contract(result.model, "m") == result.contract
    graph = tflite.read(result.model, "m").main
    assert not [t.name for t in graph.tensors if t.is_float]
    assert "RELU" not in {op.name for op in graph.operators}
    for name in ("stem", "first", "second", "head", "logits"):
        assert any(f"quant_{name}/" in tensor.name for tensor in graph.tensors), name


def test_the_command_trains_photos_to_an_int8_file(colour_classifier: Path, tmp_path: Path) -> None:
    photos, output = tmp_path / "photos", tmp_path / "q.tflite"
    data = _colours(12, 3)
    for number, (picture, label) in enumerate(zip(data.pictures, data.labels, strict=True)):
        path = photos / COLOURS[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, picture)
    common = [str(colour_classifier), "--data", str(photos), "--engine", "tfmot", "-o"]

    named = CliRunner().invoke(qat_command, [*common, "q.keras"], standalone_mode=False)
    assert isinstance(named.exception, UsageError)
    assert "-o q.tflite" in str(named.exception.hint)
    for option in ("--resume", "--steps=5", "--learned-ranges", "--time-budget=5m"):
        refused = CliRunner().invoke(qat_command, [*common, str(output), option])
        assert isinstance(refused.exception, UsageError)
        assert option.split("=")[0] in str(refused.exception)
    assert not output.exists()

    run = CliRunner().invoke(
        qat_command,
        [*common, str(output), "--epochs=2", "--batch=8", "--json"],
        standalone_mode=False,
    )
    assert run.return_value == 0, run.exception
    document = json.loads(run.stdout)
    assert document["engine"] == "tfmot"
    assert len(document["history"]) == 2
    assert document["int8_val_accuracy"] >= 0.8
    assert tflite.read_contract(output.read_bytes(), "q").labels == COLOURS


@pytest.mark.parametrize(
    ("application", "options"),
    [
        ("MobileNetV2", {"alpha": 0.35}),
        ("MobileNetV3Small", {"minimalistic": True, "dropout_rate": 0.0}),
    ],
)
def test_applications_at_64_pixels(
    keras3: Any, tmp_path: Path, application: str, options: dict[str, Any]
) -> None:
    model = getattr(keras3.applications, application)(
        input_shape=(64, 64, 3), weights=None, classes=3, **options
    )
    randomize(model)
    source = tmp_path / "m.keras"
    model.save(source)
    mode = "tf" if application == "MobileNetV2" else "raw"
    contract = Contract(64, 64).with_normalization(NORMALIZATIONS[mode])
    noise = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
    data = tfmot.Labelled(noise, np.arange(8) % 3)
    result = tfmot.quantization_aware_train(
        source, contract, data, data, recipe=tfmot.Recipe(epochs=1, batch=8)
    )
    assert result.contract.normalization_name == "tf"
    assert result.contract.output == "probabilities"
    assert result.val_accuracy == pytest.approx(result.trained_accuracy, abs=1 / 8)
    graph = tflite.read(result.model, "m").main
    assert not [t.name for t in graph.tensors if t.is_float]


def test_steps_are_timed(colour_classifier: Path) -> None:
    seconds = tfmot.step_seconds(colour_classifier, Contract(SIZE, SIZE), batch=8, steps=4)
    assert len(seconds) == 4
    assert all(0 < s < 60 for s in seconds)


def test_pictures_and_labels_that_do_not_fit(colour_classifier: Path, written: Path) -> None:
    contract, good = Contract(SIZE, SIZE), _colours(2, 0)
    train = tfmot.quantization_aware_train
    with pytest.raises(UsageError, match=r"training pictures: uint8\[6, 32, 32, 3\]"):
        train(colour_classifier, Contract(64, 64), good, good)
    floats = tfmot.Labelled(good.pictures / 255, good.labels)
    with pytest.raises(UsageError, match="validation pictures: float64"):
        train(colour_classifier, contract, good, floats)
    with pytest.raises(UsageError, match="below 0"):
        train(colour_classifier, contract, good, tfmot.Labelled(good.pictures, good.labels - 1))
    with pytest.raises(UsageError, match="rate 20 is not in"):
        tfmot.Recipe(rate=20)


def test_the_model_must_be_sound_fit_the_labels_and_be_unquantized(
    keras3: Any, colour_classifier: Path, written: Path, tmp_path: Path
) -> None:
    contract, good = Contract(SIZE, SIZE), _colours(2, 0)
    odd = tfmot.Labelled(good.pictures, good.labels + 1)
    with pytest.raises(UsageError, match="3 outputs, and there is a label 3"):
        tfmot.quantization_aware_train(colour_classifier, contract, good, odd)
    with pytest.raises(UsageError, match="wrapped by tensorflow-model-optimization already"):
        tfmot.quantization_aware_train(written / "trained.h5", contract, good, good)
    broken = keras3.saving.load_model(colour_classifier)
    broken.layers[-1].bias.assign([0.0, float("nan"), 0.0])
    broken.save(tmp_path / "nan.keras")
    with pytest.raises(NotMetError, match="not finite"):
        tfmot.quantization_aware_train(tmp_path / "nan.keras", contract, good, good)
