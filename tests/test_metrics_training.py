"""Calibration, likelihood and the judging of scores, against numbers worked out by hand."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import COLOURS

import edgekit
from edgekit import datasets
from edgekit.contract import Contract
from edgekit.evaluation import Classifier, evaluate, judging, metrics


def two_classes(confidence: float, count: int = 1) -> np.ndarray:
    """float32[count, 2]: class 0 with this probability."""
    return np.tile(np.array([[confidence, 1 - confidence]], np.float32), (count, 1))


def random_scores(images: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are right more often than not, and the truth."""
    dice = np.random.default_rng(seed)
    truth = dice.integers(0, classes, images)
    logits = dice.normal(0, 1, (images, classes)).astype(np.float32)
    logits[np.arange(images), truth] += 2
    return logits, truth


# --- calibration


def test_calibration_worked_by_hand() -> None:
    probabilities = np.vstack([two_classes(c) for c in (0.95, 0.85, 0.75, 0.65, 0.55)])
    got = metrics.calibration(probabilities, np.array([0, 1, 0, 0, 1]), bins=5)
    # (0.8, 1]: 0.90 sure, 1 of 2 right. (0.6, 0.8]: 0.70 sure, 2 of 2. (0.4, 0.6]: 0.55, 0 of 1.
    assert got.ece == pytest.approx((2 * 0.40 + 2 * 0.30 + 1 * 0.55) / 5, abs=1e-6)
    assert got.mce == pytest.approx(0.55, abs=1e-6)
    assert [row.count for row in got.bins] == [0, 0, 1, 2, 2]
    assert [row.accuracy for row in got.bins] == [None, None, 0, 1, 0.5]
    assert got.bins[3].confidence == pytest.approx(0.7, abs=1e-6)
    assert (got.bins[0].low, got.bins[-1].high, got.bins[1].confidence) == (0, 1, None)


def test_as_sure_as_right_has_no_error() -> None:
    got = metrics.calibration(two_classes(0.75, 4), np.array([0, 0, 0, 1]))
    assert got.ece == pytest.approx(0, abs=1e-9) and got.mce == pytest.approx(0, abs=1e-9)


def test_a_bin_holds_its_upper_end() -> None:
    confidence = np.array([0.0, 0.25, 0.5, np.nextafter(0.5, 1), 1.0])
    bins = metrics.calibration_of(confidence, np.ones(5, bool), bins=4).bins
    assert [row.count for row in bins] == [2, 1, 1, 1]


@pytest.mark.parametrize("bins", [1, 15, 100])
def test_calibration_is_the_sum_of_the_paper(bins: int) -> None:
    logits, truth = random_scores(400, 6)
    probabilities = metrics.softmax(logits)
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == truth
    gaps = []
    for m in range(1, bins + 1):
        inside = (confidence > (m - 1) / bins) & (confidence <= m / bins)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            gaps.append((inside.sum() / 400, gap))
    got = metrics.calibration(probabilities, truth, bins)
    assert got.ece == pytest.approx(sum(share * gap for share, gap in gaps))
    assert got.mce == pytest.approx(max(gap for _, gap in gaps))
    assert sum(row.count for row in got.bins) == 400


# --- likelihood


def test_negative_log_likelihood_by_hand() -> None:
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]], np.float32)
    got = metrics.negative_log_likelihood(probabilities, np.array([0, 0]))
    assert got == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_a_quantized_zero_is_no_infinity() -> None:
    got = metrics.negative_log_likelihood(np.array([[0, 1]], np.float32), np.array([0]))
    assert got == pytest.approx(23 * math.log(2))


def test_log_probabilities_of_logits_are_exact_far_out() -> None:
    logits = np.array([[1000, 0], [-2, -2]], np.float32)
    got = metrics.log_probabilities(logits, "logits")
    assert got.tolist() == [[0, -1000], pytest.approx([-math.log(2)] * 2)]


# --- judging


def test_judge_says_what_the_metrics_say() -> None:
    logits, truth = random_scores(300, 7)
    got, probabilities = judging.judge(logits, truth), metrics.softmax(logits)
    hits = int(np.sum(logits.argmax(axis=1) == truth))
    assert (got.images, got.top1) == (300, hits / 300)
    assert got.top1_interval == metrics.wilson_interval(hits, 300)
    assert got.top5 == metrics.top_k_accuracy(logits, truth, 5)
    assert got.macro == metrics.macro(got.per_class)
    assert got.confusion.sum() == 300 and np.trace(got.confusion) == hits
    assert got.nll == pytest.approx(metrics.negative_log_likelihood(probabilities, truth), rel=1e-5)
    assert got.calibration.ece == pytest.approx(
        metrics.calibration(probabilities, truth).ece, rel=1e-5
    )
    again = judging.judge(probabilities, truth, "probabilities")
    assert again.calibration.ece == pytest.approx(got.calibration.ece, rel=1e-5)


def test_blocks_are_judged_as_the_whole() -> None:
    logits, truth = random_scores(100, 6)
    blocks = [judging.guesses(logits[i : i + 33], truth[i : i + 33]) for i in range(0, 100, 33)]
    joined = judging.accuracy(judging.join(blocks))
    assert joined.to_dict() == judging.judge(logits, truth).to_dict()


def test_top5_is_for_more_than_five_classes() -> None:
    assert judging.judge(*random_scores(50, 5)).top5 is None
    assert judging.judge(*random_scores(50, 6)).top5 is not None


def test_a_thousand_classes_become_small_json() -> None:
    result = judging.judge(*random_scores(200, 1000))
    labels = [f"class {i}" for i in range(1000)]
    text = json.dumps(result.to_dict(labels))
    assert len(text) < 100_000
    document = json.loads(text)
    assert sum(count for _, _, count in document["confusion"]) == 200
    assert all(row["label"] == f"class {row['index']}" for row in document["per_class"])
    assert {row["label"] for row in result.to_dict()["per_class"]} <= set(map(str, range(1000)))


def test_scores_that_are_not_numbers_are_said() -> None:
    logits, truth = random_scores(20, 6)
    logits[3] = np.nan
    logits[4, 2] = np.inf
    result = judging.judge(logits, truth)
    assert math.isnan(result.calibration.ece) and math.isnan(result.nll)
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert document["calibration"]["ece"] == document["negative_log_likelihood"] == "nan"


def test_the_worst_are_wrong_and_sure() -> None:
    #                  right, sure  wrong, sure  right, unsure  wrong, unsure  not a number
    logits = np.array([[9, 0], [9, 0], [0.2, 0], [0.1, 0], [np.nan, np.nan]], np.float32)
    guesses = judging.guesses(logits, np.array([0, 1, 0, 1, 1]))
    assert guesses.worst().tolist() == [4, 1, 3, 2, 0]
    assert guesses.worst(2).tolist() == [4, 1]


# --- `edgekit evaluate`


@pytest.mark.parametrize("output", ["logits", "probabilities"])
def test_evaluate_takes_the_outputs_for_what_they_are(
    output: str, colour_float: Path, colour_photos: Path
) -> None:
    from edgekit.evaluation.run import run_all

    contract = Contract(32, 32, labels=COLOURS, output=output)
    model = Classifier("m", colour_float, colour_float.read_bytes(), contract, len(COLOURS))
    dataset = datasets.find(colour_photos)
    got = evaluate([model], dataset).models[0].accuracy
    scores = run_all(model.model, datasets.load(dataset.samples, contract).pictures, contract)
    truth = np.array(dataset.indices(contract, 3))
    assert got is not None
    assert got.to_dict() == judging.judge(scores, truth, output).to_dict()
    # A softmax of logits around 6 and 2 is sure, and right 11 times of 12.
    assert (got.calibration.ece < 0.2) == (output == "logits")


def test_the_command_shows_the_calibration_error(
    run_cli: Callable[..., subprocess.CompletedProcess[str]],
    colour_float: Path,
    colour_labels: Path,
    colour_photos: Path,
) -> None:
    arguments = ("--data", colour_photos, "--preprocess", "raw", "--labels", colour_labels)
    done = run_cli("evaluate", colour_float, *arguments)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("calibration error")]
    expected = edgekit.evaluate(colour_float, colour_photos, preprocess="raw", labels=COLOURS)
    assert expected.models[0].accuracy is not None
    assert line.split()[2] == f"{100 * expected.models[0].accuracy.calibration.ece:.2f}"
