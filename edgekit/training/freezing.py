"""Where a model can be cut in two, and what is frozen. Imports Keras.

A cut is a tensor through which everything passes: what lies before it may be frozen, computed once
and forgotten. Between two cuts that end a residual or inception block, or that change the
resolution, lies a block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from edgekit.errors import UsageError
from edgekit.training.recipe import blocks_of

_MERGES = ("Add", "Concatenate")


@dataclass(frozen=True, eq=False)
class Parts:
    """A classifier in three parts that share its layers.

    Attributes:
        trunk: Pictures -> the tensor at the cut; frozen. None where all is fine-tuned.
        body: The tensor at the cut -> features float32[N, F]; fine-tuned. None where nothing is.
        features: Pictures -> features: trunk and body in one.
        blocks: How many blocks the body has.
    """

    trunk: keras.Model | None
    body: keras.Model | None
    features: keras.Model
    blocks: int


def features_of(model: keras.Model) -> Any:
    """The tensor that the classifier (Dropout, then the last Dense layer) takes: float32[N, F]."""
    tensor = model.layers[-1].input
    while isinstance(tensor._keras_history.operation, keras.layers.Dropout):
        tensor = tensor._keras_history.operation.input
    return tensor


def split(model: keras.Model, unfreeze: int | str) -> Parts:
    """Cuts a model before the blocks that are fine-tuned.

    Args:
        model: Flat and functional; ends in a Dense layer.
        unfreeze: Which; see `recipe.blocks_of`.

    Raises:
        UsageError: It has fewer blocks.
    """
    output = features_of(model)
    features = keras.Model(model.input, output)
    ends = block_ends(features)
    count = blocks_of(unfreeze, len(ends))
    if count == len(ends):
        return Parts(None, features, features, count)
    if count > len(ends):
        raise UsageError(
            f"{model.name} has {len(ends)} blocks, and {count} are to be fine-tuned",
            f"Choose 1 to {len(ends)}, or all.",
        )
    cut = ends[-count - 1].output
    return Parts(keras.Model(model.input, cut), keras.Model(cut, output), features, count)


def block_ends(features: keras.Model) -> list[Any]:
    """The operation that ends each block, in order; the last is the output's."""
    cuts = _cuts(features)
    operations = list(features.operations)
    ends, done = [], 0
    for cut, following in zip(cuts, [*cuts[1:], None], strict=True):
        ends_block = (
            following is None
            or type(cut).__name__ in _MERGES
            or _resolution(cut) != _resolution(following)
        )
        place = operations.index(cut) + 1
        if ends_block and any(_has_weights(o) for o in operations[done:place]):
            ends.append(cut)
            done = place
    # What follows the last block has no weights (a pooling layer) and belongs to it.
    return [*ends[:-1], cuts[-1]]


def _cuts(model: keras.Model) -> list[Any]:
    """The operations whose output is all that later ones take, inputs left out."""
    operations = list(model.operations)
    place = {id(operation): i for i, operation in enumerate(operations)}
    last_use = list(range(len(operations)))
    for i, operation in enumerate(operations):
        for node in operation._inbound_nodes:
            for parent in node.parent_nodes:
                source = place.get(id(parent.operation))
                if source is not None:
                    last_use[source] = max(last_use[source], i)
    cuts, furthest = [], 0
    for i, operation in enumerate(operations):
        if furthest <= i and not isinstance(operation, keras.layers.InputLayer):
            cuts.append(operation)
        furthest = max(furthest, last_use[i])
    return cuts


def _resolution(operation: Any) -> tuple[int | None, ...]:
    return tuple(operation.output.shape[1:-1])


def _has_weights(operation: Any) -> bool:
    return bool(getattr(operation, "weights", None))
