"""Weights of the zoo from files: `.keras`, `.h5` and PyTorch's, sound, foreign and damaged."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import pickle
import struct
import threading
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import randomize
from test_zoo import write_legacy

from edgekit.contract import NORMALIZATIONS
from edgekit.errors import MissingError, UnreadableError, UsageError
from edgekit.training import keras_file, zoo
from edgekit.training.zoo.catalogue import CATALOGUE, Application, entry
from edgekit.training.zoo.weights import sources
from edgekit.training.zoo.weights.pth import read_state_dict

_PROOF = Path(__file__).parents[1] / "benchmarks" / "results" / "torch_weights.json"


def _equal(mine: Any, theirs: Any, but: Sequence[str] = ()) -> None:
    for one, other in zip(mine.layers, theirs.layers, strict=True):
        if one.name not in but:
            for weight, expected in zip(one.get_weights(), other.get_weights(), strict=True):
                np.testing.assert_array_equal(weight, expected, err_msg=one.name)


# --- writing what torch writes, opcode by opcode

_NUMBERS = np.arange(24, dtype=np.float32)
#: A scripted module, as torch.jit.save writes one.
_MODEL = b"\x80\x02c__torch__\nNet\n)\x81."


def _value(value: Any) -> bytes:
    """The opcodes that push a plain value: its pickle without header and STOP."""
    return pickle.dumps(value, 2)[2:-1]


def _tensor(
    key: str,
    elements: int,
    shape: Sequence[int],
    strides: Sequence[int],
    offset: int = 0,
    storage: str = "FloatStorage",
    legacy: bool = True,
) -> bytes:
    """`torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, False, OrderedDict())`."""
    persistent_id = b"(" + _value("storage") + f"ctorch\n{storage}\n".encode()
    view = (None,) if legacy else ()
    persistent_id += b"".join(map(_value, (key, "cpu", elements, *view))) + b"tQ"
    arguments = b"".join(map(_value, (offset, tuple(shape), tuple(strides), False)))
    ordered = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + persistent_id + arguments + ordered + b"tR"


def _state_dict(entries: dict[str, bytes]) -> bytes:
    pairs = b"".join(_value(name) + opcodes for name, opcodes in entries.items())
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + pairs + b"u."


def _read(data: bytes, folder: Path) -> dict[str, Any]:
    path = folder / "weights.pth"
    path.write_bytes(data)
    return read_state_dict(path)


# --- .keras and .h5


@pytest.fixture(scope="module")
def trained(keras3: Any) -> Any:
    """A MobileNet V3 of 5 classes as training leaves one."""
    model, _ = zoo.build("mobilenet_v3_small", classes=5, size=64, weights=None)
    randomize(model)
    return model


@pytest.fixture(scope="module")
def trained_file(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its file, with a contract of its own."""
    path = tmp_path_factory.mktemp("trained") / "trained.keras"
    trained.save(path)
    _, contract = zoo.build("mobilenet_v3_small", classes=5, size=64, weights=None)
    contract = contract.with_normalization(NORMALIZATIONS["torch"])
    keras_file.add_contract(path, replace(contract, labels=tuple("abcde")))
    return path


@pytest.mark.slow
def test_keras_file_of_edgekit(trained: Any, trained_file: Path) -> None:
    model, contract = zoo.build("mobilenet_v3_small", classes=5, size=64, weights=trained_file)
    _equal(model, trained)
    # The file knows what it was trained on; the catalogue's "tf" would be wrong for it.
    assert contract.normalization_name == "torch"
    assert contract.labels == tuple("abcde")


def test_keras_file_for_other_classes_and_another_size(trained: Any, trained_file: Path) -> None:
    model, contract = zoo.build("mobilenet_v3_small", classes=3, size=96, weights=trained_file)
    _equal(model, trained, but=["logits"])
    assert contract.labels is None
    assert (contract.height, model.output_shape) == (96, (None, 3))


@pytest.mark.parametrize("suffix", ["weights.h5", "h5"])
def test_files_that_keras_writes_itself(trained: Any, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"m.{suffix}"
    (trained.save_weights if suffix == "weights.h5" else trained.save)(path)
    model, contract = zoo.build("mobilenet_v3_small", classes=5, size=64, weights=path)
    _equal(model, trained)
    assert contract.normalization_name == "tf"


@pytest.mark.slow
def test_a_head_of_ones_own_is_left_out(keras3: Any, tmp_path: Path) -> None:
    base = keras3.applications.MobileNetV2(
        weights=None, include_top=False, pooling="avg", input_shape=(64, 64, 3)
    )
    randomize(base)
    mine = keras3.Sequential([base, keras3.layers.Dense(9, name="my_head")])
    mine.save(tmp_path / "mine.keras")
    model, _ = zoo.build("mobilenet_v2", classes=3, size=64, weights=tmp_path / "mine.keras")
    for name in ("Conv1", "block_7_depthwise_BN", "Conv_1"):
        for weight, expected in zip(
            model.get_layer(name).get_weights(), base.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(weight, expected)


def test_a_backbone_leaves_the_head_random(trained: Any, tmp_path: Path) -> None:
    path = tmp_path / "notop.h5"
    write_legacy(trained, path, [x for x in trained.layers if x.name not in ("conv_2", "logits")])
    created = zoo.create_described(
        "mobilenet_v3_small", tmp_path / "m.keras", weights=path, classes=5, size=64
    )
    assert created.random == ("conv_2", "logits")
    model, _ = zoo.build("mobilenet_v3_small", classes=5, size=64, weights=path)
    _equal(model, trained, but=["conv_2", "logits"])


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["keras", "weights.h5"])
def test_the_torch_layout_stays_what_it_is(keras3: Any, tmp_path: Path, suffix: str) -> None:
    from edgekit.training.zoo.assembly import assemble

    chosen = entry("mobilenet_v2").in_torch_layout("torch")
    made = assemble(chosen, None, classes=4, size=64)
    path = tmp_path / f"torch.{suffix}"
    if suffix == "keras":
        made.write(path)
    else:
        made.model.save_weights(path)
    model, contract = zoo.build("mobilenet_v2", classes=4, size=64, weights=path)
    pixels = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype(np.float32)
    np.testing.assert_array_equal(model(pixels), made.model(pixels))
    assert model.name == "mobilenet_v2_torch"
    assert contract.normalization_name == "torch"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mobilenet_v3_large", r"expanded_conv_depthwise has strides \(1, 1\), and in the file"),
        ("resnet18", r"it has nothing for the layer conv1_conv of shape \(7, 7, 3, 64\)"),
    ],
)
def test_weights_of_another_model(trained_file: Path, name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as raised:
        zoo.build(name, classes=5, size=64, weights=trained_file)
    assert str(trained_file) in raised.value.message


def test_weights_of_a_deeper_model(keras3: Any, tmp_path: Path) -> None:
    deeper, _ = zoo.build("efficientnet_lite2", classes=2, size=32, weights=None)
    deeper.save_weights(tmp_path / "deep.weights.h5")
    with pytest.raises(
        UsageError, match=r"layer block3a_project_conv has the shape .* in the file"
    ):
        zoo.build("efficientnet_lite0", classes=2, size=32, weights=tmp_path / "deep.weights.h5")


def test_more_blocks_of_the_same_shapes(keras3: Any, tmp_path: Path) -> None:
    deeper, _ = zoo.build("efficientnet_lite1", classes=2, size=32, weights=None)
    deeper.save_weights(tmp_path / "deep.weights.h5")
    with pytest.raises(UsageError, match="file has the layer block2c_bn, which the model lacks"):
        zoo.build("efficientnet_lite0", classes=2, size=32, weights=tmp_path / "deep.weights.h5")


def test_the_same_shapes_with_other_strides(trained_file: Path, tmp_path: Path) -> None:
    """Nothing but the configuration tells such files apart."""
    path = tmp_path / "strides.keras"
    with zipfile.ZipFile(trained_file) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                for layer in config["config"]["layers"]:
                    if layer["config"]["name"] == "expanded_conv_1_depthwise":
                        layer["config"]["strides"] = [1, 1]
                data = json.dumps(config).encode()
            new.writestr(name, data)
    with pytest.raises(UsageError, match=r"depthwise has strides \(2, 2\), and in the file \(1, 1"):
        zoo.build("mobilenet_v3_small", classes=5, size=64, weights=path)


def test_vgg_says_what_depends_on_the_size(keras3: Any, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "vgg.h5", "w") as file:
        model, _ = zoo.build("vgg16", classes=2, size=32, weights=None)
        names = []
        for layer in model.layers:
            names.append(layer.name.encode())
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [str(i) for i in range(len(layer.weights))]
            for i, weight in enumerate(layer.weights):
                shape = (25088, 4096) if (layer.name, i) == ("fc1", 0) else tuple(weight.shape)
                group.create_dataset(str(i), shape, "f4")  # takes no room before it is written
        file.attrs["layer_names"] = names
    with pytest.raises(UsageError, match=r"fc1 has the shape \(512, 4096\).*\(25088, 4096\)") as e:
        zoo.build("vgg16", classes=2, size=32, weights=tmp_path / "vgg.h5")
    assert e.value.hint is not None
    assert "leave out --size" in e.value.hint


@pytest.mark.parametrize("kind", ["keras", "weights.h5", "h5"])
def test_damaged_files(trained: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"m.{kind}"
    (trained.save_weights if kind == "weights.h5" else trained.save)(path)
    data = path.read_bytes()
    for length in (4, 100, 3000, len(data) // 2, len(data) - 30):
        path.write_bytes(data[:length])
        with pytest.raises(UnreadableError) as raised:
            zoo.build("mobilenet_v3_small", classes=5, size=64, weights=path)
        assert str(path) in raised.value.message


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"none\.pth: No such file"):
        zoo.build("mobilenet_v3_small", weights=tmp_path / "none.pth")


# --- PyTorch layouts


def _torchvision_resnet(repeats: Sequence[int], bottleneck: bool) -> dict[str, np.ndarray]:
    """A state dict of random numbers with the names and shapes of torchvision's ResNet."""
    rng = np.random.default_rng(3)
    state: dict[str, np.ndarray] = {}

    def conv(name: str, norm: str, outputs: int, inputs: int, kernel: int) -> None:
        shape = (outputs, inputs, kernel, kernel)
        state[f"{name}.weight"] = rng.normal(size=shape).astype(np.float32)
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{norm}.{part}"] = rng.uniform(0.5, 1, outputs).astype(np.float32)
        state[f"{norm}.num_batches_tracked"] = np.array(7)

    conv("conv1", "bn1", 64, 3, 7)
    channels = 64
    for stage, count in enumerate(repeats):
        width = 64 << stage
        wide = width * 4 if bottleneck else width
        for block in range(count):
            prefix = f"layer{stage + 1}.{block}"
            if bottleneck:
                shapes = [(width, channels, 1), (width, width, 3), (wide, width, 1)]
            else:
                shapes = [(width, channels, 3), (width, width, 3)]
            for number, shape in enumerate(shapes, 1):
                conv(f"{prefix}.conv{number}", f"{prefix}.bn{number}", *shape)
            if channels != wide:
                conv(f"{prefix}.downsample.0", f"{prefix}.downsample.1", wide, channels, 1)
            channels = wide
    state["fc.weight"] = rng.normal(size=(10, channels)).astype(np.float32)
    state["fc.bias"] = rng.normal(size=10).astype(np.float32)
    return state


def test_resnet18_of_torchvision(keras3: Any, tmp_path: Path) -> None:
    state = _torchvision_resnet((2, 2, 2, 2), bottleneck=False)
    _write_zip(tmp_path / "r.pth", state)
    model, contract = zoo.build("resnet18", classes=10, size=64, weights=tmp_path / "r.pth")
    _holds(model, "conv1_conv", state, "conv1")
    _holds(model, "conv3_block1_0_conv", state, "layer2.0.downsample.0")
    _holds(model, "conv3_block1_0_bn", state, "layer2.0.downsample.1")
    _holds(model, "conv3_block1_2_conv", state, "layer2.0.conv2")
    _holds(model, "conv5_block2_2_bn", state, "layer4.1.bn2")
    _holds(model, "logits", state, "fc")
    assert contract.normalization_name == "torch"


def test_resnet50_of_torchvision_gets_its_own_layout(keras3: Any, tmp_path: Path) -> None:
    state = _torchvision_resnet((3, 4, 6, 3), bottleneck=True)
    _write_zip(tmp_path / "r.pth", state)
    model, contract = zoo.build("resnet50", classes=3, size=64, weights=tmp_path / "r.pth")
    _holds(model, "conv4_block1_2_conv", state, "layer3.0.conv2")
    assert model.get_layer("conv4_block1_1_conv").strides == (1, 1)
    assert model.get_layer("conv4_block1_2_conv").strides == (2, 2)
    assert model.get_layer("conv4_block1_2_bn").epsilon == 1e-5
    assert model.name == "resnet50_torch"
    assert contract.normalization_name == "torch"  # keras.applications' own want "caffe"


def _holds(model: Any, layer: str, state: dict[str, np.ndarray], module: str) -> None:
    parts = ("weight", "bias", "running_mean", "running_var")
    expected = [state[key] for part in parts if (key := f"{module}.{part}") in state]
    if expected[0].ndim == 4:
        expected[0] = expected[0].transpose(2, 3, 1, 0)
    elif expected[0].ndim == 2:
        expected[0] = expected[0].T
    for found, wanted in zip(model.get_layer(layer).get_weights(), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("name", "repeats", "bottleneck", "says"),
    [
        (
            "resnet18",
            (3, 4, 6, 3),
            False,
            r"conv3_block1_1_conv has the shape \(3, 3, 64, 128\), and layer1\.2\.conv1 in the "
            r"file \(64, 64, 3, 3\)",
        ),
        (
            "resnet34",
            (3, 4, 6, 3),
            True,
            r"conv2_block1_1_conv has the shape \(3, 3, 64, 64\), and layer1\.0\.conv1 in the file "
            r"\(64, 64, 1, 1\)",
        ),
        ("mobilenet_v2", (2, 2, 2, 2), False, "of no layout known for mobilenet_v2"),
        ("efficientnet_v2_b0", (2, 2, 2, 2), False, "of no layout known for efficientnet_v2_b0"),
    ],
)
def test_state_dicts_of_another_model(
    keras3: Any, tmp_path: Path, name: str, repeats: Sequence[int], bottleneck: bool, says: str
) -> None:
    _write_zip(tmp_path / "r.pth", _torchvision_resnet(repeats, bottleneck))
    with pytest.raises(UsageError, match=says) as raised:
        zoo.build(name, classes=10, size=64, weights=tmp_path / "r.pth")
    assert raised.value.hint


def test_fc1_of_vgg_takes_the_feature_map_as_torch_flattens_it(keras3: Any, tmp_path: Path) -> None:
    shapes = [(4096, 512 * 2 * 2), (4096, 4096), (2, 4096)]
    state: dict[str, np.ndarray] = {}
    places = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    widths = (3, 64, 64, 128, 128, *(256,) * 3, *(512,) * 6)
    for place, inputs, outputs in zip(places, widths[:-1], widths[1:], strict=True):
        state[f"features.{place}.weight"] = np.zeros((outputs, inputs, 3, 3), np.float32)
        state[f"features.{place}.bias"] = np.zeros(outputs, np.float32)
    for number, shape in zip((0, 3, 6), shapes, strict=True):
        state[f"classifier.{number}.weight"] = np.zeros(shape, np.float32)
        state[f"classifier.{number}.bias"] = np.zeros(shape[0], np.float32)
    # Channel 5 at row 1, column 0, in the order (channel, row, column).
    state["classifier.0.weight"][7, 5 * 4 + 1 * 2 + 0] = 1
    _write_zip(tmp_path / "v.pth", state)
    model, contract = zoo.build("vgg16", classes=2, size=64, weights=tmp_path / "v.pth")
    (kernel, _) = model.get_layer("fc1").get_weights()
    # The same place in the order (row, column, channel).
    assert np.argwhere(kernel).tolist() == [[(1 * 2 + 0) * 512 + 5, 7]]
    assert contract.normalization_name == "torch"


def test_every_layout_is_proven_on_its_library(keras3: Any) -> None:
    """By benchmarks/peers/torch_weights.py, which needs torch; here, that none was left out."""
    from edgekit.training.zoo.weights.torch_layouts import LAYOUTS

    proof = json.loads(_PROOF.read_text("utf-8"))
    proven = [row["model"] for row in proof["models"] if row["agrees"]]
    assert all(row["largest_difference"] <= proof["tolerance"] <= 1e-3 for row in proof["models"])
    for layout in LAYOUTS:
        suiting = {name for name, chosen in CATALOGUE.items() if layout.suits(chosen)}
        if layout.builder != "efficientnet_lite":  # those weights are tested on photos
            assert suiting <= set(proven), layout.name
            assert suiting


# --- downloads


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on loopback, and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", folder
        running.shutdown()
        thread.join()


def test_a_download_goes_to_the_cache_of_keras(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = server
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    (folder / "m.h5").write_bytes(b"weights")
    md5 = hashlib.md5(b"weights", usedforsecurity=False).hexdigest()
    chosen = replace(entry("resnet50"), weights=Application("ResNet50", f"{url}/m.h5", md5))
    path = sources.find(chosen)
    assert path == tmp_path / "cache" / "models" / "m.h5"
    assert path.read_bytes() == b"weights"
    (folder / "m.h5").unlink()
    assert sources.find(chosen) == path  # without asking again
    assert [item.name for item in path.parent.iterdir()] == ["m.h5"]


@pytest.mark.parametrize(
    ("file", "says"), [("m.h5", "another checksum"), ("none.h5", "File not found|Not Found")]
)
def test_a_download_that_fails(
    server: tuple[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    says: str,
) -> None:
    url, folder = server
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    (folder / "m.h5").write_bytes(b"weights")
    chosen = replace(entry("resnet50"), weights=Application("ResNet50", f"{url}/{file}", "0" * 32))
    with pytest.raises(MissingError, match=says) as raised:
        sources.find(chosen)
    assert raised.value.hint is not None
    assert "--weights FILE" in raised.value.hint
    assert "--weights none" in raised.value.hint
    assert not list((tmp_path / "cache" / "models").iterdir())


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as closed:
        port = closed.server_port
    nowhere = Application("ResNet50", f"http://127.0.0.1:{port}/m.h5", None)
    with pytest.raises(MissingError, match="resnet50: its ImageNet weights can't be downloaded"):
        sources.find(replace(entry("resnet50"), weights=nowhere))


# --- the zip format of torch.save


def _zip_parts(
    entries: dict[str, bytes], storages: dict[str, np.ndarray], loaded: bytes | None = None
) -> dict[str, bytes]:
    """The members of a file of torch.save, its pickle written opcode by opcode."""
    return {
        "m/data.pkl": loaded if loaded is not None else _state_dict(entries),
        "m/byteorder": b"little",
        **{f"m/data/{key}": array.tobytes() for key, array in storages.items()},
        "m/version": b"3\n",
    }


def _zip(parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _write_zip(path: Path, state: dict[str, np.ndarray]) -> None:
    entries, storages = {}, {}
    for number, (name, array) in enumerate(state.items()):
        storage = "LongStorage" if array.dtype == np.int64 else "FloatStorage"
        strides = [stride // array.itemsize for stride in array.strides]
        entries[name] = _tensor(
            str(number), array.size, array.shape, strides, storage=storage, legacy=False
        )
        storages[str(number)] = array
    path.write_bytes(_zip(_zip_parts(entries, storages)))


def _sound_zip() -> dict[str, bytes]:
    tensors = {
        "conv.weight": _tensor("0", 24, (2, 3), (3, 1), offset=6, legacy=False),
        "conv.transposed": _tensor("0", 24, (3, 2), (1, 3), legacy=False),
        "bn.steps": _tensor("1", 1, (), (), storage="LongStorage", legacy=False),
    }
    return _zip_parts(tensors, {"0": _NUMBERS, "1": np.array([7])})


def test_zip_offsets_strides_and_types(tmp_path: Path) -> None:
    state = _read(_zip(_sound_zip()), tmp_path)
    assert list(state) == ["conv.weight", "conv.transposed", "bn.steps"]
    np.testing.assert_array_equal(state["conv.weight"], _NUMBERS[6:12].reshape(2, 3))
    np.testing.assert_array_equal(state["conv.transposed"], _NUMBERS[:6].reshape(2, 3).T)
    assert state["bn.steps"].tolist() == 7


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_checkpoints_of_training_scripts(tmp_path: Path, key: str, prefix: str) -> None:
    tensor = _tensor("0", 24, (2, 3), (3, 1), legacy=False)
    state = _state_dict({f"{prefix}conv.weight": tensor})[2:-1]
    loaded = b"\x80\x02}(" + _value(key) + state + _value("epoch") + _value(3) + b"u."
    found = _read(_zip(_zip_parts({}, {"0": _NUMBERS}, loaded)), tmp_path)
    assert list(found) == ["conv.weight"]


def test_zip_runs_no_code(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    evil = b"\x80\x02cos\nsystem\n(" + _value(f"touch {marker}") + b"tR."
    with pytest.raises(UnreadableError, match=r"os\.system"):
        _read(_zip(_zip_parts({}, {}, evil)), tmp_path)
    assert not marker.exists()


def test_zip_cut_off_anywhere(tmp_path: Path) -> None:
    data = _zip(_sound_zip())
    for length in range(2, len(data)):
        with pytest.raises(UnreadableError, match="not a PyTorch state dict"):
            _read(data[:length], tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"m/byteorder": b"big"}, "byte order"),
        ({"m/data/0": b"\0" * 20}, "past its storage"),
        ({"n/data.pkl": b""}, "2 members"),
        ({"m/data.pkl": b""}, "not a PyTorch state dict"),
        ({"m/data.pkl": _MODEL}, r"__torch__\.Net"),
    ],
)
def test_zip_that_lies(tmp_path: Path, change: dict[str, bytes], says: str) -> None:
    with pytest.raises(UnreadableError, match=says):
        _read(_zip(_sound_zip() | change), tmp_path)


def test_zip_that_is_compressed(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="compressed"):
        _read(_zip(_sound_zip(), zipfile.ZIP_DEFLATED), tmp_path)


def test_zip_without_a_storage(tmp_path: Path) -> None:
    parts = _sound_zip()
    del parts["m/data/1"]
    with pytest.raises(UnreadableError, match="data/1"):
        _read(_zip(parts), tmp_path)


# --- the format before torch 1.6: files written here, opcode by opcode, as torch wrote them

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_SYSTEM_INFO = {"protocol_version": _PROTOCOL, "little_endian": True, "type_sizes": {"int": 4}}


def _pth(
    entries: dict[str, bytes],
    storages: dict[str, np.ndarray],
    magic: int = _MAGIC,
    system: dict[str, Any] = _SYSTEM_INFO,
) -> bytes:
    head = pickle.dumps(magic, 2) + pickle.dumps(_PROTOCOL, 2) + pickle.dumps(system, 2)
    raw = b"".join(struct.pack("<q", s.size) + s.tobytes() for s in storages.values())
    return head + _state_dict(entries) + pickle.dumps(list(storages), 2) + raw


def _sound() -> bytes:
    return _pth(
        {
            "conv.weight": _tensor("10", 24, (2, 3), (3, 1), offset=6),
            "conv.transposed": _tensor("10", 24, (3, 2), (1, 3)),
            "bn.steps": _tensor("11", 1, (), (), storage="LongStorage"),
            "half": _tensor("12", 2, (2,), (1,), storage="HalfStorage"),
        },
        {"10": _NUMBERS, "11": np.array([7]), "12": np.array([0.5, -2], np.float16)},
    )


def test_pth_offsets_strides_and_types(tmp_path: Path) -> None:
    state = _read(_sound(), tmp_path)
    assert list(state) == ["conv.weight", "conv.transposed", "bn.steps", "half"]
    np.testing.assert_array_equal(state["conv.weight"], _NUMBERS[6:12].reshape(2, 3))
    np.testing.assert_array_equal(state["conv.transposed"], _NUMBERS[:6].reshape(2, 3).T)
    assert all(array.flags.c_contiguous for array in state.values())
    steps = state["bn.steps"]
    assert (steps.shape, steps.dtype, steps.tolist()) == ((), np.int64, 7)
    np.testing.assert_array_equal(state["half"], np.array([0.5, -2], np.float16))


@pytest.mark.parametrize("place", range(5))
def test_pth_runs_no_code(tmp_path: Path, place: int) -> None:
    """Whichever of the five pickles asks for it."""
    marker = tmp_path / "ran"
    evil = b"\x80\x02cos\nsystem\n(" + _value(f"touch {marker}") + b"tR."
    honest = [pickle.dumps(part, 2) for part in (_MAGIC, _PROTOCOL, _SYSTEM_INFO)]
    honest += [_state_dict({}), pickle.dumps([], 2)]
    honest[place] = evil
    with pytest.raises(UnreadableError, match=r"os\.system"):
        _read(b"".join(honest), tmp_path)
    assert not marker.exists()
    # The stream above does run where nothing stops it, so the test means something.
    pickle.loads(evil)
    assert marker.exists()


@pytest.mark.parametrize(
    "name", ["builtins\neval", "torch\nload", "torch._utils\n_rebuild_parameter", "numpy\narray"]
)
def test_pth_refuses_every_other_name(tmp_path: Path, name: str) -> None:
    call = f"c{name}\n".encode() + b"(" + _value("1") + b"tR"
    with pytest.raises(UnreadableError, match="which is no tensor"):
        _read(_pth({"weight": call}, {}), tmp_path)


def test_pth_cut_off_anywhere(tmp_path: Path) -> None:
    data = _sound()
    for length in range(len(data)):
        with pytest.raises(UnreadableError, match="not a PyTorch state dict"):
            _read(data[:length], tmp_path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (_pth({}, {}, magic=1), "magic number"),
        (_pth({}, {}, system=_SYSTEM_INFO | {"little_endian": False}), "big-endian"),
        (_pth({"w": _tensor("0", 24, (5, 5), (5, 1))}, {"0": _NUMBERS}), "past its storage"),
        (_pth({"w": _tensor("0", 24, (4,), (1,), 21)}, {"0": _NUMBERS}), "past its storage"),
        (_pth({"w": _tensor("0", 24, (4,), (-1,), 9)}, {"0": _NUMBERS}), "negative"),
        (_pth({"w": _tensor("0", 24, (4,), (1,), -1)}, {"0": _NUMBERS}), "negative"),
        (_pth({"w": _tensor("0", 24, (4,), (1, 1))}, {"0": _NUMBERS}), "state dict"),
        (_pth({"w": _tensor("1", 24, (4,), (1,))}, {"0": _NUMBERS}), "state dict"),
        (_pth({"w": _tensor("0", 24, (4,), (1,), storage="BoolStorage")}, {}), "BoolStorage"),
        (b"PK\x03\x04 no zip", "not a zip"),
        (b"", "Ran out of input"),
    ],
)
def test_pth_that_lies(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(UnreadableError, match=says):
        _read(data, tmp_path)


def test_pth_missing(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="No such file"):
        read_state_dict(tmp_path / "none.pth")
