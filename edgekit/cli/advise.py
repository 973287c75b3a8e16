"""`edgekit advise`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli import advise_asking, advise_trial
from edgekit.cli.options import json_option
from edgekit.cli.progress import ProgressBars

if TYPE_CHECKING:
    from edgekit.advisor import Advice, Candidate, Nearest, Photos, Probe
    from edgekit.targets import Latency

_WIDTH = 100
_INDENTED: Any = {"initial_indent": "  ", "subsequent_indent": "  "}
_LIMITS = {"--max-latency": "latency", "--max-size": "size", "--train-budget": "training"}


@click.command(
    epilog="""\b
Examples:
  edgekit advise
  edgekit advise --data photos/ --target pi4
  edgekit advise --data photos/ --target pi4 --max-latency 50 --max-size 6
  edgekit advise --data photos/ --target coral --min-accuracy 0.95 --top 5 --plot choice.png
  edgekit advise --data photos/ --target pi4 --train-budget 30 --json | jq .short_list
  edgekit advise --data photos/ --target pi4 --max-latency 50 --probe
  edgekit advise --data photos/ --target pi4 --max-latency 50 --measure --on ssh:pi@pi4.local

\b
Exit codes: 0 done; 1 no model meets what was asked for (it says what comes nearest);
2 usage; 3 photos that can't be used; 4 --measure: the device can't be reached, or every model
failed; --probe: the training failed; 5 something that these need is not installed.
"""
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="PHOTOS",
    help="The photos, laid out as for edgekit train.",
)
@click.option(
    "--target",
    metavar="NAME",
    help="Where it is to run: pi4, coral, android_cpu, ...",
)
@click.option("--max-latency", type=float, metavar="MS", help="Of one inference, in int8.")
@click.option("--max-size", type=float, metavar="MIB", help="Of the int8 file.")
@click.option(
    "--min-accuracy",
    type=float,
    metavar="0..1",
    help="Wished for on your photos. Only training tells: it makes the list go by accuracy.",
)
@click.option("--train-budget", type=float, metavar="MINUTES", help="On two cores, roughly.")
@click.option("--top", type=int, default=3, show_default=True, help="How many models to list.")
@click.option(
    "--labels-csv", type=click.Path(path_type=Path), metavar="CSV", help="path,label[,split]"
)
@click.option(
    "--probe",
    is_flag=True,
    help="Try how far frozen ImageNet features go on your photos, and choose the training by it.",
)
@click.option(
    "--measure",
    is_flag=True,
    help="Train the short list, measure it on the device, and correct the estimates by that.",
)
@click.option(
    "--on",
    "device",
    metavar="DEVICE",
    help="Where it is measured: local, ssh:[user@]host[:port] or adb[:SERIAL].",
)
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="FOLDER",
    help="Where the models go.  [default: here]",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Draw accuracy against latency, with the Pareto set.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Replace the --plot; --measure: do again what was done, and replace what is there.",
)
@json_option
def command(
    top: int,
    labels_csv: Path | None,
    probe: bool,
    measure: bool,
    device: str | None,
    folder: Path,
    plot: Path | None,
    force: bool,
    as_json: bool,
    **asked: Any,
) -> int:
    """Say which model to use, before any is trained and any hardware is bought.

    Every model of the zoo is held against the photos and the target: the latency estimated from
    published measurements, the size in int8, the accuracy published on ImageNet, and rules, each
    with its source. Out come a short list and the commands that train and measure the first.

    A limit is met `surely` where the upper end of the estimate's 80 % interval is within it, and
    `probably` where the estimate is. Models with a * are on the Pareto front: of those that no rule
    speaks against, none is both more accurate and faster.

    With --probe a new classifier is trained on what EfficientNet-Lite0's frozen ImageNet features
    say of some of the photos, which takes about half a minute. Where it gets so far that
    fine-tuning has little to gain, only the classifier is trained (--epochs 0).

    With --measure the models of the list are trained, converted and measured on DEVICE, one after
    the other. What the device takes of the first estimate corrects those of the others, and which
    of them comes next. An interrupted trial goes on when the same line is given again.

    Without --data or --target it asks for them, and for the limits.
    """
    from edgekit.advisor import Wishes, advise, picture, trial
    from edgekit.errors import UsageError
    from edgekit.files import refuse_overwrite, write_all

    if plot is not None:
        if plot.suffix.lower() != ".png":
            raise UsageError(f"{plot}: the file must end in .png")
        refuse_overwrite(plot, force=force)
    told = advise_asking.complete(asked)
    wishes = Wishes(
        **told, top=top, labels_csv=labels_csv, device=device, folder=folder, probe=probe
    )
    if told != asked:
        click.echo(f"The same again: {advise_asking.line(told)}\n", err=True)
    if measure:
        trial.place(wishes)  # before all photos are read
    with ProgressBars(quiet=as_json) as bars:
        advice = advise(wishes, bars.stage("reading"), bars.say)
    tries = measure and bool(advice.short_list)
    if not as_json:
        _render(advice, with_commands=not tries)
    with ProgressBars() as bars:
        tried = trial.run(advice, force=force, say=bars.say) if tries else None
    if plot is not None:
        # After the trial: a picture that is there would keep an interrupted one from going on.
        write_all({plot: picture.as_png(advice)})
    if as_json:
        document = advice.to_dict() | ({} if tried is None else {"trial": tried.to_dict()})
        click.echo(json.dumps(document, ensure_ascii=False))
    elif tried is not None:
        advise_trial.render(tried, advice)
    if tried is None:
        return 0 if advice.short_list else 1
    return advise_trial.exit_code(tried)


def _render(advice: Advice, *, with_commands: bool) -> None:
    import textwrap

    from edgekit.report.table import printable

    _photos(advice.photos)
    if advice.probe is not None:
        _features(advice.probe)
    click.echo(f"Target   {advice.target.title}")
    for line in _origin([c.latency for c in advice.candidates if c.latency]):
        click.echo(line)
    click.echo()
    if advice.short_list:
        click.echo(_table(advice))
        click.echo(
            "\n* none is both more accurate and faster, of those that no rule speaks against.\n"
            "ImageNet: top-1 in float, as published."
        )
    else:
        _none(advice.nearest)
    for note in advice.notes:
        click.echo(textwrap.fill(printable(f"Note: {note}"), _WIDTH, subsequent_indent="  "))
    _others(advice)
    if advice.commands and with_commands:
        click.echo(f"\nFor {advice.short_list[0].name}:")
        if advice.training is not None:
            click.echo(textwrap.fill(advice.training.words, _WIDTH, **_INDENTED))
        for command in advice.commands:
            click.echo(printable(f"  # {command.what}"))
            click.echo(printable(f"  {command.line}"))
        click.echo(f"\nNext: {printable(advice.commands[0].line)}")


def _origin(known: list[Latency]) -> Iterator[str]:
    """Where the latencies come from."""
    head = "Latency  "
    estimated = next((latency for latency in known if latency.rate is not None), None)
    if estimated is not None and estimated.rate is not None:
        rate, own = estimated.rate, f"{estimated.own} model(s) that you measured"
        yield f"{head}estimated in int8 for {rate.setting};"
        head = " " * len(head)
        if estimated.kind == "borrowed":
            yield f"{head}{estimated.factor:.2f} times that, by {own} on such a target,"
            yield f"{head}with the range of 80 % of cases"
        else:
            yield f"{head}from {rate.rows} published latencies, with the range of 80 % of cases"
        if estimated.kind == "corrected":
            yield f"{head}times {estimated.factor:.2f}, by {own}"
    measured = sum(latency.kind == "measured" for latency in known)
    if measured:
        yield f"{head}{measured} model(s) as you measured them"


def _others(advice: Advice) -> None:
    """Why a family isn't on the list, and what of those that are can't be recommended."""
    click.echo("\nNot on the list:" if advice.short_list else "\nBy family:")
    for family, (why, source) in advice.left_out.items():
        _paragraph(f"{family}: {why}", source)
    alone: dict[tuple[str, str], list[str]] = {}
    for candidate in advice.rejected:
        if candidate.facts.family not in advice.left_out:
            rule = candidate.rejected[0]
            alone.setdefault((rule.text, rule.source), []).append(candidate.name)
    for (why, source), names in alone.items():
        _paragraph(f"{', '.join(names)}: {why}", source)


def _paragraph(text: str, source: str) -> None:
    import textwrap

    click.echo(textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="    "))
    click.echo(f"    ({source})")


def _photos(photos: Photos) -> None:
    from edgekit.report.table import printable

    counts = photos.classes.values()
    parts = [f"{photos.train} to learn from", f"{photos.val} to judge by"]
    if photos.test:
        parts.append(f"{photos.test} to test")
    total = photos.train + photos.val + photos.test
    click.echo(printable(f"Photos   {photos.root}: {total}, {', '.join(parts)}"))
    click.echo(
        f"         {len(photos.classes)} classes of {min(counts)} to {max(counts)} photos to learn "
        f"from (balance {photos.balance:.2f}), typically {photos.width} x {photos.height}"
    )
    if photos.unreadable:
        click.echo(f"         {photos.unreadable} file(s) can't be read and were left out")


def _features(probe: Probe) -> None:
    import textwrap

    from edgekit.advisor.features import summary

    click.echo(textwrap.fill(f"Features {summary(probe)}", _WIDTH, subsequent_indent=" " * 9))


def _table(advice: Advice) -> str:
    from edgekit.report.table import table

    timed = advice.wishes.train_budget is not None
    rows = [
        (
            number,
            f"{candidate.name}{' *' if candidate.name in advice.pareto else ''}",
            candidate.facts.input,
            _latency(candidate),
            f"{candidate.size_mib:.1f} MiB",
            "-" if candidate.facts.top1 is None else f"{candidate.facts.top1:.1f} %",
            *([f"{candidate.training.low:.2g} to {candidate.training.high:.2g} min"] * timed),
            _verdict(candidate),
        )
        for number, candidate in enumerate(advice.short_list, 1)
    ]
    known = [candidate.latency is not None for candidate in advice.short_list]
    cost = "latency" if all(known) else "latency, MACs" if any(known) else "MACs"
    headers = ("", "model", "input", cost, "int8", "ImageNet")
    return table((*headers, *(["training"] * timed), "verdict"), rows)


def _latency(candidate: Candidate) -> str:
    found = candidate.latency
    if found is None:
        return f"{candidate.macs / 1e6:,.0f} M"
    if found.kind == "measured":
        return f"{found.ms:.3g} ms, measured"
    return f"{found.ms:.3g} ms ({found.low:.3g} to {found.high:.3g})"


def _verdict(candidate: Candidate) -> str:
    words = [
        f"{_LIMITS[check.option]} {'not known' if check.met == 'unknown' else check.met}"
        for check in candidate.checks
    ]
    if candidate.lowered:
        words.append("loses in int8, see below" if candidate.wants_qat else "see below")
    return ", ".join(words) or "fits"


def _none(nearest: Nearest | None) -> None:
    if nearest is None:
        click.echo("No model of the zoo suits: rules speak against each of them.")
        return
    found = nearest.candidate
    click.echo(f"No model of the zoo meets this. {found.name} comes nearest ({_latency(found)}):")
    for check, to in nearest.relax:
        high = "" if check.high is None or check.high <= to else f", surely {check.high:.3g}"
        click.echo(
            f"  {check.option} {check.asked:g} would have to be {to:.3g} {check.unit}{high}: "
            f"{to / check.asked:.3g} times as much"
        )
