"""What `edgekit tune` finds in an hour, next to the default of `edgekit train`.

    python benchmarks/tune.py PHOTOS --time-budget 1h
    python benchmarks/tune.py PHOTOS --time-budget 1h --retrain

Runs `edgekit tune`, whose first trial is the default, and writes down all trials. With --retrain it
runs the line that was printed too, and `edgekit train` with its default recipe, each in a process
of its own: whether they give the trials' accuracies again, and what they give on a `test/` of
PHOTOS, which no trial has seen. Writes benchmarks/results/tune.json.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgekit.cpus import describe_machine

RESULTS = Path(__file__).resolve().parent / "results" / "tune.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--time-budget", default="1h")
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, help="end after so many")
    parser.add_argument("-o", "--output", type=Path, help="keep the study there, or go on with it")
    parser.add_argument("--retrain", action="store_true")
    asked = parser.parse_args()
    photos = str(asked.photos.resolve())
    how = ["--model", asked.model, "--seed", str(asked.seed)]
    with tempfile.TemporaryDirectory() as folder:
        study = (asked.output or Path(folder) / "t.tune.db").resolve()
        end = ["--time-budget", asked.time_budget]
        end += ["--trials", str(asked.trials)] if asked.trials else []
        found = _run("tune", photos, *how, *end, "-o", str(study), folder=folder)
        document = _document(asked, found)
        if asked.retrain:
            best = _run(*shlex.split(found["command"])[1:], folder=folder)
            default = _run("train", photos, *how, "-o", "default.keras", folder=folder)
            document["retrained"] = {"best": _summary(best), "default": _summary(default)}
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=2))


def _document(asked: argparse.Namespace, found: dict[str, Any]) -> dict[str, Any]:
    told = ("number", "name", "state", "accuracy", "val_loss", "epochs", "seconds")
    best, default = found["best"], found["default"]
    return {
        "what": f"{asked.photos.name}: the default recipe of {asked.model} next to the best of "
        f"edgekit tune --time-budget {asked.time_budget}; accuracy on the validation pictures",
        "machine": describe_machine(),
        "versions": {name: version(name) for name in ("tensorflow", "keras", "optuna")},
        "images": found["images"],
        "default_accuracy": default["accuracy"],
        "best_accuracy": best["accuracy"],
        "best": best["name"],
        "best_settings": best["settings"],
        "trials": [{key: trial[key] for key in told} for trial in found["trials"]],
        "importances": found["importances"],
    }


def _run(*arguments: str, folder: str) -> dict[str, Any]:
    """What `edgekit ARGUMENTS --json` prints; its progress passes to stderr."""
    print(f"edgekit {shlex.join(arguments)}", file=sys.stderr, flush=True)
    run = subprocess.run(
        [sys.executable, "-m", "edgekit", *arguments, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=folder,
    )
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def _summary(training: dict[str, Any]) -> dict[str, Any]:
    accuracies = {split: result["top1"] for split, result in training["results"].items()}
    return {"top1": accuracies, "seconds": sum(training["seconds"].values())}


if __name__ == "__main__":
    main()
