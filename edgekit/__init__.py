"""edgekit: image classifiers on edge devices, proven.

Every verb of the command line is also a call here, loaded when it is first used:

    edgekit.advise("photos/", "pi4", max_latency=50)
    edgekit.train("photos/", "model.keras")
    edgekit.qat("model.keras", "photos/", "q.keras")
    edgekit.convert("model.keras", "model.tflite", "int8", data="photos/")
    edgekit.inspect("model.tflite")
    edgekit.evaluate(["model.keras", "model.tflite"], data="photos/")
    edgekit.measure("model.tflite", on="ssh:pi@raspberrypi.local")    # `edgekit benchmark`
    edgekit.bundle_pi("model.tflite", "classifier")                   # `edgekit bundle pi`
    edgekit.doctor(for_="train")
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if sys.version_info < (3, 10):  # noqa: UP036 - pip looks at it, a checkout on the path doesn't
    raise ImportError(
        f"edgekit needs Python 3.10 or later, and {sys.executable} is {sys.version.split()[0]}; "
        "make an environment with a newer one: python3.11 -m venv .venv"
    )

from edgekit.version import __version__

if TYPE_CHECKING:
    from edgekit.api import (
        advise,
        bundle_android,
        bundle_pi,
        compare,
        convert,
        evaluate,
        inspect_quantization,
        measure,
        predict,
        qat,
        train,
        tune,
        verify,
    )
    from edgekit.doctor import doctor
    from edgekit.tflite.inspect import inspect
    from edgekit.training.zoo import create

_VERBS = {
    "advise": "edgekit.api",
    "bundle_android": "edgekit.api",
    "bundle_pi": "edgekit.api",
    "compare": "edgekit.api",
    "convert": "edgekit.api",
    "create": "edgekit.training.zoo",
    "doctor": "edgekit.doctor",
    "evaluate": "edgekit.api",
    "inspect": "edgekit.tflite",
    "inspect_quantization": "edgekit.api",
    "measure": "edgekit.api",
    "predict": "edgekit.api",
    "qat": "edgekit.api",
    "train": "edgekit.api",
    "tune": "edgekit.api",
    "verify": "edgekit.api",
}

__all__ = [
    "__version__",
    "advise",
    "bundle_android",
    "bundle_pi",
    "compare",
    "convert",
    "create",
    "doctor",
    "evaluate",
    "inspect",
    "inspect_quantization",
    "measure",
    "predict",
    "qat",
    "train",
    "tune",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        return getattr(importlib.import_module(_VERBS[name]), name)
    raise AttributeError(f"module 'edgekit' has no attribute {name!r}")
