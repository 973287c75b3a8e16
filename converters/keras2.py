"""Translates the configuration of a Keras 2 (tf.keras) model into Keras 3's.

The weights of both are laid out alike; the configurations differ in what is listed here. Nothing is
imported: this is JSON to JSON. `TFOpLambda` layers (TensorFlow functions called on Keras tensors)
become `edgekit>TFOp`, see `converters.tf_op`.
"""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]

#: Entries that Keras 2 writes and Keras 3 refuses; dropping them changes nothing at inference when
#: they hold these values (None: any value).
_DROPPED: dict[str, dict[str, Any]] = {
    "DepthwiseConv2D": {"groups": 1},
    "SeparableConv2D": {
        "groups": 1,
        "kernel_initializer": None,
        "kernel_regularizer": None,
        "kernel_constraint": None,
    },
    "Conv2DTranspose": {"groups": 1},
    "RandomFlip": {"rng_type": None},
    "RandomRotation": {"rng_type": None},
    "RandomZoom": {"rng_type": None},
    "RandomTranslation": {"rng_type": None},
    "RandomContrast": {"rng_type": None},
    "RandomBrightness": {"rng_type": None},
    "RandomHeight": {"rng_type": None},
    "RandomWidth": {"rng_type": None},
    "RandomCrop": {"rng_type": None},
    "Dropout": {"rng_type": None},
    "SpatialDropout2D": {"rng_type": None, "noise_shape": None, "trainable": None},
    "GaussianNoise": {"rng_type": None},
    "InputLayer": {"ragged": False},
}
#: Activations that both have, with other formulas: Keras 2's is max(0, min(1, 0.2 x + 0.5)), Keras
#: 3's relu6(x + 3) / 6.
_OTHER_FORMULA = ("hard_sigmoid",)
_OP_LAYERS = ("TFOpLambda", "SlicingOpLambda")
_TF_OP = {"module": "edgekit", "class_name": "TFOp", "registered_name": "edgekit>TFOp"}


def is_keras2(config: Config) -> bool:
    """Whether a model's configuration was written by Keras 2 (2.x of any packaging)."""
    text = repr(config)
    return "tf_keras" in text or "keras.src.engine" in text or "'batch_input_shape'" in text


def translate(config: Config) -> Config:
    """The same model as Keras 3 describes it.

    Args:
        config: `config.json` of a `.keras` file, or `model_config` of an HDF5 file.

    Raises:
        ValueError: Keras 3 has nothing that computes the same.
    """
    return _model(config)


def _model(config: Config) -> Config:
    """Translates a Functional or Sequential model and all layers in it."""
    body = dict(config["config"])
    layers = body.get("layers", [])
    # Keras 2 counts the calls of a nested model from 1: the 0th is the one that made it.
    nested = frozenset(layer["name"] for layer in layers if _is_model(layer) and "name" in layer)
    body["layers"] = [_layer(layer, nested) for layer in layers]
    for ends in ("input_layers", "output_layers"):
        if ends in body:
            references = [_reference(reference, nested) for reference in body[ends]]
            # A list of one would make the model take and give lists.
            body[ends] = references[0] if len(references) == 1 else references
    if "name" in body:
        body["name"] = _name(body["name"])
    # Keras 2 puts the shape that a Sequential was built with beside its layers.
    body.pop("build_input_shape", None)
    result = {"class_name": config["class_name"], "config": body}
    if "module" in config:
        module = "keras.src.models.functional" if _is_functional(config) else "keras"
        result |= {"module": module, "registered_name": config["class_name"]}
        if not _is_functional(config):
            result["registered_name"] = None
    return result


def _layer(layer: Config, nested: frozenset[str] = frozenset()) -> Config:
    if _is_model(layer):
        translated = _model(layer)
    elif layer["class_name"] in _OP_LAYERS:
        inner = layer["config"]
        translated = dict(_TF_OP) | {
            "config": {
                "name": _name(inner["name"]),
                "function": inner.get("function", "slice"),
                "dtype": "float32",
            }
        }
        if "module" not in layer:  # HDF5: classes are looked up by name alone
            translated = {"class_name": "edgekit>TFOp", "config": translated["config"]}
    else:
        translated = {
            key: value for key, value in layer.items() if key not in ("inbound_nodes", "name")
        }
        translated["config"] = _layer_config(layer["class_name"], layer["config"])
        if str(layer.get("module", "")).startswith(("tf_keras", "keras.src")):
            translated["module"] = "keras.layers"
            translated["registered_name"] = None
    if "name" in layer:
        translated["name"] = _name(layer["name"])
    if "inbound_nodes" in layer:
        translated["inbound_nodes"] = [_node(node, nested) for node in layer["inbound_nodes"]]
    return translated


def _layer_config(class_name: str, config: Config) -> Config:
    if config.get("activation") in _OTHER_FORMULA:
        raise ValueError(f"the activation {config['activation']} is another function in Keras 3")
    dropped = _DROPPED.get(class_name, {})
    result = {
        key: value
        for key, value in config.items()
        if not (key in dropped and dropped[key] in (None, value))
    }
    if "name" in result:
        result["name"] = _name(result["name"])
    if class_name == "BatchNormalization" and isinstance(result.get("axis"), list):
        result["axis"] = result["axis"][0]
    if isinstance(result.get("layer"), dict):  # a wrapper such as TimeDistributed
        result["layer"] = _layer(result["layer"])
    return result


def _node(node: list[Any], nested: frozenset[str]) -> list[Any]:
    """One call of a layer: always a list of [layer, node, tensor, arguments].

    A TensorFlow function with one tensor is written without the outer list, and further tensors
    hide in its arguments; they become further inputs.
    """
    if node and isinstance(node[0], str):
        node = [node]
    inputs: list[Any] = []
    for *reference, rest in (entry if len(entry) == 4 else [*entry, {}] for entry in node):
        arguments = dict(rest)
        tensors = [key for key, value in arguments.items() if _is_reference(value)]
        references = [arguments.pop(key) for key in tensors]
        arguments = {k: v for k, v in arguments.items() if not (k == "name" and v is None)}
        inputs.append([*_reference(reference, nested), arguments])
        inputs.extend([*_reference(other, nested), {}] for other in references)
    return inputs


def _is_reference(value: Any) -> bool:
    """Whether an argument stands for the output of a layer: [name, node index, tensor index]."""
    return (
        isinstance(value, list)
        and len(value) == 3
        and isinstance(value[0], str)
        and isinstance(value[1], int)
        and isinstance(value[2], int)
    )


def _is_model(layer: Config) -> bool:
    return _is_functional(layer) or layer["class_name"] == "Sequential"


def _is_functional(config: Config) -> bool:
    return config["class_name"] in ("Functional", "Model")


def _reference(reference: list[Any], nested: frozenset[str]) -> list[Any]:
    """[layer, node index, tensor index] as Keras 3 names and counts them."""
    name, node_index, tensor_index = reference
    return [_name(name), node_index - 1 if name in nested else node_index, tensor_index]


def _name(name: str) -> str:
    """Keras 3 allows no slash in a name, such as MobileNetV3's `Conv/BatchNorm`."""
    return name.replace("/", "_")
