"""Who wants to know how a training goes. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgekit.types import EpochRow

#: Called with (stage, done, total).
Progress = Callable[[str, int, int], None]
OnEpoch = Callable[[EpochRow], None]


@dataclass(frozen=True)
class Hooks:
    """Callbacks; each may be left out.

    Attributes:
        progress: Called with (stage, done, total); a total of 0 means that it isn't known.
        on_epoch: Called with each finished epoch; what it raises ends the training.
        say: Called with what should be known while it runs.
    """

    progress: Progress = lambda stage, done, total: None
    on_epoch: OnEpoch = lambda row: None
    say: Callable[[str], None] = lambda message: None
