"""What `edgekit advise --measure` shows of the models that were tried."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgekit.advisor import Advice
    from edgekit.advisor.candidates import Check
    from edgekit.advisor.outcome import Outcome
    from edgekit.advisor.trial import Trial

_WIDTH = 100
_LIMITS = {"--max-latency": "latency", "--max-size": "size"}
#: How a target's name begins -> what ships a model to it.
_BUNDLES = {"android": "android", "pi": "pi", "coral": "pi"}


def exit_code(trial: Trial) -> int:
    """0 where a model meets what was asked for, 4 where every one failed, otherwise 1."""
    if trial.best is not None:
        return 0
    return 4 if all(outcome.error for outcome in trial.outcomes) else 1


def render(trial: Trial, advice: Advice) -> None:
    """A table of estimates and measurements, what follows from it, and the next step."""
    from edgekit.report.table import printable

    click.echo(f"\n{_table(trial)}\n")
    for sentence in (*_failures(trial), *_findings(trial, advice)):
        click.echo(textwrap.fill(printable(sentence), _WIDTH, subsequent_indent="  "))
    click.echo(f"\nNext: {printable(_next(trial, advice))}")


def _table(trial: Trial) -> str:
    from edgekit.report.table import table

    rows = [
        (
            number,
            outcome.name,
            _accuracy(outcome),
            _estimate(outcome),
            _latency(outcome),
            "-" if outcome.size_mib is None else f"{outcome.size_mib:.1f} MiB",
            "-" if outcome.training_minutes is None else f"{outcome.training_minutes:.2g} min",
            _verdict(outcome),
        )
        for number, outcome in enumerate(trial.outcomes, 1)
    ]
    headers = ("", "model", "top-1", "estimated", f"on {trial.device}", "int8", "training")
    return table((*headers, "verdict"), rows)


def _accuracy(outcome: Outcome) -> str:
    found = outcome.accuracy
    if found is None:
        return "-"
    low, high = found.interval
    return f"{found.top1:.1%} ({low:.1%} to {high:.1%}) {found.of}"


def _estimate(outcome: Outcome) -> str:
    """The first one; where there was none, that which measurements of others gave."""
    later = outcome.candidate.latency
    ms = outcome.first_ms or (later and later.ms)
    return "-" if ms is None else f"{ms:.3g} ms"


def _latency(outcome: Outcome) -> str:
    found = outcome.latency
    return "-" if found is None else f"{found.ms:.3g} ms, {found.setting}"


def _verdict(outcome: Outcome) -> str:
    if outcome.error is not None:
        return "failed"
    words = [_kept(check) for check in outcome.checks]
    if not outcome.enough:
        words.append("accuracy too low")
    return ", ".join(words) or "measured"


def _kept(check: Check) -> str:
    words = {"no": "too large", "unknown": "not known"}
    return f"{_LIMITS[check.option]} {words.get(check.met, 'met')}"


def _failures(trial: Trial) -> Iterator[str]:
    for outcome in trial.outcomes:
        if outcome.error is not None:
            yield f"{outcome.name} failed: {outcome.error}"


def _findings(trial: Trial, advice: Advice) -> Iterator[str]:
    title = advice.target.title
    if trial.correction is not None:
        yield f"What was measured took {trial.correction:.2f} times what was estimated for {title}."
    if trial.like_target is False:
        yield f"{trial.device} doesn't say that it is a {title}: what it takes is its own."
    best, as_good, next_one = trial.best, trial.as_good, trial.worth_trying
    if best is not None and as_good is not None and best.accuracy is not None:
        yield (
            f"{as_good.name} is faster than {best.name}, and {best.accuracy.photos} photos can't "
            "tell their accuracies apart."
        )
    if not advice.photos.test:
        yield (
            "The best epoch was chosen by the photos that top-1 is told of: a test/ folder beside "
            "train/ and val/ would judge it without that."
        )
    if best is None and next_one is not None:
        yield f"None meets what was asked for. Not tried: {next_one.name} (a larger --top)."


def _next(trial: Trial, advice: Advice) -> str:
    best = trial.best
    if best is None:
        return "relax a limit; what was trained is kept."
    tflite = shlex.quote(str(best.tflite))
    bundle = next((b for start, b in _BUNDLES.items() if advice.target.name.startswith(start)), "")
    if bundle:
        return f"edgekit bundle {bundle} {tflite} -o package"
    return f"edgekit predict {tflite} PHOTO"
