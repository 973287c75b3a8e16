"""One trial: the same training as `edgekit train`'s, without its files. Imports TensorFlow."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from edgekit.datasets import Splits
from edgekit.errors import RuntimeFailure
from edgekit.evaluation import judging
from edgekit.training import fitting
from edgekit.training.checkpoint import Checkpoint
from edgekit.training.fitting import Pictures
from edgekit.training.hooks import Hooks
from edgekit.training.recipe import Recipe
from edgekit.training.sources import labels_of
from edgekit.training.train import open_pictures
from edgekit.training.tuning.leaks import custom_gradients_forgotten
from edgekit.training.zoo import entry
from edgekit.training.zoo.assembly import Assembled, assemble

_IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class Outcome:
    """What a finished trial gave.

    Attributes:
        accuracy: On the validation set, 0..1; of the best epoch.
        val_loss: Of the same.
    """

    accuracy: float
    val_loss: float


class Trainer:
    """Trains one recipe after another on the same data, which is opened once.

    Args:
        splits: What is learned from and judged by.
        weights: Model -> the file of its weights, or None for random ones.
        size: Input height and width in pixels, or None for each model's own.

    Raises:
        UsageError: A size that a model can't take, or weights that don't fit.
        UnreadableError: A file of weights can't be read.
    """

    def __init__(
        self, splits: Splits, weights: Mapping[str, Path | None], size: int | None
    ) -> None:
        self._splits, self._weights, self._size = splits, weights, size
        self._pictures: dict[str, Pictures] = {}
        for name in weights:
            # All models are tried out first: an hour later is no time to hear of a wrong file.
            self._pictures[name] = open_pictures(splits, self._assemble(name).contract)

    def train(self, model: str, recipe: Recipe, hooks: Hooks) -> Outcome:
        """Trains, and judges the best epoch as `edgekit train` does.

        Args:
            model: Name in the zoo.
            recipe: How.
            hooks: What they raise ends the training.

        Raises:
            EdgekitError: As `fitting.Fit.run`; RuntimeFailure also where the memory doesn't
                suffice.
        """
        try:
            with custom_gradients_forgotten():
                return self._trained(model, recipe, hooks)
        except (tf.errors.ResourceExhaustedError, MemoryError) as error:
            raise RuntimeFailure(
                f"{model}: out of memory", "Choose smaller models or a smaller --size."
            ) from error
        finally:
            # What Keras keeps of a model would add up from trial to trial.
            keras.backend.clear_session()

    def _trained(self, model: str, recipe: Recipe, hooks: Hooks) -> Outcome:
        keras.utils.set_random_seed(recipe.seed)
        assembled = self._assemble(model)
        with tempfile.TemporaryDirectory(prefix="edgekit-tune-") as folder:
            fit = fitting.Fit(
                assembled,
                self._pictures[model],
                recipe,
                Checkpoint(Path(folder) / "state"),
                fitting.new_state({}),
                hooks=hooks,
            )
            fit.run()
            fit.restore_best()
            logits = fit.logits(self._splits.val, self._pictures[model].val)
        guesses = judging.guesses(logits, labels_of(self._splits.val))
        return Outcome(float((guesses.top1 == guesses.truth).mean()), float(guesses.loss.mean()))

    def _assemble(self, name: str) -> Assembled:
        chosen = entry(name)
        # With all its old classes: the new classifier starts from them.
        return assemble(
            chosen,
            self._weights[name],
            classes=_IMAGENET_CLASSES,
            size=self._size or chosen.size,
        )


def value(accuracy: float, val_loss: float, images: int) -> float:
    """What is maximized: the accuracy, and between equal accuracies the lower loss.

    A small validation set gives many equal accuracies. The loss adds less than one picture does,
    so it never outweighs one: the order is that by which `edgekit train` picks its epoch.

    Args:
        accuracy: 0..1.
        val_loss: Mean negative log likelihood, 0 or more.
        images: That both are of.
    """
    return accuracy + 1 / ((1 + val_loss) * (images + 1))
