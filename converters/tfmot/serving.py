"""The training child: what it does with a request. Started by `engine`, speaks as `exporter` does.

`read -> bridge -> quantize -> rehearse the export -> train -> export`. Events: `bridged` once the
model is known to be one that can be trained, `step` and `epoch`, `trained`, `exported`; or `timed`.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from edgekit import tflite
from edgekit.contract import Contract
from edgekit.converters import exporter
from edgekit.converters.exporter import send
from edgekit.converters.tfmot.recipe import Recipe
from edgekit.errors import NotMetError, UsageError
from edgekit.training import heap


def main() -> int:
    """Serves one request."""
    heap.keep_freed_memory()
    return exporter.main(_serve)


def _serve(request: dict[str, Any], events: TextIO) -> None:
    from edgekit.converters import graph
    from edgekit.converters.tfmot import bridge, loading
    from edgekit.converters.tfmot.training import Trainer

    path, work = Path(request["path"]), Path(request["work"])
    tf_keras, tfmot = loading.import_both()
    twin = bridge.twin_of(
        _read(path, request), Contract.from_dict(request["contract"]), tf_keras, path
    )
    quantized = tfmot.quantization.keras.quantize_model(twin.model)
    contract = dataclasses.replace(twin.contract, output=_rehearse(path, quantized))
    send(events, "bridged", contract=contract.to_dict())

    trainer = Trainer(quantized, tf_keras, contract, Recipe(**request["recipe"]), str(path))
    if request["timed_steps"]:
        send(events, "timed", seconds=trainer.time_steps(request["timed_steps"]))
        return
    sys.stdin.readline()  # the parent writes the pictures once it knows that they are wanted
    train, val = (_load(work, name) for name in ("train", "val"))
    started = time.perf_counter()
    _, float_accuracy = trainer.judge(twin.model, *val)
    accuracy = trainer.run(
        train,
        val,
        on_epoch=lambda **row: send(events, "epoch", **row),
        on_step=lambda done, total: send(events, "step", done=done, total=total),
    )
    send(
        events,
        "trained",
        float_accuracy=float_accuracy,
        trained_accuracy=accuracy,
        seconds=time.perf_counter() - started,
        step_seconds=statistics.median(trainer.step_seconds),
    )
    learned, probe_input = _export(path, quantized)
    graph.save_probe(work / "probe.npz", probe_input, learned.probe)
    (work / "float32.tflite").write_bytes(learned.model)
    send(
        events,
        "exported",
        model=str(work / "float32.tflite"),
        learned={"ranges": learned.ranges, "unlearned": learned.unlearned},
    )


def _read(path: Path, request: dict[str, Any]) -> Any:
    """The Keras model: an image classifier of the contract's size, not quantized yet."""
    from edgekit.converters import graph, keras_loader
    from edgekit.converters.tfmot import loading

    model = keras_loader.load(path, request["kind"], request["modules"])
    if loading.is_wrapped_model(model):
        raise UsageError(
            f"{path}: is wrapped by tensorflow-model-optimization already",
            "Convert it with edgekit convert --int8, or train from the model it was made of.",
        )
    found = graph.open_keras(path, model, tuple(request["size"])).description
    if found["classes"] <= request["last_label"]:
        raise UsageError(
            f"{path}: the model has {found['classes']} outputs, and there is a label "
            f"{request['last_label']}",
            "Labels count from 0. Train the model on these classes first: edgekit train.",
        )
    return model


def _export(path: Path, quantized: Any) -> tuple[Any, Any]:
    """The float file with its ranges, and the input that its probe was made of."""
    from edgekit.converters import graph
    from edgekit.converters.tfmot import learned_ranges

    source = graph.open_keras(path, quantized, None)
    probe_input, _ = source.probe()
    return learned_ranges.separate(source.freeze(path), probe_input, path), probe_input


def _rehearse(path: Path, quantized: Any) -> str:
    """Exports before training: what has no range now would have none after it.

    Returns:
        What the output is: `logits` or `probabilities`.
    """
    learned, _ = _export(path, quantized)
    if learned.unlearned:
        more = f" and {len(learned.unlearned) - 5} more" if len(learned.unlearned) > 5 else ""
        raise NotMetError(
            f"{path}: tensorflow-model-optimization would leave {len(learned.unlearned)} tensor(s) "
            f"in float: {', '.join(learned.unlearned[:5])}{more}",
            "edgekit's own quantization-aware training takes them: leave out --engine tfmot.",
        )
    return tflite.output_meaning(tflite.read(learned.model, str(path))) or "logits"


def _load(work: Path, name: str) -> tuple[Any, Any]:
    """Pictures, mapped into memory, and their labels."""
    pictures = np.load(work / f"{name}_pictures.npy", mmap_mode="r")
    return pictures, np.load(work / f"{name}_labels.npy")
