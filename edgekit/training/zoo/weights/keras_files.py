"""Weights in files that Keras wrote: `.keras`, `.weights.h5`, and the older `.h5`. Imports Keras.

Nothing in such a file is run: the arrays are read with h5py, and the configuration in a `.keras`
file only to compare it with the model's.
"""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from edgekit.errors import UnreadableError
from edgekit.training import keras_file
from edgekit.training.zoo.catalogue.description import TORCH_SUFFIX, Entry
from edgekit.training.zoo.weights import torch_layouts
from edgekit.training.zoo.weights.filling import CLASSIFIER, weighted_layers
from edgekit.training.zoo.weights.stored import Array, Matched, Stored, Weights

#: What keras.applications calls the classifier.
_CLASSIFIERS = ("predictions", "conv_preds", "Logits")
_MAX_BYTES = 4 << 30

_Arrays = dict[str, tuple[Array, ...]]


def read_keras(path: Path, entry: Entry) -> Weights:
    """Reads a `.keras` file; a model of the torch layout says so in its name.

    Raises:
        UnreadableError: It is damaged.
    """
    with _readable(path), zipfile.ZipFile(path) as archive:
        for name in ("config.json", "model.weights.h5"):
            if archive.getinfo(name).file_size > _MAX_BYTES:
                raise ValueError(f"{name} claims more than 4 GiB")
        config = json.loads(archive.read("config.json"))
        configurations = dict(_configurations(config))
        name = str(config["config"]["name"])
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            arrays = _read_named(file)
    found = keras_file.read_contract(path)
    match = partial(_by_name, arrays, configurations)
    return Weights(path, _in_layout(entry, name), match, found[0] if found else None)


def read_hdf5(path: Path, entry: Entry) -> Weights:
    """Reads a `.weights.h5` file of Keras 3, or an `.h5` file of weights or a whole model.

    Raises:
        UnreadableError: It is damaged.
    """
    with _readable(path), h5py.File(path) as file:
        if "layers" in file:
            name = str(file["vars"].attrs.get("name", "")) if "vars" in file else ""
            match = partial(_by_name, _read_named(file), {})
            return Weights(path, _in_layout(entry, name), match)
        root = file.get("model_weights", file)
        return Weights(path, entry, partial(_by_name_or_order, _read_legacy(root)))


# --- reading


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what zipfile, json and h5py raise of a damaged file into one error."""
    try:
        yield
    except (
        OSError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        RuntimeError,
        NotImplementedError,
        EOFError,
        RecursionError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise UnreadableError(
            f"{path}: no weights that Keras wrote ({error})",
            "The file is damaged or of another kind: save or copy it again.",
        ) from error


def _read_named(file: Any) -> _Arrays:
    """Keras 3: every group `vars` has the numbered arrays of a layer, and its name."""
    found: _Arrays = {}

    def visit(path: str, item: Any) -> None:
        named = path.startswith("layers/") and path.endswith("/vars")
        if not named or not len(item) or "seed_generator" in path:
            return
        if "name" not in item.attrs:
            raise ValueError("its layers have no names: an early Keras 3 wrote it")
        name = str(item.attrs["name"])
        if name in found:
            raise ValueError(f"two layers are named {name}")
        found[name] = tuple(_array(item[str(number)]) for number in range(len(item)))

    file.visititems(visit)
    return found


def _read_legacy(root: Any) -> _Arrays:
    """Keras 1 and 2: attributes name the layers, in order, and the arrays of each."""
    return {
        _text(layer): tuple(_array(root[layer][name]) for name in names)
        for layer in root.attrs["layer_names"]
        if len(names := root[layer].attrs["weight_names"])
    }


def _array(dataset: Any) -> Array:
    if dataset.nbytes > _MAX_BYTES:
        raise ValueError(f"{dataset.name} claims {dataset.nbytes:,} bytes")
    return np.asarray(dataset[()])


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _configurations(value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name, configuration) of every layer, nested models included."""
    if isinstance(value, dict):
        config = value.get("config")
        if "class_name" in value and isinstance(config, dict) and "name" in config:
            yield str(config["name"]), config
        for item in value.values():
            yield from _configurations(item)
    elif isinstance(value, list):
        for item in value:
            yield from _configurations(item)


def _in_layout(entry: Entry, model_name: str) -> Entry:
    return torch_layouts.in_torch_layout(entry) if model_name.endswith(TORCH_SUFFIX) else entry


# --- matching


def _by_name(
    arrays: _Arrays, configurations: Mapping[str, Mapping[str, Any]], model: Any
) -> Matched:
    stored, left = {}, dict(arrays)
    for layer in weighted_layers(model):
        names = (layer.name, *(_CLASSIFIERS if layer.name == CLASSIFIER else ()))
        name = next((name for name in names if name in left), None)
        if name is not None:
            stored[layer.name] = _stored(layer, name, left.pop(name), configurations.get(name, {}))
    return Matched(stored, tuple(name for name, mine in left.items() if not _is_extra(name, mine)))


def _by_name_or_order(arrays: _Arrays, model: Any) -> Matched:
    """As Keras loads such files: by name where all of the backbone has its name, else in order.

    The layers in the files of keras.applications often have the names of an older Keras.
    """
    layers = weighted_layers(model)
    if all(layer.name in arrays for layer in layers if len(layer.weights[0].shape) != 2):
        return _by_name(arrays, {}, model)
    items = [(name, mine) for name, mine in arrays.items() if not _is_normalization(name)]
    stored = {
        layer.name: _stored(layer, name, mine, {})
        for layer, (name, mine) in zip(layers, items, strict=False)
    }
    return Matched(stored, tuple(name for name, _ in items[len(layers) :]))


def _stored(
    layer: Any, name: str, arrays: tuple[Array, ...], settings: Mapping[str, Any]
) -> Stored:
    shapes = tuple(array.shape for array in arrays)
    if len(layer.weights[0].shape) == 2 and arrays[0].shape[:-2] == (1, 1):
        # keras.applications ends MobileNet V1 and V3 in 1x1 convolutions of one pixel.
        arrays = (arrays[0][0, 0], *arrays[1:])
    return Stored(name, arrays, shapes, settings)


def _is_extra(name: str, arrays: tuple[Array, ...]) -> bool:
    """Whether a layer may be left out: a head of somebody's own, or normalization of pixels."""
    return arrays[0].ndim == 2 or _is_normalization(name)


def _is_normalization(name: str) -> bool:
    return name.rpartition("/")[2].startswith("normalization")
