"""Swin Transformer in Keras 3 (Liu et al. 2021, arXiv:2103.14030)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from edgekit.errors import UsageError
from edgekit.training.zoo.catalogue import Entry
from edgekit.training.zoo.transformer_layers import (
    Array,
    TorchState,
    attention,
    dense,
    learned_table,
    mlp,
    resize_table,
    weights_initializer,
)
from edgekit.training.zoo.weights.stored import Matched

PATCH = 4
HEAD_WIDTH = 32
#: Three patch mergings after the patches of 4 pixels: what the size is divided by in all.
STRIDE = 32
_EPSILON = 1e-5
#: What keeps tokens apart that only meet through the cyclic shift.
_MASKED = -100.0


def build(entry: Entry, classes: int, size: int, dropout: float | None = None) -> keras.Model:
    """Builds the model with random weights.

    A window has `size / 32` tokens to a side, so that windows tile every stage: 7 at 224 and 12 at
    384, as in the paper.

    Args:
        entry: `width` and `depths` in its arguments.
        classes: Number of outputs (logits).
        size: Input height and width in pixels, a multiple of 32 from 64.
        dropout: Rate before the classifier; by default the entry's.

    Returns:
        float32[N, size, size, 3] -> float32[N, classes].

    Raises:
        UsageError: The size is no such multiple.
    """
    if size % STRIDE or size < 2 * STRIDE:
        below = max(size // STRIDE, 2) * STRIDE
        raise UsageError(
            f"{entry.name}: takes pictures of a multiple of {STRIDE} pixels, from {2 * STRIDE}, "
            f"not {size}",
            f"Sizes that work: {below}, {below + STRIDE}.",
        )
    width, window = entry.arguments["width"], size // STRIDE
    inputs = keras.Input((size, size, 3), name="image")
    x = layers.Conv2D(
        width, PATCH, PATCH, kernel_initializer=weights_initializer(), name="patch_embedding"
    )(inputs)
    x = _norm("patch_norm")(x)
    for stage, depth in enumerate(entry.arguments["depths"], 1):
        if stage > 1:
            x = _merge_patches(x, f"stage{stage}_merge")
        for number in range(depth):
            # Windows are shifted by half in every other block, where there are several.
            shift = window // 2 if number % 2 and x.shape[1] > window else 0
            x = _block(x, window, shift, f"stage{stage}_block{number + 1}")
    x = _norm("norm")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(entry.dropout if dropout is None else dropout, name="dropout")(x)
    return keras.Model(inputs, dense(classes, "logits")(x), name=entry.name)


def _norm(name: str) -> Any:
    return layers.LayerNormalization(epsilon=_EPSILON, name=name)


def _block(x: Any, window: int, shift: int, name: str) -> Any:
    """A block with attention in windows, shifted or not: section 3.2 and figure 3b."""
    side, width = x.shape[1], x.shape[-1]
    heads = width // HEAD_WIDTH
    y = _norm(f"{name}_norm1")(x)
    y = _roll(y, shift, f"{name}_shift")
    y = _to_windows(y, window, f"{name}_windows")
    biases = [_relative_bias(y, window, heads, f"{name}_position_bias")]
    if shift:
        biases.append(_mask(y, side, window, shift))
    y = attention(y, heads, f"{name}_attention", tuple(biases))
    y = _from_windows(y, side, window, f"{name}_image")
    y = _roll(y, -shift, f"{name}_unshift")
    x = layers.Add(name=f"{name}_add1")([x, y])
    y = mlp(_norm(f"{name}_norm2")(x), f"{name}_mlp")
    return layers.Add(name=f"{name}_add2")([x, y])


def _roll(x: Any, shift: int, name: str) -> Any:
    """Moves [N, H, W, C] up and left by `shift`; what falls off comes back on the other side."""
    if not shift:
        return x
    for axis, letter in ((1, "y"), (2, "x")):
        # TFLite has no roll, but slices and concatenations.
        first = shift % x.shape[axis]
        crops = [[(0, 0), (0, 0)], [(0, 0), (0, 0)]]
        crops[0][axis - 1], crops[1][axis - 1] = (first, 0), (0, x.shape[axis] - first)
        tail, head = (
            layers.Cropping2D(tuple(crop), name=f"{name}_{part}_{letter}")(x)
            for part, crop in zip(("tail", "head"), crops, strict=True)
        )
        x = layers.Concatenate(axis=axis, name=f"{name}_{letter}")([tail, head])
    return x


def _to_windows(x: Any, window: int, name: str) -> Any:
    """[N, H, W, C] -> [N, windows, window * window, C]."""
    side, width = x.shape[1], x.shape[-1]
    count = side // window
    x = layers.Reshape((count, window, count, window, width), name=f"{name}_split")(x)
    x = layers.Permute((1, 3, 2, 4, 5), name=f"{name}_permute")(x)
    return layers.Reshape((count * count, window * window, width), name=name)(x)


def _from_windows(x: Any, side: int, window: int, name: str) -> Any:
    """[N, windows, window * window, C] -> [N, H, W, C]."""
    width, count = x.shape[-1], side // window
    x = layers.Reshape((count, count, window, window, width), name=f"{name}_split")(x)
    x = layers.Permute((1, 3, 2, 4, 5), name=f"{name}_permute")(x)
    return layers.Reshape((side, side, width), name=name)(x)


def _relative_bias(x: Any, window: int, heads: int, name: str) -> Any:
    """The learned bias by relative position (equation 4): [N, 1, heads, tokens, tokens]."""
    tokens = window * window
    rows = (2 * window - 1) ** 2
    bias = learned_table(x, rows, heads, relative_positions(window), name)
    bias = layers.Reshape((1, tokens, tokens, heads), name=f"{name}_reshape")(bias)
    return layers.Permute((1, 4, 2, 3), name=f"{name}_permute")(bias)


def relative_positions(window: int) -> Array:
    """The row of the bias table for each pair of tokens: int[tokens, tokens].

    Row `(dy + window - 1) * (2 * window - 1) + dx + window - 1` stands for a query that is dy below
    and dx to the right of its key.
    """
    y, x = np.divmod(np.arange(window * window), window)
    dy, dx = y[:, None] - y[None, :], x[:, None] - x[None, :]
    return (dy + window - 1) * (2 * window - 1) + dx + window - 1


def _mask(x: Any, side: int, window: int, shift: int) -> Any:
    """Keeps tokens apart that the shift brought together: [N, windows, 1, tokens, tokens]."""
    regions = shifted_regions(side, window, shift)
    batch = ops.zeros_like(x[:, :1, :1, :1, None])
    region = ops.add(batch, regions[None, :, None, :, None].astype(np.float32))
    other = ops.add(batch, regions[None, :, None, None, :].astype(np.float32))
    apart = ops.cast(ops.not_equal(region, other), region.dtype)
    return ops.multiply(apart, _MASKED)


def shifted_regions(side: int, window: int, shift: int) -> Array:
    """Which part of the unshifted image each token comes from: int[windows, tokens].

    Tokens of one window see each other only where that is the same (figure 4).
    """
    line = np.zeros(side, int)
    line[side - window : side - shift], line[side - shift :] = 1, 2
    regions = 3 * line[:, None] + line[None, :]
    count = side // window
    grid = regions.reshape(count, window, count, window).transpose(0, 2, 1, 3)
    return grid.reshape(count * count, window * window)


def _merge_patches(x: Any, name: str) -> Any:
    """Four neighbours become one token of twice the width: section 3.1."""
    side, width = x.shape[1] // 2, x.shape[-1]
    x = layers.Reshape((side, 2, side, 2, width), name=f"{name}_split")(x)
    # The order of the reference implementation: down before right.
    x = layers.Permute((1, 3, 4, 2, 5), name=f"{name}_permute")(x)
    x = layers.Reshape((side, side, 4 * width), name=f"{name}_reshape")(x)
    x = _norm(f"{name}_norm")(x)
    return dense(2 * width, f"{name}_reduce", use_bias=False)(x)


def from_torch(model: keras.Model, state: Mapping[str, Array]) -> Matched:
    """The weights of a state dict of torchvision's, timm's or the reference's swin_t, s or b.

    Tables of position biases are resampled to the model's windows (section 3.2).

    Args:
        model: What `build` built.
        state: Tensor name -> array.

    Returns:
        The weights of each layer, and what the model has no place for.
    """
    torch = TorchState(state)
    torchvision = "features.0.0.weight" in torch
    first, second = ("0", "3") if torchvision else ("fc1", "fc2")
    torch.take("patch_embedding", "features.0.0" if torchvision else "patch_embed.proj")
    torch.take("patch_norm", "features.0.2" if torchvision else "patch_embed.norm")
    torch.take("norm", "norm")
    torch.take("logits", "head.fc" if "head.fc.weight" in torch else "head")
    # The reference and older timm have a merging at the end of a stage, newer timm at the next one.
    merges_at_end = "layers.0.downsample.reduction.weight" in torch
    for stage in (2, 3, 4):
        merge = f"layers.{stage - 1 - merges_at_end}.downsample"
        merge = f"features.{2 * stage - 2}" if torchvision else merge
        torch.take(f"stage{stage}_merge_norm", f"{merge}.norm")
        torch.take(f"stage{stage}_merge_reduce", f"{merge}.reduction")
    for layer in model.layers:
        found = re.fullmatch(r"(stage(\d)_block(\d+))_norm1", layer.name)
        if found is None:
            continue
        mine, stage, number = found[1], int(found[2]), int(found[3]) - 1
        block = f"layers.{stage - 1}.blocks.{number}."
        block = f"features.{2 * stage - 1}.{number}." if torchvision else block
        torch.take(f"{mine}_norm1", f"{block}norm1")
        torch.take_attention(
            f"{mine}_attention", f"{block}attn.qkv.weight", f"{block}attn.qkv.bias"
        )
        torch.take(f"{mine}_attention_project", f"{block}attn.proj")
        side = math.isqrt(model.get_layer(f"{mine}_position_bias").input_dim)
        torch.take_table(
            f"{mine}_position_bias",
            f"{block}attn.relative_position_bias_table",
            partial(resize_table, side=side),
        )
        torch.take(f"{mine}_norm2", f"{block}norm2")
        torch.take(f"{mine}_mlp_expand", f"{block}mlp.{first}")
        torch.take(f"{mine}_mlp_project", f"{block}mlp.{second}")
    return torch.matched()
