"""What a conversion is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgekit import targets
from edgekit.errors import UsageError
from edgekit.tflite import versions

#: What each quantization does, in words.
QUANTIZATIONS = {
    "int8": "int8 weights and activations",
    "int16x8": "int8 weights, int16 activations",
    "float16": "float16 weights, float32 arithmetic",
    "dynamic": "int8 weights, float32 activations quantized on the fly",
    "float32": "no quantization",
}
#: The ones that need calibration.
INTEGER = ("int8", "int16x8")
ENGINES = ("litert", "tflite")
IO_TYPES = ("int8", "uint8", "float32")
#: What has a scale of its own in the weights.
GRANULARITIES = ("channel", "tensor")
#: Programs that a file can be made for. They refuse int8 input, and read scores as probabilities.
CLIENTS = {
    "mediapipe": "MediaPipe Tasks",
    "task_library": "TensorFlow Lite Task Library",
    "browser": "LiteRT.js and tfjs-tflite",
}
#: The versions of FULLY_CONNECTED that have a scale for each output channel.
DENSE_CHANNELS, DYNAMIC_DENSE_CHANNELS = 10, 12
#: What a few layers may be computed in where int8 loses too much.
MIXED = ("int16", "float")


@dataclass(frozen=True)
class Options:
    """What a conversion is asked for.

    Attributes:
        quantization: A key of `QUANTIZATIONS`.
        engine: `litert` (calibration in the LiteRT interpreter, then litert-quantizer) or
            `tflite` (TFLiteConverter's own int8 path, for comparison).
        input_type: dtype of the model's input; by default int8 for `int8`, else float32.
        output_type: dtype of the model's output; likewise.
        samples: How many calibration images to choose at most.
        seed: For what is random: procedural calibration images.
        layers: How many of the worst layers to report, 0 for none.
        bias_correction: Give back the mean that rounding the weights takes away.
        range_percentile: Activations are quantized in the range that this share of the images
            stays within, in percent; 100 for plain extremes.
        granularity: `channel` for weights with a scale for each output channel, `tensor` for one
            scale in all, which older accelerators need.
        mixed: What a few layers may be computed in, one of `MIXED`, or None.
        target: Where the file is to run (`edgekit.targets.find`): what its accelerator doesn't take
            is rewritten where that can be done. Or None.
        logits: Cut off a softmax or argmax at the end, whether the target takes it or not.
        runtime: The oldest TensorFlow Lite that must compute the file right, such as `2.5`, or None
            for today's.
        client: The program that will read the file, a key of `CLIENTS`, or None.
    """

    quantization: str = "int8"
    engine: str = "litert"
    input_type: str = "int8"
    output_type: str = "int8"
    samples: int = 200
    seed: int = 0
    layers: int = 0
    bias_correction: bool = True
    range_percentile: float = 95.0
    granularity: str = "channel"
    mixed: str | None = None
    target: str | None = None
    logits: bool = False
    runtime: str | None = None
    client: str | None = None

    def per_channel(self, op: str) -> bool:
        """Whether weights of an op have a scale for each output channel.

        Those of fully connected layers don't where the file is for a TensorFlow Lite that takes
        the first channel's scale for all of them.
        """
        if self.granularity == "tensor":
            return False
        if op != "FULLY_CONNECTED" or self.runtime is None:
            return True
        version = DYNAMIC_DENSE_CHANNELS if self.quantization == "dynamic" else DENSE_CHANNELS
        since = versions.since(op, version)
        return since is not None and versions.at_least(self.runtime, since)

    @property
    def uses_litert(self) -> bool:
        """Whether litert-quantizer does the work."""
        return self.engine == "litert" and self.quantization != "float32"

    @property
    def corrects_bias(self) -> bool:
        """Whether biases are corrected: only where weights are rounded to int8 by edgekit."""
        return self.bias_correction and self.quantization in INTEGER and self.uses_litert


def make_options(
    quantization: str = "int8",
    engine: str = "litert",
    input_type: str | None = None,
    output_type: str | None = None,
    samples: int = 200,
    seed: int = 0,
    layers: int = 0,
    bias_correction: bool = True,
    range_percentile: float = 95.0,
    granularity: str = "channel",
    mixed: str | None = None,
    target: str | None = None,
    logits: bool = False,
    runtime: str | None = None,
    client: str | None = None,
) -> Options:
    """Checks what is asked for and fills in the defaults.

    Raises:
        UsageError: A value is unknown, or two don't go together.
        UnreadableError: The target's file makes no sense.
    """
    for name, value, choices in (
        ("quantization", quantization, tuple(QUANTIZATIONS)),
        ("engine", engine, ENGINES),
        ("input type", input_type, (None, *IO_TYPES)),
        ("output type", output_type, (None, *IO_TYPES)),
        ("granularity", granularity, GRANULARITIES),
        ("precision", mixed, (None, *MIXED)),
        ("client", client, (None, *CLIENTS)),
    ):
        if value not in choices:
            raise UsageError(
                f"{name} {value!r} is not known",
                f"Choose one of {', '.join(c for c in choices if c)}.",
            )
    if samples < 1:
        raise UsageError(f"--samples {samples}: at least 1 image is needed to calibrate")
    if not 50 <= range_percentile <= 100:
        raise UsageError(f"--range-percentile {range_percentile:g}: expected 50 to 100")
    default = "int8" if quantization == "int8" else "float32"
    if client is not None:
        _require_readable(client, engine, input_type, output_type, logits=logits)
        if quantization == "int8":
            input_type, output_type = input_type or "uint8", output_type or "uint8"
    for end, io_type in (("input", input_type), ("output", output_type)):
        if io_type not in (None, default) and quantization != "int8":
            raise UsageError(
                f"--{end}-type {io_type} goes with --int8; a {quantization} file keeps {default}"
            )
    if engine == "tflite" and quantization not in INTEGER:
        raise UsageError(f"--engine tflite goes with {' or '.join('--' + q for q in INTEGER)}")
    if engine == "tflite" and (input_type or "int8", output_type or "int8") != ("int8", "int8"):
        raise UsageError("--engine tflite always writes int8 input and output")
    if granularity == "tensor" and (quantization not in INTEGER or engine == "tflite"):
        raise UsageError("--per-tensor goes with --int8 or --int16x8, and not with --engine tflite")
    if mixed is not None and (quantization != "int8" or engine == "tflite"):
        raise UsageError("--mixed goes with --int8, and not with --engine tflite")
    if logits and engine == "tflite":
        raise UsageError("--logits goes without --engine tflite, which takes the model as it is")
    if target is not None:
        runtime = runtime or targets.find(target).runtime
    if runtime is not None and not re.fullmatch(r"\d+\.\d+(\.\d+)?", runtime):
        raise UsageError(
            f"--runtime {runtime!r}: expected a version of TensorFlow Lite, such as 2.5 or 2.14.0",
            "A device's: edgekit doctor --on DEVICE, or pip show tflite-runtime there.",
        )
    if layers and quantization not in INTEGER:
        raise UsageError(f"--layers goes with {' or '.join('--' + q for q in INTEGER)}")
    return Options(
        quantization,
        engine,
        input_type or default,
        output_type or default,
        samples,
        seed,
        layers,
        bias_correction,
        range_percentile,
        granularity,
        mixed,
        target,
        logits,
        runtime,
        client,
    )


def _require_readable(
    client: str, engine: str, input_type: str | None, output_type: str | None, *, logits: bool
) -> None:
    """Refuses what a client couldn't read."""
    if "int8" in (input_type, output_type):
        raise UsageError(
            f"{CLIENTS[client]} can't be given int8", "Leave --input-type and --output-type out."
        )
    if logits:
        raise UsageError(f"{CLIENTS[client]} reads scores as probabilities", "Leave --logits out.")
    if engine == "tflite":
        raise UsageError("--for goes without --engine tflite, which takes the model as it is")
