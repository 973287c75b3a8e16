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

#: What to do where a stage differs.
_ADVICE = {
    "decode": "Decode to 8-bit RGB: EXIF orientation applied, alpha dropped, no colour management.",
    "fit": "Crop and resize as the contract says: docs/contract.md gives the arithmetic.",
    "input": "Order, normalize and quantize as the contract says: docs/contract.md.",
    "inference": "Another delegate, runtime or processor computes otherwise. See how much accuracy "
    "it costs, or allow more with --tolerance.",
}


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
    _raise_fault(found)


def _render(found: Verification) -> None:
    """The stages of every picture, and what all of them say together."""
    from edgekit.golden.stages import STAGES
    from edgekit.report.table import table

    golden, replay = found.golden, found.replay
    labels = golden.contract.labels or ()
    click.echo(f"Model    {found.model}")
    click.echo(f"Golden   {found.found}: made with {golden.runtime} on {golden.machine}")
    who = ", ".join(name for name in (replay.runtime, replay.machine) if name)
    click.echo(f"Against  {replay.by}{f' ({who})' if who else ''}\n")
    rows = []
    for held in replay.held:
        answer = "-" if held.answer is None else str(held.answer)
        if held.answer is not None and held.answer < len(labels):
            answer = labels[held.answer]
        stages = ["-" if held.stages[s] == "unknown" else held.stages[s] for s in STAGES]
        rows.append(
            (held.vector, *stages, "-" if held.steps is None else f"{held.steps:.3g}", answer)
        )
    click.echo(table(("picture", *STAGES, "steps", "answer"), rows, "<<<<<><"))
    click.echo()
    for remark in replay.remarks:
        click.echo(f"Note: {remark}")
    if replay.fault is None:
        click.echo(_praise(found))
        click.echo(f"Next: edgekit benchmark {found.model}")


def _praise(found: Verification) -> str:
    held = found.replay.held
    if all(stage in ("same", "unknown") for each in held for stage in each.stages.values()):
        return f"Right: every byte is the same for {len(held)} pictures."
    worst = max(each.steps or 0.0 for each in held)
    return (
        f"Right for {len(held)} pictures: no score differs by more than {worst:.3g} steps "
        f"({found.replay.tolerance:g} are allowed)."
    )


def _raise_fault(found: Verification) -> None:
    """Ends with exit code 1 where a stage differs, and says what to do about it."""
    from edgekit.errors import NotMetError

    replay, fault = found.replay, found.replay.fault
    if fault is None:
        return
    first = next(held for held in replay.held if held.fault == fault)
    cause = next((replay.causes[h.vector] for h in replay.held if h.vector in replay.causes), None)
    message = f"{found.model}: differs in the stage {fault}: {first.vector}: {first.detail}"
    if cause is not None:
        message += f"; {cause}"
    raise NotMetError(message, _ADVICE[fault])
