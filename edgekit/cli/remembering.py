"""Keeps what was benchmarked for `edgekit inspect --target` and `edgekit advise`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit import targets, tflite
from edgekit.errors import EdgekitError
from edgekit.targets import Work
from edgekit.targets.own import Measured, keep

if TYPE_CHECKING:
    from edgekit.benchmark.document import Cell, Run


def remember(run: Run, models: Sequence[Path]) -> None:
    """Adds each cell that was measured to the user's own measurements.

    Args:
        run: What was measured.
        models: The files.
    """
    keep(_measured(run, dict(map(_counted, models))))


def _counted(model: Path) -> tuple[str, Work | None]:
    """SHA-256, and what the model does; None of one that edgekit's own reader doesn't take."""
    data = model.read_bytes()
    try:
        work = targets.work_if_known(tflite.read(data, str(model)))
    except EdgekitError:
        work = None
    return hashlib.sha256(data).hexdigest(), work


def _measured(run: Run, works: Mapping[str, Work | None]) -> Iterator[Measured]:
    for cell in run.cells:
        # An emulator's latencies say nothing of a device.
        if cell.error is None and cell.rounds and cell.emulated is None:
            yield _of(cell, run.created, works)


def _of(cell: Cell, created: str, works: Mapping[str, Work | None]) -> Measured:
    import numpy as np

    first = cell.rounds[0]
    context, runtime = first["context"], first["runtime"]
    return Measured(
        sha256=first["model"]["sha256"],
        model=cell.model,
        machine=context.get("machine") or "",
        architecture=context.get("architecture") or "",
        os=context.get("os") or "",
        delegate=first["engaged"]["delegate"],
        threads=cell.threads,
        p50_ms=float(np.median(cell.samples_ns)) / 1e6,
        samples=len(cell.samples_ns),
        runtime=f"{runtime['kind']} {runtime.get('version') or ''}".strip(),
        created=created,
        work=works.get(first["model"]["sha256"]),
    )
