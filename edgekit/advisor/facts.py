"""What is known of each model of the zoo."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

from edgekit.targets import Work

_FILE = Path(__file__).parent / "zoo.csv"
#: The facts are of models with ImageNet's classes.
_CLASSES = 1000


@dataclass(frozen=True)
class Facts:
    """A model of the zoo, with 1,000 classes.

    Attributes:
        name: As `edgekit train --model` takes it.
        family: As `edgekit models list` groups it.
        input: Height and width in pixels.
        macs: Multiply-accumulates of an inference.
        parameters: Learned ones.
        activations: Elements that all ops write, counted as by benchmarks/latency_fit.py.
        features: Inputs of the classifier.
        int8_mib: Size of the int8 file, as benchmarks/zoo_table.py measured it.
        weights: Where ImageNet weights come from, or empty where edgekit knows none.
        ops: What it has beside convolutions, pooling, sums, products and dense layers: TFLite ops.
        top1: ImageNet top-1 in percent that was published, of the float model; or None.
        top1_of: What was published: for which weights.
        source: Where.
    """

    name: str
    family: str
    input: int
    macs: int
    parameters: int
    activations: int
    features: int
    int8_mib: float
    weights: str
    ops: tuple[str, ...]
    top1: float | None
    top1_of: str
    source: str

    def work(self, classes: int) -> Work:
        """What an inference takes in int8, with a classifier for so many classes."""
        fewer = _CLASSES - classes
        return Work(
            self.macs - fewer * self.features,
            self.activations - fewer,
            self.parameters - fewer * (self.features + 1),
            "int8",
        )

    def size_mib(self, classes: int) -> float:
        """Size of the int8 file in MiB, with a classifier for so many classes."""
        return self.int8_mib - (_CLASSES - classes) * (self.features + 1) / (1 << 20)


@functools.cache
def zoo() -> tuple[Facts, ...]:
    """All models of the zoo."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        return tuple(_facts(row) for row in csv.DictReader(file))


def _facts(row: dict[str, str]) -> Facts:
    return Facts(
        name=row["name"],
        family=row["family"],
        input=int(row["input"]),
        macs=int(row["macs"]),
        parameters=int(row["parameters"]),
        activations=int(row["activations"]),
        features=int(row["features"]),
        int8_mib=float(row["int8_mib"]),
        weights=row["weights"],
        ops=tuple(row["ops"].split()),
        top1=float(row["top1_percent"]) if row["top1_percent"] else None,
        top1_of=row["top1_of"],
        source=row["source"],
    )
