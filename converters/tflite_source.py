"""A float .tflite file as a source, and what a float graph tells of itself. No TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit import tflite
from edgekit.converters import batch, flatbuffer, mapping
from edgekit.converters.export import Description
from edgekit.converters.mapping import Rewritten
from edgekit.errors import NotMetError, UnreadableError, UsageError
from edgekit.runtime import check_in_child
from edgekit.targets import Target

_PIXELWISE = ("MUL", "ADD", "SUB", "DIV")


@dataclass(frozen=True)
class Opened:
    """A float file, read.

    Attributes:
        model: The file as the later stages want it.
        description: What it is.
        rewritten: What was cut off its end.
        notes: What else was changed, in words.
    """

    model: bytes
    description: Description
    rewritten: tuple[Rewritten, ...]
    notes: tuple[str, ...]


def open_float(
    path: Path,
    size: tuple[int, int] | None = None,
    target: Target | None = None,
    *,
    logits: bool = False,
) -> Opened:
    """Reads a float32 .tflite file of unknown origin.

    Args:
        path: The file.
        size: Input height and width, where the user said them: for a file that takes any; else they
            must be the file's.
        target: Where it is to run, or None: whether an argmax at the end is cut off.
        logits: Cut it off in any case.

    Raises:
        UnreadableError: It is no sound .tflite file.
        UsageError: It is quantized already, no image classifier, or one of another size.
        NotMetError: Its weights are not finite.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}") from error
    parsed = tflite.read(data, str(path))
    tflite.require_picture(parsed, str(path))
    quantized = [t for t in parsed.main.tensors if t.dtype in ("int8", "uint8", "int16", "float16")]
    if quantized:
        raise UsageError(
            f"{path}: is quantized already ({quantized[0].name!r} is {quantized[0].dtype})",
            "Convert from the Keras model, or from its float32 .tflite file.",
        )
    notes: tuple[str, ...] = ()
    if batch.is_to_be_fixed(parsed):
        any_size = batch.takes_any_size(parsed)
        if any_size and size is None:
            raise UsageError(
                f"{path}: takes pictures of any size",
                "Say which one the device is to give it: --input-size 224",
            )
        check_in_child(data, str(path))
        data = batch.fix_at_one(data, str(path), size if any_size else None)
        if batch.size(parsed) > 1:
            notes = (f"its batch of {batch.size(parsed)} is fixed at 1; the answers are the same",)
    data, rewritten = mapping.without_argmax(data, str(path), target, logits=logits)
    parsed = tflite.read(data, str(path))
    height, width, classes = tflite.classifier_shape(parsed, str(path))
    if size not in (None, (height, width)):
        raise UsageError(
            f"{path}: --input-size {size[0]}x{size[1]}, but the model's input is "
            f"{height} x {width}",
            "Leave it out: a .tflite file has one size.",
        )
    _refuse_nan(parsed, path)
    check_in_child(data, str(path))
    description = Description(height, width, classes, path.stem, "TFLite", pixelwise_prefix(parsed))
    return Opened(flatbuffer.prepare(data, str(path)), description, rewritten, notes)


def _refuse_nan(parsed: tflite.Model, path: Path) -> None:
    for tensor in parsed.main.tensors:
        value = parsed.constant(tensor) if tensor.dtype == "float32" else None
        if value is not None and not np.isfinite(value).all():
            raise NotMetError(
                f"{path}: the weights {tensor.name!r} are not finite numbers (NaN or infinity)",
                "Training probably diverged, or the file is damaged: look at the model again.",
            )


def pixelwise_prefix(parsed: tflite.Model) -> tuple[tuple[str, str], ...]:
    """(op, tensor name) of the arithmetic with constants that the input goes through first."""
    graph = parsed.main
    current = graph.inputs[0]
    found = []
    for operator in graph.operators:
        if current not in operator.inputs:
            continue
        others = [i for i in operator.inputs if i != current and i >= 0]
        constant = all(parsed.constant(graph.tensors[i]) is not None for i in others)
        if operator.name not in _PIXELWISE or not others or not constant:
            break
        found.append((operator.name, graph.tensors[operator.outputs[0]].name))
        current = operator.outputs[0]
    return tuple(found)


def end_names(parsed: tflite.Model) -> tuple[str, str]:
    """The names of the input and the output tensor."""
    graph = parsed.main
    return graph.tensors[graph.inputs[0]].name, graph.tensors[graph.outputs[0]].name
