"""What a benchmark measured, as it is kept in a JSON file: every sample of every round.

A *round* is one run of the benchmark program, a process of its own. A *cell* is one point of the
grid (a model on a device with a delegate and a number of threads) with all its rounds. A *run* is
what one `edgekit benchmark` measured: all its cells, their rounds interleaved in random order.

docs/benchmark.md describes both schemas.
"""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.benchmark.shape import CELL, ROUND, ROUND_OPTIONAL, RUN, misfit
from edgekit.errors import UnreadableError

#: Of the document that the native binary (or the Python fallback) prints: one round.
ROUND_SCHEMA = "edgekit.bench/1"
#: Of the file that `edgekit benchmark` writes: a run.
RUN_SCHEMA = "edgekit.benchmark/1"

Nanoseconds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Round:
    """One run of the benchmark program.

    Attributes:
        document: What it printed, schema `edgekit.bench/1`, checked.
        order: Its position among all rounds of the run, from 0: cells are interleaved.
    """

    document: Mapping[str, Any]
    order: int = 0

    @functools.cached_property
    def samples_ns(self) -> Nanoseconds:
        """int64[samples]: the steady-state inferences in the order they ran, at least one."""
        return np.asarray(self.document["samples_ns"], np.int64)

    @functools.cached_property
    def starts_ns(self) -> Nanoseconds:
        """int64[samples]: when each began, from the first one's start."""
        return np.asarray(self.document["starts_ns"], np.int64)

    @property
    def interrupted(self) -> bool:
        """Whether it was ended before it had what was asked for."""
        return bool(self.document["status"] == "interrupted")

    def __getitem__(self, key: str) -> Any:
        return self.document[key]


@dataclass(frozen=True)
class Cell:
    """One point of the grid.

    Attributes:
        model: The model file's name.
        device: As the user wrote it: `local`, `ssh:pi@host`, `adb:SERIAL`.
        delegate: What was asked for; what engaged is in each round.
        threads: What was asked for.
        rounds: In the order they ran, at least one.
        error: Why no more rounds ran, or None. A cell that never ran has an error and no rounds.
    """

    model: str
    device: str
    delegate: str
    threads: int
    rounds: tuple[Round, ...]
    error: str | None = None

    @property
    def name(self) -> str:
        """Such as `m.tflite, ssh:pi@host, xnnpack, 4 threads`."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{self.model}, {self.device}, {self.delegate}, {threads}"

    @functools.cached_property
    def samples_ns(self) -> Nanoseconds:
        """int64[samples]: those of all rounds, one after the other."""
        return np.concatenate([r.samples_ns for r in self.rounds])

    @property
    def emulated(self) -> str | None:
        """Why its latencies are an emulator's and say nothing of a device, or None."""
        return next(
            (r["context"]["emulated"] for r in self.rounds if r["context"].get("emulated")), None
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the rounds carry their order."""
        return {
            "model": self.model,
            "device": self.device,
            "delegate": self.delegate,
            "threads": self.threads,
            "error": self.error,
            "rounds": [{**r.document, "order": r.order} for r in self.rounds],
        }


@dataclass(frozen=True)
class Run:
    """What one `edgekit benchmark` measured.

    Attributes:
        cells: One per point of the grid.
        created: When it began, ISO 8601 in UTC.
        edgekit: The version that drove it.
        seed: Of the random order of the rounds.
    """

    cells: tuple[Cell, ...]
    created: str
    edgekit: str
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, schema `edgekit.benchmark/1`."""
        return {
            "schema": RUN_SCHEMA,
            "edgekit": self.edgekit,
            "created": self.created,
            "seed": self.seed,
            "cells": [cell.to_dict() for cell in self.cells],
        }


def load(path: Path) -> Run:
    """Reads a run, or the single document that the native binary printed.

    Raises:
        UnreadableError: The file is missing, no JSON, or no benchmark document of a schema that
            this version knows; or a field is missing or of the wrong type.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{path}: no JSON ({error})") from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema == ROUND_SCHEMA:
        return _run_of_one(check_round(document, str(path)))
    if schema == RUN_SCHEMA:
        return _run(document, str(path))
    raise UnreadableError(
        f"{path}: no benchmark result (schema {schema!r}, not {RUN_SCHEMA} or {ROUND_SCHEMA})",
        "Measure with `edgekit benchmark MODEL -o FILE.json` or keep what edgekit-bench prints.",
    )


def check_round(document: Mapping[str, Any], where: str, order: int = 0) -> Round:
    """Checks that a document of the benchmark program has what the statistics need.

    Args:
        document: The parsed JSON.
        where: The file or program it came from, for the error.
        order: See `Round`.

    Raises:
        UnreadableError: It has not, or it reports an error instead of a measurement.
    """
    if document.get("schema") != ROUND_SCHEMA:
        raise UnreadableError(f"{where}: schema {document.get('schema')!r}, not {ROUND_SCHEMA}")
    if document.get("status") == "error":
        message = (document.get("error") or {}).get("message", "unknown")
        raise UnreadableError(f"{where}: not a measurement: {message}")
    _require(document, ROUND, where)
    for (*sections, key), shape in ROUND_OPTIONAL:
        holder = functools.reduce(operator.getitem, sections, document)
        if holder.get(key) is not None:
            _require(holder, {key: shape}, where)
    samples, starts = document["samples_ns"], document["starts_ns"]
    if not samples or len(samples) != len(starts):
        raise UnreadableError(f"{where}: no samples, or not one start for each")
    if not all(0 < n < 2**63 for n in samples) or not all(0 <= n < 2**63 for n in starts):
        raise UnreadableError(f"{where}: a sample or a start that is no time")
    return Round(document, order)


def _run_of_one(round_: Round) -> Run:
    request = round_["request"]
    cell = Cell(
        Path(round_["model"]["path"]).name,
        "local",
        request["delegate"],
        request["threads"],
        (round_,),
    )
    return Run((cell,), "", "", 0)


def _run(document: dict[str, Any], where: str) -> Run:
    _require(document, RUN, where)
    cells = enumerate(document["cells"])
    return Run(
        tuple(_cell(cell, f"{where}: cell {i}") for i, cell in cells),
        document["created"],
        document["edgekit"],
        document["seed"],
    )


def _cell(document: dict[str, Any], where: str) -> Cell:
    _require(document, CELL, where)
    rounds = tuple(
        check_round(r, f"{where}, round {i}", i if r.get("order") is None else r["order"])
        for i, r in enumerate(document["rounds"])
    )
    if not rounds and not document.get("error"):
        raise UnreadableError(f"{where}: neither a round nor an error")
    return Cell(
        document["model"],
        document["device"],
        document["delegate"],
        document["threads"],
        rounds,
        document.get("error"),
    )


def _require(document: Mapping[str, Any], shape: Mapping[str, Any], where: str) -> None:
    wrong = misfit(document, shape)
    if wrong:
        raise UnreadableError(f"{where}: {wrong}", "The file is damaged or cut off; measure again.")
