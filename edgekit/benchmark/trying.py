"""One inference on a device, and what its runtime must answer right before it is believed."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import tflite
from edgekit.benchmark import printed
from edgekit.benchmark.kit import Kit
from edgekit.benchmark.plan import Effort, Point, Request
from edgekit.devices import ConnectionLost, Device
from edgekit.devices.transport import quote
from edgekit.errors import EdgekitError, RuntimeFailure
from edgekit.runtime.probes import Probe, all_probes, wrong_in

#: One inference, nothing else.
_ONCE = Effort(rounds=1, min_runs=1, min_time_s=0.0, max_time_s=1.0, warmup_s=0.0)
#: Loading a model into an accelerator, and one inference of a slow or emulated device.
TIMEOUT_S = 300.0
#: The probes are of the CPU; what a delegate doesn't take runs there.
_ON_CPU = ("xnnpack", "none")


def infer(
    device: Device, kit: Kit, point: Point, value: bytes, name: str
) -> tuple[bytes, dict[str, Any]]:
    """Runs a model once.

    Args:
        device: An open device, locked.
        kit: What runs there.
        point: The model, delegate and threads.
        value: The bytes of its inputs.
        name: What to call them in a file's name.

    Returns:
        The bytes of its outputs, and what the program printed.

    Raises:
        EdgekitError: The error that the program reports.
    """
    there = f"{device.facts.folder}/output.golden"
    with tempfile.TemporaryDirectory(prefix="edgekit-golden-") as folder:
        source = Path(folder) / f"{name}.input"
        source.write_bytes(value)
        request = dataclasses.replace(Request(), input=f"file:{source}", dump_output=there)
        command = kit.command(point, _ONCE, request)
        try:
            finished = device.run(command, timeout_s=TIMEOUT_S)
            where = f"{device.name}: {point.model.name} with {point.delegate}"
            found = printed.document(finished, where, TIMEOUT_S)
            return device.read(there), found
        finally:
            device.shell(f"rm -f {quote(there)}")


def require_right(device: Device, kit: Kit, point: Point) -> None:
    """Refuses a device's runtime that computes wrong, in silence, what a model has.

    Each probe runs once for a kit.

    Raises:
        RuntimeFailure: It does.
    """
    model = tflite.read(point.model.read_bytes(), str(point.model))
    needed = wrong_in(model, all_probes())
    for probe in needed:
        if probe.name not in kit.tried:
            kit.tried[probe.name] = _is_right(device, kit, point, probe)
    wrong = [probe.name for probe in needed if not kit.tried[probe.name]]
    if wrong:
        runtime = kit.runtime_version or "the runtime there"
        raise RuntimeFailure(
            f"{device.name}: {runtime} computes {' and '.join(wrong)} wrong (just tried), and "
            f"{point.model.name} has them",
            "Put a newer runtime there, or convert for this one: edgekit convert --runtime "
            "VERSION.",
        )


def _is_right(device: Device, kit: Kit, point: Point, probe: Probe) -> bool:
    delegate = point.delegate if point.delegate in _ON_CPU else _ON_CPU[0]
    with tempfile.TemporaryDirectory(prefix="edgekit-probe-") as folder:
        path = Path(folder) / "probe.tflite"
        path.write_bytes(probe.model)
        try:
            tried = dataclasses.replace(point, model=path, delegate=delegate)
            answer, _ = infer(device, kit, tried, probe.value.tobytes(), "probe")
        except ConnectionLost:
            raise
        except EdgekitError:
            return True  # what is refused aloud is no fault
    found = np.frombuffer(answer, probe.expected.dtype)
    return found.size == probe.expected.size and probe.fits(found.reshape(probe.expected.shape))
