"""edgekit: image classifiers on edge devices, proven.

Every verb of the command line is also a call here, loaded when it is first used:

    edgekit.convert("model.keras", "model.tflite", "int8", data="photos/")
    edgekit.inspect("model.tflite")
    edgekit.evaluate(["model.keras", "model.tflite"], data="photos/")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edgekit.version import __version__

if TYPE_CHECKING:
    from edgekit.api import convert, evaluate, predict
    from edgekit.tflite import inspect
    from edgekit.training.zoo import create

_VERBS = {
    "convert": "edgekit.api",
    "create": "edgekit.training.zoo",
    "evaluate": "edgekit.api",
    "inspect": "edgekit.tflite",
    "predict": "edgekit.api",
}

__all__ = ["__version__", "convert", "create", "evaluate", "inspect", "predict"]


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        return getattr(importlib.import_module(_VERBS[name]), name)
    raise AttributeError(f"module 'edgekit' has no attribute {name!r}")
