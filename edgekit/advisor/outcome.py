"""What came of a model that was trained and measured, out of what the commands printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.advisor.candidates import LATENCY, SIZE, Candidate, Check
from edgekit.advisor.wishes import Wishes
from edgekit.targets import Target, own

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Accuracy:
    """Top-1 on photos that nothing was learned from.

    Attributes:
        top1: 0..1.
        interval: Its 95 % interval (Wilson).
        photos: How many there are.
        of: `int8`; `float` where only the training held photos back.
    """

    top1: float
    interval: tuple[float, float]
    photos: int
    of: str

    def is_told_from(self, other: Accuracy) -> bool:
        """Whether the two intervals leave no doubt which is better; a cautious test."""
        return self.interval[0] > other.interval[1] or other.interval[0] > self.interval[1]


@dataclass(frozen=True)
class Latency:
    """Measured on the device, with the number of threads that was fastest.

    Attributes:
        ms: p50.
        high: The upper end of its 95 % interval.
        setting: What really ran it, on how many threads, and how steadily.
    """

    ms: float
    high: float
    setting: str


@dataclass(frozen=True)
class Outcome:
    """What came of one model.

    Attributes:
        candidate: As it was estimated when its turn came: with the correction until then.
        first_ms: The latency that was estimated before anything was measured, or None.
        accuracy: On photos that it didn't learn from, or None.
        latency: Or None.
        size_mib: Of that file, or None.
        training_minutes: Training, and QAT where it was asked for; or None.
        tflite: The file that was measured, or None.
        checks: The limits that were asked for, held against what was measured. Not that of the
            training's time: `--time-budget` keeps it.
        enough: Whether `--min-accuracy` is met; True where it wasn't asked for.
        like_target: Whether the device says that it is such a target; None where that isn't known.
        error: Why it isn't known, or None.
    """

    candidate: Candidate
    first_ms: float | None
    accuracy: Accuracy | None = None
    latency: Latency | None = None
    size_mib: float | None = None
    training_minutes: float | None = None
    tflite: Path | None = None
    checks: tuple[Check, ...] = ()
    enough: bool = True
    like_target: bool | None = None
    error: str | None = None

    @property
    def name(self) -> str:
        """The model's name."""
        return self.candidate.name

    @property
    def met(self) -> bool:
        """Whether it was measured to keep all that was asked for."""
        kept = all(check.met in ("surely", "probably") for check in self.checks)
        return self.error is None and self.enough and kept

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        estimate = self.candidate.latency
        return {
            "model": self.name,
            "met": self.met,
            "error": self.error,
            "accuracy": None if self.accuracy is None else asdict(self.accuracy),
            "enough": self.enough,
            "like_target": self.like_target,
            "latency": None if self.latency is None else asdict(self.latency),
            "first_estimate_ms": self.first_ms,
            "corrected_estimate_ms": None if estimate is None else estimate.ms,
            "int8_mib": self.size_mib,
            "training_minutes": self.training_minutes,
            "tflite": None if self.tflite is None else str(self.tflite),
            "checks": [asdict(check) | {"met": check.met} for check in self.checks],
        }


def limits(wishes: Wishes, latency: Latency | None, size_mib: float) -> Iterator[Check]:
    """The limits of the device, held against what was measured."""
    if wishes.max_latency is not None:
        ms, high = (None, None) if latency is None else (latency.ms, latency.high)
        yield Check(LATENCY, "ms", wishes.max_latency, ms, high)
    if wishes.max_size is not None:
        yield Check(SIZE, "MiB", wishes.max_size, size_mib, size_mib)


def trained_accuracy(trained: Result) -> Accuracy:
    """Of the float model, from what `edgekit train` or `edgekit qat` printed.

    That on the test set where there is one: the best epoch was chosen by the other.
    """
    results = trained["results"]
    return _accuracy(results.get("test") or results["val"], "float")


def evaluated_accuracy(evaluated: Result, tflite: Path) -> Accuracy:
    """Of the int8 file, from what `edgekit evaluate` printed."""
    found = next(m for m in evaluated["models"] if m["path"] == str(tflite))
    return _accuracy(found["accuracy"], "int8")


def _accuracy(found: Result, of: str) -> Accuracy:
    low, high = found["top1_interval_95"]
    return Accuracy(found["top1"], (low, high), found["images"], of)


def measured_latency(benchmarked: Result) -> Latency | None:
    """From what `edgekit benchmark` printed; None of an emulator, which says nothing of a device.

    Returns:
        That of the cell with the smallest p50.
    """
    found = [_latency(cell) for cell in benchmarked["cells"] if _counts(cell)]
    return min(found, key=lambda latency: latency.ms, default=None)


def is_on(benchmarked: Result, target: Target) -> bool | None:
    """Whether what was benchmarked says that it is such a target; None where that isn't known."""
    rounds = [cell["rounds"][0] for cell in benchmarked["cells"] if _counts(cell)]
    if not rounds:
        return None
    context, delegate = rounds[0]["context"], rounds[0]["engaged"]["delegate"]
    machine, architecture = context.get("machine") or "", context.get("architecture") or ""
    return own.is_such(target, machine, architecture, context.get("os") or "", delegate)


def _counts(cell: Result) -> bool:
    real = not any(one["context"].get("emulated") for one in cell["rounds"])
    return cell["error"] is None and cell["summary"] is not None and real


def _latency(cell: Result) -> Latency:
    threads = f"{cell['threads']} thread{'s' if cell['threads'] > 1 else ''}"
    setting = f"{cell['rounds'][0]['engaged']['delegate']}, {threads}"
    word = cell["verdict"]["word"]
    summary = cell["summary"]
    high = (summary["p50_interval_95_ms"] or (0, summary["p50_ms"]))[1]
    steady = "" if word == "stable" else f", {word}"
    return Latency(summary["p50_ms"], high, setting + steady)
