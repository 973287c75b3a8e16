"""The pictures of latencies, looked at pixel by pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgekit.report.latency import Curve, Histogram, curves_png, histograms_png

_BARS = (0, 114, 178)
_MEDIAN = (213, 94, 0)
_LEFT, _RIGHT = 76, 960 - 76
_NONE = np.zeros(0)


def _decode(png: bytes) -> np.ndarray:
    """uint8[height, width, 3], RGB."""
    assert png.startswith(b"\x89PNG")
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture[..., ::-1]


def _columns(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """The columns that hold a pixel of this colour."""
    return np.flatnonzero((picture == colour).all(axis=2).any(axis=0))


def _reddish(picture: np.ndarray) -> int:
    """The pixels of a line in the second colour, its smoothed edges included."""
    return int((picture[..., 0].astype(int) - picture[..., 2] > 60).sum())


def _histogram(samples: np.ndarray, name: str = "m.tflite") -> Histogram:
    median = float(np.median(samples))
    return Histogram(name, samples, median, (median * 0.999, median * 1.001))


def test_the_median_is_drawn_where_it_is() -> None:
    samples = np.linspace(2, 4, 1001)
    picture = _decode(histograms_png([_histogram(samples)]))
    assert picture.shape[1] == 960
    (column,) = _columns(picture, _MEDIAN)
    # The axis ends at p99.5.
    assert column == pytest.approx(_LEFT + (_RIGHT - _LEFT) / (2 * 0.995), abs=2)


def test_bars_are_as_high_as_the_counts() -> None:
    samples = np.concatenate([np.full(300, 2.005), np.full(600, 3.0)])
    picture = _decode(histograms_png([_histogram(samples)]))
    heights = (picture == _BARS).all(axis=2).sum(axis=0)
    low, high = heights[_LEFT : _LEFT + 30].max(), heights[_RIGHT - 30 : _RIGHT].max()
    assert low == pytest.approx(high / 2, abs=2)


def test_one_pause_does_not_squeeze_the_rest() -> None:
    samples = np.random.default_rng(0).normal(4, 0.05, 1000)
    samples[500] = 400
    bars = _columns(_decode(histograms_png([_histogram(samples)])), _BARS)
    assert bars[-1] - bars[0] > 0.8 * (_RIGHT - _LEFT)


def test_histograms_share_an_axis_unless_they_are_far_apart() -> None:
    dice = np.random.default_rng(0)

    def medians(second: float) -> list[int]:
        both = [_histogram(dice.normal(mean, 0.02 * mean, 500)) for mean in (4.0, second)]
        picture = _decode(histograms_png(both))
        upper, lower = np.vsplit(picture, 2)
        return [int(_columns(part, _MEDIAN)[0]) for part in (upper, lower)]

    near, far = medians(6.0), medians(60.0)
    assert near[1] - near[0] > 0.7 * (_RIGHT - _LEFT)
    assert abs(far[1] - far[0]) < 0.2 * (_RIGHT - _LEFT)


@pytest.mark.parametrize("samples", [np.array([4.0]), np.full(50, 4.0)])
def test_few_or_equal_samples(samples: np.ndarray) -> None:
    histogram = Histogram("m", samples, 4.0, None)
    assert _columns(_decode(histograms_png([histogram])), _BARS).size
    curve = Curve("m", np.zeros(samples.size), samples, _NONE, _NONE)
    assert _decode(curves_png([curve])).shape[1] == 960


def test_a_curve_that_rises_and_its_temperature() -> None:
    seconds = np.linspace(0, 600, 5000)
    latency = np.where(seconds < 300, 30.0, 60.0)
    times = np.arange(0.0, 600, 1)
    curve = Curve("m", seconds, latency, times, np.linspace(40, 85, times.size))
    picture = _decode(curves_png([curve]))
    blue = (picture == _BARS).all(axis=2)
    cool, hot = (np.flatnonzero(blue[:, column]).mean() for column in (200, 700))
    assert hot < cool - 50  # higher up
    assert _reddish(picture) > 300
    silent = Curve("m", seconds, latency, _NONE, _NONE)
    assert _reddish(_decode(curves_png([silent]))) == 0


def test_long_names_leave_room_for_the_figures() -> None:
    samples = np.linspace(2, 4, 100)
    short, long = (
        _decode(histograms_png([_histogram(samples, name)])) for name in ("m", "model_" * 60)
    )
    assert short.shape == long.shape
    right = slice(600, 960)
    assert np.array_equal(short[:30, right], long[:30, right])
