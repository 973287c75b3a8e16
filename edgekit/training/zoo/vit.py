"""Vision Transformer in Keras 3 (Dosovitskiy et al. 2020, arXiv:2010.11929)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers

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

PATCH = 16
#: As in the JAX implementation of the paper (flax.linen.LayerNorm) and in timm.
_EPSILON = 1e-6


def build(entry: Entry, classes: int, size: int, dropout: float | None = None) -> keras.Model:
    """Builds the model with random weights.

    Args:
        entry: `width`, `depth` and `heads` in its arguments.
        classes: Number of outputs (logits).
        size: Input height and width in pixels, a multiple of 16.
        dropout: Rate before the classifier; by default the entry's.

    Returns:
        float32[N, size, size, 3] -> float32[N, classes].

    Raises:
        UsageError: The size is no multiple of 16.
    """
    if size % PATCH:
        below = size // PATCH * PATCH
        raise UsageError(
            f"{entry.name}: takes pictures of a multiple of {PATCH} pixels, not {size}",
            f"Sizes that work: {below or PATCH}, {below + PATCH}.",
        )
    width, heads = entry.arguments["width"], entry.arguments["heads"]
    side = size // PATCH
    inputs = keras.Input((size, size, 3), name="image")
    patches = layers.Conv2D(
        width, PATCH, PATCH, kernel_initializer=weights_initializer(), name="patch_embedding"
    )(inputs)
    patches = layers.Reshape((side * side, width), name="patches")(patches)
    class_token = learned_table(patches, 1, width, np.zeros(1, int), "class_token")
    x = layers.Concatenate(axis=1, name="tokens")([class_token, patches])
    tokens = side * side + 1
    positions = learned_table(x, tokens, width, np.arange(tokens), "position_embedding")
    x = layers.Add(name="embedded")([x, positions])
    for number in range(entry.arguments["depth"]):
        x = _block(x, heads, f"block{number + 1}")
    x = layers.Cropping1D((0, tokens - 1), name="class_token_out")(x)
    x = _norm("norm")(x)
    x = layers.Flatten(name="pool")(x)
    x = layers.Dropout(entry.dropout if dropout is None else dropout, name="dropout")(x)
    return keras.Model(inputs, dense(classes, "logits")(x), name=entry.name)


def _norm(name: str) -> Any:
    return layers.LayerNormalization(epsilon=_EPSILON, name=name)


def _block(x: Any, heads: int, name: str) -> Any:
    """A pre-norm encoder block: figure 1 and equations 2 and 3."""
    y = attention(_norm(f"{name}_norm1")(x), heads, f"{name}_attention")
    x = layers.Add(name=f"{name}_add1")([x, y])
    y = mlp(_norm(f"{name}_norm2")(x), f"{name}_mlp")
    return layers.Add(name=f"{name}_add2")([x, y])


def from_torch(model: keras.Model, state: Mapping[str, Array]) -> Matched:
    """The weights of a state dict of torchvision's vit_b_16 or timm's vit_*_patch16_224.

    Position embeddings are resampled to the model's grid (section 3.2).

    Args:
        model: What `build` built.
        state: Tensor name -> array.

    Returns:
        The weights of each layer, and what the model has no place for.
    """
    torch = TorchState(state)
    timm = "patch_embed.proj.weight" in torch
    ends = {
        "patch_embedding": ("patch_embed.proj", "conv_proj"),
        "norm": ("norm", "encoder.ln"),
        "logits": ("head", "heads.head"),
    }
    parts = {
        "norm1": ("norm1", "ln_1"),
        "attention_project": ("attn.proj", "self_attention.out_proj"),
        "norm2": ("norm2", "ln_2"),
        "mlp_expand": ("mlp.fc1", "mlp.0"),
        "mlp_project": ("mlp.fc2", "mlp.3"),
    }
    for layer, prefixes in ends.items():
        torch.take(layer, prefixes[0 if timm else 1])
    rows = model.get_layer("position_embedding").input_dim
    side = math.isqrt(rows - 1)

    def resize_positions(table: Array) -> Array:
        return np.concatenate([table[:1], resize_table(table[1:], side)])  # the class token's first

    torch.take_table("class_token", "cls_token" if timm else "class_token", np.asarray)
    torch.take_table(
        "position_embedding", "pos_embed" if timm else "encoder.pos_embedding", resize_positions
    )
    depth = sum(layer.name.endswith("_add2") for layer in model.layers)
    for number in range(depth):
        block = f"blocks.{number}." if timm else f"encoder.layers.encoder_layer_{number}."
        for part, prefixes in parts.items():
            torch.take(f"block{number + 1}_{part}", block + prefixes[0 if timm else 1])
        fused = "attn.qkv." if timm else "self_attention.in_proj_"
        torch.take_attention(
            f"block{number + 1}_attention", f"{block}{fused}weight", f"{block}{fused}bias"
        )
    return torch.matched()
