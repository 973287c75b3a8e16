"""A progress bar per stage, with the rate, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm


class ProgressBars:
    """Shows one bar at a time, and takes it away when its stage is over.

    Silent where stderr is no terminal, and where it was told to be (with --json).

        with ProgressBars(quiet=as_json) as bars:
            evaluate(..., progress=bars)                        # (stage, done, total)
            datasets.load(..., progress=bars.stage("reading"))  # (done, total)
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._shown = not quiet and sys.stderr.isatty()
        self._bar: tqdm | None = None
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Shows how far a stage has come; a new stage takes the place of the last.

        A total of 0 means that it isn't known: then only the name is shown.
        """
        if not self._shown:
            return
        if self._bar is None or stage != self._stage or total != self._bar.total:
            from tqdm import tqdm

            self.close()
            self._stage = stage
            # A stage can come back for its next block: what was done before must not count in the
            # rate.
            self._bar = tqdm(
                total=total,
                initial=done,
                desc=stage,
                file=sys.stderr,
                leave=False,
                bar_format=None if total else "{desc} ...",
                dynamic_ncols=True,
            )
        self._bar.update(done - self._bar.n)

    def stage(self, name: str) -> Callable[[int, int], None]:
        """The callback (done, total) of one stage."""
        return lambda done, total: self(name, done, total)

    def say(self, message: str) -> None:
        """Writes a line on stderr, above the bar; it is said with --json too."""
        if self._bar is None:
            print(message, file=sys.stderr, flush=True)
        else:
            self._bar.write(message, file=sys.stderr)

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
