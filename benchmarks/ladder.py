"""What each rung of the accuracy ladder brings, on photos that it was not fitted to.

    python benchmarks/ladder.py lite0.keras lite1.keras lite2.keras --data PHOTOS
    python benchmarks/ladder.py lite0.keras --data PHOTOS --per-tensor

A third of the photos calibrates, the others judge (`--splits` takes other thirds as well). All
rungs without training are climbed, whatever they keep, each from the best before it, as `edgekit
convert --max-drop` does. Writes benchmarks/results/ladder.json, or ladder_per_tensor.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import datasets
from edgekit.converters import calibrate, export_float, flatbuffer, lowering, make_options
from edgekit.converters.ladder import Judges, Promise, Promised, climb
from edgekit.converters.rungs.draft import Material
from edgekit.converters.stopwatch import Stopwatch
from edgekit.cpus import describe_machine
from edgekit.evaluation.paired import Paired, limits

FOLDER = Path(__file__).resolve().parent / "results"
RUNGS = ("equalization", "ranges", "bias", "rounding")
THIRDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--per-tensor", action="store_true")
    parser.add_argument("--splits", type=int, default=1, choices=(1, 2, 3))
    asked = parser.parse_args()

    options = make_options(granularity="tensor" if asked.per_tensor else "channel")
    results: dict[str, Any] = {}
    for path in asked.models:
        exported = export_float(path)
        contract = exported.contract
        model = lowering.lower(flatbuffer.prepare(exported.model, str(path)), str(path))
        loaded = datasets.load(datasets.find(asked.data).samples, contract)
        truth = np.array([sample.index for sample in loaded.samples], np.int64)
        for split in range(asked.splits):
            fitted = np.arange(len(truth)) % THIRDS == split
            calibrated = calibrate.calibrate(model, loaded.pictures[fitted], contract)
            material = Material(loaded.pictures[fitted], calibrated.scores, contract, path.name)
            # Nothing keeps this promise, so every rung is climbed.
            promised = Promised(Promise(min_agreement=100.0), RUNGS)
            climbed = climb(
                promised,
                model,
                calibrated,
                material,
                Judges(loaded.pictures[~fitted], truth[~fitted]),
                options,
                "",
                Stopwatch(None),
                lambda best: None,
                None,
            )
            steps = [step.to_dict() for step in climbed.steps]
            results[f"{path.name}, third {split + 1}"] = steps
            for step in steps:
                print(path.name, split, step["rung"], {k: step[k] for k in _SHOWN}, flush=True)
    document = {
        "what": f"{asked.data.name}: a third calibrates, two judge; each rung from the best before",
        "weights": "one scale for each tensor" if asked.per_tensor else "a scale for each channel",
        "machine": describe_machine(),
        "plain": _mean(results, first=True),
        "ladder": _mean(results, first=False),
        "results": results,
    }
    target = FOLDER / ("ladder_per_tensor.json" if asked.per_tensor else "ladder.json")
    target.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({key: document[key] for key in ("plain", "ladder")}, indent=2))


_SHOWN = ("top1", "drop", "agreement", "sqnr_db", "adopted", "seconds")


def _mean(results: dict[str, Any], *, first: bool) -> dict[str, Any]:
    """Means over models and splits, of the first rung or of the last that was adopted.

    The interval is of the drop over all of their images together, two-sided 95 %.
    """
    chosen = []
    for steps in results.values():
        adopted = [step for step in steps if step.get("adopted")]
        chosen.append(adopted[0] if first else adopted[-1])
    images = sum(step["images"] for step in chosen)
    lost, won = (sum(step[key] for step in chosen) for key in ("lost", "won"))
    low, high = limits(Paired(images, lost, won), 0.975)
    return {
        "drop_points": round(100 * float(np.mean([step["drop"] for step in chosen])), 2),
        "interval_points": [round(100 * low, 2), round(100 * high, 2)],
        "agreement": round(float(np.mean([step["agreement"] for step in chosen])), 4),
        "sqnr_db": round(float(np.mean([step["sqnr_db"] for step in chosen])), 2),
        "rungs": [step["rung"] for step in chosen],
    }


if __name__ == "__main__":
    main()
