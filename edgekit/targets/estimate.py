"""How long an inference will take on a target: an estimate, fitted to published measurements.

    milliseconds = a * MACs + b * bytes of activations + c * streamed bytes + d

`fitted/rates.toml` has a to d for each setting (target, precision, processor, threads) that enough
was published of; benchmarks/latency_fit.py fits them to `measurements.csv`, and knows how far they
are off for a family of models that they were not fitted to: that gives the interval. MACs and
activations are what computing and moving data cost; the streamed bytes are parameters that don't
fit on the chip.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgekit.targets.target import Target
from edgekit.tflite.cost import macs, parameter_tensors
from edgekit.tflite.model import Model, Operator, Tensor

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_RATES = Path(__file__).parent / "fitted" / "rates.toml"
#: Ops that move no data of their own, or stand where a float model has none.
_FREE = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "QUANTIZE", "DEQUANTIZE", "SOFTMAX"})
#: What a `Work` may have.
PRECISIONS = frozenset({"int8", "int16x8", "float32", "dynamic"})
_BYTES = {"int8": 1, "int16x8": 2}
#: Counts of the same architecture differ by less than this share.
_ALIKE = 0.01
#: What is published as either is measured alike.
_EIGHT_BIT = frozenset({"int8", "uint8"})


@dataclass(frozen=True)
class Work:
    """What one inference of a model does.

    Attributes:
        macs: Multiply-accumulates.
        activations: Elements that all ops write.
        parameters: Learned constants, in elements.
        precision: Of its arithmetic: `int8` or `float32`; `int16x8`, `dynamic` (int8 weights,
            float activations), of which nothing is fitted.
    """

    macs: int
    activations: int
    parameters: int
    precision: str

    def is_like(self, other: Work) -> bool:
        """Whether both are the same architecture, as far as the counts tell it.

        Counts of one differ by the classes; those of two in the zoo by far more. Parameters are
        left out: the classes can make half of them. Written with simpler ops (hard-swish), a model
        is another one here: it does more.
        """
        pairs = (self.macs, other.macs), (self.activations, other.activations)
        close = all(abs(mine - its) <= _ALIKE * max(mine, its) for mine, its in pairs)
        return close and self.precision == other.precision

    @property
    def element_bytes(self) -> int:
        """Bytes of an element."""
        return _BYTES.get(self.precision, 4)

    def features(self, on_chip_bytes: float | None) -> tuple[float, float, float, float]:
        """What the rates are multiplied with.

        Args:
            on_chip_bytes: What of the parameters stays on the chip; None where nothing is streamed.

        Returns:
            Millions of MACs, megabytes of activations, megabytes streamed, 1.
        """
        size = self.parameters * self.element_bytes
        streamed = 0.0 if on_chip_bytes is None else max(0.0, size - on_chip_bytes)
        return self.macs / 1e6, self.activations * self.element_bytes / 1e6, streamed / 1e6, 1.0


@dataclass(frozen=True)
class Rate:
    """What was fitted for one setting.

    Attributes:
        target: Its name.
        precision: `int8` or `float32`.
        setting: Processor, threads and runtime, in words.
        coefficients: For `Work.features`, in ms.
        low: The 10th percentile of measured / estimated, for families that were left out.
        high: The 90th percentile.
        median_error: Of estimates for families that were left out, 0..1.
        rows: How many measurements.
        families: Of which families of models.
    """

    target: str
    precision: str
    setting: str
    coefficients: tuple[float, float, float, float]
    low: float
    high: float
    median_error: float
    rows: int
    families: tuple[str, ...]


@dataclass(frozen=True)
class Estimate:
    """An estimated latency.

    Attributes:
        ms: Of one inference.
        low: In 80 % of cases it is more.
        high: In 80 % of cases it is less.
        rate: What it comes from.
    """

    ms: float
    low: float
    high: float
    rate: Rate

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def work_of(model: Model, part: Container[int] | None = None) -> Work:
    """What a model does, from its ops.

    Args:
        model: From `edgekit.tflite.read`.
        part: Indices of the ops that count; by default all. Of a part, an op that multiplies
            nothing counts by the largest tensor that it reads or writes: what a reduction behind a
            cut reads is written by the other part, and is far more than what it writes itself.
    """
    graph = model.main
    counted = [op for op in graph.operators if part is None or op.index in part]
    ops = [op for op in counted if op.name not in _FREE]
    written = [graph.tensors[i] for op in ops for i in op.outputs]
    learned = parameter_tensors(model, graph)
    # Where nothing of it counts, its precision is that of what doesn't.
    judged = written or [graph.tensors[i] for op in counted for i in op.outputs]
    weights = [tensor for op in counted for tensor in learned[op.index]]
    return Work(
        sum(macs(op, graph) or 0 for op in counted),
        sum(tensor.elements for tensor in written)
        if part is None
        else sum(_moved(model, op) for op in ops),
        sum(tensor.elements for tensor in weights),
        _precision(judged, weights),
    )


def _precision(activations: Sequence[Tensor], weights: Sequence[Tensor]) -> str:
    """By most activations."""
    if 2 * sum(tensor.is_float for tensor in activations) > len(activations):
        return "dynamic" if any(tensor.dtype in _EIGHT_BIT for tensor in weights) else "float32"
    wide = sum(tensor.dtype == "int16" for tensor in activations)
    return "int16x8" if 2 * wide > len(activations) else "int8"


def work_if_known(model: Model) -> Work | None:
    """What a model does; None where it has an op whose cost isn't known, such as a compiled one."""
    graph = model.main
    unknown = any(macs(op, graph) is None for op in graph.operators)
    return None if unknown else work_of(model)


def _moved(model: Model, operator: Operator) -> int:
    """Elements of activations that an op of a part counts with."""
    tensors = model.main.tensors
    written = [tensors[i] for i in operator.outputs]
    if macs(operator, model.main) or not written:
        return sum(tensor.elements for tensor in written)
    read = [tensors[i] for i in operator.inputs if i >= 0 and not model.is_constant(tensors[i])]
    return max(tensor.elements for tensor in (*read, *written))


def estimates(work: Work, target: Target) -> list[Estimate]:
    """Estimated latencies on a target, in each setting that is known; the surest first."""
    name = target.name.partition("@")[0]
    found = [
        estimate(work.features(target.on_chip_bytes), rate)
        for rate in rates()
        if rate.target == name and rate.precision == work.precision
    ]
    return sorted(found, key=lambda estimate: estimate.rate.median_error)


def estimate(features: tuple[float, float, float, float], rate: Rate) -> Estimate:
    """The latency that follows from `Work.features` in one setting."""
    pairs = zip(rate.coefficients, features, strict=True)
    ms = sum(coefficient * feature for coefficient, feature in pairs)
    return Estimate(ms, ms * rate.low, ms * rate.high, rate)


@functools.cache
def rates() -> tuple[Rate, ...]:
    """All that was fitted."""
    return tuple(_rate(entry) for entry in _fitted()["rate"])


@functools.cache
def borrowed() -> Rate:
    """What a CPU has for a shape of which too little is published.

    It is to be scaled by a measurement there; `low`, `high` and `median_error` are of that.
    """
    entry = _fitted()["borrowed"]
    (lender,) = (
        rate
        for rate in rates()
        if (rate.precision, rate.setting) == (entry["precision"], entry["setting"])
    )
    off = {key: entry[key] for key in ("low", "high", "median_error", "rows")}
    return replace(lender, **off)


@functools.cache
def _fitted() -> dict[str, Any]:
    return tomllib.loads(_RATES.read_text("utf-8"))


def _rate(entry: Mapping[str, Any]) -> Rate:
    lists = {key: tuple(entry[key]) for key in ("coefficients", "families")}
    return Rate(**{**entry, **lists})


def precision_of(published: str) -> str:
    """The precision that a rate is for, from that of a published measurement."""
    return "int8" if published in _EIGHT_BIT else published
