"""Setting judging images apart from those that a model is fitted to, by what is in the files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.datasets.finding import Dataset, Sample
from edgekit.datasets.loading import Progress
from edgekit.datasets.scanning import scan
from edgekit.errors import UsageError


@dataclass(frozen=True)
class HeldOut:
    """Two sets of pictures that have no content in common.

    Attributes:
        calibration: To calibrate on, and to fit.
        judging: To judge by, and for nothing else.
        repeated: Files left out because another has the same content.
        broken: (path, reason) of the files that couldn't be read.
    """

    calibration: Dataset
    judging: Dataset
    repeated: int
    broken: tuple[tuple[Path, str], ...]


def hold_out(dataset: Dataset, most: int, progress: Progress | None = None) -> HeldOut:
    """Splits a dataset in two: a third, but at most so many, for calibration.

    Which picture goes where depends on its content (SHA-256 of the file), evenly over classes: the
    same picture is on the same side under any name, and the split stays when others are added.

    Args:
        dataset: Pictures, labelled or not.
        most: Pictures for calibration.
        progress: Called with (done, total) while files are read.

    Raises:
        UsageError: There are too few to split.
    """
    scanned = scan([sample.path for sample in dataset.samples], progress)
    seen: set[str] = set()
    by_class: dict[object, list[tuple[str, Sample]]] = defaultdict(list)
    for sample in dataset.samples:
        digest = scanned.digests.get(sample.path)
        if digest is None or digest in seen:
            continue
        seen.add(digest)
        key = sample.class_name if sample.index is None else sample.index
        by_class[key].append((digest, sample))
    if len(seen) < 3:
        raise UsageError(
            f"{dataset.root}: {len(seen)} different picture(s) can't be split into calibration and "
            "judging images",
            "Give a few hundred, like those the device will see.",
        )
    share = min(most, len(seen) // 3) / len(seen)
    chosen = set()
    for group in by_class.values():
        ordered = [sample.path for _, sample in sorted(group, key=lambda entry: entry[0])]
        chosen.update(ordered[: round(share * len(ordered))])
    kept = [sample for group in by_class.values() for _, sample in group]
    kept.sort(key=lambda sample: sample.path)
    if not chosen:  # of many classes with one or two pictures each
        chosen = {sample.path for sample in kept[:: max(1, round(1 / share))]}
    readable = len(dataset.samples) - len(scanned.broken)
    return HeldOut(
        replace(dataset, samples=tuple(s for s in kept if s.path in chosen)),
        replace(dataset, samples=tuple(s for s in kept if s.path not in chosen)),
        readable - len(seen),
        scanned.broken,
    )


def refuse_overlap(
    fitted: Sequence[Path], judging: Sequence[Path], progress: Progress | None = None
) -> None:
    """Refuses judging images that a model is fitted to as well, by content.

    Raises:
        UsageError: They share a picture.
    """
    first, second = scan(fitted), scan(judging, progress)
    origin = {digest: path for path, digest in first.digests.items()}
    shared = [(origin[d], path) for path, d in second.digests.items() if d in origin]
    if shared:
        raise UsageError(
            f"{len(shared)} judging image(s) are among those that the model is fitted to, by their "
            f"content: {_pairs(shared)}",
            "Judge by other pictures: what was fitted to them would look better than it is.",
        )


def _pairs(shared: Sequence[tuple[Path, Path]]) -> str:
    words = [f"{second} is {first}" for first, second in shared[:3]]
    return "; ".join(words) + ("; ..." if len(shared) > 3 else "")
