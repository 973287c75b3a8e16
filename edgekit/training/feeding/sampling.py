"""In which order, and how often, an epoch shows the examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgekit.errors import UsageError


def permutation(count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Each example once, shuffled: int64[count]."""
    return rng.permutation(count).astype(np.int64)


def weighted(
    labels: npt.NDArray[np.int64], weights: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """As many draws as there are examples, each example in proportion to its weight, shuffled.

    Systematic sampling over the examples, those of a class side by side in random order: an
    example comes up floor or ceil of its expected number of times, and so does a class (give or
    take one). Independent draws would leave out a third of the examples of even classes.

    Args:
        labels: int64[N].
        weights: float64[N], one of them positive.
        rng: Where chance comes from.

    Returns:
        int64[N], indices into `labels`.
    """
    count = len(labels)
    order = np.lexsort((rng.permutation(count), labels))
    reach = np.cumsum(weights[order]) / np.sum(weights)
    marks = (np.arange(count) + rng.uniform()) / count
    # Rounding may leave the last reach below 1.
    drawn = np.minimum(np.searchsorted(reach, marks, side="right"), count - 1)
    return rng.permutation(order[drawn]).astype(np.int64)


def balancing_weights(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The weights with which each class is drawn equally often: float64[N]."""
    counts = np.bincount(labels)
    return 1.0 / counts[labels]


def checked_weights(weights: Sequence[float], count: int) -> npt.NDArray[np.float64]:
    """The weights as an array: float64[count].

    Raises:
        UsageError: They are not one for each example, or not numbers from 0 on.
    """
    array = np.asarray(weights, np.float64)
    if array.shape != (count,):
        raise UsageError(f"{array.size} weights for {count} examples", "Give one for each.")
    if not (np.isfinite(array).all() and (array >= 0).all() and array.any()):
        raise UsageError(
            "example weights must be finite, none negative, and not all zero",
            "Leave them out to show each example once an epoch.",
        )
    return array
