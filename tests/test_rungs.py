"""Each rung of the accuracy ladder by itself."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import artefacts
import numpy as np
import pytest
from ladder_support import (
    CONTRACT,
    many_convolutions,
    photos_labelled_by,
    pictures_in,
    uneven_model,
    weights_of,
)

from edgekit import images, tflite
from edgekit.converters import calibrate, make_options, verify
from edgekit.converters.rewriting import Graph
from edgekit.converters.rungs import (
    bias,
    draft,
    equalization,
    mixed,
    more_images,
    range_choice,
    rounding,
)
from edgekit.converters.rungs.draft import Draft, Material, Skipped
from edgekit.converters.rungs.histograms import BINS, range_by_entropy, range_by_error
from edgekit.converters.rungs.patches import patches
from edgekit.converters.weighted import layers
from edgekit.evaluation.metrics import mean_sqnr, sqnr
from edgekit.evaluation.run import run_all
from edgekit.runtime import Interpreter

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def nothing(done: int, total: int) -> None:
    """No progress is shown."""


class Case:
    """A float model, calibration images and others, and its plain draft."""

    def __init__(
        self, model: bytes, pictures: images.Picture, granularity: str = "channel"
    ) -> None:
        self.model, self.others = model, pictures[1::2]
        calibration = pictures[::2]
        calibrated = calibrate.calibrate(model, calibration, CONTRACT)
        self.material = Material(calibration, calibrated.scores, CONTRACT, "m")
        options = make_options(granularity=granularity, mixed="float")
        self.plain = draft.plain(model, calibrated, self.material, options)
        self.expected = run_all(model, self.others, CONTRACT)

    def quality(self, found: Draft) -> float:
        """SQNR of the scores on the other images, in dB."""
        return sqnr(self.expected, run_all(found.quantized(CONTRACT), self.others, CONTRACT))


@pytest.fixture(scope="module")
def uneven(keras3: Any, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("uneven") / "files"
    made = artefacts.copy_of("uneven_for_rungs", folder, _make_uneven)
    return Case((made / "uneven.tflite").read_bytes(), pictures_in(made / "photos"))


def _make_uneven(folder: Path) -> None:
    model = uneven_model(importlib.import_module("keras"), folder)
    photos_labelled_by(model, folder / "photos", 160)


@pytest.fixture(scope="module")
def tiny(tiny_float: Path, tiny_photos: Path) -> Case:
    return Case(tiny_float.read_bytes(), pictures_in(tiny_photos))


@pytest.mark.slow
def test_equalization_keeps_the_float_model_and_evens_its_channels(uneven: Case) -> None:
    found = equalization.equalize(uneven.plain, uneven.material, nothing)
    answers = run_all(found.base, uneven.others, CONTRACT)
    np.testing.assert_allclose(answers, uneven.expected, rtol=1e-4, atol=1e-4)
    assert uneven.quality(found) > uneven.quality(uneven.plain) + 10


def test_equalization_needs_a_channel_that_can_be_scaled(colour_float: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3)).astype(np.uint8)
    case = Case(colour_float.read_bytes(), pictures)
    with pytest.raises(Skipped, match="no channel"):
        equalization.equalize(case.plain, case.material, nothing)


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_rounded_weights_are_what_the_quantizer_writes(
    tiny_float: Path, tiny_photos: Path, granularity: str
) -> None:
    case = Case(tiny_float.read_bytes(), pictures_in(tiny_photos), granularity)
    found = rounding.round_weights(case.plain, case.material, nothing)
    written = weights_of(found.quantized(CONTRACT))
    moved = 0
    originals = weights_of(case.model)
    for (real, _, op), (steps, scales, _), (before, _, _) in zip(
        weights_of(found.model), written, originals, strict=True
    ):
        shape = [1] * real.ndim
        shape[3 if op == "DEPTHWISE_CONV_2D" else 0] = -1
        scale = scales.reshape(shape).astype(np.float64) if len(scales) > 1 else float(scales[0])
        np.testing.assert_allclose(real, steps * scale, atol=float(np.max(scale)) * 1e-3)
        moved += int((np.abs(real - before) > 0.51 * scale).sum())
    assert moved > 0  # some went up where the nearest was down


@pytest.mark.slow
def test_rounding_and_bias_correction_serve_the_scores(uneven: Case) -> None:
    begun = equalization.equalize(uneven.plain, uneven.material, nothing)
    corrected = bias.correct_biases(begun, uneven.material, nothing)
    rounded = rounding.round_weights(begun, uneven.material, nothing)
    before, *after = (uneven.quality(found) for found in (begun, corrected, rounded))
    assert min(after) > before


def test_empirical_bias_correction_keeps_the_means(tiny: Case) -> None:
    found = bias.correct_biases(tiny.plain, tiny.material, nothing)
    uncorrected = replace(tiny.plain, model=tiny.plain.base)

    def error(which: Draft) -> float:
        answers = run_all(which.quantized(CONTRACT), tiny.material.pictures, CONTRACT)
        return float(np.abs((answers - tiny.material.scores).mean(axis=0)).max())

    assert error(found) < error(uncorrected) / 2


def test_chosen_ranges_are_at_least_as_good(tiny: Case) -> None:
    found = range_choice.choose_ranges(tiny.plain, tiny.material, nothing)
    pictures, scores = tiny.material.first(48)

    def quality(which: Draft) -> float:
        return mean_sqnr(scores, run_all(which.quantized(CONTRACT), pictures, CONTRACT))

    assert quality(found) > quality(tiny.plain)
    assert set(found.ranges) == set(tiny.plain.ranges)


@pytest.mark.parametrize("choose", [range_by_error, range_by_entropy])
def test_a_range_leaves_a_lone_outlier_out(
    choose: Callable[[np.ndarray, float, float], tuple[float, float]],
) -> None:
    values = np.append(np.random.default_rng(0).normal(0, 1, 200_000), 60.0)
    counts, _ = np.histogram(values, BINS, (-6, 60))
    low, high = choose(counts, -6.0, 60.0)
    assert -6 <= low < -1
    assert 2 < high < 50


def test_more_images_are_used_once(tiny: Case) -> None:
    sampled = replace(tiny.plain, options=replace(tiny.plain.options, samples=5))
    found = more_images.use_all_images(sampled, tiny.material, nothing)
    assert found.ranges.keys() == tiny.plain.ranges.keys()
    with pytest.raises(Skipped, match="all 20"):
        more_images.use_all_images(tiny.plain, tiny.material, nothing)


def test_mixed_precision_leaves_the_fewest_layers(uneven: Case) -> None:
    enough = uneven.quality(uneven.plain) + 6

    def keeps(found: Draft) -> bool:
        return uneven.quality(found) >= enough

    found = mixed.mix_precision(uneven.plain, uneven.material, keeps, nothing)
    assert keeps(found)
    assert 1 <= len(found.higher) < 5
    left = verify.float_ops(tflite.read(found.quantized(CONTRACT), "m"))
    assert len(left) == len(found.higher)
    with pytest.raises(Skipped, match="must be int8"):
        strict = replace(uneven.plain, options=make_options())
        mixed.mix_precision(strict, uneven.material, keeps, nothing)


def test_patches_are_what_a_layer_sees(keras3: Any, tmp_path: Path) -> None:
    """The filters times the patches give what the runtime computes."""
    model = many_convolutions(keras3, tmp_path)
    graph = Graph(model, "m")
    convolutions = [layer for layer in layers(graph) if layer.op.name != "FULLY_CONNECTED"]
    assert len(convolutions) == 10
    interpreter = Interpreter(model, keep_all_tensors=True)
    value = np.random.default_rng(1).normal(0, 1, (1, 11, 13, 3)).astype(np.float32)
    interpreter.invoke(value)
    places = {t.name: t.index for t in interpreter.tensors()}
    for layer in convolutions:
        expected = interpreter.tensor(places[graph.name(layer.op.output)])
        # A dilated one is computed on parts of the picture, as a batch.
        read = interpreter.tensor(places[graph.name(layer.source)])
        assert expected is not None and read is not None
        rows = patches(layer, read)
        if layer.is_depthwise:
            found = (rows * layer.filters()[None]).sum(axis=2) + layer.bias
        else:
            found = rows @ layer.filters().T + layer.bias
        np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-4)


def test_pictures_with_far_larger_scores_are_none_to_fit_to(tiny: Case) -> None:
    material = replace(tiny.material, scores=np.ones_like(tiny.material.scores))
    scores = material.scores.copy()
    scores[3] *= 100
    without = replace(material, scores=scores).typical(len(scores))
    others = np.delete(material.pictures, 3, axis=0)
    assert np.array_equal(without, others)
    assert np.array_equal(material.typical(len(scores)), material.pictures)
