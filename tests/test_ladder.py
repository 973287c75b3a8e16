"""The accuracy contract through the command line: kept, not kept, undecidable."""

from __future__ import annotations

import importlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import artefacts
import numpy as np
import pytest
from conftest import write_picture
from ladder_support import CLASSES, photos_labelled_by, uneven_model

from edgekit import datasets, tflite
from edgekit.converters import (
    Promise,
    Promised,
    PromiseNotKept,
    convert,
    make_options,
    verify,
)
from edgekit.converters.ladder.promise import BROKEN, KEPT, UNDECIDED, judge

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def uneven(keras3: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float model that plain int8 spoils and equalization mends."""
    folder = tmp_path_factory.mktemp("uneven") / "files"
    return artefacts.copy_of("uneven", folder, _make_uneven) / "uneven.tflite"


@pytest.fixture(scope="module")
def photos(uneven: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 pictures labelled with the float model's answers: its accuracy is 100 %."""
    return uneven.with_name("photos")


def _make_uneven(folder: Path) -> None:
    model = uneven_model(importlib.import_module("keras"), folder)
    photos_labelled_by(model, folder / "photos", 600)


def test_a_promise_is_kept_by_the_first_rung_that_can(
    run_cli: Cli, uneven: Path, photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "m.tflite"
    given = ("--data", photos, "--max-drop", "3", "--samples", "50", "-o", output)
    done = run_cli("convert", uneven, *given)
    assert done.returncode == 0, done.stderr
    assert "at most 3 points of top-1 lost: kept" in done.stdout
    assert "equalization" in done.stdout
    assert "rounding" not in done.stdout  # it stopped before
    assert "Next: edgekit evaluate" in done.stdout
    passport = json.loads((tmp_path / "m.tflite.json").read_text())
    steps = passport["promise"]["rungs"]
    assert [step["rung"] for step in steps] == ["plain", "images", "equalization"]
    assert steps[0]["verdict"] == BROKEN
    assert "verdict" in steps[1]  # 200 images where the first had 50
    assert steps[2]["verdict"] == KEPT
    assert steps[2]["top1"] > steps[0]["top1"] + 0.05
    written = ["m.golden.zip", "m.tflite", "m.tflite.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == written
    written = tflite.read(output.read_bytes(), "m")
    assert not verify.float_ops(written)


def test_a_promise_that_is_not_kept_writes_nothing(
    run_cli: Cli, uneven: Path, photos: Path, tmp_path: Path
) -> None:
    given = ("--data", photos, "--max-drop", "1", "--rungs", "images", "-o", tmp_path / "m.tflite")
    done = run_cli("convert", uneven, *given)
    assert done.returncode == 1
    assert "broken" in done.stdout
    assert "nothing is written" in done.stderr
    assert "--keep-best" in done.stderr
    assert not list(tmp_path.iterdir())

    kept = run_cli("convert", uneven, *given, "--keep-best", "--json")
    assert kept.returncode == 1
    document = json.loads(kept.stdout)
    assert document["kept"] is False
    assert document["rungs"][0]["verdict"] == BROKEN
    assert (tmp_path / "m.tflite").is_file()
    assert "the best is written to" in kept.stderr


def test_too_few_images_to_decide(run_cli: Cli, uneven: Path, photos: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(photos.iterdir())[::10]:
        shutil.copy(path, few)
    done = run_cli(
        *("convert", uneven, "--data", few, "--max-drop", "1"),
        *("--rungs", "equalization", "-o", tmp_path / "m.tflite"),
    )
    assert done.returncode == 1
    assert "undecided" in done.stdout
    assert "judging images are too few to decide" in done.stderr
    assert not (tmp_path / "m.tflite").exists()
    observed = run_cli(
        *("convert", uneven, "--data", few, "--max-drop", "5", "--confidence", "0"),
        *("--rungs", "equalization", "-o", tmp_path / "m.tflite"),
    )
    assert observed.returncode == 0, observed.stderr


def test_without_labels_agreement_is_promised(
    run_cli: Cli, uneven: Path, photos: Path, tmp_path: Path
) -> None:
    unlabelled = tmp_path / "unlabelled"
    unlabelled.mkdir()
    for number, path in enumerate(sorted(photos.iterdir())):
        shutil.copy(path, unlabelled / f"photo{number}.png")
    output = tmp_path / "m.tflite"
    refused = run_cli("convert", uneven, "--data", unlabelled, "--max-drop", "2", "-o", output)
    assert refused.returncode == 2
    assert "--min-agreement" in refused.stderr
    done = run_cli("convert", uneven, "--data", unlabelled, "--min-agreement", "97", "-o", output)
    assert done.returncode == 0, done.stderr
    assert "at least 97 % of images: kept" in done.stdout


def test_a_layer_in_higher_precision_keeps_it_where_allowed(
    uneven: Path, photos: Path, tmp_path: Path
) -> None:
    promised = Promised(Promise(max_drop=2.0), rungs=("mixed",))
    with pytest.raises(PromiseNotKept) as refused:
        convert(uneven, tmp_path / "a.tflite", data=photos, promised=promised)
    assert "must be int8" in str(refused.value.climb.steps[-1].reason)
    options = make_options(mixed="float")
    done = convert(uneven, tmp_path / "b.tflite", data=photos, promised=promised, options=options)
    assert done.climb is not None
    assert done.climb.kept
    step = done.climb.steps[-1]
    assert step.rung == "mixed"
    assert step.cost is not None
    assert 1 < step.cost < 2.1
    left = verify.float_ops(tflite.read(done.output.read_bytes(), "m"))
    assert 1 <= len(left) < 5


def test_images_are_split_by_content(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    first = datasets.hold_out(datasets.find(folder), 1000)
    parts = [{s.path.name for s in part.samples} for part in (first.calibration, first.judging)]
    assert not parts[0] & parts[1]
    assert abs(len(parts[0]) - 200) <= CLASSES
    assert len(parts[0]) + len(parts[1]) == 600
    assert {s.index for s in first.judging.samples} == {
        s.index for s in datasets.find(folder).samples
    }

    # A copy of a picture under another name is left out, and all others stay where they were.
    copied = next(iter(sorted(parts[1])))
    shutil.copy(folder / copied, folder / f"{copied[:3]}_zz_copy.png")
    second = datasets.hold_out(datasets.find(folder), 1000)
    assert second.repeated == 1
    assert {s.path.name for s in second.calibration.samples} == parts[0]


def test_bad_input_is_refused(run_cli: Cli, uneven: Path, photos: Path, tmp_path: Path) -> None:
    output = ("-o", tmp_path / "m.tflite")

    def refused(*arguments: object) -> str:
        done = run_cli("convert", uneven, *arguments, *output)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "m.tflite").exists()
        return done.stderr

    assert "photos" in refused("--max-drop", "1")
    assert "0 to 100 points" in refused("--max-drop", "-1", "--data", photos)
    both = refused("--max-drop", "1", "--min-agreement", "99", "--data", photos)
    assert "on accuracy or on agreement" in both
    assert "no rung is called" in refused("--max-drop", "1", "--data", photos, "--rungs", "luck")
    assert "go with a promise" in refused("--keep-best", "--data", photos)
    assert "--int8" in refused("--float16", "--max-drop", "1", "--data", photos)

    judges = tmp_path / "judges"
    judges.mkdir()
    for path in sorted(photos.iterdir())[:3]:
        shutil.copy(path, judges)
    shared = refused("--max-drop", "1", "--data", photos, "--judge", judges)
    assert "3 judging image(s) are among those" in shared

    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for i in range(6):
        name = f"{CLASSES + i:03}_picture.png"
        write_picture(wrong / name, np.full((32, 32, 3), 40 * i, np.uint8))
    assert "class index" in refused("--max-drop", "1", "--data", wrong)
    two = tmp_path / "two"
    two.mkdir()
    for i in range(2):
        write_picture(two / f"{i:03}_picture.png", np.full((32, 32, 3), 40 * i, np.uint8))
    assert "can't be split" in refused("--max-drop", "1", "--data", two)


@pytest.mark.slow
def test_training_is_the_last_rung(
    run_cli: Cli, uneven: Path, photos: Path, tmp_path: Path
) -> None:
    """Labels that come as class folders, and training photos that are none of the judging ones."""
    folders = {"train": tmp_path / "train", "data": tmp_path / "data"}
    for number, path in enumerate(sorted(photos.iterdir())):
        folder = folders["train" if number % 2 else "data"] / f"class{path.name[:3]}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    names = tmp_path / "labels.txt"
    names.write_text("".join(f"class{i:03}\n" for i in range(CLASSES)))
    given = (
        *("convert", uneven, "--data", folders["data"], "--labels", names, "--max-drop", "10"),
        *("--rungs", "qat", "-o", tmp_path / "m.tflite"),
    )
    shared = run_cli(*given, "--train-data", folders["data"])
    assert shared.returncode == 2, shared.stderr
    assert "are among those that the model is fitted to" in shared.stderr
    done = run_cli(*given, "--train-data", folders["train"], "--keep-best")
    assert done.returncode in (0, 1), done.stderr
    steps = json.loads((tmp_path / "m.tflite.json").read_text())["promise"]["rungs"]
    assert [step["rung"] for step in steps] == ["plain", "qat"]
    assert steps[1]["top1"] > steps[0]["top1"]


@pytest.mark.slow
def test_interrupted_the_best_so_far_stays(uneven: Path, photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "m.tflite"
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "edgekit", "convert", uneven, "--data", photos, "-o", output),
            *("--max-drop", "0", "--rungs", "bias,rounding,ranges"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    best = tmp_path / "m.best.tflite"
    deadline = time.monotonic() + 120
    while not best.is_file() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=120)
    assert child.returncode == 130, said
    assert f"the best file so far is {best}" in said
    tflite.read(best.read_bytes(), "best")
    assert not output.exists()


def test_every_look_is_held_to_more() -> None:
    """All looks together may be wrong with the probability that one may."""
    promise = Promise(max_drop=1.0, confidence=95)
    wrong = [1 - promise.confidence_of(look) for look in range(30)]
    assert sum(wrong) == pytest.approx(0.05, abs=1e-6)
    assert wrong == sorted(wrong, reverse=True)


def test_verdicts() -> None:
    images, classes = 1000, 4
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(images, classes)).astype(np.float32)
    truth = scores.argmax(axis=1)

    def with_errors(count: int) -> np.ndarray:
        worse = scores.copy()
        worse[:count] = np.roll(scores[:count], 1, axis=1)
        return worse

    promise = Promise(max_drop=2.0)
    assert judge(promise, 0, scores, with_errors(5), truth).verdict == KEPT
    unsure = judge(promise, 0, scores, with_errors(18), truth)
    assert unsure.verdict == UNDECIDED
    assert unsure.needed is not None
    assert unsure.needed > images
    assert judge(promise, 0, scores, with_errors(60), truth).verdict == BROKEN
    agreed = Promise(min_agreement=98.0)
    assert judge(agreed, 0, scores, with_errors(5), None).verdict == KEPT
    assert judge(agreed, 0, scores, with_errors(18), None).verdict == UNDECIDED
    assert judge(agreed, 0, scores, with_errors(60), None).verdict == BROKEN
