"""The parent's side of training with tensorflow-model-optimization. No TensorFlow here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgekit import tflite
from edgekit.contract import Contract
from edgekit.converters import flatbuffer, quantize, sources, tflite_source, verify
from edgekit.converters.export import Export
from edgekit.converters.options import Options
from edgekit.converters.ranges import Ranges
from edgekit.converters.tfmot import loading
from edgekit.converters.tfmot.recipe import Recipe
from edgekit.errors import RuntimeFailure, UsageError
from edgekit.evaluation.metrics import top_k_accuracy
from edgekit.evaluation.run import run_all
from edgekit.training.hooks import Hooks
from edgekit.types import EpochRow

PHASE = "quantization-aware training"


@dataclass(frozen=True)
class Labelled:
    """Pictures and what they show.

    Attributes:
        pictures: uint8[N, H, W, 3], RGB, fitted to the contract.
        labels: int64[N], 0..classes - 1.
    """

    pictures: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Result:
    """What a training gave.

    Attributes:
        model: The int8 .tflite file, its contract and signature packed in.
        contract: How a picture becomes its input: the normalization that the Keras model did itself
            is in here now.
        val_accuracy: Of the int8 file, 0..1.
        trained_accuracy: Of the best epoch, fake quantization in place, 0..1.
        float_accuracy: Of the model before, 0..1.
        seconds: Of training and judging, without reading and exporting.
        step_seconds: Median of a step of the optimizer, its batch in memory.
        epochs: What each epoch gave.
    """

    model: bytes
    contract: Contract
    val_accuracy: float
    trained_accuracy: float
    float_accuracy: float
    seconds: float
    step_seconds: float
    epochs: tuple[EpochRow, ...]


def quantization_aware_train(
    source: Path,
    contract: Contract,
    train: Labelled,
    val: Labelled,
    *,
    recipe: Recipe | None = None,
    modules: Sequence[str] = (),
    hooks: Hooks | None = None,
) -> Result:
    """Trains a Keras 3 model with tensorflow-model-optimization, and gives the int8 file.

    The training runs in a child process. Ctrl-C ends it, and nothing of it is kept.

    Args:
        source: A `.keras` or HDF5 file that Keras 3 reads.
        contract: How a picture becomes its input.
        train: To learn from.
        val: To choose the best epoch by.
        recipe: How to train.
        modules: Python modules that register custom Keras classes; their code runs.
        hooks: Who wants to know how it goes.

    Raises:
        MissingError: tensorflow-model-optimization, tf-keras or TensorFlow is not installed.
        UsageError: The pictures or labels don't fit the model.
        NotMetError: Layers can't be quantized; they are named, and nothing is trained.
        UnreadableError: The model can't be read.
        RuntimeFailure: The training diverged, or the child failed.
    """
    recipe, hooks = recipe or Recipe(), hooks or Hooks()
    _check(train, contract, "training")
    _check(val, contract, "validation")
    last_label = int(max(train.labels.max(), val.labels.max()))
    with _Child(source, contract, recipe, modules, last_label=last_label) as child:
        hooks.progress("build the tf_keras twin", 0, 0)
        settled = child.bridged()
        child.hand_over(train=train, val=val)
        epochs = child.follow(hooks)
        hooks.progress("quantize", 0, 0)
        model = child.float_model()
        assert child.learned is not None
        final = _int8(model, child.learned.ranges, settled, str(source))
    scores = run_all(final, val.pictures, settled)
    accuracy = top_k_accuracy(scores, val.labels)
    return Result(final, settled, accuracy, epochs=epochs, **child.facts)


def step_seconds(
    source: Path,
    contract: Contract,
    *,
    batch: int = 32,
    steps: int = 20,
    modules: Sequence[str] = (),
) -> list[float]:
    """How long a training step takes with tensorflow-model-optimization.

    Args:
        source: A Keras 3 model.
        contract: How a picture becomes its input.
        batch: Pictures in a step.
        steps: How many to time, after five that are not.
        modules: Python modules that register custom Keras classes.

    Returns:
        Seconds of each step: forwards, backwards and the optimizer's, the batch in memory.

    Raises:
        As `quantization_aware_train`.
    """
    if steps < 1:
        raise UsageError(f"{steps} steps: at least one is needed to time")
    recipe = Recipe(batch=batch)
    with _Child(source, contract, recipe, modules, timed_steps=steps) as child:
        child.bridged()
        return child.timed()


class _Child(Export):
    """A training child: reads the model as an export does, then trains."""

    _module = "edgekit.converters.tfmot.serving"

    def __init__(
        self,
        source: Path,
        contract: Contract,
        recipe: Recipe,
        modules: Sequence[str],
        *,
        last_label: int = 0,
        timed_steps: int = 0,
    ) -> None:
        kind = sources.kind_of(source)
        if kind not in ("keras", "h5"):
            raise UsageError(
                f"{source}: {sources.KINDS[kind]}, and --engine tfmot trains Keras models",
                "Give the .keras or .h5 file.",
            )
        size = (contract.height, contract.width)
        super().__init__(source, kind, size=size, modules=modules)
        loading.require(source)
        self._request |= {
            "contract": contract.to_dict(),
            "recipe": dataclasses.asdict(recipe),
            "last_label": last_label,
            "timed_steps": timed_steps,
        }
        self.facts: dict[str, float] = {}

    def hand_over(self, **parts: Labelled) -> None:
        """Writes pictures and labels where the child maps them into memory, and lets it go on."""
        try:
            for name, data in parts.items():
                np.save(self.work / f"{name}_pictures.npy", data.pictures)
                np.save(self.work / f"{name}_labels.npy", np.asarray(data.labels, np.int64))
        except OSError as error:
            raise RuntimeFailure(
                f"{self.work}: the pictures could not be written ({error.strerror or error})",
                "Free some space, or set TMPDIR to a folder on another disk.",
            ) from error
        self._say("go")

    def bridged(self) -> Contract:
        """Waits until the model is known to be one that can be trained; its twin's contract."""
        return Contract.from_dict(self._next("bridged")["contract"])

    def timed(self) -> list[float]:
        """Waits for the timed steps."""
        return [float(seconds) for seconds in self._next("timed")["seconds"]]

    def follow(self, hooks: Hooks) -> tuple[EpochRow, ...]:
        """Waits for the end of the training, and tells how it goes."""
        rows: list[EpochRow] = []
        while True:
            event, values = self._event()
            if event == "step":
                hooks.progress(PHASE, values["done"], values["total"])
            elif event == "epoch":
                rows.append(EpochRow(PHASE, **values))
                hooks.on_epoch(rows[-1])
            else:
                assert event == "trained", f"the training child said {event}"
                self.facts = values
                return tuple(rows)


def _check(data: Labelled, contract: Contract, what: str) -> None:
    """Stops at pictures or labels that can't be what they should be."""
    shape = (len(data.labels), contract.height, contract.width, 3)
    if data.pictures.shape != shape or data.pictures.dtype != np.uint8:
        raise UsageError(
            f"{what} pictures: {data.pictures.dtype}{list(data.pictures.shape)} for "
            f"{len(data.labels)} label(s), not uint8{list(shape)}"
        )
    if not len(data.labels) or data.labels.min() < 0:
        raise UsageError(f"{what} labels: none, or one below 0; labels count from 0")


def _int8(model: bytes, ranges: Ranges, contract: Contract, where: str) -> bytes:
    """Quantizes in the learned ranges, packs, and verifies."""
    options = Options()
    model = flatbuffer.prepare(model, where)
    input_name, _ = tflite_source.end_names(tflite.read(model, where))
    quantized = quantize.quantize(model, options, ranges, input_name, contract)
    final = tflite.pack(flatbuffer.finish(quantized, where), contract)
    verify.check_file(final, options, contract, where)
    return final
