"""Keeps what was benchmarked for `edgekit inspect --target`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgekit.targets.own import Measured, keep

if TYPE_CHECKING:
    from edgekit.benchmark.document import Cell, Run


def remember(run: Run) -> None:
    """Adds each cell that was measured to the user's own measurements."""
    keep(_measured(run))


def _measured(run: Run) -> Iterator[Measured]:
    for cell in run.cells:
        # An emulator's latencies say nothing of a device.
        if cell.error is None and cell.rounds and cell.emulated is None:
            yield _of(cell, run.created)


def _of(cell: Cell, created: str) -> Measured:
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
    )
