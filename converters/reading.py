"""The first stages: read the model, settle its contract, load the images, rewrite it for a target.

A Keras model is read and exported by the child process of `edgekit.converters.export`; while that
goes on, the calibration images are decoded here.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgekit import images, targets, tflite
from edgekit.contract import Contract
from edgekit.converters import (
    calibration_set,
    flatbuffer,
    mapping,
    preprocessing,
    quantize,
    sources,
    tflite_source,
)
from edgekit.converters.calibration_set import CalibrationSet
from edgekit.converters.export import Description, Export, LearnedRanges
from edgekit.converters.mapping import Rewritten
from edgekit.converters.options import INTEGER, Options
from edgekit.converters.stopwatch import Observer, Stopwatch
from edgekit.datasets import Dataset
from edgekit.errors import UsageError
from edgekit.overrides import Overrides
from edgekit.targets import Target
from edgekit.training import keras_file

#: For reading a model without converting it.
_FLOAT = Options(quantization="float32", input_type="float32", output_type="float32")
_NOTHING_GIVEN = Overrides()


@dataclass(frozen=True)
class Request:
    """What to read, and what is known of it.

    Attributes:
        source: The model.
        kind: Its kind, a key of `sources.KINDS`.
        options: What the conversion is asked for.
        dataset: The photos to calibrate on, if any.
        overrides: What the user says of the preprocessing.
        input_size: (height, width) in pixels, for a model that takes images of any size.
        modules: Python modules that register custom Keras classes.
    """

    source: Path
    kind: str
    options: Options = _FLOAT
    dataset: Dataset | None = None
    overrides: Overrides = _NOTHING_GIVEN
    input_size: tuple[int, int] | None = None
    modules: Sequence[str] = ()


@dataclass(frozen=True)
class Read:
    """What the first stages give: the float model, its contract, and the images.

    What was rewritten of it for a target is told by `rewritten`, and in words what else was changed
    or had to be left by `notes`.
    A quantization-aware model brings the ranges it was trained in, and what it answers to the
    images itself: float32[N, classes], the real values of its int8 outputs.
    """

    model: bytes
    parsed: tflite.Model
    description: Description
    found: preprocessing.Found
    calibration: CalibrationSet | None
    stock: bytes | None
    learned: LearnedRanges | None = None
    trained_scores: npt.NDArray[np.float32] | None = None
    rewritten: tuple[Rewritten, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_fixed(self) -> bool:
        """Whether the graph is not to be rewritten: it was trained so, or is quantized already."""
        return self.learned is not None or self.stock is not None


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


def export_float(
    source: Path, overrides: Overrides | None = None, observer: Observer | None = None
) -> ExportedModel:
    """Reads any model as a float32 .tflite file, for evaluation.

    Raises:
        As `edgekit.converters.convert`.
    """
    request = Request(source, sources.kind_of(source), overrides=overrides or _NOTHING_GIVEN)
    found = read(request, Stopwatch(observer))
    return ExportedModel(found.model, found.found.contract, found.description.classes)


def read(request: Request, watch: Stopwatch) -> Read:
    """Reads the model, settles its contract, loads the images, and rewrites it for the target.

    Raises:
        As `edgekit.converters.convert`.
    """
    found = _read_tflite if request.kind == "tflite" else _read_keras
    return _mapped(found(request, watch), request)


def _read_tflite(request: Request, watch: Stopwatch) -> Read:
    source = request.source
    if request.options.engine == "tflite":
        raise UsageError(
            f"{source}: --engine tflite converts from Keras or a SavedModel, not from .tflite"
        )
    with watch.stage("read"):
        opened = tflite_source.open_float(
            source, request.input_size, _target(request), logits=request.options.logits
        )
        stored = _stored_in_tflite(source)
    description = opened.description
    settled = _settle(request, description, stored)
    calibration = _images(request, settled, description, watch)
    read = _finish(source, opened.model, description, settled, stored, calibration, None)
    return dataclasses.replace(read, rewritten=opened.rewritten, notes=opened.notes)


def _read_keras(request: Request, watch: Stopwatch) -> Read:
    """Reads a Keras model or SavedModel in a child process, and decodes images meanwhile."""
    source, options = request.source, request.options
    stock = {"int16x8": options.quantization == "int16x8"} if options.engine == "tflite" else None
    with Export(
        source, request.kind, size=request.input_size, modules=request.modules, stock=stock
    ) as export:
        with watch.stage("read"):
            if options.uses_litert:
                quantize.preload()  # the child is still importing TensorFlow
            description = export.described()
        exported = None
        if request.kind == "savedmodel":  # only the graph tells what it does to its input
            with watch.stage("export"):
                exported = export.float_model()
            prefix = tflite_source.pixelwise_prefix(tflite.read(exported, str(source)))
            description = dataclasses.replace(description, pixelwise=prefix)
        stored = keras_file.read_contract(source)
        settled = _settle(request, description, stored)
        calibration = _images(request, settled, description, watch)
        if exported is None:
            with watch.stage("export"):
                exported = export.float_model()
        stock_model = trained_scores = None
        if stock is not None:
            assert calibration is not None
            with watch.stage("stock converter"):
                inputs = images.to_input(calibration.pictures, settled.contract, np.float32)
                stock_model = export.stock_model(inputs)
        learned = export.learned
        if learned is not None and learned.answers and options.quantization == "int8":
            assert calibration is not None
            with watch.stage("trained model"):
                inputs = images.to_input(calibration.pictures, settled.contract, np.float32)
                trained_scores = export.trained_scores(inputs)
    model = flatbuffer.prepare(exported, str(source))
    read = _finish(source, model, description, settled, stored, calibration, stock_model)
    return dataclasses.replace(read, learned=learned, trained_scores=trained_scores)


def _settle(
    request: Request, description: Description, stored: tuple[Contract, str] | None
) -> preprocessing.Found:
    """The contract, with labels from class folders where nothing else names the classes."""
    dataset = request.dataset
    found = preprocessing.resolve(request.source, description, stored, request.overrides)
    names = dataset.class_names if dataset is not None else ()
    if found.contract.labels is None and len(names) == description.classes:
        labelled = dataclasses.replace(found.contract, labels=names)
        assert dataset is not None
        return preprocessing.Found(
            labelled, f"{found.source}; labels: the {len(names)} class folders of {dataset.root}"
        )
    return found


def _images(
    request: Request,
    found: preprocessing.Found,
    description: Description,
    watch: Stopwatch,
) -> CalibrationSet | None:
    options = request.options
    if options.quantization == "float32":
        return None
    kept = keras_file.calibration_beside(request.source)
    fitted = request.dataset is not None and request.dataset.root == kept
    with watch.stage("load images") as progress:
        loaded = calibration_set.load(
            request.dataset, found.contract, description.classes, options, progress, fitted=fitted
        )
    if options.quantization in INTEGER:
        return loaded
    # Nothing is calibrated: without photos the comparison runs on procedural images, at no cost.
    warnings = () if loaded.kind == "procedural" else loaded.warnings
    return dataclasses.replace(loaded, warnings=warnings)


def _finish(
    source: Path,
    model: bytes,
    description: Description,
    found: preprocessing.Found,
    stored: tuple[Contract, str] | None,
    calibration: CalibrationSet | None,
    stock: bytes | None,
) -> Read:
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
    return Read(model, parsed, description, settled, calibration, stock)


def _mapped(read: Read, request: Request) -> Read:
    """The model as the target's accelerator takes it."""
    target, logits, where = _target(request), request.options.logits, str(request.source)
    if read.is_fixed:
        why = "the model was trained to be quantized with them"
        if read.learned is None:
            why = "--engine tflite takes the model as it is"
        planned = Counter(
            operator.name
            for operator in read.parsed.main.operators
            if mapping.planned(read.parsed, operator, target, logits=logits)
        )
        left = [f"{count} {op} are left as they are: {why}" for op, count in planned.items()]
        return dataclasses.replace(read, notes=(*read.notes, *left))
    model, rewritten = mapping.rewrite(read.model, where, target, logits=logits)
    parsed = tflite.read(model, where) if rewritten else read.parsed
    if logits and tflite.output_meaning(parsed) == "probabilities":
        raise UsageError(
            f"{where}: it gives probabilities, and has no softmax as its one output that could be "
            "cut off",
            "Leave --logits out.",
        )
    if request.options.client is not None and tflite.output_meaning(parsed) == "logits":
        model, appended = mapping.with_softmax(model, where)
        parsed, rewritten = tflite.read(model, where), (*rewritten, appended)
    if not rewritten:
        return read
    meaning = tflite.output_meaning(parsed) or "logits"
    contract = dataclasses.replace(read.found.contract, output=meaning)
    return dataclasses.replace(
        read,
        model=model,
        parsed=parsed,
        found=preprocessing.Found(contract, read.found.source),
        rewritten=(*read.rewritten, *rewritten),
    )


def _target(request: Request) -> Target | None:
    wanted = request.options.target
    return None if wanted is None else targets.find(wanted)


def _stored_in_tflite(source: Path) -> tuple[Contract, str] | None:
    data = source.read_bytes()
    contract = tflite.read_contract(data, str(source))
    if contract is not None:
        return contract, f"{source.name} itself ({tflite.contract_source(data, str(source))})"
    return keras_file.read_sidecar(source)
