"""Replays golden vectors on this machine, or reads what an app answered."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import images
from edgekit.contract import Contract
from edgekit.errors import UnreadableError, UsageError
from edgekit.golden import causes
from edgekit.golden.stages import STAGES, STEPS, Answer, Held, hold
from edgekit.golden.vectors import Golden, Vector
from edgekit.runtime import Interpreter, runtime_name

_FIELDS = tuple(field.name for field in dataclasses.fields(Answer))


@dataclass(frozen=True)
class Replay:
    """All vectors, replayed.

    Attributes:
        by: What was held against them: `local`, a device, a folder of answers.
        runtime: What ran the model, where that is known.
        machine: The processor's architecture, where that is known.
        tolerance: By how many steps a score might differ.
        held: One for each vector.
        causes: vector -> what gave its preprocessing's fault, in words, where that was found.
        remarks: What else is to be known.
    """

    by: str
    runtime: str | None
    machine: str | None
    tolerance: float
    held: tuple[Held, ...]
    causes: dict[str, str]
    remarks: tuple[str, ...] = ()

    @property
    def fault(self) -> str | None:
        """The earliest stage that differs for any picture, or None where all is well."""
        found = {held.fault for held in self.held}
        return next((stage for stage in STAGES if stage in found), None)

    def to_dict(self) -> dict[str, Any]:
        """The replay as plain JSON values."""
        return {
            "verified": self.fault is None,
            "stage": self.fault,
            "by": self.by,
            "runtime": self.runtime,
            "machine": self.machine,
            "tolerance_steps": self.tolerance,
            "vectors": [
                {
                    "name": held.vector,
                    "stages": held.stages,
                    "detail": held.detail,
                    "cause": self.causes.get(held.vector),
                    "steps": held.steps,
                    "answer": held.answer,
                }
                for held in self.held
            ],
            "remarks": list(self.remarks),
        }


def here(
    interpreter: Interpreter, golden: Golden, contract: Contract, tolerance: float | None = None
) -> Replay:
    """Replays every stage on this machine, with the contract that is in the file now.

    Args:
        interpreter: Of the model.
        golden: Its golden vectors.
        contract: Its contract.
        tolerance: By how many steps a score may differ; by default `allowed`, or `STEPS` with a
            delegate.

    Raises:
        RuntimeFailure: The runtime failed.
        UnreadableError: A golden picture can't be decoded.
    """
    info = interpreter.input

    def answer(vector: Vector) -> Answer:
        picture = images.decode_bytes(vector.picture, f"{vector.name}.png")
        fitted = images.fit(picture, contract)
        value = images.to_input(fitted, contract, info.dtype, info.quantization)
        # The inference is judged by itself: it gets the right input, whatever came before.
        right = np.frombuffer(vector.input, info.dtype)
        output = interpreter.invoke(right).tobytes()
        return Answer(
            picture.tobytes(), fitted.tobytes(), np.ascontiguousarray(value).tobytes(), output
        )

    runtime, machine = runtime_name(), platform.machine()
    delegate = interpreter.delegate
    if tolerance is None:
        tolerance = STEPS if delegate is not None else allowed(golden, runtime, machine)
    remarks = () if contract == golden.contract else (_changed(golden.contract, contract),)
    by = "local" if delegate is None else f"local with {delegate}"
    return compare(golden, answer, by, tolerance, (runtime, machine), remarks)


def compare(
    golden: Golden,
    answer: Callable[[Vector], Answer],
    by: str,
    tolerance: float,
    made_by: tuple[str | None, str | None] = (None, None),
    remarks: Iterable[str] = (),
) -> Replay:
    """Holds the answers of an implementation against all vectors.

    Args:
        golden: What is right.
        answer: What the implementation makes of a vector.
        by: What the implementation is called.
        tolerance: By how many steps a score may differ.
        made_by: The runtime and the architecture, where they are known.
        remarks: What else is to be known.
    """
    held, found = [], {}
    for vector in golden.vectors:
        answered = answer(vector)
        result = hold(vector, golden, answered, tolerance)
        held.append(result)
        if result.fault in ("fit", "input"):
            cause = causes.explain(vector, golden, answered, result.fault)
            if cause is not None:
                found[vector.name] = cause
    return Replay(by, *made_by, tolerance, tuple(held), found, tuple(remarks))


def allowed(golden: Golden, runtime: str | None, machine: str | None) -> float:
    """By how many steps a score may differ.

    None for an int8 output of the runtime that made it, on the same architecture: these kernels
    compute in integers. Otherwise `STEPS`: others round elsewhere, or sum floats in another order.
    """
    same = (golden.runtime, golden.machine) == (runtime, machine)
    return 0.0 if same and golden.output.scale is not None else STEPS


def read_answers(folder: Path) -> Callable[[Vector], Answer]:
    """What an app wrote: files `NAME.decoded`, `.fitted`, `.input` and `.output` of raw bytes.

    Raises:
        UsageError: There is no such folder; or, by what is returned, no answer to a vector.
        UnreadableError: By what is returned: a file can't be read.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", "Name the folder that the app wrote.")

    def answer(vector: Vector) -> Answer:
        paths = {field: folder / f"{vector.name}.{field}" for field in _FIELDS}
        found = {field: _read(path) for field, path in paths.items() if path.exists()}
        if not found:
            names = ", ".join(path.name for path in paths.values())
            raise UsageError(
                f"{folder}: no answer to {vector.name}",
                f"An app writes those of its stages that it has, as raw bytes: {names}.",
            )
        return Answer(**found)

    return answer


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}") from error


def _changed(then: Contract, now: Contract) -> str:
    """What differs between the contract of the golden vectors and that in the file."""
    before, after = then.to_dict(), now.to_dict()
    names = [name.replace("_", " ") for name in before if before[name] != after[name]]
    return (
        f"The contract in the file is not the one that it was converted with: {', '.join(names)}."
    )
