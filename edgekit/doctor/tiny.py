"""Tiny models, run in a process of their own, to see a runtime work.

`main` is that child's: it prints one line of JSON.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
from typing import Any

#: As the façade tries them; not asked of it, since where it can't be imported, that is the answer.
_MODULES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")


def main() -> int:
    """Serves one request: runs the model and prints what happened."""
    told: dict[str, Any] = {"name": None, "absent": False, "xnnpack": False, "fault": None}
    told["wrong"] = []
    told["refused"] = _refused()
    try:
        _run(told)
    except Exception as error:  # whatever it is, it is what was asked for
        told["fault"] = f"{type(error).__name__}: {error}".splitlines()[0]
    print(json.dumps(told))
    return 0


def _refused() -> list[tuple[str, str]]:
    """The runtimes that are there and can't be imported, which the façade passes over."""
    found = []
    for module in _MODULES:
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            continue
        try:
            importlib.import_module(module)
        except Exception as error:
            found.append((module, f"{type(error).__name__}: {error}".splitlines()[0]))
    return found


def _run(told: dict[str, Any]) -> None:
    """Writes down what happens as it happens: the next step may raise anything."""
    from edgekit.errors import EdgekitError, MissingError
    from edgekit.runtime import probes
    from edgekit.runtime.interpreter import Interpreter, faults, open_native, runtime_name

    plainest = probes.requantized()
    try:
        told["name"] = runtime_name()
        Interpreter(plainest.model).invoke(plainest.value)
    except EdgekitError as error:
        told.update(fault=error.message, absent=isinstance(error, MissingError))
        return
    told["wrong"] = [probe.name for probe in faults()]
    # A private method, and for a word of the report only.
    with contextlib.suppress(AttributeError, KeyError, TypeError, EdgekitError):
        ops = open_native(probes.dense_channels().model)._get_ops_details()
        told["xnnpack"] = any(op["op_name"] == "DELEGATE" for op in ops)
