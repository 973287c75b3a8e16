"""What to type for a model that was chosen: training, int8, and the measurements that tell."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgekit.advisor.candidates import Candidate
from edgekit.advisor.features import Probe
from edgekit.advisor.photos import Photos
from edgekit.advisor.training import training
from edgekit.advisor.wishes import Wishes
from edgekit.targets import Target

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
        arguments: The program and what it is given.
        writes: The model that comes of it, or None.
    """

    what: str
    arguments: tuple[str, ...]
    writes: Path | None = None

    @property
    def line(self) -> str:
        """Quoted for a shell."""
        return shlex.join(self.arguments)

    @property
    def verb(self) -> str:
        """`train`, `qat`, `convert`, ...; of another program its name."""
        program, first = self.arguments[:2]
        return first if program == "edgekit" else program


def commands(
    candidate: Candidate,
    photos: Photos,
    target: Target,
    wishes: Wishes,
    probe: Probe | None = None,
) -> tuple[Command, ...]:
    """The lines from photos to a measured model, in their order."""
    return tuple(_commands(candidate, photos, target, wishes, probe))


def _commands(
    candidate: Candidate, photos: Photos, target: Target, wishes: Wishes, probe: Probe | None
) -> Iterator[Command]:
    how = training(candidate, photos, target, wishes, probe)
    name, folder = candidate.name, wishes.folder
    model, qat = folder / f"{name}.keras", folder / f"{name}_qat.keras"
    table = () if wishes.labels_csv is None else ("--labels-csv", str(wishes.labels_csv))
    yield _command(
        "train: a new classifier on frozen features" + ("" if how.frozen else ", then fine-tuning"),
        *("train", str(photos.root), "--model", name, *table),
        *(() if how.pretrained else ("--weights", "none")),
        *(("--epochs", "0") if how.frozen else ()),
        *(("--balance", "sampling") if how.balanced else ()),
        *_budget(wishes),
        *("-o", str(model)),
        writes=model,
    )
    if how.qat:
        yield _command(
            "train it to be as good in int8, since it is known to lose there",
            *("qat", str(model), "--data", str(photos.root), *table, "-o", str(qat)),
            writes=qat,
        )
    last = qat if how.qat else model
    tflite = last.with_suffix(".tflite")
    yield _command(
        *("to int8", "convert", "--int8", str(last), "--target", wishes.target), writes=tflite
    )
    judge = str(photos.judge or photos.root)
    yield _command(
        "the accuracy on your photos"
        + ("" if photos.judge else ", those it learned from included"),
        *("evaluate", str(model), str(tflite), "--data", judge, *table),
    )
    yield _command("which ops run where", "inspect", str(tflite), "--target", wishes.target)
    yield from _measuring(tflite, target, wishes.device or usual_device(target))


def usual_device(target: Target) -> str:
    """What `edgekit benchmark --on` mostly calls such a target."""
    found = (d for start, d in _DEVICES.items() if target.name.startswith(start))
    return next(found, _ANY_DEVICE)


def _measuring(tflite: Path, target: Target, device: str) -> Iterator[Command]:
    accelerator = None if target.accelerator is None else target.accelerator.name
    if accelerator == "edgetpu":
        compiled = tflite.with_name(f"{tflite.stem}_edgetpu.tflite")
        yield Command(
            "for the Edge TPU, with Coral's compiler",
            ("edgetpu_compiler", "--out_dir", str(tflite.parent), str(tflite)),
            compiled,
        )
        tflite = compiled
    delegate = _DELEGATES.get(accelerator or "")
    yield _command(
        "the latency, on the device",
        *("benchmark", str(tflite), "--on", device),
        *(("--delegate", delegate) if delegate else ("--threads", "1,4")),
    )


def _budget(wishes: Wishes) -> tuple[str, ...]:
    if wishes.train_budget is None:
        return ()
    return "--time-budget", f"{max(1, round(wishes.train_budget * 60))}s"


def _command(what: str, *arguments: str, writes: Path | None = None) -> Command:
    return Command(what, ("edgekit", *arguments), writes)
