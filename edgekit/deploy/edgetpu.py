"""Coral's compiler for the Edge TPU, where it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgekit import tflite
from edgekit.deploy.shipment import Shipment
from edgekit.errors import MissingError, RuntimeFailure, UsageError

_COMPILER = "edgetpu_compiler"
_SECONDS = 600
_HOW_TO_GET = (
    "It runs on x86-64 Linux: https://coral.ai/docs/edgetpu/compiler says how to install it "
    "(apt-get install edgetpu-compiler, from Coral's package source). Without it, leave --edgetpu "
    "out."
)
#: What it prints of each model.
_MAPPED = re.compile(r"will run on Edge TPU:\s*(\d+)")
_LEFT = re.compile(r"will run on CPU:\s*(\d+)")


@dataclass(frozen=True)
class Compiled:
    """A model for the Edge TPU.

    Attributes:
        model: The bytes of its .tflite file, with the contract inside.
        mapped: How many operations run on the Edge TPU, or None where the compiler doesn't say.
        left: How many stay on the CPU, likewise.
    """

    model: bytes
    mapped: int | None
    left: int | None

    @property
    def in_words(self) -> str:
        """How many operations run where."""
        if self.mapped is None or self.left is None:
            return "the compiler doesn't say which operations it mapped"
        return f"{self.mapped} operations run on it, {self.left} on the CPU"


def require_compiler() -> str:
    """The path of the compiler.

    Raises:
        MissingError: It isn't installed.
    """
    path = shutil.which(_COMPILER)
    if path is None:
        raise MissingError(f"{_COMPILER} is not installed", _HOW_TO_GET)
    return path


def compile_model(shipment: Shipment, notify: Callable[[str], None]) -> Compiled:
    """Compiles a model and packs its contract into the result.

    Raises:
        MissingError: The compiler isn't installed.
        UsageError: The model isn't int8, or the compiler maps nothing of it.
        RuntimeFailure: The compiler failed.
    """
    compiler = require_compiler()
    if shipment.golden.input.dtype not in ("int8", "uint8"):
        raise UsageError(
            f"{shipment.path}: its input is {shipment.golden.input.dtype}; the Edge TPU takes "
            "whole numbers only",
            "Convert the model with --int8.",
        )
    notify(f"compiling {shipment.model_file} for the Edge TPU ...")
    with tempfile.TemporaryDirectory(prefix="edgekit-edgetpu-") as folder:
        source = Path(folder) / shipment.model_file
        source.write_bytes(shipment.model)
        said = _run([compiler, "-s", "-o", folder, str(source)])
        made = Path(folder) / f"{shipment.name}_edgetpu.tflite"
        if not made.is_file():
            raise RuntimeFailure(f"{_COMPILER} made no model: {said.strip()[-300:]}")
        model = made.read_bytes()
    names = {op.name for op in tflite.read(model, made.name).main.operators}
    if "edgetpu-custom-op" not in names:
        raise UsageError(
            f"{shipment.path}: {_COMPILER} maps none of its operations to the Edge TPU",
            "See what it says: edgetpu_compiler -s MODEL",
        )
    mapped, left = (_number(pattern, said) for pattern in (_MAPPED, _LEFT))
    return Compiled(tflite.pack(model, shipment.contract), mapped, left)


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeFailure(f"{_COMPILER}: {error}") from error
    if done.returncode != 0:
        last = (done.stdout + done.stderr).strip().splitlines()[-1:] or [f"code {done.returncode}"]
        raise RuntimeFailure(f"{_COMPILER} failed: {last[0]}")
    return done.stdout + done.stderr


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return None if found is None else int(found[1])
