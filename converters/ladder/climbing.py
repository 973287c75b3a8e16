"""The climb: rung after rung until the promise is kept.

Each rung goes on from the best draft so far. A rung that leaves the weights' training alone is
adopted where it brings the scores on the judging images nearer to the float model's (their SQNR,
which needs no labels); one that trains, where it loses less accuracy or agrees more.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit import tflite
from edgekit.contract import Contract
from edgekit.converters.calibrate import Calibration
from edgekit.converters.ladder.data import Judges
from edgekit.converters.ladder.promise import KEPT, Judgement, Promise, judge
from edgekit.converters.ladder.result import Step, verdict_in_words
from edgekit.converters.options import Options
from edgekit.converters.rewriting import Array
from edgekit.converters.rungs import (
    NAMES,
    bias,
    draft,
    equalization,
    mixed,
    more_images,
    range_choice,
    rounding,
)
from edgekit.converters.rungs.draft import Draft, Material, Progress, Skipped
from edgekit.converters.stopwatch import Stopwatch
from edgekit.errors import NotMetError, UsageError
from edgekit.evaluation.run import run_all
from edgekit.tflite.cost import macs

#: Time of an op in higher precision next to int8, for the estimate of what a rung costs: in float32
#: EfficientNet-Lite0 took 8.8 ms and in int8 4.1 (docs/models.md); int16 has no optimized kernels
#: in XNNPACK and took longer than float.
_COST = {"float": 2.1, "int16": 4.0}

#: Trains: (draft, progress) -> draft. Raises Skipped where it can't.
Training = Callable[[Draft, Progress], Draft]


@dataclass(frozen=True)
class Promised:
    """What a conversion with a promise is asked for.

    Attributes:
        promise: What the file must keep.
        rungs: Names of the rungs that may be climbed, in the order of `rungs.RUNGS`; `plain` is
            always the first.
        judge: A folder of judging images; by default some of the data are set apart.
        train_data: Labelled photos to train on, for the rung `qat`.
        keep_best: Write the best file even where it doesn't keep the promise.
    """

    promise: Promise
    rungs: tuple[str, ...] = NAMES
    judge: Path | None = None
    train_data: Path | None = None
    keep_best: bool = False

    def __post_init__(self) -> None:
        unknown = [name for name in self.rungs if name not in NAMES]
        if unknown:
            raise UsageError(f"no rung is called {unknown[0]!r}", f"There are: {', '.join(NAMES)}.")
        ordered = tuple(name for name in NAMES if name in {"plain", *self.rungs})
        object.__setattr__(self, "rungs", ordered)


@dataclass
class Climb:
    """How far it went.

    Attributes:
        promise: What was promised.
        steps: One for each rung that was tried.
        note: Where calibration and judging images come from.
        best: The best draft so far.
        model: It, quantized.
        judgement: What the judging images say of it.
    """

    promise: Promise
    note: str
    steps: list[Step] = field(default_factory=list)
    best: Draft | None = None
    model: bytes = b""
    judgement: Judgement | None = None

    @property
    def kept(self) -> bool:
        """Whether the promise is kept."""
        return self.judgement is not None and self.judgement.verdict == KEPT

    @property
    def verdict(self) -> str:
        """The end of it, in words."""
        assert self.judgement is not None
        return verdict_in_words(self.promise, self.judgement)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "promise": dataclasses.asdict(self.promise),
            "images": self.note,
            "kept": self.kept,
            "verdict": self.verdict,
            "rungs": [step.to_dict() for step in self.steps],
        }


class PromiseNotKept(NotMetError):
    """No rung kept the promise.

    Attributes:
        climb: What was tried, and the best that was found.
    """

    def __init__(self, message: str, hint: str, climb: Climb) -> None:
        super().__init__(message, hint)
        self.climb = climb


def climb(
    promised: Promised,
    base: bytes,
    calibrated: Calibration,
    material: Material,
    judges: Judges,
    options: Options,
    note: str,
    watch: Stopwatch,
    on_best: Callable[[Climb], None],
    train: Training | None,
) -> Climb:
    """Climbs until the promise is kept or no rung is left.

    Args:
        promised: The promise and the rungs.
        base: The float32 .tflite graph, lowered.
        calibrated: What calibration on `options.samples` images learned.
        material: All calibration images.
        judges: The judging images.
        options: What is asked for.
        note: Where the images come from.
        watch: Times the rungs.
        on_best: Called with every new best, to keep it.
        train: What the rung `qat` does, or None where there is nothing to train on.

    Returns:
        The steps and the best draft, whether it keeps the promise or not.
    """
    with watch.stage("judge the float model") as progress:
        reference = run_all(base, judges.pictures, material.contract, progress=progress)
    done = Climb(promised.promise, note)
    looks = 0
    for name in promised.rungs:
        began = time.monotonic()
        judging = _Judging(promised.promise, looks, reference, judges, material.contract)
        with watch.stage(name) as progress:
            try:
                if done.best is None:
                    found = draft.plain(base, calibrated, material, options)
                else:
                    found = _rung(name, done.best, material, judging, train, progress)
            except Skipped as skipped:
                done.steps.append(Step(name, None, str(skipped), False, None, None, 0.0))
                continue
            model = found.quantized(material.contract)
            judgement = judging.of_model(model)
        looks += 1
        adopted = _is_better(name, judgement, done.judgement)
        done.steps.append(
            Step(
                name,
                judgement,
                None,
                adopted,
                len(model),
                _relative_cost(found),
                time.monotonic() - began,
            )
        )
        if adopted:
            done.best, done.model, done.judgement = found, model, judgement
            on_best(done)
        if done.kept:
            break
    return done


@dataclass(frozen=True)
class _Judging:
    """A look at the judging images."""

    promise: Promise
    look: int
    reference: Array
    judges: Judges
    contract: Contract

    def of_model(self, model: bytes) -> Judgement:
        scores = run_all(model, self.judges.pictures, self.contract)
        return judge(self.promise, self.look, self.reference, scores, self.judges.truth)

    def keeps(self, found: Draft) -> bool:
        return self.of_model(found.quantized(self.contract)).verdict == KEPT


def _rung(
    name: str,
    best: Draft,
    material: Material,
    judging: _Judging,
    train: Training | None,
    progress: Progress,
) -> Draft:
    """The draft of one rung above the first."""
    if name == "mixed":
        return mixed.mix_precision(best, material, judging.keeps, progress)
    if name == "qat":
        if train is None:
            raise Skipped("there is nothing to train on (--train-data)")
        return train(dataclasses.replace(best, higher=frozenset()), progress)
    return _PLAIN_RUNGS[name](best, material, progress)


_PLAIN_RUNGS: dict[str, Callable[[Draft, Material, Progress], Draft]] = {
    "images": more_images.use_all_images,
    "equalization": equalization.equalize,
    "ranges": range_choice.choose_ranges,
    "bias": bias.correct_biases,
    "rounding": rounding.round_weights,
}


def _is_better(name: str, judgement: Judgement, best: Judgement | None) -> bool:
    if best is None or judgement.verdict == KEPT:
        return True
    if name == "qat":
        if judgement.drop is not None and best.drop is not None:
            return judgement.drop < best.drop
        return judgement.agreement > best.agreement
    return judgement.sqnr_db > best.sqnr_db


def _relative_cost(found: Draft) -> float:
    """The estimated time of an inference next to all int8: by MACs, at `_COST` for higher ones."""
    if not found.higher or found.options.mixed is None:
        return 1.0
    graph = tflite.read(found.model, "draft").main
    work = [(macs(op, graph) or 0, graph.tensors[op.outputs[0]].name) for op in graph.operators]
    total = sum(count for count, _ in work)
    high = sum(count for count, name in work if name in found.higher)
    return 1 + (high / total if total else 0) * (_COST[found.options.mixed] - 1)
