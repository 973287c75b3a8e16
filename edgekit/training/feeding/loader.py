"""Batches for training and for evaluation, made ahead on all cores.

An epoch is a pure function of the seed, its number and where it starts: the same bytes come out
whatever the number of threads, and however many processes share a batch, so that a training that
was killed goes on in mid-epoch as if nothing had happened. No random generator is shared: each
picture of each epoch has its own, seeded from (seed, epoch, place in the epoch).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from edgekit import images
from edgekit.contract import Contract
from edgekit.cpus import usable_cpus
from edgekit.datasets import Example
from edgekit.errors import RuntimeFailure, UsageError
from edgekit.training.feeding import mixing, sampling
from edgekit.training.feeding.augmentation import Augmentation, augment
from edgekit.training.feeding.prefetch import in_order
from edgekit.training.feeding.store import PictureStore

#: Batches that are made beyond the one that is waited for.
_AHEAD = 2
#: Pictures in a task: few, so that all threads work on the batch that is waited for; even, so that
#: partners of mixing stay together.
_TASK = 4

#: What a random state is for; the last number of its seed.
_FOR_ORDER, _FOR_PICTURE, _FOR_MIXING = 1, 2, 3


@dataclass(frozen=True, eq=False)
class Batch:
    """Some labelled pictures.

    Attributes:
        pictures: uint8[B, height, width, 3], RGB.
        targets: float32[B, classes], each row sums to 1: one-hot, or mixed as the pictures are.
        indices: int64[B], which examples these are.
    """

    pictures: images.Picture
    targets: npt.NDArray[np.float32]
    indices: npt.NDArray[np.int64]


class Loader:
    """Training batches of some examples, in a new order each epoch.

    Args:
        examples: What is learned from.
        classes: How many there are; the length of a target.
        contract: How pictures are fitted.
        store: The decoded pictures of the same examples, or None to decode in every epoch.
        augmentation: How they are varied.
        batch: Pictures in a (global) batch.
        seed: From 0 on. Another one gives another order and other pictures.
        weights: One for each example, how often it is drawn next to the others; by default each
            comes once an epoch.
        balance: Draws each class equally often instead. An epoch has as many pictures either way.
        workers: Threads; by default one per core.
        drop_last: Leaves out the last batch where it is smaller.

    Raises:
        UsageError: A value that can't be, or there is not one whole batch with `drop_last`.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        classes: int,
        contract: Contract,
        store: PictureStore | None,
        augmentation: Augmentation,
        batch: int,
        seed: int,
        weights: Sequence[float] | None = None,
        balance: bool = False,
        workers: int | None = None,
        drop_last: bool = False,
    ) -> None:
        if batch < 1 or seed < 0:
            raise UsageError(
                f"a batch of {batch} with seed {seed}: a batch holds 1 or more "
                "pictures, and a seed counts from 0"
            )
        if balance and weights is not None:
            raise UsageError("balanced sampling and weights exclude each other", "Choose one.")
        self.examples = tuple(examples)
        self._labels = _labels(self.examples, classes)
        self._classes = classes
        self._contract = contract
        self._store = _matching_store(store, self.examples, contract)
        self._augmentation = augmentation
        self._changes = augmentation.changes_pictures
        self._batch = batch
        self._seed = seed
        self._workers = workers or usable_cpus()
        self._weights: npt.NDArray[np.float64] | None = None
        if balance:
            self._weights = sampling.balancing_weights(self._labels)
        elif weights is not None:
            self._weights = sampling.checked_weights(weights, len(self.examples))
        count = len(self.examples)
        self._used = count - count % batch if drop_last else count
        if not self._used:
            raise UsageError(
                f"{count} picture(s) don't fill a batch of {batch}", "Choose a smaller batch."
            )

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return -(-self._used // self._batch)

    def epoch(
        self, number: int, start: int = 0, shard: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """The batches of an epoch, made ahead; the same bytes every time.

        At most three batches are held. Closing the iterator stops the threads.

        Args:
            number: Of the epoch, from 0.
            start: The batch to begin with: as many as are done already.
            shard: (index, count) gives this worker's equal share of every batch.

        Yields:
            `steps - start` batches.

        Raises:
            UsageError: The shard is none, or a batch can't be shared equally.
            UnreadableError: A picture can't be read any more; its file is named.
        """
        self._require_equal_shares(*shard)
        return in_order(self._work(number, start, *shard), self._workers, _AHEAD)

    def _require_equal_shares(self, index: int, count: int) -> None:
        if not 0 <= index < count:
            raise UsageError(f"shard {index} of {count}: there is none", "Count from 0.")
        for size in {min(self._batch, self._used), self._used % self._batch} - {0}:
            if size % count:
                raise UsageError(
                    f"a batch of {size} can't be shared by {count} workers",
                    "Choose a batch that is a multiple of the workers, and drop the last one "
                    "where it is smaller.",
                )

    def _work(
        self, number: int, start: int, index: int, count: int
    ) -> Iterator[tuple[Batch, list[Callable[[], None]]]]:
        order = self._order(number)[: self._used]
        for first in range(start * self._batch, self._used, self._batch):
            drawn = order[first : first + self._batch]
            share = len(drawn) // count
            mine = range(index * share, (index + 1) * share)
            batch = _empty_batch(drawn[mine.start : mine.stop], self._classes, self._contract)
            yield (
                batch,
                [
                    partial(self._fill, batch, drawn, (number, first), mine, task)
                    for task in _tasks(mine)
                ],
            )

    def _order(self, number: int) -> npt.NDArray[np.int64]:
        rng = self._random(number, 0, _FOR_ORDER)
        if self._weights is None:
            return sampling.permutation(len(self.examples), rng)
        return sampling.weighted(self._labels, self._weights, rng)

    def _fill(
        self,
        batch: Batch,
        drawn: npt.NDArray[np.int64],
        place: tuple[int, int],
        mine: range,
        task: range,
    ) -> None:
        """Makes the pictures and targets at the positions `task` of a global batch.

        Args:
            batch: This worker's share, which is written to.
            drawn: int64[global batch], the examples of the whole batch.
            place: The epoch, and how many pictures of it come before this batch.
            mine: The positions that are this worker's.
            task: Some of them.
        """
        epoch, first = place
        mixes = self._augmentation.mixes
        partners = {p: mixing.partner(p, len(drawn)) for p in task} if mixes else {}
        made = {
            p: self._picture(int(drawn[p]), self._random(epoch, first + p, _FOR_PICTURE))
            for p in sorted({*task, *partners.values()})
        }
        for position in task:
            row = position - mine.start
            picture, weight = made[position], 1.0
            other = partners.get(position, position)
            if other != position:
                rng = self._random(epoch, first + position, _FOR_MIXING)
                picture, weight = mixing.mix(
                    picture, made[other], self._augmentation.mixup, self._augmentation.cutmix, rng
                )
            batch.pictures[row] = picture
            batch.targets[row, self._labels[drawn[position]]] += weight
            batch.targets[row, self._labels[drawn[other]]] += 1 - weight

    def _picture(self, index: int, rng: np.random.Generator) -> images.Picture:
        if not self._changes:
            return self._store.fitted(index)
        picture = self._store.picture(index)
        try:
            return augment(picture, rng, self._augmentation, self._contract)
        except cv2.error as error:
            raise RuntimeFailure(
                f"{self.examples[index].path}: OpenCV can't augment it ({error.err})",
                "Leave the picture out, or choose another augmentation.",
            ) from error

    def _random(self, epoch: int, place: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, epoch, place, purpose))


def evaluation_batches(
    examples: Sequence[Example],
    contract: Contract,
    batch: int,
    store: PictureStore | None = None,
    classes: int | None = None,
    workers: int | None = None,
) -> Iterator[Batch]:
    """The examples in order, each exactly `images.load` of its file, made ahead.

    Args:
        examples: What to judge by.
        contract: How pictures are fitted.
        batch: Pictures in a batch; the last one holds what is left.
        store: The decoded pictures of the same examples, or None to decode.
        classes: The length of a target; by default the number of the contract's labels, or the
            largest label and one.
        workers: Threads; by default one per core.

    Yields:
        Batches.

    Raises:
        UsageError: The batch is not positive, or a label is beyond the classes.
        UnreadableError: A picture can't be read any more; its file is named.
    """
    if batch < 1:
        raise UsageError(f"a batch of {batch} holds no picture")
    examples = tuple(examples)
    if classes is None:
        classes = len(contract.labels or ()) or max((e.label for e in examples), default=0) + 1
    labels = _labels(examples, classes)
    pictures = _matching_store(store, examples, contract)

    def fill(made: Batch, rows: range) -> None:
        for row in rows:
            index = int(made.indices[row])
            made.pictures[row] = pictures.fitted(index)
            made.targets[row, labels[index]] = 1

    def work() -> Iterator[tuple[Batch, list[Callable[[], None]]]]:
        for first in range(0, len(examples), batch):
            indices = np.arange(first, min(first + batch, len(examples)), dtype=np.int64)
            made = _empty_batch(indices, classes, contract)
            yield made, [partial(fill, made, rows) for rows in _tasks(range(len(indices)))]

    return in_order(work(), workers or usable_cpus(), _AHEAD)


def _empty_batch(indices: npt.NDArray[np.int64], classes: int, contract: Contract) -> Batch:
    count = len(indices)
    return Batch(
        np.empty((count, contract.height, contract.width, 3), np.uint8),
        np.zeros((count, classes), np.float32),
        indices,
    )


def _tasks(positions: range) -> list[range]:
    return [positions[i : i + _TASK] for i in range(0, len(positions), _TASK)]


def _labels(examples: Sequence[Example], classes: int) -> npt.NDArray[np.int64]:
    labels = np.array([e.label for e in examples], np.int64)
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise UsageError(f"labels up to {labels.max()}, but there are {classes} classes")
    return labels


def _matching_store(
    store: PictureStore | None, examples: Sequence[Example], contract: Contract
) -> PictureStore:
    """The store, or one that keeps nothing.

    Raises:
        ValueError: It holds other pictures, or for another contract: a mistake in the program.
    """
    if store is None:
        return PictureStore(None, examples, contract)
    if not store.serves(examples, contract):
        raise ValueError("the store was made for other examples or another contract")
    return store
