"""The verbs of the command line as Python calls.

A Keras file (`.keras`, `.h5`, a SavedModel folder) is measured as its float32 TFLite export: the
same operations in the same runtime as the quantized file it is compared with, so that what differs
is the quantization and nothing else.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit import datasets, evaluation, overrides

# `edgekit.doctor` is this call without numpy and OpenCV, which this module imports.
from edgekit.doctor import doctor as doctor
from edgekit.evaluation.classifier import Classifier, open_tflite
from edgekit.evaluation.evaluate import StageProgress
from edgekit.evaluation.predict import Prediction
from edgekit.evaluation.results import Evaluation
from edgekit.overrides import Given, Overrides

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from edgekit.advisor import Advice
    from edgekit.benchmark.compare import Comparison
    from edgekit.benchmark.document import Run
    from edgekit.converters import Conversion, Promised
    from edgekit.converters.qat.recipe import Settings as QatSettings
    from edgekit.converters.qat.result import Result
    from edgekit.deploy.android import AndroidBundle
    from edgekit.deploy.pi import PiBundle
    from edgekit.golden.verifying import Verification
    from edgekit.report.quantization import QuantizationReport
    from edgekit.training.hooks import Hooks
    from edgekit.training.recipe import Settings
    from edgekit.training.result import Training
    from edgekit.training.tuning import Tuning

PathLike = str | os.PathLike[str]

_KERAS_SUFFIXES = frozenset({".keras", ".h5", ".hdf5"})


def open_classifier(path: PathLike, given: Overrides | None = None) -> Classifier:
    """Opens a model file with its preprocessing contract.

    Args:
        path: A .tflite file, or a Keras file or SavedModel folder, which is exported to float32
            TFLite first (needs TensorFlow: `pip install edgekit[convert]`).
        given: Parts of the contract that the file lacks or that are to be replaced.

    Raises:
        UnreadableError: It is no sound model file or no image classifier.
        UsageError: The contract is missing or contradicts the model.
        MissingError: TensorFlow is needed and not installed.
    """
    path, given = Path(path), given or Overrides()
    if not is_keras(path):
        return open_tflite(path, given)
    from edgekit.converters import export_float

    exported = export_float(path, given)
    return Classifier(
        path.name, path, exported.model, exported.contract, exported.classes, exported=True
    )


def is_keras(path: Path) -> bool:
    """Whether a path is taken for a Keras model: by its suffix, or because it is a folder."""
    return path.suffix.lower() in _KERAS_SUFFIXES or path.is_dir()


def advise(
    data: PathLike,
    target: str,
    *,
    max_latency: float | None = None,
    max_size: float | None = None,
    min_accuracy: float | None = None,
    train_budget: float | None = None,
    top: int = 3,
    labels_csv: PathLike | None = None,
    device: str | None = None,
    folder: PathLike = ".",
    probe: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Advice:
    """Which model of the zoo to use, before any is trained.

    `edgekit.advisor.trial.run(advice)` then trains and measures the short list.

    Args:
        data: The photos, laid out as for `train`.
        target: A name of `edgekit.targets` (`pi4`, `coral`), or a .toml file.
        max_latency: Of one inference, in ms.
        max_size: Of the int8 file, in MiB.
        min_accuracy: Wished for on these photos, 0..1; it can't be promised, and makes the list go
            by accuracy.
        train_budget: For the training, in minutes, roughly.
        top: How many models to list.
        labels_csv: A CSV of path, label and perhaps split instead of folders.
        device: Where it is measured: `local`, `ssh:user@host[:port]`, `adb[:serial]`.
        folder: Where the models go.
        probe: Train a classifier on frozen features in a process of its own, to see whether
            fine-tuning is worth its time (needs `pip install "edgekit[train,weights]"`).
        progress: Called with (done, total) as photos are read.

    Returns:
        The short list, empty where no model meets what was asked for, and all that led to it.

    Raises:
        EdgekitError: See `edgekit.advisor.advise`.
    """
    from edgekit import advisor

    csv = None if labels_csv is None else Path(labels_csv)
    limits = (max_latency, max_size, min_accuracy, train_budget)
    wishes = advisor.Wishes(Path(data), target, *limits, top, csv, device, Path(folder), probe)
    return advisor.advise(wishes, progress)


def train(
    data: PathLike,
    output: PathLike,
    model: str = "efficientnet_lite0",
    *,
    job: Mapping[str, Any] | None = None,
    hooks: Hooks | None = None,
    **recipe: Unpack[Settings],
) -> Training:
    """Fine-tunes a model of the zoo on a folder of photos.

    Args:
        data: A folder with one folder per class, or `train/` and `val/` with such folders.
        output: The `.keras` file to write; `m.edgekit/` appears beside `m.keras`.
        model: A name of the zoo (`edgekit models list`).
        job: Other fields of `edgekit.training.train.Job`, such as `{"budget": 600.0}` (seconds),
            `{"weights": "m.pth"}`, `{"resume": True}` or `{"force": True}`.
        hooks: Callbacks that are told how it goes.
        **recipe: Fields of `edgekit.training.recipe.Recipe`, such as `epochs=20`, `unfreeze=5`.

    Returns:
        What came out; it prints as the summary, in a notebook too.

    Raises:
        EdgekitError: See `edgekit.training.train.train`.
    """
    from edgekit.training.recipe import Recipe
    from edgekit.training.train import Job
    from edgekit.training.train import train as run

    return run(Job(Path(data), Path(output), model, **(job or {})), Recipe(**recipe), hooks)


def tune(
    data: PathLike,
    models: Sequence[str] = ("efficientnet_lite0",),
    *,
    request: Mapping[str, Any] | None = None,
    hooks: Hooks | None = None,
    **recipe: Unpack[Settings],
) -> Tuning:
    """Searches for better hyper-parameters than the default's.

    Args:
        data: As for `train`.
        models: Names of the zoo; several are searched too.
        request: Other fields of `edgekit.training.tuning.Request`, such as `{"budget": 3600.0}`
            (seconds), `{"trials": 20}` or `{"storage": "postgresql://..."}`.
        hooks: Callbacks that are told how it goes.
        **recipe: Fields of `edgekit.training.recipe.Recipe` that are not searched.

    Returns:
        The best, the default and all trials; it prints as the summary.

    Raises:
        EdgekitError: See `edgekit.training.tuning.tune`.
    """
    from edgekit.training.recipe import Recipe
    from edgekit.training.tuning import Request
    from edgekit.training.tuning import tune as run

    wanted = Request(Path(data), models=tuple(models), **(request or {}))
    return run(wanted, Recipe(**recipe), recipe, hooks)


def qat(
    model: PathLike,
    data: PathLike,
    output: PathLike,
    *,
    job: Mapping[str, Any] | None = None,
    hooks: Hooks | None = None,
    **recipe: Unpack[QatSettings],
) -> Result:
    """Trains a model to be as good in int8 as in float (quantization-aware training).

    Args:
        model: A `.keras`, `.h5`, SavedModel folder or float32 `.tflite`.
        data: Labelled photos of the model's classes, as for `train`.
        output: The `.keras` file to write; `q.edgekit/` appears beside `q.keras`.
        job: Other fields of `edgekit.converters.qat.job.Job`, such as `{"budget": 600.0}`
            (seconds), `{"resume": True}` or `{"force": True}`.
        hooks: Callbacks that are told how it goes.
        **recipe: Fields of `edgekit.converters.qat.recipe.Recipe`, such as `epochs=20`.

    Returns:
        What came out; it prints as the summary.

    Raises:
        EdgekitError: See `edgekit.converters.qat.job.quantization_aware_train`.
    """
    from edgekit.converters.qat.job import Job, quantization_aware_train
    from edgekit.converters.qat.recipe import Recipe

    wanted = Job(Path(model), Path(data), Path(output), **(job or {}))
    return quantization_aware_train(wanted, Recipe(**recipe), hooks)


def convert(
    model: PathLike,
    output: PathLike | None = None,
    quantization: str = "int8",
    *,
    data: PathLike | None = None,
    labels_csv: PathLike | None = None,
    input_size: tuple[int, int] | None = None,
    modules: Sequence[str] = (),
    force: bool = False,
    options: Mapping[str, Any] | None = None,
    promised: Promised | None = None,
    golden_vectors: str = "beside",
    progress: StageProgress | None = None,
    **given: Unpack[Given],
) -> Conversion:
    """Converts a model to TFLite and verifies what is written.

    Args:
        model: A `.keras`, `.h5`, SavedModel folder or float32 `.tflite`.
        output: The .tflite file to write; by default the model's name.
        quantization: `int8`, `int16x8`, `float16`, `dynamic` or `float32`.
        data: A folder of photos to calibrate on.
        labels_csv: A CSV of path and label for them.
        input_size: (height, width) in pixels, for a model that takes images of any size.
        modules: Python modules that register custom Keras classes; their code runs.
        force: Replace existing files.
        options: What else `edgekit.converters.make_options` takes, such as `{"samples": 100}`.
        promised: What the file must keep, and how far to climb for it:
            `edgekit.converters.Promised(edgekit.converters.Promise(max_drop=1.0))`.
        golden_vectors: `beside` the file, `inside` it, or `none`.
        progress: Called with (stage, done, total).
        **given: What is known of the preprocessing; see `edgekit.overrides.Given`.

    Raises:
        EdgekitError: See `edgekit.errors` and `edgekit.converters.convert`.
    """
    from edgekit import converters

    return converters.convert(
        model,
        output,
        options=converters.make_options(quantization, **(options or {})),
        data=data,
        labels_csv=labels_csv,
        overrides=overrides.parse(**given),
        input_size=input_size,
        modules=modules,
        force=force,
        observer=progress,
        promised=promised,
        golden_vectors=golden_vectors,
    )


def evaluate(
    files: PathLike | Sequence[PathLike],
    data: PathLike,
    *,
    labels_csv: PathLike | None = None,
    limit: int | None = None,
    label_offset: int = 0,
    progress: StageProgress | None = None,
    **given: Unpack[Given],
) -> Evaluation:
    """Compares models on the same pictures; the first file is the reference.

    Args:
        files: One model file or several; Keras files are measured as their float32 TFLite export.
        data: A folder of pictures; labels from class folders or from leading indices.
        labels_csv: A CSV of path and label instead.
        limit: At most this many pictures, evenly over the classes.
        label_offset: Added to class indices that come as numbers; 1 for models whose class 0 is
            "background".
        progress: Called with (stage, done, total).
        **given: What is known of the preprocessing; see `edgekit.overrides.Given`.

    Raises:
        EdgekitError: See `edgekit.errors`: a model or the data can't be read, the contract is
            missing, the classes don't fit.
    """
    many = [files] if isinstance(files, (str, os.PathLike)) else files
    return evaluate_files(
        [Path(file) for file in many],
        Path(data),
        overrides.parse(**given),
        labels_csv=None if labels_csv is None else Path(labels_csv),
        limit=limit,
        label_offset=label_offset,
        progress=progress,
    )


def evaluate_files(
    files: Sequence[Path],
    data: Path,
    given: Overrides,
    *,
    labels_csv: Path | None = None,
    limit: int | None = None,
    label_offset: int = 0,
    progress: StageProgress | None = None,
) -> Evaluation:
    """`evaluate`, with the contract's options read already."""
    # The data first: it is quick to check, and a model may take long to open.
    dataset = datasets.find(data, labels_csv)
    classifiers = []
    for number, file in enumerate(files, 1):
        classifier = open_classifier(file, given)
        if any(other.name == file.name and other != file for other in files):
            classifier = dataclasses.replace(classifier, name=str(file))
        classifiers.append(classifier)
        if progress is not None:
            progress("opening", number, len(files))
    return evaluation.evaluate(
        classifiers, dataset, progress, limit=limit, label_offset=label_offset
    )


def inspect_quantization(
    file: PathLike,
    against: PathLike,
    data: PathLike | None = None,
    *,
    labels_csv: PathLike | None = None,
    samples: int = 32,
    progress: StageProgress | None = None,
    **given: Unpack[Given],
) -> QuantizationReport:
    """Finds where a quantized file loses accuracy: `edgekit inspect --quantization`.

    Args:
        file: A quantized .tflite file.
        against: The float model that it was made from.
        data: A folder of photos; by default those kept beside the float model, or procedural
            images.
        labels_csv: A CSV of path and label for them.
        samples: How many to run at most.
        progress: Called with (stage, done, total).
        **given: What is known of the preprocessing; see `edgekit.overrides.Given`.

    Raises:
        EdgekitError: See `edgekit.converters.diagnosis.inspecting.diagnose`.
    """
    from edgekit.converters.diagnosis.inspecting import diagnose

    return diagnose(
        file,
        against,
        data=data,
        labels_csv=labels_csv,
        samples=samples,
        overrides=overrides.parse(**given),
        observer=progress,
    )


def predict(
    file: PathLike,
    inputs: PathLike | Iterable[PathLike],
    top: int = 5,
    **given: Unpack[Given],
) -> Iterator[Prediction]:
    """Classifies pictures and folders of pictures.

    Args:
        file: The model; a Keras file runs as its float32 TFLite export.
        inputs: One picture or folder, or several.
        top: How many guesses to give per picture.
        **given: What is known of the preprocessing; see `edgekit.overrides.Given`.

    Returns:
        One prediction per picture, as they are made; a broken picture has an `error`.

    Raises:
        EdgekitError: The model can't be read, or its contract is missing.
    """
    many = [inputs] if isinstance(inputs, (str, os.PathLike)) else inputs
    return evaluation.predict(
        open_classifier(file, overrides.parse(**given)), [Path(i) for i in many], top
    )


def verify(
    model: PathLike,
    golden: PathLike | None = None,
    *,
    on: str | None = None,
    place: Mapping[str, Any] | None = None,
    answers: PathLike | None = None,
    tolerance: float | None = None,
    notify: Callable[[str], None] = lambda message: None,
) -> Verification:
    """Replays the golden vectors of a model: `found.replay.fault` is the stage that differs.

    Args:
        model: A .tflite file.
        golden: Its golden vectors; by default those beside it, or else those inside.
        on: Run it there: `local`, `ssh:user@host[:port]`, `adb[:SERIAL]`; by default in this
            process, with every stage of the preprocessing.
        place: How to run it there: fields of `edgekit.golden.on_device.Place`, such as
            `{"delegate": "edgetpu"}`.
        answers: A folder that an app wrote instead.
        tolerance: By how many steps a score may differ.
        notify: Called with what should be known while it runs.

    Raises:
        EdgekitError: See `edgekit.golden.verifying.verify`.
    """
    from edgekit.golden.on_device import Place
    from edgekit.golden.verifying import verify as run

    where = Place(on or "local", **(place or {})) if on or place else None
    return run(
        Path(model),
        None if golden is None else Path(golden),
        where,
        None if answers is None else Path(answers),
        tolerance,
        notify,
    )


def bundle_android(
    models: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    notify: Callable[[str], None] = lambda message: None,
    **options: Any,
) -> AndroidBundle:
    """Puts .tflite files into the Android demo, a Gradle project.

    Args:
        models: The files.
        output: The folder to write.
        notify: Called with what should be known.
        **options: As of `edgekit.deploy.android.bundle`: `application_id`, `app_name`,
            `assets_only`, `planned`, `force`.

    Raises:
        EdgekitError: See there.
    """
    from edgekit.deploy.android import bundle

    many = [models] if isinstance(models, str | os.PathLike) else models
    return bundle([Path(model) for model in many], Path(output), notify=notify, **options)


def bundle_pi(
    model: PathLike,
    output: PathLike,
    golden: PathLike | None = None,
    *,
    install: str | None = None,
    notify: Callable[[str], None] = lambda message: None,
    **options: Any,
) -> PiBundle:
    """Makes the Raspberry Pi package of a .tflite file: a folder and a .tar.gz.

    Args:
        model: The file.
        output: The folder to write.
        golden: Its golden vectors, where they aren't beside it.
        install: A device to put it on, install it and verify it there: `ssh:user@host[:port]`.
        notify: Called with what should be known.
        **options: As of `edgekit.deploy.pi.bundle`: `for_edgetpu`, `wheels`, `force`.

    Raises:
        EdgekitError: See there, and `edgekit.deploy.installing.install`.
    """
    from edgekit.deploy import installing
    from edgekit.deploy.pi import bundle
    from edgekit.devices import open_device

    if install is not None:
        open_device(install)  # a name that is none is told before any work
    chosen = None if golden is None else Path(golden)
    made = bundle(Path(model), Path(output), chosen, notify=notify, **options)
    if install is not None:
        installing.install(made, install, notify)
    return made


def measure(
    models: PathLike | Sequence[PathLike],
    on: str | Sequence[str] = "local",
    *,
    delegates: Sequence[str] = ("xnnpack",),
    threads: Sequence[int] = (1,),
    effort: Mapping[str, Any] | None = None,
    request: Mapping[str, Any] | None = None,
    tools: Mapping[str, Any] | None = None,
    seed: int = 0,
    notify: Callable[[str], None] = lambda message: None,
) -> Run:
    """Measures latencies: `edgekit benchmark`, under another name since that is a package.

    Args:
        models: One .tflite file or several.
        on: `local`, `ssh:user@host[:port]`, `adb[:SERIAL]`, or several.
        delegates: `xnnpack`, `none`, `gpu`, `nnapi`, `edgetpu`, `external:PATH[,key=value...]`.
        threads: Numbers of CPU threads.
        effort: How long: fields of `edgekit.benchmark.plan.Effort`, such as `{"rounds": 15}`.
        request: What: fields of `edgekit.benchmark.plan.Request`, such as `{"input": "zeros"}`.
        tools: With what: fields of `edgekit.benchmark.kit.Tools`, such as `{"python": True}`.
        seed: Of the order of the rounds.
        notify: Called with what should be known while it runs.

    Returns:
        All samples; `edgekit.benchmark.statistics.summarize(cell)` says what they say.

    Raises:
        EdgekitError: See `edgekit.errors`: the first cell that failed.
    """
    from edgekit.benchmark import driver, kit, plan

    many = [models] if isinstance(models, (str, os.PathLike)) else models
    outcome = driver.measure(
        plan.grid([Path(model) for model in many], delegates, threads),
        [on] if isinstance(on, str) else on,
        plan.Effort(**(effort or {})),
        plan.Request(**(request or {})),
        kit.Tools(**(tools or {})),
        seed=seed,
        notify=notify,
    )
    if outcome.interrupted:
        raise KeyboardInterrupt
    if outcome.failure is not None:
        raise outcome.failure
    return outcome.run


def compare(
    first: PathLike, second: PathLike | None = None, *, budget: str | None = None
) -> tuple[Comparison, ...]:
    """Says what is known of the cells of one benchmark against another's.

    Args:
        first: A file of `edgekit benchmark -o`; the reference.
        second: Another; by default the models of the first are compared with each other.
        budget: How much slower it may be, such as `+3%`.

    Raises:
        EdgekitError: A file can't be read, or the two were not measured alike.
    """
    from edgekit.benchmark.compare import compare_files

    return compare_files(Path(first), None if second is None else Path(second), budget=budget)
