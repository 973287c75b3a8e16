"""The child process's side of a quantization-aware model: export it, run it. Imports TensorFlow.

`serve` takes over from `edgekit.converters.exporter` once the model is read. Beside the float graph
it gives the ranges, and then, for the photos that the parent has decoded meanwhile, the answers of
the trained model itself. `main` is a child of its own that compares layer by layer; it is started
only where the two don't agree.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from edgekit.converters import exporter, graph
from edgekit.converters.qat import export, twin
from edgekit.converters.qat.parent import INPUTS, INT8, SCORES
from edgekit.errors import UsageError

#: Photos that go through the model at once.
_BATCH = 16


def serve(model: Any, request: dict[str, Any], events: TextIO) -> None:
    """Serves the export of a quantization-aware model.

    Args:
        model: The Keras model.
        request: As the exporter gets it.
        events: Where the parent listens.

    Raises:
        UsageError: Another quantizer was asked for.
    """
    path, work = Path(request["path"]), Path(request["work"])
    if request["stock"]:
        raise UsageError(
            f"{path}: was trained for int8, and --engine tflite would quantize it anew",
            "Leave --engine out.",
        )
    size = tuple(request["size"]) if request["size"] else None
    source = graph.open_keras(path, model, size)
    exporter.send(events, "described", **source.description)
    exported = export.export(model)
    # What rounds nothing is what the float file is held against.
    unrounded = twin.build(exported.model, None, None, str(path))
    graph.save_probe(work / "probe.npz", *dataclasses.replace(source, call=unrounded).probe())
    (work / "float32.tflite").write_bytes(exported.model)
    learned = {"ranges": exported.ranges, "unlearned": [], "answers": True}
    exporter.send(events, "exported", model=str(work / "float32.tflite"), learned=learned)
    if sys.stdin.readline():
        inputs = np.load(work / INPUTS, mmap_mode="r")
        parts = [inputs[i : i + _BATCH] for i in range(0, len(inputs), _BATCH)]
        np.save(work / SCORES, np.concatenate([model(part).numpy() for part in parts]))
        exporter.send(events, "scored")


def main() -> int:
    """Serves one request for the differences by layer."""
    return exporter.main(_serve_layers)


def _serve_layers(request: dict[str, Any], events: TextIO) -> None:
    from edgekit.contract import Contract
    from edgekit.converters import keras_loader
    from edgekit.converters.qat import differences

    path, work = Path(request["path"]), Path(request["work"])
    model = keras_loader.load(path, request["kind"], request["modules"])
    found = differences.by_layer(
        model,
        (work / INT8).read_bytes(),
        np.load(work / INPUTS),
        Contract.from_json(request["contract"], str(path)),
    )
    exporter.send(events, "layers", layers=[dataclasses.asdict(layer) for layer in found])
