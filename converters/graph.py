"""From a loaded model to a frozen graph of constants, and from that to TFLite. Imports TensorFlow.

Tracing the Keras model with its variables replaced by constants gives a graph that needs no
freezing, and `tf.compat.v1.lite.TFLiteConverter` takes it as it is. That took 1.0 s on
EfficientNet-Lite0 where freezing and `from_concrete_functions` took 2.6 s, with 100 MiB less, for
the same bytes of weights and identical outputs.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from edgekit.converters.tfmot import loading as tfmot_loading
from edgekit.errors import UnreadableError, UsageError

#: Layers before the first real one that change pixels one by one, or not at all at inference.
_PIXELWISE = frozenset(
    {"Rescaling", "Normalization", "TrueDivide", "Divide", "Subtract", "Multiply", "Add", "TFOp"}
    | {"TFOpLambda", "GetItem", "Flip", "Cast"}
)
_TRANSPARENT = frozenset({"InputLayer", "Dropout", "Identity", "GaussianNoise", "Resizing"})
_TRANSPARENT |= {"QuantizeLayer"}  # tensorflow-model-optimization's, of the input


@dataclass
class Frozen:
    """A graph of constants with one image input and one output."""

    graph_def: Any
    inputs: list[Any]
    outputs: list[Any]


@dataclass
class Source:
    """A model that was read: what it is, how to call it, how to freeze it.

    Attributes:
        description: What the parent needs to know; plain JSON values.
        call: float32[1, H, W, 3] tensor -> tensor.
        variables: The Keras 3 variables to replace by constants, or None where the graph has to be
            frozen by TensorFlow.
        owner: What must live as long as `call` is used: a SavedModel's signature holds its
            variables only through the loaded object.
    """

    description: dict[str, Any]
    call: Callable[[Any], Any] | None
    variables: list[Any] | None = None
    owner: Any = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The input shape that is exported: batch 1."""
        return (1, self.description["height"], self.description["width"], 3)

    def probe(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """One input and what the model makes of it: the export is held against this."""
        assert self.call is not None
        noise = np.random.default_rng(0).uniform(-1, 1, self.shape).astype(np.float32)
        return noise, np.asarray(self.call(tf.constant(noise)), np.float32)

    def freeze(self, path: Path) -> Frozen:
        """Traces the model into a graph of constants.

        Raises:
            UnreadableError: The model changes variables when it is called.
        """
        call = self.call
        assert call is not None
        # Values can only be read outside the trace, and become constants only inside it.
        values = [(variable, variable.numpy()) for variable in self.variables or ()]

        def traced(image: Any) -> Any:
            if not values:
                return call(image)
            constants = [(variable, tf.constant(value)) for variable, value in values]
            with keras.StatelessScope(state_mapping=constants):
                return call(image)

        signature = [tf.TensorSpec(self.shape, tf.float32, name="image")]
        function = tf.function(traced, input_signature=signature, autograph=False)
        concrete = function.get_concrete_function()
        if concrete.graph.captures:
            # A layer holds tensors of its own (Normalization does), or the model is not Keras 3's.
            try:
                concrete = convert_variables_to_constants_v2(concrete)
            except ValueError as error:
                if "expected resource" not in str(error):
                    raise
                # Keras 3.15 exports Random* layers so that they draw at inference too.
                raise UnreadableError(
                    f"{path}: the model changes a variable each time it is called: an "
                    "augmentation layer in it still draws random numbers",
                    "Convert the .keras or .h5 file of the model, where such layers rest.",
                ) from error
        return Frozen(concrete.graph.as_graph_def(), concrete.inputs, concrete.outputs)

    def release(self) -> None:
        """Lets go of the model; its weights are in the frozen graph now."""
        self.call = self.variables = self.owner = None


def open_keras(path: Path, model: Any, size: tuple[int, int] | None) -> Source:
    """Describes a Keras model and checks that it is an image classifier.

    Raises:
        UsageError: It is none, or its input size is unknown.
    """
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs:
        raise UsageError(
            f"{path}: the model was saved before it was built, so its input is unknown",
            "Call it once on a batch of images, and save it again.",
        )
    _require_one(path, "input", [str(tuple(t.shape)) for t in inputs])
    _require_one(path, "output", [str(tuple(t.shape)) for t in outputs])
    height, width = _image_size(path, tuple(inputs[0].shape), size)
    classes = _classes(path, tuple(outputs[0].shape))
    _use_float32(model)
    description = {
        "height": height,
        "width": width,
        "classes": classes,
        "name": model.name,
        "framework": _framework(model),
        **_leading_layers(model),
    }
    is_keras3 = isinstance(model, keras.Model)

    def call(image: Any) -> Any:
        result = model(image, training=False)
        return result[0] if isinstance(result, (list, tuple)) else result

    variables = list(model.variables) if is_keras3 else None
    return Source(description, call, variables)


def open_savedmodel(path: Path, size: tuple[int, int] | None) -> Source:
    """Opens a SavedModel folder by its serving signature.

    Raises:
        UnreadableError: TensorFlow can't load it, or it has no signature.
        UsageError: It is no image classifier.
    """
    # TensorFlow raises anything from a damaged SavedModel.
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableError(
            f"{path}: TensorFlow can't load this SavedModel: {message[:300]}",
            "Export it again with model.export(...) or tf.saved_model.save(...).",
        ) from error
    signatures = getattr(loaded, "signatures", {})
    key = "serving_default" if "serving_default" in signatures else next(iter(signatures), None)
    if key is None:
        raise UnreadableError(
            f"{path}: this SavedModel has no signature to call",
            "Export it with model.export(...), which adds one.",
        )
    signature = signatures[key]
    (_, arguments), results = signature.structured_input_signature, signature.structured_outputs
    _require_one(path, "input", [str(tuple(s.shape)) for s in arguments.values()])
    _require_one(path, "output", [str(tuple(s.shape)) for s in results.values()])
    (name, spec), (output,) = next(iter(arguments.items())), results
    shape = tuple(spec.shape) if spec.shape.rank is not None else ()
    height, width = _image_size(path, shape, size)
    if shape[0] not in (None, 1):
        raise UsageError(
            f"{path}: its signature takes {shape[0]} images at a time, and a device has one",
            "Export it with a batch that may change: model.export(...), or an input of shape "
            "(None, height, width, 3).",
        )

    def call(image: Any) -> Any:
        return signature(**{name: tf.cast(image, spec.dtype)})[output]

    classes = _classes(path, tuple(call(tf.zeros((1, height, width, 3))).shape))
    description = {
        "height": height,
        "width": width,
        "classes": classes,
        "name": path.name,
        "framework": f"SavedModel, TensorFlow {tf.__version__}",
        "pixelwise": [],
        "models": [],
        "first_layer": None,
    }
    return Source(description, call, owner=loaded)


def to_tflite(frozen: Frozen, path: Path) -> bytes:
    """Converts a frozen graph to float32 TFLite."""
    return _convert(
        tf.compat.v1.lite.TFLiteConverter(frozen.graph_def, frozen.inputs, frozen.outputs), path
    )


def to_tflite_stock(
    frozen: Frozen, calibration: Path, options: dict[str, Any], path: Path
) -> bytes:
    """Converts with TFLiteConverter's own int8 quantization, the reference to compare with.

    Args:
        frozen: The graph.
        calibration: A .npy file, float32[N, H, W, 3].
        options: `int16x8`: whether activations are int16.
        path: The source, for errors.
    """
    images = np.load(calibration, mmap_mode="r")
    converter = tf.compat.v1.lite.TFLiteConverter(frozen.graph_def, frozen.inputs, frozen.outputs)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    if options.get("int16x8"):
        ops = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        io_type = tf.float32
    else:
        ops, io_type = tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.int8
    converter.target_spec.supported_ops = [ops]
    converter.inference_input_type = converter.inference_output_type = io_type
    return _convert(converter, path)


def save_probe(
    path: Path, probe_input: npt.NDArray[np.float32], probe_output: npt.NDArray[np.float32]
) -> None:
    """Keeps the probe for the parent."""
    np.savez(path, input=probe_input, output=probe_output)


def _convert(converter: Any, path: Path) -> bytes:
    from tensorflow.lite.python.convert import ConverterError

    try:
        return bytes(converter.convert())
    except ConverterError as error:
        text = str(error)
        ops = sorted(set(re.findall(r"tf\.(\w+) (?:op|\{)", text)))
        found = f" (ops without a TFLite equivalent: {', '.join(ops)})" if ops else ""
        raise UnreadableError(
            f"{path}: TensorFlow can't express this model in TFLite{found}",
            "Replace those layers; --debug shows TensorFlow's own message.",
        ) from error


def _require_one(path: Path, what: str, shapes: list[str]) -> None:
    if len(shapes) != 1:
        raise UsageError(
            f"{path}: the model has {len(shapes)} {what}s ({', '.join(shapes)}); edgekit takes "
            f"image classifiers with one {what}",
            f"Save a model with the one {what} that classifies.",
        )


def _image_size(
    path: Path, shape: tuple[int | None, ...], size: tuple[int, int] | None
) -> tuple[int, int]:
    if len(shape) != 4 or shape[3] not in (3, None):
        raise UsageError(
            f"{path}: the input has the shape {shape}, not that of RGB images "
            "(batch, height, width, 3)",
            "edgekit takes image classifiers.",
        )
    height, width = shape[1], shape[2]
    if size is not None:
        if (height or size[0], width or size[1]) != size:
            raise UsageError(
                f"{path}: --input-size {size[0]}x{size[1]}, but the model's input is "
                f"{height} x {width}"
            )
        return size
    if height is None or width is None:
        raise UsageError(
            f"{path}: the model takes images of any size, and a TFLite file for a device has one",
            "Say which: --input-size 224",
        )
    return int(height), int(width)


def _classes(path: Path, shape: tuple[int | None, ...]) -> int:
    if len(shape) != 2 or not shape[1]:
        raise UsageError(
            f"{path}: the output has the shape {shape}, not that of a classifier (batch, classes)",
            "Save the whole classifier, with its pooling and Dense layers, without an argmax.",
        )
    return int(shape[1])


def _framework(model: Any) -> str:
    if isinstance(model, keras.Model):
        return f"Keras {keras.__version__}"
    found = f"Keras {importlib.metadata.version('tf-keras')} (tf_keras)"
    if tfmot_loading.is_wrapped_model(model):
        package = "tensorflow-model-optimization"
        found += f", wrapped by {package} {importlib.metadata.version(package)}"
    return found


def _use_float32(model: Any) -> None:
    """A model trained in mixed precision is exported in float32, which its weights are kept in."""
    for layer in model._flatten_layers(include_self=False, recursive=True):
        policy = getattr(layer, "dtype_policy", None)
        if policy is not None and getattr(policy, "compute_dtype", "float32") != "float32":
            layer.dtype_policy = "float32"


def _leading_layers(model: Any) -> dict[str, Any]:
    """What stands before the first layer that mixes pixels, to infer the preprocessing from.

    Returns:
        `pixelwise`: [class, name] of each layer that changes pixels one by one;
        `models`: the name of the model and of each nested model on the way;
        `first_layer`: the name of the first real layer.
    """
    pixelwise: list[list[str]] = []
    models = [model.name]
    layers = list(getattr(model, "operations", None) or model.layers)
    while layers:
        layer = layers.pop(0)
        kind = type(layer).__name__
        if hasattr(layer, "layers"):
            models.append(layer.name)
            layers = list(getattr(layer, "operations", None) or layer.layers) + layers
        elif kind in _PIXELWISE:
            pixelwise.append([kind, layer.name])
        elif kind not in _TRANSPARENT and not kind.startswith("Random"):
            return {"pixelwise": pixelwise, "models": models, "first_layer": layer.name}
    return {"pixelwise": pixelwise, "models": models, "first_layer": None}
