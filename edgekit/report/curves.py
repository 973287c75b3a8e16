"""Learning curves: loss, accuracy and learning rate by epoch, over all phases."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgekit.report import figure
from edgekit.types import EpochRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 1200, 500

#: Beyond this many epochs a marker on each is a smear.
_MARKED_EPOCHS = 40
#: Learning rates that span more than this are drawn on a logarithmic axis.
_LOG_SPAN = 20
_NAMED_EPOCHS = 8


def curves_png(history: Sequence[EpochRow], best: int | None = None) -> bytes:
    """The three curves side by side; phases one after the other, the best epoch marked.

    A value that isn't finite leaves a gap in its curve, and a line below the titles says so.

    Args:
        history: The epochs in the order they ran; none draws empty axes.
        best: The position in `history` of the epoch that was kept, or None.

    Returns:
        The bytes of a PNG file, 1200 x 500.

    Raises:
        MissingError: matplotlib is not installed.
    """
    return figure.png(WIDTH, HEIGHT, lambda empty: _paint(empty, history, best))


def _paint(sheet: Figure, history: Sequence[EpochRow], best: int | None) -> None:
    loss, accuracy, rate = sheet.subplots(1, 3)
    epochs = np.arange(1, len(history) + 1)
    for axes, title in ((loss, "Loss"), (accuracy, "Accuracy, %"), (rate, "Learning rate")):
        figure.tidy(axes)
        axes.set_title(title, loc="left", pad=22)
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, max(len(history), 1) + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=8, min_n_ticks=1)
        _phases(axes, history)
    _pair(loss, epochs, history, lambda r: r.loss, lambda r: r.val_loss)
    _pair(accuracy, epochs, history, lambda r: 100 * r.accuracy, lambda r: 100 * r.val_accuracy)
    rates = _values(history, lambda r: r.learning_rate)
    rate.plot(epochs, rates, color=figure.GREEN, **_line(len(epochs), "D"))
    _rate_axis(rate, rates)
    if best is not None:
        _mark_best(loss, best, history[best].val_loss, "{:.3f}")
        _mark_best(accuracy, best, 100 * history[best].val_accuracy, "{:.1f} %")
    for axes in (loss, accuracy):
        axes.legend(frameon=False, loc="best")
    words = _not_finite(history)
    if words:
        sheet.supxlabel(words, color=figure.VERMILLION, fontsize=10)


def _values(
    history: Sequence[EpochRow], value: Callable[[EpochRow], float]
) -> npt.NDArray[np.float64]:
    """float64[epochs], NaN where a value isn't finite."""
    found = [value(row) for row in history]
    return np.array([v if math.isfinite(v) else math.nan for v in found], np.float64)


def _pair(
    axes: Axes,
    epochs: npt.NDArray[np.int64],
    history: Sequence[EpochRow],
    training: Callable[[EpochRow], float],
    validation: Callable[[EpochRow], float],
) -> None:
    """Two lines that differ in colour, stroke and marker."""
    count = len(epochs)
    axes.plot(
        *(epochs, _values(history, training), "--"),
        color=figure.BLUE,
        label="training",
        **_line(count, "s"),
    )
    axes.plot(
        *(epochs, _values(history, validation), "-"),
        color=figure.VERMILLION,
        label="validation",
        **_line(count, "o"),
    )


def _line(count: int, marker: str) -> dict[str, Any]:
    marked = count <= _MARKED_EPOCHS
    return {"linewidth": 1.8, "marker": marker if marked else "", "markersize": 4}


def _phases(axes: Axes, history: Sequence[EpochRow]) -> None:
    """A band behind every second phase, and the phases' names above."""
    start = 0
    runs = [(phase, len(list(rows))) for phase, rows in groupby(history, lambda row: row.phase)]
    for number, (phase, count) in enumerate(runs):
        left, right = start + 0.5, start + count + 0.5
        if number % 2:
            axes.axvspan(left, right, color="#F1F1F1", zorder=0, linewidth=0)
        if number:
            axes.axvline(left, color=figure.PALE_INK, linewidth=0.9, linestyle=":")
        # The first name from the left, the last from the right: they can't run into each other,
        # however short a phase was.
        place, side = (right, "right") if 0 < number == len(runs) - 1 else (left, "left")
        axes.annotate(
            phase,
            (place, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha=side,
            fontsize=8.5,
            color=figure.PALE_INK,
        )
        start += count


def _rate_axis(axes: Axes, rates: npt.NDArray[np.float64]) -> None:
    known = rates[np.isfinite(rates)]
    if known.size and known.min() > 0 and known.max() > _LOG_SPAN * known.min():
        axes.set_yscale("log")
    elif known.size:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:g}")


def _mark_best(axes: Axes, best: int, value: float, form: str) -> None:
    if not math.isfinite(value):
        return
    axes.plot(
        *([best + 1], [value], "*"),
        color=figure.ORANGE,
        markeredgecolor=figure.INK,
        markersize=15,
        zorder=5,
        label=f"kept: epoch {best + 1}, {form.format(value)}",
    )


def _not_finite(history: Sequence[EpochRow]) -> str:
    """Which epochs hold a loss or an accuracy that isn't finite, in words."""
    found = [
        str(number)
        for number, row in enumerate(history, 1)
        if not all(map(math.isfinite, (row.loss, row.accuracy, row.val_loss, row.val_accuracy)))
    ]
    if not found:
        return ""
    more = f" and {len(found) - _NAMED_EPOCHS} more" if len(found) > _NAMED_EPOCHS else ""
    return f"Not finite (NaN or infinite) in epoch {', '.join(found[:_NAMED_EPOCHS])}{more}"
