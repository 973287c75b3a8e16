"""Reads Keras 2 models that tensorflow-model-optimization wrapped. Runs in the export child.

A model quantized with it is a tf_keras model whose layers are wrapped in `QuantizeWrapperV2` (older
ones in `QuantizeWrapper`), with a `QuantizeLayer` behind the input. Models that were only annotated
for quantization, or pruned or clustered and not stripped, carry other wrappers of the same package
and are read here too.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgekit.errors import MissingError, UnreadableError

PACKAGE = "tensorflow_model_optimization"

#: Classes that mark a model as one of this package, by the name that Keras files give them.
_WRAPPERS = frozenset(
    {"QuantizeWrapper", "QuantizeWrapperV2", "QuantizeLayer", "QuantizeAnnotate"}
    | {"PruneLowMagnitude", "ClusterWeights"}
)
#: What else of the package a file may name with its module. Everything here only computes.
CLASSES = _WRAPPERS | {"QuantizeAwareActivation", "NoOpActivation"}

INSTALL = 'Install it beside Keras 2: pip install "edgekit[tfmot]"'


def is_wrapped(config: Any) -> bool:
    """Whether a model's configuration has a layer that only this package can read.

    Args:
        config: `config.json` of a `.keras` file, or `model_config` of an HDF5 file.
    """
    if isinstance(config, dict):
        return config.get("class_name") in _WRAPPERS or any(map(is_wrapped, config.values()))
    return isinstance(config, list) and any(map(is_wrapped, config))


def is_wrapped_model(model: Any) -> bool:
    """Whether a loaded model has a layer of the package."""
    return any(type(layer).__module__.startswith(f"{PACKAGE}.") for layer in model.layers)


def require(path: Path) -> None:
    """Checks that the package and Keras 2 are installed.

    Raises:
        MissingError: One of them is not.
    """
    missing = [name for name in (PACKAGE, "tf_keras") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingError(
            f"{path}: needs tensorflow-model-optimization, and {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not installed",
            INSTALL,
        )


def load(file: Path, path: Path, kind: str) -> Any:
    """Loads a wrapped model for inference.

    Args:
        file: The file under a name that Keras takes for its kind.
        path: The file as the user calls it, for errors.
        kind: `keras` or `h5`.

    Returns:
        A tf_keras model; the wrappers of quantization are in place, those of pruning and
        clustering, which matter in training only, are gone.

    Raises:
        MissingError: tensorflow-model-optimization or tf_keras is not installed.
        UnreadableError: They can't read it.
    """
    require(path)
    tf_keras, tfmot = import_both()
    readable = _without_second_build(file) if kind == "keras" else contextlib.nullcontext(file)
    sparsity, clustering = tfmot.sparsity.keras, tfmot.clustering.keras
    # Keras raises anything from a damaged or foreign file.
    try:
        with (
            readable as source,
            tfmot.quantization.keras.quantize_scope(),
            sparsity.prune_scope(),
            clustering.cluster_scope(),
            _own_variables_from_the_end(tfmot),
        ):
            model = tf_keras.models.load_model(source, compile=False, safe_mode=True)
            return clustering.strip_clustering(sparsity.strip_pruning(model))
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UnreadableError(
            f"{path}: tensorflow-model-optimization can't read it: "
            f"{(lines or [type(error).__name__])[0][:300]}",
            "If it uses a class of your own: decorate it with "
            "@tf_keras.saving.register_keras_serializable(), put it in a module, and name that "
            "module with --import MODULE (its code then runs).",
        ) from error


def import_both() -> tuple[Any, Any]:
    """tf_keras and tensorflow_model_optimization, which takes `tf.keras` to be Keras 2."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    return importlib.import_module("tf_keras"), importlib.import_module(PACKAGE)


@contextlib.contextmanager
def _without_second_build(file: Path) -> Iterator[Path]:
    """A copy of a `.keras` file whose layers are built once.

    Keras builds each layer by its `build_config` and then again when it connects the layers, and a
    `QuantizeLayer` makes its variables each time: the package can't read back what it wrote
    (tensorflow/model-optimization, pull request 1123, open).
    """
    with tempfile.TemporaryDirectory(prefix="edgekit-tfmot-") as folder:
        copy = Path(folder) / "model.keras"
        with zipfile.ZipFile(file) as source, zipfile.ZipFile(copy, "w") as target:
            for name in source.namelist():
                data = source.read(name)
                if name == "config.json":
                    data = json.dumps(_without(json.loads(data), "build_config")).encode()
                target.writestr(name, data)
        yield copy


def _without(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {k: _without(v, key) for k, v in value.items() if k != key}
    return [_without(v, key) for v in value] if isinstance(value, list) else value


@contextlib.contextmanager
def _own_variables_from_the_end(tfmot: Any) -> Iterator[None]:
    """Lets a wrapper read its variables from a `.keras` file.

    When the wrapper was saved, the layer in it had been built before, so the file lists that
    layer's weights first and those that are the wrapper's own (its kernel, the ranges) last. A
    wrapper that is made anew has only the latter.
    """
    module = importlib.import_module(
        f"{tfmot.__name__}.python.core.quantization.keras.quantize_wrapper"
    )
    wrapper = module.QuantizeWrapper

    def load_own_variables(self: Any, store: Any) -> None:
        own = self._trainable_weights + self._non_trainable_weights
        first = len(store.keys()) - len(own)
        if first < 0:
            raise ValueError(f"{self.name}: {len(store.keys())} variables for {len(own)}")
        for number, variable in enumerate(own, first):
            variable.assign(store[str(number)])

    wrapper.load_own_variables = load_own_variables
    try:
        yield
    finally:
        del wrapper.load_own_variables
