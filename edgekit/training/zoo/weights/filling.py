"""Puts stored weights into a model, after checking all of them. Imports Keras."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras import layers

from edgekit.errors import UsageError
from edgekit.training.zoo.weights.stored import Stored, Weights

CLASSIFIER = "logits"
#: What layers of one name must share, for the weights of one to mean the same in the other.
_COMPARED = ("kernel_size", "strides", "dilation_rate", "groups", "epsilon")


def fill(model: Any, weights: Weights) -> tuple[str, ...]:
    """Fills a model with weights.

    The classifier stays random where the file has it for other classes, and so do the dense layers
    before it where the file ends at the backbone.

    Returns:
        The names of the layers that stay random.

    Raises:
        UsageError: The weights don't fit; names the first layer that doesn't and both shapes.
    """
    matched = weights.match(model)
    chosen: list[tuple[Any, Stored]] = []
    random: list[str] = []
    for layer in weighted_layers(model):
        found = matched.stored.get(layer.name)
        if found is None and _is_head(layer):
            random.append(layer.name)
        elif found is not None and _shapes(layer) == [array.shape for array in found.arrays]:
            _compare_settings(weights.path, model, layer, found)
            chosen.append((layer, found))
        elif found is not None and layer.name == CLASSIFIER and _has_other_classes(layer, found):
            random.append(layer.name)
        else:
            raise _mismatch(weights.path, model, layer, found)
    if matched.left:
        raise _misfit(
            weights.path, model, f"the file has the layer {matched.left[0]}, which the model lacks"
        )
    for layer, found in chosen:
        layer.set_weights(list(found.arrays))
    return tuple(random)


def weighted_layers(model: Any) -> list[Any]:
    """The layers of a model that have weights, in the model's order."""
    return [layer for layer in model.layers if layer.weights]


def _mismatch(path: Path, model: Any, layer: Any, found: Stored | None) -> UsageError:
    """Names a layer and both shapes."""
    mine = _words(_shapes(layer))
    if found is None:
        return _misfit(path, model, f"it has nothing for the layer {layer.name} of shape {mine}")
    size = "fc1 depends on the input size: leave out --size. " if layer.name == "fc1" else ""
    return _misfit(
        path,
        model,
        f"the layer {layer.name} has the shape {mine}, and {found.source} in the file "
        f"{_words(found.shapes)}",
        size,
    )


def _compare_settings(path: Path, model: Any, layer: Any, found: Stored) -> None:
    mine = layer.get_config()
    for key in _COMPARED:
        if key in mine and key in found.settings:
            one, other = _plain(mine[key]), _plain(found.settings[key])
            if one != other:
                raise _misfit(
                    path, model, f"the layer {layer.name} has {key} {one}, and in the file {other}"
                )


def _misfit(path: Path, model: Any, why: str, hint: str = "") -> UsageError:
    return UsageError(
        f"{path}: doesn't fit {model.name}: {why}",
        f"{hint}Give weights of the same architecture, or --weights none.",
    )


def _has_other_classes(layer: Any, found: Stored) -> bool:
    return [shape[:-1] for shape in _shapes(layer)] == [array.shape[:-1] for array in found.arrays]


def _is_head(layer: Any) -> bool:
    """Whether a layer stands behind the pooling, where files of backbones end."""
    return isinstance(layer, layers.Dense) and len(layer.input.shape) == 2


def _shapes(layer: Any) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]


def _words(shapes: Sequence[tuple[int, ...]]) -> str:
    return " and ".join(map(str, shapes)) or "none"


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value
