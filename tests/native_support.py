"""What tests of the native program share: building it, running it, and models for it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ai_edge_litert
import artefacts
import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

ROOT = Path(__file__).resolve().parents[1]
NATIVE = ROOT / "benchmarks" / "native"
CACHE = ROOT / "build" / "native"
_STUB = ROOT / "tests" / "native" / "stub_delegate.cc"
LITERT = Path(ai_edge_litert.__file__).parent / "libLiteRt.so"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One run of the program."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.stdout)

    @property
    def error(self) -> str:
        error = self.document["error"]
        assert error["exit_code"] == self.code
        assert f"error: {error['message']}" in self.stderr
        return f"{error['message']} | {error['hint']}"


def run(command: Sequence[object], **environment: str) -> Outcome:
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        check=False,
        timeout=300,
        env={**os.environ, **environment},
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace"))


def build(target: str) -> Path:
    pytest.importorskip("ziglang", reason="the program is built with ziglang")
    done = run([sys.executable, NATIVE / "build.py", target])
    assert done.code == 0, done.stderr
    return ROOT / "edgekit" / "benchmark" / "bin" / f"edgekit-bench-{target}-linux-gnu"


def compile_library(source: Path, library: Path) -> None:
    cache = str(CACHE / "zig-cache")
    done = run(
        [
            # As the program is built, so that the C++ library of its cache serves.
            *(sys.executable, "-m", "ziglang", "c++", "-target", "x86_64-linux-gnu.2.17"),
            *("-mcpu=baseline", "-std=c++17", "-Os", "-flto", "-Wall", "-Wextra", "-Werror"),
            *("-fPIC", "-shared", source, "-o", library),
        ],
        ZIG_GLOBAL_CACHE_DIR=cache,
        ZIG_LOCAL_CACHE_DIR=cache,
    )
    assert done.code == 0, done.stderr


def build_stub(folder: Path) -> Path:
    """A delegate that claims nodes by the names of their ops, built by the same compiler."""
    made = artefacts.copy_of(
        "stub_delegate", folder / "stub", _make_stub, of=_STUB.read_text(), product=False
    )
    return made / "libstub_delegate.so"


def _make_stub(folder: Path) -> None:
    compile_library(_STUB, folder / "libstub_delegate.so")


def chain_model() -> bytes:
    """float32[1, 4, 4, 8]: ADD, RESHAPE, ADD, RESHAPE, ADD; each ADD doubles."""
    graph = GraphBuilder()
    tensor = first = graph.tensor("image", [1, 4, 4, 8])
    for shape in ([1, 128], [1, 4, 4, 8]):
        tensor = graph.reshape(graph.double(tensor), shape)
    return graph.finish([first], [graph.double(tensor)])


class GraphBuilder:
    """Small float models of ADD and RESHAPE."""

    def __init__(self) -> None:
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.buffers = 3, [schema.BufferT()]
        self.graph.tensors, self.graph.operators = [], []

    def tensor(self, name: str, shape: list[int], *, open_batch: bool = False) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, shape, schema.TensorType.FLOAT32
        if open_batch:
            tensor.shapeSignature = [-1, *shape[1:]]
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def double(self, tensor: int) -> int:
        options = (schema.BuiltinOptions.AddOptions, schema.AddOptionsT())
        return self._operator(0, [tensor, tensor], self._shape(tensor), *options)

    def reshape(self, tensor: int, shape: list[int]) -> int:
        constant = self.tensor("shape", [len(shape)])
        self.graph.tensors[constant].type = schema.TensorType.INT32
        self.graph.tensors[constant].buffer = len(self.model.buffers)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.array(shape, np.int32).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        options = (schema.BuiltinOptions.ReshapeOptions, schema.ReshapeOptionsT())
        return self._operator(1, [tensor, constant], shape, *options)

    def _shape(self, tensor: int) -> list[int]:
        return list(self.graph.tensors[tensor].shape)

    def _operator(
        self, code: int, inputs: list[int], shape: list[int], kind: int, options: object
    ) -> int:
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs = code, inputs
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        operator.outputs = [self.tensor(f"t{len(self.graph.tensors)}", shape)]
        self.graph.operators.append(operator)
        return operator.outputs[0]

    def finish(
        self, inputs: list[int], outputs: list[int], *, reversed_signature: bool = False
    ) -> bytes:
        self.graph.inputs, self.graph.outputs = inputs, outputs
        self.model.subgraphs, self.model.operatorCodes = [self.graph], []
        for builtin in (schema.BuiltinOperator.ADD, schema.BuiltinOperator.RESHAPE):
            code = schema.OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = builtin
            code.version = 1
            self.model.operatorCodes.append(code)
        if reversed_signature:
            signature = schema.SignatureDefT()
            signature.signatureKey, signature.subgraphIndex = "serving_default", 0
            signature.inputs = [tensor_map(f"z{i}", t) for i, t in enumerate(inputs[::-1])]
            signature.outputs = [tensor_map(f"y{i}", t) for i, t in enumerate(outputs[::-1])]
            self.model.signatureDefs = [signature]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def tensor_map(name: str, tensor: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, tensor
    return entry


def splitmix64(seed: int, count: int, start: int = 0) -> np.ndarray:
    """Outputs number `start` and on of the generator: uint64[count]."""
    with np.errstate(over="ignore"):
        steps = np.arange(start + 1, start + count + 1, dtype=np.uint64)
        z = np.uint64(seed) + steps * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def seeded_inputs(model: bytes, seed: int) -> list[np.ndarray]:
    """What `--input random:SEED` gives, as src/input.h describes it, for int8 and float32."""
    details = Interpreter(model_content=model).get_input_details()
    inputs, drawn = [], 0
    for detail in details:
        shape, size = detail["shape"], int(np.prod(detail["shape"]))
        if detail["dtype"] == np.float32:
            draws = splitmix64(seed, size, drawn)
            values = ((draws >> np.uint64(40)).astype(np.float64) / 2**23 - 1).astype(np.float32)
        else:
            draws = splitmix64(seed, -(-size // 8), drawn)
            values = np.frombuffer(draws.tobytes(), np.int8)[:size]
        drawn += len(draws)
        inputs.append(values.reshape(shape))
    return inputs


def python_outputs(model: bytes, inputs: list[np.ndarray]) -> bytes:
    """All outputs of the Python interpreter, one after the other."""
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    details = interpreter.get_output_details()
    return b"".join(interpreter.get_tensor(detail["index"]).tobytes() for detail in details)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
