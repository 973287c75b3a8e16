"""Running a model over many pictures on all cores."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from edgekit import images
from edgekit.contract import Contract
from edgekit.cpus import usable_cpus
from edgekit.runtime import Interpreter


def run_all(
    model: bytes,
    pictures: images.Picture,
    contract: Contract,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """The scores of every picture.

    One interpreter with one thread per core, since inference releases the interpreter lock and
    a single small model gains little from more threads.

    Args:
        model: The bytes of a .tflite file; batch 1, one image input.
        pictures: uint8[N, height, width, 3], RGB, fitted to the contract.
        contract: Turns pictures into the model's input.
        workers: Threads; by default one per core.
        progress: Called with (done, total).

    Returns:
        float32[N, classes], dequantized.
    """
    local = threading.local()
    done, lock = 0, threading.Lock()

    def run_one(position: int) -> npt.NDArray[np.float32]:
        nonlocal done
        if not hasattr(local, "interpreter"):
            local.interpreter = Interpreter(model)
        interpreter: Interpreter = local.interpreter
        value = images.to_input(
            pictures[position], contract, interpreter.input.dtype, interpreter.input.quantization
        )
        scores = interpreter.output.dequantize(interpreter.invoke(value))
        with lock:
            done += 1
            if progress is not None:
                progress(done, len(pictures))
        return scores

    if len(pictures) == 0:
        return np.zeros((0, Interpreter(model).output.shape[-1]), np.float32)
    with ThreadPoolExecutor(min(workers or usable_cpus(), len(pictures))) as pool:
        return np.stack(list(pool.map(run_one, range(len(pictures)))))
