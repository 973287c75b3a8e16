"""One façade over the TFLite runtimes for Python, and what is built on it.

`Interpreter` runs a model, `run_all` runs many pictures on all cores, and `check_in_child` loads a
file of unknown origin where a crash can't hurt.
"""

from edgekit.runtime.interpreter import Interpreter, runtime_name
from edgekit.runtime.parallel import run_all
from edgekit.runtime.probe import check_in_child

__all__ = ["Interpreter", "check_in_child", "run_all", "runtime_name"]
