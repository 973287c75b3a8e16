"""A model loaded in whichever TFLite runtime is installed."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import importlib.metadata
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit import quiet
from edgekit.errors import MissingError, RuntimeFailure, UsageError
from edgekit.runtime.probes import Probe, all_probes, wrong_in
from edgekit.tflite.reader import read
from edgekit.types import TensorInfo

#: In order of preference: (module, distribution). tflite-runtime serves armv7, where there is no
#: LiteRT wheel; TensorFlow's own copy is deprecated.
_RUNTIMES = (
    ("ai_edge_litert.interpreter", "ai-edge-litert"),
    ("tflite_runtime.interpreter", "tflite-runtime"),
    ("tensorflow.lite.python.interpreter", "tensorflow"),
)

#: Of Coral's runtime for the Edge TPU: https://coral.ai/docs/accelerator/get-started
_EDGETPU_LIBRARY = "libedgetpu.so.1"
_WHERE_FROM = {
    "edgetpu": "Install Coral's runtime (the package libedgetpu1-std): "
    "https://coral.ai/docs/accelerator/get-started"
}
_MENDED = {
    "edgetpu": "Is the accelerator plugged in, and may this user use it? See the udev rule and "
    "the group plugdev in https://coral.ai/docs/accelerator/get-started"
}

_opening = threading.Lock()


@functools.cache
def _runtime() -> tuple[Any, str]:
    for module, distribution in _RUNTIMES:
        with contextlib.suppress(ImportError):
            loaded = importlib.import_module(module)
            return loaded, f"{distribution} {importlib.metadata.version(distribution)}"
    raise MissingError("no TFLite runtime is installed", "Install one: pip install ai-edge-litert")


def runtime_name() -> str:
    """The runtime that was found and its version, such as `ai-edge-litert 2.3.0`.

    Raises:
        MissingError: None is installed.
    """
    return _runtime()[1]


@dataclass(frozen=True)
class Delegate:
    """A delegate of a shared library, loaded.

    Attributes:
        name: As the user gave it.
        native: The runtime's own.
    """

    name: str
    native: Any


def load_delegate(name: str) -> Delegate:
    """Loads a delegate.

    Args:
        name: `edgetpu`, or `external:PATH[,key=value...]`, as the benchmark takes them.

    Raises:
        UsageError: It is neither.
        MissingError: Its library isn't there.
        RuntimeFailure: It refuses to start: no such accelerator is connected, say.
    """
    kind, _, rest = name.partition(":")
    library, *pairs = rest.split(",")
    if name == "edgetpu":
        library = _EDGETPU_LIBRARY
    elif kind != "external" or not library or not all("=" in pair for pair in pairs):
        raise UsageError(
            f"delegate {name}: not known", "Choose edgetpu or external:PATH[,key=value...]."
        )
    try:
        # The runtime itself can't say what is wrong with a library.
        ctypes.CDLL(library)
    except OSError as error:
        raise MissingError(
            f"delegate {name}: its library can't be loaded: {error}", _WHERE_FROM.get(name)
        ) from error
    module, runtime = _runtime()
    try:
        with _opening, quiet.native_stderr(), _without_unraisable():
            native = module.load_delegate(library, dict(pair.split("=", 1) for pair in pairs))
    except (ValueError, OSError, RuntimeError) as error:
        reason = str(error).strip() or "it gives no reason"
        raise RuntimeFailure(
            f"delegate {name}: {runtime} can't start it: {reason}", _MENDED.get(name)
        ) from error
    return Delegate(name, native)


class Interpreter:
    """A classifier ready to run: one image in, one vector of scores out.

    Not for use by several threads at once; give each its own (see `edgekit.evaluation.run`).

    Attributes:
        input: The model's input.
        output: The model's first output.
        delegate: The name of the delegate that it was given, or None.
    """

    def __init__(
        self,
        model: bytes,
        threads: int = 1,
        *,
        keep_all_tensors: bool = False,
        delegate: Delegate | None = None,
    ) -> None:
        """Loads a model. Load files of unknown origin with `check_in_child` first.

        Args:
            model: The bytes of a .tflite file.
            threads: CPU threads per inference.
            keep_all_tensors: Keep every intermediate value, for `tensor`.
            delegate: What takes ops from the CPU.

        Raises:
            RuntimeFailure: The runtime refuses the model.
            MissingError: No runtime is installed.
        """
        options: dict[str, Any] = {}
        if keep_all_tensors:
            options["experimental_preserve_all_tensors"] = True
        if delegate is not None:
            options["experimental_delegates"] = [delegate.native]
        self._native = open_native(model, threads, **options)
        self.delegate = None if delegate is None else delegate.name
        self.input = _info(self._native.get_input_details()[0])
        self.output = _info(self._native.get_output_details()[0])

    def invoke(self, value: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Runs one inference.

        Args:
            value: The input's dtype, its shape with or without the leading batch of 1.

        Returns:
            The output as the model gives it, without the batch: dtype[classes].

        Raises:
            RuntimeFailure: The runtime failed.
        """
        try:
            self._native.set_tensor(self.input.index, value.reshape(self.input.shape))
            self._native.invoke()
            return self._native.get_tensor(self.output.index)[0]
        except (ValueError, RuntimeError) as error:
            raise RuntimeFailure(f"{runtime_name()}: inference failed: {error}") from error

    def tensor(self, index: int) -> npt.NDArray[np.generic] | None:
        """The value of an intermediate tensor after `invoke`, or None where it wasn't kept."""
        try:
            return self._native.get_tensor(index)
        except ValueError:
            return None

    def tensors(self) -> list[TensorInfo]:
        """All tensors of the main subgraph, temporary ones left out."""
        return [_info(d) for d in self._native.get_tensor_details() if d["name"]]


@functools.cache
def faults() -> tuple[Probe, ...]:
    """What the runtime computes wrong in silence; tried once a process, in a few milliseconds.

    Raises:
        MissingError: No runtime is installed.
    """
    return tuple(probe for probe in all_probes() if not _passes(probe))


def _passes(probe: Probe) -> bool:
    try:
        native = _open(probe.model, 1)
        native.set_tensor(native.get_input_details()[0]["index"], probe.value)
        native.invoke()
    except (RuntimeFailure, RuntimeError, ValueError):
        return True  # what is refused aloud is no fault
    return probe.fits(native.get_tensor(native.get_output_details()[0]["index"]))


def open_native(model: bytes, threads: int = 1, **options: Any) -> Any:
    """The runtime's own interpreter, tensors allocated, for what `Interpreter` doesn't offer.

    Args:
        model: The bytes of a .tflite file.
        threads: CPU threads per inference.
        **options: Options of the runtime's constructor.

    Raises:
        RuntimeFailure: The runtime refuses the model, or would compute it wrong.
        MissingError: No runtime is installed.
    """
    if faults() and (wrong := wrong_in(read(model, "the model"), faults())):
        raise RuntimeFailure(
            f"{runtime_name()} computes {' and '.join(p.name for p in wrong)} wrong (just tried), "
            "and the model has them",
            "Install a newer runtime (pip install ai-edge-litert), or convert for this one: "
            "edgekit convert --runtime VERSION.",
        )
    return _open(model, threads, **options)


def _open(model: bytes, threads: int, **options: Any) -> Any:
    module, name = _runtime()
    try:
        # Python's warnings and file descriptor 2 belong to the whole process: one at a time.
        with _opening, warnings.catch_warnings(), quiet.native_stderr():
            warnings.simplefilter("ignore")
            native = module.Interpreter(model_content=model, num_threads=threads, **options)
            native.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise RuntimeFailure(f"{name} can't load the model: {error}") from error
    return native


@contextlib.contextmanager
def _without_unraisable() -> Iterator[None]:
    """Keeps a stray AttributeError off stderr: that of a half-made delegate's `__del__`."""
    before, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
    try:
        yield
    finally:
        sys.unraisablehook = before


def _info(details: dict[str, Any]) -> TensorInfo:
    parameters = details["quantization_parameters"]
    per_tensor = len(parameters["scales"]) == 1
    return TensorInfo(
        name=details["name"],
        index=details["index"],
        shape=tuple(int(n) for n in details["shape"]),
        dtype=np.dtype(details["dtype"]).name,
        scale=float(parameters["scales"][0]) if per_tensor else None,
        zero_point=int(parameters["zero_points"][0]) if per_tensor else None,
    )
