"""The parent's side of the export: starts the child, reads what it says, checks what it wrote."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar

import numpy as np

from edgekit import quiet
from edgekit.converters import sources
from edgekit.converters.ranges import Ranges
from edgekit.errors import (
    BY_NAME,
    EdgekitError,
    MissingError,
    NotMetError,
    RuntimeFailure,
    UnreadableError,
)
from edgekit.runtime import Interpreter

#: How far the float32 export may be from the source on the probe image, relative to the largest
#: output. The exports measured were within 2e-6.
PROBE_TOLERANCE = 1e-3

#: `-m` and `-c` look in the current folder first, where a `random.py` of the user's would be taken
#: for Python's own.
_CHILD = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; "
    "from {module} import main; sys.exit(main())"
)


@dataclass(frozen=True)
class Description:
    """What the child found in a model.

    Attributes:
        height: Input height in pixels.
        width: Input width in pixels.
        classes: Number of outputs.
        name: The model's own name.
        framework: What read it, such as `keras 3.15.1`.
        pixelwise: (class, name) of the layers that change pixels one by one before the first real
            layer.
        models: Names of the model and of the nested models that the first real layer is in.
        first_layer: The first real layer's name, or None where unknown.
    """

    height: int
    width: int
    classes: int
    name: str
    framework: str
    pixelwise: tuple[tuple[str, str], ...] = ()
    models: tuple[str, ...] = ()
    first_layer: str | None = None


@dataclass(frozen=True)
class LearnedRanges:
    """The ranges that quantization-aware training gave a model.

    Attributes:
        ranges: The range of each activation that has one, by tensor name of the float file.
        unlearned: The activations that training left in float: their ranges are to be calibrated.
        answers: Whether the child can say what the model itself answers, for the parity gate.
    """

    ranges: Ranges
    unlearned: tuple[str, ...]
    answers: bool = False


Running = TypeVar("Running", bound="Export")


class Export:
    """An export under way in a child process. Use as a context manager: leaving it ends the child.

    Example:
        with Export(path, kind) as export:
            description = export.described()   # while TensorFlow goes on
            model = export.float_model()

    Attributes:
        work: The folder that both sides write to.
        learned: The ranges that the model was trained in, once it is exported; None where there
            are none.
    """

    #: What the child runs.
    _module = "edgekit.converters.exporter"

    def __init__(
        self,
        path: Path,
        kind: str,
        *,
        size: tuple[int, int] | None = None,
        modules: Sequence[str] = (),
        stock: dict[str, Any] | None = None,
    ) -> None:
        """Prepares the export.

        Args:
            path: The source.
            kind: Its kind, a key of `sources.KINDS` but not `tflite`.
            size: Input height and width for a model that takes any size.
            modules: Python modules that register custom classes.
            stock: Options of the stock converter, which then runs after the float export.

        Raises:
            MissingError: TensorFlow is not installed.
            UnreadableError: A `.keras` archive is damaged.
        """
        _require_tensorflow(path, kind)
        if kind == "keras":
            sources.check_keras_archive(path)
        self._path, self._kind = path, kind
        self._folder = tempfile.TemporaryDirectory(prefix="edgekit-export-")
        self.work = Path(self._folder.name)
        self._request: dict[str, Any] = {
            "path": str(path.resolve()),
            "kind": kind,
            "size": size,
            "modules": list(modules),
            "stock": stock,
            "work": str(self.work),
        }
        self._child: subprocess.Popen[str] | None = None
        self.learned: LearnedRanges | None = None

    def __enter__(self: Running) -> Running:
        self._log: IO[bytes] = (self.work / "log.txt").open("wb")
        self._child = subprocess.Popen(
            [sys.executable, "-c", _CHILD.format(module=self._module)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if quiet.debugging() else self._log,
            text=True,
            encoding="utf-8",
            # Modules named with --import are looked up from where the user is.
            env=os.environ
            | {
                "PYTHONPATH": _python_path(bool(self._request["modules"])),
                # What Keras unpacks goes with the folder, even where the child is killed.
                "TMPDIR": str(self.work),
            },
        )
        self._say(json.dumps(self._request))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        child = self._child
        assert child is not None
        if child.poll() is None:
            child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                _close(stream)
        self._log.close()
        self._folder.cleanup()

    def described(self) -> Description:
        """Waits until the model is read."""
        values = self._next("described")
        values["pixelwise"] = tuple((c, n) for c, n in values["pixelwise"])
        values["models"] = tuple(values["models"])
        return Description(**values)

    def float_model(self) -> bytes:
        """Waits for the float32 TFLite file, and holds it against the source's own answer.

        Raises:
            RuntimeFailure: It answers otherwise than the source.
        """
        exported = self._next("exported")
        model = Path(exported["model"]).read_bytes()
        if exported["learned"] is not None:
            ranges = {
                name: (low, high) for name, (low, high) in exported["learned"]["ranges"].items()
            }
            answers = bool(exported["learned"].get("answers"))
            self.learned = LearnedRanges(ranges, tuple(exported["learned"]["unlearned"]), answers)
        probe = np.load(self.work / "probe.npz")
        answer = Interpreter(model).invoke(probe["input"])
        expected = probe["output"][0]
        if not np.isfinite(expected).all():
            raise NotMetError(
                f"{self._path}: the model gives numbers that are not finite (NaN or infinity)",
                "Training probably diverged: look at its weights, and train it again.",
            )
        error = float(np.max(np.abs(answer - expected)))
        if not error <= PROBE_TOLERANCE * max(float(np.max(np.abs(expected))), 1e-3):
            raise RuntimeFailure(
                f"{self._path}: its float32 export answers otherwise than the model itself "
                f"(largest difference {error:.3g} on a probe image)",
                "This would be a wrong file, so it is not written. Please report the model.",
            )
        return model

    def trained_scores(self, inputs: np.ndarray) -> np.ndarray:
        """What a quantization-aware model itself says, rounded as it was trained.

        Args:
            inputs: float32[N, H, W, 3].

        Returns:
            float32[N, classes], the real values of its int8 outputs.
        """
        np.save(self.work / "inputs.npy", inputs)
        self._say("go")
        self._next("scored")
        return np.asarray(np.load(self.work / "scores.npy"))

    def stock_model(self, calibration: np.ndarray) -> bytes:
        """The stock converter's quantized file.

        Args:
            calibration: float32[N, H, W, 3], the calibration inputs.
        """
        np.save(self.work / "calibration.npy", calibration)
        self._say("go")
        return Path(self._next("exported")["model"]).read_bytes()

    def _say(self, line: str) -> None:
        assert self._child is not None and self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the child ended; reading from it says why
            self._child.stdin.write(line + "\n")
            self._child.stdin.flush()

    def _next(self, expected: str) -> dict[str, Any]:
        event, values = self._event()
        assert event == expected, f"the export child said {event}, not {expected}"
        return values

    def _event(self) -> tuple[str, dict[str, Any]]:
        """Waits for what the child says next: (event, values); an error of its is raised here."""
        assert self._child is not None and self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line.endswith("\n"):  # nothing, or cut off
            raise self._crashed()
        values: dict[str, Any] = json.loads(line)
        event = values.pop("event")
        if event == "error":
            raise BY_NAME[values["type"]](values["message"], values["hint"])
        return event, values

    def _crashed(self) -> EdgekitError:
        assert self._child is not None
        code = self._child.wait()
        if code == -signal.SIGKILL:
            return RuntimeFailure(
                f"{self._path}: TensorFlow was killed while it read the model",
                "The machine is probably out of memory: close other programs and try again.",
            )
        tail = (self.work / "log.txt").read_text("utf-8", "replace").strip().splitlines()[-1:]
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        said = f": {tail[0][:300]}" if tail else ""
        return UnreadableError(
            f"{self._path}: TensorFlow ended ({how}) while reading {sources.KINDS[self._kind]}"
            f"{said}",
            "The file is damaged, or TensorFlow doesn't work on this machine.",
        )


def _close(stream: IO[str]) -> None:
    with contextlib.suppress(BrokenPipeError):  # what was still buffered has no reader any more
        stream.close()


def _python_path(with_current_folder: bool) -> str:
    """This process's module path, for the child; the current folder only where it is wanted."""
    entries = [entry for entry in sys.path if entry]
    # Last, so that a file there can't take the place of a module that TensorFlow imports.
    return os.pathsep.join([*entries, str(Path.cwd())] if with_current_folder else entries)


def _require_tensorflow(path: Path, kind: str) -> None:
    if importlib.util.find_spec("tensorflow") is None:
        raise MissingError(
            f"{path}: reading {sources.KINDS[kind]} needs TensorFlow, which is not installed",
            'Install it: pip install "edgekit[convert]"',
        )
