"""What `edgekit tune` finds in an hour, next to the default of `edgekit train`.

    python benchmarks/tune.py PHOTOS --time-budget 1h

Runs `edgekit tune` in a new study, then the line it printed, then `edgekit train` with its default
recipe, each in a process of its own. The accuracies compared are those of the two trainings, not
of the trials; that the line gives its trial's accuracy again is written down too. Where PHOTOS has
a `test/`, which no trial has seen, its accuracy is in there as well.
Writes benchmarks/results/tune.json.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from edgekit.cpus import describe_machine
from edgekit.version import __version__

RESULTS = Path(__file__).resolve().parent / "results" / "tune.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--time-budget", default="1h")
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    photos, model = str(asked.photos.resolve()), ["--model", asked.model]
    seed = ["--seed", str(asked.seed)]
    with tempfile.TemporaryDirectory() as folder:
        budget = ["--time-budget", asked.time_budget]
        found = _run("tune", photos, *model, *seed, *budget, "-o", "t.tune.db", folder=folder)
        best = _run(*shlex.split(found["command"])[1:], folder=folder)
        default = _run("train", photos, *model, *seed, "-o", "default.keras", folder=folder)
    trial = found["best"]
    document = {
        "machine": describe_machine(),
        "edgekit": __version__,
        "data": asked.photos.name,
        "time_budget": asked.time_budget,
        "counts": found["counts"],
        "trial": {key: trial[key] for key in ("number", "name", "accuracy", "epochs", "seconds")},
        "best": _summary(best),
        "default": _summary(default),
        "reproduced": best["results"]["val"]["top1"] == trial["accuracy"],
        "importances": found["importances"],
        "seconds": found["took"],
    }
    document["best"]["recipe"] = best["recipe"]
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=2))


def _run(*arguments: str, folder: str) -> dict[str, Any]:
    """What `edgekit ARGUMENTS --json` prints; its progress passes to stderr."""
    print(f"edgekit {shlex.join(arguments)}", file=sys.stderr, flush=True)
    began = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-m", "edgekit", *arguments, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=folder,
    )
    return {**json.loads(run.stdout), "took": time.monotonic() - began}


def _summary(training: dict[str, Any]) -> dict[str, Any]:
    accuracies = {split: result["top1"] for split, result in training["results"].items()}
    return {"top1": accuracies, "seconds": training["took"]}


if __name__ == "__main__":
    main()
