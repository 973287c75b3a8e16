"""Calibration: the range of every activation of a float model over real images.

Two ways, same result. The fast one uses the runtime's own profiler (a private module of
ai-edge-litert, so that package is pinned and a test guards this): XNNPACK runs op by op, and the
minimum and maximum of each result are taken where it is computed. The public one keeps every tensor
and looks at it afterwards, about four times slower; it is used where the private module is missing,
and the caller is told.

What is kept is the minimum and maximum on each image; `edgekit.converters.ranges` makes ranges of
them. (A moving average, the default of litert-quantizer, cost 0.3 points of top-1 on
EfficientNet-Lite0.)
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit import images, tflite
from edgekit.contract import Contract
from edgekit.converters.ranges import Observed, Ranges
from edgekit.errors import NotMetError
from edgekit.runtime import map_on_cores, open_native


@dataclass(frozen=True)
class Calibration:
    """What calibration learned.

    Attributes:
        observed: tensor name -> float64[N, 2]: the minimum and maximum on each image.
        scores: float32[N, classes], the float model's own outputs, kept for verification.
        method: `profiler`, or `all tensors` for the slower public way.
    """

    observed: Observed
    scores: npt.NDArray[np.float32]
    method: str

    def sample(self, count: int) -> Calibration:
        """What so many of the images taught, evenly spaced; all of it where there are fewer."""
        if count >= len(self.scores):
            return self
        places = np.linspace(0, len(self.scores) - 1, count).astype(int)
        observed = {name: extremes[places] for name, extremes in self.observed.items()}
        return Calibration(observed, self.scores[places], self.method)


def calibrate(
    model: bytes,
    pictures: images.Picture,
    contract: Contract,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Runs a float model over pictures and records the range of every activation.

    Args:
        model: A float32 .tflite file, batch 1.
        pictures: uint8[N, height, width, 3], RGB, fitted to the contract; N at least 1.
        contract: Turns pictures into the model's input.
        progress: Called with (done, total).

    Raises:
        NotMetError: The model gives numbers that are not finite.
        RuntimeFailure: The runtime failed.
    """
    profiler = _profiler()
    record = _Profiled if profiler is not None else _AllTensors

    def run_one(
        recorder: _Profiled | _AllTensors, position: int
    ) -> tuple[Ranges, npt.NDArray[np.float32]]:
        return recorder.run(images.to_input(pictures[position][None], contract, np.float32))

    seen = map_on_cores(lambda: record(model, profiler), run_one, len(pictures), progress=progress)
    observed = {
        name: np.array([ranges[name] for ranges, _ in seen], np.float64) for name in seen[0][0]
    }
    scores = np.stack([scores for _, scores in seen])
    broken = [name for name, extremes in observed.items() if not np.isfinite(extremes).all()]
    if broken or not np.isfinite(scores).all():
        raise NotMetError(
            "the float model gives numbers that are not finite on these images "
            f"({', '.join(broken[:3]) or 'at the output'})",
            "Training probably diverged: check the model with model.predict first.",
        )
    return Calibration(observed, scores, record.method)


class _Profiled:
    """Ranges from the runtime's profiler."""

    method = "profiler"

    def __init__(self, model: bytes, profiler: Any) -> None:
        self._profiler = profiler
        self._native = open_native(
            model,
            experimental_disable_delegate_node_fusion=True,
            experimental_force_delegate_node_profiling=True,
        )
        self._input, self._output = _ends(self._native)

    def run(self, value: npt.NDArray[Any]) -> tuple[Ranges, npt.NDArray[np.float32]]:
        self._native.set_tensor(self._input, value)
        stats = self._profiler.InvokeWithCalibration(self._native._native_handle(), 0)
        ranges = {name: (float(s.min), float(s.max)) for name, s in stats.items()}
        return ranges, self._native.get_tensor(self._output)[0]


class _AllTensors:
    """Ranges from keeping every tensor, with public calls only."""

    method = "all tensors"

    def __init__(self, model: bytes, profiler: Any) -> None:
        self._native = open_native(model, experimental_preserve_all_tensors=True)
        self._input, self._output = _ends(self._native)
        # Constants are left out: the quantizer would take the range of weights for the whole tensor
        # and quantize them per tensor.
        graph = tflite.read(model, "the float model").main
        written = {index for operator in graph.operators for index in operator.outputs}
        self._tensors = [
            (tensor.index, tensor.name)
            for tensor in graph.tensors
            if tensor.index in written and tensor.dtype == "float32" and tensor.elements > 0
        ]

    def run(self, value: npt.NDArray[Any]) -> tuple[Ranges, npt.NDArray[np.float32]]:
        self._native.set_tensor(self._input, value)
        self._native.invoke()
        ranges = {}
        for index, name in self._tensors:
            try:
                values = self._native.get_tensor(index)
            except ValueError:
                continue  # fused away by the delegate
            ranges[name] = (float(values.min()), float(values.max()))
        return ranges, self._native.get_tensor(self._output)[0]


def _profiler() -> Any:
    try:
        return importlib.import_module("ai_edge_litert._pywrap_tfl_calibration")
    except ImportError:
        return None


def _ends(native: Any) -> tuple[int, int]:
    return native.get_input_details()[0]["index"], native.get_output_details()[0]["index"]
