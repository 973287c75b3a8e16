"""Keeping what native libraries write to stderr off the user's terminal.

TensorFlow and TFLite log on file descriptor 2 whatever Python is told; `--debug` (the environment
variable EDGEKIT_DEBUG) lets it through.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

DEBUG_VARIABLE = "EDGEKIT_DEBUG"


def debugging() -> bool:
    """Whether the user asked for everything."""
    return bool(os.environ.get(DEBUG_VARIABLE))


@contextlib.contextmanager
def native_stderr() -> Iterator[None]:
    """Sends file descriptor 2 to nowhere for a while; exceptions pass as ever."""
    if debugging():
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(nowhere)
        os.close(saved)
