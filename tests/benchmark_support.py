"""Benchmark documents without a benchmark: rounds with given samples, and a machine that drifts."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.benchmark.document import Cell, Round, Run, check_round
from edgekit.benchmark.plan import interleaved

_STATE: dict[str, Any] = {
    "governors": {"0": "performance"},
    "frequencies_khz": {"0": 1_500_000},
    "max_frequencies_khz": {"0": 1_500_000},
    "temperatures_mc": {"cpu-thermal": 45_000},
    "throttled": 0,
    "load_1m": 0.1,
    "available_bytes": 1 << 30,
}
_TENSOR = {"name": "image", "dtype": "int8", "shape": [1, 32, 32, 3], "bytes": 3072}
_DOCUMENT: dict[str, Any] = {
    "schema": "edgekit.bench/1",
    "tool": {"name": "edgekit-bench", "version": "0.1.0", "target": "aarch64-linux-gnu"},
    "status": "complete",
    "error": None,
    "started_unix_ns": 0,
    "model": {
        **{"path": "m.tflite", "sha256": "00", "bytes": 1, "operators": 2, "custom_ops": []},
        **{"inputs": [_TENSOR], "outputs": []},
    },
    "runtime": {"kind": "litert", "path": "libLiteRt.so", "version": "2.3.0"},
    "request": {
        **{"threads": 1, "delegate": "xnnpack", "affinity": None, "interval_ns": 0},
        **{"sustain_ns": 0, "input": "random:0"},
    },
    "engaged": {
        **{"delegate": "xnnpack", "nodes_total": 2, "nodes_delegated": None, "partitions": None},
        **{"fully_delegated": None, "threads": 1, "affinity": None},
    },
    "load_ns": 2_000_000,
    "first_ns": 9_000_000,
    "warmup_ns": [],
    "profile": None,
    "input": {"kind": "random", "seed": 0, "sha256": "aa"},
    "output": {"sha256": "bb", "repeatable": True, "golden": None},
    "context": {
        **{"machine": "Board 4", "architecture": "aarch64", "cpu": "Cortex-A72", "cores": 4},
        **{"features": [], "kernel": "6.1", "libc": "2.36", "os": "Linux", "emulated": None},
        **{"before": _STATE, "after": _STATE, "peak_rss_bytes": 1 << 20},
    },
    "timeline": [],
    "warnings": [],
}


def make_round(samples: Sequence[int] | np.ndarray, order: int = 0, **changes: Any) -> Round:
    """A round with these samples in nanoseconds.

    Args:
        samples: Back to back.
        order: See `Round`.
        changes: Values for fields; `context__before__load_1m=3` goes down into objects.
    """
    if not changes:  # by the thousand in simulations: nothing to copy, nothing to check
        return Round({**_DOCUMENT, **_times(samples)}, order)
    document = {**copy.deepcopy(_DOCUMENT), **_times(samples)}
    for path, value in changes.items():
        *parents, last = path.split("__")
        place: Any = document
        for parent in parents:
            place = place[parent]
        place[last] = value
    return check_round(document, "test", order)


def _times(samples: Sequence[int] | np.ndarray) -> dict[str, list[int]]:
    durations = np.asarray(samples, np.int64)
    starts = np.concatenate([[0], np.cumsum(durations)[:-1]])
    return {"samples_ns": durations.tolist(), "starts_ns": starts.tolist()}


def make_cell(
    rounds: Sequence[Round],
    model: str = "m.tflite",
    device: str = "local",
    delegate: str = "xnnpack",
    threads: int = 1,
) -> Cell:
    return Cell(model, device, delegate, threads, tuple(rounds))


def write_run(path: Path, *cells: Cell) -> Path:
    """A file such as `edgekit benchmark -o` writes."""
    run = Run(cells, "2026-01-01T00:00:00+00:00", "0.1.0", 0)
    path.write_text(json.dumps(run.to_dict()), encoding="utf-8")
    return path


class Machine:
    """A machine that is no laboratory: what was seen on a shared one, in shares of the latency.

    Every process is a little faster or slower than the last; the machine drifts; a neighbour
    disturbs some rounds; and within a round samples are correlated, with pauses now and then.
    """

    def __init__(self, seed: int, *, drift: float = 0.004) -> None:
        self._dice = np.random.default_rng(seed)
        self._drift, self._level = drift, 0.0

    def measure(
        self,
        models: Mapping[str, float],
        rounds: int,
        samples: int = 50,
        seed: int = 0,
    ) -> list[Cell]:
        """One run: the models, given by their true medians in ms, with interleaved rounds."""
        measured: list[list[Round]] = [[] for _ in models]
        names, truths = list(models), list(models.values())
        for order, i in enumerate(interleaved(len(models), rounds, seed)):
            measured[i].append(make_round(self.round_ns(truths[i], samples), order))
        return [make_cell(r, model=name) for name, r in zip(names, measured, strict=True)]

    def round_ns(self, truth_ms: float, samples: int) -> np.ndarray:
        """int64[samples]: one process."""
        dice = self._dice
        self._level = 0.9 * self._level + self._drift * dice.normal()
        effect = self._level + 0.004 * dice.normal()
        if dice.random() < 0.03:
            effect += dice.uniform(0.05, 0.4)
        noise = dice.normal(size=samples)
        for i in range(1, samples):
            noise[i] = 0.4 * noise[i - 1] + 0.92 * noise[i]
        pauses = np.where(dice.random(samples) < 0.01, dice.exponential(0.5, samples), 0)
        factor = np.exp(effect + 0.012 * noise) + pauses
        return (truth_ms * 1e6 * factor).astype(np.int64)
