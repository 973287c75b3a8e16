"""How the time of an inference is shared, where an accelerator leaves some ops to the CPU.

The ops that it takes are priced by a rate fitted for it, the others by that of the CPU beside it,
both in settings that the target names as belonging together (`cpu_like`). What an inference costs
besides its ops counts once, as the accelerator's. Moving tensors between the two is not counted:
nothing that is published tells it apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from edgekit.targets.estimate import Estimate, Rate, Work, estimate, estimates, rates, work_of
from edgekit.targets.placement import Placement
from edgekit.targets.target import Target
from edgekit.tflite.model import Model


@dataclass(frozen=True)
class Share:
    """An estimate of who takes how long.

    Attributes:
        accelerator: Of the ops that it takes.
        cpu: Of the ops that it leaves.
    """

    accelerator: Estimate
    cpu: Estimate

    @property
    def of_accelerator(self) -> float:
        """The accelerator's share of the time, 0..1."""
        return _share(self.accelerator.ms, self.cpu.ms)

    @property
    def low(self) -> float:
        """Its share where both rates are off as far as their 80 % reach, against it."""
        return _share(self.accelerator.low, self.cpu.high)

    @property
    def high(self) -> float:
        """Its share where they are off the other way."""
        return _share(self.accelerator.high, self.cpu.low)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        shares = {"of_accelerator": self.of_accelerator, "low": self.low, "high": self.high}
        return {**asdict(self), **shares}


@dataclass(frozen=True)
class Split:
    """Who takes how long.

    Attributes:
        shares: In each pair of settings that is known; the surest of the accelerator's first.
        unknown: Why there is none, or None.
    """

    shares: tuple[Share, ...]
    unknown: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"shares": [share.to_dict() for share in self.shares], "unknown": self.unknown}


def split_of(model: Model, placement: Placement, target: Target) -> Split | None:
    """Estimates the accelerator's and the CPU's share of the time.

    Args:
        model: From `edgekit.tflite.read`.
        placement: Of the model on the target.
        target: Where it is to run.

    Returns:
        None where there is nothing to share: the accelerator takes all ops, or none.
    """
    left = {op.index for op in placement.left}
    if not left or len(left) == len(placement.ops):
        return None
    taken = {op.index for op in placement.ops} - left
    uncounted = sorted({op.op for op in placement.ops if op.macs is None})
    if uncounted:
        return Split((), f"what {', '.join(uncounted)} costs is not known")
    if not target.cpu_like:
        return Split((), f"no rate is fitted for the CPU beside it ({target.processor})")
    mine, cpu = work_of(model, taken), work_of(model, left)
    on_accelerator = estimates(mine, target)
    if not on_accelerator:
        return Split((), f"too little is published of {mine.precision} models on {target.title}")
    shares = tuple(_shares(on_accelerator, cpu, target))
    if not shares:
        return Split((), f"too little is published of {cpu.precision} models on the CPU beside it")
    return Split(shares, None)


def _shares(on_accelerator: list[Estimate], cpu: Work, target: Target) -> Iterator[Share]:
    millions, activations, streamed, _ = cpu.features(None)
    for one in on_accelerator:
        rate = _rate(target.cpu_like.get(one.rate.setting), cpu)
        if rate is not None:
            yield Share(one, estimate((millions, activations, streamed, 0.0), rate))


def _rate(setting: str | None, work: Work) -> Rate | None:
    found = (r for r in rates() if r.setting == setting and r.precision == work.precision)
    return next(found, None)


def _share(mine: float, other: float) -> float:
    return mine / (mine + other) if mine + other else 0.0
