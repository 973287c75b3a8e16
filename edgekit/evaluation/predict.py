"""Classifying single pictures: files, folders, and frames of a video."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import datasets, images
from edgekit.cpus import usable_cpus
from edgekit.errors import UnreadableError, UsageError
from edgekit.evaluation import metrics
from edgekit.evaluation.classifier import Classifier
from edgekit.report.table import printable
from edgekit.runtime import Interpreter


@dataclass(frozen=True)
class Score:
    """One guess.

    Attributes:
        label: The class's name, or its number where the model carries no labels.
        index: The class.
        score: Its probability, 0..1: the model's own, or the softmax of its logits.
        raw: What the model gave, dequantized.
    """

    label: str
    index: int
    score: float
    raw: float


@dataclass(frozen=True)
class Prediction:
    """What a model says of one picture.

    Attributes:
        path: The file, or None for a frame.
        scores: The best guesses, best first; empty where the file can't be read.
        milliseconds: Fitting and inference, without reading and decoding the file.
        error: Why the file can't be read, or None.
    """

    path: Path | None
    scores: tuple[Score, ...] = ()
    milliseconds: float = 0.0
    error: str | None = None

    def to_text(self) -> str:
        """What a terminal shows: the file and the time, then a line for each guess."""
        if self.error is not None:
            return f"{self.path}: {self.error}"
        head = f"{self.path}  ({self.milliseconds:.1f} ms)"
        return "\n".join((head, *(f"  {s.score:7.2%}  {printable(s.label)}" for s in self.scores)))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "path": None if self.path is None else str(self.path),
            "scores": [
                {"label": s.label, "index": s.index, "score": s.score, "raw": s.raw}
                for s in self.scores
            ],
            "milliseconds": self.milliseconds,
            "error": self.error,
        }


class Predictor:
    """A classifier loaded once and used picture by picture, from one thread."""

    def __init__(
        self,
        classifier: Classifier,
        top: int = 5,
        threads: int | None = None,
        interpreter: Interpreter | None = None,
    ) -> None:
        """Loads the model.

        Args:
            classifier: The model and its contract.
            top: How many guesses to give; at most as many as there are classes.
            threads: CPU threads; by default all.
            interpreter: Of the model, where it is loaded already.

        Raises:
            UsageError: `top` is not positive.
            RuntimeFailure: The runtime refuses the model.
        """
        if top < 1:
            raise UsageError(f"the best {top} guesses: ask for at least 1")
        self._contract = classifier.contract
        self._top = min(top, classifier.classes)
        self._interpreter = interpreter or Interpreter(classifier.model, threads or usable_cpus())

    def predict_frame(self, picture: images.Picture, path: Path | None = None) -> Prediction:
        """Classifies one decoded picture.

        Args:
            picture: uint8[H, W, 3], RGB, any size.
            path: Where it came from.
        """
        start = time.perf_counter()
        fitted = images.fit(picture, self._contract)
        taken = self._interpreter.input
        value = images.to_input(fitted, self._contract, taken.dtype, taken.quantization)
        raw = self._interpreter.output.dequantize(self._interpreter.invoke(value))
        milliseconds = (time.perf_counter() - start) * 1e3
        scores = metrics.softmax(raw) if self._contract.output == "logits" else raw
        best = np.argsort(-raw, kind="stable")[: self._top]
        guesses = tuple(
            Score(self._label(int(i)), int(i), float(scores[i]), float(raw[i])) for i in best
        )
        return Prediction(path, guesses, milliseconds)

    def predict_file(self, path: Path) -> Prediction:
        """Classifies one file; where it can't be read, the prediction says why."""
        try:
            return self.predict_frame(images.decode(path), path)
        except UnreadableError as error:
            return Prediction(path, error=error.message.removeprefix(f"{path}: "))

    def _label(self, index: int) -> str:
        labels = self._contract.labels
        return labels[index] if labels is not None else str(index)


def predict(classifier: Classifier, paths: Iterable[Path], top: int = 5) -> Iterator[Prediction]:
    """Classifies files and whole folders, one after the other.

    Args:
        classifier: The model and its contract.
        paths: Pictures, and folders of pictures of any depth.
        top: How many guesses to give.

    Yields:
        One prediction per picture, in order; a broken one has an `error`.

    Raises:
        UnreadableError: A folder holds no picture.
    """
    predictor = Predictor(classifier, top)
    for file in pictures_in(paths):
        yield predictor.predict_file(file)


def pictures_in(paths: Iterable[Path]) -> Iterator[Path]:
    """The files that are given, and the pictures of the folders that are given.

    Raises:
        UnreadableError: A folder holds no picture.
    """
    for path in paths:
        if path.is_dir():
            yield from (sample.path for sample in datasets.find(path).samples)
        else:
            yield path
