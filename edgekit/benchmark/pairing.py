"""Which cell is compared with which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from edgekit.benchmark.document import Cell, Run
from edgekit.errors import UsageError

#: What a run varies; also the names of a cell's fields.
Axis = Literal["model", "device", "delegate", "threads"]
AXES: tuple[Axis, ...] = get_args(Axis)


@dataclass(frozen=True)
class Pair:
    """Two cells to compare.

    Attributes:
        a: The reference.
        b: What is compared with it.
        a_name: What tells a from b.
        b_name: Likewise.
        common: What both share, such as `local, xnnpack, 4 threads`.
        axis: What the comparison is about and is meant to differ; None for two files.
        interleaved: Whether their rounds ran in one run on one device, in random order.
    """

    a: Cell
    b: Cell
    a_name: str
    b_name: str
    common: str
    axis: Axis | None = None
    interleaved: bool = False


def match_runs(a: Run, b: Run, names: tuple[str, str]) -> tuple[Pair, ...]:
    """Pairs the cells of two runs that are alike in every axis that either run varies.

    An axis that neither varies is not looked at, so that `old.tflite` in one run is compared with
    `new.tflite` in the other.

    Args:
        a: The reference.
        b: What is compared with it.
        names: Of the files, to tell both apart.

    Raises:
        UsageError: No cell has a partner.
    """
    cells_a, cells_b = _measured(a, names[0]), _measured(b, names[1])
    varied = [axis for axis in AXES if _varies(cells_a, axis) or _varies(cells_b, axis)]
    partners = {_values(cell, varied): cell for cell in cells_b}
    pairs = tuple(
        _pair_of_files(cell, partner, names)
        for cell in cells_a
        if (partner := partners.get(_values(cell, varied))) is not None
    )
    if not pairs:
        raise UsageError(
            f"{names[0]} and {names[1]} have no cell in common",
            f"The first has {cells_a[0].name}; the second {cells_b[0].name}. "
            "Measure the same grid in both.",
        )
    return pairs


def match_within(run: Run, name: str, by: Axis | None = None) -> tuple[Pair, ...]:
    """Pairs the cells of one run: along one axis, the first value with each other one.

    Args:
        run: With at least two cells.
        name: Of the file, for errors.
        by: The axis; None for the only one that the run varies, or else the model.

    Raises:
        UsageError: The run doesn't vary that axis; or it varies several, and none was chosen.
    """
    cells = _measured(run, name)
    varied = [axis for axis in AXES if _varies(cells, axis)]
    axis = by or _only_axis(varied, name)
    if axis not in varied:
        raise UsageError(
            f"--by {axis}: all cells of {name} have the same {axis}",
            f"It varies {' and '.join(varied)}." if varied else "Name a second file.",
        )
    others = [other for other in varied if other != axis]
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(_values(cell, others), []).append(cell)
    return tuple(
        Pair(
            first,
            cell,
            _text(first, axis),
            _text(cell, axis),
            _joined(cell, [other for other in AXES if other != axis]),
            axis,
            # Devices are measured side by side, each in an order of its own.
            interleaved=axis != "device",
        )
        for first, *rest in groups.values()
        for cell in rest
    )


def _only_axis(varied: Sequence[Axis], name: str) -> Axis:
    if not varied:
        raise UsageError(
            f"{name}: one cell, and nothing to compare it with",
            "Name a second file; better, measure both in one run: edgekit benchmark A B -o r.json",
        )
    if len(varied) > 1 and "model" not in varied:
        raise UsageError(
            f"{name}: varies {' and '.join(varied)}",
            f"Choose what to compare: {' or '.join(f'--by {axis}' for axis in varied)}.",
        )
    return "model" if "model" in varied else varied[0]


def _pair_of_files(a: Cell, b: Cell, names: tuple[str, str]) -> Pair:
    same = [axis for axis in AXES if getattr(a, axis) == getattr(b, axis)]
    other = [axis for axis in AXES if axis not in same]
    a_name, b_name = (
        f"{name} ({_joined(cell, other)})" if other else name
        for name, cell in zip(names, (a, b), strict=True)
    )
    return Pair(a, b, a_name, b_name, _joined(a, same))


def _measured(run: Run, name: str) -> list[Cell]:
    cells = [cell for cell in run.cells if cell.rounds]
    if not cells:
        reason = next((cell.error for cell in run.cells), None)
        raise UsageError(f"{name}: nothing was measured in it", reason)
    return cells


def _varies(cells: Sequence[Cell], axis: Axis) -> bool:
    return len({getattr(cell, axis) for cell in cells}) > 1


def _values(cell: Cell, axes: Sequence[Axis]) -> tuple[Any, ...]:
    return tuple(getattr(cell, axis) for axis in axes)


def _joined(cell: Cell, axes: Sequence[Axis]) -> str:
    return ", ".join(_text(cell, axis) for axis in axes)


def _text(cell: Cell, axis: Axis) -> str:
    value = getattr(cell, axis)
    return f"{value} thread{'s' if value > 1 else ''}" if axis == "threads" else str(value)
