"""`edgekit evaluate`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import contract_options, force_option, json_option
from edgekit.cli.progress import ProgressBars

if TYPE_CHECKING:
    from edgekit.evaluation.results import Evaluation, ModelResult
    from edgekit.overrides import Overrides
    from edgekit.report.confusion import Panel


@click.command(
    epilog="""\b
Examples:
  edgekit evaluate model.keras model.tflite --data photos/val
  edgekit evaluate model.tflite --data photos --labels-csv labels.csv --json
  edgekit evaluate a.tflite b.tflite --data photos --per-class --confusion c.png
  edgekit evaluate mobilenet_quant.tflite --data imagenet --preprocess tf \\
      --labels labels.txt --label-offset 1
"""
)
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="A folder of photos: class folders, or class indices that lead the names (007_cock.jpg).",
)
@click.option(
    "--labels-csv",
    type=click.Path(path_type=Path),
    help="A CSV of path and label, instead of folders.",
)
@click.option("--limit", type=click.IntRange(min=1), help="At most N photos, evenly over classes.")
@click.option(
    "--label-offset",
    type=click.IntRange(min=0),
    default=0,
    help="Add N to class indices that come as numbers; 1 where class 0 is 'background'.",
)
@click.option("--per-class", is_flag=True, help="Show precision, recall and F1 of every class.")
@click.option(
    "--differences",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Show the first N photos on which the models differ (--json has all).",
)
@click.option(
    "--confusion",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Draw the confusion matrices; without it, up to 12 classes are shown as text.",
)
@force_option
@json_option
@contract_options
def command(
    files: tuple[Path, ...],
    data: Path,
    labels_csv: Path | None,
    limit: int | None,
    label_offset: int,
    per_class: bool,
    differences: int,
    confusion: Path | None,
    force: bool,
    as_json: bool,
    overrides: Overrides,
) -> None:
    """Compare models on the same photos; the first FILE is the reference.

    Keras files (.keras, .h5, a SavedModel folder) are measured as their float32 TFLite export, so
    that the same runtime runs both sides and only the quantization differs.

    Shown are top-1 with its 95 % interval (Wilson), top-5, macro precision, recall and F1 over the
    classes that have photos, and the expected calibration error of the confidence (15 bins; with
    few photos it comes out too high). Against the first file: the share of photos with the same
    answer and the SQNR of the scores. The latency is of one thread on this machine: a hint, no
    benchmark.
    """
    from edgekit import api
    from edgekit.errors import UsageError
    from edgekit.files import refuse_overwrite, write_all

    if confusion is not None:
        if confusion.suffix.lower() != ".png":
            raise UsageError(f"--confusion {confusion}: the picture is a .png file")
        refuse_overwrite(confusion, force=force)
    with ProgressBars(quiet=as_json) as bars:
        result = api.evaluate_files(
            files,
            data,
            overrides,
            labels_csv=labels_csv,
            limit=limit,
            label_offset=label_offset,
            progress=bars,
        )
    panels = _panels(result)
    if confusion is not None:
        if not panels:
            raise UsageError(
                f"{data}: no labels, so there is no confusion matrix to draw",
                "Sort the photos into class folders, or give --labels-csv.",
            )
        from edgekit.report.confusion import as_png

        write_all({confusion: as_png(panels)})
    if as_json:
        click.echo(json.dumps(result.to_dict(), ensure_ascii=False))
        return
    _render(result, panels if confusion is None else [], per_class, differences)
    if confusion is not None:
        click.echo(f"Confusion matrix: {confusion}")


def _panels(result: Evaluation) -> list[Panel]:
    from edgekit.report.confusion import Panel

    return [
        Panel(
            m.name,
            m.accuracy.confusion,
            m.labels or tuple(str(row.index) for row in m.accuracy.per_class),
        )
        for m in result.models
        if m.accuracy is not None
    ]


def _render(result: Evaluation, panels: list[Panel], per_class: bool, differences: int) -> None:
    from edgekit.report.confusion import MAX_TEXT_CLASSES, as_text
    from edgekit.report.table import table

    source = f"labelled by {result.labelled_by}" if result.labelled_by else "without labels"
    click.echo(f"{result.images} photos from {result.data}, {source}\n")
    click.echo(_overview(result))
    click.echo(f"\nLatency: batch 1, one thread, {result.models[0].latency.runtime}, this machine.")
    for model in result.models:
        if model.exported:
            click.echo(f"{model.name}: measured as its float32 TFLite export.")
        if model.remark:
            click.echo(f"{model.name}: {model.remark}.")
    for model in result.models if per_class else ():
        if model.accuracy is not None:
            rows = [
                (
                    model.label(r.index),
                    str(r.samples),
                    str(r.predicted),
                    *map(_percent, (r.precision, r.recall, r.f1)),
                )
                for r in model.accuracy.per_class
                if r.samples or r.predicted
            ]
            headers = ("class", "photos", "predicted", "precision", "recall", "F1")
            click.echo(f"\n{model.name}\n{table(headers, rows, '<>>>>>')}")
    for panel in panels:
        if len(panel.labels) <= MAX_TEXT_CLASSES:
            click.echo(f"\n{panel.name}\n{as_text(panel)}")
    if differences and result.differences:
        names = ("photo", "is", *(m.name for m in result.models))
        shown = [(str(d.path), d.truth or "?", *d.top1) for d in result.differences[:differences]]
        click.echo(f"\n{table(names, shown, '<' * len(names))}")
    click.echo()
    for line in _summary(result):
        click.echo(line)


def _overview(result: Evaluation) -> str:
    """One column per model; rows that hold nothing are left out."""
    from edgekit.report.table import table

    columns = [_column(model) for model in result.models]
    rows = [
        (name, *(column[name] for column in columns))
        for name in columns[0]
        if any(column[name] != "-" for column in columns)
    ]
    headers = ("", *(model.name for model in result.models))
    return table(headers, rows, "<" + ">" * len(columns))


def _column(model: ModelResult) -> dict[str, str]:
    cells = dict.fromkeys(
        (
            *("top-1", "  95 % interval", "top-5"),
            *("macro precision", "macro recall", "macro F1", "calibration error"),
        ),
        "-",
    )
    if model.accuracy is not None:
        low, high = model.accuracy.top1_interval
        cells |= {
            "top-1": _percent(model.accuracy.top1),
            "  95 % interval": f"{100 * low:.1f} to {100 * high:.1f} %",
            "top-5": _percent(model.accuracy.top5),
            "macro precision": _percent(model.accuracy.macro.precision),
            "macro recall": _percent(model.accuracy.macro.recall),
            "macro F1": _percent(model.accuracy.macro.f1),
            "calibration error": _percent(model.accuracy.calibration.ece),
        }
    return cells | {
        "same answer as the first": _percent(model.agreement),
        "SQNR against the first": _decibels(model.sqnr_db),
        "size": _size(model.size_bytes),
        "latency, median": f"{model.latency.median_ms:.3g} ms",
        "latency, p90": f"{model.latency.p90_ms:.3g} ms",
    }


def _summary(result: Evaluation) -> list[str]:
    lines = []
    if result.broken:
        names = "; ".join(f"{path} ({reason})" for path, reason in result.broken[:3])
        more = f"; and {len(result.broken) - 3} more" if len(result.broken) > 3 else ""
        lines.append(f"Left out, {len(result.broken)} file(s) that can't be read: {names}{more}")
    first = result.models[0]
    if len(result.models) == 1:
        if first.accuracy is None:
            lines.append("Without labels one model can't be judged: give class folders, a CSV, or")
            lines.append("a second model to compare it with.")
        else:
            hits = round(first.accuracy.top1 * result.images)
            lines.append(f"{first.name}: {hits} of {result.images} photos right.")
    for model in result.models[1:]:
        words = []
        if model.agreement is not None:
            same = round(model.agreement * result.images)
            words.append(f"same answer as {first.name} on {same} of {result.images} photos")
        if model.accuracy is not None and first.accuracy is not None:
            points = 100 * (model.accuracy.top1 - first.accuracy.top1)
            words.append(f"top-1 {points:+.2f} points")
        words.append(f"{model.size_bytes / first.size_bytes:.2f} x the size")
        lines.append(f"{model.name}: {', '.join(words)}.")
    return lines


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _decibels(value: float | None) -> str:
    if value is None:
        return "-"
    return "equal" if value == math.inf else f"{value:.2f} dB"


def _size(size: int) -> str:
    return f"{size / 2**20:.2f} MiB" if size >= 2**20 else f"{size / 2**10:.1f} KiB"
