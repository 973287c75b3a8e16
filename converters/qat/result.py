"""What `edgekit.qat` returns. Imports nothing heavy."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from edgekit.report import words
from edgekit.report.table import table
from edgekit.training.result import Training


@dataclass(frozen=True, eq=False, kw_only=True)
class Result(Training):
    """A quantization-aware training that is over; prints as its summary.

    Attributes:
        float_accuracy: Of the float model on the validation set, 0..1.
        before: Of its int8 form before this training. `accuracy` is that of the int8 form now.
    """

    float_accuracy: float
    before: float

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
