"""Quantization-aware training as a rung of the accuracy ladder. TensorFlow comes when it runs."""

from __future__ import annotations

from collections.abc import Callable

from edgekit import quiet
from edgekit.contract import Contract
from edgekit.converters.qat.recipe import Recipe
from edgekit.converters.rungs.draft import Draft, Progress, Skipped
from edgekit.datasets import Splits
from edgekit.errors import NotMetError, UsageError
from edgekit.training import heap
from edgekit.training.hooks import Hooks


def trainer(
    splits: Splits,
    contract: Contract,
    where: str,
    recipe: Recipe | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> Callable[[Draft, Progress], Draft]:
    """What the rung does with a draft.

    Args:
        splits: Labelled pictures, none of which judges; labels are positions in the model's output
            (`labels.in_order_of`).
        contract: Turns pictures into the model's input.
        where: The source's name, for errors.
        recipe: How it trains.
        say: Told what should be known meanwhile.

    Returns:
        (draft, progress) -> the draft with trained weights. It raises Skipped for a model that
        can't be trained so, and RuntimeFailure where training fails.
    """

    def train(draft: Draft, progress: Progress) -> Draft:
        heap.keep_freed_memory()
        with quiet.native_stderr():  # importing TensorFlow logs a page
            from edgekit.converters.qat import training
        hooks = Hooks(progress=lambda stage, done, total: progress(done, total), say=say)
        task = training.Task(draft, contract, where)
        try:
            return training.fine_tune(task, splits, recipe or Recipe(), hooks).draft
        except (NotMetError, UsageError) as error:
            raise Skipped(error.message) from error

    return train
