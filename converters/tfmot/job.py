"""`edgekit qat --engine tfmot`: from a trained model and photos to an int8 `.tflite` file.

`check -> open the data -> read the model -> train in the child -> write`.
"""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import datasets, images
from edgekit.contract import Contract
from edgekit.converters import quantize, reading
from edgekit.converters.qat import labels
from edgekit.converters.tfmot import engine, loading
from edgekit.converters.tfmot.engine import Labelled
from edgekit.converters.tfmot.recipe import Recipe
from edgekit.datasets import Example
from edgekit.errors import UsageError
from edgekit.files import refuse_overwrite, write_all
from edgekit.overrides import Overrides
from edgekit.report import words
from edgekit.report.table import table
from edgekit.training import cache
from edgekit.training.feeding import PictureStore
from edgekit.training.hooks import Hooks


@dataclass(frozen=True)
class Job:
    """What is to be trained, on what, and where the result goes.

    Attributes:
        source: A `.keras` or `.h5` file of Keras 3.
        data: A folder of labelled photos, as for `edgekit train`.
        output: The `.tflite` file to write.
        labels_csv: Path, label and perhaps split of each picture.
        val_share: Share of the pictures that are judged by, where the data has no split.
        overrides: What is known of the model's preprocessing.
        force: Replace an existing output.
    """

    source: Path
    data: Path
    output: Path
    labels_csv: Path | None = None
    val_share: float = 0.2
    overrides: Overrides = field(default_factory=Overrides)
    force: bool = False


@dataclass(frozen=True, eq=False)
class Trained:
    """A training with tfmot that is over; prints as its summary.

    Attributes:
        job: What was asked for.
        recipe: How it was trained.
        result: What came out.
        val_images: How many pictures it was judged by.
        seconds: Of all of it.
    """

    job: Job
    recipe: Recipe
    result: engine.Result
    val_images: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        result = self.result
        return {
            "schema": "edgekit.qat/1",
            "engine": "tfmot",
            "model": str(self.job.source),
            "output": str(self.job.output),
            "float_val_accuracy": result.float_accuracy,
            "trained_val_accuracy": result.trained_accuracy,
            "int8_val_accuracy": result.val_accuracy,
            "val_images": self.val_images,
            "step_seconds": result.step_seconds,
            "history": [vars(row) for row in result.epochs],
            "recipe": dataclasses.asdict(self.recipe),
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        job, result = self.job, self.result
        rows = [
            ("Model", str(job.source)),
            ("Data", str(job.data)),
            (
                "Training",
                f"{words.plural(len(result.epochs), 'epoch')} with "
                "tensorflow-model-optimization, the best kept",
            ),
            (
                "Float accuracy",
                f"{words.percent(result.float_accuracy)} of {self.val_images:,} val pictures",
            ),
            ("In training", f"{words.percent(result.trained_accuracy)}, rounded as tfmot rounds"),
            ("Int8 now", words.percent(result.val_accuracy)),
            ("Time", words.duration(self.seconds)),
        ]
        quoted, data = shlex.quote(str(job.output)), shlex.quote(str(job.data))
        last = [f"Written: {job.output}", f"Next: edgekit evaluate {quoted} --data {data}"]
        return "\n".join([table(("", ""), rows, "<<"), "", *last])


def train_files(job: Job, recipe: Recipe, hooks: Hooks | None = None) -> Trained:
    """Trains a model file with tensorflow-model-optimization, and writes the int8 file.

    All pictures are held in memory, as the model takes them.

    Args:
        job: What, on what, and where to.
        recipe: How.
        hooks: Who wants to know how it goes.

    Raises:
        UsageError: An option that doesn't fit, an existing output, labels that are not the model's.
        EdgekitError: As `engine.quantization_aware_train`.
    """
    began, told = time.monotonic(), hooks or Hooks()
    if job.output.suffix != ".tflite":
        raise UsageError(
            f"{job.output}: --engine tfmot gives the int8 file itself",
            "Name it so: -o q.tflite",
        )
    refuse_overwrite(job.output, force=job.force, source=job.source)
    loading.require(job.source)
    quantize.require()
    splits = datasets.open_splits(
        job.data,
        labels_csv=job.labels_csv,
        val_share=job.val_share,
        seed=recipe.seed,
        progress=lambda done, total: told.progress("checking pictures", done, total),
    )
    exported = reading.export_float(job.source, job.overrides, told.progress)
    splits = labels.in_order_of(exported.contract.labels, exported.classes, splits, str(job.source))
    contract = dataclasses.replace(exported.contract, labels=splits.classes)
    result = engine.quantization_aware_train(
        job.source,
        contract,
        _loaded(splits.train, contract, told),
        _loaded(splits.val, contract, told),
        recipe=recipe,
        hooks=told,
    )
    write_all({job.output: result.model})
    return Trained(job, recipe, result, len(splits.val), time.monotonic() - began)


def _loaded(examples: Sequence[Example], contract: Contract, hooks: Hooks) -> Labelled:
    store, total = PictureStore(cache.pictures(), examples, contract), len(examples)
    pictures: images.Picture = np.empty((total, contract.height, contract.width, 3), np.uint8)
    for place in range(total):
        pictures[place] = store.fitted(place)
        hooks.progress("loading pictures", place + 1, total)
    return Labelled(pictures, np.array([example.label for example in examples], np.int64))
