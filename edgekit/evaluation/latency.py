"""How long one inference takes here: a first figure beside the accuracy, not a benchmark."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit import images
from edgekit.contract import Contract
from edgekit.runtime import Interpreter, runtime_name

_WARM_UP = 5
_MIN_RUNS = 30
_MAX_RUNS = 300
#: Fast models get more runs than the minimum, until this many seconds are spent.
_SECONDS = 0.5


@dataclass(frozen=True)
class Latency:
    """Batch-1, single-thread inference times.

    Attributes:
        samples_ms: Every run after the warm-up, in order, in milliseconds.
        runtime: What ran it, such as `ai-edge-litert 2.3.0`.
    """

    samples_ms: tuple[float, ...]
    runtime: str

    @property
    def median_ms(self) -> float:
        """The median, in milliseconds."""
        return float(np.percentile(self.samples_ms, 50))

    @property
    def p90_ms(self) -> float:
        """The 90th percentile, linearly interpolated, in milliseconds."""
        return float(np.percentile(self.samples_ms, 90))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "median_ms": self.median_ms,
            "p90_ms": self.p90_ms,
            "threads": 1,
            "batch": 1,
            "runtime": self.runtime,
            "samples_ms": list(self.samples_ms),
        }


def measure(model: bytes, picture: images.Picture, contract: Contract) -> Latency:
    """Times single inferences on one thread: input copied in, invoked, output copied out.

    Nothing else of this process may be running meanwhile.

    Args:
        model: The bytes of a .tflite file.
        picture: uint8[height, width, 3], RGB, fitted; a real one, since some kernels depend on it.
        contract: Turns it into the model's input, before the clock starts.

    Raises:
        RuntimeFailure: The runtime failed.
    """
    interpreter = Interpreter(model, threads=1)
    value = images.to_input(
        picture, contract, interpreter.input.dtype, interpreter.input.quantization
    )
    for _ in range(_WARM_UP):
        interpreter.invoke(value)
    samples: list[float] = []
    start = time.perf_counter()
    while len(samples) < _MIN_RUNS or (
        len(samples) < _MAX_RUNS and time.perf_counter() - start < _SECONDS
    ):
        before = time.perf_counter_ns()
        interpreter.invoke(value)
        samples.append((time.perf_counter_ns() - before) / 1e6)
    return Latency(tuple(samples), runtime_name())
