"""A float .tflite graph that can be edited: find patterns of ops, put others in their place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit import tflite
from edgekit.tflite.edit import edit, operator_code, write
from edgekit.tflite.schema import OPERATORS

Array = npt.NDArray[Any]
Options = tuple[str, dict[str, Any]]

_FLOAT32 = 0


class Op:
    """One op of the graph, by identity.

    Attributes:
        name: The builtin op.
        inputs: Tensor indices; -1 for one that is left out.
        outputs: Tensor indices.
        fields: The operator's fields in the file.
    """

    def __init__(
        self, name: str, inputs: Sequence[int], outputs: Sequence[int], fields: dict[str, Any]
    ) -> None:
        self.name = name
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        self.fields = fields

    @property
    def output(self) -> int:
        """The first output."""
        return self.outputs[0]

    def option(self, name: str) -> Any:
        """A field of the op's option table, or None where it has none."""
        union = self.fields.get("builtin_options")
        return union[1].get(name) if union else None


class Graph:
    """The main graph of a float model.

    Attributes:
        ops: In the order of execution.
    """

    def __init__(self, model: bytes, where: str) -> None:
        """Reads a model, the bytes of a sound .tflite file; `where` is for errors."""
        self._root = edit(model, where)
        self._graph = self._root["subgraphs"][0]
        self._parsed = tflite.read(model, where)
        self._fresh: dict[int, Array] = {}
        self._names = {tensor["name"] for tensor in self._graph["tensors"]}
        self.ops = [
            Op(op.name, op.inputs, op.outputs, fields)
            for op, fields in zip(
                self._parsed.main.operators, self._graph["operators"], strict=True
            )
        ]
        self._refresh()

    @property
    def tensor_count(self) -> int:
        """How many tensors there are."""
        return len(self._graph["tensors"])

    def set_shape(self, tensor: int, shape: Sequence[int]) -> None:
        """Gives a tensor another shape, for good."""
        self._graph["tensors"][tensor] |= {
            "shape": np.array(shape, np.int32),
            "shape_signature": [],
        }

    def shape(self, tensor: int) -> tuple[int, ...]:
        """A tensor's shape."""
        return tuple(int(n) for n in self._graph["tensors"][tensor]["shape"])

    def name(self, tensor: int) -> str:
        """A tensor's name."""
        return str(self._graph["tensors"][tensor]["name"])

    @property
    def input(self) -> int:
        """The graph's input."""
        return int(self._graph["inputs"][0])

    @property
    def input_name(self) -> str:
        """The name of the graph's input."""
        return self.name(self.input)

    def tensor(self, name: str) -> int:
        """The index of a tensor; names are unique."""
        return next(i for i, t in enumerate(self._graph["tensors"]) if t["name"] == name)

    def constant(self, tensor: int) -> Array | None:
        """A tensor's value, or None where it has none."""
        if tensor in self._fresh:
            return self._fresh[tensor]
        tensors = self._parsed.main.tensors
        return self._parsed.constant(tensors[tensor]) if 0 <= tensor < len(tensors) else None

    def producer(self, tensor: int, name: str | None = None) -> Op | None:
        """The op that writes a tensor, if it is a `name`."""
        op = self._producers.get(tensor)
        return op if op is not None and name in (None, op.name) else None

    def consumers(self, tensor: int) -> list[Op]:
        """The ops that read a tensor."""
        return self._consumers.get(tensor, [])

    def only_consumer(self, tensor: int, name: str | None = None) -> Op | None:
        """The op that reads a tensor, if there is just one and it is a `name`."""
        consumers = self.consumers(tensor)
        alone = len(consumers) == 1 and not self.is_output(tensor)
        return consumers[0] if alone and name in (None, consumers[0].name) else None

    def is_output(self, tensor: int) -> bool:
        """Whether the graph gives this tensor."""
        return tensor in self._graph["outputs"]

    def add_constant(self, name: str, value: Array) -> int:
        """A new constant: float32, int32 or int64."""
        index = self._add_tensor(name, value.shape, value.dtype.name)
        self._root["buffers"].append(
            {"data": np.frombuffer(value.tobytes(), np.uint8), "offset": 0, "size": 0}
        )
        self._graph["tensors"][index]["buffer"] = len(self._root["buffers"]) - 1
        self._fresh[index] = value
        return index

    def add_activation(self, name: str, shape: Sequence[int]) -> int:
        """A new float32 tensor that an op will write."""
        return self._add_tensor(name, shape, "float32")

    def new_op(
        self,
        name: str,
        inputs: Sequence[int],
        output: int | Sequence[int],
        options: Options | None = None,
        version: int = 1,
    ) -> Op:
        """A new op, in no graph yet; `output` is its one output, or all of them."""
        code = OPERATORS.index(name)
        codes = self._root["operator_codes"]
        known = [c["builtin_code"] for c in codes]
        if code not in known:
            codes.append(operator_code(name, version))
            known.append(code)
        fields = {"opcode_index": known.index(code), "builtin_options": options}
        return Op(name, inputs, [output] if isinstance(output, int) else output, fields)

    def replace(self, old: Op, new: Iterable[Op]) -> None:
        """Puts ops in the place of one; what nothing needs any more goes with it."""
        place = self.ops.index(old)
        self.ops[place : place + 1] = list(new)
        self._refresh()
        self._drop_unused()

    def rewire(self, op: Op, inputs: Iterable[int]) -> None:
        """Gives an op other inputs; what nothing needs any more goes."""
        op.inputs = list(inputs)
        self._refresh()
        self._drop_unused()

    def end_at(self, tensor: int) -> None:
        """Makes a tensor the only output; what it doesn't need goes."""
        self._graph["outputs"] = np.array([tensor], np.int32)
        self._drop_unused()

    def put_last(self, name: str, output: str, options: Options) -> None:
        """Puts an op behind the only output, which becomes the op's; it has the same shape."""
        (before,) = (int(i) for i in self._graph["outputs"])
        after = self.add_activation(output, self.shape(before))
        self.ops.append(self.new_op(name, [before], after, options))
        self._graph["outputs"] = np.array([after], np.int32)
        self._refresh()

    def to_bytes(self) -> bytes:
        """The edited file, without tensors and buffers that nothing uses."""
        graph, root = self._graph, self._root
        used = {i for op in self.ops for i in (*op.inputs, *op.outputs) if i >= 0}
        used |= {int(i) for i in (*graph["inputs"], *graph["outputs"])}
        order = sorted(used)
        place = {old: new for new, old in enumerate(order)} | {-1: -1}
        graph["tensors"] = [graph["tensors"][i] for i in order]
        for end in ("inputs", "outputs"):
            graph[end] = np.array([place[int(i)] for i in graph[end]], np.int32)
        graph["operators"] = [
            op.fields
            | {
                "inputs": np.array([place[i] for i in op.inputs], np.int32),
                "outputs": np.array([place[i] for i in op.outputs], np.int32),
            }
            for op in self.ops
        ]
        kept = {0} | {m["buffer"] for m in root["metadata"] or ()}
        kept |= {tensor["buffer"] for tensor in graph["tensors"]}
        buffers = sorted(kept)
        moved = {old: new for new, old in enumerate(buffers)}
        root["buffers"] = [root["buffers"][i] for i in buffers]
        for owner in (*graph["tensors"], *(root["metadata"] or ())):
            owner["buffer"] = moved[owner["buffer"]]
        root["signature_defs"] = []  # they name tensors by index; the pipeline adds one at the end
        return write(root)

    def _add_tensor(self, name: str, shape: Sequence[int], dtype: str) -> int:
        while name in self._names:
            name += ";"
        self._names.add(name)
        self._graph["tensors"].append(
            {
                "name": name,
                "shape": np.array(shape, np.int32),
                "type": {"float32": 0, "int32": 2, "int64": 4}[dtype],
                "buffer": 0,
                "has_rank": True,
            }
        )
        return len(self._graph["tensors"]) - 1

    def _refresh(self) -> None:
        self._producers = {tensor: op for op in self.ops for tensor in op.outputs}
        self._consumers: dict[int, list[Op]] = {}
        for op in self.ops:
            for tensor in dict.fromkeys(op.inputs):
                self._consumers.setdefault(tensor, []).append(op)

    def _drop_unused(self) -> None:
        while True:
            kept = [
                op
                for op in self.ops
                if any(self.consumers(t) or self.is_output(t) for t in op.outputs)
            ]
            if len(kept) == len(self.ops):
                return
            self.ops = kept
            self._refresh()
