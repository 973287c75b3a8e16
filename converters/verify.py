"""Verification of the bytes that are written: always, for every conversion.

Static: which types the ops compute in, the types of input and output, zero points, bias scales, the
pinned input scale. Then the file is run on the calibration images and held against the float model.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit import tflite
from edgekit.contract import Contract
from edgekit.converters.options import Options
from edgekit.errors import NotMetError, RuntimeFailure
from edgekit.evaluation.metrics import agreement, sqnr
from edgekit.tflite import versions

#: Ops with weights, and where their data, weights and bias stand among the inputs.
_WEIGHTED = {
    "CONV_2D": (0, 1, 2),
    "DEPTHWISE_CONV_2D": (0, 1, 2),
    "FULLY_CONNECTED": (0, 1, 2),
    "TRANSPOSE_CONV": (2, 1, 3),
}
_BOUNDARY = ("QUANTIZE", "DEQUANTIZE")
#: Relative slack for scales, which are float32 products of float32 numbers.
_SCALE_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Quality:
    """How the file answers next to the float model, on the calibration images.

    Attributes:
        images: How many.
        agreement: Share with the same top-1, 0..1.
        sqnr_db: Signal-to-quantization-noise ratio of the scores, in dB.
    """

    images: int
    agreement: float
    sqnr_db: float


def check_file(
    model: bytes,
    options: Options,
    contract: Contract,
    where: str,
    higher: Collection[str] = (),
) -> None:
    """The static checks.

    Args:
        model: The bytes to be written.
        options: What was asked for.
        contract: Gives the pinned input quantization.
        where: The output's name, for errors.
        higher: Names of the outputs of ops that may be in higher precision.

    Raises:
        NotMetError: An int8 file was asked for and some ops have no int8 kernel; or the runtime
            that the file is for is too old for an op.
        RuntimeFailure: The file is not what was asked for: a bug, so nothing is written.
    """
    parsed = tflite.read(model, where)
    if options.runtime is not None:
        _require_runtime(parsed, options.runtime, where)
    graph = parsed.main
    ends = (graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]])
    for name, tensor, wanted in (
        ("input", ends[0], options.input_type),
        ("output", ends[1], options.output_type),
    ):
        if tensor.dtype != wanted:
            raise RuntimeFailure(f"{where}: the {name} came out as {tensor.dtype}, not {wanted}")
    if options.quantization == "int8":
        _refuse_float_ops(parsed, where, higher)
        _check_input_scale(ends[0], options, contract, where)
    if options.quantization in ("int8", "int16x8"):
        _check_weights(parsed, options, where)


def compare(float_scores: npt.NDArray[np.float32], scores: npt.NDArray[np.float32]) -> Quality:
    """Agreement and SQNR of the converted file's scores with the float model's."""
    same = agreement(float_scores.argmax(axis=1), scores.argmax(axis=1))
    return Quality(len(scores), same, sqnr(float_scores, scores))


def float_ops(parsed: tflite.Model) -> list[str]:
    """The ops that compute in float, as `OP (tensor)`.

    The conversions at the model's ends don't count, and those around a float op are its doing:
    they are named only where nothing else is.
    """
    graph = parsed.main
    ends = {graph.inputs[0], graph.outputs[0]}
    computing: list[str] = []
    converting: list[str] = []
    for operator in graph.operators:
        indices = [i for i in (*operator.inputs, *operator.outputs) if i >= 0]
        floating = [i for i in indices if graph.tensors[i].dtype.startswith(("float", "bfloat"))]
        if not floating or (operator.name in _BOUNDARY and set(floating) <= ends):
            continue
        named = f"{operator.name} ({graph.tensors[operator.outputs[0]].name})"
        (converting if operator.name in _BOUNDARY else computing).append(named)
    return computing or converting


def _refuse_float_ops(parsed: tflite.Model, where: str, higher: Collection[str]) -> None:
    """After --int8 there is no float op but those that were asked for."""
    left = [op for op in float_ops(parsed) if not any(op.endswith(f"({n})") for n in higher)]
    if left:
        more = f" and {len(left) - 5} more" if len(left) > 5 else ""
        raise NotMetError(
            f"{where}: {len(left)} op(s) would stay in float: {', '.join(left[:5])}{more}",
            "They have no int8 kernel here. Replace those layers in the model, or use "
            "--dynamic or --float16.",
        )


def _require_runtime(parsed: tflite.Model, runtime: str, where: str) -> None:
    need = versions.runtime_of(parsed)
    if need is None or need.since is None or versions.at_least(runtime, need.since):
        return
    why = f" ({need.why})" if need.why else ""
    raise NotMetError(
        f"{where}: {need.operator}{why} needs TensorFlow Lite {need.since} or later, and the file "
        f"is for {runtime}",
        "Install a newer runtime there, or choose a model or a quantization without that op.",
    )


def _check_input_scale(
    tensor: tflite.Tensor, options: Options, contract: Contract, where: str
) -> None:
    if options.input_type == "float32" or options.engine == "tflite":
        return
    scale, zero_point = contract.int8_quantization()
    if options.input_type == "uint8":
        zero_point += 128
    found_scale, found_zero_point = float(tensor.scales[0]), int(tensor.zero_points[0])
    if found_zero_point != zero_point or not np.isclose(found_scale, scale, _SCALE_TOLERANCE, 0):
        raise RuntimeFailure(
            f"{where}: the input is quantized with scale {found_scale:.7g} and zero point "
            f"{found_zero_point}, the contract says {scale:.7g} and {zero_point}"
        )


def _check_weights(parsed: tflite.Model, options: Options, where: str) -> None:
    """Weights: a scale per channel, zero point 0; bias scale = input scale times weight scale."""
    tensors = parsed.main.tensors
    for operator in parsed.main.operators:
        if operator.name not in _WEIGHTED:
            continue
        source_at, weight_at, bias_at = _WEIGHTED[operator.name]
        source = tensors[operator.inputs[source_at]]
        weights = tensors[operator.inputs[weight_at]]
        if source.dtype not in ("int8", "int16") or parsed.constant(weights) is None:
            continue
        if np.any(weights.zero_points):
            raise RuntimeFailure(f"{where}: the weights {weights.name!r} have a zero point")
        channels = weights.shape[3 if operator.name == "DEPTHWISE_CONV_2D" else 0]
        expected_scales = channels if options.per_channel(operator.name) else 1
        if options.engine == "litert" and len(weights.scales) != expected_scales:
            raise RuntimeFailure(
                f"{where}: the weights {weights.name!r} have {len(weights.scales)} scale(s) for "
                f"{channels} channels, not {expected_scales}"
            )
        if len(operator.inputs) <= bias_at or operator.inputs[bias_at] < 0:
            continue
        bias = tensors[operator.inputs[bias_at]]
        expected = source.scales[0] * weights.scales
        if bias.scales.size and not np.allclose(bias.scales, expected, _SCALE_TOLERANCE, 0):
            raise RuntimeFailure(
                f"{where}: the scale of the bias {bias.name!r} is not input scale times weight "
                "scale"
            )
