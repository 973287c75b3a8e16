"""The heap that training keeps: fewer page faults, and the user's own settings stand."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")

#: Takes and frees 64 MiB ten times, and prints how many pages the system had to hand out.
_CODE = """
import resource
import numpy as np
from edgekit.training import heap
heap.keep_freed_memory()
np.ones(8 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(8 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(**environment: str) -> int:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    run = subprocess.run(
        [sys.executable, "-c", _CODE],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(run.stdout)


def test_freed_memory_serves_the_next_step() -> None:
    assert _page_faults() < 100  # of 160,000 pages, or 320 huge ones


def test_the_users_own_settings_stand() -> None:
    # Huge pages make fewer faults of the same memory.
    assert _page_faults(MALLOC_TRIM_THRESHOLD_="131072") > 10 * max(1, _page_faults())
