"""What int8 costs on Fashion-MNIST, and what each rung and each way of training bring back.

    python benchmarks/fashion_mnist.py FOLDER --work work/
    python benchmarks/fashion_mnist.py FOLDER --work work/ --only mobilenet_v2 --parts step

FOLDER holds the four .gz files of Fashion-MNIST (Debian: dataset-fashion-mnist, in
/usr/share/datasets/fashion-mnist). The pictures become 64-pixel RGB. Each model is trained here for
some minutes, from random weights; then come, all judged on the 10,000 test pictures:

* float and plain int8, and each rung of the accuracy ladder from the best before it;
* `edgekit qat`, then `edgekit convert --int8`, whose parity gate must be open;
* `edgekit qat --engine tfmot`, or its reason to refuse.

For MobileNetV2 the time of a training step of both engines, in rounds that take turns. Each part
is written to benchmarks/results/fashion_mnist.json when it is done; what is in WORK is used again.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.metadata
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import numpy.typing as npt

from edgekit import images, tflite
from edgekit.contract import NORMALIZATIONS, Contract
from edgekit.converters import Options, calibrate, export_float, flatbuffer, lowering, tfmot
from edgekit.converters.ladder import Judges, Promise, Promised, climb
from edgekit.converters.rungs import draft
from edgekit.converters.rungs.draft import Material
from edgekit.converters.stopwatch import Stopwatch
from edgekit.cpus import describe_machine
from edgekit.evaluation.paired import Paired, limits
from edgekit.evaluation.run import run_all
from edgekit.training import keras_file, zoo
from edgekit.training.heap import keep_freed_memory

RESULTS = Path(__file__).resolve().parent / "results" / "fashion_mnist.json"
CLASSES = (
    *("t-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "boot"),
)
SIZE, PER_CLASS, VAL_PER_CLASS, CALIBRATION = 64, 1000, 100, 200
BATCH, RATE = 32, 1e-3
RUNGS = ("equalization", "ranges", "bias", "rounding")
STEP_ROUNDS, STEPS = 3, 20
PARTS = ("ladder", "qat", "tfmot", "step")

Pictures = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """uint8[N, 64, 64, 3] and int64[N] to learn from and to judge by, and a folder of the first."""

    train: tuple[Pictures, Labels]
    test: tuple[Pictures, Labels]
    photos: Path


@dataclass(frozen=True)
class Subject:
    """A model.

    Attributes:
        build: Number of classes -> a Keras model that gives logits.
        normalization: What comes before it, a key of `NORMALIZATIONS`.
        epochs: Of training in float, 1,000 pictures of each class.
        qat: Options of `edgekit qat`.
        pretrained: Train it on the first five classes before, with a classifier of its own.
        rungs: Climb the ladder.
    """

    build: Callable[[int], Any]
    normalization: str
    epochs: int
    qat: tuple[str, ...] = ("--epochs", "3")
    pretrained: bool = False
    rungs: bool = True


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="models and pictures go there")
    parser.add_argument("--only", choices=SUBJECTS, nargs="+", default=list(SUBJECTS))
    parser.add_argument("--parts", choices=PARTS, nargs="+", default=PARTS)
    asked = parser.parse_args()

    keep_freed_memory()  # as training with edgekit does
    asked.work.mkdir(parents=True, exist_ok=True)
    data = prepare(asked.folder, asked.work / "photos")
    for name in asked.only:
        path = asked.work / f"{name}.keras"
        if not path.exists():
            began = time.monotonic()
            train_float(SUBJECTS[name], data, path)
            store(name, {"float_training_s": round(time.monotonic() - began, 1)})
        measure(name, path, data, asked.parts)
        if "step" in asked.parts and name == "mobilenet_v2":
            store(name, {"step": step_times(path)})


def store(name: str, measured: dict[str, Any]) -> None:
    """Writes figures of a model beside the others."""
    models = json.loads(RESULTS.read_text("utf-8"))["models"] if RESULTS.exists() else {}
    models[name] = models.get(name, {}) | measured
    packages = ("tensorflow", "keras", "ai-edge-litert", "litert-quantizer")
    document = {
        "what": f"Fashion-MNIST as {SIZE}-pixel RGB, {PER_CLASS:,} training pictures of each "
        "class; top-1 on the 10,000 test pictures; drops in points, with paired two-sided 95 % "
        "intervals",
        "command": "python benchmarks/fashion_mnist.py FOLDER --work work/",
        "machine": describe_machine(),
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "models": models,
    }
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(name, json.dumps(measured), flush=True)


# --- the data


def prepare(folder: Path, photos: Path) -> Data:
    """Reads the pictures, and writes those to train on and to choose epochs by as files."""
    pictures, labels = _read(folder, "train")
    places = [np.flatnonzero(labels == label) for label in range(len(CLASSES))]
    train = np.sort(np.concatenate([place[:PER_CLASS] for place in places]))
    val = np.concatenate([place[PER_CLASS : PER_CLASS + VAL_PER_CLASS] for place in places])
    if not photos.exists():
        for split, chosen in (("train", train), ("val", val)):
            for place in chosen:
                path = photos / split / CLASSES[labels[place]] / f"{place:05}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), pictures[place])  # grey: the channels are the same
    return Data((pictures[train], labels[train]), _read(folder, "t10k"), photos)


def _read(folder: Path, part: str) -> tuple[Pictures, Labels]:
    """The IDX files of a part: 16 and 8 bytes of header, then the values."""
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        small = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)
    large = [cv2.resize(s, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR) for s in small]
    return np.repeat(np.stack(large)[..., None], 3, axis=-1), labels


# --- the models, trained in float


def _application(name: str, **options: Any) -> Callable[[int], Any]:
    def build(classes: int) -> Any:
        return getattr(keras.applications, name)(
            input_shape=(SIZE, SIZE, 3),
            weights=None,
            classes=classes,
            classifier_activation=None,
            **options,
        )

    return build


def _nested(classes: int) -> Any:
    """A backbone as one layer of a Sequential, as people fine-tune."""
    backbone = keras.applications.MobileNetV2(
        input_shape=(SIZE, SIZE, 3), weights=None, include_top=False, alpha=0.35
    )
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            backbone,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(classes),
        ]
    )


def _transformer(name: str) -> Callable[[int], Any]:
    def build(classes: int) -> Any:
        from edgekit.training.zoo import swin, vit

        entry = zoo.entry(name)
        return {"vit": vit, "swin": swin}[entry.builder].build(entry, classes, SIZE)

    return build


_SHORT_QAT = ("--steps", "100", "--rate", "3e-5")
SUBJECTS: dict[str, Subject] = {
    "mobilenet_v2": Subject(_application("MobileNetV2"), "tf", 5),
    "mobilenet_v3_small": Subject(_application("MobileNetV3Small"), "raw", 8),
    "efficientnet_b0": Subject(_application("EfficientNetB0"), "raw", 5),
    "nested": Subject(_nested, "raw", 5, pretrained=True),
    "vit_ti16": Subject(_transformer("vit_ti16"), "tf", 2, _SHORT_QAT, rungs=False),
    "swin_t": Subject(_transformer("swin_t"), "tf", 1, _SHORT_QAT, rungs=False),
}


def train_float(subject: Subject, data: Data, path: Path) -> None:
    """Trains with plain Keras, and saves with the contract."""
    keras.utils.set_random_seed(1)
    contract = Contract(SIZE, SIZE, labels=CLASSES, output="logits").with_normalization(
        NORMALIZATIONS[subject.normalization]
    )
    pictures, labels = data.train
    inputs = images.to_input(pictures, contract, np.float32).astype(np.float32)
    model = subject.build(len(CLASSES))
    if subject.pretrained:
        first = subject.build(len(CLASSES) // 2)
        chosen = labels < len(CLASSES) // 2
        _fit(first, inputs[chosen], labels[chosen], 2)
        own, learned = (next(x for x in m.layers if hasattr(x, "layers")) for m in (model, first))
        own.set_weights(learned.get_weights())
    _fit(model, inputs, labels, subject.epochs)
    model.save(path)
    keras_file.add_contract(path, contract)


def _fit(model: Any, inputs: npt.NDArray[np.float32], labels: Labels, epochs: int) -> None:
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # its default remembers 1,000 steps, and there are not many more
    steps = epochs * math.ceil(len(labels) / BATCH)
    rate = keras.optimizers.schedules.CosineDecay(
        RATE / 10, steps, warmup_target=RATE, warmup_steps=steps // 10
    )
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.02),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(inputs, labels, BATCH, epochs, verbose=2)


# --- what becomes of them


def measure(name: str, path: Path, data: Data, parts: Sequence[str]) -> None:
    """The float model's accuracy, and what it becomes in int8."""
    subject, exported = SUBJECTS[name], export_float(path)
    contract, (pictures, truth) = exported.contract, data.test
    model = lowering.lower(flatbuffer.prepare(exported.model, str(path)), str(path))
    right = run_all(model, pictures, contract).argmax(1) == truth
    store(name, {"float_top1": float(right.mean())})
    if "ladder" in parts:
        rungs = RUNGS if subject.rungs else ()
        store(name, {"ladder": ladder(model, contract, data, name, rungs)})
    if "qat" in parts:
        store(name, {"qat": qat(path, subject.qat, data, right)})
    if "tfmot" in parts:
        store(name, {"tfmot": with_tfmot(path, data, right)})


def ladder(
    model: bytes, contract: Contract, data: Data, name: str, rungs: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Plain int8, then each rung from the best before it."""
    calibration = data.train[0][:: len(data.train[0]) // CALIBRATION]
    calibrated = calibrate.calibrate(model, calibration, contract)
    climbed = climb(
        # Hardly anything keeps this promise, so that every rung is climbed.
        Promised(Promise(min_agreement=100.0), rungs),
        model,
        calibrated,
        Material(calibration, calibrated.scores, contract, name),
        Judges(*data.test),
        Options(),
        "",
        Stopwatch(None),
        lambda best: None,
        None,
    )
    return [step.to_dict() for step in climbed.steps]


def qat(
    path: Path, options: tuple[str, ...], data: Data, right: npt.NDArray[np.bool_]
) -> dict[str, Any]:
    """Trained with edgekit, converted, and held against the float model."""
    trained, converted = path.with_suffix(".q.keras"), path.with_suffix(".q.tflite")
    found = _edgekit(
        *("qat", str(path), "--data", str(data.photos), *options, "-o", str(trained), "--force")
    )
    file = _edgekit("convert", "--int8", str(trained), "-o", str(converted), "--force")
    return {
        **_held(converted, data, right),
        "epochs": len(found["history"]),
        "seconds": round(sum(found["seconds"].values()), 1),
        "recipe": found["recipe"],
        "parity": file["parity"],
    }


def with_tfmot(path: Path, data: Data, right: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """The same with tensorflow-model-optimization, or why it can't."""
    output = path.with_suffix(".tfmot.tflite")
    try:
        found = _edgekit(
            *("qat", str(path), "--data", str(data.photos), "--engine", "tfmot"),
            *("--epochs", "3", "-o", str(output), "--force"),
        )
    except subprocess.CalledProcessError as error:
        said = error.stderr.replace(f"{path.parent}/", "").strip()
        return {"refused": said.splitlines()[-2:]}
    return {
        **_held(output, data, right),
        "epochs": len(found["history"]),
        "seconds": round(found["seconds"], 1),
        "recipe": found["recipe"],
    }


def _held(file: Path, data: Data, right: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """An int8 file's accuracy next to the float model's."""
    model, (pictures, truth) = file.read_bytes(), data.test
    contract = tflite.read_contract(model, str(file))
    assert contract is not None
    kept = run_all(model, pictures, contract).argmax(1) == truth
    paired = Paired(len(truth), int((right & ~kept).sum()), int((kept & ~right).sum()))
    return {
        "top1": float(kept.mean()),
        "drop": round(100 * float(right.mean() - kept.mean()), 2),
        "drop_interval": [round(100 * end, 2) for end in limits(paired, 0.975)],
    }


def _edgekit(*arguments: str) -> dict[str, Any]:
    """What `edgekit ARGUMENTS --json` prints."""
    print("edgekit", *arguments, file=sys.stderr, flush=True)
    run = subprocess.run(
        [sys.executable, "-m", "edgekit", *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        print(run.stderr, file=sys.stderr)
    run.check_returncode()
    found: dict[str, Any] = json.loads(run.stdout)
    return found


# --- the time of a training step


def step_times(path: Path) -> dict[str, Any]:
    """Seconds of a step of each engine: forwards, backwards, optimizer, the batch in memory."""
    ours = {name: _stepper(path, share) for name, share in (("labels", 0.0), ("distilled", 0.7))}
    contract = _stored_contract(path)
    times: dict[str, list[float]] = {"labels": [], "distilled": [], "tfmot": []}
    for _ in range(STEP_ROUNDS):
        for name, step in ours.items():
            times[name].append(statistics.median(step() for _ in range(STEPS)))
        stock = tfmot.step_seconds(path, contract, batch=BATCH, steps=STEPS)
        times["tfmot"].append(statistics.median(stock))
    medians = {name: statistics.median(found) for name, found in times.items()}
    return {
        "batch": BATCH,
        "rounds": times,
        "ratio_to_tfmot": {
            name: round(medians[name] / medians["tfmot"], 3) for name in ("labels", "distilled")
        },
    }


def _stepper(path: Path, distillation: float) -> Callable[[], float]:
    """A function that does one step of edgekit's training, and says how long it took."""
    from edgekit.converters.qat import twin
    from edgekit.converters.qat.distilling import Distiller
    from edgekit.converters.qat.recipe import Recipe
    from edgekit.converters.qat.training import logits_of
    from edgekit.training.learner import normalizer

    exported = export_float(path)
    contract, where, rng = exported.contract, path.name, np.random.default_rng(0)
    model = lowering.lower(exported.model, where)
    pictures = rng.integers(0, 256, (BATCH, SIZE, SIZE, 3), np.uint8)
    calibrated = calibrate.calibrate(model, pictures, contract)
    begun = draft.plain(
        model, calibrated, Material(pictures, calibrated.scores, contract, where), Options()
    ).roomy()
    student = twin.build(begun.model, begun.quantized(contract), contract, where)
    teacher = twin.build(model, None, None, where)
    learner = Distiller(
        normalizer(contract),
        logits_of(student, where),
        logits_of(teacher, where),
        Recipe(batch=BATCH, distillation=distillation),
    )
    targets = np.eye(len(CLASSES), dtype=np.float32)[rng.integers(0, len(CLASSES), BATCH)]

    def step() -> float:
        began = time.perf_counter()
        learner.train(pictures, targets, 1e-4, BATCH)
        return time.perf_counter() - began

    for _ in range(5):  # traced in the first
        step()
    return step


def _stored_contract(path: Path) -> Contract:
    stored = keras_file.read_contract(path)
    assert stored is not None
    return stored[0]


if __name__ == "__main__":
    main()
