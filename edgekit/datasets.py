"""Folders and CSVs of pictures: find them, label them, choose from them, and lint them.

Labels come from class folders (`cats/1.jpg`), from a CSV of path and label, or from the leading
index of file names (`007_cock.jpg`), in that order of preference.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit import images
from edgekit.contract import Contract
from edgekit.cpus import usable_cpus
from edgekit.errors import UnreadableError, UsageError

#: Called with (done, total) as work goes on.
Progress = Callable[[int, int], None]

# Five digits at most and a letter behind, so that a date in a file name is no class.
_LEADING_INDEX = re.compile(r"^(\d{1,5})[_-]\D")
_SPLIT_NAMES = frozenset({"train", "val", "valid", "validation", "test"})


@dataclass(frozen=True)
class Sample:
    """One picture of a dataset.

    Attributes:
        path: The file.
        class_name: The name of its class (folder, CSV label), or None.
        index: The class index written in its name (`007_cock.jpg` is 7) or CSV, or None.
    """

    path: Path
    class_name: str | None = None
    index: int | None = None


@dataclass(frozen=True)
class Dataset:
    """The pictures found at a place.

    Attributes:
        root: The folder or CSV file it was read from.
        samples: Sorted by path.
        labelled_by: Where labels come from, in words, or None where there are none.
    """

    root: Path
    samples: tuple[Sample, ...]
    labelled_by: str | None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class names that occur, sorted as Keras sorts folders."""
        return tuple(sorted({s.class_name for s in self.samples if s.class_name is not None}))

    def indices(self, contract: Contract, classes: int) -> list[int] | None:
        """The class index of every sample, in the order of the model's outputs.

        Class names are looked up in the contract's labels; without labels there, the sorted class
        names must be as many as the model has outputs.

        Args:
            contract: Its labels are used.
            classes: How many outputs the model has.

        Returns:
            One index per sample, or None where the dataset carries no labels.

        Raises:
            UsageError: The classes don't fit the model.
        """
        if self.labelled_by is None:
            return None
        if all(s.index is not None for s in self.samples):
            found = [s.index for s in self.samples if s.index is not None]
            if max(found) >= classes:
                raise UsageError(
                    f"{self.root}: class index {max(found)}, but the model has {classes} outputs",
                    "Give data of the classes that the model was trained on.",
                )
            return found
        names = self.class_names
        order = contract.labels
        if order is None:
            if len(names) != classes:
                raise UsageError(
                    f"{self.root}: {len(names)} classes, but the model has {classes} outputs and "
                    "carries no labels",
                    "Give the names of all classes in order with --labels FILE, one a line.",
                )
            order = names
        position = {label: i for i, label in reversed(list(enumerate(order)))}
        unknown = [name for name in names if name not in position]
        if unknown:
            raise UsageError(
                f"{self.root}: {len(unknown)} class(es) that the model doesn't know: "
                f"{', '.join(unknown[:5])}",
                f"Its labels are {', '.join(order[:5])}{', ...' if len(order) > 5 else ''}.",
            )
        return [position[str(s.class_name)] for s in self.samples]


def find(root: Path, labels_csv: Path | None = None) -> Dataset:
    """Finds the pictures at a place.

    Args:
        root: A folder, of any depth and any mix of picture formats, or one picture.
        labels_csv: A CSV of path and label (with or without a header), its paths relative to
            `root` or to the CSV's folder.

    Raises:
        UnreadableError: The folder is missing, or holds no picture.
    """
    if labels_csv is not None:
        return _from_csv(root, labels_csv)
    if not root.exists():
        raise UnreadableError(f"{root}: no such folder", "Give a folder of photos with --data.")
    if root.is_file():
        return Dataset(root, (Sample(root),), None)
    paths = sorted(p for p in _walk(root) if p.suffix.lower() in images.EXTENSIONS)
    if not paths:
        raise UnreadableError(
            f"{root}: no picture in this folder or below it",
            f"edgekit reads {', '.join(sorted(images.EXTENSIONS))}.",
        )
    return _labelled(root, paths)


def select(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Chooses `count` samples, evenly over classes, and evenly spaced in each.

    The same samples and count always give the same choice. Every class gets its turn before any
    class gets a second one, so with fewer samples than classes the classes are evenly spaced too.

    Args:
        samples: Sorted by path.
        count: How many are wanted.

    Returns:
        At most `count` samples, in the order of `samples`.
    """
    if len(samples) <= count:
        return list(samples)
    by_class: dict[object, list[int]] = defaultdict(list)
    for position, sample in enumerate(samples):
        by_class[sample.class_name if sample.index is None else sample.index].append(position)
    groups = list(by_class.values())
    quota = _even_quota([len(group) for group in groups], count)
    chosen = [
        group[i]
        for group, share in zip(groups, quota, strict=True)
        for i in _evenly_spaced(len(group), share)
    ]
    return [samples[position] for position in sorted(chosen)]


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


def lint(loaded: Loaded, contract: Contract, classes: int) -> list[str]:
    """Looks at a calibration set and says what will hurt, and what to do about it.

    The limits come from measurements on EfficientNet-Lite0, where 32 photos lost half a point of
    top-1 against 200.

    Returns:
        Warnings, one sentence or two each; none where the set looks fit.
    """
    count = len(loaded.samples)
    warnings = []
    if loaded.broken:
        names = ", ".join(f"{path.name} ({reason})" for path, reason in loaded.broken[:3])
        more = f" and {len(loaded.broken) - 3} more" if len(loaded.broken) > 3 else ""
        warnings.append(
            f"{len(loaded.broken)} file(s) can't be read and were left out: {names}{more}."
        )
    if count < 100:
        warnings.append(
            f"Only {count} picture(s) to calibrate on. Ranges need about 100 to 200 photos like "
            "those the device will see; add more with --data."
        )
    repeated = [n for n in Counter(loaded.digests).values() if n > 1]
    if repeated:
        warnings.append(
            f"{sum(repeated) - len(repeated)} picture(s) are exact copies of others: they add "
            "nothing to the ranges. Remove the copies."
        )
    constant = [
        sample.path.name
        for sample, picture in zip(loaded.samples, loaded.pictures, strict=True)
        if int(picture.max()) - int(picture.min()) < 8
    ]
    if constant:
        warnings.append(
            f"{len(constant)} picture(s) show a single colour ({', '.join(constant[:3])}): "
            "remove them, no photo looks like that."
        )
    small = int(np.sum(loaded.sizes.max(axis=1) < max(contract.height, contract.width) / 2))
    if small:
        warnings.append(
            f"{small} picture(s) are less than half the model's input of {contract.height} x "
            f"{contract.width}: enlarged pictures are smoother than what the camera gives. Use "
            "the originals."
        )
    present = {s.index if s.index is not None else s.class_name for s in loaded.samples} - {None}
    if present and count >= classes > len(present):
        warnings.append(
            f"{classes - len(present)} of the model's {classes} classes have no picture here. Add "
            "some of each class."
        )
    return warnings


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


def _walk(root: Path) -> Iterator[Path]:
    try:
        entries = sorted(root.iterdir())
    except OSError as error:
        raise UnreadableError(f"{root}: {error.strerror or error}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield from _walk(entry)
        elif entry.is_file():
            yield entry


def _labelled(root: Path, paths: Sequence[Path]) -> Dataset:
    folders = [_class_folder(path.relative_to(root)) for path in paths]
    if all(folders) and len(set(folders)) > 1:
        samples = [Sample(p, name) for p, name in zip(paths, folders, strict=True)]
        return Dataset(root, tuple(samples), f"{len(set(folders))} class folders")
    matches = [_LEADING_INDEX.match(path.name) for path in paths]
    if all(matches):
        samples = [
            Sample(p, None, int(m.group(1))) for p, m in zip(paths, matches, strict=True) if m
        ]
        return Dataset(root, tuple(samples), "the leading index of the file names")
    return Dataset(root, tuple(Sample(p) for p in paths), None)


def _class_folder(relative: Path) -> str | None:
    """The first folder of a relative path, `train/`, `val/` and the like left out."""
    folders = relative.parts[:-1]
    if folders and folders[0].lower() in _SPLIT_NAMES:
        folders = folders[1:]
    return folders[0] if folders else None


def _from_csv(root: Path, labels_csv: Path) -> Dataset:
    try:
        with labels_csv.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row and row[0].strip()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnreadableError(f"{labels_csv}: can't be read as a CSV file ({error})") from error
    samples = []
    for number, row in enumerate(rows, 1):
        if len(row) < 2:
            raise UnreadableError(
                f"{labels_csv}, row {number}: expected a path and a label, found {row!r}"
            )
        name, label = row[0].strip(), row[1].strip()
        path = next((d / name for d in (root, labels_csv.parent) if (d / name).is_file()), None)
        if path is None:
            if number == 1 and Path(name).suffix.lower() not in images.EXTENSIONS:
                continue  # a header
            raise UnreadableError(
                f"{labels_csv}, row {number}: no file {name} in {root} or {labels_csv.parent}"
            )
        index = int(label) if label.isdecimal() else None
        samples.append(Sample(path, None if index is not None else label, index))
    if not samples:
        raise UnreadableError(f"{labels_csv}: no picture is listed in it")
    if len({sample.index is None for sample in samples}) > 1:
        raise UnreadableError(
            f"{labels_csv}: some labels are numbers and some are names", "Use one kind."
        )
    samples.sort(key=lambda sample: sample.path)
    return Dataset(labels_csv, tuple(samples), f"the labels of {labels_csv.name}")


def _even_quota(sizes: Sequence[int], count: int) -> list[int]:
    """Shares `count` over groups as evenly as their sizes allow."""
    if count < len(sizes):
        turn = set(_evenly_spaced(len(sizes), count))
        return [1 if i in turn else 0 for i in range(len(sizes))]
    quota = [0] * len(sizes)
    left = count
    while left:
        open_groups = [i for i, size in enumerate(sizes) if quota[i] < size]
        share = max(left // len(open_groups), 1)
        for i in open_groups[:left] if left < len(open_groups) else open_groups:
            step = min(share, sizes[i] - quota[i], left)
            quota[i] += step
            left -= step
    return quota


def _evenly_spaced(length: int, count: int) -> list[int]:
    """`count` distinct positions in range(length), evenly spaced."""
    return [(2 * i + 1) * length // (2 * count) for i in range(count)]
