"""Room for biases in int32.

An int8 op holds its biases as whole multiples of input scale times weight scale. A channel whose
weights are next to 0 (folding the batch norm of a dead channel makes such) has a scale so small
that its bias doesn't fit into 32 bits, and is cut off: in EfficientNet-Lite0's first layer four of
32 channels lose up to 7 real units of bias. One weight that is a little larger gives the channel a
scale that its bias fits in, and changes what the layer gives by 3e-5 of the bias at most.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekit.converters import weighted
from edgekit.converters.ranges import Ranges
from edgekit.converters.rewriting import Graph

#: Of the 31 bits of an int32 a bias may take 30; the rest is for what is added to it.
_LARGEST = 2.0**30
_WEIGHT_STEPS, _STEPS = 127, 255


def for_biases(
    model: bytes, ranges: Ranges, per_channel: Callable[[str], bool], where: str
) -> bytes:
    """The float model, with larger weights where a bias would be cut off.

    Args:
        model: A float32 .tflite file, batch 1.
        ranges: The range of each activation. Quantization never makes a scale smaller than its
            range says: what it ties together gets the widest.
        per_channel: Whether weights of an op will have a scale for each output channel; others are
            left alone.
        where: The file it came from, for errors.

    Returns:
        The same bytes where every bias fits.
    """
    graph = Graph(model, where)
    changed = False
    for layer in list(weighted.layers(graph)):
        low, high = ranges.get(graph.name(layer.source), (0.0, 0.0))
        scale = (max(high, 0.0) - min(low, 0.0)) / _STEPS
        if scale == 0 or not per_channel(layer.op.name):
            continue
        filters = layer.filters()
        needed = _WEIGHT_STEPS * np.abs(layer.bias) / (scale * _LARGEST)
        short = np.flatnonzero(np.abs(filters).max(axis=1) < needed)
        for channel in short:
            place = np.abs(filters[channel]).argmax()
            filters[channel, place] = np.copysign(needed[channel], filters[channel, place])
        if len(short):
            weighted.put(graph, layer, weights=layer.from_filters(filters))
            changed = True
    return graph.to_bytes() if changed else model
