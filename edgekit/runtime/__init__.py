"""One façade over the TFLite runtimes for Python, and what is built on it.

`Interpreter` runs a model, `map_on_cores` runs one on every core, and `check_in_child` loads a file
of unknown origin where a crash can't hurt.
"""

from edgekit.runtime.interpreter import Interpreter, open_native, runtime_name
from edgekit.runtime.probe import check_in_child
from edgekit.runtime.workers import map_on_cores

__all__ = ["Interpreter", "check_in_child", "map_on_cores", "open_native", "runtime_name"]
