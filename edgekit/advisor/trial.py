"""Trains and measures the models of a short list, and corrects the advice by what came out.

After each model the estimates of all others are multiplied by what the device took of the estimates
so far, and the next to be tried is the best of what then meets what was asked for. So a device that
is slower than published ones costs one training, not three.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit import devices, targets
from edgekit.advisor import advice as advising
from edgekit.advisor import recipe, steps
from edgekit.advisor.advice import Advice
from edgekit.advisor.attempt import attempt
from edgekit.advisor.candidates import Candidate, candidates, corrected
from edgekit.advisor.outcome import Outcome
from edgekit.advisor.steps import Take
from edgekit.advisor.wishes import Wishes
from edgekit.errors import RuntimeFailure, UsageError
from edgekit.targets import own


@dataclass(frozen=True)
class Trial:
    """What came of all models that were tried.

    Attributes:
        device: Where they were measured.
        outcomes: The best first: those that meet what was asked for, by accuracy; then the others.
        correction: Measured / estimated latency, the geometric mean; None where either is missing.
        worth_trying: The next that the corrected estimates speak for, or None.
    """

    device: str
    outcomes: tuple[Outcome, ...]
    correction: float | None
    worth_trying: Candidate | None

    @property
    def like_target(self) -> bool | None:
        """Whether the device says that it is such a target; None where that isn't known."""
        said = [outcome.like_target for outcome in self.outcomes if outcome.like_target is not None]
        return any(said) if said else None

    @property
    def best(self) -> Outcome | None:
        """The best that meets what was asked for."""
        return next((outcome for outcome in self.outcomes if outcome.met), None)

    @property
    def as_good(self) -> Outcome | None:
        """The fastest that meets what was asked for and whose accuracy isn't told from the best's.

        None where the best is the fastest of them.
        """
        best = self.best
        if best is None or best.accuracy is None or best.latency is None:
            return None
        alike = [
            (other.latency.ms, other)
            for other in self.outcomes
            if other.met
            and other.latency is not None
            and other.accuracy is not None
            and not other.accuracy.is_told_from(best.accuracy)
        ]
        _, fastest = min(alike, key=lambda one: one[0])
        return None if fastest is best else fastest

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "device": self.device,
            "like_target": self.like_target,
            "best": None if self.best is None else self.best.name,
            "as_good": None if self.as_good is None else self.as_good.name,
            "correction": self.correction,
            "worth_trying": None if self.worth_trying is None else self.worth_trying.name,
            "outcomes": [outcome.to_dict() for outcome in self.outcomes],
        }


def run(
    advice: Advice,
    *,
    force: bool = False,
    say: Callable[[str], object] = lambda sentence: None,
    take: Take = steps.take,
) -> Trial:
    """Trains, converts and measures the short list.

    As many models are tried as the list may be long; twice as many where none of them meets what
    was asked for. A model that fails is told and passed over.

    Args:
        advice: From `edgekit.advisor.advise`, with a short list. What an earlier trial left in the
            folder of its wishes is taken up; the folder is made.
        force: Do all of it again, and replace what is there.
        say: Called with what goes on, a sentence each.
        take: Takes one step.

    Raises:
        UsageError: No device was named, and the target isn't this machine's.
        MissingError: `ssh` or `adb` is not installed here.
        RuntimeFailure: The folder can't be made, or the device can't be reached; what was done is
            kept.
    """
    device = place(advice.wishes)
    first = {c.name: None if c.latency is None else c.latency.ms for c in advice.candidates}
    take = functools.partial(take, force=force)
    outcomes: list[Outcome] = []
    left = _left(advice, outcomes)
    while left and len(outcomes) < _how_many(advice, outcomes):
        candidate = left[0]
        # Before a training of many minutes, not after it.
        with devices.open_device(device, notify=say):
            _make(advice.wishes.folder)
        say(f"{len(outcomes) + 1}. {candidate.name}")
        outcomes.append(attempt(candidate, first[candidate.name], advice, take, say))
        left = _left(advice, outcomes)
    best_first = tuple(sorted(outcomes, key=_worse))
    return Trial(device, best_first, correction(outcomes), left[0] if left else None)


def place(wishes: Wishes) -> str:
    """The device that a trial measures on.

    Raises:
        UsageError: It wasn't named, and the target isn't this machine.
    """
    target = targets.find(wishes.target)
    usual = recipe.usual_device(target)
    device = wishes.device or (usual if usual == "local" else None)
    if device is None:
        raise UsageError(f"it isn't said where the {target.title} is", f"Try --on {usual}")
    return device


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RuntimeFailure(f"{folder}: can't be made ({error.strerror})") from error


def _how_many(advice: Advice, outcomes: Sequence[Outcome]) -> int:
    return advice.wishes.top * (1 if any(outcome.met for outcome in outcomes) else 2)


def _left(advice: Advice, outcomes: Sequence[Outcome]) -> tuple[Candidate, ...]:
    """What hasn't been tried and can be recommended, with corrected estimates; the best first."""
    tried = {outcome.name for outcome in outcomes}
    others = [c for c in _corrected(advice, outcomes) if c.name not in tried]
    # With one that keeps the limits in hand, what only probably does is worth a try.
    met = any(outcome.met for outcome in outcomes)
    return advising.order(others, advice.wishes, sure_first=not met)


def _corrected(advice: Advice, outcomes: Sequence[Outcome]) -> Sequence[Candidate]:
    """All models, with what was measured so far."""
    if any(outcome.like_target for outcome in outcomes) and own.comparable(advice.target):
        # The user's measurements have it by now, and tell of targets too that had no estimates.
        return candidates(advice.photos, advice.target, advice.wishes)
    factor = correction(outcomes) or 1.0
    return [corrected(candidate, factor, advice.wishes) for candidate in advice.candidates]


def _worse(outcome: Outcome) -> tuple[bool, bool, float, float]:
    """What met everything first; then by accuracy, then by latency."""
    top1 = -math.inf if outcome.accuracy is None else outcome.accuracy.top1
    ms = math.inf if outcome.latency is None else outcome.latency.ms
    return not outcome.met, outcome.error is not None, -top1, ms


def correction(outcomes: Sequence[Outcome]) -> float | None:
    """Measured / first estimated latency: the geometric mean, or None where nothing is known."""
    ratios = [
        outcome.latency.ms / outcome.first_ms
        for outcome in outcomes
        if outcome.latency is not None
        and outcome.first_ms is not None
        and outcome.candidate.latency is not None
        and outcome.candidate.latency.kind != "measured"
    ]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None
