"""`edgekit predict`: files, folders, and a video that the test films itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import COLOURS, colour_picture

import edgekit
from edgekit.contract import Contract
from edgekit.errors import MissingError, UnreadableError, UsageError
from edgekit.evaluation import Classifier, Predictor, metrics, video

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Twelve frames, first red, then blue: Motion JPEG at 10 frames per second."""
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 120))
    assert writer.isOpened()
    for i in range(12):
        frame = colour_picture("red" if i < 6 else "blue", i, 120, 160)
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def open_colour(path: Path, output: str = "logits") -> Classifier:
    contract = Contract(32, 32, labels=COLOURS, output=output)
    return Classifier(path.name, path, path.read_bytes(), contract, len(COLOURS))


# --- the call


def test_scores_are_probabilities_of_the_logits(colour_float: Path) -> None:
    prediction = Predictor(open_colour(colour_float)).predict_frame(colour_picture("green", 1))
    assert prediction.scores[0].label == "green"
    assert prediction.scores[0].index == COLOURS.index("green")
    raw = np.array([s.raw for s in prediction.scores], np.float32)
    assert (np.diff(raw) <= 0).all()
    assert [s.score for s in prediction.scores] == pytest.approx(metrics.softmax(raw).tolist())
    assert prediction.milliseconds > 0 and prediction.path is None


def test_a_models_own_probabilities_stay_as_they_are(colour_float: Path) -> None:
    predictor = Predictor(open_colour(colour_float, "probabilities"), top=1)
    (score,) = predictor.predict_frame(colour_picture("red", 1)).scores
    assert score.score == score.raw
    assert score.label == "red"


def test_files_and_folders(colour_int8: Path, colour_photos: Path) -> None:
    broken = colour_photos / "blue" / "zero.png"
    broken.write_bytes(b"")
    inputs = [colour_photos / "red" / "0.png", colour_photos / "blue"]
    found = list(edgekit.predict(colour_int8, inputs, top=2, preprocess="raw", labels=COLOURS))
    assert [p.path for p in found] == [inputs[0], *sorted((colour_photos / "blue").iterdir())]
    assert [p.scores[0].label for p in found[:-1]] == ["red"] + ["blue"] * 4
    assert all(len(p.scores) == 2 for p in found[:-1])
    assert (found[-1].path, found[-1].error, found[-1].scores) == (broken, "the file is empty", ())


def test_classes_without_names_are_numbers(colour_int8: Path, colour_photos: Path) -> None:
    (found,) = edgekit.predict(
        str(colour_int8), colour_photos / "red" / "0.png", top=1, preprocess="raw"
    )
    assert found.scores[0].label == "2"


def test_top_must_be_positive(colour_int8: Path) -> None:
    with pytest.raises(UsageError):
        Predictor(open_colour(colour_int8), top=0)


# --- the command


def test_the_command_classifies(
    run_cli: Cli, colour_int8: Path, colour_labels: Path, colour_photos: Path
) -> None:
    done = run_cli(
        "predict", colour_int8, colour_photos / "red", "--preprocess", "raw",
        "--labels", colour_labels, "--top", 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("red\n") == 3 and done.stdout.count("green\n") == 1
    assert done.stdout.splitlines()[-1].startswith("4 picture(s)")


def test_the_command_gives_a_json_line_per_picture(
    run_cli: Cli, colour_int8: Path, colour_labels: Path, colour_photos: Path
) -> None:
    text = colour_photos / "text.jpg"
    text.write_text("this is no picture")
    done = run_cli(
        "predict", colour_int8, text, colour_photos / "blue", "--preprocess", "raw",
        "--labels", colour_labels, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 5
    assert lines[0]["path"] == str(text) and "not a picture" in lines[0]["error"]
    assert lines[1]["scores"][0]["label"] == "blue"
    assert sum(s["score"] for s in lines[1]["scores"]) == pytest.approx(1)


def test_nothing_readable_is_exit_code_3(run_cli: Cli, colour_int8: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    done = run_cli("predict", colour_int8, tmp_path, tmp_path / "none.png", "--preprocess", "raw")
    assert done.returncode == 3
    assert "a.jpg: the file is empty" in done.stderr
    assert "none.png: No such file" in done.stderr
    assert "none of the 2" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("a.png", "--camera", "0"),
        ("a.png", "--output", "b.mp4"),
        ("--camera", "0", "--output", "b.mkv"),
        ("a.png", "--top", "0"),
    ],
)
def test_inputs_that_contradict_are_usage_errors(
    run_cli: Cli, colour_int8: Path, arguments: tuple[str, ...]
) -> None:
    done = run_cli("predict", colour_int8, "--preprocess", "raw", *arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr


def test_a_real_photo(run_cli: Cli, shared_data: Path, shared_models: Path) -> None:
    model = shared_models / "edgetpu" / "mobilenet_v1_0.25_128_quant.tflite"
    done = run_cli(
        "predict", model, shared_data / "imagenet_sample" / "007_cock.jpg", "--preprocess", "tf",
        "--labels", shared_models / "imagenet_labels.txt", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout)["scores"]
    assert scores[0]["label"] == "cock"
    # The model ends in a softmax: a second one would flatten this to 0.001.
    assert 0.1 < scores[0]["score"] == scores[0]["raw"] < 0.6


# --- video


def test_a_video_is_labelled(
    run_cli: Cli, colour_int8: Path, colour_labels: Path, film: Path, tmp_path: Path
) -> None:
    output = tmp_path / "labelled.mp4"
    arguments = (
        "predict", colour_int8, "--video", film, "--preprocess", "raw", "--labels", colour_labels,
        "--output", output, "--no-window",
    )  # fmt: skip
    done = run_cli(*arguments)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("frame 0: red") and lines[1].startswith("frame 6: blue")
    assert lines[2].startswith("12 frame(s)") and lines[3] == f"Wrote {output}"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["film.avi", "labelled.mp4"]

    capture = cv2.VideoCapture(str(output))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    frames = [frame for ok, frame in iter(capture.read, (False, None)) if ok]
    assert len(frames) == 12
    # The label is written in white near the top left corner, where the film has no white.
    assert (frames[0][:20, :80].min(axis=2) > 180).sum() > 20

    again = run_cli(*arguments)
    assert again.returncode == 2 and "exists already" in again.stderr


def test_a_video_gives_a_json_line_per_frame(run_cli: Cli, colour_int8: Path, film: Path) -> None:
    done = run_cli(
        "predict", colour_int8, "--video", film, "--preprocess", "raw", "--no-window", "--json"
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["frame"] for line in lines] == list(range(12))
    assert [line["scores"][0]["index"] for line in lines] == [2] * 6 + [0] * 6


def test_the_drawing_leaves_the_frame_alone(colour_int8: Path) -> None:
    frame = colour_picture("red", 1, 240, 320)
    before = frame.copy()
    prediction = Predictor(open_colour(colour_int8)).predict_frame(frame)
    drawn = video.annotate(frame, prediction, 12.3)
    assert np.array_equal(frame, before)
    assert drawn.shape == frame.shape
    assert not np.array_equal(drawn[:60], frame[:60])
    assert np.array_equal(drawn[120:], frame[120:])


def test_what_is_no_video_is_refused(run_cli: Cli, colour_int8: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no film" * 99)
    for path in (text, tmp_path / "none.mp4"):
        with pytest.raises(UnreadableError, match=path.name):
            video.Source(path)
        done = run_cli(
            "predict", colour_int8, "--video", path, "--preprocess", "raw", "--no-window"
        )
        assert done.returncode == 3 and str(path) in done.stderr


def test_no_camera_is_a_failure_with_a_hint(run_cli: Cli, colour_int8: Path) -> None:
    done = run_cli("predict", colour_int8, "--camera", 99, "--preprocess", "raw", "--no-window")
    assert done.returncode == 4
    assert "camera 99" in done.stderr and "Traceback" not in done.stderr


def test_no_screen_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    with pytest.raises(MissingError) as caught:
        video.Window()
    assert caught.value.hint is not None and "--no-window" in caught.value.hint


def test_an_interrupted_recording_is_a_whole_video(colour_int8: Path, tmp_path: Path) -> None:
    source = tmp_path / "long.avi"
    writer = cv2.VideoWriter(str(source), cv2.VideoWriter.fourcc(*"MJPG"), 25, (320, 240))
    frame = colour_picture("red", 0, 240, 320)
    for _ in range(1000):
        writer.write(frame)
    writer.release()
    output = tmp_path / "out.mp4"
    arguments = (
        "predict", colour_int8, "--video", source, "--preprocess", "raw", "--no-window",
        "--output", output, "--json",
    )  # fmt: skip
    child = subprocess.Popen(
        [sys.executable, "-m", "edgekit", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    assert b"Traceback" not in errors
    assert sorted(p.name for p in tmp_path.iterdir()) == ["long.avi", "out.mp4"]
    assert cv2.VideoCapture(str(output)).read()[0]
