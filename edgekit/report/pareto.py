"""The picture of accuracy against cost: which models are worth their time, and which none is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edgekit.report import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 1000, 640

Kind = Literal["listed", "possible", "lowered", "out"]
#: kind -> colour, marker, and what the legend says of it.
_KINDS: dict[Kind, tuple[str, str, str]] = {
    "listed": (figure.VERMILLION, "o", "on the short list"),
    "possible": (figure.BLUE, "o", "possible"),
    "lowered": (figure.BLUE, "v", "possible, but less in int8"),
    "out": (figure.PALE_INK, "x", "rejected, or over a limit"),
}
_FRONT = "Pareto set, of those that no rule speaks against"


@dataclass(frozen=True)
class Point:
    """A model.

    Attributes:
        name: Is written beside it.
        cost: Its place on the axis, larger than 0.
        low: From where the cost may reach.
        high: To where.
        accuracy: In percent.
        kind: How it is drawn.
        front: Whether it is in the Pareto set: no other is both more accurate and cheaper.
    """

    name: str
    cost: float
    low: float
    high: float
    accuracy: float
    kind: Kind
    front: bool


def pareto_png(points: Sequence[Point], title: str, unit: str, limit: float | None) -> bytes:
    """Models by cost (a logarithmic axis) and accuracy; the Pareto set is joined by a line.

    Args:
        points: The models.
        title: Above it.
        unit: What the cost is, with its unit: `latency, ms`.
        limit: The most that it may cost, or None.

    Returns:
        The bytes of a PNG file, 1000 x 640.

    Raises:
        MissingError: matplotlib is not installed.
    """
    return figure.png(WIDTH, HEIGHT, lambda sheet: _paint(sheet, points, title, unit, limit))


def _paint(
    sheet: Figure, points: Sequence[Point], title: str, unit: str, limit: float | None
) -> None:
    axes = sheet.subplots()
    figure.tidy(axes)
    axes.set_title(title, loc="left")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel(unit)
    axes.set_ylabel("ImageNet top-1, %")
    front = sorted((point.cost, point.accuracy) for point in points if point.front)
    if front:
        cost, accuracy = zip(*front, strict=True)
        axes.plot(cost, accuracy, color=figure.GREEN, linewidth=1.5, label=_FRONT, zorder=1)
    for kind in _KINDS:
        _scatter(axes, [point for point in points if point.kind == kind], kind)
    if limit is not None:
        axes.axvline(limit, color=figure.ORANGE, linewidth=1.5, label=f"asked for: {limit:g}")
    if points:
        axes.legend(frameon=False, loc="lower right")


def _scatter(axes: Axes, points: Sequence[Point], kind: Kind) -> None:
    if not points:
        return
    colour, marker, label = _KINDS[kind]
    cost, accuracy = [p.cost for p in points], [p.accuracy for p in points]
    if kind != "out":
        low, high = [p.cost - p.low for p in points], [p.high - p.cost for p in points]
        axes.errorbar(cost, accuracy, xerr=(low, high), fmt="none", ecolor=colour, alpha=0.35)
    axes.scatter(cost, accuracy, color=colour, marker=marker, s=30, label=label, zorder=2)
    for point in points:
        axes.annotate(
            point.name,
            (point.cost, point.accuracy),
            (4, 3),
            textcoords="offset points",
            # Slanted, neighbours on a line of equal accuracy don't hide each other.
            rotation=25,
            rotation_mode="anchor",
            fontsize=8 if kind == "listed" else 6.5,
            color=figure.INK if kind != "out" else figure.PALE_INK,
        )
