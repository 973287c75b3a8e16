"""What `edgekit tune` searches, as data. Imports nothing heavy.

Every value is one that `edgekit train` takes, so that each trial can be done again with one line.
Ranges of learning rates are relative to the recipe the search starts from: they then suit its
optimizer, and the default is in the middle of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgekit.training.feeding.augmentation import Augmentation
from edgekit.training.recipe import Recipe

Value = str | float | int
Settings = Mapping[str, Value]

EXTRACTION, FINE_TUNING = "feature extraction", "fine-tuning"
OWN = "the model's"
MODEL = "model"


@dataclass(frozen=True)
class Factors:
    """A number, drawn evenly on a logarithmic scale around the recipe's.

    Attributes:
        low: The smallest, as a factor of the recipe's.
        high: The largest.
    """

    low: float
    high: float


@dataclass(frozen=True)
class Choices:
    """One of a few values; the recipe's own is added where it is not among them."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Parameter:
    """One dimension of the search.

    Attributes:
        name: As it is called in the study and in the tables.
        domain: Which values it has.
        reason: Why these.
        phase: The phase it matters in, or None for both; it is left out where that phase is.
    """

    name: str
    domain: Factors | Choices
    reason: str
    phase: str | None = None


#: Augmentation by strength, each as changes to the recipe's own. A ladder and not a parameter for
#: each kind of change: the features of every step are computed once and kept (`features.extract`),
#: and a step is learned about from all trials that stood on it.
STRENGTHS: dict[str, str] = {
    "light": "crop_scale=0.8:1,brightness=0.1,contrast=0.1,saturation=0.1,hue=0",
    "as given": "",
    "any way up": "vertical_flip=on,rotation=20",
    "strong": "crop_scale=0.35:1,brightness=0.4,contrast=0.4,saturation=0.4,hue=0.05,erase=0.25",
    "randaugment": "crop_scale=0.35:1,randaugment=2:9,erase=0.25",
}

SPACE: tuple[Parameter, ...] = (
    Parameter(
        "rate",
        Factors(1 / 4, 4),
        "The first thing to tune. Four times more is where AdamW on a pretrained network begins to "
        "forget what it knew; with four times less twenty epochs are too few to learn.",
        FINE_TUNING,
    ),
    Parameter(
        "feature_rate",
        Factors(1 / 5, 5),
        "One layer on fixed features: a convex problem, which forgives much.",
        EXTRACTION,
    ),
    Parameter(
        "pull",
        Factors(1 / 10, 10),
        "From free (the photos decide) to tied to the old classes' answers.",
        EXTRACTION,
    ),
    Parameter(
        "batch",
        Choices((16, 32, 64)),
        "Fewer pictures a step give more and noisier steps an epoch. Beyond 64, a thousand photos "
        "are a dozen steps.",
    ),
    Parameter(
        "unfreeze",
        Choices(("all", "3/4", "1/2", "1/4")),
        "Share of the blocks, counted from the end. Early ones hold edges and textures that hold "
        "for all photos; freezing them is faster and guards small sets.",
        FINE_TUNING,
    ),
    Parameter(
        "batch_norm",
        Choices(("train", "frozen")),
        "Photos unlike those of ImageNet have other statistics, which small batches measure badly.",
        FINE_TUNING,
    ),
    Parameter(
        "weight_decay",
        Choices((0.005, 0.02, 0.05, 0.1, 0.3)),
        "The published recipes of fine-tuning with AdamW lie between 0.01 and 0.3.",
    ),
    Parameter(
        "label_smoothing",
        Choices((0.0, 0.05, 0.1, 0.2)),
        "0.1 is the usual one; with mixing or few mistakes in the labels, none can be better.",
    ),
    Parameter(
        "dropout",
        Choices((OWN, 0.0, 0.2, 0.4)),
        "Before the classifier; the zoo's models bring 0 to 0.5.",
    ),
    Parameter(
        "average",
        Choices((0.0, 0.95, 0.98, 0.99)),
        "A memory of 20, 50 or 100 steps: half an epoch to three of a thousand photos.",
        FINE_TUNING,
    ),
    Parameter("augmentation", Choices(tuple(STRENGTHS)), "Crop, colour and erasing, by strength."),
    Parameter(
        "mixing",
        Choices(("mixup=0,cutmix=0", "mixup=0.2,cutmix=0", "mixup=0,cutmix=1")),
        "The alphas of the papers for fine-grained and for large sets; costs nothing in time.",
        FINE_TUNING,
    ),
)


@dataclass(frozen=True)
class Candidate:
    """A recipe that is tried before the search proposes its own.

    Attributes:
        name: What the tables call it.
        settings: What differs from the recipe that the search starts from.
        factors: The same for numbers with `Factors`: times so much.
        reason: Why it is worth a trial.
    """

    name: str
    settings: Settings
    reason: str
    factors: Mapping[str, float] | None = None


DEFAULT = "default"

#: Tried in this order, the default first of all: an hour holds five trials of a thousand photos on
#: two cores, and five random ones teach less than what is known to help. Small steps away come
#: first.
CANDIDATES: tuple[Candidate, ...] = (
    Candidate(
        "any way up",
        {"augmentation": "any way up"},
        "Things that lie, or are held, have no upper side; what has one, the trial tells.",
    ),
    Candidate(
        "small steps",
        {"batch": 16, "average": 0.99},
        "Twice the steps in the same time; the average takes out their noise.",
    ),
    Candidate(
        "whole",
        {"unfreeze": "all"},
        "Early blocks matter where photos look unlike those of ImageNet.",
    ),
    Candidate(
        "strong",
        {"augmentation": "strong"},
        "A network that is right on all training pictures after a few epochs needs harder ones.",
        {"rate": 1.5},
    ),
    Candidate(
        "cutmix",
        {"mixing": "mixup=0,cutmix=1", "label_smoothing": 0.0},
        "Mixed targets do what label smoothing does, and the pictures are new in every epoch.",
        {"rate": 1.5},
    ),
)


@dataclass(frozen=True)
class Space:
    """The part of `SPACE` that is searched in one study.

    Attributes:
        base: The recipe the search starts from.
        models: Names of the zoo; several are a parameter of their own.
        parameters: What is searched besides.
    """

    base: Recipe
    models: tuple[str, ...]
    parameters: tuple[Parameter, ...]

    @classmethod
    def of(cls, base: Recipe, models: Sequence[str], fixed: frozenset[str]) -> Space:
        """What remains to be searched.

        Args:
            base: The recipe the search starts from.
            models: Names of the zoo.
            fixed: Fields of the recipe that the user decided on.
        """
        phases: set[str | None] = {None}
        phases |= {EXTRACTION} if base.feature_epochs else set()
        phases |= {FINE_TUNING} if base.epochs else set()
        decided = fixed | ({"mixing"} if "augmentation" in fixed else set())
        return cls(
            base,
            tuple(models),
            tuple(
                p
                for p in SPACE
                # A number that is 0 has no factors.
                if p.name not in decided
                and p.phase in phases
                and not (isinstance(p.domain, Factors) and value_in(base, p.name) == 0)
            ),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Of all parameters, the choice of a model included."""
        return (*((MODEL,) if len(self.models) > 1 else ()), *(p.name for p in self.parameters))

    def domain(self, name: str) -> tuple[float, float] | tuple[Value, ...]:
        """(low, high) of a number on a logarithmic scale, or the values to choose from."""
        if name == MODEL:
            return self.models
        parameter = next(p for p in self.parameters if p.name == name)
        own, domain = value_in(self.base, name), parameter.domain
        if isinstance(domain, Factors):
            assert isinstance(own, (int, float))
            return (_short(own * domain.low), _short(own * domain.high))
        return domain.values if own in domain.values else (own, *domain.values)

    def is_number(self, name: str) -> bool:
        """Whether `domain` is a range."""
        return any(p.name == name and isinstance(p.domain, Factors) for p in self.parameters)

    def start(self) -> dict[str, Value]:
        """The settings of the recipe that the search starts from."""
        model: dict[str, Value] = {MODEL: self.models[0]} if len(self.models) > 1 else {}
        return model | {p.name: value_in(self.base, p.name) for p in self.parameters}

    def queue(self) -> list[tuple[str, dict[str, Value]]]:
        """(name, settings) of what is tried first: the default, other models, the candidates."""
        start = self.start()
        queue = [(DEFAULT, start)]
        queue += [(f"{DEFAULT} {m}", {**start, MODEL: m}) for m in self.models[1:]]
        for candidate in CANDIDATES:
            settings = {**start, **{k: v for k, v in candidate.settings.items() if k in start}}
            for name, factor in (candidate.factors or {}).items():
                if name in start:
                    settings[name] = _short(float(start[name]) * factor)
            if settings not in [known for _, known in queue]:
                queue.append((candidate.name, settings))
        return queue

    def recipe(self, settings: Settings) -> Recipe:
        """The recipe of some settings; what is missing stays as in the base."""
        recipe = self.base
        for name, value in settings.items():
            if name != MODEL:
                recipe = with_value(recipe, name, value)
        return recipe


def value_in(recipe: Recipe, name: str) -> Value:
    """The value of a parameter in a recipe, as `SPACE` writes it."""
    augmentation = recipe.augmentation
    if name == "dropout":
        return OWN if recipe.dropout is None else recipe.dropout
    if name == "augmentation":
        return "as given"
    if name == "mixing":
        return f"mixup={augmentation.mixup:g},cutmix={augmentation.cutmix:g}"
    value: Value = getattr(recipe, name)
    return value


def with_value(recipe: Recipe, name: str, value: Value) -> Recipe:
    """The recipe with another value of a parameter."""
    if value == value_in(recipe, name):
        return recipe
    if name == "dropout":
        return replace(recipe, dropout=None if value == OWN else float(value))
    if name == "augmentation":
        return _augmented(recipe, STRENGTHS[str(value)])
    if name == "mixing":
        return _augmented(recipe, str(value))
    changes: dict[str, Any] = {name: _short(value) if isinstance(value, float) else value}
    return replace(recipe, **changes)


def _augmented(recipe: Recipe, changes: str) -> Recipe:
    text = f"{recipe.augmentation},{changes}"
    return replace(recipe, augmentation=Augmentation.parse(text))


def _short(value: float) -> float:
    """Three digits are enough, and the line that reproduces a trial stays readable."""
    return float(f"{value:.3g}")
