"""The user's own measurements: `edgekit benchmark` keeps them, and they go before any estimate.

They are lines of JSON in `${XDG_DATA_HOME:-~/.local/share}/edgekit/measurements.jsonl`. A line that
makes no sense is passed over: it is a file that people may edit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgekit import folders
from edgekit.errors import MissingError
from edgekit.targets.estimate import PRECISIONS, Work
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
        found = is_such(target, self.machine, self.architecture, self.os, self.delegate)
        return found is True


def is_such(target: Target, machine: str, architecture: str, os: str, delegate: str) -> bool | None:
    """Whether what a device says of itself makes it such a target.

    Args:
        target: The target.
        machine: As in `Measured`, and likewise the others.
        architecture: Likewise.
        os: Likewise.
        delegate: What really ran there.

    Returns:
        None where the target doesn't say what it is called.
    """
    said = {
        "machine": machine,
        "architecture": architecture,
        "os": os,
        "delegate": _CPU if delegate in _ON_CPU else delegate,
    }
    wanted = target.measured_on
    return all(value in said[key] for key, value in wanted.items()) if wanted else None


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
        Without XNNPACK a CPU tells nothing of what it does with it.
    """
    found = [
        one
        for one in reversed(list(_all()))
        if one.work is not None and one.delegate != "none" and one.is_on(target)
    ]
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
        with contextlib.suppress(ValueError, TypeError, AttributeError, RecursionError):
            values = json.loads(line)
            work = values.pop("work", None)
            one = Measured(**values, work=None if work is None else Work(**work))
            if _makes_sense(one):
                yield one


def _makes_sense(one: Measured) -> bool:
    words = (getattr(one, field.name) for field in dataclasses.fields(one) if field.type == "str")
    counts = [one.threads, one.samples]
    if one.work is not None:
        counts += [one.work.macs, one.work.activations, one.work.parameters]
    return (
        all(isinstance(word, str) for word in words)
        and all(type(count) is int and count >= 0 for count in counts)
        and type(one.p50_ms) in (int, float)
        and 0 < one.p50_ms < math.inf
        and (one.work is None or (one.work.macs > 0 and one.work.precision in PRECISIONS))
    )
