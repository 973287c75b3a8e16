"""What a training does when it is killed, interrupted, short of memory, or given bad input."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import colour_picture, write_picture
from training_support import (
    SIZE,
    TINY,
    equal_weights,
    history,
    recipe,
    register_tiny,
    train,
    weights,
    write_photos,
)

from edgekit.cli import progress as cli_progress
from edgekit.cli.main import main
from edgekit.errors import RuntimeFailure, UnreadableError, UsageError
from edgekit.training import checkpoint, keras_file, output
from edgekit.training.hooks import Hooks
from edgekit.training.result import Training

_BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "kill_resume.py"


class _Killed(BaseException):
    """Nobody catches it, as nobody catches SIGKILL."""


@pytest.fixture(autouse=True)
def _tiny(keras3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    register_tiny(monkeypatch)
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "cache"))
    # A checkpoint after each step: what a large training has after some seconds.
    monkeypatch.setattr("edgekit.training.loop._SAVE_SHARE", 1e9)
    monkeypatch.setattr("edgekit.training.loop._SAVE_EVERY", 0.0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("data") / "photos", train=8, val=4)


@pytest.fixture(scope="module")
def undisturbed(keras3: Any, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        register_tiny(patch)
        patch.setenv("EDGEKIT_CACHE", str(folder / "cache"))
        return train(photos, folder / "m.keras", recipe())


def _at(stage: str, done: int, what: Callable[[], None]) -> Hooks:
    """Does something when a stage has come so far."""

    def progress(now: str, count: int, total: int) -> None:
        if (now, count) == (stage, done):
            what()

    return Hooks(progress=progress)


def _kill() -> None:
    raise _Killed


def _interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def _require_equal(resumed: Training, undisturbed: Training) -> None:
    assert history(resumed) == history(undisturbed)
    assert resumed.metrics["results"] == undisturbed.metrics["results"]
    assert equal_weights(resumed.output, undisturbed.output)
    assert {p.name for p in resumed.output.parent.iterdir()} <= {"m.keras", "m.edgekit", "cache"}


# --- killed


_MOMENTS = [
    ("checking pictures", 5),
    ("features", 36),  # the first view is kept, the second is not computed yet
    ("feature extraction", 3),  # the end of an epoch, before it is judged
    ("feature extraction", 5),
    ("fine-tuning", 5),
    ("writing", 0),
]


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "done"), _MOMENTS)
def test_killed_and_resumed_it_ends_as_if_nothing_had_happened(
    photos: Path, tmp_path: Path, undisturbed: Training, stage: str, done: int
) -> None:
    model = tmp_path / "m.keras"
    with pytest.raises(_Killed):
        train(photos, model, recipe(), _at(stage, done, _kill))
    assert not model.exists() and not keras_file.folder_beside(model).exists()
    _require_equal(train(photos, model, recipe(), resume=True), undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("save", [2, 6, 15])
def test_killed_while_a_checkpoint_is_written(
    photos: Path,
    tmp_path: Path,
    undisturbed: Training,
    monkeypatch: pytest.MonkeyPatch,
    save: int,
) -> None:
    """Before it gets its name: half of the file may be on the disk."""
    left, real = [save], os.fsync

    def fsync(file: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.ftruncate(file, os.fstat(file).st_size // 2)
            raise _Killed
        real(file)

    monkeypatch.setattr(checkpoint.os, "fsync", fsync)
    model = tmp_path / "m.keras"
    with pytest.raises(_Killed):
        train(photos, model, recipe())
    keeper = checkpoint.Checkpoint(output.work_folder_of(model))
    state, _ = keeper.load()
    if state.best_file is not None:
        keeper.load_arrays(state.best_file)
    _require_equal(train(photos, model, recipe(), resume=True), undisturbed)


@pytest.mark.slow
def test_killed_between_the_folder_and_the_model(
    photos: Path, tmp_path: Path, undisturbed: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_half(folder: Path, model: Path, final: Path, old: Path) -> None:
        folder.replace(keras_file.folder_beside(final))
        raise _Killed

    model = tmp_path / "m.keras"
    with monkeypatch.context() as patch:
        patch.setattr(output, "_put", put_half)
        with pytest.raises(_Killed):
            train(photos, model, recipe())
    assert not model.exists() and keras_file.folder_beside(model).exists()
    _require_equal(train(photos, model, recipe(), resume=True), undisturbed)


@pytest.mark.slow
def test_a_resumed_fine_tuning_needs_no_features_and_counts_the_time_before(
    photos: Path, tmp_path: Path, undisturbed: Training
) -> None:
    """The pictures have moved: they are the same pictures."""
    model = tmp_path / "m.keras"
    with pytest.raises(_Killed):
        train(photos, model, recipe(), _at("fine-tuning", 2, _kill))
    before, _ = checkpoint.Checkpoint(output.work_folder_of(model)).load()
    shutil.rmtree(tmp_path / "cache")
    moved = tmp_path / "cache" / "moved"
    shutil.copytree(photos, moved)
    seen: set[str] = set()
    hooks = Hooks(progress=lambda stage, done, total: seen.add(stage))
    resumed = train(moved, model, recipe(), hooks, resume=True)
    _require_equal(resumed, undisturbed)
    assert "features" not in seen
    assert before.seconds == pytest.approx(sum(before.stages.values()))
    seconds = resumed.metrics["seconds"]
    assert seconds["features"] == before.stages["features"]
    assert all(seconds[s] > before.stages[s] > 0 for s in ("preparing", "fine-tuning"))


@pytest.mark.slow
def test_sigkill_at_random_moments(photos: Path, tmp_path: Path) -> None:
    """The benchmark, with processes of their own; it checks more than its exit code says."""
    results = tmp_path / "results.json"
    run = subprocess.run(
        [
            *(sys.executable, _BENCHMARK, photos, "--runs", "2", "--results", results),
            *("--model", "mobilenet_v3_small_minimalistic", "--weights", "none", "--size", "32"),
            *("--feature-epochs", "1", "--epochs", "2", "--unfreeze", "1", "--views", "1"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    document = json.loads(results.read_text())
    assert document["killed_runs"] == document["equal_bit_for_bit"] == 2
    assert document["broken_files"] == 0
    for row in document["runs"]:
        assert row["killed"], "else it shows nothing"
        assert row["results_equal"] and row["history_equal"] and row["weights_equal"]
        assert row["left_over"] == []


# --- refused to go on


def test_other_settings_are_named(photos: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.keras"
    with pytest.raises(_Killed):
        train(photos, model, recipe(), _at("feature extraction", 1, _kill))
    other = write_photos(tmp_path / "other", train=3, val=3)
    with pytest.raises(UsageError) as caught:
        train(other, model, recipe(rate=0.5, seed=4), resume=True)
    assert "rate was 0.001, is 0.5" in caught.value.message
    assert "seed was 0, is 4" in caught.value.message
    assert "the pictures or their labels differ" in caught.value.message
    assert "batch" not in caught.value.message
    with pytest.raises(UsageError, match="was stopped there") as caught:
        train(photos, model, recipe())
    assert caught.value.hint is not None and "--resume" in caught.value.hint


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 and then nothing"])
def test_a_damaged_state_is_said(photos: Path, tmp_path: Path, damage: bytes) -> None:
    model = tmp_path / "m.keras"
    with pytest.raises(_Killed):
        train(photos, model, recipe(), _at("feature extraction", 1, _kill))
    (tmp_path / "m.training" / "state.npz").write_bytes(damage)
    with pytest.raises(UnreadableError, match="the state of the training can't be read"):
        train(photos, model, recipe(), resume=True)


# --- Ctrl-C


@pytest.mark.slow
def test_interrupted_it_keeps_the_best_and_goes_on(
    photos: Path, tmp_path: Path, undisturbed: Training
) -> None:
    model = tmp_path / "m.keras"
    trained = train(photos, model, recipe(), _at("fine-tuning", 4, _interrupt))
    assert trained.interrupted and trained.facts.training.stopped == "interrupted"
    assert len(trained.history) == 3
    assert weights(model) and (tmp_path / "m.training").is_dir()
    _require_equal(train(photos, model, recipe(), resume=True), undisturbed)


@pytest.mark.slow
def test_a_second_interrupt_leaves_no_broken_file(
    photos: Path, tmp_path: Path, undisturbed: Training
) -> None:
    def progress(now: str, done: int, total: int) -> None:
        if (now, done) == ("fine-tuning", 4) or now == "writing":
            _interrupt()

    model = tmp_path / "m.keras"
    with pytest.raises(KeyboardInterrupt):
        train(photos, model, recipe(), Hooks(progress=progress))
    assert {p.name for p in tmp_path.iterdir()} <= {"m.training", "cache"}
    _require_equal(train(photos, model, recipe(), resume=True), undisturbed)


def test_an_interrupt_between_two_renames_leaves_the_old_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, staging = tmp_path / "m.keras", tmp_path / "m.training"
    for folder, text in ((tmp_path / "m.edgekit", "old"), (staging / "folder", "new")):
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(text)
    model.write_text("old")
    (staging / "model.keras").write_text("new")
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if Path(target) == model:
            _interrupt()
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            output._put(staging / "folder", staging / "model.keras", model, staging / "old")
    assert model.read_text() == (tmp_path / "m.edgekit" / "metrics.json").read_text() == "old"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "done", "written", "said"),
    [
        ("features", 12, False, "nothing was written; --resume goes on"),
        ("fine-tuning", 4, True, "The best so far is in {}; --resume goes on"),
    ],
)
def test_the_command_ends_with_130(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stage: str,
    done: int,
    written: bool,
    said: str,
) -> None:
    hooks = _at(stage, done, _interrupt)
    monkeypatch.setattr(
        cli_progress.ProgressBars, "__call__", lambda self, *place: hooks.progress(*place)
    )
    model = tmp_path / "m.keras"
    code = _command(photos, "-o", model, *_options(recipe()))
    assert code == 130
    assert said.format(model) in capsys.readouterr().err
    assert model.exists() == written
    assert (tmp_path / "m.training").is_dir()


def _options(how: Any) -> list[str]:
    """The options for a recipe."""
    found = ["--model", TINY, "--weights", "none"]
    for name, value in how.changed().items():
        found += [f"--{name.replace('_', '-')}", "all" if value is None else str(value)]
    return found


def _command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["train", *map(str, arguments)])
    return int(end.value.code or 0)


# --- no number


@pytest.mark.slow
def test_a_loss_that_is_no_number_keeps_the_best(photos: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.keras"
    how = recipe(optimizer="sgd", rate=10.0, momentum=0.99, weight_decay=1.0, warmup=0.0, epochs=40)
    with pytest.raises(RuntimeFailure) as caught:
        train(photos, model, how)
    assert "learning rate" in caught.value.message and str(model) in caught.value.message
    assert caught.value.hint is not None and "--rate 1 --force" in caught.value.hint
    document = json.loads((tmp_path / "m.edgekit" / "metrics.json").read_text())
    assert "no longer" in document["stopped"]
    assert all(np.isfinite(value).all() for value in weights(model).values())


def test_weights_that_are_no_numbers(photos: Path, tmp_path: Path) -> None:
    from edgekit.training.zoo.assembly import assemble
    from edgekit.training.zoo.catalogue import CATALOGUE

    assembled = assemble(CATALOGUE[TINY], None, classes=1000, size=SIZE)
    variable = assembled.model.get_layer("conv3_block1_1_conv").weights[0]
    value = variable.numpy()
    value[0, 0, 0, 0] = np.nan
    variable.assign(value)
    assembled.write(tmp_path / "bad.keras")
    model = tmp_path / "m.keras"
    with pytest.raises(RuntimeFailure, match="conv3_block1_1_conv holds values that are not"):
        train(photos, model, recipe(), weights=tmp_path / "bad.keras")
    assert not model.exists()


# --- memory


def test_a_model_that_is_too_large_is_refused_with_the_numbers(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgekit.training.memory.available_memory", lambda: 10 << 20)
    with pytest.raises(RuntimeFailure) as caught:
        train(photos, tmp_path / "m.keras", recipe())
    assert f"{TINY} is too large for the memory" in caught.value.message
    assert "0.0 GiB are available" in caught.value.message


@pytest.mark.slow
def test_a_limit_of_the_process_counts(photos: Path, tmp_path: Path) -> None:
    """VGG-16 takes 3 GiB to train, and TensorFlow has taken as many addresses already."""
    code = (
        "import resource, sys; from edgekit.cli.main import main;"
        "resource.setrlimit(resource.RLIMIT_AS, (5 << 30, 5 << 30)); main(sys.argv[1:])"
    )
    options = ("--model", "vgg16", "--weights", "none", "--unfreeze", "all")
    run = subprocess.run(
        [sys.executable, "-c", code, "train", photos, "-o", tmp_path / "m.keras", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 4
    assert "vgg16 is too large for the memory: " in run.stderr
    assert re.search(r"it takes about [1-4]\.\d GiB, and [0-2]\.\d GiB are available", run.stderr)


class _Short:
    """Stands before `Learner.train`: a step of more than so many pictures at once is too much.

    It fails in the worst way: some weights have changed already.
    """

    def __init__(self, most: int) -> None:
        from edgekit.training.learner import Learner

        self.most, self.real, self.failed = most, Learner.train, 0

    def __call__(self, learner: Any, inputs: Any, targets: Any, rate: float, whole: int) -> Any:
        if learner._body is not None and -(-len(inputs) // learner.pieces) > self.most:
            self.failed += 1
            learner.trained[0].assign(learner.trained[0] + 1)
            import tensorflow as tf

            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return self.real(learner, inputs, targets, rate, whole)


@pytest.mark.slow
@pytest.mark.parametrize("most", [3, 0])
def test_out_of_memory_in_a_step(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """The gradients of pieces add up to those of the batch, so the result is the same."""
    how = recipe(dropout=0.0, batch_norm="frozen", feature_epochs=1)
    whole = train(photos, tmp_path / "whole.keras", how)
    short, said = _Short(most), list[str]()
    monkeypatch.setattr(
        "edgekit.training.learner.Learner.train", lambda *arguments: short(*arguments)
    )
    if most == 0:
        with pytest.raises(RuntimeFailure, match="not even one picture at a time"):
            train(photos, tmp_path / "m.keras", how)
        assert (tmp_path / "m.keras").is_file(), "the best so far, of feature extraction"
        return
    pieced = train(photos, tmp_path / "m.keras", how, Hooks(say=said.append))
    assert short.failed == 2
    assert [line for line in said if "Out of memory" in line] == list(
        pieced.warnings[-short.failed :]
    )
    assert "goes through in 4 pieces" in said[-1]
    for mine, theirs in zip(history(pieced), history(whole), strict=True):
        assert mine["val_loss"] == pytest.approx(theirs["val_loss"], rel=1e-3)
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-3)


# --- bad input


def _photos(root: Path) -> Path:
    """Two classes, both splits, three pictures of each."""
    for i, place in enumerate(("train/a", "train/b", "val/a", "val/b")):
        (root / place).mkdir(parents=True)
        for n in range(3):
            write_picture(root / place / f"{n}.png", colour_picture("red", 10 * i + n))
    return root


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _one_class(root: Path, model: Path) -> None:
    shutil.rmtree(root / "train" / "b")
    shutil.rmtree(root / "val" / "b")


def _empty_class(root: Path, model: Path) -> None:
    _empty(root / "train" / "b")


def _unreadable_class(root: Path, model: Path) -> None:
    for path in (root / "train" / "b").iterdir():
        path.write_bytes(b"no picture")


def _two_labels(root: Path, model: Path) -> None:
    shutil.copy(root / "train" / "a" / "0.png", root / "train" / "b" / "copy.png")


def _leak(root: Path, model: Path) -> None:
    shutil.copy(root / "train" / "a" / "0.png", root / "val" / "a" / "copy.png")


def _differing(root: Path, model: Path) -> None:
    (root / "val" / "b").rename(root / "val" / "c")


def _output_exists(root: Path, model: Path) -> None:
    model.write_text("")


def _folder_exists(root: Path, model: Path) -> None:
    folder = keras_file.folder_beside(model)
    folder.mkdir()
    (folder / "metrics.json").write_text("{}")


def _foreign_folder(root: Path, model: Path) -> None:
    keras_file.folder_beside(model).mkdir()


def _state_exists(root: Path, model: Path) -> None:
    folder = output.work_folder_of(model)
    folder.mkdir()
    (folder / "state.npz").write_text("")


def _bad_weights(root: Path, model: Path) -> None:
    from edgekit.training.zoo.assembly import assemble
    from edgekit.training.zoo.catalogue import CATALOGUE

    assemble(CATALOGUE[TINY], None, classes=9, size=SIZE).write(root / "other.keras")


def _nothing(root: Path, model: Path) -> None:
    pass


_BAD = {
    "one class": (_one_class, [], 3, "only one class (a)"),
    "an empty class": (_empty_class, [], 3, "class folder(s) without a picture"),
    "an unreadable class": (_unreadable_class, [], 3, "none of the 3 picture(s) of class b"),
    "two labels": (_two_labels, [], 3, "1 picture(s) have two labels"),
    "a leak": (_leak, [], 3, "the splits leak"),
    "other labels": (_differing, [], 3, "the classes of train and val differ"),
    "no data": (lambda root, model: shutil.rmtree(root), [], 3, "no such folder"),
    "the size": (_nothing, ["--size", "33000"], 2, "size 33000 is not in 32 to 1024"),
    "a size for the model": (_nothing, ["--model", "inception_v3"], 2, "size 32 is too small"),
    "the output": (_output_exists, [], 2, "m.keras: exists already"),
    "its folder": (_folder_exists, [], 2, "m.edgekit: exists already"),
    "a foreign folder": (_foreign_folder, ["--force"], 2, "is no folder that edgekit wrote"),
    "a state": (_state_exists, [], 2, "a training of this name was stopped there"),
    "the suffix": (_nothing, ["-o", "m.h5"], 2, "m.h5: a model is written as .keras"),
    "the place": (_nothing, ["-o", "nowhere/m.keras"], 2, "its folder doesn't exist"),
    "a place in /proc": (_nothing, ["-o", "/proc/m.keras"], 4, "can't be"),
    "the model": (_nothing, ["--model", "resnet9000"], 2, "no model named 'resnet9000'"),
    "no weights": (_nothing, ["--weights", "imagenet"], 2, "no source of ImageNet weights"),
    "missing weights": (_nothing, ["--weights", "no.keras"], 3, "no.keras: No such file"),
    "other weights": (
        _bad_weights,
        ["--weights", "DATA/other.keras", "--model", "resnet18"],
        2,
        "doesn't fit resnet18",
    ),
    "a duration": (_nothing, ["--time-budget", "soon"], 2, "'soon' is no time such as"),
    "no duration": (_nothing, ["--time-budget", "0s"], 2, "leaves no time"),
    "an augmentation": (_nothing, ["--augmentation", "default,sparkle=2"], 2, "sparkle"),
    "a rate": (_nothing, ["--rate", "-1"], 2, "rate -1 is not in 0 to 10"),
    "blocks": (_nothing, ["--unfreeze", "some"], 2, "unfreeze 'some': nothing of the model"),
    "too many blocks": (_nothing, ["--unfreeze", "99"], 2, "blocks, and 99 are to be fine-tuned"),
    "no epoch": (_nothing, ["--epochs", "0", "--feature-epochs", "0"], 2, "no training"),
    "TF_CONFIG": (_nothing, ["--distribute", "multiworker"], 2, "TF_CONFIG"),
    "a val share": (_nothing, ["--val-share", "2"], 2, "val share of 2"),
}


@pytest.mark.parametrize("name", _BAD)
def test_bad_input(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, options, code, message = _BAD[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    root, model = _photos(tmp_path / "data"), tmp_path / "m.keras"
    spoil(root, model)
    before = _listing(tmp_path)
    base = ["-o", "m.keras", "--model", TINY, "--weights", "none", "--size", "32"]
    given = [option.replace("DATA", str(root)) for option in options]
    assert _command(root, *base, *given) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error and "bug in edgekit" not in error
    assert _listing(tmp_path) == before, "nothing lost, nothing left behind"


def _listing(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "cache" not in path.parts
    }


@pytest.mark.slow
def test_nothing_to_resume(photos: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.keras"
    first = train(photos, model, recipe(epochs=0), resume=True)  # there is no state: it begins
    with pytest.raises(UsageError, match="its training is over, there is nothing to resume"):
        train(photos, model, recipe(epochs=0), resume=True)
    again = train(photos, model, recipe(epochs=0), resume=True, force=True)
    _require_equal(again, first)
