"""Each model of the zoo for these photos on that target: what it takes, and what that means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from edgekit import targets
from edgekit.advisor import training_time
from edgekit.advisor.facts import Facts, zoo
from edgekit.advisor.photos import Photos
from edgekit.advisor.rules import Case, Rule, rules
from edgekit.advisor.training_time import Minutes
from edgekit.advisor.wishes import Wishes
from edgekit.targets import Latency, Target, Work

Met = Literal["surely", "probably", "unknown", "no"]
#: From best to worst.
METS: tuple[Met, ...] = ("surely", "probably", "unknown", "no")
#: Ops with which a model may take up to so many times what a rate says that was fitted to others:
#: on two cores of an AMD EPYC 1.6 to 3.9 times, EfficientNet-Lite0 taken as 1
#: (benchmarks/results/zoo.json, int8_ms; rate of the Pi 4).
_SLOWER, _SLOWEST = frozenset({"HARD_SWISH", "GELU", "BATCH_MATMUL"}), 4.0
LATENCY, SIZE, TRAINING = "--max-latency", "--max-size", "--train-budget"


@dataclass(frozen=True)
class Check:
    """A limit that was asked for, and how a model stands to it.

    Attributes:
        option: The option that asks for it: `--max-latency`.
        unit: `ms`, `MiB` or `min`.
        asked: The limit.
        value: The model's, or None where it isn't known.
        high: What it may come to, or None.

    It is met `surely` where even `high` is within the limit, `probably` where `value` is.
    """

    option: str
    unit: str
    asked: float
    value: float | None
    high: float | None

    @property
    def met(self) -> Met:
        """How surely the limit is kept; `unknown` where the value isn't known."""
        if self.value is None or self.high is None:
            return "unknown"
        if self.high <= self.asked:
            return "surely"
        return "probably" if self.value <= self.asked else "no"


@dataclass(frozen=True)
class Candidate:
    """A model of the zoo.

    Attributes:
        facts: What is known of it.
        macs: Multiply-accumulates, with a classifier for the classes of the photos.
        size_mib: Of the int8 file, likewise.
        latency: What is known best of it on the target in int8, or None.
        training: Roughly, on two cores.
        checks: The limits that were asked for.
        rejected: The rules that speak against it altogether.
        lowered: The rules that put it after all others.
        by_latency: Whether models are compared by latency: that of each is known.
    """

    facts: Facts
    macs: int
    size_mib: float
    latency: Latency | None
    training: Minutes
    checks: tuple[Check, ...]
    rejected: tuple[Rule, ...]
    lowered: tuple[Rule, ...]
    by_latency: bool = False

    @property
    def name(self) -> str:
        """The model's name."""
        return self.facts.name

    @property
    def met(self) -> Met:
        """The worst of its checks; `surely` where nothing was asked for."""
        return max((check.met for check in self.checks), key=METS.index, default="surely")

    @property
    def sure(self) -> bool:
        """Whether it surely keeps the limits that count on the device.

        A training that takes longer than was hoped can be ended in time.
        """
        return all(c.met == "surely" for c in self.checks if c.option != TRAINING)

    @property
    def eligible(self) -> bool:
        """Whether it can be recommended."""
        return not self.rejected and self.met != "no"

    @property
    def cost(self) -> float:
        """What is small for a fast model: milliseconds, or MACs where not each latency is known."""
        return self.latency.ms if self.by_latency and self.latency else self.macs

    @property
    def wants_qat(self) -> bool:
        """Whether it is known to lose in int8."""
        return any(rule.qat for rule in self.lowered)


def candidates(photos: Photos, target: Target, wishes: Wishes) -> tuple[Candidate, ...]:
    """All models of the zoo, in its order."""
    found = [_candidate(facts, photos, target, wishes) for facts in zoo()]
    known = all(candidate.latency for candidate in found)
    return tuple(replace(candidate, by_latency=known) for candidate in found)


def _candidate(facts: Facts, photos: Photos, target: Target, wishes: Wishes) -> Candidate:
    classes = len(photos.classes)
    work = facts.work(classes)
    size = facts.size_mib(classes)
    latency = _latency(facts, work, target)
    training = training_time.estimate(work.macs, photos.train)
    accelerator = "none" if target.accelerator is None else target.accelerator.name
    case = Case(facts, photos.train, accelerator, wishes.max_latency)
    fired = [rule for rule in rules() if rule.fires(case)]
    rejected = tuple(rule for rule in fired if rule.effect == "reject")
    checks = tuple(_checks(wishes, size, latency, training))
    lowered = tuple(rule for rule in fired if rule.effect == "lower")
    return Candidate(facts, work.macs, size, latency, training, checks, rejected, lowered)


def corrected(candidate: Candidate, factor: float, wishes: Wishes) -> Candidate:
    """The same model where measurements came out at `factor` times the estimates."""
    old = candidate.latency
    if old is None or old.kind == "measured":
        return candidate
    latency = replace(old, ms=old.ms * factor, low=old.low * factor, high=old.high * factor)
    checks = tuple(_checks(wishes, candidate.size_mib, latency, candidate.training))
    return replace(candidate, latency=latency, checks=checks)


def _latency(facts: Facts, work: Work, target: Target) -> Latency | None:
    """What is known best; with a wider interval where no rate was fitted to such models."""
    found = targets.latency_of(work, target)
    if found is None or found.rate is None or not _SLOWER & set(facts.ops):
        return found
    fitted = any(facts.name.startswith(family) for family in found.rate.families)
    if fitted and found.kind != "borrowed":
        return found
    return replace(found, high=found.high * _SLOWEST)


def _checks(
    wishes: Wishes, size: float, latency: Latency | None, training: Minutes
) -> Iterator[Check]:
    if wishes.max_latency is not None:
        ms, high = (None, None) if latency is None else (latency.ms, latency.high)
        yield Check(LATENCY, "ms", wishes.max_latency, ms, high)
    if wishes.max_size is not None:
        yield Check(SIZE, "MiB", wishes.max_size, size, size)
    if wishes.train_budget is not None:
        budget = wishes.train_budget
        yield Check(TRAINING, "min", budget, training.low, training.high)
