"""What bias correction and the range percentile are worth, on photos that were not calibrated on.

    python benchmarks/quantization_choices.py lite0.keras lite1.keras lite2.keras --data PHOTOS

Three splits of the photos: every third one calibrates, the others judge. Writes the mean over
models and splits of agreement with float, drop of top-1, and SQNR to
benchmarks/results/quantization_choices.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from edgekit import datasets, tflite
from edgekit.converters import (
    bias_correction,
    calibrate,
    export_float,
    flatbuffer,
    make_options,
    quantize,
    ranges,
    tflite_source,
)
from edgekit.cpus import describe_machine
from edgekit.evaluation.metrics import agreement, sqnr, top_k_accuracy
from edgekit.evaluation.run import run_all

RESULTS = Path(__file__).resolve().parent / "results" / "quantization_choices.json"
PERCENTILES = (100.0, 97.0, 95.0, 90.0)
SPLITS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()

    found: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for path in arguments.models:
        exported = export_float(path)
        contract = exported.contract
        model = flatbuffer.prepare(exported.model, str(path))
        loaded = datasets.load(datasets.find(arguments.data).samples, contract)
        truth = np.array([sample.index for sample in loaded.samples])
        reference = run_all(model, loaded.pictures, contract)
        source, scores_name = tflite_source.end_names(tflite.read(model, str(path)))
        for split in range(SPLITS):
            calibration = loaded.pictures[split::SPLITS]
            judges = np.arange(len(truth)) % SPLITS != split
            observed = calibrate.calibrate(model, calibration, contract).observed
            corrected = bias_correction.correct(model, calibration, contract, str(path))
            for percentile, (name, graph) in itertools.product(
                PERCENTILES, (("plain", model), ("bias correction", corrected))
            ):
                found_ranges = ranges.percentile_ranges(observed, percentile, scores_name)
                converted = quantize.quantize(graph, make_options(), found_ranges, source, contract)
                scores = run_all(converted, loaded.pictures, contract)
                expected, answered = reference[judges], scores[judges]
                drop = top_k_accuracy(expected, truth[judges]) - top_k_accuracy(
                    answered, truth[judges]
                )
                found[f"{name}, percentile {percentile:g}"].append(
                    (
                        agreement(expected.argmax(1), answered.argmax(1)),
                        100 * drop,
                        sqnr(expected, answered),
                    )
                )
            print(f"{path.name}, split {split + 1} of {SPLITS}", flush=True)
    document = {
        "what": f"{', '.join(p.name for p in arguments.models)}; {SPLITS} splits; means",
        "machine": describe_machine(),
        "results": {
            name: {
                "agreement": round(float(np.mean([r[0] for r in rows])), 4),
                "lowest_agreement": round(min(r[0] for r in rows), 4),
                "drop_points": round(float(np.mean([r[1] for r in rows])), 2),
                "sqnr_db": round(float(np.mean([r[2] for r in rows])), 2),
            }
            for name, rows in found.items()
        },
    }
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
