"""What the tests of quantization-aware training share: float graphs and the int8 files of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import images
from edgekit.contract import Contract
from edgekit.converters import calibrate, lowering, procedural, quantize, reading, tflite_source
from edgekit.converters.options import Options
from edgekit.converters.qat import parity
from edgekit.converters.ranges import Ranges
from edgekit.converters.rungs import draft
from edgekit.converters.rungs.draft import Material
from edgekit.evaluation.run import run_all
from edgekit.tflite import read

_CALIBRATION, _JUDGING = 12, 24


@dataclass(frozen=True)
class Quantized:
    """A model as float graph and as int8 file.

    Attributes:
        model: The float graph.
        int8: The file made from it.
        ranges: Of its activations.
        contract: How pictures become its input.
        pictures: uint8[N, h, w, 3] to judge by.
        base: The float graph as it was before it was prepared for rounding.
    """

    model: bytes
    int8: bytes
    ranges: Ranges
    contract: Contract
    pictures: images.Picture
    base: bytes

    @property
    def inputs(self) -> np.ndarray:
        """The pictures as float32 input."""
        return images.to_input(self.pictures, self.contract, np.float32)

    @property
    def step(self) -> float:
        """The scale of the int8 output."""
        graph = read(self.int8, "int8").main
        return float(graph.tensors[graph.outputs[0]].scale)


def contract(size: int, output: str = "logits", labels: tuple[str, ...] | None = None) -> Contract:
    """Pixels to -1..1."""
    return Contract(size, size, (127.5,) * 3, (127.5,) * 3, labels=labels, output=output)


def write(
    model: Any, path: Path, output: str = "logits", labels: tuple[str, ...] | None = None
) -> Path:
    """Saves a Keras model with a contract."""
    from edgekit.training import keras_file

    model.save(path)
    _, height, width, _ = model.input_shape
    how = dataclasses.replace(contract(height, output, labels), width=width)
    keras_file.add_contract(path, how)
    return path


def quantized(path: Path, photos: Path | None = None) -> Quantized:
    """Exports, calibrates and quantizes a model file, on photos or on procedural pictures."""
    exported, count = reading.export_float(path), _CALIBRATION + _JUDGING
    how = exported.contract
    if photos is None:
        pictures = procedural.images(how.height, how.width, 5, count)
    else:
        files = sorted(photos.rglob("*.png"))
        chosen = np.random.default_rng(0).permutation(len(files))[:count]
        pictures = np.stack([images.load(files[i], how) for i in chosen])
    model, first = lowering.lower(exported.model, str(path)), pictures[:_CALIBRATION]
    calibrated = calibrate.calibrate(model, first, how)
    begun = draft.plain(
        model, calibrated, Material(first, calibrated.scores, how, str(path)), Options()
    ).roomy()
    int8 = to_int8(begun.model, begun.ranges, how)
    return Quantized(begun.model, int8, begun.ranges, how, pictures[_CALIBRATION:], begun.base)


def to_int8(model: bytes, ranges: Ranges, how: Contract) -> bytes:
    """Quantizes a float graph in the given ranges."""
    name, _ = tflite_source.end_names(read(model, "the model"))
    return quantize.quantize(model, Options(), ranges, name, how)


def answers(model: bytes, of: Quantized) -> np.ndarray:
    """What a .tflite file says of the pictures, in real values: float32[N, classes]."""
    return run_all(model, of.pictures, of.contract)


def compare(model: Any, of: Quantized) -> parity.Parity:
    """A Keras model that rounds next to the int8 file."""
    return parity.compare(model(of.inputs).numpy(), answers(of.int8, of), of.step)


def differences(model: Any, of: Quantized) -> Any:
    """Layer by layer, the model next to the int8 file."""
    from edgekit.converters.qat import differences

    return differences.by_layer(model, of.int8, of.pictures, of.contract)


def grids(model: bytes) -> dict[str, tuple[float, int]]:
    """(scale, zero point) of each activation of an int8 file."""
    graph = read(model, "int8").main
    written = {graph.inputs[0], *(i for op in graph.operators for i in op.outputs)}
    return {
        t.name: (t.scale, t.zero_point)
        for t in (graph.tensors[i] for i in sorted(written))
        if t.scale is not None and t.zero_point is not None
    }
