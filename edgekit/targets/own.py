"""The user's own measurements: `edgekit benchmark` keeps them, and they go before any estimate.

They are lines of JSON in `${XDG_DATA_HOME:-~/.local/share}/edgekit/measurements.jsonl`. A line that
makes no sense is passed over: it is a file that people may edit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgekit import folders
from edgekit.errors import MissingError
from edgekit.targets.estimate import Work
from edgekit.targets.target import Target

#: What runs on the CPU, by the names of the benchmark's delegates.
_ON_CPU = ("xnnpack", "none")
_CPU = "cpu"


@dataclass(frozen=True)
class Measured:
    """A latency that was measured.

    Attributes:
        sha256: Of the .tflite file.
        model: The file's name.
        machine: What the device calls itself, such as `Raspberry Pi 4 Model B Rev 1.4`; or empty.
        architecture: `aarch64`, `x86_64`, ...
        os: Its system, such as `Debian GNU/Linux 12 (bookworm)`.
        delegate: What really ran: `xnnpack`, `none`, `edgetpu`, `gpu`, `nnapi`, ...
        threads: Of the CPU.
        p50_ms: The median of all samples.
        samples: How many there were.
        runtime: What ran it, such as `litert 2.3.0`.
        created: When, ISO 8601.
        work: What the model does, or None where its ops can't be counted.
    """

    sha256: str
    model: str
    machine: str
    architecture: str
    os: str
    delegate: str
    threads: int
    p50_ms: float
    samples: int
    runtime: str
    created: str
    work: Work | None = None

    @property
    def setting(self) -> str:
        """Where it was measured, in words."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{self.machine or self.architecture}, {self.delegate}, {threads}"

    def is_on(self, target: Target) -> bool:
        """Whether it was measured on such a target."""
        mine = {
            "machine": self.machine,
            "architecture": self.architecture,
            "os": self.os,
            "delegate": _CPU if self.delegate in _ON_CPU else self.delegate,
        }
        wanted = target.measured_on
        return bool(wanted) and all(value in mine[key] for key, value in wanted.items())


def place() -> Path | None:
    """The file they are kept in; None for a user without a home folder."""
    try:
        return folders.data() / "measurements.jsonl"
    except MissingError:
        return None


def keep(measured: Iterable[Measured]) -> Path | None:
    """Adds measurements; nothing is lost of a benchmark where that can't be done.

    Returns:
        The file, or None where nothing was added.
    """
    lines = [json.dumps(dataclasses.asdict(one), ensure_ascii=False) + "\n" for one in measured]
    path = place()
    if not lines or path is None:
        return None
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(lines))
        return path
    return None


def find(sha256: str, target: Target) -> list[Measured]:
    """What was measured of a model on a target, the latest first."""
    return [one for one in reversed(list(_all())) if one.sha256 == sha256 and one.is_on(target)]


def comparable(target: Target) -> list[Measured]:
    """What was measured on the machine of such a target that was used last, for estimates.

    Returns:
        For each model whose work is known the fastest number of threads, as it was measured last.
    """
    found = [one for one in reversed(list(_all())) if one.work is not None and one.is_on(target)]
    latest = {
        (one.sha256, one.delegate, one.threads): one
        for one in reversed(found)
        if (one.machine, one.os) == (found[0].machine, found[0].os)
    }
    fastest: dict[str, Measured] = {}
    for one in latest.values():
        best = fastest.get(one.sha256)
        if best is None or one.p50_ms < best.p50_ms:
            fastest[one.sha256] = one
    return list(fastest.values())


def _all() -> Iterator[Measured]:
    path = place()
    if path is None:
        return
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            values = json.loads(line)
            work = values.pop("work", None)
            one = Measured(**values, work=None if work is None else Work(**work))
            if isinstance(one.p50_ms, float | int) and one.p50_ms > 0:
                yield one
