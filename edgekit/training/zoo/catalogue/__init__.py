"""What is in the zoo, as data: nothing here imports Keras or numpy.

A test counts the `parameters` and `macs` of every entry on the model itself, and compares the
parameters with what its paper or reference implementation publishes.
"""

from __future__ import annotations

from edgekit.errors import UsageError
from edgekit.training.zoo.catalogue import (
    efficientnet,
    efficientnet_lite,
    inception,
    mobilenet,
    resnet,
    transformers,
    vgg,
)
from edgekit.training.zoo.catalogue.description import Application, Entry, Package

__all__ = ["CATALOGUE", "Application", "Entry", "Package", "entry"]

CATALOGUE: dict[str, Entry] = {
    entry.name: entry
    for family in (mobilenet, efficientnet_lite, efficientnet, resnet, inception, vgg, transformers)
    for entry in family.ENTRIES
}


def entry(name: str) -> Entry:
    """The zoo's entry of that name.

    Raises:
        UsageError: There is none.
    """
    if name not in CATALOGUE:
        raise UsageError(
            f"no model named {name!r} in the zoo", f"There are: {', '.join(CATALOGUE)}."
        )
    return CATALOGUE[name]
