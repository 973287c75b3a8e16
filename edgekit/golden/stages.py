"""Holds what an implementation made of a golden picture against what is right, stage by stage."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.golden.vectors import Golden, Vector
from edgekit.types import TensorInfo

#: The stages in their order.
STAGES = ("decode", "fit", "input", "inference")

#: By how many steps another runtime, delegate or processor may differ in a score: a step is one of
#: a quantized output's, or the 255th part of what the right scores of a float output span.
STEPS = 3.0

SAME, CLOSE, DIFFERENT, UNKNOWN = "same", "close", "different", "unknown"


@dataclass(frozen=True)
class Answer:
    """What an implementation made of a picture, as raw bytes; None where it doesn't tell.

    Attributes:
        decoded: The picture's pixels: uint8[H, W, 3], RGB.
        fitted: Those fitted to the input: uint8[height, width, 3], RGB.
        input: What the model was given.
        output: What it gave.
    """

    decoded: bytes | None = None
    fitted: bytes | None = None
    input: bytes | None = None
    output: bytes | None = None


@dataclass(frozen=True)
class Held:
    """How an answer compares.

    Attributes:
        vector: The picture's name.
        stages: For each of STAGES `same`, `close` (within the tolerance), `different`, or `unknown`
            where the implementation doesn't tell, or where an earlier stage differs.
        detail: How the first stage that differs does so, or None.
        steps: The largest difference of a score, in steps; None where no output is known.
        answer: The class that it answered, or None where no output is known.
    """

    vector: str
    stages: dict[str, str]
    detail: str | None
    steps: float | None
    answer: int | None

    @property
    def fault(self) -> str | None:
        """The first stage that differs, or None."""
        return next((s for s in STAGES if self.stages[s] == DIFFERENT), None)


def hold(vector: Vector, golden: Golden, answer: Answer, tolerance: float) -> Held:
    """Compares an answer with what is right.

    Args:
        vector: What is right.
        golden: What it is part of.
        answer: What an implementation made of its picture.
        tolerance: By how many steps a score may differ; 0 for every byte the same.
    """
    given = {
        "decode": _pixels(answer.decoded, vector.decoded_sha256, "the decoded picture"),
        "fit": _pixels(answer.fitted, vector.fitted_sha256, "the fitted picture"),
        "input": _input(answer.input, vector.input, golden.input),
        "inference": _output(answer.output, vector, golden.output, tolerance),
    }
    stages = dict.fromkeys(STAGES, UNKNOWN)
    detail = None
    for stage in STAGES:
        compared = given[stage]
        if compared is None:
            continue
        stages[stage], detail = compared
        if detail is not None:
            break  # what comes after a fault differs because of it
    steps = reply = None
    if answer.output is not None and len(answer.output) == len(vector.output):
        scores = _values(answer.output, golden.output)
        steps = _steps(scores, _values(vector.output, golden.output), golden.output)
        reply = int(scores.argmax())
    return Held(vector.name, stages, detail, steps, reply)


#: (how a stage compares, what differs or None), or None where nothing is known.
_Compared = tuple[str, str | None] | None


def _pixels(found: bytes | None, wanted: str, what: str) -> _Compared:
    if found is None:
        return None
    if hashlib.sha256(found).hexdigest() == wanted:
        return SAME, None
    return DIFFERENT, f"{what} has other pixels"


def _input(found: bytes | None, wanted: bytes, info: TensorInfo) -> _Compared:
    if found is None:
        return None
    if found == wanted:
        return SAME, None
    if len(found) != len(wanted):
        return DIFFERENT, f"the input has {len(found)} bytes, not {len(wanted)}"
    gaps = np.abs(_values(found, info).astype(float) - _values(wanted, info).astype(float))
    share = float(np.mean(gaps > 0))
    return DIFFERENT, f"{share:.1%} of the input's values differ, by {gaps.max():g} at most"


def _output(found: bytes | None, vector: Vector, info: TensorInfo, tolerance: float) -> _Compared:
    if found is None:
        return None
    if found == vector.output:
        return SAME, None
    if len(found) != len(vector.output):
        return DIFFERENT, f"the output has {len(found)} bytes, not {len(vector.output)}"
    scores, wanted = _values(found, info), _values(vector.output, info)
    steps = _steps(scores, wanted, info)
    if not steps <= tolerance:  # NaN too
        return DIFFERENT, f"the scores differ by {steps:.3g} steps, {tolerance:g} are allowed"
    if vector.answer is not None and int(scores.argmax()) != vector.answer:
        return DIFFERENT, f"the answer is class {int(scores.argmax())}, not {vector.answer}"
    return CLOSE, None


def _steps(
    found: npt.NDArray[np.generic], wanted: npt.NDArray[np.generic], info: TensorInfo
) -> float:
    gap = float(np.abs(found.astype(float) - wanted.astype(float)).max())
    if info.scale is not None:
        return gap
    return gap / (float(np.ptp(wanted.astype(float))) / 255 or 1.0)


def _values(data: bytes, info: TensorInfo) -> npt.NDArray[np.generic]:
    return np.frombuffer(data, info.dtype)
