"""Loading a file of unknown origin where a crash can't hurt: in a child process.

The native loader trusts much of what it reads. `edgekit.tflite.read` checks every offset first;
what passes that can still ask for absurd sizes or contradict itself, so the first load and the
first inference happen in a child.

`main` is that child's: it reads the model on stdin.
"""

from __future__ import annotations

import subprocess
import sys

from edgekit.errors import UnreadableError

_SECONDS = 120
_MEMORY_BYTES = 4 << 30
_REFUSED = 3
#: `-m` would look in the current folder first, where a `random.py` of the user's would be taken for
#: Python's own.
_CHILD = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; "
    "from edgekit.runtime.probe import main; sys.exit(main())"
)


def check_in_child(model: bytes, where: str) -> None:
    """Loads the model and runs it once on zeros, in a child process.

    Args:
        model: The bytes of a .tflite file.
        where: The file they came from, for the error.

    Raises:
        UnreadableError: The child crashed, hung, or the runtime refused the model.
    """
    try:
        child = subprocess.run(
            [sys.executable, "-c", _CHILD],
            input=model,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnreadableError(
            f"{where}: the runtime was still busy with it after {_SECONDS} s",
            "The file is damaged or not meant for this runtime.",
        ) from error
    if child.returncode == 0:
        return
    reason = child.stdout.decode(errors="replace").strip()
    if child.returncode != _REFUSED or not reason:
        reason = "loading it crashes the runtime"
    raise UnreadableError(
        f"{where}: {reason}", "The file is damaged or not meant for this runtime."
    )


def main() -> int:
    """Serves one request: loads the model on stdin and runs it; the reason goes to stdout."""
    import numpy as np

    from edgekit.errors import EdgekitError
    from edgekit.limits import limit_memory
    from edgekit.runtime.interpreter import Interpreter

    limit_memory("RLIMIT_AS", _MEMORY_BYTES)
    try:
        interpreter = Interpreter(sys.stdin.buffer.read())
        interpreter.invoke(np.zeros(interpreter.input.shape, interpreter.input.dtype))
    except (EdgekitError, MemoryError, TypeError, IndexError) as error:
        message = str(error) or type(error).__name__
        print(message.splitlines()[0] if message else "refused")
        return _REFUSED
    return 0
