"""What the runtime's own int8 kernels make of each of the 256 values.

An int8 op of one operand is a table of 256 entries, and some kernels approximate: HARD_SWISH works
in 16 bits, RSQRT in fixed point. So the runtime is asked, with a model of that one op.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.runtime import Interpreter
from edgekit.tflite.edit import operator_code, write
from edgekit.tflite.model import Operator, Tensor
from edgekit.tflite.schema import SCHEMA_VERSION, TENSOR_TYPES

#: The ops of one operand whose values stand alone.
UNARY = frozenset({"HARD_SWISH", "LOGISTIC", "TANH", "GELU", "RSQRT"})


def table(
    op: Operator, options: tuple[str, dict[str, Any]] | None, source: Tensor, target: Tensor
) -> npt.NDArray[np.int8]:
    """The int8 outputs of an op for the inputs -128 to 127.

    Args:
        op: One of `UNARY`, of a quantized file.
        options: Its option table, as `edgekit.tflite.edit` gives it.
        source: What it reads, int8.
        target: What it writes, int8.

    Returns:
        int8[256].
    """
    model = write(
        {
            "version": SCHEMA_VERSION,
            "operator_codes": [operator_code(op.name, op.version)],
            "subgraphs": [
                {
                    "name": "main",
                    "tensors": [_row("x", source), _row("y", target)],
                    "inputs": np.array([0], np.int32),
                    "outputs": np.array([1], np.int32),
                    "operators": [
                        {
                            "opcode_index": 0,
                            "inputs": np.array([0], np.int32),
                            "outputs": np.array([1], np.int32),
                            "builtin_options": options,
                        }
                    ],
                }
            ],
            "buffers": [{"data": ()}],
        }
    )
    return np.asarray(Interpreter(model).invoke(np.arange(-128, 128, dtype=np.int8)), np.int8)


def _row(name: str, like: Tensor) -> dict[str, Any]:
    """256 values on the grid of a tensor."""
    return {
        "name": name,
        "shape": np.array([1, 256], np.int32),
        "type": TENSOR_TYPES.index("int8"),
        "buffer": 0,
        "has_rank": True,
        "quantization": {
            "scale": np.asarray(like.scales, np.float32),
            "zero_point": np.array([like.zero_point], np.int64),
        },
    }
