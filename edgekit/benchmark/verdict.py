"""Whether a cell's latencies can be believed: one word, its reasons, and what else to know.

The word is the first of these that applies:

1. `throttled`: the device says that it slowed down (throttling bits, a frequency that fell), or it
   got slower while it was hot. What was measured is the cooling, not the model.
2. `drifting`: latencies have a trend, over the run or within each round. There is no one number.
3. `noisy`: the interval of p50 is wider than asked.
4. `stable`.

Warnings don't change the word: they name what may make the number another one next time, or why it
isn't the one that was meant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from edgekit.benchmark.document import Cell, Round
from edgekit.benchmark.resampling import MIN_CLUSTERS, Floats
from edgekit.benchmark.statistics import Summary, batches, summarize

Word = Literal["stable", "drifting", "throttled", "noisy"]

#: A trend has to be this large to matter, and this unlikely without one.
_TREND = 0.03
_SIGNIFICANCE = 0.03
_STRETCHES = 30
#: In the direction of the trend go at least this share of the rounds.
_MOST_ROUNDS = 0.8

#: A frequency below this share of another is lower; governors step by more, and readings jitter.
_FELL = 0.95
_HOT_START_C = 60
#: Where Raspberry Pi firmware begins to throttle ("Frequency management and thermal control" in the
#: Raspberry Pi documentation); phones and other boards are near it.
_HOT_C = 80
#: Sensors that report nothing give 0, -274000, or 2**31 or so.
_PLAUSIBLE_C = (-40, 150)
_LOAD_PER_CORE = 0.5

#: Bits of `vcgencmd get_throttled` (Raspberry Pi documentation, "vcgencmd"); each is repeated 16
#: bits higher as "has happened since boot".
_UNDER_VOLTAGE = 0
_THROTTLING = {
    1: "the frequency was capped",
    2: "the firmware throttled",
    3: "the soft temperature limit was active",
}
_SINCE_BOOT = 16


@dataclass(frozen=True)
class Verdict:
    """What to think of a cell.

    Attributes:
        word: See the module.
        reasons: Why that word; for `stable` there is nothing to say.
        warnings: What else to know, the gravest first.
    """

    word: Word
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "word": self.word,
            "reasons": list(self.reasons),
            "warnings": list(self.warnings),
        }


def judge(cell: Cell, summary: Summary, wanted: float = 0.03) -> Verdict:
    """Judges a cell that has at least one round.

    Args:
        cell: What was measured.
        summary: Of the same cell.
        wanted: The half width of the interval of p50 that was asked for, as a share of p50.
    """
    warnings = tuple(dict.fromkeys(_warnings(cell)))
    unsteady = _unsteadiness(cell)
    if unsteady is not None:
        return Verdict(*unsteady, warnings)
    reasons = tuple(_noise(summary, wanted))
    return Verdict("noisy" if reasons else "stable", reasons, warnings)


def doubts(cell: Cell) -> tuple[str, ...]:
    """What throws doubt on a cell that is compared with another: all but the noise."""
    unsteady = _unsteadiness(cell)
    first = () if unsteady is None else (f"{unsteady[0]}: {'; '.join(unsteady[1])}",)
    return (*first, *dict.fromkeys(_warnings(cell)))


def needs_more(cell: Cell, wanted: float) -> bool:
    """Whether another round could make the interval of p50 as narrow as asked."""
    width = summarize(cell).half_width
    return width is None or width > wanted


def _unsteadiness(cell: Cell) -> tuple[Word, tuple[str, ...]] | None:
    throttling = tuple(_throttling(cell))
    if throttling:
        return "throttled", throttling
    trends = tuple(_trends(cell))
    return ("drifting", trends) if trends else None


# --- throttled


def _throttling(cell: Cell) -> Iterator[str]:
    seen = [bits for state in _states(cell) if (bits := state.get("throttled")) is not None]
    if seen:
        before = seen[0]
        for bit, what in _THROTTLING.items():
            if any(_newly(bits, bit, before) for bits in seen):
                yield f"{what} (bit {bit} of get_throttled)"
    yield from _slower_clock(cell)
    peak = max(map(hottest, _states(cell)))
    rise = _trend(cell)
    if peak >= _HOT_C and rise is not None and rise > 0:
        yield f"got {_percent(rise)} slower while a sensor read {peak:.0f} °C"


def _newly(bits: int, bit: int, before: int) -> bool:
    """Whether a bit is set now, or has been set since the run began."""
    happened = 1 << (bit + _SINCE_BOOT)
    return bool(bits & 1 << bit) or bool(bits & happened and not before & happened)


def _slower_clock(cell: Cell) -> Iterator[str]:
    """Compares the frequencies read between inferences: before and after, the device may idle."""
    if any(r["request"].get("interval_ns") for r in cell.rounds):
        return  # a paced run leaves the governor time to slow down by itself
    busy = [khz for r in cell.rounds for state in r["timeline"] if (khz := _clock(r, state))]
    if not busy:
        return
    top = max(busy)
    end = float(np.median(busy[-max(1, len(busy) // 3) :]))
    if end < _FELL * top:
        yield f"the clock fell from {_gigahertz(top)} to {_gigahertz(end)}"
        return
    allowed = max(_clock(r, r["context"]["before"], "max_frequencies_khz") for r in cell.rounds)
    if _governors(cell) == {"performance"} and top < _FELL * allowed:
        yield f"the clock never rose above {_gigahertz(top)} of {_gigahertz(allowed)}"


def _clock(round_: Round, state: Mapping[str, Any], key: str = "frequencies_khz") -> int:
    """The highest frequency among the cores the round may run on, in kHz; 0 if not known."""
    cores = {str(core) for core in round_["engaged"].get("affinity") or ()}
    known: Mapping[str, int] = state.get(key) or {}
    return max((khz for core, khz in known.items() if not cores or core in cores), default=0)


# --- drifting


def _trends(cell: Cell) -> Iterator[str]:
    over_all = _trend(cell)
    if over_all is not None:
        yield f"got {_percent(abs(over_all))} {_slower_or_faster(over_all)} over the run"
    within = _trend_within_rounds(cell)
    if within is not None:
        yield f"each round got {_percent(abs(within))} {_slower_or_faster(within)} while it ran"


def _trend(cell: Cell) -> float | None:
    """The change from the first to the last sample as a share, if there is a trend that matters.

    Theil-Sen's slope over the medians of the rounds, or of stretches of a single one (Sen,
    "Estimates of the Regression Coefficient Based on Kendall's Tau", 1968), and Mann-Kendall's test
    of their order (Kendall, "Rank Correlation Methods", 1975). Not over stretches of several
    rounds: what differs from process to process would look like a trend.
    """
    single = len(cell.rounds) == 1
    blocks = batches(cell.samples_ns, _STRETCHES) if single else [r.samples_ns for r in cell.rounds]
    values = np.array([np.median(block) for block in blocks])
    if values.size < MIN_CLUSTERS:
        return None
    change = _theil_sen(values) * (values.size - 1) / float(np.median(values))
    if abs(change) < _TREND or _mann_kendall(values) > _SIGNIFICANCE:
        return None
    return change


def _theil_sen(values: Floats) -> float:
    """The median slope per step over all pairs."""
    left, right = np.triu_indices(values.size, 1)
    return float(np.median((values[right] - values[left]) / (right - left)))


def _mann_kendall(values: Floats) -> float:
    """The p-value of an order as far from random, by the normal approximation, ties regarded."""
    n = values.size
    left, right = np.triu_indices(n, 1)
    score = float(np.sign(values[right] - values[left]).sum())
    _, ties = np.unique(values, return_counts=True)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    if variance == 0 or score == 0:
        return 1.0
    return 2 * NormalDist().cdf(-(abs(score) - 1) / math.sqrt(variance))


def _trend_within_rounds(cell: Cell) -> float | None:
    """The change from the first to the last third of a round, if nearly all go the same way."""
    if len(cell.rounds) < MIN_CLUSTERS:
        return None
    changes = np.array([_change(r.samples_ns.astype(float)) for r in cell.rounds])
    middle = float(np.median(changes))
    agree = np.mean(np.sign(changes) == np.sign(middle))
    return middle if abs(middle) >= _TREND and agree >= _MOST_ROUNDS else None


def _change(samples: Floats) -> float:
    third = max(1, samples.size // 3)
    return float(np.median(samples[-third:]) / np.median(samples[:third])) - 1


# --- noisy


def _noise(summary: Summary, wanted: float) -> Iterator[str]:
    if summary.half_width is None:
        yield f"{summary.samples} samples are too few for an interval"
    elif summary.half_width > wanted:
        width, asked = _percent(summary.half_width), _percent(wanted)
        yield f"p50 is known to ±{width}, and ±{asked} was asked for"


# --- warnings


def _warnings(cell: Cell) -> Iterator[str]:
    if cell.emulated:
        yield f"emulated ({cell.emulated}): these times say nothing of any device"
    yield from _answers(cell)
    yield from _engaged(cell)
    yield from _surroundings(cell)
    yield from _extent(cell)
    for round_ in cell.rounds:
        yield from round_["warnings"]


def _answers(cell: Cell) -> Iterator[str]:
    outputs = [r["output"] for r in cell.rounds]
    if any(output.get("repeatable") is False for output in outputs):
        yield "the same input gave different outputs within a round"
    if len({output["sha256"] for output in outputs}) > 1:
        yield "the same input gave different outputs in different rounds"
    if any(
        golden and not golden["equal"] for output in outputs if (golden := output.get("golden"))
    ):
        yield "the outputs are not the golden ones"


def _engaged(cell: Cell) -> Iterator[str]:
    asked = cell.delegate
    if asked == "none":
        return
    engaged = [r["engaged"] for r in cell.rounds]
    if any(e["delegate"] == "none" or e.get("nodes_delegated") == 0 for e in engaged):
        yield f"{asked} was asked for and took no op: the CPU's own kernels ran"
        return
    if asked == "xnnpack":  # the CPU all the same, and no runtime counts its ops
        return
    counts = {(e.get("nodes_delegated"), e.get("nodes_total")) for e in engaged}
    for taken, total in sorted(counts, key=str):
        if taken is None:
            yield f"{asked}: the runtime doesn't say how many ops it took"
        elif total is not None and taken < total:
            yield f"{asked} took {taken} of {total} ops; the others ran on the CPU"


def _surroundings(cell: Cell) -> Iterator[str]:
    first = cell.rounds[0]
    start = first["context"]["before"]
    bits = [b for state in _states(cell) if (b := state.get("throttled")) is not None]
    if any(_newly(b, _UNDER_VOLTAGE, bits[0]) for b in bits):
        yield "under-voltage: use the board's own power supply and a short cable"
    if bits and any(bits[0] & 1 << bit + _SINCE_BOOT for bit in (_UNDER_VOLTAGE, *_THROTTLING)):
        yield "the board had throttled or lacked voltage since its boot, before this run"
    others = _governors(cell) - {"performance"}
    if others:
        yield f"the governor is {', '.join(sorted(others))}, not performance: the clock may vary"
    # Rounds that are not the run's first find the load that this benchmark made itself.
    own = 0 if first.order == 0 else cell.threads
    cores = first["context"].get("cores") or 1
    load = (start.get("load_1m") or 0.0) - own
    if load > _LOAD_PER_CORE * cores:
        yield f"the machine was busy at the start: load {load:.1f} on {cores} core(s)"
    if hottest(start) >= _HOT_START_C:
        yield f"a hot start: {hottest(start):.0f} °C; see --cool-down"


def _extent(cell: Cell) -> Iterator[str]:
    if any(r.interrupted for r in cell.rounds):
        yield "interrupted before all of it was measured"
    if cell.error:
        yield f"ended early: {cell.error}"
    sustained = any(r["request"].get("sustain_ns") for r in cell.rounds)
    if len(cell.rounds) < MIN_CLUSTERS and not sustained:
        yield (
            f"{len(cell.rounds)} round(s): what differs from process to process is not in the "
            f"interval; {MIN_CLUSTERS} are needed"
        )
    if any(
        r["tool"].get("name") == "edgekit python" for r in cell.rounds if r.document.get("tool")
    ):
        yield "measured through Python, with the cost of its call in each inference"


# --- what the device said


def _states(cell: Cell) -> Iterable[Mapping[str, Any]]:
    """Every reading of the device, in order."""
    for round_ in cell.rounds:
        yield round_["context"]["before"]
        yield from round_["timeline"]
        yield round_["context"]["after"]


def _governors(cell: Cell) -> set[str]:
    return {
        governor
        for r in cell.rounds
        for governor in (r["context"]["before"].get("governors") or {}).values()
    }


def hottest(state: Mapping[str, Any]) -> float:
    """The highest plausible reading, in degrees Celsius; minus infinity without one."""
    low, high = _PLAUSIBLE_C
    readings = (mc / 1000 for mc in (state.get("temperatures_mc") or {}).values())
    return max((c for c in readings if low < c < high), default=-math.inf)


def _gigahertz(khz: float) -> str:
    return f"{khz / 1e6:.2f} GHz"


def _slower_or_faster(change: float) -> str:
    return "slower" if change > 0 else "faster"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
