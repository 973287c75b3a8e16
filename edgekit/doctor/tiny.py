"""A tiny int8 model, run in a process of its own, to see a runtime work.

`main` is that child's: it prints one line of JSON.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import importlib.util
import json
import zlib
from typing import Any

#: One FULLY_CONNECTED, int8[1, 4] to int8[1, 2], all scales 1 and zero points 0: weights
#: ((1, 2, 3, 4), (4, 3, 2, 1)), bias (5, 6). Made with the schema that ai-edge-litert carries.
MODEL = (
    "eNqNUbtOw0AQHJ8vkZ1YYAkXFCkpUyCFIkUkulQpKChSUCB+Auj4GApKKj4q3xBxzD7OOdGArfHerndnZ28XAO63uxX0"
    "OcOAHh0aniM90APuiE0Aahg2xJVmAIeUklipmBBT5ZnSj3rO/6pQx1iH6oP5lfN2Y7fIr8X2xAPxKDXEMOqC5s5dl8XR"
    "9H6O+lpN1gn3QxGvPC65A51Pmd/9GbUJ37WltGKP3yk13iPXouAG3m7FvhZ9xH6Ra3CuYOlhyc8uGV//i6/keip4ZPZL"
    "dr/we8qz35zqVed7+p/OZ+cNPnPe+bnuyfgXxNq517qnzi7b9/SX/pfiLvJObN+nPsLTjhrQ/gD3NSg/"
)
_INPUT, _OUTPUT = (1, 2, 3, 4), [35, 26]

#: As the façade tries them; not asked of it, since where it can't be imported, that is the answer.
_MODULES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")


def model() -> bytes:
    """The bytes of the model."""
    return zlib.decompress(base64.b64decode(MODEL))


def main() -> int:
    """Serves one request: runs the model and prints what happened."""
    told: dict[str, Any] = {"name": None, "absent": False, "xnnpack": False, "fault": None}
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
    import numpy as np

    from edgekit.errors import EdgekitError, MissingError
    from edgekit.runtime.interpreter import Interpreter, open_native, runtime_name

    try:
        told["name"] = runtime_name()
        answer = Interpreter(model()).invoke(np.array(_INPUT, np.int8)).tolist()
    except EdgekitError as error:
        told.update(fault=error.message, absent=isinstance(error, MissingError))
        return
    if answer != _OUTPUT:
        told["fault"] = f"gives a wrong answer: {answer}, not {_OUTPUT}"
        return
    # A private method, and for a word of the report only.
    with contextlib.suppress(AttributeError, KeyError, TypeError):
        ops = open_native(model())._get_ops_details()
        told["xnnpack"] = any(op["op_name"] == "DELEGATE" for op in ops)
