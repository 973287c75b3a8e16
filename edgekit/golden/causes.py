"""What could have gone wrong in preprocessing: mistakes that people make, tried one by one.

Each candidate is a way to prepare the golden picture. Where one gives exactly the bytes that an
implementation made, that is the cause; where one comes much closer than the right way, likely.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit import images
from edgekit.contract import INTERPOLATIONS, NORMALIZATIONS, Contract
from edgekit.golden.stages import Answer
from edgekit.golden.vectors import Golden, Vector
from edgekit.images import Picture

#: (what was done, what it gives)
_Way = tuple[str, npt.NDArray[Any]]

#: A mistake that leaves at most this share of the difference is called likely.
_LIKELY = 0.25

_SWAPPED = "blue and red swapped"
_RESIZE_RULES = (("stretch", 1.0), ("crop", 1.0), ("crop", 0.875), ("pad", 1.0))
_TURNS: dict[str, Callable[[Picture], Picture]] = {
    "mirrored": lambda p: p[:, ::-1],
    "upside down": lambda p: p[::-1],
    "turned by 90 degrees": np.rot90,
    "turned by 180 degrees": lambda p: p[::-1, ::-1],
    "turned by 270 degrees": lambda p: np.rot90(p, 3),
}


def explain(vector: Vector, golden: Golden, answer: Answer, stage: str) -> str | None:
    """The mistake that gives what an implementation made, in words, or None.

    Args:
        vector: The picture.
        golden: What it is part of.
        answer: What the implementation made of it.
        stage: The first stage that differs: `fit` or `input`.
    """
    picture = images.decode_bytes(vector.picture, vector.name)
    right = images.fit(picture, golden.contract)
    if stage == "fit" and answer.fitted is not None:
        swapped = (_SWAPPED, right[..., ::-1])
        ways = itertools.chain(_fits(picture, golden.contract), [swapped])
        return _best(answer.fitted, np.dtype(np.uint8), ways)
    if stage != "input" or answer.input is None:
        return None
    if _is_rounding(answer.input, vector.input, golden):
        return "cause: rounded otherwise than by the contract (no value is off by more than a step)"
    ways = itertools.chain(_inputs(right, golden))
    if answer.fitted is None:  # then the fault may lie in the fitting as well
        ways = itertools.chain(ways, _inputs_of_wrong_fits(picture, golden))
    return _best(answer.input, np.dtype(golden.input.dtype), ways)


def _is_rounding(found: bytes, wanted: bytes, golden: Golden) -> bool:
    """Whether each value of a quantized input is a step off at most."""
    if golden.input.quantization is None or len(found) != len(wanted):
        return False
    values = [np.frombuffer(data, golden.input.dtype).astype(int) for data in (found, wanted)]
    return bool(np.abs(values[0] - values[1]).max() <= 1)


def _fits(picture: Picture, contract: Contract) -> Iterator[_Way]:
    """The right pixels first, then what mistakes in fitting give."""
    yield "", images.fit(picture, contract)
    for name in INTERPOLATIONS:
        if name != contract.interpolation:
            other = dataclasses.replace(contract, interpolation=name)
            what = f"the interpolation {name} instead of {contract.interpolation}"
            yield what, images.fit(picture, other)
    for fit, fraction in _RESIZE_RULES:
        other = dataclasses.replace(contract, fit=fit, crop_fraction=fraction)
        if other.resize_rule != contract.resize_rule:
            what = f"the resize rule {other.resize_rule} instead of {contract.resize_rule}"
            yield what, images.fit(picture, other)
    for what, turn in _TURNS.items():
        yield f"the picture {what}", images.fit(np.ascontiguousarray(turn(picture)), contract)


def _inputs(fitted: Picture, golden: Golden) -> Iterator[_Way]:
    """The right input first, then what mistakes after fitting give."""
    contract = golden.contract
    yield "", _input(fitted, contract, golden)
    yield _SWAPPED, _input(np.ascontiguousarray(fitted[..., ::-1]), contract, golden)
    for name, normalization in NORMALIZATIONS.items():
        if name != contract.normalization_name:
            other = contract.with_normalization(normalization)
            what = f"the preprocessing {name} instead of {contract.normalization_name}"
            yield what, _input(fitted, other, golden)
    if any(contract.mean):
        other = dataclasses.replace(contract, mean=(0.0, 0.0, 0.0))
        yield "the mean forgotten", _input(fitted, other, golden)
    if contract.std != (1.0, 1.0, 1.0):
        other = dataclasses.replace(contract, std=(1.0, 1.0, 1.0))
        yield "the division by std forgotten", _input(fitted, other, golden)
    info = golden.input
    if info.quantization is not None:
        real = images.to_input(fitted, contract, np.float32).astype(np.float64)
        yield "the zero point forgotten", _limited(np.rint(real / info.quantization[0]), info.dtype)
        yield "the grey levels themselves, not quantized", fitted.astype(info.dtype)
        yield "the real values cast to integers, not quantized", _limited(real, info.dtype)
    planes = np.ascontiguousarray(_input(fitted, contract, golden).transpose(2, 0, 1))
    yield "channels first (NCHW) instead of last (NHWC)", planes


def _inputs_of_wrong_fits(picture: Picture, golden: Golden) -> Iterator[_Way]:
    for what, fitted in _fits(picture, golden.contract):
        if what:
            yield what, _input(fitted, golden.contract, golden)


def _input(fitted: Picture, contract: Contract, golden: Golden) -> npt.NDArray[Any]:
    """As the model takes it; its own quantization is what counts, whatever the mistake."""
    return images.to_input(fitted, contract, golden.input.dtype, golden.input.quantization)


def _limited(values: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    limits = np.iinfo(dtype)
    return np.clip(values, limits.min, limits.max).astype(dtype)


def _best(found: bytes, dtype: np.dtype[Any], ways: Iterator[_Way]) -> str | None:
    """The way that gives just these bytes, or comes much closer to them than the right one."""
    right: float | None = None
    likely, least = None, np.inf
    for what, value in ways:
        if value.nbytes != len(found):
            continue
        actual = np.frombuffer(found, dtype).astype(np.float64)
        gap = float(np.abs(actual - value.reshape(-1).astype(np.float64)).mean())
        if not what:
            right = gap
        elif gap == 0:
            return f"cause: {what}"
        elif gap < least:
            likely, least = what, gap
    if right is not None and least < _LIKELY * right:
        return f"likely cause: {likely}"
    return None
