"""The reliability diagram: is the model as often right as it says?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.report import figure
from edgekit.types import Calibration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 600, 700


def reliability_png(calibration: Calibration) -> bytes:
    """Accuracy by confidence, the gap to the diagonal hatched, over a histogram of confidences.

    (DeGroot and Fienberg, The Statistician 32, 1983; drawn as in Guo et al. 2017,
    arXiv:1706.04599, figure 1.)

    Args:
        calibration: At least one bin holds images.

    Returns:
        The bytes of a PNG file, 600 x 700.

    Raises:
        MissingError: matplotlib is not installed.
    """
    return figure.png(WIDTH, HEIGHT, lambda empty: _paint(empty, calibration))


def _paint(sheet: Figure, calibration: Calibration) -> None:
    upper, lower = sheet.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    filled = [row for row in calibration.bins if row.count]
    width = 1 / len(calibration.bins)
    lefts = [row.low for row in filled]
    accuracies = [row.accuracy or 0.0 for row in filled]
    gaps = [(row.confidence or 0.0) - (row.accuracy or 0.0) for row in filled]
    for axes in (upper, lower):
        figure.tidy(axes)
    upper.set_title(f"Confidence on {sum(row.count for row in filled)} pictures", loc="left")
    upper.bar(
        *(lefts, accuracies, width),
        align="edge",
        color=figure.BLUE,
        edgecolor="white",
        label="accuracy",
    )
    upper.bar(
        *(lefts, gaps, width),
        bottom=accuracies,
        align="edge",
        facecolor="none",
        edgecolor=figure.VERMILLION,
        hatch="////",
        linewidth=0.9,
        label="gap to the mean confidence",
    )
    upper.plot([0, 1], [0, 1], "--", color=figure.INK, linewidth=1.2, label="as sure as right")
    upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that is right")
    errors = f"ECE {100 * calibration.ece:.1f} %, MCE {100 * calibration.mce:.1f} %"
    upper.legend(title=errors, alignment="left", frameon=False, loc="upper left")
    counts = [row.count for row in filled]
    lower.bar(lefts, counts, width, align="edge", color=figure.PALE_INK, edgecolor="white")
    lower.set(xlabel="confidence of the top-1 class", ylabel="pictures")
    lower.locator_params(axis="y", integer=True, nbins=4)
