"""The façade: one call from a model file to a verified .tflite file.

`read -> settle the contract -> load images -> calibrate -> quantize -> pack -> verify -> write`.
Each stage is a module beside this one and can be called alone.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit import tflite
from edgekit.contract import Contract
from edgekit.converters import (
    bias_correction,
    calibrate,
    calibration_set,
    flatbuffer,
    layers,
    lowering,
    passport,
    quantize,
    ranges,
    reading,
    sources,
    tflite_source,
    verify,
)
from edgekit.converters.options import INTEGER, Options
from edgekit.converters.reading import Read, Request
from edgekit.converters.stopwatch import Observer, Stopwatch
from edgekit.errors import UsageError
from edgekit.evaluation.run import run_all
from edgekit.files import refuse_overwrite, sha256, write_all
from edgekit.overrides import Overrides


@dataclass(frozen=True)
class Conversion:
    """What was done, and how it came out.

    Attributes:
        source: The model that was converted.
        source_kind: Its kind, a key of `sources.KINDS`.
        source_sha256: Its SHA-256 (of all files, for a folder).
        framework: What read it.
        output: The .tflite file written.
        passport: The JSON file written beside it.
        options: What was asked for.
        contract: The preprocessing contract, packed into the file.
        contract_source: Where the contract comes from, in words.
        calibration_source: Where the calibration images come from, or None.
        calibration_method: How ranges were recorded, or None.
        calibration_sha256: Of the pixels that were calibrated on, or None.
        warnings: What the user should know.
        float_bytes: Size of the float32 file.
        output_bytes: Size of the file written.
        quality: How it answers next to the float model, or None for `float32`.
        worst_layers: The layers with the lowest SQNR, where asked for.
        seconds: Wall time of each stage.
    """

    source: Path
    source_kind: str
    source_sha256: str
    framework: str
    output: Path
    passport: Path
    options: Options
    contract: Contract
    contract_source: str
    calibration_source: str | None
    calibration_method: str | None
    calibration_sha256: str | None
    warnings: tuple[str, ...]
    float_bytes: int
    output_bytes: int
    quality: verify.Quality | None
    worst_layers: tuple[layers.LayerQuality, ...]
    seconds: dict[str, float]


def convert(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    options: Options | None = None,
    data: str | os.PathLike[str] | None = None,
    labels_csv: str | os.PathLike[str] | None = None,
    overrides: Overrides | None = None,
    input_size: tuple[int, int] | None = None,
    modules: Sequence[str] = (),
    force: bool = False,
    observer: Observer | None = None,
) -> Conversion:
    """Converts a model to TFLite and verifies what is written.

    Args:
        source: A `.keras`, `.h5`, SavedModel folder or float32 `.tflite`.
        output: The file to write; by default the source's name with `.tflite`.
        options: Which quantization and how (`edgekit.converters.make_options`).
        data: A folder of photos to calibrate on.
        labels_csv: A CSV of path and label for them.
        overrides: What is known of the preprocessing.
        input_size: (height, width) for a model that takes images of any size.
        modules: Python modules that register custom Keras classes; their code runs.
        force: Replace existing files.
        observer: Called with (stage, done, total).

    Raises:
        UsageError: Something asked for doesn't fit the model.
        UnreadableError: The model or the data can't be read.
        NotMetError: The file would not be what was asked for.
        MissingError: A package is not installed.
        RuntimeFailure: The runtime failed, or the disk is full.
    """
    source = Path(source)
    kind = sources.kind_of(source)
    options = options or Options()
    if output is None:
        # The current folder can be a SavedModel, and its name is `.`.
        output = (source if source.name else source.resolve()).with_suffix(".tflite")
    output = Path(output)
    passport_path = output.with_name(output.name + ".json")
    if output.suffix != ".tflite":
        raise UsageError(
            f"{output}: a converted model is written as .tflite", "Name it so: -o m.tflite"
        )
    refuse_overwrite(output, passport_path, force=force, source=source)
    if options.uses_litert:
        quantize.require()
    watch = Stopwatch(observer)
    dataset = calibration_set.find(_path(data), _path(labels_csv), source)

    request = Request(source, kind, options, dataset, overrides or Overrides(), input_size, modules)
    read = reading.read(request, watch)
    contract = read.found.contract
    calibrated = None
    if options.quantization in INTEGER:
        read = dataclasses.replace(read, model=lowering.lower(read.model, str(source)))
        assert read.calibration is not None
        with watch.stage("calibrate") as progress:
            calibrated = calibrate.calibrate(
                read.model, read.calibration.pictures, contract, progress
            )
    with watch.stage("quantize"):
        quantized = _quantized(read, options, calibrated)
        final = tflite.pack(flatbuffer.add_signature(quantized, str(output)), contract)
    with watch.stage("verify") as progress:
        verify.check_file(final, options, contract, str(output))
        quality = _quality(read, final, calibrated, contract, progress)
        worst: tuple[layers.LayerQuality, ...] = ()
        if options.layers and read.calibration is not None:
            worst = layers.worst_layers(
                read.model, final, read.calibration.pictures, contract, options.layers
            )

    warnings = list(read.calibration.warnings) if read.calibration is not None else []
    if calibrated is not None and calibrated.method != "profiler":
        warnings.append(
            "The runtime's profiler is not there, so calibration kept every tensor: same result, "
            "about four times slower. ai-edge-litert 2.3.0 has it."
        )
    if options.quantization == "int16x8":
        left = verify.float_ops(tflite.read(final, str(output)))
        if left:
            warnings.append(
                f"{len(left)} op(s) stay in float, since they have no int16 kernel here: "
                f"{', '.join(left[:3])}{', ...' if len(left) > 3 else ''}."
            )
    conversion = Conversion(
        source=source,
        source_kind=kind,
        source_sha256=sha256(source),
        framework=read.description.framework,
        output=output,
        passport=passport_path,
        options=options,
        contract=contract,
        contract_source=read.found.source,
        calibration_source=read.calibration.source if read.calibration else None,
        calibration_method=calibrated.method if calibrated else None,
        calibration_sha256=read.calibration.digest if read.calibration else None,
        warnings=tuple(warnings),
        float_bytes=len(read.model),
        output_bytes=len(final),
        quality=quality,
        worst_layers=worst,
        seconds=watch.seconds,
    )
    recipe = quantize.recipe(options) if options.uses_litert else None
    write_all({output: final, passport_path: passport.write(conversion, final, recipe)})
    return conversion


def _quantized(read: Read, options: Options, calibrated: calibrate.Calibration | None) -> bytes:
    if read.stock is not None:
        return read.stock
    if options.quantization == "float32":
        return read.model
    contract, model = read.found.contract, read.model
    if options.corrects_bias and read.calibration is not None:
        model = bias_correction.correct(model, read.calibration.pictures, contract, "float model")
    source_name, scores_name = tflite_source.end_names(read.parsed)
    observed = calibrated.observed if calibrated is not None else {}
    procedural = read.calibration is not None and read.calibration.kind == "procedural"
    found = ranges.percentile_ranges(
        observed,
        # The spread over procedural images says nothing of the spread over photos.
        100.0 if procedural else options.range_percentile,
        scores_name,
        ranges.PROCEDURAL_HEADROOM if procedural else 1.0,
    )
    parsed = tflite.read(model, "float model")
    return quantize.quantize(
        model, options, ranges.without_masks(found, parsed), source_name, contract
    )


def _quality(
    read: Read,
    final: bytes,
    calibrated: calibrate.Calibration | None,
    contract: Contract,
    progress: Callable[[int, int], None] | None,
) -> verify.Quality | None:
    """Runs the final bytes next to the float model; float32 is held against Keras by the export."""
    if read.calibration is None:
        return None
    pictures = read.calibration.pictures
    reference = (
        calibrated.scores if calibrated is not None else run_all(read.model, pictures, contract)
    )
    return verify.compare(reference, run_all(final, pictures, contract, progress=progress))


def _path(value: str | os.PathLike[str] | None) -> Path | None:
    return Path(value) if value is not None else None
