"""Running a model over many pictures on all cores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edgekit import images
from edgekit.contract import Contract
from edgekit.runtime import Interpreter, map_on_cores


def run_all(
    model: bytes,
    pictures: images.Picture,
    contract: Contract,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """The scores of every picture.

    Args:
        model: The bytes of a .tflite file; batch 1, one image input.
        pictures: uint8[N, height, width, 3], RGB, fitted to the contract.
        contract: Turns pictures into the model's input.
        workers: Threads; by default one per core.
        progress: Called with (done, total).

    Returns:
        float32[N, classes], dequantized.
    """

    def run_one(interpreter: Interpreter, position: int) -> npt.NDArray[np.float32]:
        value = images.to_input(
            pictures[position], contract, interpreter.input.dtype, interpreter.input.quantization
        )
        return interpreter.output.dequantize(interpreter.invoke(value))

    scores = map_on_cores(
        lambda: Interpreter(model), run_one, len(pictures), workers=workers, progress=progress
    )
    if not scores:
        return np.zeros((0, Interpreter(model).output.shape[-1]), np.float32)
    return np.stack(scores)
