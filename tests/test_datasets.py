"""Finding, labelling, choosing, loading and linting pictures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import write_picture

from edgekit import datasets
from edgekit.contract import Contract
from edgekit.datasets import Sample
from edgekit.errors import UnreadableError, UsageError


def photo(seed: int, size: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def fill(root: Path, *names: str, size: int = 24) -> Path:
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_picture(root / name, photo(seed, size))
    return root


# --- finding and labelling


def test_class_folders_of_any_depth(tmp_path: Path) -> None:
    root = fill(tmp_path, "cat/a.png", "cat/more/b.PNG", "dog/c.bmp", "dog/.hidden.png")
    (root / "dog" / "notes.txt").write_text("no picture")
    found = datasets.find(root)
    assert [s.path.name for s in found.samples] == ["a.png", "b.PNG", "c.bmp"]
    assert [s.class_name for s in found.samples] == ["cat", "cat", "dog"]
    assert found.labelled_by == "2 class folders"
    assert found.class_names == ("cat", "dog")


def test_split_folders_are_no_classes(tmp_path: Path) -> None:
    found = datasets.find(fill(tmp_path, "train/cat/a.png", "val/dog/b.png"))
    assert found.class_names == ("cat", "dog")


def test_leading_indices_are_labels(tmp_path: Path) -> None:
    found = datasets.find(fill(tmp_path, "007_cock.png", "012-house_finch.png"))
    assert [s.index for s in found.samples] == [7, 12]
    assert found.indices(Contract(8, 8), 20) == [7, 12]


def test_dates_and_counters_are_no_labels(tmp_path: Path) -> None:
    for name in ("20240131_photo.png", "12_34.png", "holiday.png"):
        found = datasets.find(fill(tmp_path / name, name))
        assert found.labelled_by is None
        assert found.indices(Contract(8, 8), 20) is None


def test_one_picture_and_an_empty_folder(tmp_path: Path) -> None:
    fill(tmp_path, "a.png")
    assert datasets.find(tmp_path / "a.png").samples == (Sample(tmp_path / "a.png"),)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableError, match="no picture"):
        datasets.find(tmp_path / "empty")
    with pytest.raises(UnreadableError, match="no such folder"):
        datasets.find(tmp_path / "missing")


def test_real_folders(shared_data: Path) -> None:
    ants = datasets.find(shared_data / "ants_bees" / "val")
    assert len(ants.samples) == 153
    assert ants.class_names == ("ants", "bees")
    imagenet = datasets.find(shared_data / "imagenet_sample")
    assert len(imagenet.samples) == 300
    assert {s.path.name: s.index for s in imagenet.samples}["007_cock.jpg"] == 7


# --- class indices


def test_names_are_looked_up_in_the_models_labels(tmp_path: Path) -> None:
    found = datasets.find(fill(tmp_path, "cat/a.png", "dog/b.png"))
    assert found.indices(Contract(8, 8, labels=("dog", "bird", "cat")), 3) == [2, 0]
    assert found.indices(Contract(8, 8), 2) == [0, 1]


def test_a_repeated_label_means_its_first_place(tmp_path: Path) -> None:
    found = datasets.find(fill(tmp_path, "cat/a.png", "dog/b.png"))
    assert found.indices(Contract(8, 8, labels=("cat", "dog", "cat")), 3) == [0, 1]


def test_classes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folders = datasets.find(fill(tmp_path / "f", "cat/a.png", "dog/b.png"))
    with pytest.raises(UsageError, match="2 classes, but the model has 3"):
        folders.indices(Contract(8, 8), 3)
    with pytest.raises(UsageError, match="doesn't know: dog"):
        folders.indices(Contract(8, 8, labels=("cat", "bird")), 2)
    numbers = datasets.find(fill(tmp_path / "n", "7_a.png"))
    with pytest.raises(UsageError, match="class index 7"):
        numbers.indices(Contract(8, 8), 7)


# --- CSV


def test_csv_of_names_with_a_header(tmp_path: Path) -> None:
    root = fill(tmp_path / "photos", "b.png", "deep/a.png")
    table = tmp_path / "labels.csv"
    table.write_bytes("\ufeffpath,label\r\ndeep/a.png, cat\r\n\r\nb.png,dog\r\n".encode())
    found = datasets.find(root, table)
    assert [(s.path.name, s.class_name) for s in found.samples] == [
        ("b.png", "dog"),
        ("a.png", "cat"),
    ]
    assert found.labelled_by == "the labels of labels.csv"


def test_csv_of_numbers_relative_to_itself(tmp_path: Path) -> None:
    fill(tmp_path / "photos", "a.png")
    table = tmp_path / "photos" / "labels.csv"
    table.write_text("a.png,3\n")
    found = datasets.find(tmp_path, table)
    assert [s.index for s in found.samples] == [3]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a.png\n", "row 1: expected a path and a label"),
        (b"a.png,1\nmissing.png,2\n", "row 2: no file missing.png"),
        (b"missing.png,2\n", "row 1: no file missing.png"),
        (b"path,label\n", "no picture is listed"),
        (b"", "no picture is listed"),
        (b"a.png,1\nb.png,cat\n", "some labels are numbers"),
        (b"a.png,caf\xe9\n", "can't be read as a CSV"),
    ],
)
def test_csv_errors_name_the_row(tmp_path: Path, content: bytes, reason: str) -> None:
    fill(tmp_path, "a.png", "b.png")
    table = tmp_path / "labels.csv"
    table.write_bytes(content)
    with pytest.raises(UnreadableError, match=reason) as caught:
        datasets.find(tmp_path, table)
    assert "labels.csv" in caught.value.message


def test_a_missing_csv_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"none\.csv"):
        datasets.find(tmp_path, tmp_path / "none.csv")


# --- choosing


def classes_of(sizes: dict[str, int]) -> list[Sample]:
    return [Sample(Path(f"{c}/{i:04d}.png"), c) for c, n in sizes.items() for i in range(n)]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 30, 99, 103])
def test_every_class_has_its_turn_first(count: int) -> None:
    sizes = {"a": 100, "b": 1, "c": 2}
    chosen = datasets.select(classes_of(sizes), count)
    assert len(chosen) == count
    got = Counter(str(s.class_name) for s in chosen)
    for one in sizes:
        for other in sizes:
            # Nobody gets a second turn while another still waits for an earlier one.
            if got[one] < sizes[one]:
                assert got[other] <= got[one] + 1


def test_the_choice_is_even_and_always_the_same() -> None:
    samples = classes_of({"a": 100, "b": 100})
    chosen = datasets.select(samples, 20)
    assert chosen == datasets.select(samples, 20)
    places = [int(s.path.stem) for s in chosen if s.class_name == "a"]
    assert places == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]
    assert chosen == sorted(chosen, key=lambda s: s.path)


def test_fewer_samples_than_classes_are_spread_over_the_classes() -> None:
    samples = [Sample(Path(f"{i:03d}_x.png"), None, i) for i in range(300)]
    chosen = [s.index for s in datasets.select(samples, 3)]
    assert len(chosen) == len(set(chosen)) == 3


def test_a_small_set_is_taken_whole() -> None:
    samples = classes_of({"a": 3})
    assert datasets.select(samples, 10) == samples


# --- loading


def test_loading_keeps_order_and_lists_the_broken(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "b.png", "d.png")
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes()[:100])
    steps: list[tuple[int, int]] = []
    loaded = datasets.load(
        datasets.find(tmp_path).samples, Contract(24, 24), lambda *step: steps.append(step)
    )
    assert [s.path.name for s in loaded.samples] == ["a.png", "b.png", "d.png"]
    assert [path.name for path, _ in loaded.broken] == ["c.png"]
    assert "cut off" in loaded.broken[0][1]
    for picture, seed in zip(loaded.pictures, range(3), strict=True):
        assert np.array_equal(picture, photo(seed))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


# --- linting


def loaded_from(root: Path, contract: Contract) -> datasets.Loaded:
    return datasets.load(datasets.find(root).samples, contract)


def test_a_good_set_has_no_warning(tmp_path: Path) -> None:
    names = [f"{c}/{i}.png" for c in ("cat", "dog") for i in range(50)]
    loaded = loaded_from(fill(tmp_path, *names), Contract(24, 24))
    assert datasets.lint(loaded, Contract(24, 24), 2) == []


def test_lint_names_what_is_wrong(tmp_path: Path) -> None:
    fill(tmp_path, "cat/a.png", "cat/b.png", "dog/c.png")
    (tmp_path / "cat" / "copy.png").write_bytes((tmp_path / "cat" / "a.png").read_bytes())
    write_picture(tmp_path / "dog" / "grey.png", np.full((24, 24, 3), 128, np.uint8))
    write_picture(tmp_path / "dog" / "tiny.png", photo(9, 8))
    (tmp_path / "dog" / "broken.jpg").write_bytes(b"")
    contract = Contract(24, 24)
    warnings = datasets.lint(loaded_from(tmp_path, contract), contract, 3)
    expected = (
        "broken.jpg (the file is empty)",
        "Only 6 picture(s)",
        "1 picture(s) are exact copies",
        "single colour (grey.png)",
        "1 picture(s) are less than half",
        "1 of the model's 3 classes have no picture",
    )
    assert len(warnings) == len(expected)
    for warning, part in zip(warnings, expected, strict=True):
        assert part in warning


def test_csv_with_more_columns_reads_as_before(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "b.png")
    table = tmp_path / "labels.csv"
    table.write_text("file,label,anything\na.png,cat,later\nb.png,dog,12\n")
    found = datasets.find(tmp_path, table)
    assert [s.class_name for s in found.samples] == ["cat", "dog"]
