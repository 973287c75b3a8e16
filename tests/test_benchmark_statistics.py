"""Summaries, intervals, rank tests and verdicts, on samples whose truth is known."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from benchmark_support import Machine, make_cell, make_round

from edgekit.benchmark import rank_tests
from edgekit.benchmark.document import Cell
from edgekit.benchmark.resampling import draw_weights, interval, resampled_medians, student_t
from edgekit.benchmark.statistics import summarize
from edgekit.benchmark.verdict import Verdict, judge, needs_more

_MS = 1_000_000


def _steady(rounds: int = 5, samples: int = 40, seed: int = 0, **changes: Any) -> Cell:
    """Rounds of about 4 ms that nothing disturbs."""
    dice = np.random.default_rng(seed)
    return make_cell(
        [
            make_round(4 * _MS * (1 + 0.002 * dice.normal(size=samples)), order=i, **changes)
            for i in range(rounds)
        ]
    )


def _verdict(cell: Cell, wanted: float = 0.03) -> Verdict:
    return judge(cell, summarize(cell), wanted)


# --- summaries


def test_summary_of_known_samples() -> None:
    rounds = [
        make_round(range(first * _MS, (first + 20) * _MS, _MS), load_ns=load, first_ns=3 * load)
        for first, load in (
            (1, 5 * _MS),
            (21, 1 * _MS),
            (41, 2 * _MS),
            (61, 9 * _MS),
            (81, 4 * _MS),
        )
    ]
    summary = summarize(make_cell(rounds))  # 1, 2, ..., 100 ms
    assert summary.p50_ms == 50.5
    assert summary.p90_ms == pytest.approx(90.1)  # 1 + 0.9 * 99, linearly interpolated
    assert summary.p99_ms is None
    assert (summary.min_ms, summary.mean_ms) == (1, 50.5)
    assert (summary.load_ms, summary.first_ms) == (4, 12)
    assert (summary.samples, summary.rounds, summary.basis) == (100, 5, "rounds")
    assert summary.to_dict()["p50_interval_95_ms"] == list(summary.interval_ms or ())


@pytest.mark.parametrize(
    ("samples", "p90", "p99"),
    [(99, False, False), (100, True, False), (999, True, False), (1000, True, True)],
)
def test_percentiles_need_samples_beyond_them(samples: int, p90: bool, p99: bool) -> None:
    summary = summarize(_steady(1, samples))
    assert (summary.p90_ms is not None, summary.p99_ms is not None) == (p90, p99)


def test_same_samples_give_the_same_summary() -> None:
    assert summarize(_steady(8)) == summarize(_steady(8))
    assert summarize(_steady(8)) != summarize(_steady(8, seed=1))


@pytest.mark.slow
def test_interval_holds_the_truth_where_that_of_pooled_samples_does_not() -> None:
    """Rounds differ by 1 %, samples within them by much less: 10 rounds are 10 observations."""
    dice = np.random.default_rng(5)
    covered = pooled_covered = 0
    runs = 200
    for _ in range(runs):
        levels = 4 * _MS * np.exp(0.01 * dice.normal(size=10))
        cell = make_cell([make_round(v * (1 + 0.003 * dice.normal(size=40))) for v in levels])
        low, high = summarize(cell).interval_ms or (math.nan, math.nan)
        covered += low <= 4 <= high
        # What many tools do: every sample a cluster of its own.
        single = np.sort(cell.samples_ns) / _MS
        reach = 1.96 * math.sqrt(single.size) / 2
        pooled_covered += (
            single[round(single.size / 2 - reach)] <= 4 <= single[round(single.size / 2 + reach)]
        )
    assert 0.91 <= covered / runs <= 0.995
    assert pooled_covered / runs < 0.6


def test_interval_of_five_rounds_is_their_range() -> None:
    cell = make_cell([make_round([ms * _MS] * 9) for ms in (10, 11, 12, 13, 14)])
    summary = summarize(cell)
    assert summary.p50_ms == 12
    low, high = summary.interval_ms or (0, 0)
    assert low == pytest.approx(10, abs=0.7)
    assert high == pytest.approx(14, abs=0.7)
    assert summary.half_width == pytest.approx((high - low) / 24)


@pytest.mark.parametrize("slow", [(4, 5, 6), (14, 15, 16)])
def test_interval_holds_its_median_where_the_clock_ticks_coarsely(slow: tuple[int, ...]) -> None:
    """Two ticks are all that a model of 4 us shows, in each of many rounds."""
    shares = [slow[i % len(slow)] for i in range(60)]
    cell = make_cell([make_round([4000] * (20 - n) + [4040] * n) for n in shares])
    summary = summarize(cell)
    low, high = summary.interval_ms or (math.nan, math.nan)
    assert low <= summary.p50_ms <= high


def test_one_long_round_is_cut_into_batches() -> None:
    """Correlated samples: the interval is far wider than that of as many independent ones."""
    dice = np.random.default_rng(2)
    noise = dice.normal(size=2000)
    for i in range(1, noise.size):
        noise[i] = 0.95 * noise[i - 1] + 0.31 * noise[i]
    samples = 4 * _MS * (1 + 0.01 * noise)
    correlated = summarize(make_cell([make_round(samples)]))
    shuffled = summarize(make_cell([make_round(dice.permutation(samples))]))
    assert correlated.basis == "batches"
    assert correlated.half_width is not None
    assert shuffled.half_width is not None
    assert correlated.half_width > 3 * shuffled.half_width


@pytest.mark.parametrize(("samples", "there"), [(1, False), (4, False), (5, True)])
def test_too_few_samples_have_no_interval(samples: int, there: bool) -> None:
    cell = _steady(1, samples)
    summary = summarize(cell)
    assert (summary.interval_ms is not None) == there
    assert (summary.half_width is not None) == there
    if not there:
        assert _verdict(cell).word == "noisy"
        assert needs_more(cell, wanted=1.0)


# --- the bootstrap


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("rounds", [5, 12])
def test_resampled_medians_are_those_of_the_samples_drawn(rounds: int, tied: bool) -> None:
    dice = np.random.default_rng(rounds)
    clusters = [
        (1000 + 40 * dice.normal() + 100 * dice.exponential(size=dice.integers(20, 80))).astype(int)
        for _ in range(rounds)
    ]
    if tied:
        clusters = [cluster // 20 * 20 for cluster in clusters]
    weights = draw_weights(rounds, 3)
    fast = resampled_medians(clusters, weights)
    for drawn, median in list(zip(weights, fast, strict=True))[:300]:
        samples = np.concatenate(
            [cluster for cluster, n in zip(clusters, drawn, strict=True) for _ in range(int(n))]
        )
        # Ties are a clock's steps: within one, the median is interpolated.
        assert abs(median - np.median(samples)) <= (20 if tied else 3)


def test_resampled_medians_of_equal_samples() -> None:
    clusters = [np.full(9, 7)] * 5
    assert set(resampled_medians(clusters, draw_weights(5, 0))) == {7.0}


def test_intervals_of_few_clusters_are_wider() -> None:
    values = np.random.default_rng(0).normal(size=100_000)
    widths = [np.diff(interval(values, clusters))[0] for clusters in (5, 10, 1000)]
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] == pytest.approx(2 * 1.96, rel=0.02)


# --- against SciPy


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9, 10, 47, 200])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_student_t(degrees: int, confidence: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.t.ppf((1 + confidence) / 2, degrees)
    assert student_t(confidence, degrees) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("m", "n"), [(5, 5), (5, 9), (12, 7), (30, 30), (70, 60)])
@pytest.mark.parametrize("decimals", [None, 1])
def test_mann_whitney(m: int, n: int, decimals: int | None) -> None:
    stats = pytest.importorskip("scipy.stats")
    dice = np.random.default_rng(m + n)
    a, b = dice.normal(size=m), dice.normal(0.4, size=n)
    if decimals is not None:
        a, b = a.round(decimals), b.round(decimals)
    exact = np.unique([*a, *b]).size == m + n and m * n <= 2500
    expected = stats.mannwhitneyu(b, a, method="exact" if exact else "asymptotic")
    u, p_value = rank_tests.mann_whitney(a, b)
    assert u == expected.statistic
    assert p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_mann_whitney_by_hand() -> None:
    apart = rank_tests.mann_whitney(np.arange(5.0), np.arange(5.0) + 10)
    assert apart == (25, pytest.approx(2 / math.comb(10, 5)))
    same = rank_tests.mann_whitney(np.full(5, 3.0), np.full(5, 3.0))
    assert same == (12.5, 1.0)


@pytest.mark.parametrize(("m", "n"), [(5, 5), (6, 15), (30, 30)])
def test_least_shift(m: int, n: int) -> None:
    dice = np.random.default_rng(m)
    a, b = dice.normal(size=m), dice.normal(size=n)
    shift = rank_tests.least_shift(a, b, 0.01)
    assert rank_tests.mann_whitney(a, b + shift + 1e-6)[1] < 0.01
    assert rank_tests.mann_whitney(a, b + shift - 1e-6)[1] >= 0.01
    assert np.median(b) + shift > np.median(a)


def test_cliffs_delta() -> None:
    low, high = np.array([1.0, 2, 3]), np.array([4.0, 5])
    assert rank_tests.cliffs_delta(rank_tests.mann_whitney(low, high)[0], 3, 2) == 1
    assert rank_tests.cliffs_delta(rank_tests.mann_whitney(high, low)[0], 2, 3) == -1
    assert rank_tests.cliffs_delta(rank_tests.mann_whitney(low, low)[0], 3, 3) == 0


# --- verdicts


def test_stable() -> None:
    verdict = _verdict(_steady())
    assert verdict == Verdict("stable", (), ())
    assert not needs_more(_steady(), 0.03)
    assert verdict.to_dict() == {"word": "stable", "reasons": [], "warnings": []}


def test_noisy_until_it_is_as_narrow_as_asked() -> None:
    cell = make_cell([make_round([v * _MS] * 30) for v in (40, 44, 41, 46, 43)])
    assert _verdict(cell).word == "noisy"
    assert "±3.0 % was asked for" in _verdict(cell).reasons[0]
    assert needs_more(cell, 0.03)
    assert _verdict(cell, wanted=0.1).word == "stable"
    assert not needs_more(cell, 0.1)


def test_more_rounds_make_it_less_noisy() -> None:
    """What the driver relies on when it extends a run."""
    widths = [
        summarize(Machine(4).measure({"m": 4.0}, rounds)[0]).half_width or 1 for rounds in (5, 40)
    ]
    assert widths[1] < widths[0] / 2


@pytest.mark.parametrize(("change", "word"), [(0.08, "slower"), (-0.08, "faster")])
def test_drifting_over_the_run(change: float, word: str) -> None:
    dice = np.random.default_rng(1)
    samples = np.linspace(1, 1 + change, 600) * (1 + 0.01 * dice.normal(size=600))
    verdict = _verdict(make_cell([make_round(4 * _MS * samples)]))
    assert verdict.word == "drifting"
    found = re.fullmatch(rf"got (.*) % {word} over the run", verdict.reasons[0])
    assert found is not None
    assert float(found[1]) == pytest.approx(8, abs=1)


def test_drifting_within_each_round() -> None:
    """Warm-up too short, say: a saw that has no trend over the run."""
    saw = 4 * _MS * np.linspace(1.1, 1, 40)
    dice = np.random.default_rng(1)
    cell = make_cell([make_round(saw * (1 + 0.003 * dice.normal(size=40))) for _ in range(6)])
    verdict = _verdict(cell, wanted=0.5)
    assert verdict.word == "drifting"
    assert verdict.reasons[0].startswith("each round got")
    assert "faster while it ran" in verdict.reasons[0]


def test_noise_is_no_drift() -> None:
    for seed in range(20):
        cell = Machine(seed, drift=0.001).measure({"m": 4.0}, 10)[0]
        assert _verdict(cell).word in ("stable", "noisy")


@pytest.mark.parametrize(
    ("before", "after", "word", "warned"),
    [
        (0, 0, "stable", ""),
        (0, 0x4, "throttled", ""),  # throttled now
        (0, 0x80000, "throttled", ""),  # the soft limit was reached meanwhile
        (0x80000, 0x80000, "stable", "before this run"),  # ... and this time long before
        (0x80000, 0xA0000, "throttled", "before this run"),
        (0, 0x50005, "throttled", "under-voltage"),
        (0, 0x10000, "stable", "under-voltage"),
    ],
)
def test_bits_of_get_throttled(before: int, after: int, word: str, warned: str) -> None:
    first = make_round([4 * _MS] * 30, context__before__throttled=before)
    others = [
        make_round(
            [4 * _MS] * 30,
            context__before__throttled=after,
            context__after__throttled=after,
        )
        for _ in range(4)
    ]
    first.document["context"]["after"]["throttled"] = before
    verdict = _verdict(make_cell([first, *others]))
    assert verdict.word == word
    assert warned in " ".join(verdict.warnings)
    assert bool(verdict.warnings) == bool(warned)


def _clock(*khz: int) -> list[dict[str, Any]]:
    return [
        {"t_ns": i, "frequencies_khz": {"0": f}, "temperatures_mc": {}, "throttled": None}
        for i, f in enumerate(khz)
    ]


def test_throttled_where_the_clock_fell() -> None:
    fell = _steady(1, timeline=_clock(1_500_000, 1_500_000, 1_500_000, 1_200_000, 1_200_000))
    assert _verdict(fell).word == "throttled"
    assert _verdict(fell).reasons == ("the clock fell from 1.50 GHz to 1.20 GHz",)
    steady = _steady(1, timeline=_clock(1_500_000, 1_500_000, 1_490_000))
    assert _verdict(steady).word == "stable"
    paced = _steady(1, timeline=_clock(1_500_000, 600_000, 600_000), request__interval_ns=10**8)
    assert _verdict(paced).word == "stable"


def test_throttled_where_the_clock_never_rose() -> None:
    capped = _clock(1_200_000, 1_200_000)
    verdict = _verdict(_steady(timeline=capped))
    assert verdict.word == "throttled"
    assert verdict.reasons == ("the clock never rose above 1.20 GHz of 1.50 GHz",)
    saving = _steady(timeline=capped, context__before__governors={"0": "powersave"})
    assert _verdict(saving).word == "stable"
    assert "powersave" in _verdict(saving).warnings[0]


def test_only_the_cores_it_ran_on_count() -> None:
    clocks = _clock(1_500_000, 900_000)
    for reading in clocks:
        reading["frequencies_khz"]["4"] = 2_400_000
    little = _steady(1, timeline=clocks, engaged__affinity=[0])
    assert _verdict(little).word == "throttled"
    assert _verdict(_steady(1, timeline=clocks)).word == "stable"


def test_slower_while_hot_is_throttled() -> None:
    samples = 4 * _MS * np.linspace(1, 1.2, 300)
    hot = {"t_ns": 0, "temperatures_mc": {"soc": 84_000, "broken": -274_000}}
    verdict = _verdict(make_cell([make_round(samples, timeline=[hot])]))
    assert verdict.word == "throttled"
    assert "84 °C" in verdict.reasons[0]
    assert _verdict(make_cell([make_round(samples)])).word == "drifting"


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"context__emulated": "qemu"}, "emulated (qemu): these times say nothing"),
        ({"context__before__governors": {"0": "ondemand"}}, "the governor is ondemand"),
        ({"context__before__load_1m": 8.0}, "load 8.0 on 4 core(s)"),
        ({"context__before__temperatures_mc": {"soc": 67_000}}, "a hot start: 67 °C"),
        ({"status": "interrupted"}, "interrupted"),
        ({"output__repeatable": False}, "different outputs within a round"),
        ({"output__golden": {"equal": False}}, "not the golden ones"),
        ({"tool__name": "edgekit python"}, "measured through Python"),
        ({"warnings": ["nnapi is deprecated"]}, "nnapi is deprecated"),
        ({"engaged__delegate": "none"}, "xnnpack was asked for and took no op"),
    ],
)
def test_warnings(changes: dict[str, Any], part: str) -> None:
    cell = _steady(**changes)
    if "context__before__load_1m" in changes:  # later rounds find the benchmark's own load
        cell = make_cell([make_round([4 * _MS] * 30, 0, **changes), *_steady().rounds[1:]])
    verdict = _verdict(cell)
    assert verdict.word == "stable"
    assert len(verdict.warnings) == 1
    assert part in verdict.warnings[0]


def test_what_the_program_says_in_every_round_is_said_once() -> None:
    rounds = [make_round([4 * _MS] * 30, order=i, warnings=["odd"]) for i in range(5)]
    assert _verdict(make_cell(rounds)).warnings == ("odd",)


def test_the_load_that_the_benchmark_makes_itself_is_no_warning() -> None:
    rounds = [
        make_round([4 * _MS] * 30, order=i + 3, context__before__load_1m=4.5) for i in range(5)
    ]
    assert _verdict(make_cell(rounds, threads=4)).warnings == ()
    assert "load" in _verdict(make_cell(rounds, threads=1)).warnings[0]


@pytest.mark.parametrize(
    ("delegated", "part"),
    [(None, "doesn't say how many"), (0, "took no op"), (3, "took 3 of 8 ops"), (8, None)],
)
def test_accelerators_that_do_not_take_all(delegated: int | None, part: str | None) -> None:
    changes = {"engaged__nodes_delegated": delegated, "engaged__nodes_total": 8}
    rounds = _steady(engaged__delegate="edgetpu", **changes).rounds
    warnings = _verdict(make_cell(rounds, delegate="edgetpu")).warnings
    assert [part in warning for warning in warnings if part] == ([True] if part else [])
    assert bool(warnings) == (part is not None)


def test_other_outputs_in_another_round() -> None:
    rounds = [make_round([4 * _MS] * 30, output__sha256=str(i % 2)) for i in range(5)]
    assert "in different rounds" in _verdict(make_cell(rounds)).warnings[0]


def test_few_rounds_are_said_but_not_of_a_sustained_run() -> None:
    assert "1 round(s)" in _verdict(_steady(1)).warnings[0]
    assert _verdict(_steady(1, request__sustain_ns=10**9)).warnings == ()
