"""From photos and a target to a short list of models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit import datasets, targets
from edgekit.advisor import features, probing, ranking, recipe
from edgekit.advisor.candidates import Candidate, candidates
from edgekit.advisor.features import Probe
from edgekit.advisor.photos import Photos, look
from edgekit.advisor.ranking import Nearest
from edgekit.advisor.recipe import Command
from edgekit.advisor.training import FEW, Training, training
from edgekit.advisor.wishes import Wishes
from edgekit.datasets.loading import Progress
from edgekit.targets import Target


@dataclass(frozen=True)
class Advice:
    """What is recommended, and why.

    Attributes:
        photos: What was seen of the photos.
        target: Where it is to run.
        wishes: What was asked for.
        candidates: Every model of the zoo, in its order.
        short_list: The best of those that can be recommended; none where nothing meets what was
            asked for.
        pareto: Names of the models that no other beats in both accuracy and cost, of those that no
            rule speaks against.
        left_out: family -> why none of it is on the list, and the source of that.
        nearest: What comes nearest where the list is empty, or None.
        commands: What to type for the first of the list.
        notes: What should be known, a sentence or two each.
        probe: What frozen features get, or None where that wasn't asked for.
        training: How the first of the list is to be trained, or None.
    """

    photos: Photos
    target: Target
    wishes: Wishes
    candidates: tuple[Candidate, ...]
    short_list: tuple[Candidate, ...]
    pareto: frozenset[str]
    left_out: dict[str, tuple[str, str]]
    nearest: Nearest | None
    commands: tuple[Command, ...]
    notes: tuple[str, ...]
    probe: Probe | None = None
    training: Training | None = None

    @property
    def rejected(self) -> tuple[Candidate, ...]:
        """Models that a rule speaks against altogether."""
        return tuple(candidate for candidate in self.candidates if candidate.rejected)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        asked = dataclasses.asdict(self.wishes)
        photos = dataclasses.asdict(self.photos) | {"balance": round(self.photos.balance, 4)}
        probe = None if self.probe is None else self.probe.to_dict()
        return {
            "data": {key: _plain(value) for key, value in photos.items()} | {"probe": probe},
            "target": self.target.name,
            "asked": {key: _plain(value) for key, value in asked.items()},
            "met": bool(self.short_list),
            "short_list": [candidate.name for candidate in self.short_list],
            "pareto": [c.name for c in self.candidates if c.name in self.pareto],
            "candidates": [_candidate(candidate) for candidate in self.candidates],
            "left_out": {
                family: {"why": why, "source": source}
                for family, (why, source) in self.left_out.items()
            },
            "nearest": None if self.nearest is None else _nearest(self.nearest),
            "training": None if self.training is None else dataclasses.asdict(self.training),
            "commands": [command.line for command in self.commands],
            "notes": list(self.notes),
        }


def advise(
    wishes: Wishes,
    progress: Progress | None = None,
    say: Callable[[str], object] = lambda sentence: None,
) -> Advice:
    """Which models of the zoo suit these photos on that target.

    Args:
        wishes: What is asked for.
        progress: Called with (done, total) as photos are read.
        say: Called with what takes long, a sentence.

    Raises:
        UsageError: There is no such target, or the data are a file.
        UnreadableError: The photos are missing or can't be used, or a target's own file can't.
        MissingError: What a probe needs isn't installed.
        RuntimeFailure: A probe failed.
    """
    target = targets.find(wishes.target)
    splits = datasets.open_splits(wishes.data, labels_csv=wishes.labels_csv, progress=progress)
    photos = look(splits, wishes.labels_csv)
    found = candidates(photos, target, wishes)
    probe = probing.probe(splits, say) if wishes.probe else None
    chosen = order(found, wishes)[: wishes.top]
    return Advice(
        photos,
        target,
        wishes,
        found,
        chosen,
        ranking.pareto(found),
        ranking.left_out(found, chosen),
        None if chosen else ranking.nearest(found),
        recipe.commands(chosen[0], photos, target, wishes, probe) if chosen else (),
        tuple(_notes(photos, target, wishes, found, chosen, probe)),
        probe,
        training(chosen[0], photos, target, wishes, probe) if chosen else None,
    )


def order(
    found: Sequence[Candidate], wishes: Wishes, *, sure_first: bool = True
) -> tuple[Candidate, ...]:
    """Those that can be recommended, best first; see `ranking.ranked`."""
    # A limit says what a millisecond is worth only where the latency is known.
    limited = wishes.max_latency is not None and all(c.by_latency for c in found)
    accuracy_counts = limited or wishes.min_accuracy is not None
    return ranking.ranked(found, accuracy_counts=accuracy_counts, sure_first=sure_first)


def _notes(
    photos: Photos,
    target: Target,
    wishes: Wishes,
    found: tuple[Candidate, ...],
    chosen: tuple[Candidate, ...],
    probe: Probe | None,
) -> Iterator[str]:
    if not all(candidate.by_latency for candidate in found):
        measured = any(candidate.latency for candidate in found)
        but = " but of what you measured" if measured else ""
        asked = "; whether --max-latency is met can't be said" if wishes.max_latency else ""
        yield (
            f"No latency{but}: too little is published of int8 models on {target.title}. The order "
            f"goes by multiply-accumulates{asked}.{_one_is_enough(target)}"
        )
    if probe is not None:
        yield features.note(probe, wishes.min_accuracy)
    elif chosen and photos.train >= FEW and probing.is_possible():
        yield (
            "--probe tries in about half a minute how far frozen ImageNet features go on your "
            "photos, and whether fine-tuning is worth its time."
        )
    enough = probe is not None and probe.suffices(wishes.min_accuracy)
    if wishes.min_accuracy is not None and not enough:
        yield (
            f"{wishes.min_accuracy:.0%} on your photos can't be promised from ImageNet's numbers: "
            "only training tells, with the commands below. The list goes by accuracy."
        )
    if wishes.train_budget is not None:
        yield (
            "Training times are rough: scaled by MACs and photos from two trainings of "
            "EfficientNet-Lite0 on two cores. --time-budget ends it in time, with the best so far."
        )
    if photos.train < FEW:
        yield (
            f"{photos.train} photos are few: only the classifier is trained (--epochs 0). More "
            "photos help more than another model."
        )
    small = [c for c in chosen if min(photos.width, photos.height) < c.facts.input]
    if small:
        yield (
            f"Your photos are smaller than the input of {', '.join(c.name for c in small)}: "
            "enlarged, they show no more. A smaller --size in `edgekit train` is faster."
        )
    if chosen and chosen[0].lowered:
        yield f"{chosen[0].name}: {chosen[0].lowered[0].text}"
    yield from photos.warnings


def _one_is_enough(target: Target) -> str:
    if target.accelerator is not None:
        return ""
    return (
        " One int8 model measured there gives estimates of all: edgekit benchmark MODEL.tflite "
        f"--on {recipe.usual_device(target)}"
    )


def _candidate(candidate: Candidate) -> dict[str, Any]:
    facts = candidate.facts
    latency = candidate.latency
    return {
        "model": facts.name,
        "family": facts.family,
        "input": facts.input,
        "macs": candidate.macs,
        "int8_mib": round(candidate.size_mib, 3),
        "imagenet_top1": facts.top1,
        "imagenet_top1_of": facts.top1_of,
        "imagenet_top1_source": facts.source,
        "latency_ms": None if latency is None else round(latency.ms, 4),
        "latency_low_ms": None if latency is None else round(latency.low, 4),
        "latency_high_ms": None if latency is None else round(latency.high, 4),
        "latency_setting": None if latency is None else latency.setting,
        "latency_kind": None if latency is None else latency.kind,
        "latency_own": 0 if latency is None else latency.own,
        "training_minutes": [round(candidate.training.low, 2), round(candidate.training.high, 2)],
        "met": candidate.met,
        "checks": [dataclasses.asdict(c) | {"met": c.met} for c in candidate.checks],
        "rejected": [{"why": rule.text, "source": rule.source} for rule in candidate.rejected],
        "lowered": [{"why": rule.text, "source": rule.source} for rule in candidate.lowered],
    }


def _nearest(nearest: Nearest) -> dict[str, Any]:
    return {
        "model": nearest.candidate.name,
        "relax": [
            {"option": check.option, "unit": check.unit, "asked": check.asked, "to": to}
            for check, to in nearest.relax
        ],
    }


def _plain(value: Any) -> Any:
    """Paths as text, tuples as lists."""
    if isinstance(value, tuple):
        return list(value)
    return value if value is None or isinstance(value, int | float | str | dict) else str(value)
