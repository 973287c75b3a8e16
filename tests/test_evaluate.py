"""`edgekit evaluate`: the metrics against hand-worked numbers, then models on photos."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import COLOURS, colour_picture, write_picture

import edgekit
from edgekit import datasets, images, tflite
from edgekit.cli.progress import ProgressBars
from edgekit.contract import Contract
from edgekit.errors import UnreadableError, UsageError
from edgekit.evaluation import Classifier, evaluate, metrics
from edgekit.report.confusion import Panel, as_png, as_text

Cli = Callable[..., subprocess.CompletedProcess[str]]


# --- metrics

SCORES = np.array([[3, 1, 2], [1, 1, 0], [0, 5, 5], [9, 8, 7]], np.float32)
TRUTH = np.array([0, 1, 2, 2])


def test_top_k_counts_ties_as_argmax_does() -> None:
    assert metrics.top_k_hits(SCORES, TRUTH, 1).tolist() == [True, False, False, False]
    assert metrics.top_k_hits(SCORES, TRUTH, 2).tolist() == [True, True, True, False]
    assert metrics.top_k_accuracy(SCORES, TRUTH, 2) == 0.75
    top1 = np.argmax(SCORES, axis=1) == TRUTH
    assert metrics.top_k_hits(SCORES, TRUTH, 1).tolist() == top1.tolist()


def test_confusion_has_true_classes_in_rows() -> None:
    matrix = metrics.confusion_matrix(np.array([0, 0, 2]), np.array([1, 1, 2]), 3)
    assert matrix.tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


def test_precision_recall_and_f1() -> None:
    rows = metrics.per_class(np.array([[8, 2, 0], [1, 3, 0], [0, 0, 0]]))
    assert (rows[0].samples, rows[0].predicted) == (10, 9)
    assert rows[0].precision == pytest.approx(8 / 9)
    assert rows[0].recall == pytest.approx(8 / 10)
    assert rows[0].f1 == pytest.approx(16 / 19)
    assert (rows[2].precision, rows[2].recall, rows[2].f1) == (0, 0, 0)
    # The third class has no samples: it doesn't pull the means down.
    means = metrics.macro(rows)
    assert means.precision == pytest.approx((8 / 9 + 3 / 5) / 2)
    assert means.recall == pytest.approx((0.8 + 0.75) / 2)
    assert means.f1 == pytest.approx((16 / 19 + 6 / 9) / 2)


def test_sqnr_in_decibels() -> None:
    signal = np.array([3, 4], np.float32)
    assert metrics.sqnr(signal, signal) == math.inf
    assert metrics.sqnr(signal, signal * np.float32(0.5)) == pytest.approx(10 * math.log10(4))
    assert metrics.sqnr(np.zeros(2, np.float32), signal) == -math.inf


def test_mean_sqnr_counts_every_image_the_same() -> None:
    """One picture with scores a hundred times as large hides the others in the SQNR over all."""
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(100, 10)).astype(np.float32)
    reference[0] *= 100
    steps = rng.normal(size=reference.shape).astype(np.float32)
    fine_but_one, coarse = reference + 0.01 * steps, reference + 0.1 * steps
    fine_but_one[0] += 20 * steps[0]
    assert metrics.sqnr(reference, fine_but_one) < metrics.sqnr(reference, coarse)
    assert metrics.mean_sqnr(reference, fine_but_one) > metrics.mean_sqnr(reference, coarse) + 15
    same = reference[1:] * np.float32(0.9)
    assert metrics.mean_sqnr(reference[1:], same) == pytest.approx(20, abs=0.01)
    assert metrics.mean_sqnr(reference, reference) == math.inf
    assert math.isfinite(metrics.mean_sqnr(np.zeros((2, 3), np.float32), steps[:2, :3]))


def test_agreement_is_a_share() -> None:
    assert metrics.agreement(np.array([1, 2, 3, 4]), np.array([1, 2, 0, 4])) == 0.75


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    # Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine
    # 17, 1998, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval(hits: int, total: int, low: float, high: float) -> None:
    assert metrics.wilson_interval(hits, total) == pytest.approx((low, high), abs=5.1e-5)


def test_softmax_survives_large_logits() -> None:
    got = metrics.softmax(np.array([1000, 1000, -1000], np.float32))
    assert got.tolist() == [0.5, 0.5, 0.0]


# --- models side by side


def open_colour(path: Path, contract: Contract | None = None) -> Classifier:
    contract = contract or Contract(32, 32, labels=COLOURS)
    return Classifier(path.name, path, path.read_bytes(), contract, len(COLOURS))


def test_float_and_int8_side_by_side(
    colour_float: Path, colour_int8: Path, colour_photos: Path
) -> None:
    steps: list[tuple[str, int, int]] = []
    result = evaluate(
        [open_colour(colour_float), open_colour(colour_int8)],
        datasets.find(colour_photos),
        lambda *step: steps.append(step),
    )
    first, second = result.models
    for model in (first, second):
        assert model.accuracy is not None
        assert model.accuracy.top1 == 11 / 12
        assert model.accuracy.top1_interval == metrics.wilson_interval(11, 12)
        assert model.accuracy.top5 is None
        assert model.accuracy.confusion.tolist() == [[4, 0, 0], [0, 4, 0], [0, 1, 3]]
        assert model.accuracy.per_class[1].precision == 0.8
        assert len(model.latency.samples_ms) >= 30
        assert 0 < model.latency.median_ms <= model.latency.p90_ms
    assert first.agreement is None and first.sqnr_db is None
    assert second.agreement == 1.0
    # 8-bit outputs of step 12 / 255 against logits around 2 and 6.
    assert second.sqnr_db is not None and 40 < second.sqnr_db < 60
    assert second.size_bytes == colour_int8.stat().st_size
    assert {stage for stage, _, _ in steps} == {
        "reading", "timing", colour_float.name, colour_int8.name,
    }  # fmt: skip
    assert all(done <= total for _, done, total in steps)


def test_differences_name_the_image_and_both_answers(
    colour_float: Path, colour_photos: Path
) -> None:
    swapped = Contract(32, 32, colour_order="BGR", labels=COLOURS)
    result = evaluate(
        [open_colour(colour_float), open_colour(colour_float, swapped)],
        datasets.find(colour_photos),
    )
    # Red and blue change places, green stays: 4 blue and 3 red photos.
    assert len(result.differences) == 7
    blue = result.differences[0]
    assert (blue.path.parent.name, blue.truth, blue.top1) == ("blue", "blue", ("blue", "red"))
    assert result.models[1].agreement == 5 / 12
    assert result.models[1].accuracy is not None and result.models[1].accuracy.top1 == 4 / 12


def test_outputs_that_mean_something_else_have_no_sqnr(
    colour_float: Path, colour_photos: Path
) -> None:
    other = Contract(32, 32, labels=COLOURS, output="probabilities")
    renamed = Contract(32, 32, labels=COLOURS[::-1])
    result = evaluate(
        [open_colour(colour_float), *(open_colour(colour_float, c) for c in (other, renamed))],
        datasets.find(colour_photos),
    )
    _, probabilities, reordered = result.models
    assert probabilities.agreement == 1.0 and probabilities.sqnr_db is None
    assert "probabilities" in (probabilities.remark or "")
    assert reordered.agreement is None and reordered.sqnr_db is None
    assert "classes" in (reordered.remark or "")


def test_pictures_are_read_once_per_geometry(
    colour_float: Path, colour_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []
    read_file = images.read_file
    monkeypatch.setattr(images, "read_file", lambda path: (reads.append(path), read_file(path))[1])
    contracts = [
        Contract(32, 32, labels=COLOURS),
        Contract(32, 32, std=(2.0,) * 3, colour_order="BGR", labels=COLOURS),
        Contract(32, 32, fit="pad", labels=COLOURS),
    ]
    evaluate([open_colour(colour_float, c) for c in contracts], datasets.find(colour_photos))
    assert len(reads) == 2 * 12


def test_blocks_give_what_one_pass_gives(
    colour_float: Path, colour_int8: Path, colour_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (colour_photos / "green" / "2b.png").write_bytes(b"")
    models = [open_colour(colour_float), open_colour(colour_int8)]
    whole = evaluate(models, datasets.find(colour_photos)).to_dict()
    monkeypatch.setattr(sys.modules["edgekit.evaluation.evaluate"], "_BLOCK", 5)
    blocks = evaluate(models, datasets.find(colour_photos)).to_dict()
    for document in (whole, blocks):
        for model in document["models"]:
            del model["latency"]
            model["sqnr_db"] = model["sqnr_db"] and round(model["sqnr_db"], 9)
    assert whole == blocks
    assert whole["images"] == 12 and len(whole["broken"]) == 1


def test_without_labels_only_agreement_is_given(
    colour_float: Path, colour_int8: Path, tmp_path: Path
) -> None:
    write_picture(tmp_path / "a.png", colour_picture("red", 1))
    result = evaluate(
        [open_colour(colour_float), open_colour(colour_int8)], datasets.find(tmp_path)
    )
    assert [m.accuracy for m in result.models] == [None, None]
    assert result.models[1].agreement == 1.0
    assert json.loads(json.dumps(result.to_dict()))["models"][0]["accuracy"] is None


def test_a_limit_may_leave_out_classes(colour_float: Path, colour_photos: Path) -> None:
    # Without labels in the model, classes are numbered by all folders, not by those chosen.
    unnamed = open_colour(colour_float, Contract(32, 32))
    result = evaluate([unnamed], datasets.find(colour_photos), limit=2)
    assert result.images == 2
    assert result.models[0].accuracy is not None and result.models[0].accuracy.top1 == 1.0
    assert result.models[0].labels == COLOURS


def test_numbers_can_be_shifted(colour_float: Path, tmp_path: Path) -> None:
    write_picture(tmp_path / "1_red.png", colour_picture("red", 1))
    write_picture(tmp_path / "0_green.png", colour_picture("green", 1))
    dataset = datasets.find(tmp_path)
    plain = evaluate([open_colour(colour_float)], dataset).models[0].accuracy
    shifted = evaluate([open_colour(colour_float)], dataset, label_offset=1).models[0].accuracy
    assert plain is not None and plain.top1 == 0
    assert shifted is not None and shifted.top1 == 1


def test_nothing_to_evaluate(colour_float: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"nonsense")
    dataset = datasets.find(tmp_path)
    with pytest.raises(UnreadableError, match="none of its 1 pictures"):
        evaluate([open_colour(colour_float)], dataset)
    with pytest.raises(UsageError, match="no model"):
        evaluate([], dataset)
    with pytest.raises(UsageError, match="limit of 0"):
        evaluate([open_colour(colour_float)], dataset, limit=0)


# --- the confusion matrix, drawn


def test_confusion_as_text() -> None:
    text = as_text(Panel("m", np.array([[5, 1], [0, 7]]), ("cat", "dog")))
    lines = text.splitlines()
    assert lines[0].split() == ["true", "\\", "predicted", "cat", "dog"]
    assert lines[-2].split() == ["cat", "5", "1"]
    assert lines[-1].split() == ["dog", "0", "7"]


@pytest.mark.parametrize("classes", [2, 30, 1000])
def test_confusion_as_a_picture(classes: int) -> None:
    panel = Panel("m", np.eye(classes, dtype=np.int64) * 9, tuple(map(str, range(classes))))
    one = cv2.imdecode(np.frombuffer(as_png([panel]), np.uint8), cv2.IMREAD_COLOR)
    two = cv2.imdecode(np.frombuffer(as_png([panel, panel]), np.uint8), cv2.IMREAD_COLOR)
    assert two.shape == (one.shape[0], 2 * one.shape[1], 3)
    # The diagonal is dark, most of the rest is white.
    dark = np.argwhere((one.sum(axis=2) < 250) & (one[..., 0] > one[..., 1]))
    assert len(dark) >= classes
    if classes == 1000:
        assert (np.ptp(dark[:, 0]), np.ptp(dark[:, 1])) == (999, 999)


# --- progress


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBars() as bars:
        bars("reading", 1, 2)
    assert capsys.readouterr().err == ""


def test_progress_shows_stage_and_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    with ProgressBars(quiet=True) as bars:
        bars("reading", 1, 2)
    assert terminal.getvalue() == ""
    with ProgressBars() as bars:
        bars("reading", 1, 2)
        report = bars.stage("calibrating")
        report(0, 7)
        time.sleep(0.2)  # tqdm draws ten times a second at most
        report(7, 7)
    assert "reading" in terminal.getvalue()
    assert "calibrating: 100%" in terminal.getvalue()
    assert "7/7" in terminal.getvalue() and "it/s" in terminal.getvalue()


# --- the command and the call


def test_the_command_compares_files(
    run_cli: Cli, colour_float: Path, colour_int8: Path, colour_labels: Path, colour_photos: Path
) -> None:
    (colour_photos / "red" / "zero.jpg").write_bytes(b"")
    done = run_cli(
        "evaluate", colour_float, colour_int8, "--data", colour_photos, "--preprocess", "raw",
        "--labels", colour_labels, "--per-class", "--differences", 5,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "91.67 %" in done.stdout
    assert "12 photos" in done.stdout and "3 class folders" in done.stdout
    assert "80.00 %" in done.stdout  # the precision of green
    assert "true \\ predicted" in done.stdout
    assert "zero.jpg (the file is empty)" in done.stdout
    assert "same answer as colour_float.tflite on 12 of 12 photos" in done.stdout


def test_the_command_writes_json_and_a_picture(
    run_cli: Cli, colour_float: Path, colour_labels: Path, colour_photos: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "c.png"
    arguments = (
        "evaluate", colour_float, colour_float, "--data", colour_photos, "--preprocess", "raw",
        "--labels", colour_labels, "--confusion", picture, "--json",
    )  # fmt: skip
    done = run_cli(*arguments)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    second = document["models"][1]
    assert second["sqnr_db"] == "inf"
    assert second["agreement"] == 1.0
    assert second["accuracy"]["confusion"] == [[0, 0, 4], [1, 1, 4], [2, 1, 1], [2, 2, 3]]
    assert second["accuracy"]["per_class"][2]["label"] == "red"
    assert second["measured_as"] == "the file itself"
    assert picture.read_bytes().startswith(b"\x89PNG")
    again = run_cli(*arguments)
    assert again.returncode == 2 and "exists already" in again.stderr


@pytest.mark.parametrize(
    ("extra", "code", "reason"),
    [
        ((), 2, "--preprocess"),
        (("--preprocess", "magic"), 2, "efficientnet_lite"),
        (("--mean", "1,x", "--std", "1"), 2, "number"),
        (("--preprocess", "raw", "--confusion", "c.txt"), 2, ".png"),
        (("--preprocess", "raw", "--limit", "0"), 2, "--limit"),
        (("--preprocess", "raw", "--labels", "no-such-file"), 3, "no-such-file"),
    ],
)
def test_wrong_options_are_said_and_coded(
    run_cli: Cli,
    colour_float: Path,
    colour_photos: Path,
    extra: tuple[str, ...],
    code: int,
    reason: str,
) -> None:
    done = run_cli("evaluate", colour_float, "--data", colour_photos, *extra)
    assert done.returncode == code, done.stderr
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_no_model_is_refused(run_cli: Cli, colour_photos: Path) -> None:
    photo = colour_photos / "red" / "0.png"
    for path in (photo, colour_photos / "none.tflite"):
        done = run_cli("evaluate", path, "--data", colour_photos)
        assert done.returncode == 3, done.stderr
        assert str(path) in done.stderr


def test_the_python_call(colour_float: Path, colour_int8: Path, colour_photos: Path) -> None:
    result = edgekit.evaluate(
        [colour_float, str(colour_int8)], colour_photos, mean=[0], std=[1], labels=COLOURS, limit=6
    )
    assert [m.name for m in result.models] == [colour_float.name, colour_int8.name]
    assert result.images == 6
    alone = edgekit.evaluate(colour_float, colour_photos, preprocess="raw", labels=COLOURS)
    assert len(alone.models) == 1


def test_a_packed_file_needs_no_options(
    colour_int8: Path, colour_photos: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "packed.tflite"
    packed.write_bytes(
        tflite.pack(colour_int8.read_bytes(), Contract(32, 32, fit="pad", labels=COLOURS))
    )
    (model,) = edgekit.evaluate(packed, colour_photos).models
    assert model.accuracy is not None and model.accuracy.top1 == 11 / 12
    assert (model.preprocessing["fit"], model.labels) == ("pad", COLOURS)
    (other,) = edgekit.evaluate(packed, colour_photos, resize="stretch").models
    assert other.preprocessing["fit"] == "stretch"


def test_files_of_the_same_name_are_told_apart(
    colour_float: Path, colour_photos: Path, tmp_path: Path
) -> None:
    copy = tmp_path / colour_float.name
    copy.write_bytes(colour_float.read_bytes())
    result = edgekit.evaluate([colour_float, copy], colour_photos, preprocess="raw", labels=COLOURS)
    assert [m.name for m in result.models] == [str(colour_float), str(copy)]


def test_a_real_model_on_real_photos(shared_data: Path, shared_models: Path) -> None:
    result = edgekit.evaluate(
        shared_models / "edgetpu" / "mobilenet_v1_0.25_128_quant.tflite",
        shared_data / "imagenet_sample",
        mean=[128],
        std=[128],
        resize="crop:0.875",
        labels=shared_models / "imagenet_labels.txt",
        label_offset=1,
    )
    (model,) = result.models
    assert result.images == 300 and not result.broken
    assert model.accuracy is not None and model.accuracy.top5 is not None
    # Its authors give 39.5 % top-1 and 64.4 % top-5 on the ImageNet validation set (TensorFlow,
    # mobilenet_v1.md); these sample photos are easier.
    assert 0.45 < model.accuracy.top1 < 0.52  # 48.67 % measured
    assert 0.70 < model.accuracy.top5 < 0.77  # 73.33 % measured


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from edgekit.cli.main import main\n"
        "try:\n    main([sys.argv[1], '--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'numpy', 'cv2', 'tensorflow', 'tqdm'} & set(sys.modules)))\n"
    )
    for verb in ("evaluate", "predict"):
        done = subprocess.run(
            [sys.executable, "-c", code, verb], capture_output=True, text=True, check=True
        )
        assert "Examples:" in done.stdout
        assert done.stdout.splitlines()[-1] == "[]"
