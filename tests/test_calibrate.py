"""Calibration: the ranges of activations, the same by both ways, and right."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import COLOURS, colour_picture

from edgekit import datasets, images, tflite
from edgekit.contract import Contract
from edgekit.converters import calibrate, convert, flatbuffer
from edgekit.converters.ranges import percentile_ranges
from edgekit.errors import NotMetError
from edgekit.evaluation.run import run_all

_PROFILER = "ai_edge_litert._pywrap_tfl_calibration"


def _hide_profiler(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def import_module(name: str, package: str | None = None) -> Any:
        if name == _PROFILER:
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", import_module)


def _inputs(path: Path, photos: Path, count: int) -> tuple[bytes, images.Picture, Contract]:
    model = path.read_bytes()
    contract = tflite.read_contract(model, str(path))
    assert contract is not None
    chosen = datasets.select(datasets.find(photos).samples, count)
    return flatbuffer.prepare(model, str(path)), datasets.load(chosen, contract).pictures, contract


def _assert_both_ways_agree(
    monkeypatch: pytest.MonkeyPatch, model: bytes, pictures: images.Picture, contract: Contract
) -> None:
    profiled = calibrate.calibrate(model, pictures, contract)
    _hide_profiler(monkeypatch)
    kept = calibrate.calibrate(model, pictures, contract)
    assert (profiled.method, kept.method) == ("profiler", "all tensors")
    # The profiler sees no input tensor (its range is the contract's) and no constants.
    graph = tflite.read(model, "model").main
    written = {graph.tensors[i].name for op in graph.operators for i in op.outputs}
    assert written <= set(profiled.observed)
    assert written == set(kept.observed)  # with the weights' ranges they would come out per tensor
    for name in written:
        expected, found = kept.observed[name], profiled.observed[name]
        assert found.shape == (len(pictures), 2)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * scale, err_msg=name)
    np.testing.assert_allclose(profiled.scores, kept.scores, rtol=1e-4, atol=1e-4)


def test_the_private_module_is_there() -> None:
    """ai-edge-litert is pinned for this: with another version look at `edgekit.converters`."""
    module = importlib.import_module(_PROFILER)
    assert callable(module.InvokeWithCalibration)


def test_both_ways_agree_on_a_small_model(
    monkeypatch: pytest.MonkeyPatch, tiny_float: Path, tiny_photos: Path
) -> None:
    _assert_both_ways_agree(monkeypatch, *_inputs(tiny_float, tiny_photos, 12))


@pytest.mark.slow
def test_both_ways_agree_on_lite0(
    monkeypatch: pytest.MonkeyPatch, lite0_float: Path, imagenet_photos: Path
) -> None:
    _assert_both_ways_agree(monkeypatch, *_inputs(lite0_float, imagenet_photos, 6))


@pytest.mark.parametrize("hidden", [False, True])
def test_ranges_of_a_model_worked_out_by_hand(
    monkeypatch: pytest.MonkeyPatch, colour_float: Path, hidden: bool
) -> None:
    """Mean pooling over 8 x 8, then each class is the mean of its channel divided by 25.5."""
    if hidden:
        _hide_profiler(monkeypatch)
    pictures = np.stack([colour_picture(c, i, 32, 32) for i, c in enumerate(COLOURS)])
    contract = Contract(32, 32)
    found = calibrate.calibrate(colour_float.read_bytes(), pictures, contract)
    pooled = pictures.reshape(3, 4, 8, 4, 8, 3).mean(axis=(2, 4))
    logits = pictures.mean(axis=(1, 2))[:, ::-1] / 25.5  # the classes are blue, green, red
    for name, values in (("pooled", pooled.reshape(3, -1)), ("logits", logits)):
        expected = np.stack([values.min(axis=1), values.max(axis=1)], axis=1)
        np.testing.assert_allclose(found.observed[name], expected, rtol=1e-5)
    np.testing.assert_allclose(found.scores, logits, rtol=1e-5)


def test_scores_are_those_of_the_model_in_order(tiny_float: Path, tiny_photos: Path) -> None:
    model, pictures, contract = _inputs(tiny_float, tiny_photos, 9)
    calls: list[tuple[int, int]] = []
    found = calibrate.calibrate(model, pictures, contract, lambda *call: calls.append(call))
    np.testing.assert_allclose(
        found.scores, run_all(model, pictures, contract), rtol=1e-4, atol=1e-5
    )
    assert (len(calls), calls[-1]) == (9, (9, 9))


def test_conversion_without_the_profiler_is_the_same_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tiny_float: Path, tiny_photos: Path, tmp_path: Path
) -> None:
    fast = convert(tiny_float, tmp_path / "fast.tflite", data=tiny_photos)
    _hide_profiler(monkeypatch)
    slow = convert(tiny_float, tmp_path / "slow.tflite", data=tiny_photos)
    assert (fast.calibration_method, slow.calibration_method) == ("profiler", "all tensors")
    said = "profiler is not there"
    assert [said in warning for warning in slow.warnings if "profiler" in warning] == [True]
    assert not [warning for warning in fast.warnings if "profiler" in warning]
    ends = [tflite.read(c.output.read_bytes(), "m").main.tensors for c in (fast, slow)]
    for mine, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(mine.scales, theirs.scales, rtol=1e-5)


def test_numbers_that_are_not_finite_are_refused(colour_float: Path) -> None:
    pictures = np.zeros((2, 32, 32, 3), np.uint8)
    contract = Contract(32, 32, std=(1e-39,) * 3, mean=(255.0,) * 3)
    with pytest.raises(NotMetError, match="not finite"):
        calibrate.calibrate(colour_float.read_bytes(), pictures, contract)


def test_percentiles_over_images() -> None:
    """The scores keep their extremes; procedural images give them headroom."""
    extremes = np.stack([-np.arange(101.0), np.arange(101.0) * 2], axis=1)
    observed = {"inner": extremes, "scores": extremes}
    found = percentile_ranges(observed, 95, "scores")
    assert found["inner"] == pytest.approx((-95, 190))
    assert found["scores"] == (-100, 200)
    assert percentile_ranges(observed, 100, "scores")["inner"] == (-100, 200)
    wider = percentile_ranges(observed, 95, "scores", headroom=2.0)
    assert wider["scores"] == (-200, 400)
    assert wider["inner"] == found["inner"]
