"""What a .tflite file holds, as frozen values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.tflite.schema import BITS


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of a subgraph.

    Attributes:
        index: Its index in the subgraph.
        name: Its name, which may be empty.
        shape: Its shape, the batch included; empty for a scalar.
        shape_signature: The shape with -1 where a dimension may change; as `shape` if none may.
        dtype: Its type by numpy's name where there is one, such as `int8`; else `string`, `int4`,
            `bfloat16` and so on.
        buffer: The index of the buffer with its constant value; an empty buffer means none.
        scales: float32[channels], one for all, or none if it isn't quantized: the size of a
            quantization step in real units.
        zero_points: int64, as many as scales or none (which means 0).
        quantized_dimension: The dimension that several scales go with.
        is_variable: Whether it keeps its value between inferences.
        sparse: Whether its constant value is stored sparsely.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...]
    dtype: str
    buffer: int
    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    quantized_dimension: int
    is_variable: bool
    sparse: bool = False

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def byte_size(self) -> int:
        """Bytes of its value; 0 for a string, whose size isn't fixed."""
        return (self.elements * BITS.get(self.dtype, 0) + 7) // 8

    @property
    def is_float(self) -> bool:
        """Whether its values are floating-point numbers."""
        return "float" in self.dtype

    @property
    def is_quantized(self) -> bool:
        """Whether it has a scale."""
        return len(self.scales) > 0

    @property
    def scale(self) -> float | None:
        """The scale of a per-tensor quantization, or None."""
        return float(self.scales[0]) if len(self.scales) == 1 else None

    @property
    def zero_point(self) -> int | None:
        """The zero point of a per-tensor quantization, or None."""
        if len(self.scales) != 1:
            return None
        return int(self.zero_points[0]) if len(self.zero_points) else 0


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator of a subgraph.

    Attributes:
        index: Its place in the order of execution.
        name: The builtin operator, such as `CONV_2D`, or the code of a custom one.
        custom: Whether it is a custom operator.
        version: The version of the operator.
        inputs: Tensor indices; -1 stands for an optional input that is left out.
        outputs: Tensor indices.
        options: The fields of its option table by name. Activation functions and paddings are
            named (`RELU6`, `SAME`), vectors are tuples.
    """

    index: int
    name: str
    custom: bool
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Subgraph:
    """One graph; operators stand in the order of execution."""

    name: str
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]


@dataclass(frozen=True)
class Signature:
    """A named entry: input and output names to tensor indices of one subgraph."""

    key: str
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    subgraph: int


@dataclass(frozen=True, eq=False)
class Model:
    """A .tflite file that was read and found sound.

    Attributes:
        version: The version of its schema, 3.
        description: What its converter wrote.
        subgraphs: The first is the main one; others are called by operators such as WHILE.
        metadata: Metadata entries by name.
        signatures: Named entries.
        buffers: All buffers; the first is empty.
        size: The bytes that the flatbuffer reaches; a zip with metadata may follow.
    """

    version: int
    description: str
    subgraphs: tuple[Subgraph, ...]
    metadata: Mapping[str, memoryview]
    signatures: tuple[Signature, ...]
    buffers: tuple[memoryview, ...] = field(repr=False)
    size: int

    @property
    def main(self) -> Subgraph:
        """The main subgraph."""
        return self.subgraphs[0]

    def is_constant(self, tensor: Tensor) -> bool:
        """Whether the file holds the tensor's value."""
        return len(self.buffers[tensor.buffer]) > 0

    def constant_bytes(self, tensor: Tensor) -> int:
        """Bytes that the file holds for the tensor."""
        return len(self.buffers[tensor.buffer])

    def constant(self, tensor: Tensor) -> npt.NDArray[Any] | None:
        """The constant value of a tensor, of its shape.

        4-bit and 2-bit integers come as int8 or uint8, bfloat16 as float32; all else is a view on
        the file in the tensor's dtype.

        Returns:
            None for a tensor that is computed, and for strings, sparse tensors and 8-bit floats.
        """
        data = self.buffers[tensor.buffer]
        if not len(data) or tensor.sparse:
            return None
        if tensor.dtype in ("int4", "uint4", "int2"):
            return _unpack(data, BITS[tensor.dtype], tensor.elements, tensor.dtype).reshape(
                tensor.shape
            )
        if tensor.dtype == "bfloat16":
            high = np.frombuffer(data, "<u2").astype(np.uint32) << 16
            return high.view(np.float32).reshape(tensor.shape)
        if tensor.dtype not in BITS or tensor.dtype.startswith("float8"):
            return None
        dtype = np.dtype(tensor.dtype).newbyteorder("<")
        return np.frombuffer(data, dtype).reshape(tensor.shape)


def _unpack(data: memoryview, bits: int, count: int, dtype: str) -> npt.NDArray[Any]:
    """Integers of less than a byte, the lowest bits first."""
    packed = np.frombuffer(data, np.uint8)[:, None]
    values = (packed >> np.arange(0, 8, bits, dtype=np.uint8)).reshape(-1)[:count]
    values = values & np.uint8((1 << bits) - 1)
    if dtype.startswith("u"):
        return values
    # Shifted up, so that the arithmetic shift down brings the sign along.
    return (values << np.uint8(8 - bits)).view(np.int8) >> np.int8(8 - bits)
