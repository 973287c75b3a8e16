"""What a model says of pictures, in as many pieces as the memory asks for. Imports TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from edgekit.errors import RuntimeFailure

#: What TensorFlow and numpy raise where the memory doesn't suffice.
OUT_OF_MEMORY = (tf.errors.ResourceExhaustedError, MemoryError)


class Inference:
    """A function of tensors as one of arrays.

    Args:
        forward: Tensor [N, ...] -> tensor [N, ...].
        pieces: In how many pieces a batch goes through; doubled where the memory doesn't suffice.
    """

    def __init__(self, forward: Callable[[Any], Any], pieces: int = 1) -> None:
        self._forward, self.pieces = forward, pieces
        self._graph: Callable[[Any], Any] | None = None

    def __call__(self, inputs: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """The outputs, float32[N, ...].

        Raises:
            RuntimeFailure: The memory doesn't suffice for one input alone.
        """
        if self._graph is None:
            # One graph for all sizes: a second one, for the last batch, takes seconds to build.
            spec = tf.TensorSpec([None, *inputs.shape[1:]], inputs.dtype)
            self._graph = tf.function(self._forward, input_signature=[spec])
        while True:
            parts = np.array_split(inputs, min(self.pieces, len(inputs)))
            try:
                return np.concatenate([self._graph(part).numpy() for part in parts])
            except OUT_OF_MEMORY as error:
                if self.pieces >= len(inputs):
                    raise too_little_memory() from error
                self.pieces *= 2


def too_little_memory() -> RuntimeFailure:
    """The error where not even one picture fits."""
    return RuntimeFailure(
        "out of memory: not even one picture at a time goes through",
        "Close other programs, or choose a smaller model, a smaller --size, or a smaller "
        "--unfreeze.",
    )
