"""Models of a few ops, without weights of any sense, for tests of where and how they run."""

from __future__ import annotations

import numpy as np

from edgekit.tflite.model import Model, Operator, Subgraph, Tensor


def tensor(index: int, shape: tuple[int, ...], dtype: str = "int8", buffer: int = 0) -> Tensor:
    scales, zeros = np.ones(1, np.float32), np.zeros(1, np.int64)
    return Tensor(index, f"t{index}", shape, shape, dtype, buffer, scales, zeros, 0, False)


def graph(*ops: tuple[str, tuple[int, ...], tuple[int, ...]], tensors: list[Tensor]) -> Model:
    """A model of (op, inputs, outputs); buffers that are named hold zeros."""
    operators = tuple(
        Operator(i, name, name == "mine", 1, inputs, outputs, {})
        for i, (name, inputs, outputs) in enumerate(ops)
    )
    main = Subgraph("main", tuple(tensors), (0,), (len(tensors) - 1,), operators)
    buffers = [memoryview(b"")] + [memoryview(bytes(t.byte_size)) for t in tensors]
    return Model(3, "test", (main,), {}, (), tuple(buffers), 0)


def chain(*names: str, first: str = "int8") -> Model:
    """One op after the other; the first tensor may be of another type."""
    tensors = [tensor(i, (1, 8), "int8") for i in range(len(names) + 1)]
    tensors[0] = tensor(0, (1, 8), first)
    ops = [(name, (i,), (i + 1,)) for i, name in enumerate(names)]
    return graph(*ops, tensors=tensors)
