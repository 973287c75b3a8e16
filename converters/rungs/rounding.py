"""Adaptive rounding: each weight up or down, so that the layer's output changes least.

Rounding every weight to the nearest step is best for the weights and not for what they are for.
With inputs x of covariance H, rounding the filter w to q costs `(w - q)^T H (w - q)`, and errors of
weights whose inputs go together can be made to cancel. This is the objective of AdaRound (Nagel et
al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization", arXiv:2004.10568, equation
13). The paper relaxes it and runs a stochastic optimizer over the images; here it is descended one
weight at a time, on the covariance alone, as in QuantEase (Behdin et al. 2023, arXiv:2309.01885,
section 3): exact steps, no learning rate, seconds instead of minutes.

What a layer reads in the int8 model isn't x but x', with all the errors of the layers before. So
the layers are rounded in order, and each is fitted to give on x' what the float layer gives on x:
the filter that does this best, `w' = E[w x x'^T] E[x' x'^T]^-1`, takes the place of w, pulled
towards w so that it doesn't follow the calibration images further than they tell. The means are
left to the bias, which has 32 bits (`bias.corrected_bias`).

The result is a float model whose weights lie on the steps that any quantizer by minimum and maximum
will choose: in every channel the largest weight stays where it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.converters.rewriting import Array
from edgekit.converters.rungs.bias import IMAGES, corrected_bias
from edgekit.converters.rungs.draft import Draft, Material, Progress
from edgekit.converters.rungs.in_order import change_layers, rows_of, sees_all_channels
from edgekit.converters.rungs.prefix import Pair, Prefix
from edgekit.converters.weighted import Layer, steps
from edgekit.runtime import map_on_cores

#: Rows of inputs that the covariance of a layer is taken over, at least; and for each input.
_ROWS, _ROWS_PER_INPUT = 20_000, 10
#: Calibration images that are run, at most (each layer runs all of them).
_PICTURES = 200
#: The pull of w' towards w, and of q towards w', as a share of the inputs' mean variance.
_PULL_TO_FLOAT, _PULL = 10.0, 0.03
#: How much stronger both are where a layer has seen as few rows as it has inputs: a covariance of
#: few rows is the images' own, and says little of others.
_FEW_ROWS = 30.0
#: The covariance of more inputs takes half a gigabyte and more; such a layer keeps its rounding.
_MOST_INPUTS = 8192
#: Times over all weights; few change after the fifth.
_SWEEPS = 12
#: The last step of a symmetric int8 weight, and the shares of the largest weight that it may stand
#: for.
_END, _SHARES = 127, (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
#: Weights whose influence on each other is kept up to date one by one; between blocks, all at once.
_BLOCK = 64


def round_weights(draft: Draft, material: Material, progress: Progress) -> Draft:
    """Rounds the weights of every layer, in order.

    Args:
        draft: Its base is rounded, for its options and ranges.
        material: Calibration images.
        progress: Called with (layers done, layers).

    Returns:
        The draft with weights that lie on their steps, and other biases.
    """
    pictures = material.typical(IMAGES)

    def change(layer: Layer, prefix: Prefix) -> tuple[Array, Array]:
        moments = _moments(layer, prefix, material)
        found = _rounded(layer.filters(), moments, draft.options.per_channel(layer.op.name))
        return found, corrected_bias(layer, found, prefix, pictures)

    return change_layers(draft, material, _covers, change, progress)


def _covers(layer: Layer, channels: int) -> bool:
    return sees_all_channels(layer, channels) and layer.filters().shape[1] <= _MOST_INPUTS


# --- what the layer reads


@dataclass(frozen=True)
class _Moments:
    """Of what a layer's filters see, in the float model (x) and quantized (x').

    Depthwise, the first dimension of each is the channel.

    Attributes:
        seen: float64[..., inputs, inputs], the covariance of x'.
        cross: float64[..., inputs, inputs], the covariance of x (rows) and x' (columns).
        rows: How many rows they are of.
    """

    seen: Array
    cross: Array
    rows: int


class _Sums:
    """The sums that one thread gathers."""

    def __init__(self, pair: Pair) -> None:
        self.pair, self.rows = pair, 0
        self.sums: list[Array] = []

    def add(self, exact: Array, seen: Array) -> None:
        """Adds rows x and x': float32[rows, inputs] or, depthwise, [rows, channels, inputs]."""
        if exact.ndim == 3:
            exact, seen = exact.transpose(1, 0, 2), seen.transpose(1, 0, 2)
        parts = [
            np.swapaxes(seen, -1, -2) @ seen,
            np.swapaxes(exact, -1, -2) @ seen,
            exact.sum(-2),
            seen.sum(-2),
        ]
        if not self.sums:
            self.sums = [part.astype(np.float64) for part in parts]
        else:
            for total, part in zip(self.sums, parts, strict=True):
                total += part
        self.rows += exact.shape[-2]


def _moments(layer: Layer, prefix: Prefix, material: Material) -> _Moments:
    pictures = material.typical(_PICTURES)
    share = -(-max(_ROWS, _ROWS_PER_INPUT * layer.filters().shape[1]) // len(pictures))
    gathered: list[_Sums] = []

    def tool() -> _Sums:
        gathered.append(_Sums(prefix.open()))
        return gathered[-1]

    def look(sums: _Sums, position: int) -> None:
        sums.add(*rows_of(layer, sums.pair, pictures[position], share, position))

    map_on_cores(tool, look, len(pictures))
    rows = sum(sums.rows for sums in gathered)
    parts = zip(*(sums.sums for sums in gathered if sums.rows), strict=True)
    second, crossed, first, first_seen = (np.sum(part, axis=0) / rows for part in parts)
    return _Moments(
        second - _outer(first_seen, first_seen),
        crossed - _outer(first, first_seen),
        rows,
    )


# --- the rounding


def _rounded(filters: Array, moments: _Moments, per_channel: bool) -> Array:
    """The filters on their steps, in real units: float64[out, inputs].

    Args:
        filters: float64[out, inputs].
        moments: Depthwise, of as many channels as `out` or a divisor of it.
        per_channel: Whether each filter has a step of its own.
    """
    seen, cross = moments.seen, moments.cross
    if seen.ndim == 3:  # depthwise: one problem for each filter, all at once
        seen, cross = (np.repeat(m, len(filters) // len(m), axis=0) for m in (seen, cross))
        targets, pulled = _fitted(filters[:, None, :], seen, cross, moments.rows)
        targets = targets[:, 0, :]
    else:
        targets, pulled = _fitted(filters, seen, cross, moments.rows)
    scale = _clipped(targets, steps(filters, per_channel), pulled, per_channel)
    wanted = targets / scale[:, None]
    # The largest weights stay at the end, so that a quantizer by minimum and maximum finds the same
    # steps again.
    exact = filters / scale[:, None]
    largest = np.abs(exact) >= _END - 0.5
    start = np.clip(np.rint(np.where(largest, exact, wanted)), -_END, _END)
    low = np.where(largest, start, np.clip(np.floor(wanted), -_END, _END))
    high = np.where(largest, start, np.clip(np.ceil(wanted), -_END, _END))
    descend = _descend_each if pulled.ndim == 3 else _descend
    return np.asarray(descend(wanted, pulled, start, low, high) * scale[:, None])


def _clipped(targets: Array, scale: Array, cost: Array, per_channel: bool) -> Array:
    """Smaller steps where clipping the largest weights costs less than they bring the others.

    Args:
        targets: float64[out, inputs].
        scale: float64[out], the step that clips nothing.
        cost: float64[inputs, inputs], or [out, inputs, inputs].
        per_channel: Whether each filter may have another step.
    """
    costs = []
    for share in _SHARES:
        step = share * scale[:, None]
        error = np.clip(np.rint(targets / step), -_END, _END) * step - targets
        weighed = error @ cost if cost.ndim == 2 else np.einsum("oi,oij->oj", error, cost)
        costs.append((weighed * error).sum(axis=1))
    if not per_channel:
        return np.asarray(scale * _SHARES[int(np.argmin(np.sum(costs, axis=1)))])
    return np.asarray(scale * np.array(_SHARES)[np.argmin(costs, axis=0)])


def _fitted(filters: Array, seen: Array, cross: Array, rows: int) -> tuple[Array, Array]:
    """(w', the covariance of x' with the pull on its diagonal)."""
    inputs = seen.shape[-1]
    variance = np.asarray(np.trace(seen, axis1=-2, axis2=-1) / inputs)
    variance = np.maximum(variance, np.finfo(np.float32).tiny)[..., None, None]
    variance = variance * (1 + _FEW_ROWS * inputs / rows)
    pull = _PULL_TO_FLOAT * variance * np.eye(inputs)
    # w' (S + pull) = w (C + pull)
    right = np.swapaxes(filters @ (cross + pull), -1, -2)
    targets = np.swapaxes(np.linalg.solve(seen + pull, right), -1, -2)
    return targets, seen + _PULL * variance * np.eye(inputs)


def _descend(wanted: Array, cost: Array, start: Array, low: Array, high: Array) -> Array:
    """Coordinate descent of `(q - wanted) cost (q - wanted)^T` over whole numbers, row by row.

    Args:
        wanted: float64[out, inputs], in steps.
        cost: float64[inputs, inputs], positive definite.
        start: float64[out, inputs], whole numbers.
        low: The lowest whole number that is tried.
        high: The highest.
    """
    cost = cost.astype(np.float32)
    found, error = start.astype(np.float32), (start - wanted).astype(np.float32)
    for _ in range(_SWEEPS):
        changed = 0
        for begin in range(0, len(cost), _BLOCK):
            block = slice(begin, begin + _BLOCK)
            slope, within = error @ cost[:, block], cost[block, block]
            for place in range(len(within)):
                column = begin + place
                best = found[:, column] - slope[:, place] / within[place, place]
                best = np.clip(np.rint(best), low[:, column], high[:, column])
                moved = np.flatnonzero(best != found[:, column])
                by = best[moved] - found[moved, column]
                found[moved, column] = best[moved]
                error[moved, column] += by
                slope[moved] += by[:, None] * within[place]
                changed += len(moved)
        if changed < 1e-4 * found.size:
            break
    return found.astype(np.float64)


def _descend_each(wanted: Array, cost: Array, start: Array, low: Array, high: Array) -> Array:
    """The same where every row has a cost of its own: float64[out, inputs, inputs]."""
    found, error = start.copy(), start - wanted
    for _ in range(_SWEEPS):
        before = found.copy()
        for column in range(found.shape[1]):
            slope = np.einsum("oi,oi->o", error, cost[:, :, column])
            best = np.rint(found[:, column] - slope / cost[:, column, column])
            best = np.clip(best, low[:, column], high[:, column])
            error[:, column] += best - found[:, column]
            found[:, column] = best
        if (found == before).all():
            break
    return found


def _outer(first: Array, second: Array) -> Array:
    return np.asarray(first[..., :, None] * second[..., None, :])
