"""From a Keras 3 model to its tf_keras twin, flat and without preprocessing. Runs in the child.

tensorflow-model-optimization takes tf_keras models only, and of those only flat ones. It also lets
much pass that it can't quantize: a swish or a hard-swish stays in float without a word, and so does
what stands around it. So every layer is checked here before anything is built, against what is
known to come out as int8 from end to end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgekit.contract import Contract
from edgekit.errors import NotMetError, RuntimeFailure, UsageError

#: How far the twin's answers may be from the model's, relative to the largest.
TOLERANCE = 1e-5

#: The layers that are taken over, and the settings that decide what they compute. Weights are
#: copied, so initializers don't matter; regularizers and constraints are left behind.
_CONVOLUTION = ("kernel_size", "strides", "padding", "dilation_rate", "activation", "use_bias")
_POOLING = ("pool_size", "strides", "padding")
_SETTINGS: dict[str, tuple[str, ...]] = {
    "Conv2D": ("filters", *_CONVOLUTION),
    "DepthwiseConv2D": ("depth_multiplier", *_CONVOLUTION),
    "SeparableConv2D": ("filters", "depth_multiplier", *_CONVOLUTION),
    "Dense": ("units", "activation", "use_bias"),
    "BatchNormalization": ("axis", "momentum", "epsilon", "center", "scale"),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "Activation": ("activation",),
    "Softmax": ("axis",),
    "Add": (),
    "Concatenate": ("axis",),
    "ZeroPadding2D": ("padding",),
    "MaxPooling2D": _POOLING,
    "AveragePooling2D": _POOLING,
    "GlobalAveragePooling2D": ("keepdims",),
    "Flatten": (),
    "Reshape": ("target_shape",),
    "Dropout": ("rate",),
    "SpatialDropout2D": ("rate",),
}
#: Functions on tensors (`keras.ops`) that a layer stands for.
_FUNCTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "Add": ("Add", {}),
    "Relu": ("ReLU", {}),
    "Relu6": ("ReLU", {"max_value": 6.0}),
}
#: Layers that do nothing at inference and are left out.
_IDLE = frozenset({"Identity", "GaussianNoise", "GaussianDropout", "ActivityRegularization"})
#: What a layer may end in. After relu6 as an activation tensorflow-model-optimization gives up, so
#: it becomes a layer of its own.
_ACTIVATIONS = frozenset({"linear", "relu", "relu6", "softmax"})
_BEFORE_BATCH_NORM = frozenset({"Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Dense"})


@dataclass(frozen=True)
class Twin:
    """The tf_keras twin of a Keras 3 model.

    Attributes:
        model: A flat tf_keras functional model; it takes normalized pixels.
        contract: How a picture becomes its input: the model's contract, with the normalization
            that the model did itself.
        idle: Names of the layers that were left out, since they do nothing at inference.
    """

    model: Any
    contract: Contract
    idle: tuple[str, ...]


def twin_of(model: Any, contract: Contract, tf_keras: Any, path: Path) -> Twin:
    """Builds the twin and holds it against the model.

    Args:
        model: A Keras 3 image classifier.
        contract: How a picture becomes the model's input.
        tf_keras: The module.
        path: The source, for errors.

    Raises:
        UsageError: The source is no Keras 3 model of layers that are connected one to another.
        NotMetError: tensorflow-model-optimization would leave layers of it in float, or the model
            gives NaN.
        RuntimeFailure: The twin answers otherwise than the model.
    """
    refuse_what_stays_float(model, path)
    builder = _Builder(tf_keras, contract)
    inputs = tf_keras.Input((contract.height, contract.width, 3), name=_input_name(model))
    outputs = builder.run(model, inputs)
    twin = tf_keras.Model(inputs, outputs, name=model.name)
    for layer_name, weights in builder.weights.items():
        twin.get_layer(layer_name).set_weights(weights)
    settled = dataclasses.replace(contract, mean=builder.mean, std=builder.std)
    _hold_against(model, twin, contract, settled, path)
    return Twin(twin, settled, tuple(builder.idle))


# --- which layers there are, and which can't be quantized


def refuse_what_stays_float(model: Any, path: Path) -> None:
    """Stops at layers that tensorflow-model-optimization can't quantize, all named at once.

    Args:
        model: A Keras 3 model.
        path: The source, for errors.

    Raises:
        As `twin_of`.
    """
    if not isinstance(model, keras.Model):
        raise UsageError(
            f"{path}: only tf_keras can read this model, and the bridge starts from Keras 3",
            "Save the model with Keras 3, or quantize it with tensorflow-model-optimization "
            "yourself: edgekit convert --int8 reads the result.",
        )
    reasons, at_input = [], True
    for operation in _leaves(model, path):
        at_input = at_input and (_normalizes(operation) or _is_idle(operation))
        if at_input:
            continue
        reason = _why_not(operation)
        if reason is not None:
            reasons.append(f"{operation.name!r} ({reason})")
    if reasons:
        more = f" and {len(reasons) - 5} more" if len(reasons) > 5 else ""
        raise NotMetError(
            f"{path}: tensorflow-model-optimization can't quantize {len(reasons)} layer(s), or "
            f"would leave them in float: {', '.join(reasons[:5])}{more}",
            "edgekit's own quantization-aware training takes them: leave out --engine tfmot.",
        )


def _leaves(model: Any, path: Path) -> Iterator[Any]:
    """The layers and functions of a model in order, those of nested models in their place."""
    for operation in _functional(model, path).operations:
        if isinstance(operation, keras.Model):
            yield from _leaves(operation, path)
        elif not isinstance(operation, keras.layers.InputLayer):
            yield operation


def _functional(model: Any, path: Path) -> Any:
    """The graph of a model: that of a Sequential is inside it."""
    graph = model._functional if isinstance(model, keras.Sequential) else model
    if not isinstance(graph, keras.Model) or not hasattr(graph, "operations"):
        raise UsageError(
            f"{path}: {model.name!r} is a subclassed model: which layer follows which is in its "
            "code, so it can't be flattened",
            "Write it as a functional or Sequential model, or train with edgekit's own engine.",
        )
    return graph


def _why_not(operation: Any) -> str | None:
    """Why an operation behind the input can't be quantized, or None."""
    kind = type(operation).__name__
    if not isinstance(operation, keras.layers.Layer):
        if kind == "Add" and not isinstance(operation.input, (list, tuple)):
            return "an addition of a constant"
        return None if kind in _FUNCTIONS else f"the function {kind}"
    if _is_idle(operation):
        return None
    if _normalizes(operation):
        return f"{kind} behind other layers"
    if kind not in _SETTINGS or type(operation).__module__.split(".")[0] != "keras":
        return kind
    config = operation.get_config()
    activation = config.get("activation", "linear")
    if activation not in _ACTIVATIONS:
        return f"{kind} with activation {_name(activation)}"
    if activation == "softmax" and kind not in ("Dense", "Activation"):
        return f"{kind} with activation softmax"
    if config.get("groups", 1) != 1:
        return f"{kind} with {config['groups']} groups"
    if config.get("data_format", "channels_last") not in (None, "channels_last"):
        return f"{kind} with {config['data_format']}"
    if kind == "ReLU" and (config["negative_slope"] or config["threshold"]):
        return "ReLU with a slope or a threshold"
    if kind == "BatchNormalization" and not _follows_a_convolution(operation):
        return "BatchNormalization that follows no convolution"
    return None


def _follows_a_convolution(norm: Any) -> bool:
    """Whether a batch norm can be folded: it alone reads a convolution without activation."""
    source = norm.input._keras_history.operation
    readers = [node for node in source._outbound_nodes if node.operation is not None]
    return (
        type(source).__name__ in _BEFORE_BATCH_NORM
        and source.get_config()["activation"] == "linear"
        and len(readers) == 1
    )


def _normalizes(operation: Any) -> bool:
    return type(operation).__name__ in ("Rescaling", "Normalization")


def _is_idle(operation: Any) -> bool:
    kind = type(operation).__name__
    if kind == "Activation":
        return bool(operation.get_config()["activation"] == "linear")
    return kind in _IDLE or kind.startswith("Random")


def _name(activation: Any) -> str:
    """What to call an activation: a name, or the class of a configuration."""
    return str(activation.get("class_name") if isinstance(activation, dict) else activation)


# --- building


class _Builder:
    """Calls tf_keras layers where a Keras 3 model calls its own.

    Attributes:
        weights: The arrays of each layer, by its name in the twin.
        idle: Names of the layers left out.
        mean: Of the pixels that the twin takes, per channel.
        std: Their divisor.
    """

    def __init__(self, tf_keras: Any, contract: Contract) -> None:
        self._layers = tf_keras.layers
        self._pixels: Any = None
        self._done: set[int] = set()
        self._names: set[str] = set()
        self.weights: dict[str, list[Any]] = {}
        self.idle: list[str] = []
        self.mean, self.std = contract.mean, contract.std

    def run(self, model: Any, inputs: Any) -> Any:
        """Gives a model's graph a tf_keras tensor."""
        if self._pixels is None:
            self._pixels = inputs
            self._names.add(inputs.node.layer.name)
        graph = model._functional if isinstance(model, keras.Sequential) else model
        return graph._run_through_graph(inputs, self._caller)

    def _caller(self, operation: Any) -> Any:
        def call(*arguments: Any, **_: Any) -> Any:
            # `training=False` and the like are how Keras 3 was called, not what is computed.
            tensors = keras.tree.flatten(arguments)
            if isinstance(operation, keras.Model):
                return self.run(operation, tensors[0])
            if _is_idle(operation):
                self.idle.append(operation.name)
                return tensors[0]
            if _normalizes(operation) and tensors[0] is self._pixels:
                self._take_over(operation)
                return tensors[0]
            return self._build(operation, tensors)

        return call

    def _take_over(self, operation: Any) -> None:
        """Puts `x * factor + offset` of the pixels into the contract's mean and std."""
        factor, offset = _affine(operation)
        if not (np.isfinite(factor).all() and (factor > 0).all()):
            raise NotMetError(
                f"{operation.name!r} multiplies pixels by {factor.tolist()}, and a preprocessing "
                "contract has positive factors",
                "Train with edgekit's own engine: leave out --engine tfmot.",
            )
        mean, std = np.array(self.mean), np.array(self.std)
        red, green, blue = (mean - offset * std / factor).tolist()
        self.mean = (red, green, blue)
        red, green, blue = (std / factor).tolist()
        self.std = (red, green, blue)

    def _build(self, operation: Any, tensors: list[Any]) -> Any:
        if id(operation) in self._done:
            raise NotMetError(
                f"{operation.name!r} is called more than once, and tensorflow-model-optimization "
                "can't fold such a layer",
                "Train with edgekit's own engine: leave out --engine tfmot.",
            )
        self._done.add(id(operation))
        kind, settings, clipped = _translated(operation)
        name = self._unique(operation.name)
        layer = getattr(self._layers, kind)(name=name, **settings)
        result = layer(tensors if kind in ("Add", "Concatenate") else tensors[0])
        if layer.weights:
            self.weights[name] = [np.asarray(weight) for weight in operation.weights]
        if clipped:
            result = self._layers.ReLU(6.0, name=self._unique(f"{name}_relu6"))(result)
        return result

    def _unique(self, name: str) -> str:
        """The layer's name; where nested models share one, with a number."""
        unique, number = name, 1
        while unique in self._names:
            number += 1
            unique = f"{name}_{number}"
        self._names.add(unique)
        return unique


def _translated(operation: Any) -> tuple[str, dict[str, Any], bool]:
    """The tf_keras layer for an operation: class, settings, and whether a relu6 follows."""
    kind = type(operation).__name__
    if not isinstance(operation, keras.layers.Layer):
        return (*_FUNCTIONS[kind], False)
    config = operation.get_config()
    settings = {key: config[key] for key in _SETTINGS[kind]}
    if settings.get("activation") != "relu6":
        return kind, settings, False
    if kind == "Activation":
        return "ReLU", {"max_value": 6.0}, False
    return kind, settings | {"activation": "linear"}, True


def _affine(operation: Any) -> tuple[Any, Any]:
    """What a Rescaling or Normalization layer does: (factor, offset), float64[3] each."""
    if type(operation).__name__ == "Rescaling":
        scale, shift = np.asarray(operation.scale), np.asarray(operation.offset)
        return np.broadcast_to(scale, 3) * 1.0, np.broadcast_to(shift, 3) * 1.0
    mean = np.broadcast_to(np.asarray(operation.mean, np.float64).ravel(), 3)
    variance = np.broadcast_to(np.asarray(operation.variance, np.float64).ravel(), 3)
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    if operation.invert:
        return deviation, mean
    return 1 / deviation, -mean / deviation


def _input_name(model: Any) -> str:
    return str(model.inputs[0].name)


def _hold_against(model: Any, twin: Any, contract: Contract, settled: Contract, path: Path) -> None:
    """Compares the answers on noise, each model fed by its own contract."""
    shape = (2, contract.height, contract.width, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.float64)
    inputs = [
        ((pixels - np.array(c.mean)) / np.array(c.std)).astype(np.float32)
        for c in (contract, settled)
    ]
    expected = np.asarray(model(inputs[0], training=False))
    if not np.isfinite(expected).all():
        raise NotMetError(
            f"{path}: the model gives numbers that are not finite (NaN or infinity)",
            "Training probably diverged: look at its weights, and train it again.",
        )
    error = float(np.abs(np.asarray(twin(inputs[1], training=False)) - expected).max())
    if not error <= TOLERANCE * max(float(np.abs(expected).max()), 1.0):
        raise RuntimeFailure(
            f"{path}: its tf_keras twin answers otherwise than the model itself (largest "
            f"difference {error:.3g})",
            "This would be another model, so it is not trained. Please report it.",
        )
