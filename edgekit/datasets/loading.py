"""Decoding many pictures on all cores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit import images
from edgekit.contract import Contract
from edgekit.cpus import usable_cpus
from edgekit.datasets.finding import Sample
from edgekit.errors import UnreadableError

#: Called with (done, total) as work goes on.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Loaded:
    """Pictures decoded and fitted.

    Attributes:
        samples: The samples that could be read, in order.
        pictures: uint8[N, height, width, 3], RGB, one for each sample.
        sizes: int32[N, 2], height and width of each picture before it was fitted.
        digests: SHA-256 of each file, in hexadecimal.
        broken: (path, reason) of the files that couldn't be read.
    """

    samples: tuple[Sample, ...]
    pictures: images.Picture
    sizes: np.ndarray
    digests: tuple[str, ...]
    broken: tuple[tuple[Path, str], ...]


def load(
    samples: Sequence[Sample],
    contract: Contract,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Loaded:
    """Decodes and fits all samples, on all cores. Broken files are listed, not fatal.

    Args:
        samples: What to read.
        contract: How to fit the pictures; N x height x width x 3 bytes are held.
        progress: Called with (done, total).
        workers: Threads; by default one per core.
    """
    pictures = np.empty((len(samples), contract.height, contract.width, 3), np.uint8)
    sizes = np.zeros((len(samples), 2), np.int32)
    kept: list[Sample] = []
    digests: list[str] = []
    broken: list[tuple[Path, str]] = []

    for done, (sample, result) in enumerate(_decode_all(samples, contract, workers), 1):
        if isinstance(result, UnreadableError):
            broken.append((sample.path, result.message.removeprefix(f"{sample.path}: ")))
        else:
            picture, size, digest = result
            pictures[len(kept)] = picture
            sizes[len(kept)] = size
            kept.append(sample)
            digests.append(digest)
        if progress is not None:
            progress(done, len(samples))
    count = len(kept)
    return Loaded(tuple(kept), pictures[:count], sizes[:count], tuple(digests), tuple(broken))


def _decode_all(
    samples: Sequence[Sample], contract: Contract, workers: int | None
) -> Iterator[tuple[Sample, UnreadableError | tuple[images.Picture, tuple[int, int], str]]]:
    def decode_one(
        sample: Sample,
    ) -> UnreadableError | tuple[images.Picture, tuple[int, int], str]:
        try:
            data = images.read_file(sample.path)
            picture = images.decode_bytes(data, str(sample.path))
        except UnreadableError as error:
            return error
        digest = hashlib.sha256(data).hexdigest()
        return images.fit(picture, contract), picture.shape[:2], digest

    with ThreadPoolExecutor(workers or usable_cpus()) as pool:
        yield from zip(samples, pool.map(decode_one, samples), strict=True)
