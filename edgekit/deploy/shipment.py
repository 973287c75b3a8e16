"""A model made ready to ship: checked, with its contract, labels and golden vectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit import tflite
from edgekit.contract import Contract
from edgekit.errors import UnreadableError, UsageError
from edgekit.evaluation import open_tflite
from edgekit.golden import making, vectors
from edgekit.golden.vectors import Golden
from edgekit.overrides import Overrides

#: What programs on devices read scores from.
_OUTPUT_DTYPES = ("float32", "int8", "uint8")
_EDGE_TPU_OP = "edgetpu-custom-op"


@dataclass(frozen=True)
class Shipment:
    """A model and what goes with it.

    Attributes:
        name: What its files are called: letters, digits, `_`, `-`.
        path: The .tflite file it was read from.
        model: Its bytes.
        contract: Its preprocessing contract.
        classes: How many outputs it has.
        ops: How often it has each operator.
        golden: Its golden vectors.
    """

    name: str
    path: Path
    model: bytes
    contract: Contract
    classes: int
    ops: dict[str, int]
    golden: Golden

    @property
    def model_file(self) -> str:
        """The name of the .tflite file on the device."""
        return f"{self.name}.tflite"

    @property
    def golden_file(self) -> str:
        """The name of the golden vectors' file on the device."""
        return f"{self.name}.golden.zip"

    @property
    def labels_text(self) -> bytes | None:
        """The classes, one a line, or None where they have no names."""
        if self.contract.labels is None:
            return None
        return "".join(f"{label}\n" for label in self.contract.labels).encode()


def take(
    path: Path, golden: Path | None = None, notify: Callable[[str], None] = lambda message: None
) -> Shipment:
    """Reads a model and checks that it can be shipped.

    Args:
        path: A .tflite file.
        golden: Its golden vectors; by default those beside it, or inside, or else new ones.
        notify: Called with what the user should know.

    Raises:
        UnreadableError: It is no sound .tflite file, or its golden vectors are damaged.
        UsageError: It is no image classifier, carries no contract, has golden vectors of another
            model, or needs what no device has.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}") from error
    model = tflite.read(data, str(path))
    _check_runs(model, str(path))
    if tflite.read_contract(data, str(path)) is None:
        raise UsageError(
            f"{path}: carries no preprocessing contract: a device would have to guess how a "
            "picture becomes its input",
            "Convert it with `edgekit convert`, which packs one into the file.",
        )
    classifier = open_tflite(path, Overrides())
    _check_scores(model, str(path))
    contract = classifier.contract
    if contract.labels is None:
        notify(f"{path.name} has no labels: its classes will be numbers. Convert with --labels.")
    found = vectors.look_for(path, data, golden)
    if found is None:
        notify(
            f"{path.name} came without golden vectors. New ones are made from a test card: they "
            "prove that a device answers as this machine does now."
        )
    ops: dict[str, int] = {}
    for operator in model.main.operators:
        ops[operator.name] = ops.get(operator.name, 0) + 1
    return Shipment(
        _safe(path),
        path,
        data,
        contract,
        classifier.classes,
        ops,
        making.make(data, path.name, contract, []) if found is None else found[0],
    )


def require_distinct(shipments: Sequence[Shipment]) -> None:
    """Checks that no two models would have the same files, on any file system.

    Raises:
        UsageError: Two clash.
    """
    seen: dict[str, Path] = {}
    for shipment in shipments:
        other = seen.setdefault(shipment.name.lower(), shipment.path)
        if other is not shipment.path:
            raise UsageError(
                f"{other} and {shipment.path}: both would be called {shipment.name}",
                "Rename one of the files, and its .golden.zip with it.",
            )


def _check_runs(model: tflite.Model, where: str) -> None:
    custom = sorted({op.name for op in model.main.operators if op.custom})
    if _EDGE_TPU_OP in custom:
        raise UsageError(
            f"{where}: is compiled for the Edge TPU already",
            "Give the model that it was compiled from: edgekit bundle pi MODEL --edgetpu",
        )
    if custom:
        raise UsageError(
            f"{where}: needs {', '.join(custom)}, which no runtime on a device has",
            "Convert it with `edgekit convert`, which writes builtin ops only.",
        )


def _check_scores(model: tflite.Model, where: str) -> None:
    scores = model.main.tensors[model.main.outputs[0]]
    if scores.dtype not in _OUTPUT_DTYPES:
        raise UsageError(
            f"{where}: its output is {scores.dtype}; what runs on devices reads "
            f"{', '.join(_OUTPUT_DTYPES)}",
            "Convert it again with --int8 or --float32.",
        )


def _safe(path: Path) -> str:
    """The file's name without its suffix, as it may be in a zip, an asset or a shell.

    It has no dots: Android's packager takes all behind the first one for the suffix, and would
    compress a model that is to stay as it is.
    """
    return re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem).strip("_-") or "model"
