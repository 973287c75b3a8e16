"""What ViT and Swin share, as functions that add plain Keras layers to a functional graph.

There is no class of our own among them, so a `.keras` file loads wherever Keras does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from keras import initializers, layers, ops

from edgekit.training.zoo.weights.stored import Matched, Stored

Array = npt.NDArray[Any]

#: The width of a transformer's MLP over that of its tokens, in all models here.
MLP_RATIO = 4

#: How the names of tensors end that PyTorch's models keep beside their weights.
_TORCH_CONSTANTS = ("relative_position_index", "attn_mask")


def weights_initializer() -> Any:
    """Both papers' implementations draw weights from a normal distribution cut at two sigma."""
    return initializers.TruncatedNormal(stddev=0.02)


def dense(units: int, name: str, use_bias: bool = True) -> Any:
    """A Dense layer, initialized as in the papers' implementations."""
    return layers.Dense(
        units, use_bias=use_bias, kernel_initializer=weights_initializer(), name=name
    )


def learned_table(x: Any, rows: int, columns: int, indices: Array, name: str) -> Any:
    """A learned table, looked up at constant indices: float[N, len(indices), columns].

    Keras has no layer that is just a parameter; an Embedding is one, if its indices are constant.

    Args:
        x: [N, ...]: gives the batch. Its values don't matter.
        rows: Rows of the table.
        columns: Columns of the table.
        indices: int[...], which rows; flattened.
        name: The Embedding's name.
    """
    batch = ops.zeros_like(ops.reshape(x, (-1, int(np.prod(x.shape[1:]))))[:, :1], dtype="int32")
    rows_wanted = ops.add(batch, np.reshape(indices, (1, -1)).astype(np.int32))
    table = layers.Embedding(rows, columns, embeddings_initializer=weights_initializer(), name=name)
    return table(rows_wanted)


def attention(x: Any, heads: int, name: str, biases: tuple[Any, ...] = ()) -> Any:
    """Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762, section 3.2).

    The query, key and value are layers of their own, where the papers' code has one of three times
    the width: same parameters, but in int8 each has a range of its own.

    Args:
        x: [N, ..., tokens, width]; attention is among the tokens.
        heads: How many heads; they divide the width.
        name: Prefix of the layers' names.
        biases: Added to the scores [N, ..., heads, tokens, tokens] before the softmax, in order.
    """
    *others, tokens, width = x.shape[1:]
    axes = range(1, len(others) + 1)
    token, head, channel = (len(others) + i for i in (1, 2, 3))

    def project(part: str, order: tuple[int, int, int]) -> Any:
        y = dense(width, f"{name}_{part}")(x)
        if part == "query":
            y = layers.Rescaling((width // heads) ** -0.5, name=f"{name}_scale")(y)
        y = layers.Reshape((*others, tokens, heads, width // heads), name=f"{name}_{part}_heads")(y)
        return layers.Permute((*axes, *order), name=f"{name}_{part}_permute")(y)

    query = project("query", (head, token, channel))
    key = project("key", (head, channel, token))
    value = project("value", (head, token, channel))
    scores = ops.matmul(query, key)
    for number, bias in enumerate(biases):
        scores = layers.Add(name=f"{name}_bias{number}")([scores, bias])
    mixed = ops.matmul(layers.Softmax(name=f"{name}_softmax")(scores), value)
    mixed = layers.Permute((*axes, head, token, channel), name=f"{name}_permute")(mixed)
    mixed = layers.Reshape((*others, tokens, width), name=f"{name}_reshape")(mixed)
    return dense(width, f"{name}_project")(mixed)


def mlp(x: Any, name: str) -> Any:
    """The two dense layers of a transformer block, with an exact GELU between them."""
    width = x.shape[-1]
    y = dense(MLP_RATIO * width, f"{name}_expand")(x)
    y = layers.Activation("gelu", name=f"{name}_gelu")(y)
    return dense(width, f"{name}_project")(y)


class TorchState:
    """A PyTorch state dict of a transformer, handed out as weights of Keras layers.

    What the file lacks is left out: `edgekit.training.zoo.weights.filling` names the layer.
    """

    def __init__(self, state: Mapping[str, Array]) -> None:
        self._state = state
        self._stored: dict[str, Stored] = {}
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._state

    def take(self, layer: str, prefix: str) -> None:
        """A layer's weight and bias: a convolution's, a dense layer's or a norm's."""
        parts = self._parts(f"{prefix}.weight", f"{prefix}.bias")
        order = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
        self._store(layer, prefix, [part.transpose(order[part.ndim]) for part in parts], parts)

    def take_attention(self, layer: str, weight: str, bias: str) -> None:
        """The query, key and value of `layer`, which PyTorch has as one projection."""
        parts = self._parts(weight, bias)
        if len(parts) == 2 and len(parts[0]) % 3 == 0:
            thirds = zip(*(np.split(part, 3) for part in parts), strict=True)
            for name, third in zip(("query", "key", "value"), thirds, strict=True):
                self._store(f"{layer}_{name}", weight, [part.T for part in third], third)

    def take_table(self, layer: str, name: str, resize: Callable[[Array], Array]) -> None:
        """A learned table, float[..., rows, columns], resampled where the input size differs."""
        parts = self._parts(name)
        tables = [resize(part.reshape(-1, part.shape[-1])) for part in parts]
        self._store(layer, name, tables, parts)

    def matched(self) -> Matched:
        """What was taken, and the names of what was not: constants of the library left out."""
        rest = [name for name in self._state if name not in self._taken]
        return Matched(self._stored, tuple(n for n in rest if not n.endswith(_TORCH_CONSTANTS)))

    def _parts(self, *names: str) -> list[Array]:
        found = [name for name in names if name in self._state]
        self._taken.update(found)
        return [self._state[name] for name in found]

    def _store(
        self, layer: str, source: str, arrays: Sequence[Array], parts: Sequence[Array]
    ) -> None:
        if arrays:
            shapes = tuple(part.shape for part in parts)
            self._stored[layer] = Stored(source, tuple(arrays), shapes)


def resize_table(table: Array, side: int) -> Array:
    """A learned table over a square grid, resampled (bicubic) to another grid.

    Both papers fine-tune so at another input size: Dosovitskiy et al. 2020, section 3.2; Liu et al.
    2021, section 3.2.

    Args:
        table: float[old * old, columns].
        side: Of the new grid.

    Returns:
        float[side * side, columns]; a table over no square grid comes back as it is.
    """
    old = math.isqrt(len(table))
    if old == side or old * old != len(table):
        return table
    grid = table.reshape(old, old, -1).astype(np.float32)
    # OpenCV resizes at most 4 channels at once, so the columns go one by one.
    resized = [
        cv2.resize(np.ascontiguousarray(grid[..., c]), (side, side), interpolation=cv2.INTER_CUBIC)
        for c in range(grid.shape[-1])
    ]
    return np.stack(resized, axis=-1).reshape(side * side, -1)
