"""`edgekit verify`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import binary_option, json_option, runtime_option
from edgekit.cli.progress import ProgressBars

if TYPE_CHECKING:
    from edgekit.golden.verifying import Verification


@click.command(
    epilog="""\b
Examples:
  edgekit verify model.tflite
  edgekit verify model.tflite --on ssh:pi@raspberrypi.local
  edgekit verify model.tflite --on adb --delegate nnapi --golden golden/model.golden.zip
  edgekit verify model.tflite --answers from_the_app/

\b
Exit codes: 0 the answers are right; 1 a stage differs; 2 usage; 3 a file that can't
be read; 4 a runtime or device that failed; 5 something is not installed.
"""
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--golden",
    "chosen",
    type=click.Path(path_type=Path),
    metavar="FILE.zip",
    help="The golden vectors.  [default: MODEL.golden.zip, or those inside MODEL]",
)
@click.option(
    "--on",
    "device",
    metavar="DEVICE",
    help="Run only the model, there: local, ssh:USER@HOST[:PORT], adb[:SERIAL]; so do the options "
    "below, on local.",
)
@click.option(
    "--delegate",
    metavar="D",
    help="xnnpack, none, gpu, nnapi, edgetpu or external:PATH.  [default: xnnpack]",
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--answers",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Hold what an app answered against them: NAME.fitted, NAME.input, NAME.output there, "
    "each as raw bytes.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    metavar="STEPS",
    help="By how many steps a score may differ.  [default: 0 for an int8 output of the same "
    "runtime and architecture, otherwise 3]",
)
@runtime_option
@binary_option
@click.option("--python", is_flag=True, help="Run DEVICE's Python runtime, without the binary.")
@click.option("--clean", is_flag=True, help="Remove what was put on DEVICE afterwards.")
@json_option
def command(
    model: Path,
    chosen: Path | None,
    device: str | None,
    delegate: str | None,
    threads: int,
    answers: Path | None,
    tolerance: float | None,
    runtime: str | None,
    binary: Path | None,
    python: bool,
    clean: bool,
    as_json: bool,
) -> None:
    """Check that MODEL gives the same answers as on the machine that converted it.

    `edgekit convert` keeps a few pictures with the exact input and output of the model for each.
    They are replayed stage by stage: decode the picture, fit it to the input (crop, resize),
    make the input (colours, normalization, quantization), run the model. The stage that differs
    is named, and for preprocessing the likely mistake as well.

    Without --on all of this happens here. On a DEVICE the model runs on the right inputs; what an
    app there makes of a picture can be checked with --answers.
    """
    from edgekit.benchmark.kit import Tools
    from edgekit.golden import words
    from edgekit.golden.on_device import Place
    from edgekit.golden.verifying import verify

    place = None
    if any((device, delegate, threads > 1, runtime, binary, python, clean)):
        tools = Tools(runtime, binary, python, clean)
        place = Place(device or "local", delegate or "xnnpack", threads, tools)
    with ProgressBars(quiet=as_json) as bars:
        found = verify(model, chosen, place, answers, tolerance, bars.say, bars)
    if as_json:
        click.echo(json.dumps(found.to_dict(), ensure_ascii=False))
    else:
        _render(found)
    if fault := words.fault(found.replay, str(found.model)):
        raise fault


def _render(found: Verification) -> None:
    """The stages of every picture, and what all of them say together."""
    from edgekit.golden import words

    golden, replay = found.golden, found.replay
    click.echo(f"Model    {found.model}")
    click.echo(f"Golden   {found.found}: made with {golden.runtime} on {golden.machine}")
    who = ", ".join(name for name in (replay.runtime, replay.machine) if name)
    click.echo(f"Against  {replay.by}{f' ({who})' if who else ''}\n")
    click.echo(words.stages(golden, replay))
    click.echo()
    for remark in replay.remarks:
        click.echo(f"Note: {remark}")
    if replay.fault is None:
        click.echo(words.praise(replay))
        click.echo(f"Next: edgekit benchmark {found.model}")
