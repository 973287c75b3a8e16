"""Benchmarks int8 models on the emulated Pi and here, and compares what came out, bit for bit.

    sudo python benchmarks/emulated_pi/run.py [MODEL.tflite ...] [--data PHOTOS]

Starts the userland unless it runs, and writes benchmarks/results/emulated_pi.json. Exit code 1
where something differs. Without MODEL: EfficientNet-Lite0 with ImageNet weights and MobileNetV2
with random ones, converted to int8 (needs edgekit[convert,weights]).
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from binfmt import tool
from userland import CPU, FOLDER, SUITE, Userland, errors_as_exit_codes

import edgekit
from edgekit.errors import RuntimeFailure
from edgekit.training import zoo

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "benchmarks" / "results" / "emulated_pi.json"
PHOTOS = REPOSITORY.parent / "shared" / "data" / "imagenet_sample"
#: Two processes of a few inferences: what is compared are outputs, and an emulator is slow.
EFFORT = (
    *("--rounds", "2", "--min-runs", "3", "--min-time", "100ms", "--warm-up", "1ms"),
    *("--max-time", "1s", "--precision", "100%"),
)
#: Processor features that came after the pinned CPU: a program that sees one has lost the pin.
LATER_FEATURES = frozenset(
    {"atomics", "asimddp", "dotprod", "asimdhp", "fphp", "i8mm", "sve", "sve2", "sme"}
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="*", metavar="MODEL.tflite")
    parser.add_argument("--data", type=Path, help="photos to calibrate on")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="default: build/emulated_pi")
    arguments = parser.parse_args()
    photos = arguments.data or (PHOTOS if PHOTOS.is_dir() else None)

    with tempfile.TemporaryDirectory() as work:
        models = arguments.models or example_models(Path(work), photos)
        with Userland(arguments.folder).running() as pi:
            environment = {**os.environ, **pi.environment}
            there = benchmark(models, pi.device, environment)
            here = benchmark(models, "local", os.environ)
    results = [
        compare(model.name, one, other)
        for model, one, other in zip(models, there, here, strict=True)
    ]
    document = {
        "what": "int8 models on an emulated arm64 Debian over SSH, and on this machine",
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": system(here[0]),
        "emulated_machine": {**system(there[0]), "suite": SUITE, "emulated_cpu": CPU},
        "versions": versions(),
        "commands": [
            "sudo python benchmarks/emulated_pi/userland.py make",
            "sudo python benchmarks/emulated_pi/run.py",
            *(
                f"edgekit benchmark {' '.join(model.name for model in models)} --on {device} "
                f"{' '.join(EFFORT)} --json"
                for device in ("ssh:pi@127.0.0.1:PORT", "local")
            ),
        ],
        "all_passed": all(all(result["checks"].values()) for result in results),
        "models": results,
    }
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    for result in results:
        failed = [name for name, passed in result["checks"].items() if not passed]
        print(f"{result['model']}: {'FAILED: ' + ', '.join(failed) if failed else 'all passed'}")
    print(f"Written: {RESULTS}")
    return 0 if document["all_passed"] else 1


def example_models(folder: Path, photos: Path | None) -> list[Path]:
    """An int8 EfficientNet-Lite0 and an int8 MobileNetV2."""
    lite0 = zoo.create("efficientnet_lite0", folder / "efficientnet_lite0.keras")
    mobilenet = _mobilenet_v2(folder / "mobilenet_v2.keras")
    outputs = [path.with_name(f"{path.stem}_int8.tflite") for path in (lite0, mobilenet)]
    edgekit.convert(lite0, outputs[0], "int8", data=photos)
    edgekit.convert(mobilenet, outputs[1], "int8", data=photos, preprocess="tf")
    return outputs


def _mobilenet_v2(path: Path) -> Path:
    """MobileNetV2 with weights such as training leaves: its own are a download."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import numpy as np

    rng = np.random.default_rng(0)
    # Logits: the probabilities of an untrained model would all round to the same int8 value.
    model = keras.applications.MobileNetV2(weights=None, classifier_activation=None)
    for weight in model.weights:
        shape, name = tuple(weight.shape), weight.path.rsplit("/", 1)[-1]
        if name in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, shape)
        elif len(shape) < 2:
            value = rng.normal(0, 0.2, shape)
        else:  # He et al., "Delving Deep into Rectifiers", equation 10, with the fan-in it has
            depthwise = "depthwise" in weight.path
            value = rng.normal(0, (2 / np.prod(shape[: 2 if depthwise else -1])) ** 0.5, shape)
        weight.assign(value.astype(np.float32))
    model.save(path)
    return path


def benchmark(
    models: Sequence[Path], device: str, environment: Mapping[str, str]
) -> list[dict[str, Any]]:
    """What `edgekit benchmark` measured of each model on a device: one cell each.

    Raises:
        RuntimeFailure: It failed; what it said is on stderr already.
    """
    command = ["benchmark", *(str(model.resolve()) for model in models), "--on", device]
    result = subprocess.run(
        [sys.executable, "-m", "edgekit", *command, *EFFORT, "--json"],
        env=dict(environment),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise RuntimeFailure(f"edgekit benchmark --on {device} ended with {result.returncode}")
    cells = {cell["model"]: cell for cell in json.loads(result.stdout)["cells"]}
    return [cells[model.name] for model in models]


def compare(model: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, Any]:
    """Holds every round on the emulated Pi against every round on this machine."""
    pi, local = there["rounds"], here["rounds"]
    both = [*pi, *local]
    checks = {
        "found an aarch64 machine": _all(pi, "context", "architecture") == {"aarch64"},
        "sent the aarch64 binary": all("aarch64" in r["tool"]["target"] for r in pi),
        "says that it is emulated": all(r["context"]["emulated"] for r in pi),
        "says that this machine is not": not any(r["context"]["emulated"] for r in local),
        "ran as the pinned CPU": not any(
            LATER_FEATURES & set(r["context"]["features"]) for r in pi
        ),
        "ran the same model": len(_all(both, "model", "sha256")) == 1,
        "on the same input": len(_all(both, "input", "sha256")) == 1,
        "with the same runtime": len(_all(both, "runtime", "kind")) == 1
        and len(_all(both, "runtime", "version")) == 1,
        "ran with XNNPACK": all(r["engaged"]["delegate"] == "xnnpack" for r in both),
        "outputs the same bits each time": all(r["output"]["repeatable"] for r in both),
        "outputs the same bits on both": len(_all(both, "output", "sha256")) == 1,
    }
    return {
        "model": model,
        "sha256": pi[0]["model"]["sha256"],
        "checks": checks,
        "output_sha256": {
            "emulated aarch64": sorted(_all(pi, "output", "sha256")),
            "x86-64": sorted(_all(local, "output", "sha256")),
        },
        "runtime": {
            "emulated aarch64": _runtime(pi[0]),
            "x86-64": _runtime(local[0]),
        },
        "latency": [_latency(cell) for cell in (there, here)],
    }


def _all(rounds: Sequence[Mapping[str, Any]], section: str, key: str) -> set[Any]:
    return {r[section][key] for r in rounds}


def _runtime(round_: Mapping[str, Any]) -> str:
    return f"{round_['runtime']['kind']} {round_['runtime']['version']}"


def _latency(cell: Mapping[str, Any]) -> dict[str, Any]:
    """The median, never without whether an emulator gave it."""
    samples = [sample for r in cell["rounds"] for sample in r["samples_ns"]]
    return {
        "device": "local" if cell["device"] == "local" else "ssh:pi@127.0.0.1",
        "p50_ms": round(statistics.median(samples) / 1e6, 3),
        "samples": len(samples),
        "emulated": cell["rounds"][0]["context"]["emulated"],
    }


def system(cell: Mapping[str, Any]) -> dict[str, Any]:
    context = cell["rounds"][0]["context"]
    return {key: context[key] for key in ("architecture", "cpu", "cores", "kernel", "libc", "os")}


def versions() -> dict[str, str]:
    """Of what took part on this machine."""
    emulator = subprocess.run(
        [tool("qemu-aarch64-static"), "--version"], capture_output=True, text=True, check=True
    )
    found = {"python": platform.python_version(), "qemu": emulator.stdout.splitlines()[0]}
    for package in ("edgekit", "ai-edge-litert", "litert-quantizer", "tensorflow", "keras"):
        with contextlib.suppress(PackageNotFoundError):  # models that are given need no converter
            found[package] = version(package)
    return found


if __name__ == "__main__":
    with errors_as_exit_codes():
        sys.exit(main())
