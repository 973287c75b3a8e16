"""`edgekit benchmark`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import binary_option, force_option, runtime_option
from edgekit.cli.progress import ProgressBars
from edgekit.cli.values import COUNTS, DELEGATES, DURATION, SHARE

if TYPE_CHECKING:
    from edgekit.benchmark.document import Run


@click.command(
    epilog="""\b
Examples:
  edgekit benchmark m.tflite
  edgekit benchmark m.tflite --on ssh:pi@raspberrypi.local --threads 1,2,4
  edgekit benchmark float.tflite int8.tflite --on adb --on local -o r.json
  edgekit benchmark m.tflite --delegate xnnpack,none --markdown
  edgekit benchmark m.tflite --on ssh:pi@pi4 --sustain 10m --plot heat.png
  edgekit benchmark m.tflite --delegate external:./libmine.so,key=value
"""
)
@click.argument(
    "models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL..."
)
@click.option(
    "--on",
    "devices",
    multiple=True,
    default=("local",),
    metavar="DEVICE",
    help="local, ssh:[user@]host[:port] or adb[:SERIAL]; again for several.  [default: local]",
)
@click.option(
    "--delegate",
    "delegates",
    type=DELEGATES,
    multiple=True,
    default=("xnnpack",),
    metavar="NAME,...",
    help="xnnpack, none, gpu, nnapi, edgetpu, or external:PATH[,key=value...]; again for several."
    "  [default: xnnpack]",
)
@click.option(
    "--threads", type=COUNTS, default=(1,), metavar="N,...", help="CPU threads.  [default: 1]"
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Processes per cell of the grid; their order is random and interleaved.",
)
@click.option(
    "--min-time", type=DURATION, default=1.0, metavar="TIME", help="Per round.  [default: 1s]"
)
@click.option(
    "--min-runs", type=click.IntRange(min=1), default=20, show_default=True, help="Per round."
)
@click.option(
    "--max-time",
    type=DURATION,
    default=60.0,
    metavar="TIME",
    help="Per cell: rounds are added until p50 is as sure as --precision asks.  [default: 1m]",
)
@click.option(
    "--precision",
    type=SHARE,
    default=0.03,
    metavar="P%",
    help="How narrow the interval of p50 is to be, its half width.  [default: 3%]",
)
@click.option(
    "--warm-up", type=DURATION, default=0.3, metavar="TIME", help="Per round.  [default: 300ms]"
)
@click.option(
    "--interval",
    type=DURATION,
    default=0.0,
    metavar="TIME",
    help="From one inference's start to the next, as a camera's frames.  [default: none]",
)
@click.option(
    "--sustain",
    type=DURATION,
    default=0.0,
    metavar="TIME",
    help="Run each cell once, for that long: the thermal curve.",
)
@click.option(
    "--cool-down", type=DURATION, default=0.0, metavar="TIME", help="Rest before each round."
)
@click.option(
    "--affinity", metavar="CPUS", help="Run on these: all, big, little, or a list such as 0,2-3."
)
@click.option("--profile", is_flag=True, help="Time every op as well, where the runtime can.")
@click.option(
    "--input",
    "input_",
    default="random:0",
    show_default=True,
    metavar="WHAT",
    help="zeros, random:SEED, or file:PATH of raw bytes.",
)
@click.option(
    "--golden",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The raw outputs expected; exit code 1 where they differ.",
)
@click.option(
    "--require-full-delegation",
    is_flag=True,
    help="Exit code 1 where the delegate leaves an op to the CPU.",
)
@click.option("--emulated", is_flag=True, help="Say in the results that DEVICE is an emulator.")
@runtime_option
@binary_option
@click.option(
    "--python", is_flag=True, help="Measure through the Python runtime, without the binary."
)
@click.option(
    "--clean", is_flag=True, help="Remove what was put on DEVICE afterwards, instead of keeping it."
)
@click.option(
    "--reconnect",
    type=DURATION,
    default=60.0,
    metavar="TIME",
    help="How long to try to come back after a connection broke; the run goes on.  [default: 1m]",
)
@click.option(
    "--grace",
    type=DURATION,
    default=600.0,
    metavar="TIME",
    help="How long a run that lost us may go on there before it ends and cleans up.  "
    "[default: 10m]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random order.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Keep everything, every sample included; `edgekit compare` reads it.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Draw the latency histogram; with --sustain, latency and temperature over time.",
)
@click.option(
    "--json", "form", flag_value="json", help="Print JSON: the file of -o, with the statistics."
)
@click.option("--csv", "form", flag_value="csv", help="Print the table as CSV.")
@click.option("--markdown", "form", flag_value="markdown", help="Print the table as Markdown.")
@click.option(
    "--no-remember",
    is_flag=True,
    help="Don't keep the latencies for `edgekit inspect --target` and `edgekit advise`.",
)
@force_option
def command(
    models: tuple[Path, ...],
    devices: tuple[str, ...],
    delegates: tuple[tuple[str, ...], ...],
    threads: tuple[int, ...],
    rounds: int,
    min_time: float,
    min_runs: int,
    max_time: float,
    precision: float,
    warm_up: float,
    interval: float,
    sustain: float,
    cool_down: float,
    affinity: str | None,
    profile: bool,
    input_: str,
    golden: Path | None,
    require_full_delegation: bool,
    emulated: bool,
    runtime: str | None,
    binary: Path | None,
    python: bool,
    clean: bool,
    reconnect: float,
    grace: float,
    seed: int,
    output: Path | None,
    plot: Path | None,
    form: str | None,
    no_remember: bool,
    force: bool,
) -> int:
    """Measure the latency of MODELs, and say how sure it is and what really ran where.

    The headline is p50, the median, with its 95 % interval over rounds: each round is a process of
    its own. A verdict says whether it can be believed: stable, drifting, throttled or noisy.

    To DEVICE goes what it lacks: the benchmark binary, the runtime library and the models, checked
    by hash and kept there for the next time. One edgekit at a time uses a device. EDGEKIT_SSH and
    EDGEKIT_ADB replace the commands ssh and adb; EDGEKIT_DEVICE_FOLDER is where files go there.
    """
    from edgekit.benchmark.driver import Patience, measure
    from edgekit.benchmark.kit import Tools
    from edgekit.benchmark.plan import Effort, Request, grid
    from edgekit.errors import EXIT_INTERRUPTED, UsageError
    from edgekit.files import refuse_overwrite

    for path, suffix in ((output, ".json"), (plot, ".png")):
        if path is not None:
            if path.suffix.lower() != suffix:
                raise UsageError(f"{path}: the file must end in {suffix}")
            refuse_overwrite(path, force=force)
    effort = Effort(
        rounds, min_runs, min_time, max_time, warm_up, interval, sustain, cool_down, precision
    )
    request = Request(
        input_,
        golden,
        affinity=affinity,
        profile=profile,
        require_full_delegation=require_full_delegation,
        emulated=emulated,
    )
    with ProgressBars(quiet=form is not None) as bars:
        outcome = measure(
            grid(models, [name for names in delegates for name in names], threads),
            devices,
            effort,
            request,
            Tools(runtime, binary, python, clean),
            patience=Patience(reconnect, grace),
            seed=seed,
            notify=bars.say,
            progress=bars,
        )
    _keep(outcome.run, output, plot)
    if not no_remember:
        from edgekit.cli.remembering import remember

        remember(outcome.run, models)
    _render(outcome.run, form, output, precision)
    if outcome.interrupted:
        return EXIT_INTERRUPTED
    if outcome.failure is not None:
        raise outcome.failure
    return 0


def _keep(run: Run, output: Path | None, plot: Path | None) -> None:
    from edgekit.benchmark.picture import as_png
    from edgekit.files import write_all

    files = {}
    if output is not None:
        files[output] = json.dumps(run.to_dict(), ensure_ascii=False).encode()
    if plot is not None:
        files[plot] = as_png(run)
    if files:
        write_all(files)


def _render(run: Run, form: str | None, output: Path | None, precision: float) -> None:
    from edgekit.benchmark import listing
    from edgekit.report.table import markdown, table

    if form == "json":
        click.echo(json.dumps(_with_statistics(run, precision), ensure_ascii=False))
    elif form == "csv":
        click.echo(listing.as_csv(run, precision), nl=False)
    elif form == "markdown":
        click.echo(markdown(*listing.as_text(run, precision)))
    else:
        for line in listing.conditions(run):
            click.echo(line)
        click.echo(f"\n{table(*listing.as_text(run, precision))}\n")
        for title, headers, rows in listing.profiles(run):
            click.echo(f"{title}\n{table(headers, rows)}\n")
        for line in listing.remarks(run, precision):
            click.echo(line)
        click.echo(_next_step(output))


def _with_statistics(run: Run, precision: float) -> dict[str, Any]:
    """The document of -o, with the summary and the verdict of each cell."""
    from edgekit.benchmark.statistics import summarize
    from edgekit.benchmark.verdict import judge

    document = run.to_dict()
    for cell, entry in zip(run.cells, document["cells"], strict=True):
        summary = summarize(cell) if cell.rounds else None
        entry["summary"] = None if summary is None else summary.to_dict()
        entry["verdict"] = None if summary is None else judge(cell, summary, precision).to_dict()
    return document


def _next_step(output: Path | None) -> str:
    if output is None:
        return "Keep every sample with -o FILE.json; `edgekit compare` says what differs for sure."
    return f"Kept in {output}. Compare it with another: edgekit compare {output} OTHER.json"
