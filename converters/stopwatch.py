"""Timing the stages of a conversion, and telling an observer of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

#: Called with (stage, done, total) as the work goes on; a total of 0 is unknown.
Observer = Callable[[str, int, int], None]


class Stopwatch:
    """Times stages.

    Attributes:
        seconds: Wall time of each stage so far; a stage that comes back adds up.
    """

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """Times one stage; gives the callback (done, total) for its progress."""
        observer = self._observer
        start = time.perf_counter()
        if observer is not None:
            observer(name, 0, 0)  # how much there is, it doesn't know yet
        yield lambda done, total: observer(name, done, total) if observer is not None else None
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
