"""One façade over the TFLite runtimes for Python, and what is built on it.

`Interpreter` runs a model, and `check_in_child` loads a file of unknown origin where a crash can't
hurt.
"""

from edgekit.runtime.interpreter import Interpreter, open_native, runtime_name
from edgekit.runtime.probe import check_in_child

__all__ = ["Interpreter", "check_in_child", "open_native", "runtime_name"]
