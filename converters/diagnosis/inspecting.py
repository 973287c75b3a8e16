"""The façade: a quantized file next to the float model that it was made from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgekit import tflite
from edgekit.contract import Contract
from edgekit.converters import calibration_set, lowering, reading
from edgekit.converters.calibration_set import CalibrationSet
from edgekit.converters.diagnosis import matching, measuring, rules, shadow, weights
from edgekit.converters.options import Options
from edgekit.converters.reading import ExportedModel
from edgekit.converters.stopwatch import Observer, Stopwatch
from edgekit.converters.verify import float_ops
from edgekit.errors import UnreadableError, UsageError
from edgekit.evaluation.metrics import agreement, decibels, softmax, sqnr
from edgekit.overrides import Overrides
from edgekit.report.quantization import ChannelFacts, LayerFacts, QuantizationReport, Shares
from edgekit.runtime import check_in_child
from edgekit.tflite.arithmetic import describe
from edgekit.training import keras_file

#: Pictures that are run: the ranking of layers changes little with more, dead channels need many.
SAMPLES = 32

_WITH_QUANTIZED_ACTIVATIONS = ("int8", "uint8", "int16x8", "mixed")


@dataclass(frozen=True)
class _Quantized:
    """The file to look into."""

    data: bytes
    model: tflite.Model
    kind: str


def diagnose(
    file: str | os.PathLike[str],
    against: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    labels_csv: str | os.PathLike[str] | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
    overrides: Overrides | None = None,
    observer: Observer | None = None,
) -> QuantizationReport:
    """Compares a quantized file with its float model, layer by layer.

    Args:
        file: A .tflite file with quantized activations, made by any converter.
        against: What it was made from: a `.keras`, `.h5`, SavedModel folder or float32 `.tflite`.
        data: A folder of photos; by default those kept beside the float model, or else procedural
            images.
        labels_csv: A CSV of path and label, to choose evenly over classes.
        samples: How many to run at most.
        seed: Of procedural images.
        overrides: What is known of the preprocessing.
        observer: Called with (stage, done, total).

    Raises:
        UsageError: The file isn't quantized, or the two are not the same model.
        UnreadableError: A model or the data can't be read.
        NotMetError: The float model gives numbers that are not finite.
        MissingError: TensorFlow is needed to read the float model, and not installed.
        RuntimeFailure: The runtime failed.
    """
    file, against = Path(file), Path(against)
    if samples < 1:
        raise UsageError(f"--samples {samples}: at least 1 picture is needed")
    watch = Stopwatch(observer)
    quantized = _open(file)
    dataset = calibration_set.find(
        None if data is None else Path(data),
        None if labels_csv is None else Path(labels_csv),
        against,
    )
    exported = reading.export_float(against, overrides, observer)
    _check_same(file, quantized, against, exported)
    contract = exported.contract
    fitted = dataset is not None and dataset.root == keras_file.calibration_beside(against)
    options = Options(samples=samples, seed=seed)
    with watch.stage("load images") as progress:
        pictures = calibration_set.load(
            dataset, contract, exported.classes, options, progress, fitted=fitted
        )
    float_bytes, float_model, found = _match(exported.model, quantized.model, file, against)
    with watch.stage("compare") as progress:
        seen = measuring.measure(
            shadow.add(float_bytes, found.pairs, float_model, quantized.model),
            quantized.data,
            found.pairs,
            pictures.pictures,
            contract,
            progress,
        )
    layers = [
        _facts(pair, tally, float_model, quantized.model)
        for pair, tally in zip(found.pairs, seen.tallies, strict=True)
    ]
    float_scores, scores = _alike(seen, float_model, quantized.model)
    same = agreement(float_scores.argmax(axis=1), scores.argmax(axis=1))
    return QuantizationReport(
        file=str(file),
        against=str(against),
        pictures=len(pictures.pictures),
        source=pictures.source,
        kind=quantized.kind,
        scores_sqnr_db=sqnr(float_scores, scores),
        agreement=same,
        layers=rules.judge(layers, quantized.model),
        unmatched=found.unmatched,
        in_float=tuple(float_ops(quantized.model)),
        warnings=_warnings(pictures, found),
    )


def _alike(
    seen: measuring.Measured, float_model: tflite.Model, quantized: tflite.Model
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The scores of both, as probabilities where one has a softmax at its end that is cut off."""
    ends = [tflite.output_meaning(model) for model in (float_model, quantized)]
    if ends == ["probabilities", "logits"]:
        return seen.float_scores, softmax(seen.scores)
    if ends == ["logits", "probabilities"]:
        return softmax(seen.float_scores), seen.scores
    return seen.float_scores, seen.scores


def _open(file: Path) -> _Quantized:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UnreadableError(f"{file}: {error.strerror or error}") from error
    model = tflite.read(data, str(file))
    kind = describe(model, model.main).kind
    if kind not in _WITH_QUANTIZED_ACTIVATIONS:
        raise UsageError(
            f"{file}: computes in {kind}, so no activation in it is quantized",
            "Give the quantized file first, and the float model with --against.",
        )
    tflite.classifier_shape(model, str(file))
    check_in_child(data, str(file))
    return _Quantized(data, model, kind)


def _check_same(file: Path, quantized: _Quantized, against: Path, exported: ExportedModel) -> None:
    """Both must take the same pictures, and give as many scores."""
    height, width, classes = tflite.classifier_shape(quantized.model, str(file))
    contract = exported.contract
    if (height, width, classes) != (contract.height, contract.width, exported.classes):
        raise UsageError(
            f"{file}: takes {height} x {width} and gives {classes} scores, but {against} takes "
            f"{contract.height} x {contract.width} and gives {exported.classes}",
            "Give the float model that the file was made from.",
        )
    stored = tflite.read_contract(quantized.data, str(file))
    if stored is not None and _preparation(stored) != _preparation(contract):
        raise UsageError(
            f"{file}: its pictures are prepared with {stored.normalization_name} "
            f"({stored.colour_order}), those of {against} with {contract.normalization_name} "
            f"({contract.colour_order})",
            "Give the float model that the file was made from, or say what holds with "
            "--preprocess.",
        )


def _preparation(contract: Contract) -> tuple[object, ...]:
    """What is done to the pixels."""
    return contract.mean, contract.std, contract.colour_order


def _match(
    exported: bytes, quantized: tflite.Model, file: Path, against: Path
) -> tuple[bytes, tflite.Model, matching.Matching]:
    """The float model in the form that has most layers in common with the file.

    edgekit rewrites some patterns before it quantizes (`edgekit.converters.lowering`); other
    converters don't.
    """
    forms = dict.fromkeys((lowering.lower(exported, str(against)), exported))
    models = [(form, tflite.read(form, str(against))) for form in forms]
    found = [(form, model, matching.match(model, quantized)) for form, model in models]
    best = max(found, key=lambda entry: len(entry[2].pairs))
    if not best[2].pairs:
        raise UsageError(
            f"{file}: none of its {len(best[2].unmatched)} quantized layers is one of {against}, "
            "by name or by order",
            "Give the float model that the file was made from.",
        )
    return best


def _facts(
    pair: matching.Pair,
    tally: measuring.Tally,
    float_model: tflite.Model,
    quantized: tflite.Model,
) -> LayerFacts:
    signal = float(tally.signal.sum())
    weight_noise = tally.weight_noise
    return LayerFacts(
        index=pair.op.index,
        name=pair.tensor.name,
        op=pair.op.name,
        dtype=pair.tensor.dtype,
        matched_by=pair.by,
        sqnr_db=decibels(signal, tally.noise),
        own_sqnr_db=decibels(signal, float(tally.own_noise.sum())),
        channel_sqnr_db=_median_channel(tally),
        weights_sqnr_db=None if weight_noise is None else decibels(signal, weight_noise),
        shares=_shares(weight_noise or 0.0, tally.clip_noise, tally.round_noise),
        codes_used=None if tally.codes is None else float((tally.codes > 0).mean()),
        range_used=tally.range_used(),
        at_lowest=tally.ends[0] / tally.values,
        at_highest=tally.ends[1] / tally.values,
        clipped=tally.clipped / tally.values,
        channels=_channels(tally),
        weights=weights.weight_facts(pair, float_model, quantized),
    )


def _shares(weight: float, clipping: float, rounding: float) -> Shares:
    total = weight + clipping + rounding
    return Shares(*(part / total if total else 0.0 for part in (weight, clipping, rounding)))


def _median_channel(tally: measuring.Tally) -> float:
    """The SQNR of the median channel, dead ones left out; that of the tensor where all are."""
    live = tally.live
    if not live.any():
        return decibels(float(tally.signal.sum()), float(tally.own_noise.sum()))
    pairs = zip(tally.signal[live], tally.own_noise[live], strict=True)
    ordered = sorted(decibels(float(signal), float(noise)) for signal, noise in pairs)
    return ordered[(len(ordered) - 1) // 2]


def _channels(tally: measuring.Tally) -> ChannelFacts:
    live = tally.live
    spans, steps = tally.highs - tally.lows, tally.code_highs - tally.code_lows
    low, high = tally.range
    median = float(np.median(spans[live])) if live.any() else 0.0
    varies = live & (spans > 0)
    return ChannelFacts(
        count=len(live),
        dead=int((~live).sum()),
        lost=int((varies & (steps == 0)).sum()),
        coarse=int((live & (steps > 0) & (steps < measuring.FEW_CODES)).sum()),
        median_range=median / (high - low),
        spread=float(spans.max() / median) if median else 1.0,
    )


def _warnings(pictures: CalibrationSet, found: matching.Matching) -> tuple[str, ...]:
    warnings = []
    if pictures.kind == "procedural":
        warnings.append(
            "No --data was given: compared on procedural images. Ranges and dead channels come "
            "out otherwise than on photos; give some like those the device will see."
        )
    layers = len(found.pairs) + len(found.unmatched)
    if len(found.pairs) < layers / 2:
        warnings.append(
            f"Only {len(found.pairs)} of {layers} layers have a counterpart in the float model: is "
            "it the one that the file was made from?"
        )
    by_order = sum(pair.by == "order" for pair in found.pairs)
    if by_order:
        warnings.append(
            f"{by_order} layer(s) have other names than in the float model, and were matched by "
            "their order."
        )
    if found.unmatched:
        warnings.append(
            f"{len(found.unmatched)} quantized layer(s) have no counterpart in the float model "
            f"and were left out: {', '.join(found.unmatched[:3])}"
            f"{', ...' if len(found.unmatched) > 3 else ''}."
        )
    return tuple(warnings)
