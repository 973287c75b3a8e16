"""tensorflow-model-optimization ("tfmot"), in a child process: it needs Keras 2, edgekit Keras 3.

`loading` and `learned_ranges` read models that were quantized with it elsewhere. `engine` trains
with it: the child builds a tf_keras twin (`bridge`) and trains that (`training`). Names are loaded
when they are first used: a child imports one module of this package, not all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.converters.tfmot.engine import (
        Labelled,
        Result,
        quantization_aware_train,
        step_seconds,
    )
    from edgekit.converters.tfmot.recipe import Recipe

_HOMES = {
    "Labelled": "engine",
    "Recipe": "recipe",
    "Result": "engine",
    "quantization_aware_train": "engine",
    "step_seconds": "engine",
}

__all__ = ["Labelled", "Recipe", "Result", "quantization_aware_train", "step_seconds"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
