"""Every model of the zoo against every target with an accelerator: which share of it maps.

    python benchmarks/placement_table.py                       # what is missing
    python benchmarks/placement_table.py --only mobilenet_v2 --again

Each model is created with random weights and converted to int8, in a process of its own: where its
ops run depends on neither weights nor photos. It is converted for each target, so what an
accelerator doesn't take is rewritten where that can be done. Results are kept in
benchmarks/results/placement.json as they come, and the table in docs/targets.md is written from
there.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgekit import targets, tflite
from edgekit.converters import convert, make_options
from edgekit.cpus import describe_machine
from edgekit.files import write_all
from edgekit.training import zoo

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "placement.json"
DOCUMENT = HERE.parent / "docs" / "targets.md"
BEGIN = "<!-- The table: written by benchmarks/placement_table.py. -->"
END = "<!-- End of the table. -->"
PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "litert-quantizer")
TARGETS = ("coral_usb", "android_gpu", "android_nnapi@30", "android_nnapi@29")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--again", action="store_true", help="what is there already, too")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(examine(arguments.one)))
        return 0
    models = json.loads(RESULTS.read_text())["models"] if RESULTS.exists() else {}
    for name in zoo.CATALOGUE:
        if arguments.only and name not in arguments.only:
            continue
        if name in models and not arguments.again:
            continue
        run = subprocess.run(
            [sys.executable, __file__, "--one", name], stdout=subprocess.PIPE, text=True
        )
        if run.returncode:
            return run.returncode
        models[name] = json.loads(run.stdout.splitlines()[-1])
        write(models)
        print(name, {target: placed["ops"] for target, placed in models[name].items()}, flush=True)
    write(models)
    return 0


def examine(name: str) -> dict[str, Any]:
    """target -> what of a model maps there, and what not."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        photos = work / "photos"
        photos.mkdir()
        noise = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), np.uint8)
        for number, picture in enumerate(noise):
            cv2.imwrite(str(photos / f"{number}.png"), picture)
        source = zoo.create(name, work / "m.keras", weights=None)
        made: dict[str, tflite.Model] = {}  # no model of the zoo is rewritten by API level
        for wanted in TARGETS:
            accelerator = _accelerator(wanted)
            if accelerator not in made:
                output = work / f"{accelerator}.tflite"
                options = make_options("int8", target=wanted)
                convert(source, output, options=options, data=photos, golden_vectors="none")
                made[accelerator] = tflite.read(output.read_bytes(), name)
    found = {}
    for wanted in TARGETS:
        placement = targets.place(made[_accelerator(wanted)], targets.find(wanted))
        taken = len(placement.ops) - len(placement.left)
        found[wanted] = {
            "ops": f"{taken} of {len(placement.ops)}",
            "mac_share": round(placement.mac_share, 4),
            "partitions": placement.partitions,
            "parameter_mib": round(placement.parameter_bytes / (1 << 20), 2),
            "streamed_mib": round(placement.streamed_bytes / (1 << 20), 2),
            "stays": [f"{n} x {op} {reason}" for op, reason, _, n in placement.causes()],
        }
    return found


def _accelerator(wanted: str) -> str:
    accelerator = targets.find(wanted).accelerator
    assert accelerator is not None
    return accelerator.name


def write(models: dict[str, Any]) -> None:
    ordered = {name: models[name] for name in zoo.CATALOGUE if name in models}
    document = {
        "what": "which share of each int8 model of the zoo is predicted to map, by target",
        "command": "python benchmarks/placement_table.py",
        "machine": describe_machine(),
        "versions": {package: version(package) for package in PACKAGES},
        "date": datetime.date.today().isoformat(),
        "models": ordered,
    }
    lines = [
        "| model | " + " | ".join(TARGETS) + " | because of |",
        "|---|" + "---|" * (len(TARGETS) + 1),
    ]
    for name, placed in ordered.items():
        cells = [cell(placed[target]) for target in TARGETS]
        first = placed[TARGETS[0]]["stays"]
        why = first[0] + (f", {len(first) - 1} more" if len(first) > 1 else "") if first else ""
        lines.append(f"| {name} | {' | '.join(cells)} | {why} |")
    text = DOCUMENT.read_text("utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    table = "\n".join((BEGIN, *lines, END))
    write_all(
        {
            RESULTS: (json.dumps(document, indent=1) + "\n").encode(),
            DOCUMENT: f"{before}{table}{after}".encode(),
        }
    )


def cell(placed: dict[str, Any]) -> str:
    """The share of MACs; whole where every op maps."""
    taken, _, total = placed["ops"].partition(" of ")
    streamed = f", {placed['streamed_mib']:g} MiB streamed" if placed["streamed_mib"] else ""
    if taken == total:
        return f"whole{streamed}"
    return f"{placed['mac_share']:.0%} ({placed['ops']} ops){streamed}"


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(main())
