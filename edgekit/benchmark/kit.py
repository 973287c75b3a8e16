"""What lies ready on one device, and the command that runs a round with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgekit.benchmark import artefacts
from edgekit.benchmark.plan import Effort, Point, Request
from edgekit.devices import Device
from edgekit.errors import MissingError, UsageError
from edgekit.version import __version__

_RUNNER = Path(__file__).with_name("python_runner.py")


@dataclass(frozen=True)
class Tools:
    """What runs on the devices, where the user chose it.

    Attributes:
        runtime: A runtime library: a file here or a path on the device.
        binary: The user's own build of edgekit-bench.
        python: Measure through the Python runtime instead of the native binary.
        clean: Remove all that was put on the device afterwards.
    """

    runtime: str | None = None
    binary: Path | None = None
    python: bool = False
    clean: bool = False


class Kit:
    """The benchmark program on a device, and the files it needs there.

    Attributes:
        runtime_version: Of the library that was sent, which can't be asked for it; or None.
        tried: What its runtime was tried with (`edgekit.benchmark.trying`), and whether it was
            right.
    """

    def __init__(
        self, device: Device, tools: Tools, request: Request, notify: Callable[[str], None]
    ) -> None:
        """Puts the program and its runtime on the device.

        Raises:
            MissingError: There is none for this device.
            UsageError: The user's choice doesn't fit it, or --python can't do what is asked.
            RuntimeFailure: Its disk is full, or the connection broke.
        """
        self._device, self._request = device, request
        self._there: dict[Path, str] = {}
        self.runtime_version: str | None = None
        self.tried: dict[str, bool] = {}
        if tools.python:
            if request.profile:
                raise UsageError("--profile: needs the native binary", "Leave --python out.")
            self._program = [*_python(device), self._put(_RUNNER), "--tool-version", __version__]
            return
        binary = artefacts.binary(device.facts, tools.binary)
        library = artefacts.runtime(device, tools.runtime, notify)
        self._program = [self._put(binary, executable=True), "--runtime", library.path]
        self.runtime_version = library.version

    def command(self, point: Point, effort: Effort, request: Request | None = None) -> list[str]:
        """The command line of one round; what it needs is copied first, where it isn't there.

        Args:
            point: What is measured.
            effort: For how long.
            request: What it is asked to do, where that isn't what the kit was made for.

        Raises:
            RuntimeFailure: The device's disk is full, or the connection broke.
            UsageError: A file of the request is missing here.
        """
        request = request or self._request
        per_round = effort.max_time_s / effort.rounds
        command = [
            *self._program,
            self._put(point.model),
            f"--delegate={artefacts.external(self._device, point.delegate)}",
            f"--threads={point.threads}",
            f"--min-runs={effort.min_runs}",
            f"--min-time={_nanoseconds(min(effort.min_time_s, per_round))}",
            f"--max-time={_nanoseconds(per_round)}",
            f"--warmup={_nanoseconds(effort.warmup_s)}",
            f"--interval={_nanoseconds(effort.interval_s)}",
            f"--sustain={_nanoseconds(effort.sustain_s)}",
            f"--input={self._input(request)}",
        ]
        if request.golden is not None:
            command.append(f"--golden={self._put(request.golden)}")
        if request.dump_output is not None:
            command.append(f"--dump-output={request.dump_output}")
        if request.affinity is not None:
            command.append(f"--affinity={request.affinity}")
        for option in ("profile", "require_full_delegation", "emulated"):
            if getattr(request, option):
                command.append(f"--{option.replace('_', '-')}")
        return command

    def _input(self, request: Request) -> str:
        kind, _, path = request.input.partition(":")
        return f"file:{self._put(Path(path))}" if kind == "file" else request.input

    def _put(self, path: Path, *, executable: bool = False) -> str:
        """The path on the device of a file from here; where here is the device, the file itself."""
        if not path.is_file():
            raise UsageError(f"{path}: no such file")
        if self._device.is_local:
            return str(path.resolve())
        if path not in self._there:
            self._there[path] = self._device.put(path, executable=executable)
        return self._there[path]


#: The first Python there that can import a runtime.
_FIND_PYTHON = f"""
for python in {artefacts.PYTHONS}; do
  command -v "$python" >/dev/null 2>&1 || continue
  for module in ai_edge_litert tflite_runtime; do
    if "$python" -c "import numpy, $module.interpreter" >/dev/null 2>&1; then
      command -v "$python"
      exit 0
    fi
  done
done
"""


def _python(device: Device) -> list[str]:
    if device.is_local:
        return [sys.executable]
    found = device.shell(_FIND_PYTHON).stdout.decode().strip()
    if not found:
        raise MissingError(
            f"{device.name}: no Python there has a TFLite runtime",
            "There: python3 -m venv ~/edgekit && ~/edgekit/bin/pip install ai-edge-litert",
        )
    return [found]


def _nanoseconds(seconds: float) -> str:
    return f"{round(seconds * 1e9)}ns"
