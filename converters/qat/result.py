"""What `edgekit.qat` returns. Imports nothing heavy."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.report import words
from edgekit.report.facts import CardFacts
from edgekit.report.table import table
from edgekit.types import Accuracy, EpochRow


@dataclass(frozen=True, eq=False)
class Result:
    """A quantization-aware training that is over; prints as its summary.

    Attributes:
        output: The `.keras` file.
        folder: The folder beside it, `q.edgekit/`.
        facts: All that is known of it.
        metrics: What `metrics.json` in the folder holds.
        float_accuracy: Of the float model on the validation set, 0..1.
        before: Of its int8 form before this training.
        interrupted: Whether Ctrl-C ended it: the best so far was kept, and `resume` goes on.
    """

    output: Path
    folder: Path
    facts: CardFacts
    metrics: dict[str, Any]
    float_accuracy: float
    before: float
    interrupted: bool = False

    @property
    def accuracy(self) -> Accuracy:
        """Of the int8 model on the validation set."""
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
        facts, training = self.facts, self.facts.training
        images = self.accuracy.images
        kept = words.kept_epoch(training) or "the start: no epoch was better"
        rows = [
            ("Model", f"{facts.model.weights}, {words.size(facts.preprocessing)}"),
            ("Data", f"{facts.data.root}, split by {facts.data.split_by}"),
            ("Training", f"{words.plural(len(training.history), 'epoch')}; kept {kept}"),
        ]
        if training.stopped is not None:
            rows.append(("", f"stopped early: {training.stopped}"))
        rows += [
            ("Float accuracy", f"{words.percent(self.float_accuracy)} of {images:,} val pictures"),
            ("Int8 before", words.percent(self.before)),
            (
                "Int8 now",
                f"{words.percent(self.accuracy.top1)} ({words.hits(self.accuracy)}; 95 % interval "
                f"{words.interval(self.accuracy.top1_interval)})",
            ),
            ("Time", words.stages(training.seconds)),
        ]
        last = [
            f"Written: {', '.join(facts.written)}",
            f"Next: edgekit convert --int8 {shlex.quote(str(self.output))}",
        ]
        return "\n".join([table(("", ""), rows, "<<"), "", *last])
