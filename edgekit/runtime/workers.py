"""The same work on many items, on all cores, each thread with a tool of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from edgekit.cpus import usable_cpus

Tool = TypeVar("Tool")
Result = TypeVar("Result")


def map_on_cores(
    make_tool: Callable[[], Tool],
    work: Callable[[Tool, int], Result],
    count: int,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Result]:
    """Calls `work(tool, i)` for i in 0..count-1; results come in that order.

    An interpreter with one thread on each core, since inference releases the interpreter lock:
    batching, and more threads for each, were slower. An interrupt or an error ends it with what is
    under way.

    Args:
        make_tool: Called once in each thread, to make what can't be shared: an interpreter.
        work: What to do with item i.
        count: How many items.
        workers: Threads; by default one per core.
        progress: Called with (done, total), by one thread at a time.
    """
    local, lock = threading.local(), threading.Lock()
    done = 0

    def work_on(position: int) -> Result:
        nonlocal done
        if not hasattr(local, "tool"):
            local.tool = make_tool()
        result = work(local.tool, position)
        with lock:
            done += 1
            if progress is not None:
                progress(done, count)
        return result

    if count == 0:
        return []
    # Leaving `map` early cancels what has not begun.
    with ThreadPoolExecutor(min(workers or usable_cpus(), count)) as pool:
        return list(pool.map(work_on, range(count)))
