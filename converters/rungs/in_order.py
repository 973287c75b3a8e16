"""Changing the layers of a draft one after the other, each with what the ones before made of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from edgekit.converters.rewriting import Array, Graph
from edgekit.converters.rungs.draft import Draft, Material, Progress
from edgekit.converters.rungs.patches import count, patches
from edgekit.converters.rungs.prefix import Pair, Prefix
from edgekit.converters.weighted import Layer, layers, put
from edgekit.images import Picture

#: (layer, its input in both models) -> (filters or None where they stay, bias).
Change = Callable[[Layer, Prefix], tuple[Array | None, Array]]


def change_layers(
    draft: Draft,
    material: Material,
    covers: Callable[[Layer, int], bool],
    change: Change,
    progress: Progress,
) -> Draft:
    """Starts from the draft's base, and changes each layer that is covered.

    Args:
        draft: Its base is changed; its ranges say how activations are quantized meanwhile.
        material: What to look at.
        covers: Whether a layer, with so many channels in its source, is changed.
        change: Gives the layer's new filters, float64[out, inputs], and bias.
        progress: Called with (layers done, layers).
    """
    total = len(list(layers(Graph(draft.base, material.where))))
    begun = draft.base
    for number in range(total):
        graph = Graph(begun, material.where)
        layer = list(layers(graph))[number]
        if covers(layer, graph.shape(layer.source)[-1]):
            prefix = Prefix(
                draft.base,
                dataclasses.replace(draft, model=begun, higher=frozenset()),
                graph.name(layer.source),
                material.contract,
            )
            filters, bias = change(layer, prefix)
            weights = None if filters is None else layer.from_filters(filters)
            put(graph, layer, weights, bias)
            begun = graph.to_bytes()
        progress(number + 1, total)
    return dataclasses.replace(draft, model=begun)


def sees_all_channels(layer: Layer, channels: int) -> bool:
    """Whether all filters see the same inputs, or one channel each: no groups of channels."""
    if layer.op.name == "FULLY_CONNECTED":
        return True
    if layer.is_depthwise:
        return layer.weights.shape[-1] % channels == 0
    return layer.weights.shape[-1] == channels


def rows_of(
    layer: Layer, pair: Pair, picture: Picture, most: int, seed: int
) -> tuple[Array, Array]:
    """What the layer's filters see of one picture, in both models, at most so many rows."""
    exact, seen = pair.run(picture)
    rows, chosen = count(layer, exact), None
    if rows > most:
        chosen = np.random.default_rng(seed).permutation(rows)[:most]
    return patches(layer, exact, chosen), patches(layer, seen, chosen)
