"""Measures a grid on devices: sends what is needed, runs the rounds, collects what they print."""

from __future__ import annotations

import contextlib
import datetime
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edgekit import tflite
from edgekit.benchmark import document, printed, verdict
from edgekit.benchmark.kit import Kit, Tools
from edgekit.benchmark.plan import Effort, Point, Request, interleaved
from edgekit.benchmark.trying import require_right
from edgekit.devices import ConnectionLost, Device, Finished, RunInterrupted, open_device
from edgekit.errors import EdgekitError, NotMetError, UnreadableError, UsageError
from edgekit.version import __version__

#: Called with (what is done now, rounds done, rounds planned).
Progress = Callable[[str, int, int], None]

#: Loading, the first inference and the warm-up of a slow (or emulated) device.
_GRACE_SECONDS = 300.0
_SUSTAINED = re.compile(r"progress: sustain (\d+)\.\d+/(\d+)\.\d+ s ")


@dataclass(frozen=True)
class Patience:
    """What to do about a connection that broke.

    Attributes:
        reconnect_s: For how long to try to come back.
        grace_s: For how long a run goes on without us, and its outputs are kept.
    """

    reconnect_s: float = 60.0
    grace_s: float = 600.0


@dataclass(frozen=True)
class Outcome:
    """A run, and what went wrong in it.

    Attributes:
        run: All that was measured.
        failure: The first error, where some cells have one; None where all went well.
        interrupted: Whether it was ended by Ctrl-C.
    """

    run: document.Run
    failure: EdgekitError | None
    interrupted: bool


def measure(
    points: Sequence[Point],
    devices: Sequence[str],
    effort: Effort,
    request: Request,
    tools: Tools,
    *,
    patience: Patience = Patience(),
    seed: int = 0,
    notify: Callable[[str], None] = lambda message: None,
    progress: Progress = lambda stage, done, total: None,
) -> Outcome:
    """Measures every point on every device; several devices at the same time.

    Args:
        points: The grid; see `edgekit.benchmark.plan.grid`.
        devices: `local`, `ssh:user@host[:port]`, `adb[:SERIAL]`.
        effort: How long to measure.
        request: What every round is asked to do.
        tools: What runs there.
        patience: What to do about a connection that broke.
        seed: Of the order of the rounds.
        notify: Called with what the user should know: copying, reconnecting, a lost device.
        progress: Called with what is done now and how far it has come.

    Returns:
        What was measured. A cell that failed has its error beside the rounds it had until then.

    Raises:
        EdgekitError: Nothing could be measured at all: the first error.
    """
    for model in {point.model for point in points}:
        _check_model(model)
    created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    if len(set(devices)) < len(devices):
        raise UsageError("the same device is named twice", "Name each once.")
    steps = _Steps(progress)
    jobs = [
        _DeviceJob(name, points, effort, request, tools, patience, seed + i, notify, steps)
        for i, name in enumerate(devices)
    ]
    interrupted = _run_side_by_side(jobs)
    cells = tuple(cell for job in jobs for cell in job.cells())
    failures = [failure for job in jobs for failure in job.failures if failure is not None]
    if failures and not any(cell.rounds for cell in cells):
        raise failures[0]
    if not any(cell.rounds for cell in cells):
        raise KeyboardInterrupt
    run = document.Run(cells, created, __version__, seed)
    return Outcome(run, failures[0] if failures else None, interrupted)


def _check_model(path: Path) -> None:
    """What no runtime should be given is refused here, before it is sent anywhere."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}") from error
    tflite.read(data, str(path))


def _run_side_by_side(jobs: Sequence[_DeviceJob]) -> bool:
    """Runs the jobs, each in a thread of its own; whether Ctrl-C ended them."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        waiting = [pool.submit(job.run) for job in jobs]
        try:
            for future in waiting:
                future.result()
        except KeyboardInterrupt:
            for job in jobs:
                job.stop()
            return True
        # An error that is no EdgekitError must not leave the other devices measuring.
        except BaseException:
            for job in jobs:
                job.stop()
            raise
    return False


class _Steps:
    """The progress of all devices together; they count at the same time."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._lock = progress, threading.Lock()
        self._done = self._planned = 0

    def plan(self, rounds: int) -> None:
        """More rounds are to be run."""
        self._count(0, rounds)

    def done(self) -> None:
        """One of them is over."""
        self._count(1, 0)

    def heard(self, line: str) -> None:
        """A long round says how far it has come, in a line on its standard error."""
        said = _SUSTAINED.match(line)
        if said is not None:
            with self._lock:
                self._progress("sustaining, seconds", int(said[1]), int(said[2]))

    def _count(self, done: int, planned: int) -> None:
        with self._lock:
            self._done += done
            self._planned += planned
            self._progress("measuring", self._done, self._planned)


class _DeviceJob:
    """All points on one device."""

    def __init__(
        self,
        name: str,
        points: Sequence[Point],
        effort: Effort,
        request: Request,
        tools: Tools,
        patience: Patience,
        seed: int,
        notify: Callable[[str], None],
        steps: _Steps,
    ) -> None:
        self._name, self._points, self._effort = name, points, effort
        self._request, self._tools, self._patience, self._seed = request, tools, patience, seed
        self._notify, self._steps = notify, steps
        self._stop = threading.Event()
        self._rounds: list[list[document.Round]] = [[] for _ in points]
        self.failures: list[EdgekitError | None] = [None] * len(points)

    def stop(self) -> None:
        """Ends the round that is under way, and begins no other."""
        self._stop.set()

    def cells(self) -> list[document.Cell]:
        """What has been measured, and what failed."""
        cells = map(self._cell, range(len(self._points)))
        return [cell for cell in cells if cell.rounds or cell.error]

    def _cell(self, position: int) -> document.Cell:
        point, failure = self._points[position], self.failures[position]
        paths = {other.model for other in self._points}
        ambiguous = len({path.name for path in paths}) < len(paths)
        return document.Cell(
            str(point.model) if ambiguous else point.model.name,
            self._name,
            point.delegate,
            point.threads,
            tuple(self._rounds[position]),
            None if failure is None else failure.message,
        )

    def run(self) -> None:
        """Measures; an error ends its cell, an error of the device ends all cells."""
        names = ", ".join(dict.fromkeys(point.model.name for point in self._points))
        try:
            with open_device(
                self._name,
                notify=self._notify,
                reconnect_s=self._patience.reconnect_s,
                grace_s=max(1, round(self._patience.grace_s)),
            ) as device:
                with device.lock(f"edgekit benchmark of {names}"):
                    self._measure(device, Kit(device, self._tools, self._request, self._notify))
                if self._tools.clean:
                    device.clean()
        except EdgekitError as error:
            self.failures = [failure or error for failure in self.failures]

    def _measure(self, device: Device, kit: Kit) -> None:
        for position, point in enumerate(self._points):
            try:
                require_right(device, kit, point)
            except ConnectionLost:
                raise
            except EdgekitError as error:
                self.failures[position] = error
        rounds = 1 if self._effort.sustain_s else self._effort.rounds
        order = interleaved(len(self._points), rounds, self._seed)
        self._steps.plan(len(order))
        for position in order:
            self._round(device, kit, position)
        while not self._effort.sustain_s and not self._stop.is_set():
            unsure = [i for i in range(len(self._points)) if self._needs_more(i)]
            if not unsure:
                return
            self._steps.plan(len(unsure))
            for position in unsure:
                self._round(device, kit, position)

    def _needs_more(self, position: int) -> bool:
        """Whether a cell's interval is wider than asked and its time is not yet spent."""
        if self.failures[position] is not None:
            return False
        cell = self._cell(position)
        spent = sum(float(r.starts_ns[-1] + r.samples_ns[-1]) for r in cell.rounds) / 1e9
        return spent < self._effort.max_time_s and verdict.needs_more(cell, self._effort.precision)

    def _round(self, device: Device, kit: Kit, position: int) -> None:
        point = self._points[position]
        if self.failures[position] is not None or self._stop.wait(self._effort.cool_down_s):
            return
        try:
            command = kit.command(point, self._effort)
            finished = device.run(
                command,
                timeout_s=_timeout(self._effort),
                on_stderr=self._steps.heard,
                stop=self._stop,
            )
            self._keep(finished, position, kit)
        except ConnectionLost:
            raise
        except RunInterrupted as interrupted:
            if interrupted.finished is not None:
                with contextlib.suppress(EdgekitError):  # ended before its first sample
                    self._keep(interrupted.finished, position, kit)
        except EdgekitError as error:
            self.failures[position] = error
        self._steps.done()

    def _keep(self, finished: Finished, position: int, kit: Kit) -> None:
        """Keeps the round that the benchmark program printed, or raises the error it reports."""
        point = self._points[position]
        where = f"{self._name}: {point.model.name} with {point.delegate}"
        found = printed.document(finished, where, _timeout(self._effort))
        if kit.runtime_version is not None and not found["runtime"].get("version"):
            found["runtime"]["version"] = kit.runtime_version
        order = sum(map(len, self._rounds))
        self._rounds[position].append(document.check_round(found, where, order))
        golden = found["output"].get("golden")
        if golden is not None and not golden["equal"]:
            raise NotMetError(
                f"{where}: {golden['differing_bytes']} bytes of the outputs are not those of "
                f"{self._request.golden} (largest difference {golden['max_abs_difference']:g})",
                "Another runtime or delegate may round otherwise; is it the same model and input?",
            )


def _timeout(effort: Effort) -> float:
    return _GRACE_SECONDS + effort.warmup_s + (effort.sustain_s or effort.max_time_s)
