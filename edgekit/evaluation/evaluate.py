"""Models side by side on the same pictures: accuracy, agreement, SQNR and a first latency.

The pictures are read in blocks, once for every distinct way of fitting them, so that a large
validation set doesn't have to fit in memory. After the accuracy pass each model is timed alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgekit import datasets, images
from edgekit.contract import Contract
from edgekit.errors import UnreadableError, UsageError
from edgekit.evaluation import judging, latency, metrics
from edgekit.evaluation.classifier import Classifier
from edgekit.evaluation.results import Difference, Evaluation, ModelResult
from edgekit.evaluation.run import run_all
from edgekit.types import Accuracy

#: Called with (stage, done, total) as work goes on.
StageProgress = Callable[[str, int, int], None]

#: Pictures held at once; 512 of 224 x 224 are 74 MiB.
_BLOCK = 512


def evaluate(
    classifiers: Sequence[Classifier],
    dataset: datasets.Dataset,
    progress: StageProgress | None = None,
    *,
    limit: int | None = None,
    label_offset: int = 0,
    workers: int | None = None,
) -> Evaluation:
    """Runs every model over the same pictures and compares them with the first.

    Args:
        classifiers: At least one; the first is the reference.
        dataset: Without labels, only agreement and SQNR are given.
        progress: Called with (stage, done, total).
        limit: At most this many pictures, evenly over the classes (see `datasets.select`).
        label_offset: Added to class indices that come as numbers; 1 for models whose class 0 is
            "background", such as TensorFlow's ImageNet models of 1,001 classes.
        workers: Threads of the accuracy pass; by default one per core.

    Raises:
        UsageError: No model, or the data's classes don't fit a model's.
        UnreadableError: No picture could be read.
        RuntimeFailure: The runtime failed.
    """
    if not classifiers:
        raise UsageError("no model to evaluate", "Name at least one file.")
    if limit is not None and limit < 1:
        raise UsageError(f"a limit of {limit} pictures leaves nothing to evaluate")
    if label_offset < 0:
        raise UsageError(f"label offset {label_offset} is negative")
    # Classes are numbered over the whole dataset: a limited choice may miss some.
    labelled = _shift(dataset, label_offset)
    chosen = _choose(dataset, limit)
    dataset = dataclasses.replace(dataset, samples=tuple(dataset.samples[i] for i in chosen))
    tallies = [_tally(c, classifiers[0], labelled, chosen) for c in classifiers]
    kept: list[int] = []
    broken: list[tuple[Path, str]] = []
    example: dict[Contract, images.Picture] = {}
    for block in _blocks(dataset, classifiers, progress, workers):
        kept += block.positions
        broken += block.broken
        reference = None
        for classifier, tally in zip(classifiers, tallies, strict=True):
            pictures = block.pictures[geometry(classifier.contract)]
            if not len(pictures):
                continue
            example.setdefault(geometry(classifier.contract), pictures[0].copy())
            scores = run_all(
                classifier.model,
                pictures,
                classifier.contract,
                workers=workers,
                progress=_within(progress, classifier.name, len(kept), dataset, len(pictures)),
            )
            reference = scores if reference is None else reference
            tally.add(scores, reference, block.positions)
    if not kept:
        raise UnreadableError(
            f"{dataset.root}: none of its {len(broken)} pictures can be read",
            f"The first: {broken[0][0]}: {broken[0][1]}.",
        )
    results = []
    for number, (classifier, tally) in enumerate(zip(classifiers, tallies, strict=True), 1):
        picture = example[geometry(classifier.contract)]
        results.append(_result(classifier, tally, tallies[0], picture))
        if progress is not None:
            progress("timing", number, len(classifiers))
    return Evaluation(
        dataset.root,
        dataset.labelled_by,
        len(kept),
        tuple(broken),
        tuple(results),
        _differences(dataset, kept, results, tallies),
    )


def geometry(contract: Contract) -> Contract:
    """The contract with everything that comes after fitting set to its default.

    Contracts with the same geometry can share fitted pictures.
    """
    return Contract(
        contract.height,
        contract.width,
        fit=contract.fit,
        crop_fraction=contract.crop_fraction,
        interpolation=contract.interpolation,
    )


@dataclass(frozen=True)
class _Block:
    """Pictures read together; `positions` are those of the readable ones in the dataset."""

    positions: list[int]
    pictures: dict[Contract, images.Picture]
    broken: tuple[tuple[Path, str], ...]


def _blocks(
    dataset: datasets.Dataset,
    classifiers: Sequence[Classifier],
    progress: StageProgress | None,
    workers: int | None,
) -> Iterator[_Block]:
    geometries = list(dict.fromkeys(geometry(c.contract) for c in classifiers))
    for start in range(0, len(dataset.samples), _BLOCK):
        samples = dataset.samples[start : start + _BLOCK]
        report = _within(progress, "reading", start + len(samples), dataset, len(samples))
        first = datasets.load(samples, geometries[0], report, workers)
        pictures = {geometries[0]: first.pictures}
        for other in geometries[1:]:
            loaded = datasets.load(first.samples, other, None, workers)
            if loaded.broken:
                path, reason = loaded.broken[0]
                raise UnreadableError(f"{path}: changed while it was being read ({reason})")
            pictures[other] = loaded.pictures
        # By identity: a CSV may list the same file twice.
        readable = {id(sample) for sample in first.samples}
        positions = [start + i for i, sample in enumerate(samples) if id(sample) in readable]
        yield _Block(positions, pictures, first.broken)


def _within(
    progress: StageProgress | None, stage: str, end: int, dataset: datasets.Dataset, block: int
) -> datasets.Progress | None:
    """A block's own progress, as progress through the whole dataset."""
    if progress is None:
        return None
    return lambda done, _: progress(stage, end - block + done, len(dataset.samples))


@dataclass
class _Tally:
    """What is kept of one model's scores, block by block."""

    truth: metrics.Indices | None
    labels: tuple[str, ...] | None
    same_classes: bool
    same_outputs: bool
    output: str
    top1: list[int] = field(default_factory=list)
    guesses: list[judging.Guesses] = field(default_factory=list)
    signal: float = 0.0
    noise: float = 0.0

    def add(self, scores: metrics.Scores, reference: metrics.Scores, positions: list[int]) -> None:
        self.top1 += np.argmax(scores, axis=1).tolist()
        if self.same_outputs:
            signal, noise = metrics.signal_and_noise(reference, scores)
            self.signal += signal
            self.noise += noise
        if self.truth is not None:
            self.guesses.append(judging.guesses(scores, self.truth[positions], self.output))


def _shift(dataset: datasets.Dataset, offset: int) -> datasets.Dataset:
    samples = tuple(
        s if s.index is None else dataclasses.replace(s, index=s.index + offset)
        for s in dataset.samples
    )
    return dataclasses.replace(dataset, samples=samples)


def _choose(dataset: datasets.Dataset, limit: int | None) -> list[int]:
    """The positions of the samples that a limit leaves."""
    if limit is None:
        return list(range(len(dataset.samples)))
    # By identity: a CSV may list the same file twice.
    chosen = {id(sample) for sample in datasets.select(dataset.samples, limit)}
    return [i for i, sample in enumerate(dataset.samples) if id(sample) in chosen]


def _tally(
    classifier: Classifier, first: Classifier, dataset: datasets.Dataset, chosen: list[int]
) -> _Tally:
    truth = dataset.indices(classifier.contract, classifier.classes)
    mine, theirs = classifier.contract.labels, first.contract.labels
    same_classes = classifier.classes == first.classes and (
        mine is None or theirs is None or mine == theirs
    )
    return _Tally(
        None if truth is None else np.asarray(truth, np.int64)[chosen],
        mine or (None if truth is None else dataset.class_names or None),
        same_classes,
        same_classes and classifier.contract.output == first.contract.output,
        classifier.contract.output,
    )


def _result(
    classifier: Classifier, tally: _Tally, first: _Tally, picture: images.Picture
) -> ModelResult:
    contract = classifier.contract
    preprocessing = contract.to_dict()
    del preprocessing["labels"]
    same_answers = sqnr = remark = None
    if not tally.same_classes:
        remark = "its classes are not the first model's: agreement and SQNR were not computed"
    elif tally is not first:
        same_answers = metrics.agreement(np.asarray(first.top1), np.asarray(tally.top1))
        if tally.same_outputs:
            sqnr = metrics.decibels(tally.signal, tally.noise)
        else:
            remark = f"it gives {contract.output}, unlike the first model: SQNR was not computed"
    return ModelResult(
        name=classifier.name,
        path=classifier.path,
        size_bytes=len(classifier.model),
        exported=classifier.exported,
        labels=tally.labels,
        preprocessing=preprocessing,
        accuracy=_accuracy(tally),
        agreement=same_answers,
        sqnr_db=sqnr,
        latency=latency.measure(classifier.model, picture, contract),
        remark=remark,
    )


def _accuracy(tally: _Tally) -> Accuracy | None:
    return judging.accuracy(judging.join(tally.guesses)) if tally.guesses else None


def _differences(
    dataset: datasets.Dataset,
    kept: list[int],
    results: Sequence[ModelResult],
    tallies: Sequence[_Tally],
) -> tuple[Difference, ...]:
    same_classes = all(tally.same_classes for tally in tallies)
    if same_classes:  # A model without labels can borrow those of the others.
        labels = next((r.labels for r in results if r.labels is not None), None)
        results = [dataclasses.replace(r, labels=labels) for r in results]
    found = []
    for row, position in enumerate(kept):
        indices = [tally.top1[row] for tally in tallies]
        names = tuple(r.label(index) for r, index in zip(results, indices, strict=True))
        if len(set(indices if same_classes else names)) == 1:
            continue
        truth = tallies[0].truth
        label = None if truth is None else results[0].label(int(truth[position]))
        found.append(Difference(dataset.samples[position].path, label, names))
    return tuple(found)
