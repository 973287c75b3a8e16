"""Kills a training at random moments, resumes it, and compares what comes out.

    python benchmarks/kill_resume.py ../shared/data/ants_bees
    python benchmarks/kill_resume.py PHOTOS --runs 3 --model mobilenet_v2 --size 96 --epochs 8

One training is left in peace. Each of `--runs` others, with the same settings and empty caches, is
ended by SIGKILL at a random moment: run i within the i-th part of the time that the undisturbed one
took, so that all of it is covered. It is then resumed, perhaps killed once more, and resumed again.
After every kill each file under its final name has to be sound; at the end the losses and
accuracies of every epoch, the results and the weights have to be those of the undisturbed run.
Ends with 1 where they are not. Where a run was killed is told by what it said last: after
`feature extraction, 32 of 32` it may be building the graph of fine-tuning.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from edgekit.cpus import describe_machine
from edgekit.training.checkpoint import Checkpoint
from edgekit.training.hooks import Hooks
from edgekit.training.output import work_folder_of
from edgekit.training.recipe import Recipe
from edgekit.training.train import Job, train

RESULTS = Path(__file__).resolve().parent / "results" / "kill_resume.json"
#: How likely a resumed training is killed again.
_AGAIN = 0.4


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--feature-epochs", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--unfreeze", type=int, default=2)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--resume", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        _train(arguments)
        return 0

    with tempfile.TemporaryDirectory(prefix="edgekit-") as name:
        return _compare(arguments, Path(name))


def _compare(arguments: argparse.Namespace, folder: Path) -> int:
    undisturbed = _Training(arguments, folder / "undisturbed")
    took, _ = undisturbed.run(None)
    expected = undisturbed.outcome()
    print(f"undisturbed: {took:.0f} s, {expected['results']}", file=sys.stderr)
    rng, rows = random.Random(arguments.seed), []
    for number in range(arguments.runs):
        row = _disturbed(
            _Training(arguments, folder / str(number)),
            rng,
            (number + rng.random()) / arguments.runs * took,
            took,
            expected,
        )
        rows.append(row)
        print(f"run {number + 1} of {arguments.runs}: {row}", file=sys.stderr)
    command = [f"--{n} {getattr(arguments, n.replace('-', '_'))}" for n in _SETTINGS]
    document = {
        "command": f"python benchmarks/kill_resume.py PHOTOS --runs {arguments.runs} "
        f"--seed {arguments.seed} {' '.join(command)}",
        "machine": describe_machine(),
        "load_average_at_the_end": [round(load, 1) for load in os.getloadavg()],
        "versions": {
            name: version(name) for name in ("tensorflow", "keras", "numpy", "opencv-python")
        },
        "photos": arguments.photos.name,
        "undisturbed": {"seconds": round(took, 1), **expected},
        "runs": rows,
        "kills": sum(len(row["killed"]) for row in rows),
        "equal_bit_for_bit": sum(row["weights_equal"] and row["history_equal"] for row in rows),
        "equal_results": sum(row["results_equal"] for row in rows),
        "broken_files": sum(len(row["broken"]) for row in rows),
    }
    arguments.results.write_text(json.dumps(document, indent=2) + "\n")
    print(json.dumps(document, indent=2))
    sound = document["equal_results"] == arguments.runs and not document["broken_files"]
    return 0 if sound else 1


def _disturbed(
    training: _Training, rng: random.Random, moment: float, took: float, expected: dict[str, Any]
) -> dict[str, Any]:
    """One training that is killed, once or more, and resumed."""
    killed, broken = [], []
    limit: float | None = moment
    while True:
        seconds, cut = training.run(limit)
        if cut is None:
            break
        killed.append(f"after {seconds:.1f} s: {cut}")
        broken += training.broken()
        limit = rng.random() * took if rng.random() < _AGAIN else None
    outcome = training.outcome()
    return {
        "killed": killed,
        "broken": broken,
        "left_over": training.left_over(),
        "results_equal": outcome["results"] == expected["results"],
        "history_equal": outcome["history"] == expected["history"],
        "weights_equal": outcome["weights"] == expected["weights"],
    }


_SETTINGS = ("model", "weights", "size", "feature-epochs", "epochs", "unfreeze", "views")


@dataclass(frozen=True)
class _Training:
    """A training in processes of its own, with a folder and caches of its own."""

    arguments: argparse.Namespace
    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "m.keras"

    def run(self, limit: float | None) -> tuple[float, str | None]:
        """Starts it, or goes on with it.

        Args:
            limit: After so many seconds it is killed; None for never.

        Returns:
            How many seconds it ran, and where it was when it was killed, or None.
        """
        resume = self.folder.exists()
        self.folder.mkdir(exist_ok=True)
        settings = [f"--{n}={getattr(self.arguments, n.replace('-', '_'))}" for n in _SETTINGS]
        command = [sys.executable, __file__, str(self.arguments.photos), *settings]
        command += ["--child", str(self.model), *(["--resume"] if resume else [])]
        began = time.monotonic()
        with (self.folder.parent / f"{self.folder.name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.PIPE,
                env={**os.environ, "EDGEKIT_CACHE": f"{self.folder}.cache"},
            )
            try:
                _, said = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                return time.monotonic() - began, self._where(Path(log.name))
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}: {said.decode()}")
        return time.monotonic() - began, None

    def _where(self, log: Path) -> str:
        """What it was doing, in words."""
        lines = log.read_text().splitlines()
        where = lines[-1] if lines else "starting"
        if list(work_folder_of(self.model).glob("*.part")):
            where += ", while a checkpoint was being written"
        return where

    def broken(self) -> list[str]:
        """The files under their final names that can't be read."""
        found = []
        keeper = Checkpoint(work_folder_of(self.model))
        try:
            if keeper.exists():
                state, _ = keeper.load()
                if state.best_file is not None:
                    keeper.load_arrays(state.best_file)
            if self.model.exists():
                self.outcome()
        except Exception as error:  # whatever it is, it is what is looked for here
            found.append(f"{type(error).__name__}: {error}")
        return found

    def left_over(self) -> list[str]:
        """What lies beside the outputs and shouldn't."""
        names = {path.name for path in self.folder.iterdir()}
        return sorted(names - {"m.keras", "m.edgekit"})

    def outcome(self) -> dict[str, Any]:
        """What has to be equal."""
        document = json.loads((self.folder / "m.edgekit" / "metrics.json").read_text())
        result = document["results"]["val"]
        return {
            "results": {"top1": result["top1"], "loss": result["negative_log_likelihood"]},
            "history": [
                {name: value for name, value in row.items() if name != "seconds"}
                for row in document["history"]
            ],
            "weights": _digest(self.model),
        }


def _digest(model: Path) -> str:
    """SHA-256 over all weights in a `.keras` file, in hexadecimal."""
    total = hashlib.sha256()

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            total.update(name.encode() + np.ascontiguousarray(item[()]).tobytes())

    with zipfile.ZipFile(model) as archive:
        if archive.testzip() is not None:
            raise ValueError(f"{model}: damaged")
        with archive.open("model.weights.h5") as member, h5py.File(member) as file:
            file.visititems(visit)
    return total.hexdigest()


def _train(arguments: argparse.Namespace) -> None:
    """The training itself; says on stdout where it is."""
    said = ""

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal said
        line = f"{stage}, {done} of {total}" if total else stage
        if line != said:
            print(line, flush=True)
            said = line

    job = Job(
        arguments.photos,
        arguments.child,
        arguments.model,
        None if arguments.weights == "none" else arguments.weights,
        resume=arguments.resume,
    )
    recipe = Recipe(
        size=arguments.size,
        feature_epochs=arguments.feature_epochs,
        epochs=arguments.epochs,
        unfreeze=arguments.unfreeze,
        views=arguments.views,
    )
    train(job, recipe, Hooks(progress=progress))


if __name__ == "__main__":
    sys.exit(main())
