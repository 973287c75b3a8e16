"""What `edgekit.train` returns. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.report import training_summary
from edgekit.report.facts import CardFacts
from edgekit.types import Accuracy, EpochRow


@dataclass(frozen=True, eq=False)
class Training:
    """A training that is over; prints as its summary, in a notebook too.

    Attributes:
        output: The `.keras` file with the best weights.
        folder: The folder beside it, `m.edgekit/`.
        facts: All that is known of it.
        metrics: What `metrics.json` in the folder holds.
        interrupted: Whether Ctrl-C ended it: the best so far was kept, and `resume` goes on.
        written: Whether this process wrote the files: of several workers only the first does.
    """

    output: Path
    folder: Path
    facts: CardFacts
    metrics: dict[str, Any]
    interrupted: bool = False
    written: bool = True

    @property
    def accuracy(self) -> Accuracy:
        """On the validation set."""
        return self.facts.results["val"]

    @property
    def history(self) -> tuple[EpochRow, ...]:
        """The epochs, in the order they ran."""
        return self.facts.training.history

    @property
    def warnings(self) -> tuple[str, ...]:
        """What should be known of data and training."""
        return (*self.facts.data.warnings, *self.facts.training.warnings)

    def __str__(self) -> str:
        return training_summary.as_text(self.facts)

    def _repr_html_(self) -> str:
        curves = self.folder / "curves.png"
        return training_summary.as_html(
            self.facts, curves.read_bytes() if curves.is_file() else None
        )
