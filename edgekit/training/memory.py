"""What a training needs of the main memory, before it is begun. Imports Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from edgekit.errors import RuntimeFailure
from edgekit.limits import available_memory

#: Weights, their gradients, two moments of the optimizer, the best weights, and those being saved.
_COPIES = 6
#: An activation and its gradient live side by side.
_ACTIVATION_COPIES = 2
#: The share of what is available that may be planned for.
_SHARE = 0.8


def require_room(name: str, parameters: int) -> None:
    """Checks that a model can be loaded: its weights, and those in the file it comes from.

    Raises:
        RuntimeFailure: It can't.
    """
    available, needed = available_memory(), 2 * 4 * parameters
    if available is not None and needed > available:
        raise _too_large(name, "loading", needed, available)


def pieces(name: str, body: keras.Model, batch: int) -> int:
    """In how many pieces a batch has to go through, so that it fits into the memory.

    An estimate: what it misses is caught when it happens (`loop.Runner`).

    Args:
        name: The model's, for the error.
        body: What is trained; its inputs have a known size.
        batch: Pictures in a batch.

    Returns:
        A power of two, 1 where all fits or where the system doesn't say what it has.

    Raises:
        RuntimeFailure: Not even one picture at a time fits.
    """
    available = available_memory()
    if available is None:
        return 1
    fixed = _COPIES * sum(_bytes(w.shape) for w in body.weights)
    each = _ACTIVATION_COPIES * sum(_bytes(t.shape[1:]) for t in _activations(body))
    room = _SHARE * available - fixed
    if room < each:
        raise _too_large(name, "training", fixed + each, available)
    count = 1
    while count < batch and -(-batch // count) * each > room:
        count *= 2
    return count


def _too_large(name: str, what: str, needed: float, available: float) -> RuntimeFailure:
    return RuntimeFailure(
        f"{name} is too large for the memory: {what} it takes about {needed / 2**30:.1f} GiB, and "
        f"{available / 2**30:.1f} GiB are available",
        "Choose a smaller model, a smaller --size, or fine-tune fewer blocks with --unfreeze.",
    )


def _activations(model: keras.Model) -> list[Any]:
    """What its operations give; an operation may give several tensors, or be used several times."""
    return [
        tensor
        for operation in model.operations
        for node in operation._inbound_nodes
        for tensor in node.outputs
    ]


def _bytes(shape: Any) -> float:
    return 4.0 * float(np.prod([n or 1 for n in shape], dtype=np.float64))
