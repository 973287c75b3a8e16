"""Empirical bias correction: every layer's mean output as the float model has it.

`edgekit.converters.bias_correction` takes away what rounding the weights does to the mean. Clipped
and rounded activations move it too, and no later layer undoes that. Here the inputs of each layer
are measured in both models, in order, so that each layer sees what the corrected ones before give
it (Nagel et al. 2019, arXiv:1906.04721, section 4.2 and appendix D).

The paper matches the mean before the activation. What a RELU takes away doesn't matter, though, and
where most outputs are below 0 it rules that mean: on EfficientNet-Lite0's last convolution that
made the mean after the activation 1.7 times worse. So only outputs count that the float model lets
through.
"""

from __future__ import annotations

import numpy as np

from edgekit.converters.bias_correction import round_to_int8
from edgekit.converters.rewriting import Array
from edgekit.converters.rungs.draft import Draft, Material, Progress
from edgekit.converters.rungs.in_order import change_layers, rows_of, sees_all_channels
from edgekit.converters.rungs.prefix import Pair, Prefix
from edgekit.converters.weighted import Layer
from edgekit.images import Picture
from edgekit.runtime import map_on_cores

#: Positions of a picture that a mean is taken over.
_ROWS = 1024
#: Calibration images that are looked at.
IMAGES = 64
#: A channel that lets fewer outputs through keeps its bias: their mean says nothing.
_FEWEST = 20
#: What a fused activation lets through: NONE, RELU and RELU6.
_OPEN = {0: (-np.inf, np.inf), 1: (0.0, np.inf), 3: (0.0, 6.0)}


def correct_biases(draft: Draft, material: Material, progress: Progress) -> Draft:
    """Gives every layer the bias that keeps its mean output, in order."""
    pictures = material.typical(IMAGES)

    def change(layer: Layer, prefix: Prefix) -> tuple[None, Array]:
        rounded = round_to_int8(
            layer.filters(), 0 if draft.options.per_channel(layer.op.name) else None
        )
        return None, corrected_bias(layer, rounded, prefix, pictures)

    return change_layers(draft, material, sees_all_channels, change, progress)


def corrected_bias(layer: Layer, rounded: Array, prefix: Prefix, pictures: Picture) -> Array:
    """The bias that gives a layer with rounded filters its mean output.

    Args:
        layer: The float layer.
        rounded: float64[out, inputs], its filters as they will be in int8.
        prefix: What it reads in both models.
        pictures: uint8[N, height, width, 3], calibration images.

    Returns:
        float64[out].
    """
    exact, bias = layer.filters(), layer.bias.astype(np.float64)
    low, high = _OPEN.get(int(layer.op.option("fused_activation_function") or 0), _OPEN[0])

    def look(pair: Pair, position: int) -> tuple[Array, Array]:
        read, seen = rows_of(layer, pair, pictures[position], _ROWS, position)
        wanted = _outputs(exact, read) + bias
        let_through = (wanted > low) & (wanted < high)
        error = wanted - (_outputs(rounded, seen) + bias)
        return np.where(let_through, error, 0).sum(axis=0), let_through.sum(axis=0)

    sums = map_on_cores(prefix.open, look, len(pictures))
    error, count = (np.sum(part, axis=0) for part in zip(*sums, strict=True))
    return np.asarray(bias + np.where(count >= _FEWEST, error / np.maximum(count, 1), 0))


def _outputs(filters: Array, rows: Array) -> Array:
    """What filters make of rows: float64[rows, out]."""
    if rows.ndim == 2:
        return np.asarray(rows @ filters.T)
    multiplier = len(filters) // rows.shape[1]
    return np.asarray(np.einsum("rci,ci->rc", np.repeat(rows, multiplier, axis=1), filters))
