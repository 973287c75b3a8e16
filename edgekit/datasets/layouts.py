"""How the pictures of a training set lie on the disk: class folders, split folders, or a CSV."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit import images
from edgekit.datasets.finding import SPLIT_NAMES, pictures_below
from edgekit.datasets.tables import Row, read_table
from edgekit.errors import UnreadableError, UsageError

SPLITS = ("train", "val", "test")

_CLASS_FOLDERS_HINT = (
    "Give one folder for each class (photos/cats/1.jpg, photos/dogs/1.jpg), or a table of path and "
    "label with --labels-csv."
)
#: What the header of a third column may say for it to be the split.
_SPLIT_HEADERS = frozenset({"split", "set", "subset", "partition"})


@dataclass(frozen=True)
class Listed:
    """A picture as it was found, not opened yet.

    Attributes:
        path: The file.
        class_name: The name of its class.
        split: `train`, `val` or `test`; all are in `train` where the layout has no splits.
    """

    path: Path
    class_name: str
    split: str


@dataclass(frozen=True)
class Layout:
    """The pictures of a training set as they lie on the disk.

    Attributes:
        pictures: Sorted by path.
        classes: Sorted as Keras sorts folders; labels that are numbers, by their value.
        splits_by: What gives the splits, in words: `folders train/ and val/`.
        whole: What a val split is taken from where there is none, in words: `photos/`.
        warnings: What was left out.
    """

    pictures: tuple[Listed, ...]
    classes: tuple[str, ...]
    splits_by: str
    whole: str
    warnings: tuple[str, ...] = ()


def recognize(root: Path, labels_csv: Path | None = None) -> Layout:
    """Finds out how a training set is laid out, and lists its pictures.

    Args:
        root: A folder of class folders, or one with `train/` and perhaps `val/` (`valid/`,
            `validation/`) and `test/`, each with class folders.
        labels_csv: A table of path, label and perhaps split, instead of folders.

    Raises:
        UsageError: `root` is no folder.
        UnreadableError: There are no two classes, a class is empty, or splits differ in classes.
    """
    if not root.exists():
        raise UnreadableError(f"{root}: no such folder", _CLASS_FOLDERS_HINT)
    if not root.is_dir():
        raise UsageError(f"{root}: is a file, not a folder of photos", _CLASS_FOLDERS_HINT)
    layout = _from_table(root, labels_csv) if labels_csv is not None else _from_folders(root)
    if len(layout.classes) == 1:
        raise UnreadableError(
            f"{labels_csv or root}: only one class ({layout.classes[0]}); a classifier needs two "
            "or more",
            "Add photos of something else, even of everything that is not "
            f"{layout.classes[0]!r}. {_CLASS_FOLDERS_HINT}",
        )
    _require_equal_classes(layout, labels_csv or root)
    return layout


def _from_folders(root: Path) -> Layout:
    folders = _subfolders(root)
    splits = _split_folders(root, folders)
    if not splits:
        found, warnings = _class_folders(root, "train")
        name = f"{root.resolve().name}/"
        return Layout(tuple(found), _classes(found), f"the folder {name}", name, warnings)
    pictures: list[Listed] = []
    left_out: list[str] = []
    for split, folder in splits.items():
        found, warnings = _class_folders(folder, split)
        pictures += found
        left_out += warnings
    others = [f.name for f in folders if f not in splits.values()]
    if others:
        left_out.append(f"{_some(others)}: beside {splits['train'].name}/, so no class; left out.")
    names = [f"{folder.name}/" for folder in splits.values()]
    words = f"folders {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
    return Layout(
        tuple(sorted(pictures, key=lambda p: p.path)),
        _classes(pictures),
        words,
        names[0],
        tuple(left_out),
    )


def _split_folders(root: Path, folders: Sequence[Path]) -> dict[str, Path]:
    """split -> its folder, in the order of `SPLITS`; empty where these are class folders.

    A lone folder `train` among others may be a class (of vehicles, say): it takes a val or test
    beside it, or nothing at all, to be a split.
    """
    named: dict[str, list[Path]] = defaultdict(list)
    for folder in folders:
        name = folder.name.lower()
        if name in SPLIT_NAMES:
            named["val" if name.startswith("val") else name].append(folder)
    twice = next((group for group in named.values() if len(group) > 1), None)
    if twice:
        raise UsageError(
            f"{root}: both {twice[0].name}/ and {twice[1].name}/ mean the same split",
            "Keep one of them.",
        )
    if not named or (set(named) == {"train"} and len(folders) > 1):
        return {}
    if "train" not in named:
        if len(named) < len(folders):
            return {}
        raise UnreadableError(
            f"{root}: {', '.join(f'{f.name}/' for f in folders)}, but no train/",
            "Call the folder to train on train/, with one folder for each class in it.",
        )
    return {split: named[split][0] for split in SPLITS if split in named}


def _class_folders(root: Path, split: str) -> tuple[list[Listed], tuple[str, ...]]:
    folders = _subfolders(root)
    loose = [p for p in _entries(root) if p.is_file() and p.suffix.lower() in images.EXTENSIONS]
    if not folders:
        what = f"{len(loose)} picture(s), but " if loose else ""
        raise UnreadableError(f"{root}: {what}no class folders", _CLASS_FOLDERS_HINT)
    pictures = []
    empty = []
    for folder in folders:
        found = pictures_below(folder)
        pictures += [Listed(path, folder.name, split) for path in found]
        if not found:
            empty.append(folder.name)
    if empty:
        raise UnreadableError(
            f"{root}: {_some(empty)}: class folder(s) without a picture",
            f"Put pictures in ({', '.join(sorted(images.EXTENSIONS))}), or remove the folder.",
        )
    warning = f"{root}: {len(loose)} picture(s) outside of the class folders were left out."
    return pictures, ((warning,) if loose else ())


def _from_table(root: Path, labels_csv: Path) -> Layout:
    table = read_table(root, labels_csv)
    third = (table.header or ())[2:3]
    has_splits = third[0].lower() in _SPLIT_HEADERS if third else not table.header
    has_splits = has_splits and any(row.more for row in table.rows)
    pictures = []
    for row in table.rows:
        if not row.label:
            raise UnreadableError(
                f"{labels_csv}, row {row.number}: the label is empty", "Fill it in, or cut the row."
            )
        name = str(int(row.label)) if row.label.isdecimal() else row.label
        split = _split_of(row, labels_csv) if has_splits else "train"
        pictures.append(Listed(row.path, name, split))
    if not any(p.split == "train" for p in pictures):
        raise UnreadableError(f"{labels_csv}: no row of the split train", "Mark some as train.")
    classes = _classes(pictures)
    warnings = []
    if classes[0].isdecimal():  # then all are, and they are indices: 10 comes after 9
        classes = tuple(sorted(classes, key=int))
    if classes[0].isdecimal() and classes != tuple(map(str, range(len(classes)))):
        warnings.append(
            f"{labels_csv}: the labels are numbers that don't count 0, 1, 2 and so on: output 0 of "
            f"the model stands for label {classes[0]}, output 1 for the next, and so on."
        )
    return Layout(
        tuple(pictures),
        classes,
        f"the column split of {labels_csv.name}",
        f"the train rows of {labels_csv.name}" if has_splits else labels_csv.name,
        tuple(warnings),
    )


def _split_of(row: Row, labels_csv: Path) -> str:
    written = (row.more[0] if row.more else "").lower()
    if written not in SPLIT_NAMES:
        raise UnreadableError(
            f"{labels_csv}, row {row.number}: the split {written!r} is none of {', '.join(SPLITS)}",
            "The third column is taken for the split. Give it a header with another name if it "
            "is something else.",
        )
    return "val" if written.startswith("val") else written


def _classes(pictures: Sequence[Listed]) -> tuple[str, ...]:
    return tuple(sorted({p.class_name for p in pictures}))


def _require_equal_classes(layout: Layout, where: Path) -> None:
    classes = {
        split: {p.class_name for p in layout.pictures if p.split == split} for split in SPLITS
    }
    for split in ("val", "test"):
        if not classes[split] or classes[split] == classes["train"]:
            continue
        only_there = sorted(classes[split] - classes["train"])
        only_train = sorted(classes["train"] - classes[split])
        found = [f"{_some(only_there)} only in {split}"] if only_there else []
        found += [f"{_some(only_train)} only in train"] if only_train else []
        raise UnreadableError(
            f"{where}: the classes of train and {split} differ: {'; '.join(found)}",
            "Give both the same class folders, spelled alike.",
        )


def _subfolders(root: Path) -> list[Path]:
    return [p for p in _entries(root) if p.is_dir()]


def _entries(root: Path) -> list[Path]:
    try:
        return sorted(p for p in root.iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise UnreadableError(f"{root}: {error.strerror or error}") from error


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
