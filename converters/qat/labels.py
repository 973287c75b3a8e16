"""Labelled pictures for a model whose outputs have names already."""

from __future__ import annotations

import dataclasses

from edgekit.datasets import Example, Splits
from edgekit.errors import UsageError


def in_order_of(labels: tuple[str, ...] | None, classes: int, splits: Splits, where: str) -> Splits:
    """The data with its classes in the order of the model's outputs.

    Args:
        labels: Of the model's outputs, or None where they have no names.
        classes: How many outputs there are.
        splits: The data.
        where: The model, for errors.

    Raises:
        UsageError: They are not the model's classes.
    """
    if len(splits.classes) != classes:
        raise UsageError(
            f"{splits.root}: {len(splits.classes)} classes, but {where} has {classes} outputs",
            "Give photos of the model's own classes, or fine-tune it on these first: "
            "edgekit train.",
        )
    if labels is None or labels == splits.classes:
        return splits
    if set(labels) != set(splits.classes):
        unknown = [name for name in splits.classes if name not in labels]
        raise UsageError(
            f"{splits.root}: the classes are not those of {where}: {unknown[0]!r} is none of its "
            "labels",
            "Name the folders as the labels of the model.",
        )
    place = [labels.index(name) for name in splits.classes]

    def moved(examples: tuple[Example, ...]) -> tuple[Example, ...]:
        return tuple(dataclasses.replace(e, label=place[e.label]) for e in examples)

    return dataclasses.replace(
        splits,
        classes=labels,
        train=moved(splits.train),
        val=moved(splits.val),
        test=moved(splits.test),
    )
