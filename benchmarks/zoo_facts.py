"""Counts what the models of the zoo compute: edgekit/advisor/zoo.csv.

    nice python benchmarks/zoo_facts.py

Needs edgekit[train] and scipy; builds each model of the zoo once, with random weights. Family,
input, MACs and parameters are the catalogue's (tests/test_zoo.py holds those against the models),
and the MACs are held against the count here. Activations are counted as benchmarks/latency_fit.py
does, which the rates of the latency were fitted with; of transformers, whose operations that count
doesn't know, it is what every operation writes, a normalization counted as one. The size in int8 is
the one that benchmarks/zoo_table.py measured. The columns from `ops` on are kept as they are; a new
model gets empty ones, to be filled in by hand.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from pathlib import Path

import keras
from latency_fit import count

from edgekit.files import write_all
from edgekit.training import zoo

HERE = Path(__file__).resolve().parent
MEASURED = HERE / "results" / "zoo.json"
FACTS = HERE.parent / "edgekit" / "advisor" / "zoo.csv"
COLUMNS = (
    *("name", "family", "input", "macs", "parameters", "activations", "features"),
    *("int8_mib", "weights", "ops", "top1_percent", "top1_of", "source"),
)
TRANSFORMERS = ("ViT", "Swin")
#: Views of what is there already.
FREE = frozenset({"InputLayer", "Reshape", "Flatten", "Dropout", "Permute", "Transpose"})
MOST_OFF = 0.01


def main() -> int:
    known: dict[str, dict[str, str]] = {}
    if FACTS.exists():
        with FACTS.open(encoding="utf-8") as file:
            known = {row["name"]: row for row in csv.DictReader(file)}
    measured = json.loads(MEASURED.read_text("utf-8"))["models"]
    rows = []
    for entry in zoo.CATALOGUE.values():
        model = zoo.build(entry.name, weights=None)[0]
        if entry.family in TRANSFORMERS:
            activations = written(model)
        else:
            work = count(model)
            activations = work.activations
            if abs(work.macs / entry.macs - 1) > MOST_OFF:
                print(f"{entry.name}: {work.macs:,} MACs counted, {entry.macs:,} in the catalogue")
                return 1
        features = int(model.get_layer("logits").input.shape[-1])
        keras.backend.clear_session()
        row = dict.fromkeys(COLUMNS, "") | known.get(entry.name, {})
        row |= {
            "name": entry.name,
            "family": entry.family,
            "input": str(entry.size),
            "macs": str(entry.macs),
            "parameters": str(entry.parameters),
            "activations": str(activations),
            "features": str(features),
            "int8_mib": str(measured[entry.name]["int8_mib"]),
            "weights": "" if entry.weights is None else str(entry.weights),
        }
        rows.append(row)
        print(f"{entry.name}: {entry.macs:,} MACs, {activations:,} activations", flush=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_all({FACTS: text.getvalue().encode()})
    return 0


def written(model: keras.Model) -> int:
    """Elements that all operations of a model write, those outside of layers included."""
    total = 0
    for operation in model.operations:
        if type(operation).__name__ not in FREE:
            for tensor in keras.tree.flatten(operation.output):
                total += math.prod(int(size) for size in tensor.shape[1:])
    return total


if __name__ == "__main__":
    sys.exit(main())
