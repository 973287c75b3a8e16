"""Does a runtime compute what files made here need? Tiny models whose answers are known.

A TensorFlow Lite from before an operator learned something loads a model that needs it, and answers
rubbish, unless the file's versions keep it out (`edgekit.tflite.versions`); files of other
converters, and older ones of ours, state too low a version. So no runtime is believed untried. Each
probe states the lowest version that any runtime here loads.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.tflite.edit import operator_code, write
from edgekit.tflite.model import Model, Operator, Subgraph
from edgekit.tflite.schema import SCHEMA_VERSION, TENSOR_TYPES

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Probe:
    """One thing that a runtime must compute right.

    Attributes:
        name: What it is, in words.
        model: The bytes of a .tflite file with one input and one output.
        value: Its input.
        expected: The answer: same dtype and shape as the output.
        tolerance: How far an answer may be off, in the output's units.
        used_by: Whether an operator of a model relies on it.
    """

    name: str
    model: bytes
    value: Array
    expected: Array
    tolerance: float
    used_by: Callable[[Subgraph, Operator], bool]

    def fits(self, answer: Array) -> bool:
        """Whether a runtime's answer is right."""
        if answer.shape != self.expected.shape:
            return False
        off = np.abs(answer.astype(np.float64) - self.expected.astype(np.float64))
        return bool(np.all(off <= self.tolerance))  # not so for NaN


def wrong_in(model: Model, faults: Iterable[Probe]) -> list[Probe]:
    """Those of a runtime's faults that would spoil a model's answers."""
    return [
        probe
        for probe in faults
        if any(probe.used_by(graph, op) for graph in model.subgraphs for op in graph.operators)
    ]


def as_json() -> str:
    """All probes as `TRY` reads them."""
    return json.dumps(
        [
            {
                "name": probe.name,
                "model": base64.b64encode(zlib.compress(probe.model)).decode(),
                "value": probe.value.tolist(),
                "expected": probe.expected.tolist(),
                "tolerance": probe.tolerance,
            }
            for probe in all_probes()
        ]
    )


#: Runs on a device, in any Python from 3.6 on that has numpy: `module` is a runtime's, `probes` is
#: what `as_json` wrote. Prints the names of the probes that the runtime answers wrong.
TRY = r"""
import base64, importlib, json, zlib, numpy
interpreter = importlib.import_module(module).Interpreter
for probe in json.loads(probes):
    try:
        native = interpreter(model_content=zlib.decompress(base64.b64decode(probe["model"])))
        native.allocate_tensors()
        given, made = native.get_input_details()[0], native.get_output_details()[0]
        native.set_tensor(given["index"], numpy.array(probe["value"], given["dtype"]))
        native.invoke()
    except (RuntimeError, ValueError):
        continue
    off = abs(native.get_tensor(made["index"]).astype(float) - numpy.array(probe["expected"]))
    if not (off <= probe["tolerance"]).all():
        print(probe["name"])
"""


def all_probes() -> tuple[Probe, ...]:
    """Every probe; together they run in a millisecond or two."""
    return (
        dense_channels(),
        _dynamic_dense_channels(False),
        _dynamic_dense_channels(True),
        _hard_swish(),
        requantized(),
    )


# --- the probes


def dense_channels() -> Probe:
    """The second channel's scale is 64 times the first's."""
    value = np.array([[10, -20, 30, 40]], np.int8)
    weights = np.array([[1, 2, 3, 4], [4, 3, 2, 1]], np.int8)
    scales = [1 / 64, 1.0]
    made = _model(
        "FULLY_CONNECTED",
        4,
        [
            _tensor("x", (1, 4), "int8", [1.0]),
            _tensor("w", (2, 4), "int8", scales, weights),
            _tensor("b", (2,), "int32", scales, np.zeros(2, np.int32)),
        ],
        _tensor("y", (1, 2), "int8", [1.0]),
        ("FullyConnectedOptions", {}),
    )
    exact = (value.astype(np.int64) @ weights.astype(np.int64).T) * np.array(scales)
    expected = np.round(exact).astype(np.int8)
    return Probe(
        "int8 fully connected layers with a scale for each channel",
        made,
        value,
        expected,
        1,
        lambda graph, op: _dense(graph, op, ("int8", "int16")),
    )


def _dynamic_dense_channels(asymmetric: bool) -> Probe:
    """Inputs of 1 and -1 are quantized without an error worth a word."""
    option = "asymmetric_quantize_inputs"
    value = np.array([[1, -1, 1, 1, -1, 1, 1, 1]], np.float32)
    weights = np.tile(np.array([[127, 64, -32, 100, 5, 80, -90, 3]], np.int8), (4, 1))
    scales = [1 / 1024, 1 / 64, 1 / 8, 1.0]
    made = _model(
        "FULLY_CONNECTED",
        3,
        [
            _tensor("x", (1, 8), "float32"),
            _tensor("w", (4, 8), "int8", scales, weights),
            _tensor("b", (4,), "float32", (), np.zeros(4, np.float32)),
        ],
        _tensor("y", (1, 4), "float32"),
        ("FullyConnectedOptions", {option: asymmetric}),
    )
    exact = (value.astype(np.float64) @ weights.astype(np.float64).T) * np.array(scales)
    inputs = "asymmetric" if asymmetric else "symmetric"
    return Probe(
        f"dynamic fully connected layers with {inputs} inputs and a scale for each channel",
        made,
        value,
        exact.astype(np.float32),
        float(np.abs(exact).max()) / 50,
        lambda graph, op: (
            _dense(graph, op, ("float32",)) and bool(op.options.get(option)) == asymmetric
        ),
    )


def _hard_swish() -> Probe:
    """x * relu6(x + 3) / 6."""
    value = np.array([[-128, -64, -32, -16, 0, 16, 64, 127]], np.int8)
    scale = 1 / 16
    made = _model(
        "HARD_SWISH",
        1,
        [_tensor("x", (1, 8), "int8", [scale])],
        _tensor("y", (1, 8), "int8", [scale]),
        ("HardSwishOptions", {}),
    )
    real = value * scale
    exact = real * np.clip(real + 3, 0, 6) / 6 / scale
    return Probe(
        "int8 hard-swish",
        made,
        value,
        np.clip(np.round(exact), -128, 127).astype(np.int8),
        1,
        lambda graph, op: op.name == "HARD_SWISH" and graph.tensors[op.inputs[0]].dtype == "int8",
    )


def requantized() -> Probe:
    """The plainest of them: uint8 with zero point 128 becomes int8 with 0."""
    value = np.array([[0, 1, 127, 128, 200, 255]], np.uint8)
    made = _model(
        "QUANTIZE",
        1,
        [_tensor("x", (1, 6), "uint8", [0.5], zero_point=128)],
        _tensor("y", (1, 6), "int8", [0.5]),
        ("QuantizeOptions", {}),
    )
    return Probe(
        "QUANTIZE from uint8 to int8",
        made,
        value,
        (value.astype(np.int16) - 128).astype(np.int8),
        0,
        lambda graph, op: op.name == "QUANTIZE",
    )


def _dense(graph: Subgraph, op: Operator, dtypes: tuple[str, ...]) -> bool:
    if op.name != "FULLY_CONNECTED":
        return False
    value, weights = graph.tensors[op.inputs[0]], graph.tensors[op.inputs[1]]
    return value.dtype in dtypes and weights.dtype == "int8" and len(weights.scales) > 1


# --- their files


def _tensor(
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    scales: Any = (),
    constant: Array | None = None,
    zero_point: int = 0,
) -> tuple[dict[str, Any], Array | None]:
    fields: dict[str, Any] = {
        "name": name,
        "shape": np.array(shape, np.int32),
        "type": TENSOR_TYPES.index(dtype),
        "buffer": 0,
        "has_rank": True,
    }
    if len(scales):
        fields["quantization"] = {
            "scale": np.array(scales, np.float32),
            "zero_point": np.full(len(scales), zero_point, np.int64),
            "quantized_dimension": 0,
        }
    return fields, constant


def _model(
    name: str,
    version: int,
    inputs: list[tuple[dict[str, Any], Array | None]],
    output: tuple[dict[str, Any], Array | None],
    options: tuple[str, dict[str, Any]],
) -> bytes:
    """A model of one operator; the first input is the model's, the others are constant."""
    buffers: list[dict[str, Any]] = [{"data": np.zeros(0, np.uint8), "offset": 0, "size": 0}]
    tensors = []
    for fields, constant in (*inputs, output):
        if constant is not None:
            data = np.frombuffer(constant.tobytes(), np.uint8)
            buffers.append({"data": data, "offset": 0, "size": 0})
            fields["buffer"] = len(buffers) - 1
        tensors.append(fields)
    last = len(inputs)
    return write(
        {
            "version": SCHEMA_VERSION,
            "operator_codes": [operator_code(name, version)],
            "subgraphs": [
                {
                    "name": "main",
                    "tensors": tensors,
                    "inputs": np.array([0], np.int32),
                    "outputs": np.array([last], np.int32),
                    "operators": [
                        {
                            "opcode_index": 0,
                            "inputs": np.arange(last, dtype=np.int32),
                            "outputs": np.array([last], np.int32),
                            "builtin_options": options,
                        }
                    ],
                }
            ],
            "buffers": buffers,
        }
    )
