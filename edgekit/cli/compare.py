"""`edgekit compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import json_option

if TYPE_CHECKING:
    from edgekit.benchmark.compare import Comparison
    from edgekit.benchmark.pairing import Axis

# Written out, since edgekit.benchmark.pairing brings numpy, and --help must not; a test compares.
AXIS_NAMES = ("model", "device", "delegate", "threads")


@click.command(
    epilog="""\b
Examples:
  edgekit benchmark old.tflite new.tflite --rounds 15 -o r.json
  edgekit compare r.json
  edgekit compare r.json --budget +3%
  edgekit compare r.json --by threads
  edgekit compare monday.json friday.json
"""
)
@click.argument("first", type=click.Path(path_type=Path), metavar="A.json")
@click.argument("second", type=click.Path(path_type=Path), metavar="[B.json]", required=False)
@click.option(
    "--by",
    type=click.Choice(AXIS_NAMES),
    help="With one file: compare its first MODEL, DEVICE, ... with each other one.",
)
@click.option(
    "--budget",
    metavar="CHANGE",
    help="How much slower it may be: +3%, +0.5ms; or -10% where it has to be faster. Exit code 1 "
    "where that isn't shown.",
)
@click.option(
    "--pass-undecided",
    is_flag=True,
    help="With --budget: exit code 0 where the interval holds the budget's limit.",
)
@click.option(
    "--anyway",
    is_flag=True,
    help="Compare although inputs, devices or threads differ; it says which.",
)
@json_option
def command(
    first: Path,
    second: Path | None,
    by: Axis | None,
    budget: str | None,
    pass_undecided: bool,
    anyway: bool,
    as_json: bool,
) -> None:
    """Say whether one benchmark is really faster than another.

    With one file, its first model is compared with each other one; with two, the cells of B with
    those of A. Best measure both in one run: their rounds are interleaved then, and what drifts in
    the machine falls on both alike. Across files an allowance for drift widens the interval, and
    small differences can't be shown.

    A difference is called where Mann-Whitney's test on the medians of the rounds (at 1 %) and the
    95 % interval of the ratio of p50 agree. At least 5 rounds of each are needed.

    A budget is kept where the whole interval is within it. Where only part is, it is undecided,
    which fails like a budget that is broken, for nothing was shown; it says how many rounds would
    decide.
    """
    from edgekit.benchmark.compare import compare_files

    comparisons = compare_files(first, second, by=by, budget=budget, anyway=anyway)
    if as_json:
        documents = [comparison.to_dict() for comparison in comparisons]
        click.echo(json.dumps({"comparisons": documents}, ensure_ascii=False))
    else:
        _render(comparisons)
    _hold_budget(comparisons, pass_undecided)


def _render(comparisons: tuple[Comparison, ...]) -> None:
    from edgekit.report.table import printable, table

    # One comparison needs no number.
    numbers = [f"{i}: " if len(comparisons) > 1 else "" for i in range(1, len(comparisons) + 1)]
    rows = [
        (
            number,
            f"{c.p50_ms[0]:.4g} ms",
            f"{c.p50_ms[1]:.4g} ms",
            _signed(c.ratio),
            f"{_signed(c.interval[0])} to {_signed(c.interval[1])}",
            f"{c.p_value:.2g}",
            c.word,
        )
        for number, c in zip(numbers, comparisons, strict=True)
    ]
    headers = ("", "p50 of a", "p50 of b", "change", "95 % interval", "p", "b is")
    for number, c in zip(numbers, comparisons, strict=True):
        common = f"; {c.pair.common}" if c.pair.common else ""
        click.echo(printable(f"{number}a = {c.pair.a_name}, b = {c.pair.b_name}{common}"))
    click.echo(f"\n{table(headers, rows, '<>>>>><')}\n")
    for number, c in zip(numbers, comparisons, strict=True):
        for line in _remarks(c):
            click.echo(printable(number + line))


def _remarks(c: Comparison) -> list[str]:
    where = "in one run, interleaved" if c.pair.interleaved else "measured apart"
    lines = [
        f"{c.rounds[0]} and {c.rounds[1]} rounds, {where}; Mann-Whitney U = {c.u:g} of "
        f"{c.rounds[0] * c.rounds[1]}, Cliff's delta {c.cliffs_delta:+.2f}"
    ]
    if c.word == "no difference shown":
        lines.append(f"a difference above {100 * c.smallest:.1f} % would have been shown")
    if not c.pair.interleaved:
        lines.append(
            f"the interval allows ±{100 * c.drift_allowance:.1f} % for drift between both; it is "
            "narrower where both are measured in one run"
        )
    if c.budget is not None:
        lines.append(f"budget {c.budget.budget.text}: {c.budget.word}")
    lines += [f"they differ in {d.what}: {d.a} and {d.b}" for d in c.context]
    lines += [f"Warning: {warning}" for warning in c.warnings]
    return lines


def _hold_budget(comparisons: tuple[Comparison, ...], pass_undecided: bool) -> None:
    """Raises NotMetError where a budget isn't kept."""
    from edgekit.errors import NotMetError

    broken = [c for c in comparisons if c.budget is not None and c.budget.word == "beyond"]
    if broken:
        raise NotMetError("; ".join(f"{_change(c)}: beyond the budget" for c in broken))
    undecided = [c for c in comparisons if c.budget is not None and c.budget.word == "undecided"]
    if undecided and not pass_undecided:
        raise NotMetError(
            "; ".join(f"{_change(c)}: undecided, its limit is inside" for c in undecided),
            "; ".join(dict.fromkeys(map(_advice, undecided))),
        )


def _change(c: Comparison) -> str:
    low, high = map(_signed, c.interval)
    assert c.budget is not None
    return (
        f"{c.pair.b_name} against {c.pair.a_name} ({c.pair.common}): p50 {low} to {high}, "
        f"budget {c.budget.budget.text}"
    )


def _advice(c: Comparison) -> str:
    assert c.budget is not None
    if c.budget.rounds_needed is not None:
        return f"About {c.budget.rounds_needed} rounds of each would decide: --rounds"
    if not c.pair.interleaved:
        return "Measure both in one run: then no allowance for drift is needed"
    return "It is too near the budget for any number of rounds to decide"


def _signed(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"
