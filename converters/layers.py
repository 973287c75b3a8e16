"""SQNR layer by layer: where in the network the quantization error is."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit import images, tflite
from edgekit.contract import Contract
from edgekit.converters.diagnosis import matching, measuring
from edgekit.converters.diagnosis.shadow import Shadowed
from edgekit.evaluation.metrics import decibels

#: Images that are looked at: the ranking of layers doesn't change with more.
_IMAGES = 8


@dataclass(frozen=True)
class LayerQuality:
    """One layer's error.

    Attributes:
        name: The name of its output tensor.
        sqnr_db: SQNR of that tensor against the float model's, in dB.
    """

    name: str
    sqnr_db: float


def worst_layers(
    float_model: bytes,
    quantized_model: bytes,
    pictures: images.Picture,
    contract: Contract,
    count: int,
) -> tuple[LayerQuality, ...]:
    """The layers with the lowest SQNR.

    The error of a layer includes what reaches it from the layers before: the first of a bad run
    is where to look. (`edgekit inspect --quantization` tells the two apart.)

    Args:
        float_model: The float32 file.
        quantized_model: The file made from it.
        pictures: uint8[N, height, width, 3]; up to 8 are used.
        contract: Turns pictures into inputs.
        count: How many layers to return.
    """
    float_file, file = (tflite.read(m, "the model") for m in (float_model, quantized_model))
    pairs = matching.match(float_file, file).pairs
    chosen = pictures[:: max(1, len(pictures) // _IMAGES)][:_IMAGES]
    seen = measuring.measure(Shadowed(float_model, {}), quantized_model, pairs, chosen, contract)
    layers = [
        LayerQuality(pair.tensor.name, decibels(float(tally.signal.sum()), tally.noise))
        for pair, tally in zip(pairs, seen.tallies, strict=True)
        if tally.signal.any() and tally.noise > 0
    ]
    return tuple(sorted(layers, key=lambda layer: layer.sqnr_db)[:count])
