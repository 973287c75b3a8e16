"""Kills a training at random moments, resumes it, and compares what comes out.

    python benchmarks/kill_resume.py ../shared/data/ants_bees
    python benchmarks/kill_resume.py PHOTOS --runs 3 --model mobilenet_v2 --size 96 --epochs 8

One training is left in peace. Each of `--runs` others, with the same settings and empty caches, is
ended by SIGKILL at a random moment: run i within the i-th part of the time that the undisturbed one
took, so that all of it is covered. The moment is told by what the training says, not by the clock,
so that it is the same on a machine that has other things to do; a run that ended before its moment
is made again with an earlier one, and one that was not killed does not count. It is then resumed,
perhaps killed once more, and resumed again.
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
from dataclasses import dataclass, field, replace
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
#: How often a training is begun until it is killed before it ends.
_ATTEMPTS = 5
#: Seconds between two looks at what a training says.
_LOOK = 0.005


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
    undisturbed.run(None)
    times = undisturbed.times
    took = times[-1]
    expected = undisturbed.outcome()
    print(f"undisturbed: {took:.0f} s, {expected['results']}", file=sys.stderr)
    rng, rows = random.Random(arguments.seed), []
    for number in range(arguments.runs):
        moment = _moment(times, (number + rng.random()) / arguments.runs * took)
        row = _disturbed(arguments, folder / str(number), rng, moment, took, expected)
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
        "killed_runs": sum(bool(row["killed"]) for row in rows),
        "equal_bit_for_bit": sum(
            bool(row["killed"]) and row["weights_equal"] and row["history_equal"] for row in rows
        ),
        "equal_results": sum(bool(row["killed"]) and row["results_equal"] for row in rows),
        "broken_files": sum(len(row["broken"]) for row in rows),
    }
    arguments.results.write_text(json.dumps(document, indent=2) + "\n")
    print(json.dumps(document, indent=2))
    sound = document["equal_results"] == arguments.runs and not document["broken_files"]
    return 0 if sound else 1


@dataclass(frozen=True)
class _Moment:
    """When a training is killed: so many seconds after it said so many lines, or as it says more.

    Without lines, the seconds count from its start, and more lines don't matter.
    """

    lines: int | None
    delay: float


def _moment(times: list[float], at: float) -> _Moment:
    """The moment of a training by what it said when, in seconds from its start."""
    lines = sum(time <= at for time in times)
    return _Moment(lines, at - (times[lines - 1] if lines else 0.0))


def _disturbed(
    arguments: argparse.Namespace,
    folder: Path,
    rng: random.Random,
    moment: _Moment,
    took: float,
    expected: dict[str, Any],
) -> dict[str, Any]:
    """One training that is killed, once or more, and resumed."""
    killed: list[str] = []
    broken: list[str] = []
    for attempt in range(_ATTEMPTS):
        training = _Training(arguments, folder.with_name(f"{folder.name}-{attempt}"))
        cut = training.run(replace(moment, delay=moment.delay / 2**attempt))
        if cut is not None:
            break
    while cut is not None:
        killed.append(cut)
        broken += training.broken()
        again = _Moment(None, rng.random() * took) if rng.random() < _AGAIN else None
        cut = training.run(again)
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
    #: When each line was said in the last run, in seconds from its start.
    times: list[float] = field(default_factory=list)

    @property
    def model(self) -> Path:
        return self.folder / "m.keras"

    def run(self, moment: _Moment | None) -> str | None:
        """Starts it, or goes on with it.

        Args:
            moment: When it is killed; None for never.

        Returns:
            Where it was when it was killed, or None where it came to its end.
        """
        resume = self.folder.exists()
        self.folder.mkdir(exist_ok=True)
        settings = [f"--{n}={getattr(self.arguments, n.replace('-', '_'))}" for n in _SETTINGS]
        command = [sys.executable, __file__, str(self.arguments.photos), *settings]
        command += ["--child", str(self.model), *(["--resume"] if resume else [])]
        log, errors = Path(f"{self.folder}.log"), Path(f"{self.folder}.errors")
        self.times.clear()
        began = time.monotonic()
        with log.open("wb") as said, errors.open("wb") as complained:
            process = subprocess.Popen(
                command,
                stdout=said,
                stderr=complained,
                env={**os.environ, "EDGEKIT_CACHE": f"{self.folder}.cache"},
            )
        while process.poll() is None:
            now = time.monotonic() - began
            lines = log.read_text().splitlines()
            self.times.extend([now] * (len(lines) - len(self.times)))
            if moment is not None and self._has_come(moment, now):
                process.send_signal(signal.SIGKILL)
                process.wait()
                return f"after {now:.1f} s: {self._where(log)}"
            time.sleep(_LOOK)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}: {errors.read_text()}")
        return None

    def _has_come(self, moment: _Moment, now: float) -> bool:
        if moment.lines is None:
            return now >= moment.delay
        count = len(self.times)
        since = now - (self.times[moment.lines - 1] if 0 < moment.lines <= count else 0.0)
        return count > moment.lines or (count == moment.lines and since >= moment.delay)

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
