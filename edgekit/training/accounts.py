"""What is told of a training that is over, whatever was trained: for card, metrics and summary."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from edgekit import datasets, images
from edgekit.contract import Contract
from edgekit.cpus import describe_machine
from edgekit.datasets import Example, Splits
from edgekit.evaluation import judging
from edgekit.evaluation.judging import Guesses
from edgekit.evaluation.metrics import Scores
from edgekit.report.facts import CardFacts, DataFacts, ModelFacts, TrainingFacts
from edgekit.training import keras_file, output
from edgekit.training.checkpoint import State
from edgekit.training.feeding import PictureStore
from edgekit.training.sources import labels_of
from edgekit.types import Accuracy
from edgekit.version import __version__

#: Training pictures kept to calibrate on, as many as `edgekit convert` takes by default.
_CALIBRATION = 200


def results(
    scores: Callable[[tuple[Example, ...], PictureStore], Scores],
    splits: Splits,
    val: PictureStore,
    contract: Contract,
) -> tuple[Guesses, dict[str, Accuracy]]:
    """How good a model is on the validation set, and on the test set where there is one.

    Args:
        scores: (examples, their pictures) -> logits float32[N, classes].
        splits: The data.
        val: The pictures of the validation set.
        contract: How pictures are prepared.

    Returns:
        What was guessed on the validation set, and split -> accuracy.
    """
    guesses = judging.guesses(scores(splits.val, val), labels_of(splits.val))
    found = {"val": judging.accuracy(guesses)}
    if splits.test:
        store = PictureStore(None, splits.test, contract)
        found["test"] = judging.judge(scores(splits.test, store), labels_of(splits.test))
    return guesses, found


def calibration_pictures(store: PictureStore) -> tuple[tuple[int, images.Picture], ...]:
    """(label, picture) of training pictures as the model takes them, evenly over classes."""
    examples = store.examples
    place = {example.path: i for i, example in enumerate(examples)}
    samples = [datasets.Sample(e.path, index=e.label) for e in examples]
    chosen = [place[s.path] for s in datasets.select(samples, _CALIBRATION)]
    return tuple((examples[i].label, store.fitted(i)) for i in chosen)


def facts(
    path: Path,
    model: ModelFacts,
    data: Path,
    splits: Splits,
    training: TrainingFacts,
    found: Mapping[str, Accuracy],
    contract: Contract,
    packages: Sequence[str],
) -> CardFacts:
    """All that the model card and the summary tell.

    Args:
        path: The model that is written.
        model: What was trained.
        data: The folder of pictures, or the CSV file, as it was given.
        splits: What is in it.
        training: How.
        found: Split -> how good it is there.
        contract: With the labels.
        packages: Whose versions matter.
    """
    counts = splits.counts()
    return CardFacts(
        model=model,
        data=DataFacts(
            root=str(data),
            labels=splits.classes,
            pictures={
                name: tuple(counts[label][i] for label in splits.classes)
                for i, name in enumerate(("train", "val", "test"))
                if any(count[i] for count in counts.values())
            },
            split_by=splits.source,
            digest=splits.digest,
            broken=tuple((str(path), reason) for path, reason in splits.broken),
            warnings=splits.warnings,
        ),
        training=training,
        preprocessing=contract.to_dict(),
        results=found,
        files=output.FILES,
        written=(str(path), f"{keras_file.folder_beside(path)}{os.sep}"),
        versions={"edgekit": __version__}
        | {name: importlib.metadata.version(name) for name in packages},
        machine=describe_machine(),
        date=date.today().isoformat(),
    )


def training_facts(
    state: State, command: str, changed: Mapping[str, object], kept: int | None
) -> TrainingFacts:
    """How it was trained.

    Args:
        state: Where the training ended.
        command: The line that does it again.
        changed: Settings that are not at their default.
        kept: The position of the epoch that was kept, or None.
    """
    return TrainingFacts(
        command=command,
        changed=changed,
        history=tuple(state.history),
        kept=kept,
        stopped=state.stopped,
        seconds=dict(state.stages),
        warnings=tuple(state.warnings),
    )


def metrics(
    told: CardFacts, splits: Splits, state: State, recipe: Mapping[str, Any]
) -> dict[str, Any]:
    """What `metrics.json` holds of every training.

    Args:
        told: What the card tells.
        splits: The data.
        state: Where the training ended.
        recipe: How it was trained, as JSON values.
    """
    training, data = told.training, told.data
    return {
        "results": {name: found.to_dict(splits.classes) for name, found in told.results.items()},
        "history": [vars(row) for row in training.history],
        "kept": training.kept,
        "stopped": training.stopped,
        "seconds": state.stages,
        "recipe": dict(recipe),
        "command": training.command,
        "data": {
            "root": data.root,
            "classes": list(data.labels),
            "counts": splits.counts(),
            "split": data.split_by,
            "digest": data.digest,
            "broken": [list(each) for each in data.broken],
            "warnings": list(data.warnings),
        },
        "warnings": list(training.warnings),
    }
