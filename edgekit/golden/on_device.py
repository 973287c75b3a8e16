"""Replays the inference on a board or a phone, with the benchmark binary.

The device gets the model and the right inputs; what it gives is held against the right outputs.
How an app there prepares its pictures is another question: see `edgekit.golden.replay`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.benchmark.kit import Kit, Tools
from edgekit.benchmark.plan import Request, grid
from edgekit.benchmark.trying import infer, require_right
from edgekit.devices import Device, open_device
from edgekit.golden.replay import Replay, allowed, compare
from edgekit.golden.stages import STEPS, Answer
from edgekit.golden.vectors import Golden

_DEFAULT_TOOLS = Tools()


@dataclass(frozen=True)
class Place:
    """Where and how to run the model.

    Attributes:
        device: `local`, `ssh:user@host[:port]`, `adb[:SERIAL]`.
        delegate: `xnnpack`, `none`, `gpu`, `nnapi`, `edgetpu`, `external:PATH[,key=value...]`.
        threads: Of the CPU.
        tools: What runs there, where the user chose it.
    """

    device: str = "local"
    delegate: str = "xnnpack"
    threads: int = 1
    tools: Tools = _DEFAULT_TOOLS


def on_device(
    path: Path,
    golden: Golden,
    place: Place,
    tolerance: float | None = None,
    notify: Callable[[str], None] = lambda message: None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Replay:
    """Replays the inference of all vectors on a device.

    Args:
        path: The .tflite file.
        golden: Its golden vectors.
        place: Where.
        tolerance: By how many steps a score may differ; by default none for an int8 output of the
            same runtime on the same architecture without another delegate, else `STEPS`.
        notify: Called with what the user should know.
        progress: Called with (stage, done, total).

    Raises:
        UsageError: The device or the delegate is not known.
        MissingError: There is no binary or runtime for the device.
        RuntimeFailure: The device can't be reached, its disk is full, or the runtime failed.
    """
    (point,) = grid([path], [place.delegate], [place.threads])
    answers: dict[str, Answer] = {}
    remarks: list[str] = []
    with _ready(place, path, notify) as (device, kit):
        require_right(device, kit, point)
        machine = device.facts.machine
        runtime: str | None = None
        for done, vector in enumerate(golden.vectors, 1):
            output, found = infer(device, kit, point, vector.input, vector.name)
            answers[vector.name] = Answer(output=output)
            runtime = _runtime(found, kit)
            remarks += [r for r in found.get("warnings", ()) if r not in remarks]
            if place.delegate not in ("xnnpack", "none"):
                remarks += [r for r in _delegation(found) if r not in remarks]
            progress("running the model", done, len(golden.vectors))
    if tolerance is None:
        tolerance = STEPS
        if place.delegate == "xnnpack":
            tolerance = allowed(golden, runtime, machine)
    by = f"{place.device} with {place.delegate}"
    made_by = (runtime, machine)
    return compare(golden, lambda v: answers[v.name], by, tolerance, made_by, remarks)


@contextmanager
def _ready(place: Place, path: Path, notify: Callable[[str], None]) -> Iterator[tuple[Device, Kit]]:
    """The device with what runs the model, locked."""
    with open_device(place.device, notify=notify) as device:
        with device.lock(f"edgekit verify of {path.name}"):
            yield device, Kit(device, place.tools, Request(), notify)
        if place.tools.clean:
            device.clean()


def _runtime(found: dict[str, Any], kit: Kit) -> str | None:
    """The runtime's name and version, as `edgekit.runtime.runtime_name` gives it."""
    version = found["runtime"].get("version") or kit.runtime_version
    if version is None or " " in version:
        return version
    return f"ai-edge-litert {version}"


def _delegation(found: dict[str, Any]) -> Iterator[str]:
    """What the delegate left to the CPU."""
    engaged = found["engaged"]
    total, taken = engaged.get("nodes_total"), engaged.get("nodes_delegated")
    if taken is not None and total is not None and taken < total:
        yield f"The delegate took {taken} of {total} ops; the CPU ran the others."
