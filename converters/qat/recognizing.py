"""What a `.keras` file says of itself: is it quantization-aware, and of which version? No Keras."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgekit.converters import sources
from edgekit.errors import UnreadableError

#: The version of the layers' configurations.
FORMAT = 1
#: What the names of the registered classes begin with.
PACKAGE = "edgekit"
_CLASSES = frozenset({f"{PACKAGE}>Operation", f"{PACKAGE}>WeightedOperation"})


def is_quantization_aware(path: Path) -> bool:
    """Whether a model file is one that `edgekit qat` wrote.

    Raises:
        UnreadableError: It is no model file, or a damaged one.
    """
    if sources.kind_of(path) != "keras":
        return False
    return next(_formats(sources.check_keras_archive(path)), None) is not None


def require_readable(config: dict[str, Any], path: Path) -> None:
    """Checks that this edgekit knows the layers in a configuration, if there are any of its own.

    Raises:
        UnreadableError: A newer edgekit wrote them.
    """
    newer = [version for version in _formats(config) if version != FORMAT]
    if newer:
        raise UnreadableError(
            f"{path}: a quantization-aware model of format {newer[0]}, and this edgekit reads "
            f"format {FORMAT}",
            "Use the edgekit that wrote it, or a newer one.",
        )


def _formats(config: dict[str, Any]) -> Iterator[Any]:
    """The format of each of edgekit's ops among the layers of a model's configuration."""
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else None
    for layer in layers if isinstance(layers, list) else ():
        if isinstance(layer, dict) and layer.get("registered_name") in _CLASSES:
            settings = layer.get("config")
            yield settings.get("format") if isinstance(settings, dict) else None
