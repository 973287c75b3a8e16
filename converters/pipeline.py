"""The façade: one call from a model file to a verified .tflite file.

`read -> settle the contract -> load images -> calibrate -> quantize -> pack -> verify -> write`.
Each stage is a module beside this one and can be called alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit import images, tflite
from edgekit.contract import Contract
from edgekit.converters import (
    bias_correction,
    calibrate,
    calibration_set,
    flatbuffer,
    layers,
    passport,
    preprocessing,
    quantize,
    ranges,
    sources,
    tflite_source,
    verify,
)
from edgekit.converters.calibration_set import CalibrationSet
from edgekit.converters.export import Description, Export
from edgekit.converters.options import INTEGER, Options
from edgekit.datasets import Dataset
from edgekit.errors import UsageError
from edgekit.evaluation.run import run_all
from edgekit.files import refuse_overwrite, sha256, write_all
from edgekit.overrides import Overrides
from edgekit.training import keras_file

#: Called with (stage, done, total) as the work goes on.
Observer = Callable[[str, int, int], None]


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


@dataclass(frozen=True)
class ExportedModel:
    """A model as a float32 .tflite file.

    Attributes:
        model: The bytes of the file.
        contract: Its preprocessing contract.
        classes: Number of outputs.
    """

    model: bytes
    contract: Contract
    classes: int


@dataclass(frozen=True)
class _Read:
    """What the first stages give: the float model, its contract, and the images."""

    model: bytes
    parsed: tflite.Model
    description: Description
    found: preprocessing.Found
    calibration: CalibrationSet | None
    stock: bytes | None


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
    options = options or Options()
    output = Path(output) if output is not None else source.with_suffix(".tflite")
    passport_path = output.with_name(output.name + ".json")
    if output.suffix != ".tflite":
        raise UsageError(
            f"{output}: a converted model is written as .tflite", "Name it so: -o m.tflite"
        )
    kind = sources.kind_of(source)
    refuse_overwrite(output, passport_path, force=force)
    if options.quantization != "float32":
        quantize.require()
    watch = _Stopwatch(observer)
    dataset = calibration_set.find(_path(data), _path(labels_csv), source)

    read = _read(
        source, kind, options, dataset, overrides or Overrides(), input_size, modules, watch
    )
    contract = read.found.contract
    calibrated = None
    if options.quantization in INTEGER:
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
    by_litert = options.engine == "litert" and options.quantization != "float32"
    recipe = quantize.recipe(options) if by_litert else None
    write_all({output: final, passport_path: passport.write(conversion, final, recipe)})
    return conversion


def export_float(
    source: Path, overrides: Overrides | None = None, observer: Observer | None = None
) -> ExportedModel:
    """Reads any model as a float32 .tflite file, for evaluation.

    Raises:
        As `convert`.
    """
    options = Options(quantization="float32", input_type="float32", output_type="float32")
    read = _read(
        source,
        sources.kind_of(source),
        options,
        None,
        overrides or Overrides(),
        None,
        (),
        _Stopwatch(observer),
    )
    return ExportedModel(read.model, read.found.contract, read.description.classes)


def _read(
    source: Path,
    kind: str,
    options: Options,
    dataset: Dataset | None,
    overrides: Overrides,
    input_size: tuple[int, int] | None,
    modules: Sequence[str],
    watch: _Stopwatch,
) -> _Read:
    """Reads the model, settles its contract and loads the images, as far as possible at once."""
    if kind == "tflite":
        if options.engine == "tflite":
            raise UsageError(
                f"{source}: --engine tflite converts from Keras or a SavedModel, not from .tflite"
            )
        with watch.stage("read"):
            model, description = tflite_source.open_float(source)
            stored = _stored_in_tflite(source)
        settled = _settle(source, description, stored, overrides, dataset)
        calibration = _images(options, dataset, settled, description, watch)
        return _finish(source, model, description, settled, stored, calibration, None)

    stock = {"int16x8": options.quantization == "int16x8"} if options.engine == "tflite" else None
    with Export(source, kind, size=input_size, modules=modules, stock=stock) as export:
        # The child reads the model, then goes on to export it while images are decoded here.
        with watch.stage("read"):
            description = export.described()
        exported = None
        if kind == "savedmodel":
            with watch.stage("export"):
                exported = export.float_model()
            prefix = tflite_source.pixelwise_prefix(tflite.read(exported, str(source)))
            description = dataclasses.replace(description, pixelwise=prefix)
        stored = keras_file.read_contract(source)
        settled = _settle(source, description, stored, overrides, dataset)
        calibration = _images(options, dataset, settled, description, watch)
        if exported is None:
            with watch.stage("export"):
                exported = export.float_model()
        stock_model = None
        if stock is not None:
            assert calibration is not None
            with watch.stage("stock converter"):
                inputs = images.to_input(calibration.pictures, settled.contract, np.float32)
                stock_model = export.stock_model(inputs)
        model = flatbuffer.prepare(exported, str(source))
        return _finish(source, model, description, settled, stored, calibration, stock_model)


def _settle(
    source: Path,
    description: Description,
    stored: tuple[Contract, str] | None,
    overrides: Overrides,
    dataset: Dataset | None,
) -> preprocessing.Found:
    """The contract, with labels from class folders where nothing else names the classes."""
    found = preprocessing.resolve(source, description, stored, overrides)
    names = dataset.class_names if dataset is not None else ()
    if found.contract.labels is None and len(names) == description.classes:
        labelled = dataclasses.replace(found.contract, labels=names)
        assert dataset is not None
        return preprocessing.Found(
            labelled, f"{found.source}; labels: the {len(names)} class folders of {dataset.root}"
        )
    return found


def _images(
    options: Options,
    dataset: Dataset | None,
    found: preprocessing.Found,
    description: Description,
    watch: _Stopwatch,
) -> CalibrationSet | None:
    if options.quantization == "float32":
        return None
    with watch.stage("load images") as progress:
        loaded = calibration_set.load(
            dataset, found.contract, description.classes, options, progress
        )
    if options.quantization in INTEGER:
        return loaded
    # Nothing is calibrated: without photos the comparison runs on procedural images, at no cost.
    kept = () if loaded.kind == "procedural" else loaded.warnings
    return dataclasses.replace(loaded, warnings=kept)


def _finish(
    source: Path,
    model: bytes,
    description: Description,
    found: preprocessing.Found,
    stored: tuple[Contract, str] | None,
    calibration: CalibrationSet | None,
    stock: bytes | None,
) -> _Read:
    """Adds to the contract what only the graph tells: what its output means."""
    parsed = tflite.read(model, str(source))
    meaning = tflite.output_meaning(parsed) or "logits"
    if stored is not None and stored[0].output != meaning:
        raise UsageError(
            f"{source}: the contract in {stored[1]} says the model gives {stored[0].output}, its "
            f"last op gives {meaning}",
            "Correct the contract, or remove it and give --preprocess and --resize.",
        )
    contract = dataclasses.replace(found.contract, output=meaning)
    settled = preprocessing.Found(contract, found.source)
    return _Read(model, parsed, description, settled, calibration, stock)


def _quantized(read: _Read, options: Options, calibrated: calibrate.Calibration | None) -> bytes:
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
    return quantize.quantize(model, options, found, source_name, contract)


def _quality(
    read: _Read,
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


def _stored_in_tflite(source: Path) -> tuple[Contract, str] | None:
    contract = tflite.read_contract(source.read_bytes(), str(source))
    if contract is not None:
        return contract, f"{source.name} itself"
    return keras_file.read_contract(source)


def _path(value: str | os.PathLike[str] | None) -> Path | None:
    return Path(value) if value is not None else None


class _Stopwatch:
    """Times the stages and tells the observer of them."""

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Callable[[int, int], None]]:
        observer = self._observer
        start = time.perf_counter()
        if observer is not None:
            observer(name, 0, 1)
        yield lambda done, total: observer(name, done, total) if observer is not None else None
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
