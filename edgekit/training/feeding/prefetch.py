"""Work done ahead on a pool of threads, handed out in order.

Threads, not processes: OpenCV, hashing and file access let go of the interpreter lock, and threads
write straight into the batch. Two processes, which hand their batches over, gave half as many
pictures per second (benchmarks/input_pipeline.py, 224 x 224). OpenCV's own threads are left as
they are, since that setting is the whole process's: at this size it has nothing to divide, and
turning them off made no difference (0.98 by CPU time).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def in_order(
    work: Iterable[tuple[Item, Sequence[Callable[[], None]]]], workers: int, ahead: int
) -> Iterator[Item]:
    """Runs the tasks of each item and yields the items in order, when their tasks are done.

    Args:
        work: (item, tasks that fill it); taken from as needed, `ahead` + 1 items at most at a time.
        workers: Threads.
        ahead: How many items are worked on beyond the one that is waited for.

    Raises:
        Exception: What a task raised, when its item's turn comes. The tasks that have not begun
            are dropped, here and when the iterator is closed early.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="edgekit-feeding")
    waiting: deque[tuple[Item, list[Future[None]]]] = deque()
    try:
        for item, tasks in work:
            waiting.append((item, [pool.submit(task) for task in tasks]))
            if len(waiting) > ahead:
                yield _finished(*waiting.popleft())
        while waiting:
            yield _finished(*waiting.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _finished(item: Item, futures: list[Future[None]]) -> Item:
    for future in futures:
        future.result()
    return item
