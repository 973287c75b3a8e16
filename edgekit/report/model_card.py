"""The model card: what the model is, what it was made of, how good it is, and where it ends.

The sections are those of Mitchell et al., "Model Cards for Model Reporting", 2019,
arXiv:1810.03993, section 4. What only the author can know (intended use, factors, ethics) is asked
for in italics, never made up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

import numpy as np

from edgekit.report import words
from edgekit.report.facts import CardFacts, DataFacts
from edgekit.report.table import markdown, printable
from edgekit.types import Accuracy

#: With more classes, the tables name the worst and the smallest ones only.
_MAX_CLASSES = 50
_SHOWN = 25
_MAX_BROKEN = 10
#: Fewer pictures of a class than this say little about it: the interval of a share of 0.9 is then
#: wider than 20 points.
_FEW_PICTURES = 30
_IMBALANCE = 3
_HIGH_ECE = 0.05

_FITS = {
    "stretch": "stretched to it, whatever its aspect ratio",
    "crop": "cropped to its aspect ratio around the centre, then resized",
    "pad": "resized to fit in it, the rest padded with black",
}


def model_card(facts: CardFacts) -> str:
    """The card in Markdown, its links relative to the folder it lies in.

    Args:
        facts: What is known.

    Returns:
        The text, the same for the same facts, with a newline at the end.
    """
    parts = [
        f"# Model card: {_plain(PurePath(facts.model.path).name)}",
        *_section("Model details", _details(facts)),
        *_section("Intended use", _INTENDED_USE),
        *_section("Factors", _FACTORS),
        *_section("Metrics", _METRICS),
        *_section("Results", _results(facts)),
        *_section("Evaluation data", _evaluation_data(facts)),
        *_section("Training data", _training_data(facts.data)),
        *_section("Preprocessing", [_preprocessing(facts.preprocessing)]),
        *_section("Training recipe", _recipe(facts)),
        *_section("Ethical considerations", _ETHICS),
        *_section("Limitations", [_bullets(_limitations(facts))]),
        *_section("Made with", [_made_with(facts)]),
    ]
    return "\n\n".join(parts) + "\n"


_INTENDED_USE = [
    "*To be written by the author: what is it for, who will use it, on which device and with which "
    "camera? What is it not for?*"
]
_FACTORS = [
    "*To be written by the author: which groups, places, light, distances, cameras or seasons does "
    "the training data cover, and on which might the model do worse?*"
]
_METRICS = [
    "Top-1 accuracy with its 95 % Wilson interval; precision, recall and F1 of each class, and "
    "their unweighted means (macro) over the classes that have pictures; the expected calibration "
    "error (ECE, 15 bins of equal width, Guo et al. 2017, arXiv:1706.04599): how far the "
    "confidence is from the share that is right, on average."
]
_ETHICS = [
    "*To be written by the author: do the pictures show people or private places, may they be used "
    "for this, and what happens to somebody when the model is wrong?*"
]


def _section(title: str, blocks: Iterable[str]) -> list[str]:
    found = [block for block in blocks if block]
    return [f"## {title}", *found] if found else []


def _details(facts: CardFacts) -> list[str]:
    model = facts.model
    rows = [
        ("task", f"image classification, {words.plural(len(facts.data.labels), 'class', 'es')}"),
        ("architecture", f"{_code(model.architecture)}: {_plain(model.paper)}"),
        ("started from", _plain(model.weights)),
        ("licence of those weights", _plain(model.licence)),
        ("parameters", f"{model.parameters:,}"),
    ]
    if model.macs is not None:
        rows.append(("multiply-accumulates", f"{model.macs:,} per picture"))
    if facts.date is not None:
        rows.append(("date", _plain(facts.date)))
    author = "*To be written by the author: who made it, its licence, and where to ask.*"
    return [markdown(("", ""), rows), author]


def _results(facts: CardFacts) -> list[str]:
    if not facts.results:
        return ["The model was not evaluated."]
    return [
        markdown(
            ("split", "pictures", "top-1", "95 % interval", "top-5", "macro F1", "ECE"),
            [_result_cells(split, accuracy) for split, accuracy in facts.results.items()],
        ),
        *(_class_table(split, a, facts.data) for split, a in facts.results.items()),
        _picture(facts, "confusion", "Confusion matrix"),
        _picture(facts, "reliability", "Reliability diagram"),
        _picture(facts, "mistakes", "The worst mistakes"),
    ]


def _result_cells(split: str, accuracy: Accuracy) -> tuple[str, ...]:
    return (
        split,
        f"{accuracy.images:,}",
        words.percent(accuracy.top1),
        words.interval(accuracy.top1_interval),
        words.percent(accuracy.top5),
        words.percent(accuracy.macro.f1),
        words.percent(accuracy.calibration.ece),
    )


def _class_table(split: str, accuracy: Accuracy, data: DataFacts) -> str:
    rows, title = [row for row in accuracy.per_class if row.samples or row.predicted], split
    if len(rows) > _MAX_CLASSES:
        rows = sorted(rows, key=lambda row: (row.f1, row.index))[:_SHOWN]
        title = f"{split}, the {_SHOWN} classes with the lowest F1"
    labels = tuple(map(_plain, data.labels))
    return f"By class ({title}):\n\n" + markdown(
        words.CLASS_HEADERS, words.class_cells(rows, labels)
    )


def _evaluation_data(facts: CardFacts) -> list[str]:
    lines = []
    for split in facts.results:
        count = sum(facts.data.pictures.get(split, ()))
        lines.append(f"{_code(split)}: {words.plural(count, 'picture')}, counted below.")
    if "val" in facts.results and facts.training.kept is not None:
        lines.append(
            "The epoch that was kept was chosen by `val`, so its figures are a little too good."
        )
    return [_bullets(lines)] if lines else []


def _training_data(data: DataFacts) -> list[str]:
    splits = list(data.pictures)
    order = list(range(len(data.labels)))
    note = ""
    if len(order) > _MAX_CLASSES:
        first = data.pictures[splits[0]] if splits else ()
        order = sorted(order, key=lambda i: (first[i], i))[:_SHOWN]
        note = f"The {_SHOWN} smallest of {len(data.labels):,} classes:\n\n"
    rows: list[Sequence[str]] = [
        (_plain(data.labels[i]), *(f"{data.pictures[split][i]:,}" for split in splits))
        for i in order
    ]
    totals = [f"{sum(data.pictures[split]):,}" for split in splits]
    rows.append(("**all classes**", *totals))
    facts = [
        f"From {_code(PurePath(data.root).name or data.root)}, split by {_plain(data.split_by)}.",
        f"Digest of the pictures and their labels: {_code(data.digest)}.",
    ]
    return [
        _bullets(facts),
        note + markdown(("class", *splits), rows),
        _warnings(data.warnings),
        _broken(data.broken),
        "*To be written by the author: where do the pictures come from, who labelled them, and "
        "under which licence are they?*",
    ]


def _warnings(warnings: Sequence[str]) -> str:
    return _bullets(f"Warning: {_plain(warning)}" for warning in warnings)


def _broken(broken: Sequence[tuple[str, str]]) -> str:
    if not broken:
        return ""
    lines = [f"{_code(file)}: {_plain(reason)}" for file, reason in broken[:_MAX_BROKEN]]
    if len(broken) > _MAX_BROKEN:
        lines.append(f"and {len(broken) - _MAX_BROKEN:,} more")
    return f"Left out, since they can't be read ({len(broken):,}):\n\n" + _bullets(lines)


def _preprocessing(contract: Mapping[str, Any]) -> str:
    """The contract in words."""
    fit = _FITS[contract["fit"]]
    kept = ""
    if contract["fit"] == "crop" and contract["crop_fraction"] < 1:
        kept = f" ({words.percent(contract['crop_fraction'])} of the largest such crop is kept)"
    mean, std = _channels(contract["mean"]), _channels(contract["std"])
    return _bullets(
        [
            f"Input: {words.size(contract)} pixels (height x width), "
            f"{contract['colour_order']}. A picture is {fit}{kept}; interpolation "
            f"{_code(contract['interpolation'])}.",
            f"Values: `(pixel - {mean}) / {std}`, pixels from 0 to 255.",
            f"Output: one of the {contract['output']} per class, in the order of the table above."
            if contract["output"] == "probabilities"
            else "Output: logits, one per class, in the order of the table above; a softmax makes "
            "probabilities of them.",
            "Augmentation is applied in training only; see the recipe.",
        ]
    )


def _channels(values: Sequence[float]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else f"({', '.join(f'{v:g}' for v in values)})"


def _recipe(facts: CardFacts) -> list[str]:
    training = facts.training
    blocks = [f"```\n{printable(training.command)}\n```"]
    if training.changed:
        rows = [(_code(name), _code(str(value))) for name, value in training.changed.items()]
        blocks.append("Settings that differ from the defaults:\n\n" + markdown(("", ""), rows))
    else:
        blocks.append("Every setting is at its default.")
    phases = [
        (phase.name, str(phase.epochs), words.duration(phase.seconds)) for phase in training.phases
    ]
    if phases:
        blocks.append(markdown(("phase", "epochs", "time"), phases))
    kept = words.kept_epoch(training)
    blocks += [
        f"Kept: {kept}." if kept else "",
        f"Stopped early: {_plain(training.stopped)}." if training.stopped else "",
        _warnings(training.warnings),
        _picture(facts, "curves", "Learning curves"),
    ]
    return blocks


def _limitations(facts: CardFacts) -> list[str]:
    """What the figures themselves say about where the model ends."""
    lines = [
        f"It names one of its {words.plural(len(facts.data.labels), 'class', 'es')} for any "
        "picture, also for one that shows none of them."
    ]
    if "test" not in facts.results:
        lines.append(
            "There was no test set: no picture that had no part in any choice has judged it."
        )
    for split, accuracy in list(facts.results.items())[-1:]:
        lines += _weak_spots(split, accuracy, facts.data.labels)
    train = [count for count in facts.data.pictures.get("train", ()) if count]
    if train and max(train) >= _IMBALANCE * min(train):
        lines.append(
            f"The training data is uneven: {max(train):,} pictures of the largest class, "
            f"{min(train):,} of the smallest."
        )
    lines.append("Int8 quantization changes it a little: judge the .tflite file as well.")
    return lines


def _weak_spots(split: str, accuracy: Accuracy, labels: Sequence[str]) -> list[str]:
    """Of the split that is judged last: the test set where there is one."""
    lines = []
    present = [row for row in accuracy.per_class if row.samples]
    few = sum(row.samples < _FEW_PICTURES for row in present)
    if few:
        lines.append(
            f"{words.plural(few, 'class', 'es')} of {len(present):,} with fewer than "
            f"{_FEW_PICTURES} pictures in {_code(split)}: their figures are rough."
        )
    mistakes = accuracy.confusion.copy()
    np.fill_diagonal(mistakes, 0)
    if mistakes.any():
        worst = min(present, key=lambda row: (row.recall, row.index))
        truth, taken = np.unravel_index(int(np.argmax(mistakes)), mistakes.shape)
        lines += [
            f"It misses {_plain(labels[worst.index])} most often: recall "
            f"{words.percent(worst.recall)} of {words.plural(worst.samples, 'picture')}.",
            f"Its most frequent mistake is {_plain(labels[int(truth)])} taken for "
            f"{_plain(labels[int(taken)])} ({words.plural(int(mistakes[truth, taken]), 'picture')}"
            f" of {_code(split)}).",
        ]
    if accuracy.calibration.ece > _HIGH_ECE:
        lines.append(
            f"Its confidence is {100 * accuracy.calibration.ece:.1f} points off on average: don't "
            "take it for a probability."
        )
    return lines


def _made_with(facts: CardFacts) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    lines = [f"Versions: {_plain(versions)}", f"Machine: {_plain(facts.machine)}"]
    if facts.training.seconds:
        lines.append(f"Time: {_plain(words.stages(facts.training.seconds))}")
    pictures = {"curves", "confusion", "reliability", "mistakes"}
    others = [name for role, name in facts.files.items() if role not in pictures]
    if others:
        lines.append("Beside this card: " + ", ".join(f"[{_plain(n)}]({quote(n)})" for n in others))
    return _bullets(lines)


def _picture(facts: CardFacts, role: str, caption: str) -> str:
    """An image beside the card, or nothing where there is none."""
    name = facts.files.get(role)
    return f"![{caption}]({quote(name)})" if name else ""


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _plain(text: str) -> str:
    """Text of unknown origin that Markdown and HTML leave as it is."""
    return re.sub(r"([\\`*_\[\]<>&#~$])", r"\\\1", printable(text))


def _code(text: str) -> str:
    """A code span, its fence longer than any run of backticks in the text."""
    text = printable(text)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{fence}{pad}{text}{pad}{fence}"
