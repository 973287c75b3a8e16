"""A float model and its quantized draft side by side, up to one tensor."""

from __future__ import annotations

import dataclasses

import numpy as np

from edgekit import images
from edgekit.contract import Contract
from edgekit.converters.rewriting import Array, Graph
from edgekit.converters.rungs.draft import Draft
from edgekit.runtime import Interpreter


class Prefix:
    """What a float model and a quantized draft of it compute up to one tensor.

    Args:
        model: The float model that the draft is held against.
        draft: What is being quantized; its tensors have the same names.
        tensor: The name of the tensor, or of the model's input.
        contract: Turns pictures into the input.
    """

    def __init__(self, model: bytes, draft: Draft, tensor: str, contract: Contract) -> None:
        self._contract = contract
        exact, begun = Graph(model, "float model"), Graph(draft.model, "draft")
        self._models: tuple[bytes, bytes] | None = None
        if tensor != exact.input_name:
            exact.end_at(exact.tensor(tensor))
            begun.end_at(begun.tensor(tensor))
            shortened = dataclasses.replace(draft, model=begun.to_bytes())
            self._models = exact.to_bytes(), shortened.quantized(contract)

    def open(self) -> Pair:
        """Both, ready to run in one thread."""
        models = self._models
        return Pair(models and (Interpreter(models[0]), Interpreter(models[1])), self._contract)


class Pair:
    """The two models of a `Prefix`, or none where the tensor is the input."""

    def __init__(self, models: tuple[Interpreter, Interpreter] | None, contract: Contract) -> None:
        self._models, self._contract = models, contract

    def run(self, picture: images.Picture) -> tuple[Array, Array]:
        """(float, quantized and back) of one picture: float32[1, ...] each."""
        value = images.to_input(picture, self._contract, np.float32)
        if self._models is None:
            whole = value.reshape(1, *picture.shape)
            return whole, whole
        exact, draft = self._models
        taken = draft.input
        quantized = images.to_input(picture, self._contract, taken.dtype, taken.quantization)
        seen = draft.output.dequantize(_whole(draft, quantized))
        return _whole(exact, value).astype(np.float32), seen


def _whole(interpreter: Interpreter, value: Array) -> Array:
    """The output with its batch: a dilated convolution can work on parts of a picture."""
    interpreter.invoke(value)
    output = interpreter.tensor(interpreter.output.index)
    assert output is not None
    return output
