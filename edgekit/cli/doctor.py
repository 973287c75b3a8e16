"""`edgekit doctor`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import json_option
from edgekit.cli.progress import ProgressBars

if TYPE_CHECKING:
    from edgekit.doctor import Finding

#: Width of the column of what was looked at; longer names push their line out.
_COLUMN = 24
_MARKS = {"ok": "ok", "note": "note", "missing": "--", "broken": "BROKEN"}


@click.command(
    epilog="""\b
Examples:
  edgekit doctor
  edgekit doctor --for train --for android
  edgekit doctor --on ssh:pi@raspberrypi.local --for edgetpu
  edgekit doctor --json | jq '.findings[] | select(.state != "ok")'

\b
Exit codes: 0 nothing that was asked for is missing or broken; 1 something is, or something that
every verb needs; 2 usage; 4 the device can't be reached; 5 ssh or adb is not installed here.
"""
)
@click.option(
    "--on",
    "device",
    metavar="DEVICE",
    help="Look at a device instead: local, ssh:USER@HOST[:PORT], adb[:SERIAL]. Nothing is "
    "installed there.",
)
@click.option(
    "--for",
    "asked",
    multiple=True,
    metavar="WHAT",
    # Written out, since edgekit.doctor brings more than --help needs; a test compares them.
    help="What it must be good for: a verb, or camera, edgetpu, edgetpu_compiler, gpu, nnapi, "
    "android, ssh, adb, weights, keras2, tfmot; may be given again.",
)
@json_option
def command(device: str | None, asked: tuple[str, ...], as_json: bool) -> int:
    """Say what is installed, what is missing, and the line that mends it.

    Nothing is changed and nothing is downloaded. Python packages are held against what edgekit asks
    for; native libraries are loaded in child processes, where a crash can't hurt.
    """
    from edgekit.doctor import examine

    with ProgressBars(quiet=as_json) as bars:
        findings = examine(device, asked, bars.say)
    faults = [finding for finding in findings if finding.matters(asked)]
    if as_json:
        document = {
            "on": device,
            "for": list(asked),
            "ready": not faults,
            "findings": [finding.to_dict() for finding in findings],
        }
        click.echo(json.dumps(document, ensure_ascii=False))
    else:
        _show(findings, faults, device, asked)
    return 1 if faults else 0


def _show(
    findings: Sequence[Finding],
    faults: Sequence[Finding],
    device: str | None,
    asked: Sequence[str],
) -> None:
    from edgekit.report.table import printable

    for area, those in itertools.groupby(findings, lambda finding: finding.area):
        click.echo(area)
        for finding in those:
            mark = "MISSING" if finding.state == "missing" and finding in faults else None
            line = f"  {mark or _MARKS[finding.state]:<8}{finding.what:<{_COLUMN}}  "
            click.echo(printable(line + finding.detail))
        click.echo()
    where = f", on {device}" if device else ""
    others = [f for f in findings if f.mend is not None and f not in faults]
    _lines(f"To mend{where}:", [f for f in faults if f.mend is not None])
    _lines(f"Worth a look{where}:", [f for f in others if f.state in ("note", "broken")])
    _lines(f"To add, where you need it{where}:", [f for f in others if f.state == "missing"])
    click.echo(_summary(findings, faults, asked))
    click.echo(f"Next: {_next(findings, faults, device, asked)}")


def _lines(title: str, findings: Sequence[Finding]) -> None:
    """The lines that mend, each once, with what they are for."""
    if not findings:
        return
    purposes: dict[str, dict[str, None]] = {}
    for finding in findings:
        assert finding.mend is not None
        what = finding.needed_for if finding.state == "missing" else (finding.what,)
        purposes.setdefault(finding.mend, {}).update(dict.fromkeys(what))
    click.echo(title)
    for mend, names in purposes.items():
        click.echo(f"  # {', '.join(names)}\n  {mend}")
    click.echo()


def _summary(findings: Sequence[Finding], faults: Sequence[Finding], asked: Sequence[str]) -> str:
    goal = ", ".join(asked) or "what every verb needs"
    if faults:
        names = ", ".join(finding.what for finding in faults)
        return f"Not ready for {goal}: {names}."
    counts = {
        state: sum(finding.state == state for finding in findings)
        for state in ("ok", "note", "broken", "missing")
    }
    words = {
        "ok": "{} ok",
        "note": "{} to know",
        "broken": "{} broken, which nothing asked for",
        "missing": "{} missing, which only some verbs need",
    }
    told = ", ".join(words[state].format(count) for state, count in counts.items() if count)
    return f"Ready for {goal}: {told}."


def _next(
    findings: Sequence[Finding],
    faults: Sequence[Finding],
    device: str | None,
    asked: Sequence[str],
) -> str:
    again = " ".join(
        ["edgekit doctor", *([f"--on {device}"] if device else []), *(f"--for {a}" for a in asked)]
    )
    if faults:
        return f"{again}, once that is mended"
    if device is not None:
        return f"edgekit benchmark MODEL --on {device}"
    if asked:
        from edgekit.cli.main import VERBS

        return f"edgekit {asked[0]} --help" if asked[0] in VERBS else "edgekit --help"
    if any(finding.what == "edgekit[convert]" for finding in findings):
        return "edgekit predict model.tflite picture.jpg"
    return "edgekit models create efficientnet_lite0 -o m.keras"
