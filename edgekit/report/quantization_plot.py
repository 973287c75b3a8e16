"""SQNR along the depth of a quantized file, as a picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgekit.report import figure
from edgekit.report.quantization import QuantizationReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 1200, 700

#: How many of the worst layers are named in the picture.
_NAMED = 10
_PARTS = (
    ("weights", "rounded weights", figure.BLUE),
    ("clipping", "clipped", figure.VERMILLION),
    ("rounding", "rounded output", figure.ORANGE),
)


def sqnr_png(report: QuantizationReport) -> bytes:
    """SQNR by layer, own and accumulated, above what a layer's own error is made of.

    A layer without error leaves a gap in its line.

    Args:
        report: At least one layer.

    Returns:
        The bytes of a PNG file, 1200 x 700.

    Raises:
        MissingError: matplotlib is not installed.
    """
    return figure.png(WIDTH, HEIGHT, lambda empty: _paint(empty, report))


def _paint(sheet: Figure, report: QuantizationReport) -> None:
    above, below = sheet.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    depth = _depth(report)
    for axes in (above, below):
        figure.tidy(axes)
    above.set_title("SQNR by layer, dB", loc="left")
    _line(above, report, "sqnr_db", "with the errors before it", figure.VERMILLION, "-")
    _line(above, report, "own_sqnr_db", "by itself", figure.BLUE, "-")
    _line(above, report, "channel_sqnr_db", "by itself, median channel", figure.GREEN, ":")
    _name_worst(above, report)
    above.legend(frameon=False, loc="best")
    below.set_title("What a layer's own error is made of, %", loc="left")
    floor = np.zeros(len(depth))
    for part, label, colour in _PARTS:
        shares = np.array([100 * getattr(layer.shares, part) for layer in report.layers])
        below.bar(depth, shares, 0.9, floor, color=colour, label=label, linewidth=0)
        floor += shares
    below.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    below.set_xlabel("op, in the order of execution")
    below.set_xlim(depth[0] - 0.5, depth[-1] + 0.5)
    below.set_ylim(0, 100)
    below.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def _line(
    axes: Axes, report: QuantizationReport, name: str, label: str, colour: str, stroke: str
) -> None:
    values = [getattr(layer, name) for layer in report.layers]
    shown = [value if math.isfinite(value) else math.nan for value in values]
    axes.plot(
        *(_depth(report), shown, stroke),
        color=colour,
        label=label,
        linewidth=1.8,
        marker="o",
        markersize=3,
    )


def _depth(report: QuantizationReport) -> npt.NDArray[np.int64]:
    """Where each layer stands: the index of its op."""
    return np.array([layer.index for layer in report.layers], np.int64)


def _name_worst(axes: Axes, report: QuantizationReport) -> None:
    """The op's index beside the layers that add most by themselves."""
    for layer in report.worst(_NAMED):
        if math.isfinite(layer.worst_db):
            axes.annotate(
                f"#{layer.index}",
                (layer.index, layer.worst_db),
                xytext=(0, -14),
                textcoords="offset points",
                ha="center",
                fontsize=8.5,
                color=figure.PALE_INK,
            )
