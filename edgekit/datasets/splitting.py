"""A training set in three splits, checked: what is learned from, what is judged by, and what for.

Every file is read once. What would make the accuracy a lie is refused: one picture under two
labels, or in two splits. Pictures are compared by the bytes of their files; near-duplicates (the
next frame of a burst, the same photo saved again) are not looked for.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.datasets.layouts import SPLITS, Layout, recognize
from edgekit.datasets.loading import Progress
from edgekit.datasets.scanning import scan
from edgekit.errors import UnreadableError, UsageError

#: Fewer pictures of a class than this are warned about.
FEW_PICTURES = 20
#: How many times the smallest class the largest may be before it is warned about.
IMBALANCE = 3.0


@dataclass(frozen=True)
class Example:
    """One labelled picture.

    Attributes:
        path: The file.
        label: The index of its class.
        digest: SHA-256 of the file's bytes, in hexadecimal.
    """

    path: Path
    label: int
    digest: str


@dataclass(frozen=True)
class Splits:
    """A training set, checked and split.

    Attributes:
        root: The folder it was read from.
        classes: Class names; a label is an index into them. Sorted as Keras sorts folders.
        train: What is learned from, sorted by path.
        val: What the best state is chosen by, sorted by path.
        test: What is looked at once, at the end, sorted by path; may be empty.
        source: Where the splits come from, in words.
        broken: (path, reason) of the files that were left out.
        warnings: What is likely to hurt, a sentence or two each.
        digest: SHA-256 over the classes, and the label and file digest of every example in order:
            equal for equal data, wherever the folder lies.
    """

    root: Path
    classes: tuple[str, ...]
    train: tuple[Example, ...]
    val: tuple[Example, ...]
    test: tuple[Example, ...]
    source: str
    broken: tuple[tuple[Path, str], ...]
    warnings: tuple[str, ...]
    digest: str

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """class -> how many pictures of it are in train, val and test."""
        found = [Counter(e.label for e in split) for split in (self.train, self.val, self.test)]
        return {
            name: (found[0][label], found[1][label], found[2][label])
            for label, name in enumerate(self.classes)
        }


def open_splits(
    root: Path,
    *,
    labels_csv: Path | None = None,
    val_share: float = 0.2,
    seed: int = 0,
    progress: Progress | None = None,
) -> Splits:
    """Reads, checks and splits a training set.

    Where the data bring no val split, each class gives `val_share` of its pictures to it: those
    whose SHA-256 of seed and file digest is smallest. So the choice depends on neither names nor
    order, copies stay together, and pictures added later move few others.

    Args:
        root: A folder of class folders, or of `train/`, `val/` (`valid/`, `validation/`) and
            `test/` with class folders in each. Without val, it is split off train.
        labels_csv: A table of path, label and perhaps split instead; paths relative to `root` or
            to the table.
        val_share: The share of each class to judge by, where there is no val split: (0, 1).
        seed: Another one gives another split.
        progress: Called with (done, total) as files are read.

    Raises:
        UsageError: `root` is no folder, or `val_share` is not between 0 and 1.
        UnreadableError: There is nothing to learn from these data, or they would deceive: a class
            that is alone, empty, unreadable or too small to split, differing classes, one picture
            with two labels or in two splits.
    """
    if not 0 < val_share < 1:
        raise UsageError(
            f"a val share of {val_share:g} is not between 0 and 1", "Give 0.2 for a fifth."
        )
    layout = recognize(root, labels_csv)
    where = labels_csv or root
    scanned = scan([picture.path for picture in layout.pictures], progress)
    label_of = {name: label for label, name in enumerate(layout.classes)}
    splits: dict[str, list[Example]] = {name: [] for name in SPLITS}
    for picture in layout.pictures:
        digest = scanned.digests.get(picture.path)
        if digest is not None:
            splits[picture.split].append(
                Example(picture.path, label_of[picture.class_name], digest)
            )

    _require_readable(layout, splits, where)
    _require_one_label(splits, layout.classes, where)
    _require_no_leak(splits, where)
    source = layout.splits_by
    if not splits["val"]:
        splits["train"], splits["val"] = _stratify(
            splits["train"], layout.classes, val_share, seed, where
        )
        source = f"a stratified split of {layout.whole}: {val_share * 100:g} % to val, seed {seed}"
    return Splits(
        root,
        layout.classes,
        tuple(splits["train"]),
        tuple(splits["val"]),
        tuple(splits["test"]),
        source,
        scanned.broken,
        (*layout.warnings, *_warnings(splits, layout.classes)),
        _digest(layout.classes, splits),
    )


def _stratify(
    examples: Sequence[Example], classes: Sequence[str], share: float, seed: int, where: Path
) -> tuple[list[Example], list[Example]]:
    """(train, val), each in the order of `examples`."""
    copies: dict[int, Counter[str]] = defaultdict(Counter)
    for example in examples:
        copies[example.label][example.digest] += 1
    chosen: set[str] = set()
    for label, name in enumerate(classes):
        digests = sorted(copies[label], key=lambda d: _rank(d, seed))
        if len(digests) < 2:
            raise UnreadableError(
                f"{where}: class {name} has a single picture, which can't be both learned from "
                "and judged by",
                "Add pictures of it (20 or more are a start), or remove the class.",
            )
        wanted = max(1, int(share * copies[label].total() + 0.5))
        for digest in digests[:-1]:
            if wanted <= 0:
                break
            chosen.add(digest)
            wanted -= copies[label][digest]
    return (
        [e for e in examples if e.digest not in chosen],
        [e for e in examples if e.digest in chosen],
    )


def _rank(digest: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{digest}".encode()).digest()


def _digest(classes: Sequence[str], splits: dict[str, list[Example]]) -> str:
    document = {
        "classes": list(classes),
        **{name: [[e.label, e.digest] for e in examples] for name, examples in splits.items()},
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


# --- what is refused


def _require_readable(layout: Layout, splits: dict[str, list[Example]], where: Path) -> None:
    for split, examples in splits.items():
        listed = Counter(p.class_name for p in layout.pictures if p.split == split)
        read = {layout.classes[e.label] for e in examples}
        dead = [name for name in layout.classes if listed[name] and name not in read]
        if dead:
            raise UnreadableError(
                f"{where}: none of the {listed[dead[0]]} picture(s) of class {dead[0]} in {split} "
                "can be read",
                "Open one in a viewer; copy the pictures again, or remove the class.",
            )


def _require_one_label(
    splits: dict[str, list[Example]], classes: Sequence[str], where: Path
) -> None:
    first: dict[str, Example] = {}
    clashes = []
    for example in (e for examples in splits.values() for e in examples):
        known = first.setdefault(example.digest, example)
        if known.label != example.label:
            clashes.append((known, example))
    if clashes:
        pairs = [
            f"{_short(one.path, where)} ({classes[one.label]}) is "
            f"{_short(other.path, where)} ({classes[other.label]})"
            for one, other in clashes
        ]
        raise UnreadableError(
            f"{where}: {len(clashes)} picture(s) have two labels: {_five(pairs)}",
            "Keep each picture under the one label that is right.",
        )


def _require_no_leak(splits: dict[str, list[Example]], where: Path) -> None:
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        known = {e.digest: e for e in splits[one]}
        pairs = [
            f"{_short(known[e.digest].path, where)} is {_short(e.path, where)}"
            for e in splits[other]
            if e.digest in known
        ]
        if pairs:
            raise UnreadableError(
                f"{where}: the splits leak: {len(pairs)} picture(s) of {other} are in {one} too: "
                f"{_five(pairs)}",
                f"Remove them from {other}: the accuracy would come out better than it is.",
            )


def _short(path: Path, where: Path) -> str:
    """A path as it reads best: below the data's folder where it is there."""
    base = where if where.is_dir() else where.parent
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)


def _five(items: Sequence[str]) -> str:
    more = f", and {len(items) - 5} more" if len(items) > 5 else ""
    return ", ".join(items[:5]) + more


# --- what is warned about


def _warnings(splits: dict[str, list[Example]], classes: Sequence[str]) -> list[str]:
    warnings = []
    counts = Counter(e.label for e in splits["train"])
    largest = max(range(len(classes)), key=lambda label: counts[label])
    smallest = min(range(len(classes)), key=lambda label: counts[label])
    if counts[largest] > IMBALANCE * counts[smallest]:
        warnings.append(
            f"The classes are uneven: {counts[largest]} pictures of {classes[largest]} to train "
            f"on, {counts[smallest]} of {classes[smallest]} "
            f"({counts[largest] / counts[smallest]:.1f} times). --balance draws each class "
            "equally often."
        )
    few = [
        f"{name} ({counts[label]})"
        for label, name in enumerate(classes)
        if counts[label] < FEW_PICTURES
    ]
    if few:
        warnings.append(
            f"Fewer than {FEW_PICTURES} pictures to train on of {_five(few)}. Add more: what a "
            "class looks like can't be learned from a handful."
        )
    for split, examples in splits.items():
        copies = len(examples) - len({e.digest for e in examples})
        if copies:
            warnings.append(
                f"{copies} picture(s) of {split} are exact copies of others there: they count "
                "twice and teach nothing new. Remove the copies."
            )
    return warnings
