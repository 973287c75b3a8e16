"""The outputs of a frozen backbone, computed once for several views of each picture.

An epoch over features takes a fraction of a second where one over pictures takes a minute. Since
augmentation changes the pictures, each has several views: itself as it is evaluated, and augmented
variants; an epoch draws one of them for each picture. Every view is a file of its own in the cache,
written whole or not at all, so that a run that was killed goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from edgekit.contract import Contract
from edgekit.datasets import Splits
from edgekit.errors import RuntimeFailure
from edgekit.training import cache
from edgekit.training.feeding import Augmentation, Loader, PictureStore, evaluation_batches
from edgekit.training.feeding.loader import Batch
from edgekit.training.inference import Inference
from edgekit.training.learner import normalizer
from edgekit.training.recipe import Recipe

_BATCH = 32
#: (done, total) pictures.
Progress = Callable[[int, int], None]
Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Features:
    """What a frozen backbone makes of a training set.

    Attributes:
        train: float32[N, F] per view; the first is of the pictures as they are evaluated.
        val: float32[M, F].
    """

    train: tuple[Array, ...]
    val: Array


def extract(
    backbone: keras.Model,
    contract: Contract,
    splits: Splits,
    stores: tuple[PictureStore, PictureStore],
    recipe: Recipe,
    progress: Progress = lambda done, total: None,
) -> Features:
    """Computes the features, or takes them from the cache.

    Args:
        backbone: float32[N, h, w, 3] -> float32[N, F], with its trained weights.
        contract: How pictures become its input.
        splits: `train` and `val` are used.
        stores: The pictures of both.
        recipe: Gives augmentation, views and seed.
        progress: Called with (done, total) pictures.
    """
    augmentation = replace(recipe.augmentation, mixup=0.0, cutmix=0.0)  # mixing needs pairs
    views = recipe.views if augmentation.changes_pictures else 1
    folder = cache.features() / _key(backbone, contract, splits, augmentation, recipe.seed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.touch()
        for left in folder.glob(".*.part"):  # by a run that was killed
            left.unlink(missing_ok=True)
        cache.prune(folder.parent, cache.FEATURES_LIMIT, folder)
    except OSError as error:
        raise RuntimeFailure(
            f"{folder}: features can't be kept there ({error.strerror or error})",
            "Name another place in the environment variable EDGEKIT_CACHE.",
        ) from error
    normalize = normalizer(contract)
    infer = Inference(lambda pictures: backbone(normalize(pictures), training=False))
    loader = Loader(
        splits.train, len(splits.classes), contract, stores[0], augmentation, _BATCH, recipe.seed
    )
    sources: list[tuple[str, int, Callable[[], Iterator[Batch]]]] = [
        (
            "val",
            len(splits.val),
            lambda: evaluation_batches(
                splits.val, contract, _BATCH, stores[1], len(splits.classes)
            ),
        ),
        (
            "view-000",
            len(splits.train),
            lambda: evaluation_batches(
                splits.train, contract, _BATCH, stores[0], len(splits.classes)
            ),
        ),
        *(
            (f"view-{view:03}", len(splits.train), lambda view=view: loader.epoch(view))
            for view in range(1, views)
        ),
    ]
    total, before, found = sum(count for _, count, _ in sources), 0, []
    for name, count, batches in sources:

        def told(done: int, before: int = before) -> None:
            progress(before + done, total)

        path = folder / f"{name}.npy"
        kept = _read(path, count, backbone.output.shape[-1])
        if kept is None:
            kept = _compute(infer, batches(), count, backbone.output.shape[-1], told)
            _keep(path, kept)
        before += count
        progress(before, total)
        found.append(kept)
    return Features(tuple(found[1:]), found[0])


def digest(arrays: Sequence[Any]) -> str:
    """SHA-256 over the values of some variables, in hexadecimal."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _compute(
    infer: Callable[[Any], Array],
    batches: Iterator[Batch],
    count: int,
    width: int,
    told: Callable[[int], None],
) -> Array:
    features, done = np.empty((count, width), np.float32), 0
    for batch in batches:
        features[batch.indices] = infer(batch.pictures)
        done += len(batch.indices)
        told(done)
    return features


def _key(
    backbone: keras.Model,
    contract: Contract,
    splits: Splits,
    augmentation: Augmentation,
    seed: int,
) -> str:
    """Names what the features depend on."""
    parts = {
        "weights": digest(backbone.get_weights()),
        "model": backbone.name,
        "contract": replace(contract, labels=None).to_dict(),
        "data": splits.digest,
        "augmentation": str(augmentation),
        "seed": seed,
        "tensorflow": tf.__version__,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _read(path: Path, count: int, width: int) -> Array | None:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    sound = array.dtype == np.float32 and array.shape == (count, width)
    return array if sound and np.isfinite(array).all() else None


def _keep(path: Path, features: Array) -> None:
    """Keeps them if there is room; a full disk only costs time the next time."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            np.save(file, features)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
