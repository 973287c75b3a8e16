"""What a phase learns from: cached features, or pictures. An epoch is the same every time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.datasets import Example
from edgekit.training.feeding import Loader, sampling


@dataclass(frozen=True)
class Shard:
    """A worker's place among others.

    Attributes:
        index: Which one it is.
        count: How many there are.
    """

    index: int = 0
    count: int = 1


class PictureSource:
    """Batches of pictures, made ahead by a loader.

    Args:
        loader: Makes them.
        first: The number of the first epoch: those before it were seen in feature extraction.
        shard: Which share of each batch is this worker's.
    """

    def __init__(self, loader: Loader, first: int, shard: Shard) -> None:
        self._loader, self._first, self._shard = loader, first, shard

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self._loader.steps

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Any, Any, int]]:
        """(pictures uint8[B, h, w, 3], targets float32[B, classes], pictures in all shards)."""
        shard = (self._shard.index, self._shard.count)
        for batch in self._loader.epoch(self._first + number, start, shard):
            yield batch.pictures, batch.targets, len(batch.pictures) * self._shard.count


class FeatureSource:
    """Batches of features: one of the views of each picture, drawn anew in every epoch.

    Args:
        views: float32[N, F] each.
        labels: int64[N].
        classes: How many there are.
        batch: Features in a whole batch; there are at least as many.
        seed: Of order and draws.
        balance: Draws each class equally often.
        shard: Which share of each batch is this worker's.
        drop_last: Leaves out the last batch where it is smaller.
    """

    def __init__(
        self,
        views: Sequence[npt.NDArray[np.float32]],
        labels: npt.NDArray[np.int64],
        classes: int,
        batch: int,
        seed: int,
        balance: bool,
        shard: Shard,
        drop_last: bool,
    ) -> None:
        self._views, self._labels = views, labels
        self._targets = np.eye(classes, dtype=np.float32)[labels]
        self._seed, self._balance, self._shard = seed, balance, shard
        self._batch = batch
        self._used = len(labels) - (len(labels) % batch if drop_last else 0)

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return -(-self._used // self._batch)

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Any, Any, int]]:
        """(features float32[B, F], targets float32[B, classes], features in all shards)."""
        rng = np.random.default_rng((self._seed, number))
        if self._balance:
            weights = sampling.balancing_weights(self._labels)
            order = sampling.weighted(self._labels, weights, rng)
        else:
            order = sampling.permutation(len(self._labels), rng)
        drawn = rng.integers(len(self._views), size=len(order))
        for first in range(start * self._batch, self._used, self._batch):
            chosen = slice(first, min(first + self._batch, self._used))
            count = chosen.stop - chosen.start
            share = count // self._shard.count
            mine = slice(first + self._shard.index * share, first + (self._shard.index + 1) * share)
            features = np.stack(
                [self._views[v][i] for v, i in zip(drawn[mine], order[mine], strict=True)]
            )
            yield features, self._targets[order[mine]], count


def labels_of(examples: Sequence[Example]) -> npt.NDArray[np.int64]:
    """The label of each example: int64[N]."""
    return np.array([example.label for example in examples], np.int64)


def class_weights(labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float32]:
    """N / (classes x pictures of the class), as scikit-learn's `balanced`: float32[classes]."""
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / (classes * np.maximum(counts, 1))).astype(np.float32)
