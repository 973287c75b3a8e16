"""The contract inside a .tflite file."""

from __future__ import annotations

import dataclasses
import io
import shutil
import struct
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from edgekit import tflite, zipped
from edgekit.contract import NORMALIZATIONS, Contract
from edgekit.errors import UnreadableError, UsageError
from edgekit.tflite import schema
from edgekit.tflite.flatbuffer import Reader, Schema, Writer
from edgekit.tflite.metadata import FROM_EDGEKIT, FROM_TFLITE

_METADATA = Schema(schema.METADATA_TABLES, schema.UNIONS)
_LABELS = ("bleu, ciel", "grün", "赤")


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract(
        32, 32, fit="crop", crop_fraction=0.875, labels=_LABELS, output="probabilities"
    ).with_normalization(NORMALIZATIONS["torch"])


@pytest.fixture(scope="module")
def plain(colour_int8: Path) -> bytes:
    return colour_int8.read_bytes()


@pytest.fixture(scope="module")
def packed(plain: bytes, contract: Contract) -> bytes:
    return tflite.pack(plain, contract)


@pytest.fixture(scope="module")
def mobilenet(shared_models: Path) -> bytes:
    return (shared_models / "edgetpu" / "mobilenet_v1_0.25_128_quant.tflite").read_bytes()


def described(data: bytes) -> dict[str, Any]:
    """The TFLite metadata of a file, decoded."""
    entry = tflite.read(data, "m").metadata["TFLITE_METADATA"]
    assert bytes(entry[4:8]) == b"M001"
    return Reader(entry, _METADATA).root("ModelMetadata")


def run(model: bytes, seed: int = 0) -> np.ndarray:
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()[0]
    value = np.random.default_rng(seed).integers(0, 127, details["shape"])
    interpreter.set_tensor(details["index"], value.astype(details["dtype"]))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def test_the_contract_comes_back(packed: bytes, contract: Contract) -> None:
    assert tflite.read_contract(packed, "m") == contract
    assert tflite.contract_source(packed, "m") == FROM_EDGEKIT


def test_packing_is_deterministic_and_idempotent(
    plain: bytes, packed: bytes, contract: Contract
) -> None:
    assert tflite.pack(plain, contract) == packed
    assert tflite.pack(packed, contract) == packed


def test_packing_again_replaces(packed: bytes, plain: bytes, contract: Contract) -> None:
    other = dataclasses.replace(contract, labels=None, output="logits")
    again = tflite.pack(packed, other)
    assert again == tflite.pack(plain, other)
    assert tflite.read_contract(again, "m") == other
    assert [name for name, _ in tflite.associated_files(again)] == ["edgekit.json"]


def test_the_model_is_the_same(plain: bytes, packed: bytes, mobilenet: bytes) -> None:
    np.testing.assert_array_equal(run(plain), run(packed))
    repacked = tflite.pack(mobilenet, Contract(128, 128))
    np.testing.assert_array_equal(run(mobilenet), run(repacked))
    before, after = tflite.read(mobilenet, "m"), tflite.read(repacked, "m")
    for mine, other in zip(before.main.tensors, after.main.tensors, strict=True):
        assert mine.name == other.name
        assert mine.shape == other.shape
        assert mine.scales.tobytes() == other.scales.tobytes()
        assert bytes(before.buffers[mine.buffer]) == bytes(after.buffers[other.buffer])
    assert [op.options for op in before.main.operators] == [
        op.options for op in after.main.operators
    ]


def test_buffers_are_aligned(mobilenet: bytes) -> None:
    data = tflite.pack(mobilenet, Contract(128, 128))
    start = np.frombuffer(data, np.uint8).ctypes.data
    for buffer in tflite.read(data, "m").buffers:
        if len(buffer):
            assert (np.frombuffer(buffer, np.uint8).ctypes.data - start) % 16 == 0


def test_zip_readers_have_no_complaints(packed: bytes, contract: Contract, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["edgekit.json", "labels.txt"]
        assert archive.read("labels.txt").decode().splitlines() == list(_LABELS)
        assert archive.read("edgekit.json").decode() == contract.to_json()
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        # The C++ readers of TFLite metadata can't inflate.
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    unzip = shutil.which("unzip")
    if unzip is not None:
        path = tmp_path / "m.tflite"
        path.write_bytes(packed)
        done = subprocess.run([unzip, "-t", path], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert "extra bytes" not in done.stdout


def test_offsets_count_from_the_start_of_the_file(packed: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        directory = struct.unpack("<I", packed[-6:-2])[0]
        assert packed[directory : directory + 4] == b"PK\1\2"
        for info in archive.infolist():
            assert packed[info.header_offset : info.header_offset + 4] == b"PK\3\4"


def test_standard_metadata(packed: bytes, contract: Contract) -> None:
    found = described(packed)
    assert found["min_parser_version"] == "1.0.0"
    (graph,) = found["subgraph_metadata"]
    (image,), (scores,) = graph["input_tensor_metadata"], graph["output_tensor_metadata"]
    kind, properties = image["content"]["content_properties"]
    assert (kind, properties["color_space"]) == ("ImageProperties", 1)
    assert properties["default_size"] == {"width": 32, "height": 32}
    kind, normalization = image["process_units"][0]["options"]
    assert kind == "NormalizationOptions"
    np.testing.assert_allclose(normalization["mean"], contract.mean, rtol=1e-6)
    np.testing.assert_allclose(normalization["std"], contract.std, rtol=1e-6)
    np.testing.assert_allclose(image["stats"]["min"], contract.float_table()[0], rtol=1e-6)
    np.testing.assert_allclose(image["stats"]["max"], contract.float_table()[255], rtol=1e-6)
    assert scores["name"] == "probability"
    (file,) = scores["associated_files"]
    assert (file["name"], file["type"]) == ("labels.txt", 2)


def test_one_value_where_channels_share_it_and_no_rgb_for_bgr(plain: bytes) -> None:
    caffe = Contract(32, 32).with_normalization(NORMALIZATIONS["caffe"])
    image = described(tflite.pack(plain, caffe))["subgraph_metadata"][0]["input_tensor_metadata"][0]
    assert image["content"]["content_properties"][1]["color_space"] == 0
    assert image["process_units"][0]["options"][1]["std"].tolist() == [1.0]
    assert tflite.read_contract(tflite.pack(plain, caffe), "m") == caffe


def test_metadata_of_other_tools(mobilenet: bytes) -> None:
    found = tflite.read_contract(mobilenet, "m")
    assert found is not None
    assert (found.height, found.width, found.fit) == (128, 128, "stretch")
    assert (found.mean, found.std) == ((127.5,) * 3, (127.5,) * 3)
    assert found.output == "probabilities"
    assert found.labels is not None
    assert (found.labels[0], found.labels[1]) == ("background", "tench, Tinca tinca")
    assert tflite.contract_source(mobilenet, "m") == FROM_TFLITE


def test_no_metadata_no_contract(plain: bytes) -> None:
    assert tflite.read_contract(plain, "m") is None
    assert tflite.contract_source(plain, "m") is None
    assert tflite.associated_files(plain) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"height": 64}, "the contract is for 64 x 32, the model's input is 32 x 32"),
        ({"labels": ("a", "b")}, "2 labels, the model 3 outputs"),
        ({"labels": ("a", "b\nc", "d")}, "line break"),
    ],
)
def test_a_contract_of_another_model_is_refused(
    plain: bytes, contract: Contract, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        tflite.pack(plain, dataclasses.replace(contract, **change))


def test_what_this_schema_does_not_know_is_not_dropped(plain: bytes) -> None:
    """A root table with one field more than the schema has."""
    tables = {**schema.MODEL_TABLES, "Model": schema.MODEL_TABLES["Model"] + " news:i32"}
    newer = Schema(tables, schema.UNIONS)
    root = Reader(plain, newer).root("Model")
    data = Writer(newer).finish("Model", {**root, "news": 7}, b"TFL3")
    assert len(tflite.read(data, "m").main.operators) == 2
    with pytest.raises(UnreadableError, match=r"newer \.tflite schema"):
        tflite.pack(data, Contract(32, 32))


@pytest.mark.parametrize("cut", [1, 22, 100, 600])
def test_a_cut_off_zip_is_noticed(packed: bytes, cut: int) -> None:
    """Falling back to the coarser TFLite metadata would change the preprocessing in silence."""
    with pytest.raises(UnreadableError, match=r"edgekit.json.*lacks it"):
        tflite.read_contract(packed[:-cut], "m")


def test_a_damaged_contract_is_told(packed: bytes) -> None:
    damaged = bytearray(packed)
    damaged[packed.rindex(b'"crop_fraction"') + 3] ^= 1
    with pytest.raises(UnreadableError, match=r"edgekit.json.*can't be read \(Bad CRC-32"):
        tflite.read_contract(bytes(damaged), "m")


def test_a_missing_label_file_of_another_tool_is_told(mobilenet: bytes) -> None:
    end = tflite.read(mobilenet, "m").size
    with pytest.raises(UnreadableError, match=r"imagenet_labels\.txt"):
        tflite.read_contract(mobilenet[:end], "m")


def _zipped(model: bytes, name: str, content: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    whole = io.BytesIO(model)
    whole.seek(0, io.SEEK_END)
    with zipfile.ZipFile(whole, "w", method) as archive:
        archive.writestr(name, content)
    return whole.getvalue()


def test_zip_bombs_are_refused(plain: bytes) -> None:
    bomb = _zipped(plain, "edgekit.json", b" " * (64 << 20), zipfile.ZIP_DEFLATED)
    assert len(bomb) < 1 << 20
    with pytest.raises(UnreadableError, match="more than 4 MiB"):
        tflite.read_contract(bomb, "m")
    # The directory may say that it is small.
    lying = bytearray(bomb)
    entry = bomb.rindex(b"PK\1\2")
    struct.pack_into("<I", lying, entry + 24, 100)
    with pytest.raises(UnreadableError):
        tflite.read_contract(bytes(lying), "m")


def test_paths_in_the_zip_mean_nothing(
    plain: bytes, contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = _zipped(plain, "../edgekit.json", contract.to_json().encode())
    assert tflite.read_contract(data, "m") is None
    assert list(tmp_path.iterdir()) == []


def test_other_compressions_and_broken_json_are_refused(plain: bytes, contract: Contract) -> None:
    content = contract.to_json().encode()
    for data, words in (
        (_zipped(plain, "edgekit.json", content, zipfile.ZIP_BZIP2), "compression method 12"),
        (_zipped(plain, "edgekit.json", content[:-20]), "can't be read"),
        (_zipped(plain, "edgekit.json", b"\xff\xfe\xfd"), "can't be read"),
        (_zipped(plain, "edgekit.json", b'{"schema": 99}'), "contract schema 99"),
        (_zipped(plain, "edgekit.json", b"[" * 100_000), "nested absurdly"),
    ):
        with pytest.raises(UnreadableError, match=words):
            tflite.read_contract(data, "m")


def test_damaged_tflite_metadata_is_told(packed: bytes) -> None:
    entry = tflite.read(packed, "m").metadata["TFLITE_METADATA"]
    place = packed.index(bytes(entry))
    size = tflite.read(packed, "m").size
    for offset, content, words in ((4, b"M999", "no identifier M001"), (0, b"\xff" * 4, "damaged")):
        damaged = bytearray(packed[:size])
        damaged[place + offset : place + offset + 4] = content
        with pytest.raises(UnreadableError, match=words):
            tflite.read_contract(bytes(damaged), "m")


def test_appending_to_a_file_that_ends_like_a_zip() -> None:
    """An end record inside the model must not be taken for the archive to add to."""
    inner = _zipped(b"", "inner.txt", b"inner")
    data = zipped.append(inner, {"outer.txt": b"outer"})
    assert zipped.listing(data) == (("outer.txt", 5),)
    assert zipped.member(data, "outer.txt", "m") == b"outer"
