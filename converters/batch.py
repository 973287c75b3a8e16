"""A float .tflite file of any batch and size as one of batch 1 and one size, for good.

A file whose batch may change works out shapes while it runs (SHAPE, STRIDED_SLICE, PACK): they
have no int8 kernel, and no accelerator takes them. With a batch of 1 they are constants. A batch of
N is set to 1, and a picture of any size to the one that was asked for. Either way the answers are
held against those of the original.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit import tflite
from edgekit.converters.export import PROBE_TOLERANCE
from edgekit.converters.rewriting import Array, Graph
from edgekit.errors import RuntimeFailure, UsageError
from edgekit.runtime import open_native

#: What can be a constant: shapes, and what is filled by them.
_CONSTANTS = ("int32", "int64", "float32")


def size(model: tflite.Model) -> int:
    """The batch that a file of images is stored with; 0 where it takes something else."""
    graph = model.main
    if len(graph.inputs) != 1 or not graph.outputs:
        return 0
    image = graph.tensors[graph.inputs[0]]
    is_image = image.dtype == "float32" and len(image.shape) == 4 and 0 not in image.shape
    return image.shape[0] if is_image else 0


def takes_any_size(model: tflite.Model) -> bool:
    """Whether a file takes pictures of any height or width; its stored shape then says nothing."""
    graph = model.main
    return size(model) > 0 and -1 in graph.tensors[graph.inputs[0]].shape_signature[1:3]


def is_to_be_fixed(model: tflite.Model) -> bool:
    """Whether a file of images has another batch or any size, or works shapes out as it runs."""
    shapes = any(op.name == "SHAPE" for op in model.main.operators)
    return size(model) > 1 or takes_any_size(model) or (size(model) == 1 and shapes)


def fix_at_one(model: bytes, where: str, picture: tuple[int, int] | None = None) -> bytes:
    """Sets the batch to 1 and works out what depends on it.

    Args:
        model: A sound float32 .tflite file that takes images.
        where: The file it came from, for errors.
        picture: (height, width) for one that takes any.

    Raises:
        UsageError: It mixes the images of a batch, or its batch or size can't be changed.
    """
    one = _resized(model, where, picture)
    try:
        native = open_native(one, experimental_preserve_all_tensors=True)
        _run(native, np.zeros(native.get_input_details()[0]["shape"], np.float32))
        fixed = _without_shapes(one, where, native)
        images = _images(model, picture)
        answers = [_answers(model, images, picture), _answers(fixed, images)]
    except RuntimeFailure as error:
        raise _can_not(where, "the runtime refuses it so", picture) from error
    most = PROBE_TOLERANCE * max(float(np.max(np.abs(answers[0]))), 1e-3)
    if not float(np.max(np.abs(answers[1] - answers[0]))) <= most:
        raise _can_not(where, "it then answers otherwise", picture)
    return fixed


def _can_not(where: str, why: str, picture: tuple[int, int] | None) -> UsageError:
    if picture is not None:
        return UsageError(
            f"{where}: can't be given pictures of {picture[0]} x {picture[1]}: {why}",
            "Choose another --input-size, or convert the model to TFLite with one size.",
        )
    return UsageError(
        f"{where}: its batch can't be fixed at 1: {why}",
        "Convert the model to TFLite with a batch of 1, or from its Keras file.",
    )


def _resized(model: bytes, where: str, picture: tuple[int, int] | None) -> bytes:
    """The file with a batch of 1 at its input, and where it is written into a RESHAPE."""
    graph = Graph(model, where)
    batch, *image = graph.shape(graph.input)
    for op in [op for op in graph.ops if op.name == "RESHAPE" and len(op.inputs) == 2]:
        wanted = graph.constant(op.inputs[1])
        if wanted is not None and wanted.size and int(wanted[0]) == batch > 1:
            one = np.array([1, *wanted[1:]], wanted.dtype)
            graph.rewire(op, [op.inputs[0], graph.add_constant(f"{op.output}/one", one)])
    graph.set_shape(graph.input, (1, *(picture or image[:2]), *image[2:]))
    return graph.to_bytes()


def _without_shapes(model: bytes, where: str, native: Any) -> bytes:
    """Every shape as the runtime has worked it out, and constants for what is made of shapes."""
    graph = Graph(model, where)
    for details in native.get_tensor_details():
        if details["index"] < graph.tensor_count:
            graph.set_shape(details["index"], [int(n) for n in details["shape"]])
    known: set[int] = set()
    for op in graph.ops:
        made = op.name == "SHAPE" or all(
            i in known or graph.constant(i) is not None for i in op.inputs if i >= 0
        )
        known |= set(op.outputs) if made else set()
    for op in [op for op in graph.ops if not known.issuperset(op.outputs)]:
        values = {i: native.get_tensor(i) for i in op.inputs if i in known}
        if values and all(value.dtype.name in _CONSTANTS for value in values.values()):
            made_of = {i: graph.add_constant(f"{graph.name(i)}/at_one", values[i]) for i in values}
            graph.rewire(op, [made_of.get(i, i) for i in op.inputs])
    return graph.to_bytes()


def _images(model: bytes, picture: tuple[int, int] | None) -> Array:
    """Images to try: float32[N, H, W, 3] of the file's own batch N, and size where it has one."""
    batch, height, width, channels = open_native(model).get_input_details()[0]["shape"]
    shape = (batch, *(picture or (height, width)), channels)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def _answers(model: bytes, images: Array, picture: tuple[int, int] | None = None) -> Array:
    """What a model answers, in batches of its own size: float32[N, ...]."""
    native = open_native(model)
    if picture is not None:
        native.resize_tensor_input(native.get_input_details()[0]["index"], list(images.shape))
        try:
            native.allocate_tensors()
        except RuntimeError as error:
            raise RuntimeFailure(f"resizing failed: {error}") from error
    count = int(native.get_input_details()[0]["shape"][0])
    return np.concatenate(
        [_run(native, images[i : i + count]) for i in range(0, len(images), count)]
    )


def _run(native: Any, value: Array) -> Array:
    try:
        native.set_tensor(native.get_input_details()[0]["index"], value)
        native.invoke()
        answer: Array = native.get_tensor(native.get_output_details()[0]["index"])
        return answer
    except (ValueError, RuntimeError) as error:
        raise RuntimeFailure(f"inference failed: {error}") from error
