"""What is to be measured, and in which order."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import UsageError

#: The delegates that the native binary knows by name; a plug-in of any other is `external:PATH`.
DELEGATES = ("xnnpack", "none", "gpu", "nnapi", "edgetpu")
_EXTERNAL = "external:"


@dataclass(frozen=True)
class Effort:
    """How long to measure, and how sure to be.

    Attributes:
        rounds: Processes per cell, at least; each loads and warms up anew.
        min_runs: Inferences per round, at least.
        min_time_s: Seconds of steady state per round, at least.
        max_time_s: Seconds of steady state per cell, at most: no round begins after it.
        warmup_s: Seconds of warm-up per round.
        interval_s: Time from the start of one inference to the next, 0 for back to back.
        sustain_s: Instead of all that, one round per cell of this many seconds; 0 for none.
        cool_down_s: Seconds of rest before each round.
        precision: Rounds are added until the interval of p50 is this narrow: its half width as a
            share of p50.
    """

    rounds: int = 5
    min_runs: int = 20
    min_time_s: float = 1.0
    max_time_s: float = 60.0
    warmup_s: float = 0.3
    interval_s: float = 0.0
    sustain_s: float = 0.0
    cool_down_s: float = 0.0
    precision: float = 0.03


@dataclass(frozen=True)
class Request:
    """What every round is asked to do.

    Attributes:
        input: `zeros`, `random:SEED` or `file:PATH`.
        golden: A file of the outputs expected, raw bytes.
        dump_output: Where on the device to write the outputs, raw bytes.
        affinity: `all`, `big`, `little` or a list such as `0,2-3`; None leaves it to the system.
        profile: Whether to time every op.
        require_full_delegation: Fail where an op stays on the CPU.
        emulated: The device is an emulator, whatever it says of itself.
    """

    input: str = "random:0"
    golden: Path | None = None
    dump_output: str | None = None
    affinity: str | None = None
    profile: bool = False
    require_full_delegation: bool = False
    emulated: bool = False


@dataclass(frozen=True)
class Point:
    """One point of the grid on one device."""

    model: Path
    delegate: str
    threads: int


def grid(
    models: Sequence[Path], delegates: Sequence[str], threads: Sequence[int]
) -> tuple[Point, ...]:
    """Every model with every delegate and number of threads.

    Raises:
        UsageError: A delegate that isn't known, or a number of threads below 1; or the same twice.
    """
    for delegate in delegates:
        if delegate not in DELEGATES and not delegate.startswith(_EXTERNAL):
            raise UsageError(
                f"--delegate {delegate}: unknown",
                f"Choose among {', '.join(DELEGATES)}, or external:PATH for a plug-in.",
            )
    for count in threads:
        if count < 1:
            raise UsageError(f"--threads {count}: at least 1")
    points = tuple(Point(*point) for point in itertools.product(models, delegates, threads))
    if len(set(points)) < len(points):
        raise UsageError("the grid holds the same cell twice", "Name each axis's values once.")
    return points


def interleaved(points: int, rounds: int, seed: int) -> list[int]:
    """The order of all rounds: every point once, shuffled, then every point again, ...

    What drifts in the machine then falls on all points alike, and no point always follows the same
    neighbour.

    Args:
        points: How many.
        rounds: Of each.
        seed: Of the shuffling.
    """
    dice = random.Random(seed)
    return [p for _ in range(rounds) for p in dice.sample(range(points), points)]
