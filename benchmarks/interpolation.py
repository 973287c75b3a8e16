"""What the bit-exact resampling costs next to bicubic, which the models were trained with.

    python benchmarks/interpolation.py lite0.keras lite1.keras lite2.keras --data PHOTOS

Writes top-1 of the float models, and agreement with bicubic, to
benchmarks/results/interpolation.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

from edgekit import datasets
from edgekit.contract import INTERPOLATIONS
from edgekit.converters import export_float
from edgekit.cpus import describe_machine
from edgekit.evaluation.metrics import agreement, top_k_accuracy
from edgekit.evaluation.run import run_all

RESULTS = Path(__file__).resolve().parent / "results" / "interpolation.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()

    results: dict[str, dict[str, object]] = {}
    for path in arguments.models:
        exported = export_float(path)
        samples = datasets.find(arguments.data).samples
        scores = {}
        for interpolation in INTERPOLATIONS:
            contract = dataclasses.replace(exported.contract, interpolation=interpolation)
            loaded = datasets.load(samples, contract)
            scores[interpolation] = run_all(exported.model, loaded.pictures, contract)
        truth = np.array([sample.index for sample in loaded.samples])
        results[path.name] = {
            name: {
                "top1": round(top_k_accuracy(found, truth), 4),
                "agreement_with_cubic": round(
                    agreement(scores["cubic"].argmax(1), found.argmax(1)), 4
                ),
            }
            for name, found in scores.items()
        }
    document = {"photos": len(truth), "machine": describe_machine(), "results": results}
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
