"""`edgekit inspect` and what it computes."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as native

from edgekit import tflite
from edgekit.contract import Contract
from edgekit.errors import UnreadableError
from edgekit.report.table import table
from edgekit.tflite import Inspection

_KIND = native.TensorType


class Graph:
    """Builds a small model, operator by operator."""

    def __init__(self) -> None:
        self.model, self.graph = native.ModelT(), native.SubGraphT()
        self.model.version, self.model.buffers = 3, [native.BufferT()]
        self.model.subgraphs, self.model.operatorCodes = [self.graph], []
        self.graph.tensors, self.graph.operators = [], []

    def tensor(
        self,
        name: str,
        shape: list[int],
        kind: int,
        *,
        constant: bool = False,
        scale: float | None = None,
        like: str = "",
    ) -> int:
        tensor = native.TensorT()
        tensor.name, tensor.shape, tensor.type = name, shape, kind
        if constant:
            buffer = native.BufferT()
            width = {_KIND.FLOAT32: 4, _KIND.INT32: 4, _KIND.FLOAT16: 2}.get(kind, 1)
            buffer.data = np.ones(int(np.prod(shape)) * width, np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        if scale is not None:
            tensor.quantization = native.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [0]
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def op(self, name: str, inputs: list[int], outputs: list[int], options: Any = None) -> None:
        code = native.OperatorCodeT()
        code.builtinCode = getattr(native.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        self.model.operatorCodes.append(code)
        operator = native.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, outputs
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(
                native.BuiltinOptions, type(options).__name__.removesuffix("T")
            )
        self.graph.operators.append(operator)

    def save(self, path: Path, inputs: list[int], outputs: list[int]) -> Inspection:
        self.graph.inputs, self.graph.outputs = inputs, outputs
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))
        return tflite.inspect(path)


def test_mobilenet_v1(shared_models: Path) -> None:
    """MobileNetV1 0.25 128: 14 M MACs and 0.47 M parameters (table of the paper's authors)."""
    path = shared_models / "edgetpu" / "mobilenet_v1_0.25_128_quant.tflite"
    found = tflite.inspect(path)

    assert found.file_bytes == 525_598
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.macs == 13_570_304
    assert found.macs_unknown == ()
    assert found.parameters == 467_593
    # The first pointwise convolution: 64 x 64 x 8 read, 64 x 64 x 16 written.
    assert found.peak_activation_bytes == 64 * 64 * (8 + 16)
    assert found.peak_operator == 2
    assert {total.name: total.count for total in found.totals} == {
        "CONV_2D": 15,
        "DEPTHWISE_CONV_2D": 13,
        "AVERAGE_POOL_2D": 1,
        "RESHAPE": 1,
        "SOFTMAX": 1,
    }
    assert found.arithmetic.kind == "uint8"
    assert (found.inputs[0].scale, found.inputs[0].zero_point) == (1 / 128, 128)
    assert found.min_runtime_version == "1.5.0"
    assert found.contract_source == "TFLite metadata"
    assert found.contract is not None
    assert found.contract.normalization_name == "tf"
    assert found.contract.labels is not None
    assert len(found.contract.labels) == 1001
    assert found.files == (("imagenet_labels.txt", 21_686),)


def test_what_the_edge_tpu_took_is_not_counted(shared_models: Path) -> None:
    path = shared_models / "edgetpu" / "deeplabv3_mnv2_dm05_pascal_quant_edgetpu.tflite"
    found = tflite.inspect(path)
    assert found.macs_unknown == ("edgetpu-custom-op",)
    assert found.operators[0].custom
    assert found.operators[0].macs is None
    assert found.macs == 148_591_872


def test_a_small_model_by_hand(colour_int8: Path) -> None:
    found = tflite.inspect(colour_int8)
    pool, dense = found.operators
    assert (pool.macs, pool.parameters) == (0, 0)
    assert (dense.macs, dense.parameters, dense.constant_bytes) == (48 * 3, 48 * 3 + 3, 156)
    assert found.arithmetic.kind == "int8"
    assert found.arithmetic.islands == ()
    assert found.peak_activation_bytes == 32 * 32 * 3 + 48
    assert found.contract is None


def test_macs_of_every_kind_of_op(tmp_path: Path) -> None:
    g = Graph()
    f = _KIND.FLOAT32
    image = g.tensor("image", [1, 8, 8, 4], f)
    grouped = g.tensor("grouped", [6, 3, 3, 2], f, constant=True)
    one = g.tensor("one", [1, 8, 8, 6], f)
    g.op("CONV_2D", [image, grouped, -1], [one])
    depthwise = g.tensor("depthwise", [1, 5, 5, 12], f, constant=True)
    bias = g.tensor("bias", [12], f, constant=True)
    two = g.tensor("two", [1, 4, 4, 12], f)
    g.op("DEPTHWISE_CONV_2D", [one, depthwise, bias], [two])
    shape = g.tensor("shape", [4], _KIND.INT32, constant=True)
    up = g.tensor("up", [3, 2, 2, 12], f, constant=True)
    three = g.tensor("three", [1, 8, 8, 3], f)
    g.op("TRANSPOSE_CONV", [shape, up, two], [three])
    four = g.tensor("four", [1, 64, 3], f)
    g.op("RESHAPE", [three], [four])
    five = g.tensor("five", [1, 3, 3], f)
    g.op("BATCH_MATMUL", [four, four], [five], _transposed())
    found = g.save(tmp_path / "m.tflite", [image], [five])

    assert [op.macs for op in found.operators] == [
        8 * 8 * 6 * 3 * 3 * 2,
        4 * 4 * 12 * 5 * 5,
        4 * 4 * 12 * 2 * 2 * 3,
        0,
        3 * 3 * 64,
    ]
    # The shape that TRANSPOSE_CONV is given is no parameter.
    assert [op.parameters for op in found.operators] == [108, 312, 144, 0, 0]
    assert found.arithmetic.kind == "float32"


def _transposed() -> Any:
    options = native.BatchMatMulOptionsT()
    options.adjX = True
    return options


def test_float_islands_are_named(tmp_path: Path) -> None:
    """int8 -> DEQUANTIZE -> LOGISTIC -> NEG -> QUANTIZE -> int8."""
    g = Graph()
    image = g.tensor("image", [1, 4], _KIND.INT8, scale=0.5)
    weights = g.tensor("weights", [4, 4], _KIND.INT8, constant=True, scale=0.1)
    hidden = g.tensor("hidden", [1, 4], _KIND.INT8, scale=0.5)
    g.op("FULLY_CONNECTED", [image, weights, -1], [hidden])
    names = ("real", "squashed", "negated")
    real, squashed, negated = (g.tensor(name, [1, 4], _KIND.FLOAT32) for name in names)
    g.op("DEQUANTIZE", [hidden], [real])
    g.op("LOGISTIC", [real], [squashed])
    g.op("NEG", [squashed], [negated])
    scores = g.tensor("scores", [1, 4], _KIND.INT8, scale=0.5)
    g.op("QUANTIZE", [negated], [scores])
    found = g.save(tmp_path / "m.tflite", [image], [scores])

    assert found.arithmetic.kind == "mixed"
    (island,) = found.arithmetic.islands
    assert island.names == ("LOGISTIC", "NEG")
    assert island.operators == (2, 3)
    assert island.tensors == names
    assert island.boundary == ("DEQUANTIZE #1", "QUANTIZE #4")


def test_float_input_and_output_are_no_island(tmp_path: Path) -> None:
    g = Graph()
    image = g.tensor("image", [1, 4], _KIND.FLOAT32)
    inner = g.tensor("inner", [1, 4], _KIND.INT8, scale=0.5)
    g.op("QUANTIZE", [image], [inner])
    weights = g.tensor("weights", [4, 4], _KIND.INT8, constant=True, scale=0.1)
    hidden = g.tensor("hidden", [1, 4], _KIND.INT8, scale=0.5)
    g.op("FULLY_CONNECTED", [inner, weights, -1], [hidden])
    scores = g.tensor("scores", [1, 4], _KIND.FLOAT32)
    g.op("DEQUANTIZE", [hidden], [scores])
    found = g.save(tmp_path / "m.tflite", [image], [scores])
    assert (found.arithmetic.kind, found.arithmetic.islands) == ("int8", ())
    assert "float input and output" in found.arithmetic.reason


@pytest.mark.parametrize(
    ("activation", "weight", "unpacked", "kind"),
    [
        (_KIND.INT16, _KIND.INT8, False, "int16x8"),
        (_KIND.FLOAT32, _KIND.INT8, False, "dynamic"),
        (_KIND.FLOAT32, _KIND.INT8, True, "weight_only"),
        (_KIND.FLOAT32, _KIND.FLOAT16, True, "float16"),
        (_KIND.FLOAT32, _KIND.FLOAT32, False, "float32"),
    ],
)
def test_kinds_of_quantization(
    tmp_path: Path, activation: int, weight: int, unpacked: bool, kind: str
) -> None:
    g = Graph()
    scale = None if activation == _KIND.FLOAT32 else 0.5
    weight_scale = 0.1 if weight == _KIND.INT8 else None
    image = g.tensor("image", [1, 4], activation, scale=scale)
    weights = g.tensor("weights", [4, 4], weight, constant=True, scale=weight_scale)
    used = weights
    if unpacked:
        used = g.tensor("unpacked", [4, 4], _KIND.FLOAT32)
        g.op("DEQUANTIZE", [weights], [used])
    scores = g.tensor("scores", [1, 4], activation, scale=scale)
    g.op("FULLY_CONNECTED", [image, used, -1], [scores])
    found = g.save(tmp_path / "m.tflite", [image], [scores])
    assert found.arithmetic.kind == kind
    assert found.operators[-1].parameters == found.parameters == 16


def test_peak_memory_counts_what_lives_across(tmp_path: Path) -> None:
    """A residual: the input lives until the ADD at the end."""
    g = Graph()
    f = _KIND.FLOAT32
    a, b, c, d = (
        g.tensor(name, [1, n], f) for name, n in zip("abcd", (10, 100, 10, 10), strict=True)
    )
    g.op("RELU", [a], [b])
    g.op("RELU6", [b], [c])
    g.op("ADD", [a, c], [d])
    found = g.save(tmp_path / "m.tflite", [a], [d])
    assert found.peak_activation_bytes == 4 * (10 + 100 + 10)
    assert found.peak_operator == 1


def test_signatures_are_shown(tmp_path: Path) -> None:
    g = Graph()
    a, b = g.tensor("x:0", [1, 4], _KIND.FLOAT32), g.tensor("y:0", [1, 4], _KIND.FLOAT32)
    g.op("RELU", [a], [b])
    signature = native.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    signature.inputs, signature.outputs = [_named("image", a)], [_named("scores", b)]
    g.model.signatureDefs = [signature]
    (entry,) = g.save(tmp_path / "m.tflite", [a], [b]).signatures
    assert (entry.key, entry.inputs, entry.outputs) == (
        "serving_default",
        {"image": "x:0"},
        {"scores": "y:0"},
    )


def _named(name: str, index: int) -> Any:
    pair = native.TensorMapT()
    pair.name, pair.tensorIndex = name, index
    return pair


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"nothing.tflite: No such file"):
        tflite.inspect(tmp_path / "nothing.tflite")


def test_the_command(
    run_cli: Callable[..., subprocess.CompletedProcess[str]], colour_int8: Path, tmp_path: Path
) -> None:
    path = tmp_path / "packed.tflite"
    contract = Contract(32, 32, labels=("blue", "green", "red"), fit="crop", crop_fraction=0.875)
    path.write_bytes(tflite.pack(colour_int8.read_bytes(), contract))

    shown = run_cli("inspect", path, "--ops")
    assert shown.returncode == 0, shown.stderr
    assert "int8 (by the types" in shown.stdout
    assert "32 x 32, raw, crop:0.875 (exact), gives logits; from edgekit.json" in shown.stdout
    assert "3: blue; green; red" in shown.stdout
    assert "AVERAGE_POOL_2D" in shown.stdout

    document = json.loads(run_cli("inspect", path, "--json").stdout)
    assert document["macs"] == 144
    assert document["arithmetic"]["kind"] == "int8"
    assert document["contract"] == contract.to_dict()
    assert document["inputs"][0]["zero_point"] == -128


def test_the_command_refuses_other_files(
    run_cli: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    path = tmp_path / "photo.tflite"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    done = run_cli("inspect", path)
    assert done.returncode == 3
    assert "it seems to be a PNG picture" in done.stderr
    assert done.stdout == ""


def test_names_cannot_steer_the_terminal(
    run_cli: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    g = Graph()
    a = g.tensor("\x1b[31mred\n", [1, 4], _KIND.FLOAT32)
    b = g.tensor("y", [1, 4], _KIND.FLOAT32)
    g.op("RELU", [a], [b])
    g.save(tmp_path / "m.tflite", [a], [b])
    shown = run_cli("inspect", tmp_path / "m.tflite").stdout
    assert "\x1b" not in shown
    assert "[31mred" in shown


def test_table_aligns_by_content_and_width() -> None:
    text = table(("name", "n"), [("a", 1), ("日本", 22), ("b", "-")])
    assert text.splitlines() == ["name   n", "a      1", "日本  22", "b      -"]
    assert table(("", ""), [("a", "b"), ("ccc", "d")]) == "a    b\nccc  d"
    assert table(("x", "y"), [("a",)], "<>") == "x  y\na"
