"""Pictures of latencies: histograms, and curves over a sustained run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgekit.errors import RuntimeFailure

Floats = npt.NDArray[np.float64]
Canvas = npt.NDArray[np.uint8]

_WIDTH = 960
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 76, 34, 40
_HISTOGRAM_HEIGHT, _CURVE_HEIGHT = 170, 260
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SIZE = 0.42
#: Okabe & Ito's colours, which are told apart without colour vision too; OpenCV's order is BGR.
_BARS, _MEDIAN, _BAND = (178, 114, 0), (0, 94, 213), (190, 215, 250)
_SPREAD, _HEAT, _GRID, _INK = (235, 205, 160), (0, 94, 213), (225, 225, 225), (40, 40, 40)

_BINS = 120
#: The axis ends here, and what lies beyond is counted in words: one pause of the system would
#: squeeze all the rest into a few pixels.
_SHOWN_PERCENT = 99.5
_SHARED_AXIS = 3
_CURVE_POINTS = 240
_TICKS = 6


@dataclass(frozen=True)
class Histogram:
    """The latencies of one cell.

    Attributes:
        name: What was measured.
        samples_ms: float64[samples], at least one.
        p50_ms: Their median.
        interval_ms: Its interval, or None.
    """

    name: str
    samples_ms: Floats
    p50_ms: float
    interval_ms: tuple[float, float] | None


@dataclass(frozen=True)
class Curve:
    """The latencies of one sustained run over time.

    Attributes:
        name: What was measured.
        seconds: float64[samples], when each inference began.
        latency_ms: float64[samples].
        heat_seconds: float64[readings], when the temperature was read.
        heat_c: float64[readings], in degrees Celsius; empty where the device doesn't say.
    """

    name: str
    seconds: Floats
    latency_ms: Floats
    heat_seconds: Floats
    heat_c: Floats


def histograms_png(histograms: Sequence[Histogram]) -> bytes:
    """One histogram under the other, p50 and its interval marked.

    They share one axis of time, unless the slowest would squeeze the fastest into a few pixels.

    Args:
        histograms: At least one.

    Returns:
        The bytes of a PNG file.
    """
    ranges = [_shown(h.samples_ms) for h in histograms]
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    if high <= _SHARED_AXIS * low:
        ranges = [(low, high)] * len(histograms)
    return _encode(np.vstack([_histogram(h, *r) for h, r in zip(histograms, ranges, strict=True)]))


def curves_png(curves: Sequence[Curve]) -> bytes:
    """One curve under the other: the median over time, the span from p10 to p90, the temperature.

    Args:
        curves: At least one.

    Returns:
        The bytes of a PNG file.
    """
    return _encode(np.vstack([_curve(c) for c in curves]))


def _shown(samples_ms: Floats) -> tuple[float, float]:
    low = float(samples_ms.min())
    # Samples that are all alike still need an axis.
    return low, max(float(np.percentile(samples_ms, _SHOWN_PERCENT)), low * 1.02)


def _encode(canvas: Canvas) -> bytes:
    ok, png = cv2.imencode(".png", canvas)
    if not ok:
        raise RuntimeFailure("OpenCV could not encode the latencies as PNG")
    return bytes(png)


@dataclass(frozen=True)
class _Scale:
    """Maps values to pixels along one direction."""

    low: float
    high: float
    start: int
    end: int

    def __call__(self, value: float) -> int:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + min(1.0, max(0.0, share)) * (self.end - self.start))

    def ticks(self) -> list[float]:
        """About `_TICKS` round values within the range."""
        rough = (self.high - self.low) / _TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = power * next(m for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
        first = math.ceil(self.low / step)
        return [step * i for i in range(first, math.floor(self.high / step) + 1)]


def _histogram(h: Histogram, low: float, high: float) -> Canvas:
    canvas = _blank(_TOP + _HISTOGRAM_HEIGHT + _BOTTOM)
    bottom = _TOP + _HISTOGRAM_HEIGHT
    x = _Scale(low, high, _LEFT, _WIDTH - _RIGHT)
    counts, edges = np.histogram(h.samples_ms, _BINS, (low, high))
    y = _Scale(0, float(max(1, counts.max())), bottom, _TOP)
    _time_axis(canvas, x, bottom, "ms")
    if h.interval_ms is not None:
        left, right = x(h.interval_ms[0]), x(h.interval_ms[1])
        cv2.rectangle(canvas, (left, _TOP), (max(right, left + 1), bottom), _BAND, -1)
    for count, start, end in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            cv2.rectangle(canvas, (x(start), y(count)), (x(end) - 1, bottom), _BARS, -1)
    cv2.line(canvas, (x(h.p50_ms), _TOP), (x(h.p50_ms), bottom), _MEDIAN, 1)
    cv2.line(canvas, (_LEFT, bottom), (_WIDTH - _RIGHT, bottom), _INK, 1)
    beyond = int((h.samples_ms > high).sum())
    words = f"p50 {h.p50_ms:.4g} ms"
    if h.interval_ms is not None:
        words += f" ({h.interval_ms[0]:.4g} to {h.interval_ms[1]:.4g})"
    words += f", {h.samples_ms.size} runs"
    if beyond:
        words += f", {beyond} beyond the axis, at most {h.samples_ms.max():.4g} ms"
    _title(canvas, h.name, words)
    return canvas


def _curve(c: Curve) -> Canvas:
    canvas = _blank(_TOP + _CURVE_HEIGHT + _BOTTOM)
    bottom = _TOP + _CURVE_HEIGHT
    parts = np.array_split(np.arange(c.seconds.size), min(_CURVE_POINTS, c.seconds.size))
    low, middle, high = np.array(
        [np.percentile(c.latency_ms[part], (10, 50, 90)) for part in parts]
    ).T
    times = np.array([float(np.median(c.seconds[part])) for part in parts])
    end = max(float(c.seconds[-1]), 1e-3)
    x = _Scale(0, end, _LEFT, _WIDTH - _RIGHT)
    # From zero: a curve that is cut off at the bottom makes every ripple a cliff.
    y = _Scale(0, float(high.max()) * 1.1, bottom, _TOP)
    _time_axis(canvas, x, bottom, "s")
    _side_axis(canvas, y, _LEFT - 8, "{:.4g}", right_aligned=True)
    _fill(canvas, times, low, high, x, y)
    _line(canvas, times, middle, x, y, _BARS, 2)
    words = f"latency in ms over {end:.4g} s (median, p10 to p90)"
    if c.heat_c.size:
        heat = _Scale(
            min(20.0, float(c.heat_c.min())), max(90.0, float(c.heat_c.max())), bottom, _TOP
        )
        _line(canvas, c.heat_seconds, c.heat_c, x, heat, _HEAT, 1)
        _side_axis(canvas, heat, _WIDTH - _RIGHT + 8, "{:g} C", right_aligned=False)
        words += ", and temperature"
    cv2.line(canvas, (_LEFT, bottom), (_WIDTH - _RIGHT, bottom), _INK, 1)
    _title(canvas, c.name, words)
    return canvas


def _blank(height: int) -> Canvas:
    return np.full((height, _WIDTH, 3), 255, np.uint8)


def _time_axis(canvas: Canvas, x: _Scale, bottom: int, unit: str) -> None:
    for tick in x.ticks():
        cv2.line(canvas, (x(tick), _TOP), (x(tick), bottom), _GRID, 1)
        text = f"{tick:.5g} {unit}"
        _write(canvas, text, (x(tick) - _text_width(text) // 2, bottom + 18))


def _side_axis(canvas: Canvas, y: _Scale, place: int, form: str, *, right_aligned: bool) -> None:
    for tick in y.ticks():
        text = form.format(tick)
        left = place - _text_width(text) if right_aligned else place
        _write(canvas, text, (left, y(tick) + 5))


def _fill(canvas: Canvas, times: Floats, low: Floats, high: Floats, x: _Scale, y: _Scale) -> None:
    outline = [*_points(times, high, x, y), *_points(times, low, x, y)[::-1]]
    cv2.fillPoly(canvas, [np.array(outline, np.int32)], _SPREAD)


def _line(
    canvas: Canvas,
    times: Floats,
    values: Floats,
    x: Callable[[float], int],
    y: Callable[[float], int],
    colour: tuple[int, int, int],
    width: int,
) -> None:
    points = np.array(_points(times, values, x, y), np.int32)
    cv2.polylines(canvas, [points], False, colour, width, cv2.LINE_AA)


def _points(
    times: Floats, values: Floats, x: Callable[[float], int], y: Callable[[float], int]
) -> list[tuple[int, int]]:
    return [(x(time), y(value)) for time, value in zip(times, values, strict=True)]


def _title(canvas: Canvas, name: str, words: str) -> None:
    room = _WIDTH - 2 * 12 - _text_width(words) - 24
    while name and _text_width(name) > room:
        name = name[:-4] + ".." if len(name) > 4 else ""
    _write(canvas, name, (12, 20))
    _write(canvas, words, (_WIDTH - 12 - _text_width(words), 20))


def _text_width(text: str) -> int:
    return int(cv2.getTextSize(text, _FONT, _SIZE, 1)[0][0])


def _write(canvas: Canvas, text: str, place: tuple[int, int]) -> None:
    cv2.putText(canvas, text, place, _FONT, _SIZE, _INK, 1, cv2.LINE_AA)
