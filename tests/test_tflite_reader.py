"""The reader: what it finds in real files, what it refuses, and that nothing makes it crash."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as native
from ai_edge_litert.interpreter import Interpreter

from edgekit import tflite
from edgekit.errors import UnreadableError, UsageError
from edgekit.tflite import schema

_EDGE_TPU = (
    "deeplabv3_mnv2_dm05_pascal_quant.tflite",
    "deeplabv3_mnv2_dm05_pascal_quant_edgetpu.tflite",
    "mobilenet_v1_0.25_128_quant.tflite",
    "mobilenet_v1_0.25_128_quant_edgetpu.tflite",
)


@pytest.fixture(scope="module")
def mobilenet(shared_models: Path) -> bytes:
    return (shared_models / "edgetpu" / "mobilenet_v1_0.25_128_quant.tflite").read_bytes()


def edit(data: bytes, change: Callable[[Any], None]) -> bytes:
    """The file after a change by the official object API."""
    model = native.ModelT.InitFromPackedBuf(data, 0)
    change(model)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize("name", _EDGE_TPU)
def test_every_field_agrees_with_the_official_reader(shared_models: Path, name: str) -> None:
    data = (shared_models / "edgetpu" / name).read_bytes()
    ours = tflite.read(data, name)
    theirs = native.ModelT.InitFromPackedBuf(data, 0)
    graph = theirs.subgraphs[0]

    assert ours.version == theirs.version
    assert ours.description == theirs.description.decode()
    assert ours.main.inputs == tuple(graph.inputs)
    assert ours.main.outputs == tuple(graph.outputs)
    assert len(ours.main.tensors) == len(graph.tensors)
    for mine, other in zip(ours.main.tensors, graph.tensors, strict=True):
        assert mine.name == other.name.decode()
        assert mine.shape == tuple(() if other.shape is None else other.shape)
        assert schema.TENSOR_TYPES.index(mine.dtype) == other.type
        scales = () if other.quantization is None else other.quantization.scale
        assert mine.scales.tolist() == list(() if scales is None else scales)
    for mine, other in zip(ours.main.operators, graph.operators, strict=True):
        assert mine.inputs == tuple(other.inputs)
        assert mine.outputs == tuple(other.outputs)
    for mine, other in zip(ours.buffers, theirs.buffers, strict=True):
        assert bytes(mine) == (b"" if other.data is None else other.data.tobytes())


def test_the_schema_is_the_official_one() -> None:
    builtin = {v: k for k, v in vars(native.BuiltinOperator).items() if isinstance(v, int)}
    types = {v: k.lower() for k, v in vars(native.TensorType).items() if isinstance(v, int)}
    options = {v: k for k, v in vars(native.BuiltinOptions).items() if isinstance(v, int)}
    assert dict(enumerate(schema.OPERATORS)) == builtin
    assert dict(enumerate(schema.TENSOR_TYPES)) == types
    assert dict(enumerate(schema.UNIONS["BuiltinOptions"])) == options


def test_options_are_decoded(mobilenet: bytes) -> None:
    convolution = tflite.read(mobilenet, "m").main.operators[0]
    assert convolution.name == "CONV_2D"
    assert not convolution.custom
    expected = {"padding": "SAME", "stride_w": 2, "stride_h": 2, "dilation_w_factor": 1}
    assert expected.items() <= convolution.options.items()
    assert convolution.options["fused_activation_function"] == "RELU6"


def test_constants_are_what_the_interpreter_sees(mobilenet: bytes) -> None:
    model = tflite.read(mobilenet, "m")
    interpreter = Interpreter(model_content=mobilenet)
    compared = 0
    for tensor in model.main.tensors:
        value = model.constant(tensor)
        assert (value is not None) == model.is_constant(tensor)
        if value is not None:
            np.testing.assert_array_equal(value, interpreter.get_tensor(tensor.index))
            compared += 1
    assert compared == 2 * 28 + 1  # weights and biases, the shape of RESHAPE


def test_small_integers_are_unpacked(colour_int8: Path) -> None:
    def change(model: Any) -> None:
        tensor = native.TensorT()
        tensor.name, tensor.shape, tensor.type = "four", [3], native.TensorType.INT4
        tensor.buffer = len(model.buffers)
        buffer = native.BufferT()
        buffer.data = [0x8F, 0x07]
        model.buffers.append(buffer)
        model.subgraphs[0].tensors.append(tensor)

    model = tflite.read(edit(colour_int8.read_bytes(), change), "m")
    value = model.constant(model.main.tensors[-1])
    assert value is not None
    assert value.tolist() == [-1, -8, 7]


def test_weights_behind_the_flatbuffer_are_found(colour_int8: Path) -> None:
    """As litert-quantizer writes them: by their place in the file."""
    plain = colour_int8.read_bytes()
    contents: list[bytes] = []

    def change(model: Any, start: int = 1 << 20) -> None:
        for buffer in model.buffers[1:]:
            if buffer.data is not None:
                contents.append(bytes(buffer.data))
                buffer.data, buffer.offset, buffer.size = None, start, len(contents[-1])
                start += buffer.size

    flatbuffer = edit(plain, change)
    data = flatbuffer.ljust(1 << 20, b"\0") + b"".join(contents)
    before, after = tflite.read(plain, "m"), tflite.read(data, "m")
    assert [bytes(b) for b in after.buffers] == [bytes(b) for b in before.buffers]
    assert after.size == len(data)
    with pytest.raises(UnreadableError, match=r"buffers\[2\].data: bytes|buffers\[2\]: bytes"):
        tflite.read(data[:-1], "m")


def test_what_follows_the_flatbuffer_is_left_alone(mobilenet: bytes) -> None:
    model = tflite.read(mobilenet, "m")
    assert model.size < len(mobilenet)
    assert mobilenet[model.size : model.size + 4] == b"PK\3\4"
    assert set(model.metadata) == {"min_runtime_version", "TFLITE_METADATA"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"TFL", "only 3 bytes"),
        (b"PK\3\4" + bytes(26) + b"metadata.json", "a Keras model"),
        (b"PK\3\4" + bytes(40), "a zip archive"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "a PNG picture"),
        (b"\xff\xd8\xff\xe0" + bytes(20), "a JPEG picture"),
        (b"\x89HDF\r\n\x1a\n" + bytes(20), "an HDF5 file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "a web page"),
        ("eine Zeile, noch eine mit Ümlaut\n".encode(), "seems to be text"),
        (bytes(64), "begins with zeros"),
        (b"\x18\0\0\0TFL2" + bytes(64), "another version"),
        (bytes(range(200, 256)) * 4, "TFL3 is missing"),
    ],
)
def test_other_files_are_named(data: bytes, words: str) -> None:
    with pytest.raises(UnreadableError, match=words) as raised:
        tflite.read(data, "some/file")
    assert raised.value.message.startswith("some/file: ")
    assert raised.value.hint


def _first_tensor(model: Any) -> Any:
    return model.subgraphs[0].tensors[0]


def _set(target: Callable[[Any], Any], **values: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        for name, value in values.items():
            setattr(target(model), name, value)

    return change


def _operator(model: Any) -> Any:
    return model.subgraphs[0].operators[1]


def _graph(model: Any) -> Any:
    return model.subgraphs[0]


def _quantization(model: Any) -> Any:
    return model.subgraphs[0].tensors[0].quantization


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set(lambda m: m, version=2), "schema version 2"),
        (_set(lambda m: m, subgraphs=[]), "no subgraph"),
        (_set(_graph, inputs=[99]), r"inputs: tensor 99, of 5"),
        (_set(_graph, outputs=[-1]), r"outputs: tensor -1, of 5"),
        (_set(_operator, opcodeIndex=7), r"operators\[1\].opcode_index is 7, of 2"),
        (_set(_operator, inputs=[1, 2, 44]), "tensor 44, of 5"),
        (_set(_operator, inputs=[4, 2, 3]), "reads tensor 4 before anything writes it"),
        (_set(_operator, outputs=[1]), "writes tensor 1, which has its value already"),
        (_set(_operator, outputs=[2]), "writes tensor 2, which has its value already"),
        (_set(_first_tensor, buffer=9), r"tensors\[0\].buffer is 9"),
        (_set(_first_tensor, type=77), r"tensors\[0\].type is 77"),
        (_set(_first_tensor, shape=[1, -32, 32, 3]), "has the shape"),
        (_set(_first_tensor, shape=[65536, 65536, 0]), "absurd shape"),
        (_set(_first_tensor, shape=[1] * 9), "9 dimensions"),
        (_set(_first_tensor, shapeSignature=[1]), "shape_signature of another length"),
        (_set(lambda m: m.subgraphs[0].tensors[2], shape=[3, 47]), "its buffer has 144"),
        (_set(_quantization, zeroPoint=[0, 0]), "1 scales, but 2 zero points"),
        (_set(_quantization, scale=[1.0, 1.0], zeroPoint=[0, 0]), "2 scales along dimension 0"),
        (_set(_quantization, scale=[0.0]), "not a sensible positive number"),
        (_set(_quantization, scale=[-1.0]), "not a sensible positive number"),
        (_set(_quantization, scale=[float("nan")]), "not a sensible positive number"),
        (_set(lambda m: m.operatorCodes[0], builtinCode=32), "names no operator"),
        (_set(_graph, operators=[]), "nothing writes tensor 4"),
    ],
)
def test_contradictions_are_refused(
    colour_int8: Path, change: Callable[[Any], None], words: str
) -> None:
    data = edit(colour_int8.read_bytes(), change)
    with pytest.raises(UnreadableError, match=words) as raised:
        tflite.read(data, "bad.tflite")
    assert raised.value.message.startswith("bad.tflite: not a sound .tflite file: ")


def test_subgraphs_that_call_themselves_are_refused(colour_int8: Path) -> None:
    def change(model: Any) -> None:
        operator = model.subgraphs[0].operators[1]
        operator.builtinOptionsType = native.BuiltinOptions.CallOnceOptions
        operator.builtinOptions = native.CallOnceOptionsT()
        operator.builtinOptions.initSubgraphIndex = 0

    with pytest.raises(UnreadableError, match="in a circle"):
        tflite.read(edit(colour_int8.read_bytes(), change), "m")


def test_a_small_file_cannot_ask_for_much_work() -> None:
    """A thousand vectors of offsets that are all one vector of offsets to one table."""
    count = 20_000
    # root -> Model{subgraphs} -> count offsets to one SubGraph{tensors} -> count to one Tensor{}.
    vtable_model = struct.pack("<HHHHH", 10, 8, 0, 0, 4)
    vtable_graph = struct.pack("<HHH", 6, 8, 4)
    vtable_tensor = struct.pack("<HH", 4, 4)
    out = bytearray(struct.pack("<I4s", 0, b"TFL3"))

    def vtable(content: bytes) -> int:
        out.extend(bytes(-len(out) % 4))
        place = len(out)
        out.extend(content)
        out.extend(bytes(-len(out) % 4))
        return place

    def table(at: int, fields: int) -> int:
        place = len(out)
        out.extend(struct.pack("<i", place - at) + bytes(4 * fields))
        return place

    def point(place: int, target: int) -> None:
        struct.pack_into("<I", out, place, target - place)

    def vector() -> int:
        place = len(out)
        out.extend(struct.pack("<I", count) + bytes(4 * count))
        return place

    frames = [vtable(v) for v in (vtable_model, vtable_graph, vtable_tensor)]
    model = table(frames[0], 1)
    graphs = vector()
    graph = table(frames[1], 1)
    tensors = vector()
    tensor = table(frames[2], 0)
    point(0, model)
    point(model + 4, graphs)
    point(graph + 4, tensors)
    for i in range(count):
        point(graphs + 4 + 4 * i, graph)
        point(tensors + 4 + 4 * i, tensor)
    started = time.perf_counter()
    with pytest.raises(UnreadableError, match=r"more (tables|content) than a file of this size"):
        tflite.read(bytes(out), "bomb")
    assert time.perf_counter() - started < 2


def test_mutated_files_are_read_or_refused(colour_int8: Path, colour_float: Path) -> None:
    generator = random.Random(20240607)
    originals = [colour_int8.read_bytes(), colour_float.read_bytes()]
    refused = 0
    started = time.perf_counter()
    for _ in range(600):
        mutant = mutate(generator.choice(originals), generator)
        try:
            tflite.read(mutant, "mutant")
        except UnreadableError:
            refused += 1
    assert 100 < refused < 600
    assert time.perf_counter() - started < 10


def test_every_truncation_is_refused(colour_int8: Path) -> None:
    data = colour_int8.read_bytes()
    end = tflite.read(data, "m").size
    for length in range(end):
        with pytest.raises(UnreadableError):
            tflite.read(data[:length], "cut off")


def mutate(data: bytes, generator: random.Random) -> bytes:
    """One to three bytes flipped, 32-bit values replaced or shifted, or the end cut off."""
    mutant = bytearray(data)
    extremes = (0, 1, 2, 4, 255, 65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7F800000)
    for _ in range(generator.choice((1, 1, 2, 3))):
        kind, place = generator.random(), generator.randrange(len(mutant) - 4)
        if kind < 0.4:
            mutant[place] ^= 1 << generator.randrange(8)
        elif kind < 0.7:
            struct.pack_into("<I", mutant, place & ~3, generator.choice(extremes))
        elif kind < 0.9:
            (value,) = struct.unpack_from("<I", mutant, place & ~3)
            shifted = (value + generator.choice((-8, -4, -1, 1, 4, 8))) & 0xFFFFFFFF
            struct.pack_into("<I", mutant, place & ~3, shifted)
        else:
            return bytes(mutant[:place])
    return bytes(mutant)


def test_classifier_shape(colour_int8: Path, mobilenet: bytes) -> None:
    assert tflite.classifier_shape(tflite.read(colour_int8.read_bytes(), "c"), "c") == (32, 32, 3)
    assert tflite.classifier_shape(tflite.read(mobilenet, "m"), "m") == (128, 128, 1001)


def test_no_classifier_is_told_what_it_is(shared_models: Path) -> None:
    path = shared_models / "edgetpu" / "deeplabv3_mnv2_dm05_pascal_quant.tflite"
    model = tflite.read(path.read_bytes(), "seg")
    with pytest.raises(UsageError, match=r"seg: not an image.*output is int64\[1, 513, 513\]"):
        tflite.classifier_shape(model, "seg")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set(_graph, inputs=[0, 1], operators=[]), "2 inputs"),
        (_set(_first_tensor, shape=[1, 32, 32, 1]), r"input is int8\[1, 32, 32, 1\]"),
        (_set(_first_tensor, shape=[2, 32, 32, 3]), r"input is int8\[2, 32, 32, 3\]"),
        (_set(_first_tensor, type=native.TensorType.INT16), "edgekit feeds float32, int8, uint8"),
        (_set(lambda m: m.subgraphs[0].tensors[4], shape=[1, 1, 1, 3]), r"\[1, 1, 1, 3\], not"),
    ],
)
def test_other_shapes_are_told(
    colour_int8: Path, change: Callable[[Any], None], words: str
) -> None:
    def whole(model: Any) -> None:
        change(model)
        if len(model.subgraphs[0].inputs) == 2:
            model.subgraphs[0].outputs = [0]

    model = tflite.read(edit(colour_int8.read_bytes(), whole), "m")
    with pytest.raises(UsageError, match=words):
        tflite.classifier_shape(model, "m")


def test_reading_needs_no_other_package(colour_int8: Path) -> None:
    code = (
        "import sys; from edgekit import tflite; "
        f"tflite.read(open({str(colour_int8)!r}, 'rb').read(), 'm'); "
        "print([m for m in ('flatbuffers', 'ai_edge_litert', 'tensorflow', 'cv2')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_zip_that_holds_a_model_is_told(tmp_path: Path, colour_int8: Path) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(colour_int8, "model.tflite")
    with pytest.raises(UnreadableError, match="zip archive") as raised:
        tflite.read(path.read_bytes(), str(path))
    assert "inside" in (raised.value.hint or "")
