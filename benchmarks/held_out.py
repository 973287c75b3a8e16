"""How good `edgekit convert --int8` is on photos it was not calibrated on.

    python benchmarks/held_out.py lite0.keras lite1.keras lite2.keras --data PHOTOS --samples 100

Calibrates on `--samples` of the photos, judges on the others, and writes
benchmarks/results/held_out.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from peers.compare_convert import split

import edgekit
from edgekit.cpus import describe_machine

RESULTS = Path(__file__).resolve().parent / "results" / "held_out.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=100)
    arguments = parser.parse_args()

    results = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        judges = work / "judges"
        judges.mkdir()
        for sample in split(arguments.data, work / "calibration", arguments.samples):
            (judges / sample.path.name).symlink_to(sample.path.resolve())
        for path in arguments.models:
            output = work / f"{path.stem}.tflite"
            conversion = edgekit.convert(path, output, "int8", data=work / "calibration")
            everything = edgekit.evaluate(path, arguments.data).to_dict()["models"][0]
            reference, converted = edgekit.evaluate([path, output], judges).to_dict()["models"]
            results[path.name] = {
                "float_top1_on_all": round(everything["accuracy"]["top1"], 4),
                "float_top1": round(reference["accuracy"]["top1"], 4),
                "int8_top1": round(converted["accuracy"]["top1"], 4),
                "agreement": round(converted["agreement"], 4),
                "sqnr_db": round(converted["sqnr_db"], 2),
                "float_mib": round(reference["size_bytes"] / 2**20, 2),
                "int8_mib": round(converted["size_bytes"] / 2**20, 2),
                "float_ms": round(reference["latency"]["median_ms"], 2),
                "int8_ms": round(converted["latency"]["median_ms"], 2),
                "seconds_to_convert": round(sum(conversion.seconds.values()), 1),
            }
            print(path.name, results[path.name], flush=True)
    drops = [100 * (r["float_top1"] - r["int8_top1"]) for r in results.values()]
    document = {
        "calibrated_on": arguments.samples,
        "mean_drop_points": round(sum(drops) / len(drops), 2),
        "machine": describe_machine(),
        "results": results,
    }
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")
    print(f"mean drop {document['mean_drop_points']} points")


if __name__ == "__main__":
    main()
