"""From examples to batches: augmentation, the store of decoded pictures, the loader."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import write_picture

from edgekit import images
from edgekit.contract import FITS, INTERPOLATIONS, Contract
from edgekit.datasets import Example
from edgekit.errors import EdgekitError, RuntimeFailure, UnreadableError, UsageError
from edgekit.training.feeding import (
    NONE,
    Augmentation,
    Batch,
    Loader,
    PictureStore,
    augment,
    evaluation_batches,
)
from edgekit.training.feeding.prefetch import in_order
from edgekit.training.feeding.store import short_side

CONTRACT = Contract(24, 20, fit="crop", crop_fraction=0.875)
#: Everything at once.
BUSY = Augmentation(mixup=0.0, rotation=20, vertical_flip=True, randaugment=(2, 9.0), erase=0.5)


def picture(seed: int, height: int = 40, width: int = 52, noise: float = 8) -> np.ndarray:
    """Colours that change smoothly, with some noise: uint8[height, width, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = np.stack([np.sin(rng.uniform(2, 6) * (x + rng.uniform() * y)) for _ in range(3)], -1)
    return np.clip(128 + 90 * waves + rng.normal(0, noise, waves.shape), 0, 255).astype(np.uint8)


def make_examples(folder: Path, counts: tuple[int, ...]) -> tuple[Example, ...]:
    """That many pictures of each class, of several sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    examples = []
    for label, count in enumerate(counts):
        for i in range(count):
            path = folder / f"{label}_{i:03}.png"
            seed = 1000 * label + i
            write_picture(path, picture(seed, 30 + seed % 7 * 10, 44))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            examples.append(Example(path, label, digest))
    return tuple(examples)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Example, ...]:
    """23, 9 and 5 pictures of three classes."""
    return make_examples(tmp_path_factory.mktemp("photos"), (23, 9, 5))


def same(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(getattr(a, field.name), getattr(b, field.name))
        for a, b in zip(one, other, strict=True)
        for field in dataclasses.fields(Batch)
    )


# --- augmentation


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_none_is_the_evaluation_picture(fit: str, interpolation: str) -> None:
    contract = Contract(24, 20, fit=fit, crop_fraction=0.8, interpolation=interpolation)
    for height, width in ((24, 20), (90, 31), (13, 200), (7, 5)):
        shown = picture(1, height, width)
        found = augment(shown, np.random.default_rng(0), NONE, contract)
        assert np.array_equal(found, images.fit(shown, contract))


@pytest.mark.parametrize("fit", FITS)
def test_equal_states_give_equal_bytes_and_others_do_not(fit: str) -> None:
    contract = Contract(24, 20, fit=fit)
    for height, width in ((40, 52), (300, 40), (1, 1), (3, 400)):
        shown = picture(2, height, width)
        kept = shown.copy()
        shown.flags.writeable = False
        for augmentation in (Augmentation(), BUSY):
            found = [
                augment(shown, np.random.default_rng(seed), augmentation, contract)
                for seed in (*range(12), *range(12))
            ]
            assert all(f.shape == (24, 20, 3) and f.dtype == np.uint8 for f in found)
            assert all(np.array_equal(a, b) for a, b in zip(found[:12], found[12:], strict=True))
            assert len({f.tobytes() for f in found}) > 3  # a crop of one pixel by one shows little
        assert np.array_equal(shown, kept)


def only(**changes: object) -> Augmentation:
    return dataclasses.replace(NONE, **changes)  # type: ignore[arg-type]


def drawn(augmentation: Augmentation, contract: Contract, count: int = 40) -> list[np.ndarray]:
    shown = picture(3, contract.height, contract.width)
    return [
        augment(shown, np.random.default_rng(seed), augmentation, contract).astype(int)
        for seed in range(count)
    ]


def test_flips_mirror_half_of_the_pictures() -> None:
    contract = Contract(32, 32)
    plain = picture(3, 32, 32).astype(int)
    for option, mirrored in (("flip", plain[:, ::-1]), ("vertical_flip", plain[::-1])):
        found = drawn(only(**{option: True}), contract)
        turned = sum(np.array_equal(f, mirrored) for f in found)
        assert turned + sum(np.array_equal(f, plain) for f in found) == 40
        assert 10 < turned < 30


@pytest.mark.parametrize("fit", FITS)
def test_a_turn_of_nothing_is_what_the_contract_shows(fit: str) -> None:
    """The warp, whose matrix is made of boxes, agrees with slicing and resizing."""
    contract = Contract(128, 160, fit=fit, crop_fraction=0.9)
    for height, width in ((192, 240), (240, 176), (200, 360), (800, 680)):
        shown = picture(4, height, width, noise=0)
        fitted = images.fit(shown, contract).astype(int)
        found = augment(shown, np.random.default_rng(0), only(rotation=1e-9), contract)
        inner = (found > 0) & (fitted > 0)  # the edge of the black bars is blurred here
        assert inner.mean() > 0.3
        # Boxes of whole pixels there, of fractions here.
        assert np.abs(found - fitted)[inner].mean() < 2
        assert np.abs(found[:, ::-1] - fitted)[inner].mean() > 10


def test_a_rotation_turns_around_the_centre() -> None:
    contract = Contract(33, 33)
    shown = np.zeros((33, 33, 3), np.uint8)
    shown[14:19, 19:24] = 255  # 5 pixels to the right of the centre
    angles = []
    for seed in range(60):
        found = augment(shown, np.random.default_rng(seed), only(rotation=90), contract)
        y, x = np.nonzero(found[..., 0] > 127)
        assert np.hypot(y.mean() - 16, x.mean() - 16) == pytest.approx(5, abs=0.4)
        angles.append(np.degrees(np.arctan2(y.mean() - 16, x.mean() - 16)))
    assert -92 < min(angles) < -60 and 60 < max(angles) < 92


def test_crops_keep_to_their_range() -> None:
    """A ramp along each side says where the corners of a crop came from."""
    y, x = np.mgrid[0:200, 0:240]
    shown = np.stack([x, y, x * 0], axis=-1).astype(np.uint8)
    for fit, undistorted in (("crop", 1.0), ("stretch", 240 / 200)):
        contract = Contract(64, 64, fit=fit)
        shares, ratios = [], []
        for seed in range(200):
            augmentation = only(crop_scale=(0.3, 0.5), crop_ratio=(0.8, 1.25))
            found = augment(shown, np.random.default_rng(seed), augmentation, contract)
            wide = (int(found[32, -1, 0]) - int(found[32, 0, 0])) * 64 / 63
            tall = (int(found[-1, 32, 1]) - int(found[0, 32, 1])) * 64 / 63
            shares.append(wide * tall / (200 * 240))
            ratios.append(wide / tall / undistorted)
        assert 0.28 < min(shares) < 0.32 and 0.48 < max(shares) < 0.52
        assert 0.77 < min(ratios) < 0.84 and 1.2 < max(ratios) < 1.3


def test_padding_stays_black_in_crops() -> None:
    contract = Contract(64, 64, fit="pad")
    shown = np.full((40, 80, 3), 200, np.uint8)
    black = [
        np.mean(augment(shown, np.random.default_rng(s), only(crop_scale=(0.5, 1)), contract) < 100)
        for s in range(40)
    ]
    assert 0.2 < np.mean(black) < 0.6  # half of the padded picture is bars


def test_colours_change_as_far_as_asked() -> None:
    contract = Contract(32, 32)
    plain = picture(3, 32, 32).astype(int)
    luma = np.array([0.299, 0.587, 0.114])
    unclipped = np.all((plain > 40) & (plain < 180), axis=-1)

    factors = [np.median((f / plain)[unclipped]) for f in drawn(only(brightness=0.3), contract)]
    assert 0.69 < min(factors) < 0.8 and 1.2 < max(factors) < 1.31

    for f in drawn(only(contrast=0.3), contract):
        assert (f @ luma).mean() == pytest.approx((plain @ luma).mean(), abs=4)
    spreads = [f.std() / plain.std() for f in drawn(only(contrast=0.3), contract)]
    assert 0.69 < min(spreads) < 0.8 and max(spreads) > 1.1

    for option in ("saturation", "hue"):
        found = drawn(only(**{option: 0.1}), contract)
        assert len({f.tobytes() for f in found}) > 30
        for f in found:
            assert np.abs((f @ luma) - (plain @ luma))[unclipped].max() < 3

    grey = np.repeat(plain[..., :1], 3, axis=-1).astype(np.uint8)
    turned = augment(grey, np.random.default_rng(1), only(saturation=1, hue=0.5), contract)
    assert np.abs(turned.astype(int) - grey).max() <= 1


def test_full_saturation_change_reaches_grey() -> None:
    spreads = [np.ptp(f, axis=-1).mean() for f in drawn(only(saturation=1), Contract(32, 32), 99)]
    assert min(spreads) < 2 and max(spreads) > np.ptp(picture(3, 32, 32), axis=-1).mean()


def test_erase_fills_a_rectangle_with_noise() -> None:
    contract = Contract(64, 64)
    plain = np.full((64, 64, 3), 77, np.uint8)
    changed = []
    for seed in range(60):
        found = augment(plain, np.random.default_rng(seed), only(erase=0.5), contract)
        rows, columns = np.nonzero((found != plain).any(axis=-1))
        if len(rows):
            area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
            assert len(rows) > 0.95 * area
            changed.append(area / 64**2)
    assert 15 < len(changed) < 45
    assert min(changed) > 0.01 and max(changed) < 0.42


def test_randaugment_of_no_magnitude_keeps_what_depends_on_it() -> None:
    """Only autocontrast and equalize, which have no magnitude, and borders of bits may change."""
    plain = picture(3, 32, 32).astype(int)
    found = drawn(only(randaugment=(1, 0.0)), Contract(32, 32), 100)
    untouched = sum(np.abs(f - plain).max() <= 1 for f in found)
    assert 70 <= untouched < 100
    strong = drawn(only(randaugment=(2, 10.0)), Contract(32, 32), 200)
    assert len({f.tobytes() for f in strong}) > 100


@pytest.mark.parametrize(
    "changes",
    [
        {"crop_scale": (0, 1)},
        {"crop_scale": (0.9, 0.5)},
        {"crop_scale": (0.5, 1.5)},
        {"crop_ratio": (float("nan"), 1)},
        {"rotation": 181},
        {"brightness": 1.1},
        {"hue": 0.6},
        {"saturation": -0.1},
        {"contrast": float("nan")},
        {"randaugment": (0, 9)},
        {"randaugment": (2, 11)},
        {"erase": 2},
        {"mixup": -1},
        {"cutmix": float("inf")},
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(changes))):
        only(**changes)


@pytest.mark.parametrize(
    "augmentation",
    [
        NONE,
        Augmentation(),
        BUSY,
        only(mixup=0.2),
        only(crop_scale=(0.08, 1), crop_ratio=(1, 1)),
        Augmentation(crop_scale=(1, 1), flip=False, hue=0.0, cutmix=1, mixup=0.8),
    ],
)
def test_the_text_reads_back(augmentation: Augmentation) -> None:
    assert Augmentation.parse(str(augmentation)) == augmentation


def test_text_by_hand() -> None:
    assert Augmentation.parse("") == Augmentation.parse("default") == Augmentation()
    assert Augmentation.parse("none") == NONE
    found = Augmentation.parse(" none, flip=on,crop_scale=0.5:1 ,randaugment=2:9")
    assert found == only(flip=True, crop_scale=(0.5, 1), randaugment=(2, 9))
    assert str(Augmentation.parse("rotation=15")) == "default,rotation=15.0"


@pytest.mark.parametrize(
    "text", ["zoom=1", "flip", "flip=yes", "rotation=x", "crop_scale=1", "none,none", "hue=9"]
)
def test_text_that_can_not_be_read(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Augmentation.parse(text)
    assert text.split("=")[0].split(",")[0] in caught.value.message


# --- the store


def test_a_store_changes_no_picture(examples: tuple[Example, ...], tmp_path: Path) -> None:
    stores = [
        PictureStore(None, examples, CONTRACT),
        PictureStore(tmp_path / "s", examples, CONTRACT),
        PictureStore(tmp_path / "s", examples, CONTRACT),  # what the one before has written
        PictureStore(tmp_path / "full", examples, CONTRACT, limit=10_000),
    ]
    for index, example in enumerate(examples):
        found = [store.picture(index) for store in stores]
        assert all(np.array_equal(f, found[0]) for f in found)
        for store in stores:
            assert np.array_equal(store.fitted(index), images.load(example.path, CONTRACT))
    written = sum(f.stat().st_size for f in (tmp_path / "full").rglob("*") if f.is_file())
    assert 5_000 < written <= 10_000


def test_large_pictures_are_kept_smaller(tmp_path: Path) -> None:
    short = short_side(CONTRACT)
    assert short == round(24 * 1.15 / 0.875)
    for height, width in ((short * 3, short * 5), (short * 4, short * 2), (short + 5, 200)):
        path = tmp_path / f"{height}x{width}.png"
        write_picture(path, picture(0, height, width))
        example = Example(path, 0, hashlib.sha256(path.read_bytes()).hexdigest())
        kept = PictureStore(tmp_path / "s", [example], CONTRACT).picture(0)
        if min(height, width) >= 1.5 * short:
            assert min(kept.shape[:2]) == short
            assert kept.shape[1] / kept.shape[0] == pytest.approx(width / height, rel=0.03)
        else:
            assert kept.shape == (height, width, 3)


def test_contracts_share_what_they_can(examples: tuple[Example, ...], tmp_path: Path) -> None:
    PictureStore(tmp_path, examples, CONTRACT).fitted(0)
    labelled = dataclasses.replace(CONTRACT, labels=("a", "b", "c"), mean=(127.0,) * 3)
    PictureStore(tmp_path, examples, labelled).fitted(0)
    assert len([f for f in tmp_path.rglob("*") if f.is_file()]) == 1
    stretched = dataclasses.replace(CONTRACT, fit="stretch")
    found = PictureStore(tmp_path, examples, stretched).fitted(0)
    assert np.array_equal(found, images.load(examples[0].path, stretched))


def test_damaged_files_are_made_anew(examples: tuple[Example, ...], tmp_path: Path) -> None:
    PictureStore(tmp_path, examples, CONTRACT).fitted(0)
    file = next(f for f in tmp_path.rglob("*") if f.is_file())
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    for damaged in (b"", whole[:10], whole[:-1], whole + b"x", bytes(len(whole)), bytes(flipped)):
        file.write_bytes(damaged)
        found = PictureStore(tmp_path, examples, CONTRACT).fitted(0)
        assert np.array_equal(found, images.load(examples[0].path, CONTRACT))
        assert file.read_bytes() == whole


def test_a_picture_that_changed_is_refused(tmp_path: Path) -> None:
    (example,) = make_examples(tmp_path / "photos", (1,))
    write_picture(example.path, picture(99))
    for folder in (None, tmp_path / "s"):
        with pytest.raises(UnreadableError, match=r"0_000\.png: was changed"):
            PictureStore(folder, [example], CONTRACT).picture(0)
    example.path.unlink()
    with pytest.raises(UnreadableError, match=r"0_000\.png"):
        PictureStore(None, [example], CONTRACT).fitted(0)


def test_a_folder_that_can_not_be_used(examples: tuple[Example, ...], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeFailure, match="file"):
        PictureStore(tmp_path / "file", examples, CONTRACT)


def test_what_killed_processes_left_is_swept_out(
    examples: tuple[Example, ...], tmp_path: Path
) -> None:
    old, fresh = tmp_path / ".a.1.part", tmp_path / ".b.2.part"
    for file in (old, fresh):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    PictureStore(tmp_path, examples, CONTRACT)
    assert fresh.exists() and not old.exists()


_FILL = """
import sys
from pathlib import Path
from edgekit.contract import Contract
from edgekit.datasets import open_splits
from edgekit.training.feeding import PictureStore
splits = open_splits(Path(sys.argv[1]))
store = PictureStore(Path(sys.argv[2]), splits.train, Contract(96, 96))
print("ready", flush=True)
for index in range(len(splits.train)):
    store.picture(index)
    store.fitted(index)
print("done", flush=True)
"""


@pytest.mark.slow
def test_a_killed_process_leaves_a_usable_store(tmp_path: Path) -> None:
    for label, name in enumerate(("a", "b")):
        for i in range(60):
            (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
            write_picture(tmp_path / "photos" / name / f"{i}.png", picture(100 * label + i, 90, 99))
    from edgekit.datasets import open_splits

    contract = Contract(96, 96)
    train = open_splits(tmp_path / "photos").train
    folder = tmp_path / "store"
    arguments = [sys.executable, "-c", _FILL, str(tmp_path / "photos"), str(folder)]
    rng = random.Random(5)
    for _ in range(3):
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0, 0.06))
            process.send_signal(signal.SIGKILL)
        whole = [f for f in folder.rglob("*") if f.is_file() and f.suffix != ".part"]
        store = PictureStore(folder, train, contract)
        for index in rng.sample(range(len(train)), 5):
            assert np.array_equal(store.fitted(index), images.load(train[index].path, contract))
        assert all(f.stat().st_size > 20 for f in whole)
    # Two at once, on what the killed ones left.
    both = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0] for process in both] == ["ready\ndone\n"] * 2
    store, plain = PictureStore(folder, train, contract), PictureStore(None, train, contract)
    for index in range(len(train)):
        assert np.array_equal(store.fitted(index), plain.fitted(index))
        assert np.array_equal(store.picture(index), plain.picture(index))


# --- the loader


def loader(examples: tuple[Example, ...], **changes: object) -> Loader:
    options = {
        "classes": 3,
        "contract": CONTRACT,
        "store": None,
        "augmentation": BUSY,
        "batch": 8,
        "seed": 1,
        **changes,
    }
    return Loader(examples, **options)  # type: ignore[arg-type]


MIXING = dataclasses.replace(BUSY, mixup=0.4, cutmix=1.0)


def test_an_epoch_shows_every_picture_once(examples: tuple[Example, ...]) -> None:
    feeding = loader(examples)
    assert feeding.steps == 5
    for number in range(2):
        batches = list(feeding.epoch(number))
        assert [len(b.indices) for b in batches] == [8, 8, 8, 8, 5]
        indices = np.concatenate([b.indices for b in batches])
        assert sorted(indices) == list(range(37)) and list(indices) != sorted(indices)
        for b in batches:
            assert b.pictures.shape == (len(b.indices), 24, 20, 3)
            assert (b.pictures.dtype, b.indices.dtype) == (np.uint8, np.int64)
            expected = np.eye(3, dtype=np.float32)[[examples[i].label for i in b.indices]]
            assert b.targets.dtype == np.float32 and np.array_equal(b.targets, expected)
    short = loader(examples, drop_last=True)
    assert short.steps == 4
    assert [len(b.indices) for b in short.epoch(0)] == [8] * 4


@pytest.mark.parametrize("augmentation", [NONE, BUSY, MIXING])
def test_epochs_are_the_same_whatever_the_workers(
    examples: tuple[Example, ...], tmp_path: Path, augmentation: Augmentation
) -> None:
    reference = list(loader(examples, augmentation=augmentation, workers=1).epoch(3))
    for workers in (2, 5):
        store = PictureStore(tmp_path, examples, CONTRACT)
        again = loader(examples, augmentation=augmentation, workers=workers, store=store)
        assert same(list(again.epoch(3)), reference)
        assert not same(list(again.epoch(4)), reference)
    assert not same(list(loader(examples, augmentation=augmentation, seed=2).epoch(3)), reference)


@pytest.mark.parametrize("options", [{}, {"balance": True}, {"drop_last": True}])
def test_an_epoch_goes_on_from_any_batch(
    examples: tuple[Example, ...], options: dict[str, object]
) -> None:
    feeding = loader(examples, augmentation=MIXING, **options)
    whole = list(feeding.epoch(2))
    for start in range(feeding.steps + 1):
        assert same(list(feeding.epoch(2, start)), whole[start:])


@pytest.mark.parametrize("augmentation", [BUSY, MIXING])
@pytest.mark.parametrize(("batch", "count"), [(8, 2), (8, 4), (12, 4), (6, 2), (8, 8), (7, 7)])
def test_shards_unite_to_the_whole_batch(
    examples: tuple[Example, ...], augmentation: Augmentation, batch: int, count: int
) -> None:
    feeding = loader(examples, augmentation=augmentation, batch=batch, drop_last=True)
    whole = list(feeding.epoch(1))
    shares = [list(feeding.epoch(1, 0, (index, count))) for index in range(count)]
    united = [
        Batch(
            *(np.concatenate([getattr(p, f.name) for p in parts]) for f in dataclasses.fields(p0))
        )
        for parts in zip(*shares, strict=True)
        for p0 in parts[:1]
    ]
    assert same(united, whole)
    assert all(len(b.indices) == batch // count for share in shares for b in share)


def test_shares_that_are_not_equal_are_refused(examples: tuple[Example, ...]) -> None:
    with pytest.raises(UsageError, match="8 can't be shared by 3"):
        loader(examples).epoch(0, 0, (0, 3))
    with pytest.raises(UsageError, match="5 can't be shared by 2"):
        loader(examples).epoch(0, 0, (0, 2))
    with pytest.raises(UsageError, match="shard 2 of 2"):
        loader(examples, drop_last=True).epoch(0, 0, (2, 2))


def test_without_augmentation_these_are_the_evaluation_pictures(
    examples: tuple[Example, ...], tmp_path: Path
) -> None:
    store = PictureStore(tmp_path, examples, CONTRACT)
    for b in loader(examples, augmentation=NONE, store=store).epoch(0):
        for row, index in enumerate(b.indices):
            assert np.array_equal(b.pictures[row], images.load(examples[index].path, CONTRACT))


def test_balance_draws_each_class_equally_often(examples: tuple[Example, ...]) -> None:
    feeding = loader(examples, balance=True, augmentation=NONE)
    for number in range(5):
        indices = np.concatenate([b.indices for b in feeding.epoch(number)])
        assert len(indices) == 37
        classes = Counter(examples[i].label for i in indices)
        assert sorted(classes.values()) == [12, 12, 13]
        for label, size in enumerate((23, 9, 5)):
            times = Counter(int(i) for i in indices if examples[i].label == label)
            found = [times[i] for i, e in enumerate(examples) if e.label == label]
            assert max(found) - min(found) <= 1, (label, size, found)


def test_a_picture_drawn_twice_is_varied_twice(examples: tuple[Example, ...]) -> None:
    few = examples[:1] + examples[-4:]
    (b,) = loader(few, weights=[1, 0, 0, 0, 0], batch=5).epoch(0)
    assert list(b.indices) == [0] * 5
    assert len({p.tobytes() for p in b.pictures}) == 5


def test_weights_are_kept_to(examples: tuple[Example, ...]) -> None:
    weights = [float(i % 3) for i in range(37)]
    expected = np.array(weights) * 37 / sum(weights)
    total = np.zeros(37)
    for number in range(30):
        for b in loader(examples, weights=weights, augmentation=NONE).epoch(number):
            np.add.at(total, b.indices, 1)
    assert np.abs(total / 30 - expected).max() < 0.35
    assert not total[expected == 0].any()


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_mixed_targets_are_what_was_mixed(tmp_path: Path, mixup: float, cutmix: float) -> None:
    """One class is black, the other white: the mean grey of a picture is its target."""
    pair = []
    for label, grey in enumerate((0, 255)):
        for i in range(8):
            path = tmp_path / f"{label}{i}.png"
            pixels = np.full((24, 20, 3), grey, np.uint8)
            pixels[0, 0] = i  # no two files alike
            write_picture(path, pixels)
            pair.append(Example(path, label, hashlib.sha256(path.read_bytes()).hexdigest()))
    stretch = Contract(24, 20)
    feeding = loader(
        tuple(pair), classes=2, contract=stretch, augmentation=only(mixup=mixup, cutmix=cutmix)
    )
    mixed = 0
    for number in range(10):
        for b in feeding.epoch(number):
            assert b.targets.sum(axis=1) == pytest.approx(1)
            white = b.pictures.mean(axis=(1, 2, 3)) / 255
            assert white == pytest.approx(b.targets[:, 1], abs=0.01)
            inside = (b.targets[:, 1] > 0.05) & (b.targets[:, 1] < 0.95)
            mixed += int(inside.sum())
    assert mixed > 30


def test_the_odd_one_out_is_not_mixed(examples: tuple[Example, ...]) -> None:
    mixing = only(mixup=1.0)
    last = list(loader(examples, augmentation=mixing).epoch(0))[-1]
    plain = images.load(examples[last.indices[4]].path, CONTRACT)
    assert np.array_equal(last.pictures[4], plain)
    assert last.targets[4].max() == 1


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"batch": 0}, "a batch of 0"),
        ({"seed": -1}, "seed -1"),
        ({"classes": 2}, "labels up to 2"),
        ({"weights": [1.0]}, "1 weights for 37"),
        ({"weights": [-1.0] * 37}, "none negative"),
        ({"weights": [0.0] * 37}, "not all zero"),
        ({"weights": [1.0] * 37, "balance": True}, "exclude"),
        ({"batch": 38, "drop_last": True}, "don't fill a batch"),
    ],
)
def test_values_that_can_not_be(
    examples: tuple[Example, ...], changes: dict[str, object], part: str
) -> None:
    with pytest.raises(UsageError, match=part):
        loader(examples, **changes)


def test_a_store_of_other_pictures_is_a_mistake(
    examples: tuple[Example, ...], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="other examples"):
        loader(examples, store=PictureStore(tmp_path, examples[1:], CONTRACT))
    with pytest.raises(ValueError, match="another contract"):
        loader(examples, store=PictureStore(tmp_path, examples, Contract(8, 8)))


# --- evaluation


def test_evaluation_is_exact_and_in_order(examples: tuple[Example, ...], tmp_path: Path) -> None:
    for store in (None, PictureStore(tmp_path, examples, CONTRACT)):
        batches = list(evaluation_batches(examples, CONTRACT, 10, store))
        assert [len(b.indices) for b in batches] == [10, 10, 10, 7]
        assert [int(i) for b in batches for i in b.indices] == list(range(37))
        for b in batches:
            for row, index in enumerate(b.indices):
                assert np.array_equal(b.pictures[row], images.load(examples[index].path, CONTRACT))
                assert b.targets[row].argmax() == examples[index].label
    labelled = dataclasses.replace(CONTRACT, labels=tuple("abcde"))
    assert next(evaluation_batches(examples, labelled, 4)).targets.shape == (4, 5)
    assert next(evaluation_batches(examples, labelled, 4, classes=7)).targets.shape == (4, 7)
    assert list(evaluation_batches((), CONTRACT, 4)) == []


def test_real_photos_come_out_as_evaluation_sees_them(shared_data: Path, tmp_path: Path) -> None:
    contract = Contract(96, 96, fit="crop", crop_fraction=0.875)
    paths = sorted((shared_data / "ants_bees" / "val").rglob("*.jpg"))[:24]
    photos = tuple(
        Example(p, i % 2, hashlib.sha256(p.read_bytes()).hexdigest()) for i, p in enumerate(paths)
    )
    store = PictureStore(tmp_path, photos, contract)
    first, again = (
        list(Loader(photos, 2, contract, store, Augmentation(), 8, 0).epoch(0)) for _ in range(2)
    )
    assert same(first, again)
    for b in evaluation_batches(photos, contract, 24, store):
        for row, path in enumerate(paths):
            assert np.array_equal(b.pictures[row], images.load(path, contract))


# --- threads


def feeding_threads() -> int:
    return sum(thread.name.startswith("edgekit-feeding") for thread in threading.enumerate())


def test_closing_early_stops_the_threads(examples: tuple[Example, ...]) -> None:
    for taken in (0, 1, 3):
        batches = loader(examples, batch=4).epoch(0)
        for _ in range(taken):
            next(batches)
        batches.close()  # type: ignore[attr-defined]
        assert feeding_threads() == 0


@pytest.mark.parametrize("workers", [1, 4])
def test_an_error_names_the_file_and_stops(tmp_path: Path, workers: int) -> None:
    photos = make_examples(tmp_path, (12, 12))
    photos[7].path.write_bytes(b"changed")
    for read in (
        lambda: loader(photos, batch=4, workers=workers).epoch(0),
        lambda: evaluation_batches(photos, CONTRACT, 4, workers=workers),
    ):
        with pytest.raises(EdgekitError, match=r"0_007\.png"):
            list(read())
        assert feeding_threads() == 0


def test_work_is_done_ahead_but_not_without_bound() -> None:
    begun: list[int] = []
    done = threading.Semaphore(0)

    def work() -> Iterator[tuple[int, list[Callable[[], None]]]]:
        for number in range(20):
            begun.append(number)
            yield number, [done.release]

    items = in_order(work(), workers=2, ahead=2)
    assert begun == []
    for expected in range(20):
        assert next(items) == expected
        assert len(begun) == min(expected + 3, 20)
    assert next(items, None) is None
    assert all(done.acquire(blocking=False) for _ in range(20))


def test_the_next_batches_are_made_while_one_is_used() -> None:
    """Two batches beyond the first are finished though nobody asks for them."""
    made = threading.Semaphore(0)
    items = in_order(((n, [made.release]) for n in range(9)), workers=1, ahead=2)
    assert next(items) == 0
    assert all(made.acquire(timeout=30) for _ in range(3))
    items.close()  # type: ignore[attr-defined]


def test_nothing_here_imports_tensorflow() -> None:
    code = "import sys, edgekit.training.feeding; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "edgekit.training.feeding.loader" in modules
    assert not {"tensorflow", "keras", "tf_keras"} & set(modules)
