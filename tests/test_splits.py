"""A folder of photos as a checked training set: layouts, splits, refusals and warnings."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import write_picture

from edgekit.datasets import Example, Splits, open_splits
from edgekit.errors import EdgekitError, UnreadableError, UsageError


def fill(root: Path, counts: dict[str, int], first: int = 0) -> Path:
    """Writes `counts[folder]` different pictures into each folder; another `first`, other ones."""
    seed = first
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
            write_picture(root / folder / f"{i:03}.png", pixels)
            seed += 1
    return root


def names(examples: tuple[Example, ...], root: Path) -> list[str]:
    return [e.path.relative_to(root).as_posix() for e in examples]


def digests(examples: tuple[Example, ...]) -> set[str]:
    return {e.digest for e in examples}


# --- layouts


def test_class_folders_are_split_by_class(tmp_path: Path) -> None:
    root = fill(tmp_path / "photos", {"cat": 40, "Dog": 10, "ant": 21})
    steps: list[tuple[int, int]] = []
    splits = open_splits(root, val_share=0.25, progress=lambda *step: steps.append(step))
    assert splits.classes == ("Dog", "ant", "cat")  # by code point, as Keras sorts folders
    assert splits.counts() == {"Dog": (7, 3, 0), "ant": (16, 5, 0), "cat": (30, 10, 0)}
    assert splits.source == "a stratified split of photos/: 25 % to val, seed 0"
    assert splits.test == () and splits.broken == ()
    assert steps == [(n, 71) for n in range(1, 72)]
    for split in (splits.train, splits.val):
        assert [e.path for e in split] == sorted(e.path for e in split)
        assert all(e.path.parent.name == splits.classes[e.label] for e in split)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_split_folders_are_taken_as_they_are(tmp_path: Path, name: str) -> None:
    fill(tmp_path, {"train/a": 3, "train/b/deep": 2, f"{name}/a": 1, f"{name}/b": 2, "test/a": 1,
                    "test/b": 1})  # fmt: skip
    splits = open_splits(tmp_path)
    assert splits.counts() == {"a": (3, 1, 1), "b": (2, 2, 1)}
    assert splits.source == f"folders train/, {name}/ and test/"
    assert names(splits.train, tmp_path)[-1] == "train/b/deep/001.png"


def test_val_is_split_off_train_and_test_is_left_alone(tmp_path: Path) -> None:
    fill(tmp_path, {"train/a": 10, "train/b": 10, "test/a": 4, "test/b": 5})
    splits = open_splits(tmp_path, seed=3)
    assert splits.counts() == {"a": (8, 2, 4), "b": (8, 2, 5)}
    assert splits.source == "a stratified split of train/: 20 % to val, seed 3"
    only_train = open_splits(fill(tmp_path / "other", {"train/a": 5, "train/b": 5}))
    assert only_train.counts() == {"a": (4, 1, 0), "b": (4, 1, 0)}


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    splits = open_splits(fill(tmp_path, {"train": 5, "car": 5, "bus": 5}))
    assert splits.classes == ("bus", "car", "train")


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    fill(tmp_path, {"train/a": 20, "train/b": 20, "val/a": 2, "val/b": 2, "notes": 1}, first=1)
    write_picture(tmp_path / "train" / "loose.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "train" / ".cache").mkdir()
    warnings = open_splits(tmp_path).warnings
    assert len(warnings) == 2
    assert "1 picture(s) outside of the class folders" in warnings[0]
    assert "notes" in warnings[1] and "left out" in warnings[1]


def test_a_table_with_a_split_column(tmp_path: Path) -> None:
    root = fill(tmp_path / "photos", {"x": 6})
    rows = ["000.png,cat,train", "001.png,dog,Train", "002.png,cat,valid", "003.png,dog,val",
            "004.png,cat,test", "005.png,dog,test"]  # fmt: skip
    for header in ([], ["file,label,split"]):
        table = root / "x" / "labels.csv"
        table.write_text("\n".join(header + rows) + "\n")
        splits = open_splits(root, labels_csv=table)
        assert splits.counts() == {"cat": (1, 1, 1), "dog": (1, 1, 1)}
        assert splits.source == "the column split of labels.csv"


def test_a_table_without_one_is_split(tmp_path: Path) -> None:
    root = fill(tmp_path, {"x": 12})
    table = tmp_path / "labels.csv"
    lines = [f"x/{i:03}.png,{'cat' if i % 2 else 'dog'},{i}" for i in range(12)]
    table.write_text("path,label,width\n" + "\n".join(lines) + "\n")
    splits = open_splits(root, labels_csv=table, seed=7)
    assert splits.counts() == {"cat": (5, 1, 0), "dog": (5, 1, 0)}
    assert splits.source == "a stratified split of labels.csv: 20 % to val, seed 7"


def test_numbers_in_a_table_sort_by_value(tmp_path: Path) -> None:
    root = fill(tmp_path, {"x": 24})
    table = tmp_path / "labels.csv"
    table.write_text("".join(f"x/{i:03}.png,{i % 12:02}\n" for i in range(24)))
    splits = open_splits(root, labels_csv=table)
    assert splits.classes == tuple(map(str, range(12)))
    assert not any("don't count" in warning for warning in splits.warnings)
    table.write_text("".join(f"x/{i:03}.png,{1 + i % 12}\n" for i in range(24)))
    splits = open_splits(root, labels_csv=table)
    assert splits.classes[0] == "1"
    assert any("output 0 of the model stands for label 1" in w for w in splits.warnings)


def test_real_photos(shared_data: Path) -> None:
    splits = open_splits(shared_data / "ants_bees")
    assert splits.counts() == {"ants": (123, 70, 0), "bees": (121, 83, 0)}
    assert splits.source == "folders train/ and val/"
    assert (splits.broken, splits.warnings) == ((), ())


# --- the split


def test_the_split_is_of_the_content_alone(tmp_path: Path) -> None:
    root = fill(tmp_path / "one", {"a": 30, "b": 30})
    splits = open_splits(root)
    moved = tmp_path / "two"
    shutil.copytree(root, moved)
    assert open_splits(moved).digest == splits.digest
    for number, file in enumerate(sorted(moved.rglob("*.png"), reverse=True)):
        file.rename(file.with_name(f"renamed_{number}.png"))
    renamed = open_splits(moved)
    assert digests(renamed.val) == digests(splits.val)
    assert digests(open_splits(root, seed=1).val) != digests(splits.val)
    assert open_splits(root, seed=1).digest != splits.digest


def test_added_pictures_move_few_others(tmp_path: Path) -> None:
    root = fill(tmp_path, {"a": 100, "b": 100})
    before = open_splits(root)
    fill(root / "a", {"more": 10}, first=1000)
    after = open_splits(root)
    assert after.counts()["a"] == (88, 22, 0)
    # Two more go to val; each newcomer that does can push one out.
    assert len(digests(before.val) - digests(after.val)) <= 8
    in_b = {e.digest for e in before.val if e.label == 1}
    assert in_b == {e.digest for e in after.val if e.label == 1}


@pytest.mark.parametrize("seed", range(5))
def test_copies_go_to_the_same_side_and_every_class_to_both(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    root = fill(tmp_path, {name: rng.randint(2, 9) for name in "abcd"}, first=100 * seed)
    for file in sorted(root.rglob("*.png")):
        for copy in range(rng.choice((0, 0, 1, 3))):
            shutil.copy(file, file.with_name(f"{file.stem}_copy{copy}.png"))
    for share in (0.01, 0.3, 0.99):
        splits = open_splits(root, val_share=share, seed=seed)
        assert not digests(splits.train) & digests(splits.val)
        assert all(train and val for train, val, _ in splits.counts().values())
    copies = [w for w in splits.warnings if "exact copies" in w]
    everything = len(splits.train) + len(splits.val)
    assert bool(copies) == (len(digests(splits.train) | digests(splits.val)) < everything)


# --- broken files


def test_broken_files_are_listed_and_left_out(tmp_path: Path) -> None:
    root = fill(tmp_path, {"a": 8, "b": 8})
    cut, empty, text = (root / "a" / f"00{i}.png" for i in range(3))
    cut.write_bytes(cut.read_bytes()[:60])
    empty.write_bytes(b"")
    text.write_text("no picture")
    splits = open_splits(root)
    assert [path for path, _ in splits.broken] == [cut, empty, text]
    reasons = [reason for _, reason in splits.broken]
    assert "cut off" in reasons[0]
    assert reasons[1] == "the file is empty"
    assert "OpenCV" in reasons[2]
    assert sum(splits.counts()["a"]) == 5


# --- what is refused


def refusal(root: Path, kind: type[EdgekitError] = UnreadableError, **options: object) -> str:
    with pytest.raises(kind) as caught:
        open_splits(root, **options)  # type: ignore[arg-type]
    assert caught.value.hint
    return caught.value.message


def test_a_missing_root_and_a_file(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "none")
    file = tmp_path / "a.zip"
    file.write_bytes(b"PK")
    assert "is a file" in refusal(file, UsageError)
    for share in (0, 1, -0.5, float("nan")):
        assert "val share" in refusal(tmp_path, UsageError, val_share=share)


def test_no_class_folders_and_one_class(tmp_path: Path) -> None:
    write_picture(tmp_path / "flat.png", np.zeros((8, 8, 3), np.uint8))
    assert "1 picture(s), but no class folders" in refusal(tmp_path)
    assert "only one class (cat)" in refusal(fill(tmp_path / "x", {"cat": 3}))
    assert "only one class (cat)" in refusal(fill(tmp_path / "y", {"train/cat": 3, "val/cat": 2}))


def test_an_empty_class(tmp_path: Path) -> None:
    root = fill(tmp_path, {"cat": 3, "dog": 3, "empty": 0, "text": 0})
    (root / "text" / "notes.txt").write_text("no picture")
    message = refusal(root)
    assert "empty, text" in message and "without a picture" in message


def test_a_class_without_a_readable_picture(tmp_path: Path) -> None:
    root = fill(tmp_path, {"train/cat": 3, "train/dog": 3, "val/cat": 1, "val/dog": 2})
    for file in (root / "val" / "dog").iterdir():
        file.write_bytes(b"")
    assert "none of the 2 picture(s) of class dog in val" in refusal(root)


def test_a_single_picture_of_a_class(tmp_path: Path) -> None:
    root = fill(tmp_path, {"cat": 5, "dog": 1})
    assert "class dog has a single picture" in refusal(root)
    shutil.copy(root / "dog" / "000.png", root / "dog" / "copy.png")
    assert "class dog has a single picture" in refusal(root)


def test_one_picture_with_two_labels(tmp_path: Path) -> None:
    root = fill(tmp_path, {"cat": 5, "dog": 5})
    shutil.copy(root / "cat" / "002.png", root / "dog" / "stray.png")
    message = refusal(root)
    assert "1 picture(s) have two labels" in message
    assert "cat/002.png (cat) is dog/stray.png (dog)" in message


@pytest.mark.parametrize(("one", "other"), [("train", "val"), ("train", "test"), ("val", "test")])
def test_a_leak(tmp_path: Path, one: str, other: str) -> None:
    counts = {f"{s}/{c}": 8 for s in ("train", "val", "test") for c in ("cat", "dog")}
    root = fill(tmp_path, counts)
    for i in range(7):
        shutil.copy(root / one / "cat" / f"00{i}.png", root / other / "cat" / f"leak{i}.png")
    message = refusal(root)
    assert f"7 picture(s) of {other} are in {one} too" in message
    assert f"{one}/cat/004.png is {other}/cat/leak4.png, and 2 more" in message
    assert "leak5" not in message


def test_classes_that_differ(tmp_path: Path) -> None:
    counts = {"train/cat": 2, "train/dog": 2, "val/cat": 2, "val/Dog": 2}
    message = refusal(fill(tmp_path, counts))
    assert "train and val differ: Dog only in val; dog only in train" in message


def test_split_folders_that_can_not_be_meant(tmp_path: Path) -> None:
    two = fill(tmp_path / "two", {"train/a": 1, "val/a": 1, "valid/a": 1})
    assert "val/ and valid/" in refusal(two, UsageError)
    headless = fill(tmp_path / "headless", {"val/a": 1, "test/a": 1})
    assert "but no train/" in refusal(headless)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("x/000.png,cat,train\nx/001.png,dog,later\n", "row 2: the split 'later'"),
        ("p,l,split\nx/000.png,cat,val\nx/001.png,dog,val\n", "no row of the split train"),
        ("x/000.png,cat\nx/001.png,\n", "row 2: the label is empty"),
        ("x/000.png,cat\nx/001.png,cat\n", "only one class (cat)"),
        ("x/000.png,cat\nx/000.png,dog\n", "have two labels"),
    ],
)
def test_tables_that_can_not_be_used(tmp_path: Path, content: str, part: str) -> None:
    root = fill(tmp_path, {"x": 2})
    table = root / "labels.csv"
    table.write_text(content)
    message = refusal(root, labels_csv=table)
    assert part in message and "labels.csv" in message


# --- what is warned about


def warnings_of(splits: Splits) -> str:
    return "\n".join(splits.warnings)


def test_imbalance_and_few_pictures(tmp_path: Path) -> None:
    root = fill(tmp_path, {"train/cat": 61, "train/dog": 20, "val/cat": 1, "val/dog": 1})
    text = warnings_of(open_splits(root))
    assert "61 pictures of cat" in text and "20 of dog (3.0 times)" in text
    assert "--balance" in text
    assert "Fewer than" not in text
    (root / "train" / "dog" / "000.png").unlink()
    text = warnings_of(open_splits(root))
    assert "Fewer than 20 pictures to train on of dog (19)." in text


def test_copies_within_a_split_are_counted(tmp_path: Path) -> None:
    root = fill(tmp_path, {"train/a": 20, "train/b": 20, "val/a": 2, "val/b": 2})
    for i in range(3):
        shutil.copy(root / "train" / "a" / "000.png", root / "train" / "a" / f"copy{i}.png")
    assert open_splits(root).warnings == (
        "3 picture(s) of train are exact copies of others there: they count twice and teach "
        "nothing new. Remove the copies.",
    )
