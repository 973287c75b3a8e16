"""How far the memory that `edgekit inspect --target` tells is off, against what a process takes.

    python benchmarks/memory.py

Models of the zoo are created with random weights, converted, and run by `edgekit benchmark` on this
machine; and, for what large pictures take, a MobileNetV2 whose features are enlarged to 513 x 513,
as DeepLab's are. What a model took is the most memory that its process had, less that of a process
with a model of one layer, and less the copies of inputs and outputs that the benchmark itself
keeps: so the runtime is left out, as in the estimate. Needs edgekit[train] and the native binary
(`make native`). Writes benchmarks/results/memory.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

from edgekit import targets, tflite
from edgekit.cpus import describe_machine

RESULTS = Path(__file__).resolve().parent / "results" / "memory.json"
MODELS = (
    ("mobilenet_v2", "int8"),
    ("mobilenet_v3_small", "int8"),
    ("efficientnet_lite0", "int8"),
    ("efficientnet_lite0", "float32"),
    ("resnet50", "int8"),
)
ENLARGED = "mobilenet_v2_enlarged"
TARGET = "x86_64"
#: A round as short as it can be: the samples that a long one keeps would count as the model's.
BENCHMARK = ("--rounds", "3", "--min-time", "1ms", "--warm-up", "1ms", "--max-time", "1ms")
MIB = 1 << 20


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        base = peak_rss(one_layer(work))
        rows = [row(of_zoo(name, work), precision, base) for name, precision in MODELS]
        rows.append(row(enlarged(work), "int8", base, "--preprocess", "raw"))
    document = {
        "what": "estimated and measured memory of a model, MiB, the runtime left out",
        "machine": describe_machine(),
        "versions": {name: version(name) for name in ("ai-edge-litert", "tensorflow", "keras")},
        "command": "python benchmarks/memory.py",
        "benchmark": " ".join(BENCHMARK),
        "base_mib": round(base / MIB, 2),
        "models": rows,
    }
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def one_layer(work: Path) -> Path:
    layers = keras.layers
    inputs = keras.Input((8, 8, 3))
    outputs = layers.Dense(2)(layers.GlobalAveragePooling2D()(inputs))
    keras.Model(inputs, outputs).save(work / "base.keras")
    return convert(work / "base.keras", "int8", "--preprocess", "raw")


def of_zoo(name: str, work: Path) -> Path:
    source = work / f"{name}.keras"
    edgekit("models", "create", name, "--weights", "none", "-o", source, "--force")
    return source


def enlarged(work: Path) -> Path:
    """With a pooling at the end, for only classifiers are converted."""
    layers = keras.layers
    features = keras.applications.MobileNetV2(
        input_shape=(513, 513, 3), alpha=0.5, include_top=False, weights=None
    )
    scores = layers.Resizing(513, 513, interpolation="bilinear")(
        layers.Conv2D(21, 1)(features.output)
    )
    outputs = layers.Dense(2)(layers.GlobalAveragePooling2D()(scores))
    source = work / f"{ENLARGED}.keras"
    keras.Model(features.input, outputs).save(source)
    return source


def row(source: Path, precision: str, base: int, *options: str) -> dict[str, Any]:
    path = convert(source, precision, *options)
    target = targets.find(TARGET)
    model = tflite.read(path.read_bytes(), str(path))
    memory = targets.memory_of(model, targets.place(model, target), target)
    taken = peak_rss(path) - base - ends(model)
    found = {
        "model": source.stem,
        "precision": precision,
        "activations_mib": round(memory.activation_bytes / MIB, 2),
        "parameters_mib": round(memory.parameter_bytes / MIB, 2),
        "quantization_mib": round(memory.quantization_bytes / MIB, 2),
        "packed_mib": round(memory.packed_bytes / MIB, 2),
        "indirection_mib": round(memory.indirection_bytes / MIB, 2),
        "estimated_mib": round(memory.needed_bytes / MIB, 2),
        "measured_mib": round(taken / MIB, 2),
        "error": round(memory.needed_bytes / taken - 1, 3),
    }
    print(found, flush=True)
    return found


def convert(source: Path, precision: str, *options: str) -> Path:
    output = source.with_name(f"{source.stem}-{precision}.tflite")
    edgekit("convert", source, f"--{precision}", "-o", output, *options)
    return output


def ends(model: tflite.Model) -> int:
    """Bytes of all inputs and outputs; the benchmark keeps both beside those of the runtime."""
    graph = model.main
    return sum(graph.tensors[index].byte_size for index in (*graph.inputs, *graph.outputs))


def peak_rss(model: Path) -> int:
    """Bytes; the most of all rounds."""
    document = json.loads(edgekit("benchmark", model, *BENCHMARK, "--no-remember", "--json"))
    rounds = document["cells"][0]["rounds"]
    return max(int(one["context"]["peak_rss_bytes"]) for one in rounds)


def edgekit(*arguments: object) -> str:
    command = [sys.executable, "-m", "edgekit", *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    main()
