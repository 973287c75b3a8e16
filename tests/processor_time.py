"""The rule that keeps the fast circle fast: 2 s of processor time, or the mark `slow`.

What a test costs is counted from its set-up to the end of its call: the processor time of this
process and of all processes that it started and waited for. A fixture counts for the test that
first asks for it. Not counted, since no test can help it, is what a run makes once for all: see
`apart`.
Processors differ, so seconds are those of the machine the limit was set on: a short work is timed
at the start, and everything measured is scaled by it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

#: Seconds on the reference machine that a test without the mark `slow` may take.
LIMIT = 2.0
#: Seconds that `_work` takes on the reference machine.
_REFERENCE = 0.023

_apart: dict[str, float] = defaultdict(float)


def spent() -> float:
    """Processor seconds of this process and of all that it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@contextlib.contextmanager
def apart(what: str) -> Iterator[None]:
    """What is done within it counts for no test: importing TensorFlow, making an artefact."""
    before, inside = spent(), sum(_apart.values())
    try:
        yield
    finally:
        _apart[what] += spent() - before - (sum(_apart.values()) - inside)


def scale() -> float:
    """What a second of this machine is on the reference machine."""
    return _REFERENCE / min(_work() for _ in range(5))


def _work() -> float:
    """Seconds for a mix of Python and numpy."""
    start = time.process_time()
    values = np.arange(40_000, dtype=np.float64)
    for _ in range(20):
        values = np.sort(np.cos(values) * 1e3 % 97)
    words: dict[str, int] = {}
    for number in range(20_000):
        words[str(number % 701)] = words.get(str(number % 701), 0) + number
    return time.process_time() - start


class Rule:
    """The pytest plugin that counts, and refuses.

    Beside other test processes a test takes up to twice as long as alone, so there it is only
    noted, and those that are noted are run again when the others are done, alone.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._beside_others = hasattr(config, "workerinput")
        self._scale = scale()
        self._spent = self._apart = self._seconds = 0.0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        self._spent, self._apart, self._seconds = spent(), sum(_apart.values()), 0.0

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        report = (yield).get_result()
        if call.when == "call":  # what ends at the tear-down may have served many tests
            self._seconds = spent() - self._spent - (sum(_apart.values()) - self._apart)
        if call.when != "teardown":
            return
        seconds, slow = self._seconds * self._scale, item.get_closest_marker("slow") is not None
        report.user_properties.append(("processor seconds", round(seconds, 2)))
        report.user_properties.append(("slow", slow))
        if seconds > LIMIT and not slow and report.passed and not self._beside_others:
            report.outcome = "failed"
            report.longrepr = (
                f"{item.nodeid} took {seconds:.1f} s of processor time (of the reference machine), "
                f"more than {LIMIT:g}. Make it cheaper, or mark it slow; docs/testing.md says how."
            )

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Runs again, alone, what seemed too slow beside others."""
        reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
        if self._beside_others or not session.config.pluginmanager.has_plugin("dsession"):
            return
        noted = [name for seconds, name, slow in _counted(reporter) if seconds > LIMIT and not slow]
        if noted:
            reporter.write_line(f"\n{len(noted)} seemed slow beside others; alone:", flush=True)
            command = [sys.executable, "-m", "pytest", "-p", "no:xdist", *noted]
            if subprocess.run(command, cwd=session.config.rootpath, check=False).returncode:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _counted(reporter: Any) -> list[tuple[float, str, bool]]:
    """(seconds, test, whether it is marked slow) of all tests of a run."""
    tests = []
    for reports in reporter.stats.values():
        for report in reports:
            said = dict(getattr(report, "user_properties", ()))
            if getattr(report, "when", "") == "teardown" and "processor seconds" in said:
                tests.append((said["processor seconds"], report.nodeid, said["slow"]))
    return tests


def summarize(reporter: Any) -> None:
    """Writes the dearest tests, and marks that aren't needed, below the results."""
    tests = _counted(reporter)
    if not tests:
        return
    total = sum(seconds for seconds, _, _ in tests)
    reporter.write_sep("-", f"{total:.0f} s of processor time in {len(tests)} tests; the dearest")
    for seconds, name, slow in sorted(tests, reverse=True)[:10]:
        reporter.write_line(f"{seconds:7.1f} s  {name}{'  (slow)' if slow else ''}")
    cheap = [name for seconds, name, slow in tests if slow and seconds < LIMIT / 4]
    if cheap:
        reporter.write_line(f"Marked slow, and took less than {LIMIT / 4:g} s: {', '.join(cheap)}")
