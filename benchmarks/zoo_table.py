"""The table of the zoo: every model created, trained one step, made int8 and held against float.

    python benchmarks/zoo_table.py --data PHOTOS                     # what is missing
    python benchmarks/zoo_table.py --data PHOTOS --family ViT --again
    python benchmarks/zoo_table.py --data PHOTOS --only resnet18 vit_ti16

For each model: its parameters and MACs are counted and compared with the catalogue's; one step of
training on photos must give a finite loss and move the weights; the int8 file, calibrated on
`--photos` of the photos, must have no float op; it is judged on as many others. Each model has a
process of its own. Results are kept in benchmarks/results/zoo.json as they come, and the table in
docs/models.md is written from there.

Where there are no ImageNet weights, they are random: signals keep their size through the layers,
batch norms get the statistics of photos, and each class scores 0 on average, so that its photo and
no constant decides. The highest of a thousand random scores leads by little: agreement shows there
that nothing breaks, not how good a trained model would be.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import math
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import edgekit
from edgekit import datasets, images
from edgekit.api import open_classifier
from edgekit.contract import Contract
from edgekit.cpus import describe_machine
from edgekit.errors import MissingError, UsageError
from edgekit.evaluation import evaluate
from edgekit.files import write_all
from edgekit.training import keras_file, zoo
from edgekit.training.zoo.weights import sources

if TYPE_CHECKING:
    import keras

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "zoo.json"
DOCUMENT = HERE.parent / "docs" / "models.md"
BEGIN = "<!-- The table: written by benchmarks/zoo_table.py. -->"
END = "<!-- End of the table. -->"
PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "litert-quantizer", "numpy")

#: Photos that random models' batch norms get their statistics from. One step of training takes one
#: photo: a step of EfficientNet-B7 needs about 10 GiB for each.
_STATISTICS = 16


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="a folder of photos")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--family")
    parser.add_argument("--photos", type=int, default=60, help="to calibrate on, and to judge by")
    parser.add_argument("--again", action="store_true", help="measure what is there already, too")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(examine(zoo.entry(arguments.one), arguments.data, arguments.photos)))
        return 0
    models = read_results()
    chosen = [
        entry.name
        for entry in zoo.CATALOGUE.values()
        if arguments.only in ([], [entry.name]) or entry.name in arguments.only
        if arguments.family in (None, entry.family)
        if arguments.again or entry.name not in models
    ]
    if chosen and arguments.data is None:
        parser.error("--data is needed to measure")
    for name in chosen:
        command = [sys.executable, __file__, "--one", name, "--data", str(arguments.data)]
        run = subprocess.run(
            [*command, "--photos", str(arguments.photos)], stdout=subprocess.PIPE, text=True
        )
        if run.returncode:
            return run.returncode
        models[name] = json.loads(run.stdout.splitlines()[-1])
        write_results(models, arguments.photos)
        print(name, models[name], flush=True)
    write_table(models)
    failures = {name: model["failures"] for name, model in models.items() if model["failures"]}
    for name, reasons in failures.items():
        print(f"{name}: {'; '.join(reasons)}", file=sys.stderr)
    return 1 if failures else 0


def examine(entry: zoo.Entry, data: Path, photos: int) -> dict[str, Any]:
    """Everything about one model."""
    found = datasets.find(data)
    chosen = datasets.select(found.samples, 2 * photos)
    calibration, judges = chosen[::2], chosen[1::2]
    weights = available_weights(entry)
    model, contract = zoo.build(entry.name, weights=weights)
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    failures = []
    if parameters != entry.parameters:
        failures.append(f"{parameters:,} parameters, the catalogue says {entry.parameters:,}")
    if weights is None:
        randomize(model)
        settle(model, load(calibration[:_STATISTICS], contract))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        source, int8 = work / f"{entry.name}.keras", work / f"{entry.name}.tflite"
        model.save(source)
        keras_file.add_contract(source, contract)
        loss, moved = train_one_step(model, load(calibration[:1], contract), calibration[:1])
        if not (math.isfinite(loss) and moved):
            failures.append(f"a step of training gave a loss of {loss} and moved no weight")
        del model
        (work / "calibration").mkdir()
        for sample in calibration:
            (work / "calibration" / sample.path.name).symlink_to(sample.path.resolve())
        conversion = edgekit.convert(source, int8, data=work / "calibration")

        arithmetic = edgekit.inspect(int8).arithmetic
        if arithmetic.kind != "int8" or arithmetic.islands:
            failures.append(f"the int8 file computes in {arithmetic.kind}: {arithmetic.reason}")
        classifiers = [open_classifier(source), open_classifier(int8)]
        (work / "float.tflite").write_bytes(classifiers[0].model)
        macs = edgekit.inspect(work / "float.tflite").macs
        if macs != entry.macs:
            failures.append(f"{macs:,} MACs, the catalogue says {entry.macs:,}")
        result = evaluate(classifiers, datasets.Dataset(data, tuple(judges), None))
        reference, converted = result.to_dict()["models"]
    return {
        "family": entry.family,
        "weights": "random" if weights is None else "ImageNet",
        "size": entry.size,
        "parameters": parameters,
        "macs": macs,
        "loss_of_one_step": round(loss, 3),
        "agreement": round(converted["agreement"], 4),
        "sqnr_db": round(converted["sqnr_db"], 2),
        "float_mib": round(reference["size_bytes"] / 2**20, 2),
        "int8_mib": round(converted["size_bytes"] / 2**20, 2),
        "float_ms": round(reference["latency"]["median_ms"], 2),
        "int8_ms": round(converted["latency"]["median_ms"], 2),
        "seconds_to_convert": round(sum(conversion.seconds.values()), 1),
        "date": datetime.date.today().isoformat(),
        "failures": failures,
    }


def available_weights(entry: zoo.Entry) -> str | None:
    """`imagenet` where they are on this machine or the network gives them."""
    try:
        sources.find(entry)
    except (MissingError, UsageError):
        return None
    return "imagenet"


def randomize(model: keras.Model) -> None:
    """Draws weights that pass signals on as trained ones do: no zero biases, no equal factors.

    Kernels keep the size of what passes through (He et al. 2015, arXiv:1502.01852, equation 10).
    A deep stack of such layers would amplify any rounding beyond the signal. So most signals are
    on one side of their activation's bend, and what a residual block adds is small next to what it
    passes by (Goyal et al. 2017, arXiv:1706.02677, section 5.1).
    """
    import keras

    rng = np.random.default_rng(0)
    for layer in model.layers:
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        for weight in layer.weights:
            shape = tuple(weight.shape)
            if weight.name in ("gamma", "moving_variance"):
                value = rng.uniform(0.5, 1.5, shape)
            elif weight.name == "beta" and isinstance(layer, keras.layers.BatchNormalization):
                value = rng.normal(1, 0.2, shape)
            elif len(shape) < 2:
                value = rng.normal(0, 0.2, shape)
            else:
                inputs = math.prod(shape[:2] if depthwise else shape[:-1])
                value = rng.normal(0, (2 / inputs) ** 0.5, shape)
            weight.assign(value.astype(np.float32))
    for norm in ends_of_branches(model):
        norm.gamma.assign(norm.gamma * 0.2)


def ends_of_branches(model: keras.Model) -> list[Any]:
    """The batch norms that end a residual branch whose other side is passed by unchanged."""
    import keras

    producers = {id(layer.output): layer for layer in model.layers}
    consumers = collections.Counter(
        id(tensor) for layer in model.layers for tensor in keras.tree.flatten(layer.input)
    )

    def end(tensor: Any) -> Any:
        """The batch norm whose one reader is the sum, perhaps through a dropout."""
        layer = producers[id(tensor)]
        if consumers[id(tensor)] != 1 or isinstance(layer, keras.layers.InputLayer):
            return None
        if isinstance(layer, keras.layers.Dropout):
            return end(layer.input)
        return layer if isinstance(layer, keras.layers.BatchNormalization) else None

    sums = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    ends = [[norm for norm in map(end, layer.input) if norm is not None] for layer in sums]
    # Two of them are a branch and a projection: neither side is passed by.
    return [norms[0] for norms in ends if len(norms) == 1]


def settle(model: keras.Model, inputs: Any) -> None:
    """Gives batch norms the statistics of photos, and the classes scores that are 0 on average."""
    import keras
    import tensorflow as tf

    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    # A graph frees what is no longer needed; eagerly, Keras keeps every layer's output.
    tf.function(lambda x: model(x, training=True))(tf.constant(inputs))
    scores = tf.function(lambda x: model(x, training=False))(tf.constant(inputs)).numpy()
    classifier = [x for x in model.layers if getattr(x, "bias", None) is not None][-1]
    classifier.bias.assign(classifier.bias - scores.mean(0))


def train_one_step(
    model: keras.Model, inputs: Any, samples: list[datasets.Sample]
) -> tuple[float, bool]:
    """One step of SGD: (the loss, whether it moved a weight)."""
    import keras

    truth = np.array([sample.index or 0 for sample in samples])
    before = [weight.numpy() for weight in model.trainable_weights]
    model.compile(
        keras.optimizers.SGD(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    loss = float(model.train_on_batch(inputs, truth))
    after = (weight.numpy() for weight in model.trainable_weights)
    moved = any(not np.array_equal(a, b) for a, b in zip(after, before, strict=True))
    return loss, moved


def load(samples: list[datasets.Sample], contract: Contract) -> Any:
    """The model's float32 inputs for some photos."""
    return images.to_input(datasets.load(samples, contract).pictures, contract, np.float32)


def read_results() -> dict[str, dict[str, Any]]:
    if not RESULTS.exists():
        return {}
    models: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text("utf-8"))["models"]
    return models


def write_results(models: dict[str, dict[str, Any]], photos: int) -> None:
    document = {
        "what": f"calibrated on {photos} photos, judged on {photos} others",
        "command": "python benchmarks/zoo_table.py --data PHOTOS",
        "machine": describe_machine(),
        "versions": {package: version(package) for package in PACKAGES},
        "models": {name: models[name] for name in zoo.CATALOGUE if name in models},
    }
    write_all({RESULTS: (json.dumps(document, indent=2) + "\n").encode()})


def write_table(models: dict[str, dict[str, Any]]) -> None:
    """Puts the table between its two lines in docs/models.md, at the end if they aren't there."""
    text = DOCUMENT.read_text("utf-8") if DOCUMENT.exists() else "# Models\n"
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n"
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    write_all({DOCUMENT: f"{head}{BEGIN}\n{table(models)}{END}{tail}".encode()})


def table(models: dict[str, dict[str, Any]]) -> str:
    lines = [
        "| model | input | parameters | MACs | weights | int8 | agreement | SQNR | float | int8 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in zoo.CATALOGUE:
        if name not in models:
            continue
        model = models[name]
        lines.append(
            f"| `{name}` | {model['size']} | {model['parameters'] / 1e6:.1f} M "
            f"| {model['macs'] / 1e6:,.0f} M | {model['weights']} | {model['int8_mib']:.1f} MiB "
            f"| {model['agreement']:.1%} | {model['sqnr_db']:.1f} dB "
            f"| {model['float_ms']:.1f} ms | {model['int8_ms']:.1f} ms |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
