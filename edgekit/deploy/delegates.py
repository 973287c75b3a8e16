"""What an Android delegate will leave to the CPU, as far as its documentation says.

What really happens is the phone's to say, and the app shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgekit.deploy.shipment import Shipment
from edgekit.errors import UsageError

CHOICES = ("gpu", "nnapi")

#: "GPU ML operations support" of https://ai.google.dev/edge/litert/performance/gpu, 2026-05.
_GPU_LIST = """
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D EXP FULLY_CONNECTED LOGICAL_AND
    LOGISTIC LSTM MAXIMUM MAX_POOL_2D MINIMUM MIRROR_PAD MUL PAD PRELU RELU RELU6 RESHAPE
    RESIZE_BILINEAR SOFTMAX STRIDED_SLICE SUB TRANSPOSE_CONV
"""
_GPU_OPS = frozenset(_GPU_LIST.split())
#: At the ends of an int8 graph with float or uint8 ends; the delegate itself takes real numbers.
_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})


def remarks(shipped: Shipment, planned: Sequence[str]) -> Iterator[str]:
    """What should be known of a model before it runs with some delegates.

    Args:
        shipped: The model.
        planned: Some of `CHOICES`.

    Raises:
        UsageError: A delegate is none of them.
    """
    for delegate in planned:
        if delegate not in CHOICES:
            raise UsageError(f"delegate {delegate!r} is none of {', '.join(CHOICES)}")
    if "gpu" in planned:
        unknown = sorted(shipped.ops.keys() - _GPU_OPS - _CONVERSIONS)
        if unknown:
            counts = ", ".join(f"{name} x {shipped.ops[name]}" for name in unknown)
            yield (
                f"{shipped.path.name}: not in the documented list of the GPU delegate: {counts}. "
                "Where it doesn't take them, the CPU does, with copies in between."
            )
    if "nnapi" in planned:
        yield (
            f"{shipped.path.name}: NNAPI is deprecated since Android 15, and what it takes depends "
            "on the phone's drivers."
        )
        if "int8" in (shipped.golden.input.dtype, shipped.golden.output.dtype):
            yield f"{shipped.path.name}: NNAPI knows int8 since Android 11 (API level 30)."
