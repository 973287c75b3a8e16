"""Times `edgekit convert --int8` against the stock script, in turn, as whole processes.

    python benchmarks/peers/compare_convert.py MODEL.keras PHOTOS --samples 200 --runs 5

The first `--samples` photos (chosen evenly) are calibrated on, the others judge both files next to
the float model. Prints the ratios and writes them with the machine to
benchmarks/results/convert_vs_stock.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from edgekit import datasets
from edgekit.converters import export_float
from edgekit.cpus import describe_machine
from edgekit.evaluation.metrics import agreement, sqnr, top_k_accuracy
from edgekit.evaluation.run import run_all

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "convert_vs_stock.json"


@dataclasses.dataclass(frozen=True)
class Run:
    """One whole process.

    Attributes:
        seconds: Wall time.
        largest_mib: Peak resident memory of the largest process of its tree, in MiB.
        together_mib: Peak of the sum over the process tree (sampled every 20 ms), in MiB.
    """

    seconds: float
    largest_mib: float
    together_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        judges = split(arguments.photos, work / "calibration", arguments.samples)
        outputs = {"edgekit": work / "edgekit.tflite", "stock": work / "stock.tflite"}
        commands = {
            "edgekit": [
                *(sys.executable, "-m", "edgekit", "convert", "--int8", str(arguments.model)),
                *("--data", str(work / "calibration"), "--samples", str(arguments.samples)),
                *("-o", str(outputs["edgekit"]), "--force"),
            ],
            "stock": [
                *(sys.executable, str(HERE / "stock_int8.py"), str(arguments.model)),
                *(str(work / "calibration"), str(outputs["stock"])),
                *("--samples", str(arguments.samples)),
            ],
        }
        runs: dict[str, list[Run]] = {name: [] for name in commands}
        for number in range(arguments.runs + 1):
            for name, command in commands.items():
                run = measure(command)
                print(f"{name:8s} {run.seconds:6.2f} s {run.largest_mib:7.0f} MiB", flush=True)
                if number:  # the first of each warms the file cache
                    runs[name].append(run)
        document = {
            "what": f"convert {arguments.model.name} to int8 with {arguments.samples} photos",
            "machine": describe_machine(),
            "versions": {
                p: version(p)
                for p in ("tensorflow", "keras", "ai-edge-litert", "litert-quantizer", "numpy")
            },
            "command": "python benchmarks/peers/compare_convert.py MODEL PHOTOS "
            f"--samples {arguments.samples} --runs {arguments.runs}",
            "runs": {n: [dataclasses.asdict(run) for run in rs] for n, rs in runs.items()},
            "ratios": ratios(runs),
            "quality": quality(arguments.model, judges, outputs),
        }
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")
    print(json.dumps({k: document[k] for k in ("ratios", "quality")}, indent=2))


def split(photos: Path, calibration: Path, samples: int) -> list[datasets.Sample]:
    """Copies the calibration photos to a folder of their own; returns the others."""
    found = datasets.find(photos).samples
    chosen = datasets.select(found, samples)
    calibration.mkdir()
    for sample in chosen:
        shutil.copy(sample.path, calibration / sample.path.name)
    return [sample for sample in found if sample not in set(chosen)]


def measure(command: list[str]) -> Run:
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        watcher = _TreeWatcher(process.pid)
        watcher.start()
        code = process.wait()
        seconds = time.perf_counter() - start
        watcher.stop()
    if code != 0:
        sys.exit(f"{command} ended with {code}")
    return Run(seconds, watcher.largest / 1024, watcher.together / 1024)


class _TreeWatcher(threading.Thread):
    """Samples the memory of a process and all below it, in KiB, from /proc."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root, self._ended = pid, threading.Event()
        self.largest = self.together = 0

    def run(self) -> None:
        while not self._ended.wait(0.02):
            current, peaks = zip(*map(_memory, _tree(self._root)), strict=True)
            self.together = max(self.together, sum(current))
            self.largest = max(self.largest, *peaks)

    def stop(self) -> None:
        self._ended.set()
        self.join()


def _tree(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for parent in found:
        try:
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        except OSError:
            continue
        found.extend(int(child) for child in children)
    return found


def _memory(pid: int) -> tuple[int, int]:
    """(resident, peak resident) of a process, in KiB; zeros once it has ended."""
    values = {"VmRSS": 0, "VmHWM": 0}
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in values:
                values[name] = int(rest.split()[0])
    except OSError:
        pass
    return values["VmRSS"], values["VmHWM"]


def ratios(runs: dict[str, list[Run]]) -> dict[str, dict[str, float]]:
    """edgekit / stock, pair by pair: each pair ran one after the other."""
    result = {}
    for field in ("seconds", "largest_mib", "together_mib"):
        pairs = [
            getattr(a, field) / getattr(b, field)
            for a, b in zip(runs["edgekit"], runs["stock"], strict=True)
        ]
        result[field] = {
            "min": round(min(pairs), 3),
            "median": round(statistics.median(pairs), 3),
            "max": round(max(pairs), 3),
        }
    return result


def quality(
    model: Path, judges: list[datasets.Sample], outputs: dict[str, Path]
) -> dict[str, object]:
    """Both files next to the float model, on the photos that neither was calibrated on."""
    exported = export_float(model)
    loaded = datasets.load(judges, exported.contract)
    truth = np.array([sample.index for sample in loaded.samples])
    reference = run_all(exported.model, loaded.pictures, exported.contract)
    result: dict[str, object] = {
        "photos": len(truth),
        "float": {"top1": round(top_k_accuracy(reference, truth), 4)},
    }
    for name, path in outputs.items():
        scores = run_all(path.read_bytes(), loaded.pictures, exported.contract)
        result[name] = {
            "top1": round(top_k_accuracy(scores, truth), 4),
            "agreement": round(agreement(reference.argmax(1), scores.argmax(1)), 4),
            "sqnr_db": round(sqnr(reference, scores), 2),
        }
    return result


if __name__ == "__main__":
    main()
