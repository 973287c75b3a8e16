"""What the filters of a layer see: one row of inputs for each position and picture."""

from __future__ import annotations

import numpy as np

from edgekit.converters.rewriting import Array, Op
from edgekit.converters.weighted import Layer


def patches(layer: Layer, value: Array, positions: Array | None = None) -> Array:
    """The inputs of a layer's filters, in the order of `Layer.filters`.

    Args:
        layer: A layer with one group of channels.
        value: float32[batch, height, width, channels] of a convolution (a batch of one picture's
            parts, where a dilated one is computed so), [..., depth] of a dense layer.
        positions: Which rows, or None for all; see `count`.

    Returns:
        float32[rows, inputs], or float32[rows, channels, inputs] of a depthwise layer.
    """
    if layer.op.name == "FULLY_CONNECTED":
        rows = value.reshape(-1, layer.weights.shape[-1])
        return rows if positions is None else rows[positions]
    windows = _windows(layer, value)
    grid = windows.shape[:3]
    chosen = np.arange(int(np.prod(grid))) if positions is None else positions
    rows = windows[np.unravel_index(chosen, grid)]  # [rows, channels, h, w]
    if layer.is_depthwise:
        return rows.reshape(*rows.shape[:2], -1)
    return np.ascontiguousarray(rows.transpose(0, 2, 3, 1)).reshape(len(rows), -1)


def count(layer: Layer, value: Array) -> int:
    """How many rows `patches` has."""
    if layer.op.name == "FULLY_CONNECTED":
        return int(value.size // layer.weights.shape[-1])
    return int(np.prod(_windows(layer, value).shape[:3]))


def _windows(layer: Layer, value: Array) -> Array:
    """A view [batch, out height, out width, channels, h, w] of what each position sees."""
    height, width = layer.weights.shape[1:3]
    down, right = (_step(layer.op, f"stride_{axis}") for axis in "hw")
    rows, columns = (_step(layer.op, f"dilation_{axis}_factor") for axis in "hw")
    tall, wide = (height - 1) * rows + 1, (width - 1) * columns + 1
    if not layer.op.option("padding"):  # SAME is 0
        around = _same(value.shape[1], tall, down), _same(value.shape[2], wide, right)
        value = np.pad(value, ((0, 0), *around, (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(value, (tall, wide), (1, 2))
    return views[:, ::down, ::right, :, ::rows, ::columns]


def _step(op: Op, name: str) -> int:
    return int(op.option(name) or 1)


def _same(size: int, window: int, stride: int) -> tuple[int, int]:
    """Zeros before and after, as TFLite pads: the odd one after."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + window - size, 0)
    return total // 2, total - total // 2
