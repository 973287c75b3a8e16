"""What to type for a model that was chosen: training, int8, and the measurements that tell."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgekit.advisor.candidates import Candidate
from edgekit.advisor.photos import Photos
from edgekit.advisor.wishes import Wishes
from edgekit.datasets.splitting import IMBALANCE
from edgekit.targets import Target

#: Below so many photos to learn from only the classifier is trained. The defaults of `train` are
#: for a few hundred and more (edgekit/training/recipe.py); a judgement, not a measurement.
FEW = 100
#: accelerator -> the delegate of `edgekit benchmark`.
_DELEGATES = {"edgetpu": "edgetpu", "gpu": "gpu", "nnapi": "nnapi"}
#: How the name of a target begins -> where `edgekit benchmark` finds one.
_DEVICES = {"pi": "ssh:pi@raspberrypi.local", "android": "adb", "x86_64": "local"}
_ANY_DEVICE = "ssh:USER@HOST"


@dataclass(frozen=True)
class Command:
    """A line to type.

    Attributes:
        what: What it is for, in a few words.
        line: The line, quoted for a shell.
    """

    what: str
    line: str


def commands(
    candidate: Candidate, photos: Photos, target: Target, wishes: Wishes
) -> tuple[Command, ...]:
    """The lines from photos to a measured model, in their order."""
    return tuple(_commands(candidate, photos, target, wishes))


def _commands(
    candidate: Candidate, photos: Photos, target: Target, wishes: Wishes
) -> Iterator[Command]:
    name = candidate.name
    model, qat = f"{name}.keras", f"{name}_qat.keras"
    table = () if wishes.labels_csv is None else ("--labels-csv", str(wishes.labels_csv))
    yield _command(
        "train: a new classifier on frozen features"
        + ("" if _is_few(photos) else ", then fine-tuning"),
        *("train", str(photos.root), "--model", name, *table),
        *(() if candidate.facts.weights else ("--weights", "none")),
        *(("--epochs", "0") if _is_few(photos) else ()),
        *(("--balance", "sampling") if photos.balance * IMBALANCE < 1 else ()),
        *_budget(wishes),
        *("-o", model),
    )
    if candidate.wants_qat:
        yield _command(
            "train it to be as good in int8, since it is known to lose there",
            *("qat", model, "--data", str(photos.root), *table, "-o", qat),
        )
    last = qat if candidate.wants_qat else model
    tflite = f"{Path(last).stem}.tflite"
    yield _command("to int8", "convert", "--int8", last, "--target", wishes.target)
    judge = str(photos.judge or photos.root)
    yield _command(
        "the accuracy on your photos"
        + ("" if photos.judge else ", those it learned from included"),
        *("evaluate", model, tflite, "--data", judge, *table),
    )
    yield _command("which ops run where", "inspect", tflite, "--target", wishes.target)
    yield from _measuring(tflite, target)


def _measuring(tflite: str, target: Target) -> Iterator[Command]:
    accelerator = None if target.accelerator is None else target.accelerator.name
    if accelerator == "edgetpu":
        yield Command("for the Edge TPU, with Coral's compiler", f"edgetpu_compiler {tflite}")
        tflite = f"{Path(tflite).stem}_edgetpu.tflite"
    device = next((d for start, d in _DEVICES.items() if target.name.startswith(start)), None)
    delegate = _DELEGATES.get(accelerator or "")
    yield _command(
        "the latency, on the device",
        *("benchmark", tflite, "--on", device or _ANY_DEVICE),
        *(("--delegate", delegate) if delegate else ("--threads", "1,4")),
    )


def _is_few(photos: Photos) -> bool:
    return photos.train < FEW


def _budget(wishes: Wishes) -> tuple[str, ...]:
    if wishes.train_budget is None:
        return ()
    return "--time-budget", f"{max(1, round(wishes.train_budget * 60))}s"


def _command(what: str, *arguments: str) -> Command:
    return Command(what, shlex.join(("edgekit", *arguments)))
