"""Trying what only a try can tell, in processes of their own: native libraries crash and hang."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

from edgekit.doctor.facts import RuntimeTrial, Trial

_SECONDS = 30

#: `-m` and `-c` look in the current folder first, where a `random.py` of the user's would be taken
#: for Python's own.
_SAFE = "import sys; sys.path[:] = [p for p in sys.path if p]\n"

_RUNTIME = "from edgekit.doctor.tiny import main; sys.exit(main())"
_OPENCV = r"""
import re
import cv2
gui = re.search(r"GUI:\s*(\S+)", cv2.getBuildInformation())
print(cv2.__version__, gui[1] if gui else "NONE")
"""
_WINDOW = "import cv2; cv2.namedWindow('edgekit'); print('opened')"
_EDGETPU = r"""
from edgekit.errors import EdgekitError
from edgekit.runtime import load_delegate
try:
    load_delegate("edgetpu")
except EdgekitError as error:
    sys.exit(error.message)
print("loaded")
"""
#: OpenCL 3.0, clGetPlatformIDs: how many platforms there are; -1001 is the loader's word for none.
_OPENCL = r"""
import ctypes
for name in ("libOpenCL.so.1", "libOpenCL.so"):
    try:
        library = ctypes.CDLL(name)
        break
    except OSError as error:
        reason = error
else:
    sys.exit(str(reason))
count = ctypes.c_uint()
code = library.clGetPlatformIDs(0, None, ctypes.byref(count))
print(count.value if code == 0 else 0)
"""


def run(command: Sequence[str], seconds: float = _SECONDS) -> Trial:
    """Runs a program to its end, or until its time is up.

    Returns:
        What it printed, in one line where it works; else the last line of what it complained of.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Trial("hung", f"no answer within {seconds:g} s")
    except OSError as error:
        return Trial("refused", error.strerror or str(error))
    if done.returncode < 0:
        return Trial("crashed", f"signal {-done.returncode}")
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        return Trial("refused", said.rpartition("\n")[2] or f"exit code {done.returncode}")
    return Trial("works", (done.stdout or done.stderr).strip())


def python(code: str, seconds: float = _SECONDS) -> Trial:
    """Runs Python code as this Python would."""
    return run([sys.executable, "-c", _SAFE + code], seconds)


def runtime(seconds: float = _SECONDS) -> RuntimeTrial:
    """Runs tiny models in the runtime that the façade takes."""
    tried = python(_RUNTIME, seconds)
    if tried.outcome != "works":
        return RuntimeTrial(tried)
    answers = [line for line in tried.said.splitlines() if line.startswith("{")]
    if not answers:
        return RuntimeTrial(Trial("refused", f"gives no answer: {tried.said}".splitlines()[0]))
    told = json.loads(answers[-1])
    refused = tuple((module, reason) for module, reason in told["refused"])
    trial = Trial("works") if told["fault"] is None else Trial("refused", told["fault"])
    return RuntimeTrial(
        trial, told["name"], told["absent"], told["xnnpack"], refused, tuple(told["wrong"])
    )


def opencv(seconds: float = _SECONDS) -> Trial:
    """Imports OpenCV; it says its version and the windows that it was built with."""
    return python(_OPENCV, seconds)


def window(display: str) -> Trial | None:
    """Opens a window for a moment, where there is a display: without one, Qt ends the process."""
    return python(_WINDOW) if display and os.name == "posix" else None


def edgetpu() -> Trial:
    """Loads libedgetpu's delegate, which starts the accelerator."""
    return python(_EDGETPU)


def opencl() -> Trial:
    """Loads OpenCL; it says how many platforms there are."""
    return python(_OPENCL)
