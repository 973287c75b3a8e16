"""What `edgekit inspect --quantization` prints and writes."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.progress import ProgressBars

if TYPE_CHECKING:
    from edgekit.overrides import Overrides
    from edgekit.report.quantization import LayerFacts, QuantizationReport

_SHOWN_NAME = 44


@dataclass(frozen=True)
class Request:
    """What was asked for.

    Attributes:
        file: The quantized file.
        against: The float model.
        data: The photos, if any.
        labels_csv: Their labels, if any.
        samples: How many to run at most.
        worst: How many layers to show.
        csv: Where to write the table of all layers.
        plot: Where to draw.
        node_data: Where to write for Model Explorer.
        force: Replace existing files.
        as_json: Print JSON.
        overrides: What is known of the preprocessing.
    """

    file: Path
    against: Path
    data: Path | None
    labels_csv: Path | None
    samples: int
    worst: int
    csv: Path | None
    plot: Path | None
    node_data: Path | None
    force: bool
    as_json: bool
    overrides: Overrides


def run(request: Request) -> None:
    """Compares, writes what was asked for, and prints."""
    from edgekit.converters.diagnosis.inspecting import diagnose
    from edgekit.files import write_all

    _check_outputs(request)
    with ProgressBars(quiet=request.as_json) as bars:
        report = diagnose(
            request.file,
            request.against,
            data=request.data,
            labels_csv=request.labels_csv,
            samples=request.samples,
            overrides=request.overrides,
            observer=bars,
        )
    written = _outputs(request, report)
    if written:
        write_all(written)
    if request.as_json:
        click.echo(json.dumps(report.to_dict(), ensure_ascii=False))
        return
    _render(report, request.worst)
    if written:
        click.echo(f"\nWritten: {', '.join(map(str, written))}")


def _check_outputs(request: Request) -> None:
    """Before any work is done."""
    from edgekit.errors import UsageError
    from edgekit.files import refuse_overwrite

    for option, path, suffix in (
        ("--csv", request.csv, ".csv"),
        ("--plot", request.plot, ".png"),
        ("--node-data", request.node_data, ".json"),
    ):
        if path is not None and path.suffix.lower() != suffix:
            raise UsageError(f"{option} {path}: write it to a {suffix} file")
    outputs = [p for p in (request.csv, request.plot, request.node_data) if p is not None]
    if len(set(outputs)) < len(outputs):
        raise UsageError(f"{outputs[0]}: two outputs can't have the same name")
    refuse_overwrite(*outputs, force=request.force, source=request.file)


def _outputs(request: Request, report: QuantizationReport) -> dict[Path, bytes]:
    outputs = {}
    if request.csv is not None:
        outputs[request.csv] = report.to_csv().encode()
    if request.plot is not None:
        from edgekit.report.quantization_plot import sqnr_png

        outputs[request.plot] = sqnr_png(report)
    if request.node_data is not None:
        from edgekit.report.node_data import node_data

        outputs[request.node_data] = node_data(report).encode()
    return outputs


def _render(report: QuantizationReport, worst: int) -> None:
    from edgekit.report.table import printable, table

    counts = f"{len(report.layers)} compared"
    if report.unmatched:
        counts += f", {len(report.unmatched)} without counterpart"
    if report.in_float:
        counts += f", {len(report.in_float)} in float"
    causes = Counter(layer.cause for layer in report.layers).most_common()
    facts = [
        ("against", report.against),
        ("pictures", report.source),
        ("computes", report.kind),
        ("layers", counts),
        ("limited by", ", ".join(f"{cause} ({count})" for cause, count in causes)),
        ("scores", f"{_decibels(report.scores_sqnr_db)}, {report.agreement:.1%} same top-1"),
    ]
    click.echo(printable(report.file))
    click.echo(table(("", ""), facts, "<<"))
    shown = report.worst(worst)
    names = _short_names(shown)
    rows = [_row(layer, names[layer.index]) for layer in shown]
    headers = ("#", "layer", "op", "own dB", "channel", "with all", "clipped", "codes", "range")
    click.echo(f"\n{table(headers, rows, '><<>>>>>>')}")
    for line in _advice(shown):
        click.echo(printable(line))
    for warning in report.warnings:
        click.echo(f"Warning: {printable(warning)}", err=True)


def _row(layer: LayerFacts, name: str) -> tuple[str, ...]:
    return (
        str(layer.index),
        name,
        layer.op,
        *map(_number, (layer.own_sqnr_db, layer.channel_sqnr_db, layer.sqnr_db)),
        f"{100 * layer.clipped:.2f} %",
        "-" if layer.codes_used is None else f"{layer.codes_used:.0%}",
        f"{layer.range_used:.0%}",
    )


def _advice(layers: tuple[LayerFacts, ...]) -> list[str]:
    """Cause by cause what to try, and the numbers of each layer that has it."""
    from edgekit.report.quantization import SOUND

    found: dict[tuple[str, str], list[str]] = {}
    for layer in layers:
        for finding in layer.findings:
            lines = found.setdefault((finding.cause, finding.advice), [])
            lines.append(f"  #{layer.index}: {finding.evidence}")
    lines = []
    for (cause, advice), evidence in found.items():
        lines += ["", f"{cause.capitalize()}. Try: {advice}", *evidence]
    sound = [f"#{layer.index}" for layer in layers if layer.cause == SOUND]
    if sound:
        lines += ["", f"Nothing to gain: {', '.join(sound)}"]
    return lines


def _short_names(layers: tuple[LayerFacts, ...]) -> dict[int, str]:
    """The first of the names that a converter joined, without the model's and cut at its front."""
    names = {layer.index: layer.name.partition(";")[0] for layer in layers}
    heads = {name.partition("/")[0] for name in names.values() if "/" in name}
    if len(heads) == 1:
        names = {index: name.removeprefix(f"{min(heads)}/") for index, name in names.items()}
    return {
        index: name if len(name) <= _SHOWN_NAME else f"...{name[3 - _SHOWN_NAME :]}"
        for index, name in names.items()
    }


def _decibels(value: float) -> str:
    return f"{_number(value)} dB" if _number(value) != "exact" else "exact"


def _number(value: float) -> str:
    return "exact" if value == float("inf") else f"{value:.1f}"
