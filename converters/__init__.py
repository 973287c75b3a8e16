"""Keras models to TFLite files that are proven to be the same classifier.

`convert` is the façade; the stages behind it are modules here and can be called alone. Names are
loaded when they are first used: the export child imports one module of this package, not all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.converters.ladder import Promise, Promised, PromiseNotKept
    from edgekit.converters.options import Options, make_options
    from edgekit.converters.pipeline import Conversion, convert
    from edgekit.converters.reading import ExportedModel, export_float

_HOMES = {
    "Conversion": "pipeline",
    "ExportedModel": "reading",
    "convert": "pipeline",
    "export_float": "reading",
    "Options": "options",
    "Promise": "ladder",
    "PromiseNotKept": "ladder",
    "Promised": "ladder",
    "make_options": "options",
}

__all__ = [
    "Conversion",
    "ExportedModel",
    "Options",
    "Promise",
    "PromiseNotKept",
    "Promised",
    "convert",
    "export_float",
    "make_options",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module = importlib.import_module(f"edgekit.converters.{_HOMES[name]}")
        return getattr(module, name)
    raise AttributeError(f"module 'edgekit.converters' has no attribute {name!r}")
