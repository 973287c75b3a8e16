"""What speaks against a model: rules as data, read and applied.

A rule fires where all of its conditions hold. The kinds of conditions are few and fixed:

| key | holds where |
|---|---|
| `families` | the model is of one of them |
| `ops` | the model has one of these TFLite ops |
| `without_weights` | edgekit knows no ImageNet weights of it (true) |
| `macs_above` | it takes more multiply-accumulates |
| `images_below` | there are fewer photos to learn from |
| `accelerators` | the target has one of them; `none` stands for a target without |
| `asked_ms_at_most` | a latency was asked for, and it is no longer than that |
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.advisor.facts import Facts

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FILE = Path(__file__).parent / "rules.toml"
EFFECTS = ("reject", "lower")


@dataclass(frozen=True)
class Case:
    """A model and what it is to be used for.

    Attributes:
        facts: The model.
        images: Photos to learn from.
        accelerator: The target's, `edgetpu`, `gpu`, `nnapi`; or `none`.
        asked_ms: The latency that was asked for, in ms, or None.
    """

    facts: Facts
    images: int
    accelerator: str
    asked_ms: float | None


@dataclass(frozen=True)
class Rule:
    """What speaks against a model.

    Attributes:
        name: Of the rule.
        effect: `reject`: it is not recommended; `lower`: only after all others.
        text: Why, a sentence or two.
        source: Where that is known from.
        qat: Whether quantization-aware training is worth its time.
        conditions: kind -> value; all must hold.
    """

    name: str
    effect: str
    text: str
    source: str
    qat: bool
    conditions: Mapping[str, Any]

    def fires(self, case: Case) -> bool:
        """Whether all conditions hold."""
        return all(CONDITIONS[kind](case, value) for kind, value in self.conditions.items())


CONDITIONS: Mapping[str, Callable[[Case, Any], bool]] = {
    "families": lambda case, names: case.facts.family in names,
    "ops": lambda case, names: not set(names).isdisjoint(case.facts.ops),
    "without_weights": lambda case, wanted: (not case.facts.weights) is wanted,
    "macs_above": lambda case, macs: case.facts.macs > macs,
    "images_below": lambda case, count: case.images < count,
    "accelerators": lambda case, names: case.accelerator in names,
    "asked_ms_at_most": lambda case, ms: case.asked_ms is not None and case.asked_ms <= ms,
}


@functools.cache
def rules() -> tuple[Rule, ...]:
    """All rules; those that reject come first.

    Raises:
        ValueError: A rule has an effect or a condition that there is none of. The file is part of
            edgekit, so this is a bug.
    """
    found = [_rule(values) for values in tomllib.loads(_FILE.read_text("utf-8"))["rule"]]
    return tuple(sorted(found, key=lambda rule: EFFECTS.index(rule.effect)))


def _rule(values: Mapping[str, Any]) -> Rule:
    own = ("name", "effect", "text", "source", "qat")
    conditions = {key: value for key, value in values.items() if key not in own}
    unknown = [key for key in conditions if key not in CONDITIONS]
    if unknown or values["effect"] not in EFFECTS:
        raise ValueError(f"{_FILE.name}, rule {values['name']}: {unknown or values['effect']}")
    return Rule(
        values["name"],
        values["effect"],
        values["text"],
        values["source"],
        values.get("qat", False),
        conditions,
    )
