"""One façade over the TFLite runtimes for Python, and what is built on it.

`Interpreter` runs a model, with a `Delegate` or without; `map_on_cores` runs one on every core, and
`check_in_child` loads a file of unknown origin where a crash can't hurt.
"""

from edgekit.runtime.interpreter import (
    Delegate,
    Interpreter,
    load_delegate,
    open_native,
    runtime_name,
)
from edgekit.runtime.probe import check_in_child
from edgekit.runtime.workers import map_on_cores

__all__ = [
    "Delegate",
    "Interpreter",
    "check_in_child",
    "load_delegate",
    "map_on_cores",
    "open_native",
    "runtime_name",
]
