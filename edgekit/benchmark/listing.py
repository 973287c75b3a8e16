"""The rows of a benchmark's table, as text for people and as numbers for CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence

from edgekit.benchmark.document import Cell, Round, Run
from edgekit.benchmark.statistics import Summary, summarize
from edgekit.benchmark.verdict import judge

#: What tells cells apart; a column is shown where it does.
_AXES: tuple[tuple[str, Callable[[Cell], object]], ...] = (
    ("model", lambda cell: cell.model),
    ("device", lambda cell: cell.device),
    ("delegate", lambda cell: cell.delegate),
    ("threads", lambda cell: cell.threads),
)
#: Kinds of op that are listed of a profile.
_MOST_OPS = 15
_FIGURES = ("p50", "95 % interval", "p90", "p99", "min", "first", "load", "runs", "verdict")
_CSV = (
    *("model", "device", "delegate", "threads", "p50_ms", "p50_low_ms", "p50_high_ms"),
    *("p90_ms", "p99_ms", "min_ms", "mean_ms", "first_ms", "load_ms", "samples", "rounds"),
    *("nodes_total", "nodes_delegated", "partitions", "peak_rss_bytes", "output_sha256"),
    *("emulated", "verdict", "error"),
)


def as_text(run: Run, precision: float) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headers and rows; what all cells have in common is left out. Times are in milliseconds."""
    axes = [(name, of) for name, of in _AXES if len({of(cell) for cell in run.cells}) > 1]
    unit = "ms, emulated" if any(cell.emulated for cell in run.cells) else "ms"
    headers = (*(name for name, _ in axes), f"p50 ({unit})", *_FIGURES[1:])
    return headers, [
        (*(str(of(cell)) for _, of in axes), *_figures(cell, precision)) for cell in run.cells
    ]


def conditions(run: Run) -> list[str]:
    """What the cells share, and what each device is and runs, a line each."""
    lines = [
        f"{name}: {values.pop()}"
        for name, of in _AXES
        if len(values := {str(of(cell)) for cell in run.cells}) == 1
    ]
    for device in dict.fromkeys(cell.device for cell in run.cells):
        measured = [r for cell in run.cells if cell.device == device for r in cell.rounds]
        if measured:
            lines.append(f"{device} is {_machine(measured[0])}")
    return lines


def remarks(run: Run, precision: float) -> list[str]:
    """What engaged, the reasons of each verdict, and the warnings; said once where it is the same.

    Each line begins with the cells that it is about, unless it is about all of them.
    """
    about: dict[str, list[Cell]] = {}
    for cell in run.cells:
        for remark in _remarks(cell, precision):
            about.setdefault(remark, []).append(cell)
    return [
        remark
        if len(cells) == len(run.cells)
        else f"{'; '.join(_short_name(cell, run) for cell in cells)}: {remark}"
        for remark, cells in about.items()
    ]


def _remarks(cell: Cell, precision: float) -> Iterator[str]:
    if cell.rounds:
        yield f"Ran: {_engaged(cell.rounds[-1])}."
        verdict = judge(cell, summarize(cell), precision)
        for reason in verdict.reasons:
            yield f"{verdict.word.capitalize()}: {reason}."
        for warning in verdict.warnings:
            yield f"Warning: {warning}."
    elif cell.error is not None:  # where there are rounds, the verdict's warnings say it
        yield f"Failed: {cell.error}."


def _short_name(cell: Cell, run: Run) -> str:
    """What tells a cell from the others of its run."""
    return ", ".join(
        f"{of(cell)} thread(s)" if name == "threads" else str(of(cell))
        for name, of in _AXES
        if len({of(other) for other in run.cells}) > 1
    )


def _engaged(round_: Round) -> str:
    engaged, runtime = round_["engaged"], round_["runtime"]
    parts = [f"{runtime['kind']} {runtime.get('version') or 'of unknown version'}"]
    parts.append("no delegate" if engaged["delegate"] == "none" else engaged["delegate"])
    if engaged.get("nodes_delegated") is not None and engaged.get("nodes_total") is not None:
        parts.append(
            f"{engaged['nodes_delegated']} of {engaged['nodes_total']} ops delegated in "
            f"{engaged.get('partitions')} partition(s)"
        )
    return ", ".join(parts)


def _machine(round_: Round) -> str:
    context = round_["context"]
    named = context.get("machine")
    parts = [
        *([named] if named else []),
        f"{context.get('cores')} x {context.get('cpu')} ({context['architecture']})",
        *filter(None, (context.get("os"), context.get("kernel"), context.get("libc"))),
    ]
    return ", ".join(parts)


def profiles(run: Run) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """A title, headers and rows for each cell whose ops were timed: the dearest kinds of op first.

    The profiled inferences are apart from those that were measured: looking on costs time.
    """
    for cell in run.cells:
        profiled = [r["profile"] for r in cell.rounds if r.document.get("profile")]
        if not profiled:
            continue
        spent: dict[str, float] = {}
        count: dict[str, int] = {}
        for op in profiled[-1]:
            spent[op["op"]] = spent.get(op["op"], 0) + op["total_ns"] / max(1, op["calls"])
            count[op["op"]] = count.get(op["op"], 0) + 1
        whole = sum(spent.values()) or 1
        rows: list[tuple[str, ...]] = [
            (name, str(count[name]), milliseconds(ns / 1e6), f"{100 * ns / whole:.1f} %")
            for name, ns in sorted(spent.items(), key=lambda item: -item[1])[:_MOST_OPS]
        ]
        yield f"Time by kind of op, {cell.name}:", ("op", "count", "ms", "share"), rows


def as_csv(run: Run, precision: float) -> str:
    """One line per cell, all figures as plain numbers; empty where there is none."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _CSV, lineterminator="\n")
    writer.writeheader()
    for cell in run.cells:
        writer.writerow(_numbers(cell, precision))
    return out.getvalue()


def milliseconds(value: float | None) -> str:
    """Four significant digits, or a dash for None."""
    return "-" if value is None else f"{value:#.4g}".rstrip(".")


def _figures(cell: Cell, precision: float) -> Sequence[str]:
    if not cell.rounds:
        return (*["-"] * (len(_FIGURES) - 1), "failed")
    summary = summarize(cell)
    return (
        milliseconds(summary.p50_ms),
        _interval(summary),
        milliseconds(summary.p90_ms),
        milliseconds(summary.p99_ms),
        milliseconds(summary.min_ms),
        milliseconds(summary.first_ms),
        milliseconds(summary.load_ms),
        f"{summary.samples} / {summary.rounds}",
        judge(cell, summary, precision).word,
    )


def _interval(summary: Summary) -> str:
    if summary.interval_ms is None:
        return "-"
    low, high = summary.interval_ms
    return f"{milliseconds(low)} to {milliseconds(high)}"


def _numbers(cell: Cell, precision: float) -> dict[str, object]:
    row: dict[str, object] = {name: of(cell) for name, of in _AXES} | {"error": cell.error}
    if not cell.rounds:
        return row
    summary, last = summarize(cell), cell.rounds[-1]
    low, high = summary.interval_ms or (None, None)
    figures = summary.to_dict()
    return row | {
        **{name: figures[name] for name in _CSV if name in figures},
        "p50_low_ms": low,
        "p50_high_ms": high,
        **{name: last["engaged"].get(name) for name in _CSV if name in last["engaged"]},
        "threads": cell.threads,
        "delegate": cell.delegate,
        "peak_rss_bytes": max(r["context"].get("peak_rss_bytes") or 0 for r in cell.rounds),
        "output_sha256": last["output"]["sha256"],
        "emulated": cell.emulated,
        "verdict": judge(cell, summary, precision).word,
    }
