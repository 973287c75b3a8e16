"""What rounding does to the weights of a layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit import tflite
from edgekit.converters.bias_correction import round_to_int8
from edgekit.converters.diagnosis.matching import Pair
from edgekit.converters.diagnosis.shadow import stored_constants
from edgekit.evaluation.metrics import sqnr
from edgekit.report.quantization import WeightFacts
from edgekit.tflite.cost import WEIGHTS_INPUT

Array = npt.NDArray[Any]

#: No rounding takes a weight further than this, in steps: to the nearest it is half a step, and
#: adaptive rounding chooses between the two neighbours (arXiv:2004.10568); the rest is slack.
_MOST_STEPS = 1.5


def weight_facts(
    pair: Pair, float_model: tflite.Model, quantized: tflite.Model
) -> WeightFacts | None:
    """Compares a layer's weights in both files; None where it has none, or of another shape."""
    place = WEIGHTS_INPUT.get(pair.op.name)
    if place is None or pair.float_op.name != pair.op.name:
        return None
    stored = stored_constants(pair, float_model, quantized).get(place)
    if stored is None:
        return None
    tensor = quantized.main.tensors[pair.op.inputs[place]]
    codes = quantized.constant(tensor)
    weights = float_model.constant(float_model.main.tensors[pair.float_op.inputs[place]])
    assert codes is not None and weights is not None
    axis = 3 if pair.op.name == "DEPTHWISE_CONV_2D" else 0
    per_channel = len(tensor.scales) > 1
    largest = _by_channel(np.abs(weights), axis).max(axis=1)
    live = largest > 0
    zero = live & ~_by_channel(stored, axis).any(axis=1)
    by_channel, by_tensor = round_to_int8(weights, axis), round_to_int8(weights[None], 0)[0]
    return WeightFacts(
        channels=len(largest),
        per_channel=per_channel,
        sqnr_db=sqnr(weights, stored),
        per_channel_sqnr_db=sqnr(weights, by_channel),
        per_tensor_sqnr_db=sqnr(weights, by_tensor),
        spread=float(largest.max() / np.median(largest[live])) if live.any() else 1.0,
        zero_channels=int(zero.sum()),
        other=float(
            _beyond_rounding(weights, stored, codes, tensor, axis)[~zero].sum() / len(zero)
        ),
    )


def _by_channel(values: Array, axis: int) -> Array:
    """[channels, the rest]."""
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def _beyond_rounding(
    weights: Array, stored: Array, codes: Array, tensor: tflite.Tensor, axis: int
) -> Array:
    """Which share of each channel's weights no rounding explains: float64[channels] of 0..1.

    What is clipped doesn't count.
    """
    shape = [1] * weights.ndim
    if len(tensor.scales) > 1:
        shape[tensor.quantized_dimension] = len(tensor.scales)
    far = np.abs(stored - weights) > _MOST_STEPS * tensor.scales.reshape(shape)
    info = np.iinfo(codes.dtype)
    inside = (codes > info.min + 1) & (codes < info.max)
    return np.asarray(_by_channel(far & inside, axis).mean(axis=1))
