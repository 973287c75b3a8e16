"""SQNR layer by layer: where in the network the quantization error is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit import images
from edgekit.contract import Contract
from edgekit.evaluation.metrics import decibels, signal_and_noise
from edgekit.runtime import Interpreter

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
    is where to look.

    Args:
        float_model: The float32 file.
        quantized_model: The file made from it; activations are matched by tensor name.
        pictures: uint8[N, height, width, 3]; up to 8 are used.
        contract: Turns pictures into inputs.
        count: How many layers to return.
    """
    pairs: dict[str, list[float]] = {}
    reference = Interpreter(float_model, keep_all_tensors=True)
    quantized = Interpreter(quantized_model, keep_all_tensors=True)
    by_name = {t.name: t for t in reference.tensors() if t.dtype == "float32"}
    matched = [(by_name[t.name], t) for t in quantized.tensors() if t.name in by_name]
    matched = [(f, q) for f, q in matched if q.scale is not None and f.shape == q.shape]
    for picture in pictures[:: max(1, len(pictures) // _IMAGES)][:_IMAGES]:
        reference.invoke(images.to_input(picture, contract, np.float32))
        quantized.invoke(images.to_input(picture, contract, quantized.input.dtype))
        for float_info, info in matched:
            expected, found = reference.tensor(float_info.index), quantized.tensor(info.index)
            if expected is None or found is None:
                continue
            real = info.dequantize(found)
            signal, noise = signal_and_noise(expected.astype(np.float32), real)
            powers = pairs.setdefault(info.name, [0.0, 0.0])
            powers[0] += signal
            powers[1] += noise
    layers = [
        LayerQuality(name, decibels(signal, noise))
        for name, (signal, noise) in pairs.items()
        if signal > 0 and noise > 0
    ]
    return tuple(sorted(layers, key=lambda layer: layer.sqnr_db)[:count])
