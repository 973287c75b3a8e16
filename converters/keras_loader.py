"""Reads any Keras file into a Keras 3 model. Runs in the export child; imports Keras."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import keras

from edgekit.converters import keras2, sources
from edgekit.converters import tf_op as _register_tf_op  # noqa: F401
from edgekit.converters.qat import layers as _register_layers  # noqa: F401
from edgekit.converters.qat import recognizing
from edgekit.converters.tfmot import loading as tfmot_loading
from edgekit.errors import MissingError, UnreadableError, UsageError

_REGISTER_HINT = (
    "Decorate the class with @keras.saving.register_keras_serializable(), put it in a module, and "
    "name that module with --import MODULE (its code then runs)."
)
_SAVE_AGAIN = "The file is damaged: save or copy it again."


def load(path: Path, kind: str, modules: Sequence[str]) -> Any:
    """Loads a model for inference, whatever Keras wrote it.

    Args:
        path: A `.keras` or HDF5 file.
        kind: `keras` or `h5`.
        modules: Python modules to import first, which register custom classes.

    Returns:
        A Keras 3 model, or a tf_keras model where only that can read the file.

    Raises:
        UnreadableError: The file is damaged, holds weights only, or needs code that is not loaded.
        MissingError: It needs tf_keras or tensorflow-model-optimization, which is not installed.
        UsageError: A module of `modules` can't be imported.
    """
    for name in modules:
        _import(name)
    config = sources.check_keras_archive(path) if kind == "keras" else _hdf5_config(path)
    _refuse_code(path, config)
    recognizing.require_readable(config, path)
    if tfmot_loading.is_wrapped(config):
        with _rightly_named(path, kind) as file:
            return tfmot_loading.load(file, path, kind)
    if not keras2.is_keras2(config):
        with _rightly_named(path, kind) as file:
            return _load_with_keras3(file, path)
    try:
        return _load_translated(path, kind, config)
    except UnreadableError as error:
        with _rightly_named(path, kind) as file:
            return _load_with_keras2(file, path, error)


def _import(name: str) -> None:
    # It is the user's code, which may raise anything or end the process.
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"--import {name}: {type(error).__name__}: {_first_line(error)}",
            "Give a module that Python can import from the current folder or the environment.",
        ) from error


@contextlib.contextmanager
def _rightly_named(path: Path, kind: str) -> Iterator[Path]:
    """The file under a name that Keras takes for this kind: it goes by the suffix alone."""
    suffixes = {"keras": (".keras",), "h5": (".h5", ".hdf5")}[kind]
    if path.suffix in suffixes:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        link = Path(folder) / f"model{suffixes[0]}"
        link.symlink_to(path.resolve())
        yield link


def _load_with_keras3(file: Path, path: Path) -> Any:
    """Loads `file`; errors speak of `path`."""
    # Keras raises anything from a damaged or foreign file; this is the one place that turns it into
    # edgekit's words.
    try:
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:
        raise UnreadableError(
            f"{path}: Keras {keras.__version__} can't read it: {_first_line(error)}",
            "If it uses a class of your own: " + _REGISTER_HINT,
        ) from error


def _load_translated(path: Path, kind: str, config: dict[str, Any]) -> Any:
    """Loads a Keras 2 file through a copy whose configuration is Keras 3's."""
    try:
        translated = keras2.translate(config)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise UnreadableError(
            f"{path}: a Keras 2 model whose configuration can't be translated: {error!r}",
            "Save it again, with Keras 3 where you can.",
        ) from error
    with tempfile.TemporaryDirectory(prefix="edgekit-keras2-") as folder:
        copy = Path(folder) / f"model.{kind}"
        if kind == "keras":
            with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
                for name in source.namelist():
                    data = json.dumps(translated) if name == "config.json" else source.read(name)
                    target.writestr(name, data)
        else:
            shutil.copyfile(path, copy)
            with h5py.File(copy, "r+") as file:
                file.attrs["model_config"] = json.dumps(translated)
        return _load_with_keras3(copy, path)


def _load_with_keras2(file: Path, path: Path, translation_error: UnreadableError) -> Any:
    """Loads a file that could not be translated with tf_keras, where that is installed."""
    if importlib.util.find_spec("tf_keras") is None:
        raise MissingError(
            f"{path}: a Keras 2 model that edgekit can't translate to Keras 3 "
            f"({translation_error.message.removeprefix(f'{path}: ')})",
            'Install Keras 2 beside it and try again: pip install "edgekit[keras2]"',
        )
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    tf_keras = importlib.import_module("tf_keras")
    try:
        return tf_keras.models.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # as in _load_with_keras3
        raise UnreadableError(
            f"{path}: neither Keras 3 nor Keras 2 can read it: {_first_line(error)}",
            _REGISTER_HINT,
        ) from error


def _hdf5_config(path: Path) -> dict[str, Any]:
    """The model's configuration in an HDF5 file."""
    try:
        with h5py.File(path, "r") as file:
            raw = file.attrs.get("model_config")
            has_weights = "layer_names" in file.attrs or "layers" in file
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise UnreadableError(
            f"{path}: not a sound HDF5 file ({_first_line(error)})", _SAVE_AGAIN
        ) from error
    if raw is None:
        what = "only weights, no model" if has_weights else "no Keras model"
        raise UnreadableError(
            f"{path}: an HDF5 file with {what}",
            "Build the model, load the weights into it, and save it with model.save('m.keras').",
        )
    try:
        config = json.loads(raw)
    except (ValueError, TypeError, RecursionError) as error:
        raise UnreadableError(
            f"{path}: its model_config is damaged ({error})", _SAVE_AGAIN
        ) from error
    if not isinstance(config, dict):
        raise UnreadableError(f"{path}: its model_config describes no model", _SAVE_AGAIN)
    return config


def _refuse_code(path: Path, config: dict[str, Any]) -> None:
    """Stops at what would run code from the file, before Keras sees it."""
    for item in _objects(config, path):
        class_name, module = item["class_name"], str(item.get("module") or "")
        name = _name_of(item)
        # Keras also takes "layers.Lambda" of the module "keras".
        if class_name.rpartition(".")[2] in ("Lambda", "__lambda__"):
            raise UnreadableError(
                f"{path}: layer {name!r} is a Lambda layer: it carries Python code that could do "
                "anything, and is not loaded",
                "Replace it by a layer (Rescaling for arithmetic on pixels) or by a class of your "
                "own, and save the model again. " + _REGISTER_HINT,
            )
        registered = str(item.get("registered_name") or class_name)
        package = module.split(".")[0]
        # A registered class is named PACKAGE>CLASS, and its module may be left out.
        known = not module or package in ("keras", "tf_keras", "builtins", "edgekit")
        known = known or (package == tfmot_loading.PACKAGE and class_name in tfmot_loading.CLASSES)
        known = known and ">" not in registered
        if not known and keras.saving.get_registered_object(registered) is None:
            full = f"{module}.{class_name}" if module else registered
            raise UnreadableError(
                f"{path}: {name!r} is of the custom class {full}: loading it could "
                "run code, and it is not registered",
                _REGISTER_HINT,
            )


def _objects(value: Any, path: Path, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Every serialized object in a configuration, outer ones first."""
    if depth > 200:
        raise UnreadableError(
            f"{path}: the model's configuration is nested absurdly deep", _SAVE_AGAIN
        )
    if isinstance(value, dict):
        if isinstance(value.get("class_name"), str):
            yield value
        for entry in value.values():
            yield from _objects(entry, path, depth + 1)
    elif isinstance(value, list):
        for entry in value:
            yield from _objects(entry, path, depth + 1)


def _name_of(item: dict[str, Any]) -> str:
    config = item.get("config")
    inner = config.get("name") if isinstance(config, dict) else None
    return str(item.get("name") or inner or item["class_name"])


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
