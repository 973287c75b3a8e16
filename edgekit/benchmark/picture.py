"""The picture of a run: histograms of its cells, or curves where they were sustained."""

from __future__ import annotations

import numpy as np

from edgekit.benchmark.document import Cell, Round, Run
from edgekit.benchmark.statistics import summarize
from edgekit.benchmark.verdict import hottest
from edgekit.report.latency import Curve, Histogram, curves_png, histograms_png


def as_png(run: Run) -> bytes:
    """Draws every cell that was measured.

    Returns:
        The bytes of a PNG file.
    """
    cells = [cell for cell in run.cells if cell.rounds]
    if any(r["request"].get("sustain_ns") for cell in cells for r in cell.rounds):
        return curves_png([_curve(_name(cell), r) for cell in cells for r in cell.rounds])
    return histograms_png([_histogram(cell) for cell in cells])


def _histogram(cell: Cell) -> Histogram:
    summary = summarize(cell)
    return Histogram(_name(cell), cell.samples_ns / 1e6, summary.p50_ms, summary.interval_ms)


def _curve(name: str, round_: Round) -> Curve:
    readings = [
        (state["t_ns"] / 1e9, celsius)
        for state in round_["timeline"]
        if np.isfinite(celsius := hottest(state))
    ]
    heat = np.array(readings, float).reshape(-1, 2)
    return Curve(
        name, round_.starts_ns / 1e9, round_.samples_ns / 1e6, heat[:, 0].copy(), heat[:, 1].copy()
    )


def _name(cell: Cell) -> str:
    return f"{cell.name} (emulated)" if cell.emulated else cell.name
