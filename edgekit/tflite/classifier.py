"""Whether a model is an image classifier, of which size, and what it gives."""

from __future__ import annotations

from edgekit.errors import UsageError
from edgekit.tflite.model import Model, Tensor

INPUT_DTYPES = ("float32", "int8", "uint8")

#: Ops behind the one that gives the scores its meaning.
_PASS_ON = ("QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE")


#: What no picture is made of.
_NO_PIXELS = ("string", "bool", "int32", "int64", "uint32", "uint64", "complex64", "complex128")


def require_picture(model: Model, where: str) -> None:
    """Refuses a model that takes no picture at all, whatever else is wrong with it.

    Raises:
        UsageError: It has no input, or takes texts or whole numbers.
    """
    inputs = [model.main.tensors[i] for i in model.main.inputs]
    if not inputs or all(tensor.dtype in _NO_PIXELS for tensor in inputs):
        takes = ", ".join(map(_describe, inputs)) or "nothing"
        raise UsageError(f"{where}: not an image classifier: it takes {takes}")


def classifier_shape(model: Model, where: str) -> tuple[int, int, int]:
    """The sizes of an image classifier: (height, width, classes).

    Its one input is [1, height, width, 3] of float32, int8 or uint8, and its first output
    [1, classes]. A batch that may change is accepted where the stored shape says 1; a height or
    width that may change isn't, since the stored shape then says nothing.

    Args:
        model: A model from `read`.
        where: The file it came from, for the error.

    Raises:
        UsageError: It is something else; the message says what it has instead.
    """
    require_picture(model, where)
    graph = model.main
    if len(graph.inputs) != 1:
        raise UsageError(f"{where}: not an image classifier: it has {len(graph.inputs)} inputs")
    if not graph.outputs:
        raise UsageError(f"{where}: not an image classifier: it has no output")
    image, scores = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    if len(image.shape) != 4 or image.shape[0] != 1 or image.shape[3] != 3 or 0 in image.shape:
        raise UsageError(
            f"{where}: not an image classifier: its input is {_describe(image)}, not "
            "[1, height, width, 3]",
            "Convert the model with a batch of 1 and colour images of a fixed size.",
        )
    if -1 in image.shape_signature[1:]:
        raise UsageError(
            f"{where}: takes pictures of any size: its input is {_describe(image)}",
            "Give it one: edgekit convert --float32 MODEL.tflite --input-size 224",
        )
    if image.dtype not in INPUT_DTYPES:
        raise UsageError(
            f"{where}: its input is {_describe(image)}; edgekit feeds {', '.join(INPUT_DTYPES)}"
        )
    if len(scores.shape) != 2 or scores.shape[0] != 1 or scores.shape[1] < 1:
        raise UsageError(
            f"{where}: not an image classifier: its output is {_describe(scores)}, not "
            "[1, classes]",
            "Where the classes are there in another shape, end the model with a Flatten layer.",
        )
    return image.shape[1], image.shape[2], scores.shape[1]


def output_meaning(model: Model) -> str | None:
    """What the first output is: `probabilities` after a softmax or sigmoid, else `logits`.

    Returns:
        None where it can't be seen: it comes out of a custom op, such as the Edge TPU compiler's.
    """
    producers = {index: op for op in model.main.operators for index in op.outputs}
    operator = producers.get(model.main.outputs[0])
    while operator is not None and operator.name in _PASS_ON:
        operator = producers.get(operator.inputs[0])
    if operator is None or operator.custom:
        return None
    return "probabilities" if operator.name in ("SOFTMAX", "LOGISTIC") else "logits"


def _describe(tensor: Tensor) -> str:
    return f"{tensor.dtype}{list(tensor.shape_signature)}"
