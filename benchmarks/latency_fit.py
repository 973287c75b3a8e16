"""Fits the rates that latencies are estimated with to what was published.

edgekit/targets/measurements.csv -> edgekit/targets/fitted/rates.toml

    python benchmarks/latency_fit.py

Needs edgekit[train] and scipy. What each published model computes is counted on the model of
keras.applications or of the zoo that has its name; rows of others are left out. A setting (target,
precision, processor, threads, runtime) is fitted where there are eight rows of three families. How
far an estimate is off is found by leaving one family out at a time.

A CPU of which too little is published borrows the shape of one rate, scaled by what the user
measured there. How far that is off is found on the other CPUs' settings: scaled by one published
row, and held against the rows of other families.

All of it is kept in benchmarks/results/latency_fit.json; exit code 1 where a median error is above
25 %.
"""

from __future__ import annotations

import collections
import csv
import datetime
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from edgekit import targets
from edgekit.files import write_all
from edgekit.targets.estimate import Work, precision_of
from edgekit.training import zoo

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "edgekit" / "targets"
RESULTS = HERE / "results" / "latency_fit.json"
MOST_ERROR = 0.25
LEAST_ROWS, LEAST_FAMILIES = 8, 3
#: Runtimes that are not TFLite's, and one whose kernels are from before XNNPACK.
RUNTIMES = ("TFLite", "Edge TPU")
OLD = "1.15"
#: Target and precision of the rate that other CPUs borrow.
LENDS = ("pi4", "int8")
#: Of the table's names.
TARGETS = {"desktop_cpu": "x86_64"}

APPLICATIONS: dict[str, tuple[str, int, str]] = {
    "mobilenet_v1": ("MobileNet", 224, "mobilenet_v1"),
    "mobilenet_v2": ("MobileNetV2", 224, "mobilenet_v2"),
    "mobilenet_v3_small": ("MobileNetV3Small", 224, "mobilenet_v3"),
    "mobilenet_v3_large": ("MobileNetV3Large", 224, "mobilenet_v3"),
    "mobilenet_v3_small_minimalistic": ("MobileNetV3Small", 224, "mobilenet_v3"),
    "mobilenet_v3_large_minimalistic": ("MobileNetV3Large", 224, "mobilenet_v3"),
    "inception_v3": ("InceptionV3", 299, "inception"),
    "inception_resnet_v2": ("InceptionResNetV2", 299, "inception"),
    "resnet50": ("ResNet50", 224, "resnet"),
    "resnet50_v2": ("ResNet50V2", 224, "resnet"),
    "resnet101_v2": ("ResNet101V2", 224, "resnet"),
    "resnet152_v2": ("ResNet152V2", 224, "resnet"),
    "nasnet_mobile": ("NASNetMobile", 224, "nasnet"),
    "nasnet_large": ("NASNetLarge", 331, "nasnet"),
    "densenet": ("DenseNet121", 224, "densenet"),
    "vgg16": ("VGG16", 224, "vgg"),
    "vgg19": ("VGG19", 224, "vgg"),
    "efficientnet_b0": ("EfficientNetB0", 224, "efficientnet"),
}
ZOO = {
    "inception_v1": ("googlenet", "inception"),
    "googlenet": ("googlenet", "inception"),
    "inception_v4": ("inception_v4", "inception"),
    "resnet18": ("resnet18", "resnet"),
    **{f"efficientnet_lite{n}": (f"efficientnet_lite{n}", "efficientnet_lite") for n in range(5)},
}

Row = dict[str, str]
Matrix = npt.NDArray[np.float64]


def main() -> int:
    with (DATA / "measurements.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if usable(row)]
    works = count_works(rows)
    settings: dict[tuple[str, ...], list[Row]] = collections.defaultdict(list)
    for row in rows:
        if key_of(row) in works:
            settings[setting_of(row)].append(row)
    fitted, errors = [], []
    for setting, members in sorted(settings.items()):
        if len(members) >= LEAST_ROWS and len(families(members)) >= LEAST_FAMILIES:
            rate, left_out = fit_setting(setting, members, works)
            fitted.append(rate)
            errors += left_out
    median = float(np.median([abs(e["error"]) for e in errors]))
    worst = max(errors, key=lambda e: abs(e["error"]))
    (lender,) = (rate for rate in fitted if (rate["target"], rate["precision"]) == LENDS)
    borrowed = borrow(lender, settings, works)
    document = {
        "what": "estimated against published latencies, one family of models left out at a time",
        "command": "python benchmarks/latency_fit.py",
        "date": datetime.date.today().isoformat(),
        "settings": len(fitted),
        "rows": len(errors),
        "median_error": round(median, 4),
        "p90_error": round(float(np.percentile([abs(e["error"]) for e in errors], 90)), 4),
        "worst": worst,
        "borrowed": borrowed,
        "left_out": errors,
    }
    write_all(
        {
            RESULTS: (json.dumps(document, indent=1) + "\n").encode(),
            DATA / "fitted" / "rates.toml": as_toml(fitted, borrowed).encode(),
        }
    )
    print(f"{len(fitted)} settings, {len(errors)} rows: median error {median:.1%}, worst {worst}")
    for rate in fitted:
        print(f"  {rate['target']:16} {rate['precision']:8} {rate['median_error']:6.1%}", end=" ")
        print(rate["rows"], rate["setting"])
    print(f"  borrowed from {borrowed['setting']}: {borrowed['median_error']:.1%}")
    return 0 if max(median, borrowed["median_error"]) <= MOST_ERROR else 1


def usable(row: Row) -> bool:
    return (
        bool(row["latency_ms"])
        and row["runtime"].startswith(RUNTIMES)
        and (OLD not in row["runtime"] and family(row) is not None and bool(row["precision"]))
    )


def family(row: Row) -> str | None:
    name = row["model"]
    if name in APPLICATIONS:
        return APPLICATIONS[name][2]
    return ZOO[name][1] if name in ZOO else None


def families(rows: list[Row]) -> list[str]:
    return sorted({str(family(row)) for row in rows})


def key_of(row: Row) -> tuple[str, str, str]:
    return row["model"], row["variant"], row["input"]


def setting_of(row: Row) -> tuple[str, ...]:
    target = TARGETS.get(row["target"], row["target"])
    precision = precision_of(row["precision"])
    return target, precision, row["processor"], row["threads"], row["runtime"]


# --- what a model computes


def count_works(rows: list[Row]) -> dict[tuple[str, str, str], Work]:
    """For int8; the precision is the setting's."""
    works = {}
    for key in sorted({key_of(row) for row in rows}):
        model = build(*key)
        if model is not None:
            works[key] = count(model)
            keras.backend.clear_session()
    return works


def build(name: str, variant: str, side: str) -> keras.Model | None:
    """The model without weights, or None where it isn't there in that size."""
    if name in ZOO:
        entry = zoo.entry(ZOO[name][0])
        same = side in ("", str(entry.size))
        return zoo.build(entry.name, weights=None)[0] if same else None
    function, usual, _ = APPLICATIONS[name]
    size = int(side or usual)
    options: dict[str, Any] = {"weights": None, "input_shape": (size, size, 3)}
    if name.startswith("mobilenet"):
        options["alpha"] = float(variant) if variant.replace(".", "").isdecimal() else 1.0
    if name.startswith("mobilenet_v3"):
        options["minimalistic"] = name.endswith("minimalistic")
    return getattr(keras.applications, function)(**options)


def count(model: keras.Model) -> Work:
    """As `edgekit.targets.estimate.work_of` counts the .tflite file of it."""
    total = activations = 0
    for layer in model._flatten_layers(include_self=False):
        kind = type(layer).__name__
        if kind not in COUNTED and not is_swish(layer):
            continue
        shape = [int(size) for size in layer.output.shape[1:]]
        written = math.prod(shape)
        activations += written
        if kind in ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Dense"):
            total += layer_macs(layer, kind, written)
            if kind == "SeparableConv2D":
                activations += written // shape[-1] * int(layer.input.shape[-1])
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return Work(total, activations, parameters, "int8")


COUNTED = (
    *("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Dense", "Add", "Multiply", "Concatenate"),
    *("MaxPooling2D", "AveragePooling2D", "GlobalAveragePooling2D"),
)


def is_swish(layer: keras.Layer) -> bool:
    name = getattr(getattr(layer, "activation", None), "__name__", "")
    return type(layer).__name__ == "Activation" and name in ("hard_silu", "silu")


def layer_macs(layer: keras.Layer, kind: str, written: int) -> int:
    depth = int(layer.input.shape[-1])
    if kind == "Dense":
        return written * depth
    kernel = math.prod(layer.kernel_size)
    if kind == "Conv2D":
        return written * kernel * depth // layer.groups
    if kind == "DepthwiseConv2D":
        return written * kernel
    pixels = written // int(layer.output.shape[-1])
    return pixels * depth * kernel + written * depth


# --- fitting


def fit_setting(
    setting: tuple[str, ...], rows: list[Row], works: dict[tuple[str, str, str], Work]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The rate of a setting, and for each row how far it is off when its family is left out."""
    target, precision, processor, threads, runtime = setting
    on_chip = targets.find(target).on_chip_bytes
    features = np.array(
        [features_of(works[key_of(row)], precision, on_chip) for row in rows], np.float64
    )
    measured = np.array([float(row["latency_ms"]) for row in rows])
    groups = np.array([family(row) for row in rows])
    left_out: list[dict[str, Any]] = []
    ratios: list[float] = []
    for name in families(rows):
        out = groups == name
        coefficients = fit(features[~out], measured[~out])
        for row, estimated, true in zip(
            np.array(rows)[out], features[out] @ coefficients, measured[out], strict=True
        ):
            ratios.append(true / max(estimated, 1e-6))
            left_out.append(
                {
                    "setting": " ".join(part for part in setting if part),
                    "model": " ".join(part for part in key_of(row) if part),
                    "measured_ms": float(true),
                    "estimated_ms": round(float(estimated), 3),
                    "error": round(float(estimated / true - 1), 3),
                }
            )
    words = f"{processor}{f', {threads} thread(s)' if threads else ''}, {runtime}"
    rate = {
        "target": target,
        "precision": precision,
        "setting": words,
        "coefficients": [float(f"{value:.4g}") for value in fit(features, measured)],
        "low": round(float(np.percentile(ratios, 10)), 3),
        "high": round(float(np.percentile(ratios, 90)), 3),
        "median_error": round(float(np.median([abs(e["error"]) for e in left_out])), 3),
        "rows": len(rows),
        "families": families(rows),
    }
    return rate, left_out


def borrow(
    lender: dict[str, Any],
    settings: dict[tuple[str, ...], list[Row]],
    works: dict[tuple[str, str, str], Work],
) -> dict[str, Any]:
    """How far one rate is off on other CPUs, scaled by one row of another family there."""
    ratios: list[float] = []
    used = 0
    for (target, precision, processor, *_), rows in settings.items():
        found = targets.find(target)
        itself = target == lender["target"] and lender["setting"].startswith(processor)
        if found.accelerator is not None or precision != lender["precision"] or itself:
            continue
        factors = [
            float(row["latency_ms"])
            / float(
                np.dot(features_of(works[key_of(row)], precision, None), lender["coefficients"])
            )
            for row in rows
        ]
        pairs = [
            its / mine
            for mine, anchor in zip(factors, rows, strict=True)
            for its, row in zip(factors, rows, strict=True)
            if family(anchor) != family(row)
        ]
        used += bool(pairs)
        ratios += pairs
    return {
        **{key: lender[key] for key in ("target", "precision", "setting")},
        "low": round(float(np.percentile(ratios, 10)), 3),
        "high": round(float(np.percentile(ratios, 90)), 3),
        "median_error": round(float(np.median([abs(1 / ratio - 1) for ratio in ratios])), 3),
        "settings": used,
        "rows": len(ratios),
    }


def features_of(work: Work, precision: str, on_chip: float | None) -> tuple[float, ...]:
    return Work(work.macs, work.activations, work.parameters, precision).features(on_chip)


def fit(features: Matrix, measured: Matrix) -> Matrix:
    """Non-negative coefficients with small relative errors: reweighted towards their median."""
    weights = 1 / measured
    for _ in range(20):
        coefficients, _ = nnls(features * weights[:, None], measured * weights)
        estimated = np.maximum(features @ coefficients, 1e-6)
        gaps = np.maximum(np.abs(np.log(estimated / measured)), 0.05)
        weights = 1 / np.sqrt(estimated * measured * gaps)
    return np.asarray(coefficients)


def as_toml(fitted: list[dict[str, Any]], borrowed: dict[str, Any]) -> str:
    lines = [
        "# Written by benchmarks/latency_fit.py from measurements.csv, where the sources are. The",
        "# coefficients are ms per million MACs, per megabyte of activations, per megabyte that is",
        "# streamed, and once. low and high: 10th and 90th percentile of measured / estimated, and",
        "# median_error: all for families of models that were left out.",
        "",
        "# What other CPUs borrow, and how far it is off there, scaled by a row of another family:",
        "# rows are pairs of such.",
        "[borrowed]",
        *(f"{key} = {json.dumps(value)}" for key, value in borrowed.items()),
    ]
    for rate in fitted:
        lines += ["", "[[rate]]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in rate.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
