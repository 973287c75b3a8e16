"""What it costs to calibrate on procedural images instead of photos.

    python benchmarks/procedural.py lite0.keras lite1.keras lite2.keras --data PHOTOS

Converts each model without photos, and judges the files on all photos. Writes
benchmarks/results/procedural.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import edgekit
from edgekit.cpus import describe_machine

RESULTS = Path(__file__).resolve().parent / "results" / "procedural.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()

    results = {}
    for path in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "procedural.tflite"
            edgekit.convert(path, output, "int8")
            found = edgekit.evaluate([path, output], arguments.data).to_dict()
        reference, converted = found["models"]
        results[path.name] = {
            "photos": found["images"],
            "float_top1": round(reference["accuracy"]["top1"], 4),
            "int8_top1": round(converted["accuracy"]["top1"], 4),
            "agreement": round(converted["agreement"], 4),
            "sqnr_db": round(converted["sqnr_db"], 2),
        }
        print(path.name, results[path.name], flush=True)
    document = {"machine": describe_machine(), "results": results}
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
