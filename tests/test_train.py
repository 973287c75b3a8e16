"""`edgekit train`: what it writes, what it says, and that each setting does what it promises."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import processor_time
import pytest
from conftest import COLOURS
from training_support import (
    SIZE,
    TINY,
    history,
    recipe,
    register_tiny,
    train,
    weights,
    write_photos,
)

import edgekit
from edgekit import images
from edgekit.cli.main import main
from edgekit.contract import Contract
from edgekit.errors import UsageError
from edgekit.training import keras_file
from edgekit.training.hooks import Hooks


@pytest.fixture(autouse=True)
def _tiny(keras3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    register_tiny(monkeypatch)
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("data") / "my photos", train=8, val=4, test=3)


@dataclass(frozen=True)
class _Run:
    """What the command left and said."""

    model: Path
    said: dict[str, Any]
    errors: str

    @property
    def folder(self) -> Path:
        return self.model.with_suffix(".edgekit")

    @property
    def metrics(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "metrics.json").read_text()))


_OPTIONS = ("--model", TINY, "--weights", "none", "--size", str(SIZE), "--batch", "8")
_SETTINGS = ("--epochs", "2", "--feature-epochs", "3", "--augmentation", "default,mixup=0.1")


@pytest.fixture(scope="module")
def done(keras3: Any, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> _Run:
    folder = tmp_path_factory.mktemp("done")
    model = folder / "m.keras"
    with pytest.MonkeyPatch.context() as patch:
        register_tiny(patch)
        patch.setenv("EDGEKIT_CACHE", str(folder / "cache"))
        with processor_time.apart("edgekit train"):
            code, out, err = _command(photos, "-o", model, *_OPTIONS, *_SETTINGS, "--json")
    assert code == 0, err
    return _Run(model, json.loads(out), err)


def _command(*arguments: object) -> tuple[int, str, str]:
    """Runs `edgekit train` in this process: exit code, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(["train", *map(str, arguments)])
        except SystemExit as end:
            return int(end.code or 0), out.getvalue(), err.getvalue()
    raise AssertionError("the command did not end")


# --- what it says


def test_json_is_what_the_metrics_file_holds(done: _Run) -> None:
    assert done.said.pop("output") == str(done.model)
    assert done.said.pop("folder") == str(done.folder)
    assert done.said.pop("interrupted") is False
    assert done.said == done.metrics


def test_a_line_for_feature_extraction_and_one_for_each_epoch_of_fine_tuning(done: _Run) -> None:
    lines = done.errors.splitlines()
    assert [line.split(":")[0] for line in lines if "val loss" in line] == [
        "fine-tuning   1",
        "fine-tuning   2",
    ]
    assert [line for line in lines if line.startswith("feature extraction: 3 epochs, the best is")]
    assert "\r" not in done.errors and "%|" not in done.errors


def test_warnings_are_said(done: _Run) -> None:
    assert "Warning: Fewer than 20 pictures to train on" in done.errors


# --- what it writes


def test_every_file_is_there_and_nothing_else(done: _Run) -> None:
    assert {p.name for p in done.model.parent.iterdir()} == {"m.keras", "m.edgekit", "cache"}
    assert {p.name for p in done.folder.iterdir()} == {
        *("README.md", "calibration", "confusion.png", "contract.json", "curves.png"),
        *("labels.txt", "metrics.json", "mistakes.jpg", "reliability.png"),
    }
    for name in ("confusion.png", "curves.png", "reliability.png", "mistakes.jpg"):
        assert images.decode(done.folder / name).size


def test_labels_and_contract(done: _Run) -> None:
    assert (done.folder / "labels.txt").read_text().split() == list(COLOURS)
    contract = Contract.from_json((done.folder / "contract.json").read_bytes(), "contract.json")
    inside = keras_file.read_contract(done.model)
    assert inside is not None and inside[0] == contract
    assert contract.labels == COLOURS and (contract.height, contract.width) == (SIZE, SIZE)
    assert contract.output == "logits"


def test_calibration_pictures_are_the_fitted_training_pictures(done: _Run, photos: Path) -> None:
    contract = Contract.from_json((done.folder / "contract.json").read_bytes(), "contract.json")
    expected = sorted(
        (COLOURS.index(path.parent.name), images.load(path, contract).tobytes())
        for path in (photos / "train").rglob("*.png")
    )
    found = sorted(
        (int(path.name.split("_")[0]), cv2.imread(str(path))[..., ::-1].tobytes())
        for path in (done.folder / "calibration").iterdir()
    )
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize("split", ["val", "test"])
def test_metrics_are_what_evaluate_says(done: _Run, photos: Path, split: str) -> None:
    judged = edgekit.evaluate([done.model], data=photos / split).models[0].accuracy
    assert judged is not None
    ours = done.metrics["results"][split]
    assert ours["images"] == judged.images
    assert ours["top1"] == judged.top1
    assert ours["confusion"] == judged.to_dict()["confusion"]
    assert ours["negative_log_likelihood"] == pytest.approx(judged.nll, abs=1e-4)


def test_val_is_judged_in_each_epoch_and_the_best_is_kept(done: _Run) -> None:
    rows = done.metrics["history"]
    ranks = [(row["val_accuracy"], -row["val_loss"]) for row in rows]
    assert [row["phase"] for row in rows] == ["feature extraction"] * 3 + ["fine-tuning"] * 2
    assert done.metrics["kept"] == ranks.index(max(ranks))
    kept, result = rows[done.metrics["kept"]], done.metrics["results"]["val"]
    assert result["top1"] == kept["val_accuracy"]
    assert result["negative_log_likelihood"] == pytest.approx(kept["val_loss"], abs=1e-4)


def test_it_learns(done: _Run) -> None:
    """Two thirds of the pictures are of one bright colour; guessing gives a third."""
    assert done.metrics["results"]["val"]["top1"] >= 0.6


def test_the_line_in_the_card_does_it_again(done: _Run, photos: Path) -> None:
    from edgekit.cli.train import command, recipe_from

    card = (done.folder / "README.md").read_text()
    line = next(x for x in card.splitlines() if x.startswith("edgekit train"))
    assert line == done.metrics["command"]
    values = command.make_context("train", shlex.split(line)[2:]).params
    assert recipe_from(values).to_dict() == done.metrics["recipe"]
    assert (values["data"], values["output"]) == (photos, done.model)
    assert (values["model"], values["weights"]) == (TINY, "none")


def test_stages_add_up_and_come_in_order(done: _Run) -> None:
    assert list(done.metrics["seconds"]) == [
        *("preparing", "features", "feature extraction", "fine-tuning", "judging"),
    ]
    rows = done.metrics["history"]
    for phase in ("feature extraction", "fine-tuning"):
        inside = sum(row["seconds"] for row in rows if row["phase"] == phase)
        assert 0 < inside <= done.metrics["seconds"][phase]


def test_the_summary(photos: Path, tmp_path: Path) -> None:
    code, out, _ = _command(
        photos, "-o", tmp_path / "m.keras", *_OPTIONS, "--epochs", "0", "--feature-epochs", "1"
    )
    assert code == 0
    assert f"{TINY}, 32 x 32, 3 classes, weights: random" in out
    assert "24 train, 12 val, 9 test pictures" in out
    assert "Test accuracy" in out
    assert f"Next: edgekit convert --int8 {tmp_path / 'm.keras'}" in out


# --- settings


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """Weights to start from."""
    from edgekit.training.zoo.assembly import assemble
    from edgekit.training.zoo.catalogue import CATALOGUE

    path = tmp_path / "start.keras"
    assemble(CATALOGUE[TINY], None, classes=1000, size=SIZE).write(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", ["frozen", "train"])
def test_unfreeze_and_batch_norm_change_only_what_they_say(
    photos: Path, tmp_path: Path, start: Path, batch_norm: str
) -> None:
    how = recipe(feature_epochs=0, unfreeze=1, batch_norm=batch_norm, average=0.0)
    trained = train(photos, tmp_path / "m.keras", how, weights=start)
    before, after = weights(start), weights(trained.output)
    changed = {n for n in before if not n.startswith("logits") and (before[n] != after[n]).any()}
    assert changed and all(name.startswith("conv3_block1") for name in changed)
    assert any(name.endswith("kernel") for name in changed)
    moved = {name for name in changed if "moving_" in name}
    assert bool(moved) == (batch_norm == "train")


def test_feature_extraction_leaves_the_backbone_alone(
    photos: Path, tmp_path: Path, start: Path
) -> None:
    trained = train(photos, tmp_path / "m.keras", recipe(epochs=0), weights=start)
    before, after = weights(start), weights(trained.output)
    assert all(np.array_equal(before[n], after[n]) for n in before if not n.startswith("logits"))
    assert np.any(after["logits/kernel"])


@pytest.mark.slow
def test_a_worse_fine_tuning_gives_back_the_weights_of_feature_extraction(
    photos: Path, tmp_path: Path, start: Path
) -> None:
    """The backbone too: it was changed on the way."""
    how = recipe(epochs=1, rate=9.0, warmup=0.0, average=0.0, unfreeze=1, feature_epochs=6)
    trained = train(photos, tmp_path / "m.keras", how, weights=start)
    kept = trained.facts.training.kept
    assert kept is not None and trained.history[kept].phase == "feature extraction"
    before, after = weights(start), weights(trained.output)
    assert all(np.array_equal(before[n], after[n]) for n in before if not n.startswith("logits"))


@pytest.mark.slow
def test_balance_changes_what_is_learned(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "uneven", train=9, val=3)
    for path in sorted((data / "train" / "red").iterdir())[3:]:
        path.unlink()
    losses = {
        balance: history(
            train(
                data,
                tmp_path / f"{balance}.keras",
                recipe(epochs=0, feature_epochs=2, balance=balance),
            )
        )[-1]["loss"]
        for balance in ("none", "sampling", "weights")
    }
    assert len(set(losses.values())) == 3 and all(map(np.isfinite, losses.values()))


@pytest.mark.slow
def test_early_stopping(photos: Path, tmp_path: Path) -> None:
    how = recipe(epochs=9, rate=0.0, patience=2, batch_norm="frozen", average=0.0, unfreeze=1)
    trained = train(photos, tmp_path / "m.keras", how)
    fine = [row for row in trained.history if row.phase == "fine-tuning"]
    assert len(fine) == 2
    assert trained.facts.training.stopped == "no better epoch in the last 2 of fine-tuning"
    assert "stopped early: no better epoch" in str(trained)


@pytest.mark.slow
def test_a_time_budget_ends_it_and_says_how_many_epochs_fit(photos: Path, tmp_path: Path) -> None:
    said: list[str] = []
    trained = train(
        photos,
        tmp_path / "m.keras",
        recipe(epochs=10_000, unfreeze=1),
        Hooks(say=said.append),
        budget=12.0,
    )
    fine = [row for row in trained.history if row.phase == "fine-tuning"]
    assert len(fine) < 10_000
    assert trained.facts.training.stopped == (
        f"{len(fine)} of 10000 epochs of fine-tuning fit into the time budget"
    )
    assert fine[-1].learning_rate < 1e-3 or len(fine) < 3
    assert "--time-budget 12s" in trained.facts.training.command


def test_a_budget_that_is_spent_at_once_still_gives_a_model(photos: Path, tmp_path: Path) -> None:
    trained = train(photos, tmp_path / "m.keras", recipe(), budget=0.01)
    assert len(trained.history) == 1
    assert trained.output.is_file()


@pytest.mark.slow
def test_tensorboard_log(photos: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    log = tmp_path / "logs" / "deep"
    trained = [
        train(photos, tmp_path / "m.keras", recipe(epochs=0), tensorboard=log, force=True)
        for _ in range(2)
    ]
    runs = sorted(log.iterdir())
    assert len(runs) == 2 and all(run.name.startswith("m-") for run in runs)
    values: dict[str, list[float]] = {}
    for record in tf.data.TFRecordDataset([str(p) for p in runs[0].iterdir()]):
        for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value:
            assert value.metadata.plugin_data.plugin_name in ("scalars", "")
            values.setdefault(value.tag, []).append(float(tf.make_ndarray(value.tensor)))
    for tag in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
        assert values[tag] == pytest.approx([getattr(row, tag) for row in trained[0].history])


def test_tensorboard_where_nothing_can_be_written(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = _command(
        photos, "-o", tmp_path / "m.keras", *_OPTIONS, "--tensorboard", tmp_path / "file" / "x"
    )
    assert code == 4
    assert "no log can be written there" in err and "--tensorboard" in err


def test_too_many_blocks(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{TINY} has . blocks, and 99 are to be fine-tuned"):
        train(photos, tmp_path / "m.keras", recipe(unfreeze=99))


def test_the_api_returns_what_prints_as_the_summary(photos: Path, tmp_path: Path) -> None:
    trained = edgekit.train(
        photos,
        tmp_path / "m.keras",
        TINY,
        job={"weights": None},
        **{"size": SIZE, "epochs": 0, "feature_epochs": 1},
    )
    assert "Val accuracy" in str(trained)
    assert "data:image/png;base64," in trained._repr_html_()
    assert trained.accuracy.images == 12
