"""The processors of this machine: what they are, and how many this process may use."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path


def usable_cpus() -> int:
    """The number of logical CPUs that this process is allowed to run on, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def describe_machine() -> str:
    """This machine in a line, for results: `AMD EPYC, 2 cores, Linux, Python 3.11.7`."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return (
        f"{model}, {usable_cpus()} cores, {platform.system()}, Python {platform.python_version()}"
    )
