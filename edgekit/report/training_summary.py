"""What `edgekit train` says when it is done, as text and as HTML for a notebook."""

from __future__ import annotations

import base64
import html
import shlex
from collections.abc import Sequence

from edgekit.report import words
from edgekit.report.facts import CardFacts
from edgekit.report.table import printable, table

#: With more classes than this the table of classes stays in the model card.
MAX_CLASSES = 12

_LEFT = 'style="text-align:left"'


def as_text(facts: CardFacts) -> str:
    """The summary in aligned lines, without a newline at the end; warnings are not part of it."""
    blocks = [table(("", ""), _lines(facts), "<<")]
    rows = _class_rows(facts)
    if rows:
        blocks.append(table(words.CLASS_HEADERS, rows, words.CLASS_ALIGN))
    blocks.append("\n".join(map(printable, _last_lines(facts))))
    return "\n\n".join(blocks)


def as_html(facts: CardFacts, curves: bytes | None = None) -> str:
    """The same for a notebook's `_repr_html_`, warnings included; needs no other file.

    Args:
        facts: What is known.
        curves: The learning curves as PNG, or None.
    """
    parts = [_html_table(_lines(facts))]
    rows = _class_rows(facts)
    if rows:
        parts.append(_html_table(rows, words.CLASS_HEADERS))
    if curves is not None:
        data = base64.b64encode(curves).decode()
        source = f"data:image/png;base64,{data}"
        parts.append(f'<img alt="Learning curves" style="max-width:100%" src="{source}"/>')
    parts += [
        f"<p><b>Warning:</b> {_escaped(warning)}</p>"
        for warning in (*facts.data.warnings, *facts.training.warnings)
    ]
    parts += [f"<p>{_escaped(line)}</p>" for line in _last_lines(facts)]
    return f"<div>{''.join(parts)}</div>"


def _lines(facts: CardFacts) -> list[tuple[str, str]]:
    model, data, training = facts.model, facts.data, facts.training
    pictures = ", ".join(f"{sum(counts):,} {split}" for split, counts in data.pictures.items())
    lines = [
        (
            "Model",
            f"{model.architecture}, {words.size(facts.preprocessing)}, "
            f"{words.plural(len(data.labels), 'class', 'es')}, weights: {model.weights}",
        ),
        ("Data", f"{data.root}: {pictures} pictures, split by {data.split_by}"),
        ("Phases", _phases(facts)),
    ]
    if training.stopped is not None:
        lines.append(("", f"stopped early: {training.stopped}"))
    for split, accuracy in facts.results.items():
        name = split.capitalize()
        lines += [
            (
                f"{name} accuracy",
                f"{words.percent(accuracy.top1)} ({words.hits(accuracy)}; 95 % interval "
                f"{words.interval(accuracy.top1_interval)})",
            ),
            ("Macro F1", words.percent(accuracy.macro.f1)),
            ("Calibration", f"{words.percent(accuracy.calibration.ece)} expected error (ECE)"),
        ]
        if accuracy.top5 is not None:
            lines.insert(-2, ("Top-5", words.percent(accuracy.top5)))
    lines.append(("Time", words.stages(training.seconds)))
    return lines


def _phases(facts: CardFacts) -> str:
    phases = "; ".join(
        f"{phase.name} {words.plural(phase.epochs, 'epoch')}, {words.duration(phase.seconds)}"
        for phase in facts.training.phases
    )
    kept = words.kept_epoch(facts.training)
    return f"{phases or 'no epoch was finished'}{f'; kept {kept}' if kept else ''}"


def _class_rows(facts: CardFacts) -> list[tuple[str, ...]]:
    """The classes of the split judged first; none where they are too many to read."""
    accuracy = next(iter(facts.results.values()), None)
    if accuracy is None or len(facts.data.labels) > MAX_CLASSES:
        return []
    return words.class_cells(accuracy.per_class, facts.data.labels)


def _last_lines(facts: CardFacts) -> list[str]:
    return [
        f"Written: {', '.join(facts.written)}",
        f"Next: edgekit convert --int8 {shlex.quote(facts.model.path)}",
    ]


def _html_table(rows: Sequence[Sequence[str]], headers: Sequence[str] = ()) -> str:
    """A table whose first column names the rows."""
    head = "".join(f"<th>{_escaped(cell)}</th>" for cell in headers)
    lines = [f"<tr>{head}</tr>"] if headers else []
    for first, *others in rows:
        cells = "".join(f"<td {_LEFT}>{_escaped(cell)}</td>" for cell in others)
        lines.append(f"<tr><th {_LEFT}>{_escaped(first)}</th>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _escaped(text: str) -> str:
    return html.escape(printable(text))
