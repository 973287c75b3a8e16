"""The C library's heap, set so that memory freed in one training step serves the next.

TensorFlow allocates every activation anew in every step. By default glibc gets large blocks from
the system and gives them back at once, and the system clears each page before it hands it out
again: 900,000 page faults in a step of EfficientNet-Lite0 at batch 32, and a third of its time
(benchmarks/results/heap.json).
"""

from __future__ import annotations

import ctypes
import os
import sys

#: Parameters of mallopt(3) and their values: nothing is given back, grow by 64 MiB, no block
#: outside the heap, and one heap for all threads (others are limited to 64 MiB).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_SETTINGS = {_TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 << 20, _MMAP_MAX: 0, _ARENA_MAX: 1}


def keep_freed_memory() -> None:
    """Sets the heap of this process, before TensorFlow starts its threads.

    Does nothing where there is no glibc, or where the user set the heap in the environment.
    """
    chosen = any(name.startswith("MALLOC_") for name in os.environ)
    if sys.platform != "linux" or chosen or "GLIBC_TUNABLES" in os.environ:
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    for parameter, value in _SETTINGS.items():
        mallopt(parameter, value)
