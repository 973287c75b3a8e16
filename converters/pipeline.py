"""The façade: one call from a model file to a verified .tflite file.

`read -> settle the contract -> load images -> rewrite for a target -> calibrate -> quantize -> pack
-> verify -> write`; with a promise (`edgekit.converters.ladder`), quantizing is a climb. Each stage
is a module beside this one and can be called alone.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgekit import datasets, tflite
from edgekit.contract import Contract
from edgekit.converters import (
    calibrate,
    calibration_set,
    flatbuffer,
    golden,
    ladder,
    layers,
    lowering,
    passport,
    quantize,
    reading,
    sources,
    verify,
)
from edgekit.converters.ladder import Climb, Promised, PromiseNotKept
from edgekit.converters.mapping import Rewritten
from edgekit.converters.options import INTEGER, Options
from edgekit.converters.qat import labels, parent, parity, rung
from edgekit.converters.reading import Read, Request
from edgekit.converters.rungs import draft
from edgekit.converters.rungs.draft import Draft, Material
from edgekit.converters.stopwatch import Observer, Stopwatch
from edgekit.datasets import Dataset
from edgekit.errors import UsageError
from edgekit.evaluation.run import run_all
from edgekit.files import refuse_overwrite, sha256, write_all
from edgekit.golden import vectors
from edgekit.overrides import Overrides
from edgekit.tflite import versions


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
        golden: The golden vectors beside it, or None.
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
        climb: The rungs that were climbed for a promise, or None.
        parity: How it answers next to the quantization-aware model it was made from, or None.
        rewritten: What was rewritten so that the target takes it.
        needs: What decides which TensorFlow Lite is the oldest that runs it, or None.
        seconds: Wall time of each stage.
    """

    source: Path
    source_kind: str
    source_sha256: str
    framework: str
    output: Path
    passport: Path
    golden: Path | None
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
    climb: Climb | None
    parity: parity.Parity | None
    rewritten: tuple[Rewritten, ...]
    needs: versions.Need | None
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
    promised: Promised | None = None,
    golden_vectors: str = "beside",
) -> Conversion:
    """Converts a model to TFLite and verifies what is written.

    Args:
        source: A `.keras`, `.h5`, SavedModel folder or float32 `.tflite`.
        output: The file to write; by default the source's name with `.tflite`.
        options: Which quantization and how (`edgekit.converters.make_options`).
        data: A folder of photos to calibrate on; with a promise, to judge by as well.
        labels_csv: A CSV of path and label for them.
        overrides: What is known of the preprocessing.
        input_size: (height, width) for a model that takes images of any size.
        modules: Python modules that register custom Keras classes; their code runs.
        force: Replace existing files.
        observer: Called with (stage, done, total).
        promised: What the file must keep.
        golden_vectors: Where they go, see `edgekit.converters.golden.PLACES`: a file of their own,
            into the model's, or nowhere.

    Raises:
        UsageError: Something asked for doesn't fit the model.
        UnreadableError: The model or the data can't be read.
        NotMetError: The file would not be what was asked for; `PromiseNotKept` where a promise
            isn't kept.
        MissingError: A package is not installed.
        RuntimeFailure: The runtime failed, or the disk is full.
    """
    source = Path(source)
    kind = sources.kind_of(source)
    options = options or Options()
    output = _output(source, output)
    passport_path = output.with_name(output.name + ".json")
    golden.require_place(golden_vectors)
    golden_path = vectors.beside(output) if golden_vectors == "beside" else None
    written = [path for path in (output, passport_path, golden_path) if path is not None]
    refuse_overwrite(*written, force=force, source=source)
    if options.uses_litert:
        quantize.require()
    watch = Stopwatch(observer)
    split = None
    if promised is not None:
        _require_promisable(options)
        with watch.stage("look at the images") as progress:
            split = ladder.open_data(_path(data), promised.judge, _path(labels_csv), progress)
        dataset: Dataset | None = split.calibration
    else:
        dataset = calibration_set.find(_path(data), _path(labels_csv), source)

    loading = options
    if promised is not None:  # all there are, for the rungs; the first calibrates on a sample
        most = max(options.samples, ladder.MOST_CALIBRATION)
        loading = dataclasses.replace(options, samples=most)
    request = Request(source, kind, loading, dataset, overrides or Overrides(), input_size, modules)
    read = reading.read(request, watch)
    contract = read.found.contract
    calibrated = None
    if options.quantization in INTEGER:
        if read.learned is None:  # what was trained is not rewritten any more
            lowered = lowering.lower(read.model, str(source))
            read = dataclasses.replace(read, model=lowered)
        if _needs_ranges(read, options):
            assert read.calibration is not None
            with watch.stage("calibrate") as progress:
                calibrated = calibrate.calibrate(
                    read.model, read.calibration.pictures, contract, progress
                )
    climb = None
    if promised is not None and split is not None:
        if calibrated is None:
            raise UsageError(
                f"{source}: was trained to be quantized, and the rungs would undo that",
                "Convert it without a promise, and see what it keeps with edgekit evaluate.",
            )
        climb = _climb(promised, split, read, calibrated, options, output, watch)
        if not climb.kept and not promised.keep_best:
            _beside(output).unlink(missing_ok=True)
            raise _not_kept(climb, None)
        quantized, higher = climb.model, climb.best.higher if climb.best else frozenset()
    else:
        with watch.stage("quantize"):
            quantized, higher = _quantized(read, options, calibrated), frozenset()
    final = tflite.pack(quantized, contract)
    with watch.stage("verify") as progress:
        verify.check_file(final, options, contract, str(output), higher)
        scores = _scores(read, final, contract, progress)
        quality = _quality(read, scores, calibrated, contract)
        met = _parity(source, read, final, scores)
        worst: tuple[layers.LayerQuality, ...] = ()
        if options.layers and read.calibration is not None:
            worst = layers.worst_layers(
                read.model, final, read.calibration.pictures, contract, options.layers
            )
    kept: dict[Path, bytes] = {}
    if golden_vectors != "none":
        with watch.stage("golden vectors"):
            made = golden.make(read, final, scores, output.name).to_zip()
        if golden_path is None:
            final = tflite.pack(final, contract, {vectors.EMBEDDED: made})
        else:
            kept[golden_path] = made
    conversion = Conversion(
        source=source,
        source_kind=kind,
        source_sha256=sha256(source),
        framework=read.description.framework,
        output=output,
        passport=passport_path,
        golden=golden_path,
        options=options,
        contract=contract,
        contract_source=read.found.source,
        calibration_source=_calibration_source(read, calibrated),
        calibration_method=calibrated.method if calibrated else None,
        calibration_sha256=read.calibration.digest if read.calibration else None,
        warnings=(
            *_warnings(read, final, calibrated, options, str(output)),
            *read.notes,
            *(str(made) for made in read.rewritten),
        ),
        float_bytes=len(read.model),
        output_bytes=len(final),
        quality=quality,
        worst_layers=worst,
        climb=climb,
        parity=met,
        rewritten=read.rewritten,
        needs=versions.runtime_of(tflite.read(final, str(output))),
        seconds=watch.seconds,
    )
    recipe = quantize.recipe(options, higher) if options.uses_litert else None
    write_all({output: final, passport_path: passport.write(conversion, final, recipe), **kept})
    _beside(output).unlink(missing_ok=True)
    if climb is not None and not climb.kept:
        raise _not_kept(climb, output)
    return conversion


def _output(source: Path, output: str | os.PathLike[str] | None) -> Path:
    if output is None:
        # The current folder can be a SavedModel, and its name is `.`.
        output = (source if source.name else source.resolve()).with_suffix(".tflite")
    output = Path(output)
    if output.suffix != ".tflite":
        raise UsageError(
            f"{output}: a converted model is written as .tflite", "Name it so: -o m.tflite"
        )
    return output


def _quantized(read: Read, options: Options, calibrated: calibrate.Calibration | None) -> bytes:
    """The quantized file, finished."""
    where = "float model"
    if read.stock is not None:
        return flatbuffer.finish(read.stock, where)
    if options.quantization == "float32":
        return flatbuffer.finish(read.model, where)
    learned = read.learned.ranges if _has_learned(read, options) and read.learned else {}
    if calibrated is None:  # float16 and dynamic have no ranges, and a trained model has its own
        return Draft(read.model, read.model, learned, options).quantized(read.found.contract)
    assert read.calibration is not None
    begun = draft.plain(
        read.model,
        calibrated,
        _material(read, calibrated),
        options,
        procedural=read.calibration.kind == "procedural",
    )
    if learned:
        # Trained weights lie where they should; only what training left in float was calibrated.
        begun = Draft(read.model, read.model, begun.ranges | learned, options)
    return begun.quantized(read.found.contract)


def _has_learned(read: Read, options: Options) -> bool:
    """Whether the source was trained to be quantized as is asked for."""
    return read.learned is not None and options.quantization == "int8"


def _needs_ranges(read: Read, options: Options) -> bool:
    """Whether any activation's range is still unknown."""
    return not _has_learned(read, options) or bool(read.learned and read.learned.unlearned)


def _material(read: Read, calibrated: calibrate.Calibration) -> Material:
    assert read.calibration is not None
    return Material(
        read.calibration.pictures, calibrated.scores, read.found.contract, "float model"
    )


# --- a promise


def _require_promisable(options: Options) -> None:
    if options.quantization != "int8" or options.engine != "litert":
        raise UsageError(
            f"a promise goes with --int8, not with {options.quantization} of --engine "
            f"{options.engine}",
            "Leave out the other options, or the promise.",
        )


def _climb(
    promised: Promised,
    split: ladder.Data,
    read: Read,
    calibrated: calibrate.Calibration,
    options: Options,
    output: Path,
    watch: Stopwatch,
) -> Climb:
    """Climbs; the best file so far is kept beside the output meanwhile."""
    contract, classes = read.found.contract, read.description.classes
    with watch.stage("load judging images") as progress:
        judges = ladder.load_judges(
            split.judging,
            contract,
            classes,
            labels_needed=promised.promise.max_drop is not None,
            progress=progress,
        )

    train = None
    if promised.train_data is not None:
        train = _trainer(promised.train_data, split, read, watch)

    def keep(best: Climb) -> None:
        write_all({_beside(output): tflite.pack(best.model, contract)})

    try:
        return ladder.climb(
            promised,
            read.model,
            calibrated.sample(options.samples),
            _material(read, calibrated),
            judges,
            options,
            split.note,
            watch,
            keep,
            train,
        )
    except KeyboardInterrupt as interrupt:
        if _beside(output).is_file():
            raise KeyboardInterrupt(
                f"the best file so far is {_beside(output)}; whether it keeps the promise is not "
                "known"
            ) from interrupt
        raise


def _trainer(folder: Path, split: ladder.Data, read: Read, watch: Stopwatch) -> ladder.Training:
    """What the rung `qat` does; its photos must be none of the judging ones."""
    with watch.stage("check training images") as progress:
        splits = labels.in_order_of(
            read.found.contract.labels,
            read.description.classes,
            datasets.open_splits(folder),
            "the model",
        )
        trained = [example.path for example in (*splits.train, *splits.val)]
        datasets.refuse_overlap(trained, [s.path for s in split.judging.samples], progress)
    return rung.trainer(splits, read.found.contract, "the model")


def _beside(output: Path) -> Path:
    """Where the best file so far is kept while others are tried."""
    return output.with_name(f"{output.stem}.best.tflite")


def _not_kept(climb: Climb, written: Path | None) -> PromiseNotKept:
    """The error of a promise that isn't kept, with what would help."""
    assert climb.judgement is not None
    hint = ladder.advice(climb)
    where = "nothing is written" if written is None else f"the best is written to {written}"
    return PromiseNotKept(f"{climb.verdict}: {where}", hint, climb)


# --- what is said of the file


def _calibration_source(read: Read, calibrated: calibrate.Calibration | None) -> str | None:
    if read.calibration is None:
        return None
    if read.learned is None or calibrated is not None:
        return read.calibration.source
    return f"the ranges it was trained in; checked on {read.calibration.source}"


def _warnings(
    read: Read,
    final: bytes,
    calibrated: calibrate.Calibration | None,
    options: Options,
    where: str,
) -> tuple[str, ...]:
    warnings: list[str] = []
    if read.calibration is not None and (calibrated is not None or read.learned is None):
        warnings += read.calibration.warnings
    if calibrated is not None and calibrated.method != "profiler":
        warnings.append(
            "The runtime's profiler is not there, so calibration kept every tensor: same result, "
            "about four times slower. ai-edge-litert 2.3.0 has it."
        )
    if options.quantization == "int16x8" or options.mixed == "int16":
        left = verify.float_ops(tflite.read(final, where))
        if left:
            warnings.append(
                f"{len(left)} op(s) stay in float, since they have no int16 kernel here: "
                f"{', '.join(left[:3])}{', ...' if len(left) > 3 else ''}."
            )
    return tuple(warnings)


def _scores(
    read: Read,
    final: bytes,
    contract: Contract,
    progress: Callable[[int, int], None] | None,
) -> npt.NDArray[np.float32] | None:
    """The final file's answers to the calibration images; float32 is held against Keras before."""
    if read.calibration is None:
        return None
    return run_all(final, read.calibration.pictures, contract, progress=progress)


def _quality(
    read: Read,
    scores: npt.NDArray[np.float32] | None,
    calibrated: calibrate.Calibration | None,
    contract: Contract,
) -> verify.Quality | None:
    if scores is None or read.calibration is None:
        return None
    if calibrated is not None:
        return verify.compare(calibrated.scores, scores)
    return verify.compare(run_all(read.model, read.calibration.pictures, contract), scores)


def _parity(
    source: Path, read: Read, final: bytes, scores: npt.NDArray[np.float32] | None
) -> parity.Parity | None:
    """Holds the file against the quantization-aware model that it was made from."""
    if read.trained_scores is None or scores is None or read.calibration is None:
        return None
    return parent.require_parity(
        source,
        read.trained_scores,
        scores,
        final,
        read.calibration.pictures,
        read.found.contract,
    )


def _path(value: str | os.PathLike[str] | None) -> Path | None:
    return Path(value) if value is not None else None
