"""Loads the model of a package, on the Edge TPU where there is one, and checks its answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgekit import tflite
from edgekit.cpus import usable_cpus
from edgekit.deploy.on_pi.package import Entry, Package, read_model
from edgekit.errors import MissingError, RuntimeFailure, UnreadableError, UsageError
from edgekit.evaluation import Classifier, Predictor
from edgekit.golden import replay, vectors, words
from edgekit.golden.replay import Replay
from edgekit.golden.vectors import Golden
from edgekit.runtime import Interpreter, load_delegate

AUTO, CPU, EDGE_TPU = "auto", "cpu", "edgetpu"


@dataclass(frozen=True)
class Started:
    """A classifier that runs.

    Attributes:
        classifier: The model and its contract.
        predictor: It, loaded.
        runs_on: `CPU`, or the delegate.
        golden: Its golden vectors.
        replay: How they fared here, every stage.
    """

    classifier: Classifier
    predictor: Predictor
    runs_on: str
    golden: Golden
    replay: Replay

    @property
    def is_right(self) -> bool:
        """Whether the answers are those of the desk."""
        return self.replay.fault is None

    @property
    def verdict(self) -> str:
        """What the check of the answers came to, in a sentence."""
        fault = words.fault(self.replay, self.classifier.name)
        return words.praise(self.replay) if fault is None else fault.message


def start(
    folder: Path,
    package: Package,
    wanted: str,
    threads: int | None,
    top: int,
    notify: Callable[[str], None],
) -> Started:
    """Loads the model and replays its golden vectors.

    Args:
        folder: The package's.
        package: What is in it.
        wanted: `auto`, `cpu`, `edgetpu` or `external:PATH[,key=value...]`.
        threads: Of the CPU; by default all.
        top: How many guesses to give.
        notify: Called with what the user should know.

    Raises:
        UsageError: The package has no model for what is wanted.
        UnreadableError: A file of the package is damaged.
        MissingError: A library isn't installed.
        RuntimeFailure: The runtime or the accelerator failed.
    """
    entry, model, interpreter = _load(folder, package, wanted, threads or usable_cpus(), notify)
    golden, _ = vectors.find(folder / entry.model, model, folder / entry.golden)
    contract = tflite.read_contract(model, entry.model)
    if contract is None:
        raise UnreadableError(f"{entry.model}: carries no preprocessing contract")
    path = folder / entry.model
    classifier = Classifier(path.name, path, model, contract, golden.output.shape[-1])
    return Started(
        classifier,
        Predictor(classifier, top, interpreter=interpreter),
        interpreter.delegate or "CPU",
        golden,
        replay.here(interpreter, golden, contract),
    )


def _load(
    folder: Path, package: Package, wanted: str, threads: int, notify: Callable[[str], None]
) -> tuple[Entry, bytes, Interpreter]:
    if wanted == EDGE_TPU and package.edgetpu is None:
        raise UsageError(
            "--delegate edgetpu: this package has no model for the Edge TPU",
            "Make it with: edgekit bundle pi --edgetpu",
        )
    if package.edgetpu is not None and wanted in (AUTO, EDGE_TPU):
        try:
            return _load_on(EDGE_TPU, folder, package.edgetpu, threads)
        except (MissingError, RuntimeFailure) as error:
            if wanted == EDGE_TPU:
                raise
            notify(f"The Edge TPU is not used, the CPU runs {package.cpu.model}: {error.message}")
    return _load_on(None if wanted in (AUTO, CPU) else wanted, folder, package.cpu, threads)


def _load_on(
    delegate: str | None, folder: Path, entry: Entry, threads: int
) -> tuple[Entry, bytes, Interpreter]:
    model = read_model(folder, entry)
    loaded = None if delegate is None else load_delegate(delegate)
    return entry, model, Interpreter(model, threads, delegate=loaded)
