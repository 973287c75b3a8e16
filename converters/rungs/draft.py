"""What the rungs of the accuracy ladder hand on: a float graph on its way to int8."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from edgekit import images, tflite
from edgekit.contract import Contract
from edgekit.converters import (
    bias_correction,
    bias_room,
    calibrate,
    flatbuffer,
    quantize,
    tflite_source,
)
from edgekit.converters.calibrate import Calibration
from edgekit.converters.options import Options
from edgekit.converters.ranges import (
    PROCEDURAL_HEADROOM,
    Ranges,
    percentile_ranges,
    without_masks,
)
from edgekit.converters.rewriting import Array, Graph
from edgekit.converters.weighted import layers, put

#: Called with (done, total).
Progress = Callable[[int, int], None]


class Skipped(Exception):
    """A rung has nothing to do for this model or with what was given; the message says why."""


@dataclass(frozen=True)
class Draft:
    """A model that is being quantized.

    Attributes:
        base: The float32 .tflite graph, rewritten perhaps, that answers as the source does.
        model: The same with weights and biases prepared for rounding.
        ranges: The range of each activation.
        options: How it will be quantized.
        higher: The outputs of the ops that are left in `options.mixed` precision.
    """

    base: bytes
    model: bytes
    ranges: Ranges
    options: Options
    higher: frozenset[str] = frozenset()

    def roomy(self) -> Draft:
        """The same, with weights that leave room for every bias in int32 (`bias_room`)."""
        if self.options.quantization != "int8":
            return self  # int16x8 has biases of 64 bits
        per_channel = self.options.per_channel
        model = bias_room.for_biases(self.model, self.ranges, per_channel, "draft")
        return self if model is self.model else dataclasses.replace(self, model=model)

    def quantized(self, contract: Contract) -> bytes:
        """The quantized .tflite file of the roomy draft, with one signature."""
        model = self.roomy().model
        if self.higher and self.options.mixed == "float":
            model = _unprepared(model, self.base, self.higher)
        name = tflite_source.end_names(tflite.read(model, "draft"))[0]
        made = quantize.quantize(model, self.options, self.ranges, name, contract, self.higher)
        return flatbuffer.finish(made, "draft")


def _unprepared(model: bytes, base: bytes, names: Collection[str]) -> bytes:
    """Gives layers that stay in float their own weights back: they are not rounded.

    Args:
        model: The prepared graph.
        base: The one it was made from.
        names: The outputs of the layers.
    """
    graph, original = Graph(model, "draft"), Graph(base, "draft")
    own = {original.name(layer.op.output): layer for layer in layers(original)}
    for layer in list(layers(graph)):
        name = graph.name(layer.op.output)
        if name in names:
            put(graph, layer, own[name].weights, own[name].bias)
    return graph.to_bytes()


#: Scores that are larger than those of the median picture by this factor are none to fit to.
_FAR = 3.0


@dataclass(frozen=True)
class Material:
    """What the rungs work with; none of it is a judging image.

    Attributes:
        pictures: uint8[N, height, width, 3], calibration images.
        scores: float32[N, classes], the float model's answers to them.
        contract: The preprocessing contract.
        where: The source's name, for errors.
    """

    pictures: images.Picture
    scores: Array
    contract: Contract
    where: str

    def first(self, count: int) -> tuple[images.Picture, Array]:
        """(pictures, scores) of so many, evenly spaced."""
        places = np.linspace(0, len(self.pictures) - 1, min(count, len(self.pictures))).astype(int)
        return self.pictures[places], self.scores[places]

    def typical(self, count: int) -> images.Picture:
        """So many pictures, evenly spaced, without those on which the model is beside itself.

        An undertrained model can give one picture of a hundred scores ten times as large as the
        others. Means and squared errors would follow that one.
        """
        heights = np.abs(self.scores).max(axis=1)
        kept = np.flatnonzero(heights <= _FAR * np.median(heights))
        return self.pictures[kept[np.linspace(0, len(kept) - 1, min(count, len(kept))).astype(int)]]


def plain(
    base: bytes,
    calibrated: Calibration,
    material: Material,
    options: Options,
    *,
    procedural: bool = False,
) -> Draft:
    """The draft of a conversion without the ladder: percentile ranges, analytic bias correction.

    Args:
        base: The float graph.
        calibrated: What calibration learned.
        material: Calibration images.
        options: What is asked for.
        procedural: Whether the images are none of photos.
    """
    model = base
    if options.corrects_bias:
        model = bias_correction.correct(
            base, material.pictures, material.contract, material.where, options.per_channel
        )
    return Draft(base, model, _ranges(base, calibrated, options, procedural), options)


def recalibrated(draft: Draft, base: bytes, material: Material, progress: Progress) -> Draft:
    """A plain draft of another float graph, calibrated on all images."""
    calibrated = calibrate.calibrate(base, material.pictures, material.contract, progress)
    return plain(base, calibrated, material, draft.options)


def _ranges(base: bytes, calibrated: Calibration, options: Options, procedural: bool) -> Ranges:
    parsed = tflite.read(base, "float model")
    scores = tflite_source.end_names(parsed)[1]
    found = percentile_ranges(
        calibrated.observed,
        # The spread over procedural images says nothing of the spread over photos.
        100.0 if procedural else options.range_percentile,
        scores,
        PROCEDURAL_HEADROOM if procedural else 1.0,
    )
    return without_masks(found, parsed)
