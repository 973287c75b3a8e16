"""What `edgekit tune` returns. Imports nothing heavy."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgekit.report import words
from edgekit.report.table import table

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"
#: Stopped by Ctrl-C, the time budget or a kill; it is begun anew when the search goes on.
CUT = "cut"
RUNNING = "running"


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        number: In the study, from 0.
        name: Of those that are tried first, such as `default`; else None.
        state: `complete`, `pruned` (it fell behind and was ended), `failed`, `cut` or `running`.
        settings: Parameter -> value, as the search space writes it.
        model: Name in the zoo.
        recipe: `Recipe.to_dict()` of what was trained, or None where it wasn't begun.
        accuracy: Of the best epoch on the validation set, 0..1, or None where there is none.
        val_loss: Of that epoch.
        epochs: Epochs of fine-tuning that were trained.
        seconds: How long it took, or None.
        error: Why it failed, or None.
    """

    number: int
    name: str | None
    state: str
    settings: Mapping[str, Any]
    model: str
    recipe: Mapping[str, Any] | None
    accuracy: float | None
    val_loss: float | None
    epochs: int
    seconds: float | None
    error: str | None = None

    @property
    def title(self) -> str:
        """`trial 3`, or `trial 3 (cutmix)`."""
        return f"trial {self.number}" + (f" ({self.name})" if self.name else "")


@dataclass(frozen=True, eq=False)
class Tuning:
    """A search, so far; prints as its summary, in a notebook too.

    Attributes:
        data: What was searched on, in words.
        images: Pictures that the accuracies are of.
        study: Its name.
        storage: Its SQLite file, or the URL of its database without a password.
        trials: All of them, by number.
        best: The complete one with the highest accuracy (with equal ones, the lowest loss).
        default: The one of the default recipe, if it is complete.
        base: Parameter -> value of the default recipe.
        importances: Parameter -> its share, the largest first; None for too few trials.
        command: The line that trains the best one, or None.
        stopped: Why the search ended, in words.
        interrupted: Whether Ctrl-C ended it.
    """

    data: str
    images: int
    study: str
    storage: str
    trials: tuple[Trial, ...]
    best: Trial | None
    default: Trial | None
    base: Mapping[str, Any]
    importances: Mapping[str, float] | None
    command: str | None
    stopped: str
    interrupted: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """State -> trials."""
        return dict(Counter(trial.state for trial in self.trials))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "schema": "edgekit.tuning/1",
            "data": self.data,
            "images": self.images,
            "study": self.study,
            "storage": self.storage,
            "counts": self.counts,
            "best": None if self.best is None else asdict(self.best),
            "default": None if self.default is None else asdict(self.default),
            "importances": None if self.importances is None else dict(self.importances),
            "command": self.command,
            "stopped": self.stopped,
            "interrupted": self.interrupted,
            "trials": [asdict(trial) for trial in self.trials],
        }

    def __str__(self) -> str:
        blocks = [table(("", ""), self._lines(), "<<")]
        if self.best is not None:
            blocks.append(self._parameters(self.best))
        if self.command is not None:
            blocks.append(f"Train it again, and keep it:\n  {self.command}")
        return "\n\n".join(blocks)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def _lines(self) -> list[tuple[str, str]]:
        lines = [
            ("Data", self.data),
            ("Study", f"{self.study} in {self.storage}"),
            ("Trials", f"{_counted(self.counts)}; {self.stopped}"),
        ]
        failed = [trial for trial in self.trials if trial.state == FAILED]
        if failed:
            lines.append(("", f"{failed[0].title} failed: {failed[0].error}"))
        if self.best is None:
            return [*lines, ("Best", "no trial is complete yet")]
        lines.append(("Best", self._described(self.best)))
        if self.default is None:
            return [*lines, ("Default", "not complete, so there is nothing to compare with")]
        lines.append(("Default", self._described(self.default)))
        if self.best.number == self.default.number:
            return [*lines, ("Gain", "none: nothing better than the default was found")]
        assert self.best.accuracy is not None and self.default.accuracy is not None
        gain = self.best.accuracy - self.default.accuracy
        pictures = words.plural(round(gain * self.images), "picture")
        more = "; the lower loss decides" if gain == 0 else ""
        lines.append(("Gain", f"{100 * gain:.2f} points ({pictures}){more}"))
        # Picking the highest of many measurements picks luck too.
        tried = self.counts.get(COMPLETE, 0)
        lines.append(("", f"the best of {tried} on one set: expect a little less on new pictures"))
        return lines

    def _described(self, trial: Trial) -> str:
        assert trial.accuracy is not None and trial.val_loss is not None
        hits = round(trial.accuracy * self.images)
        seconds = "" if trial.seconds is None else f", {words.duration(trial.seconds)}"
        return (
            f"{100 * trial.accuracy:.2f} % ({hits:,} of {self.images:,}), val loss "
            f"{trial.val_loss:.4f}; {trial.title}, {trial.model}, "
            f"{words.plural(trial.epochs, 'epoch')} of fine-tuning{seconds}"
        )

    def _parameters(self, best: Trial) -> str:
        shares = self.importances or {}
        names = sorted(self.base, key=lambda name: -shares.get(name, 0.0))
        rows = [
            (
                name,
                f"{100 * shares[name]:.0f} %" if name in shares else "-",
                _value(best.settings[name]),
                _value(self.base[name]),
            )
            for name in names
        ]
        text = table(("parameter", "importance", "best", "default"), rows, "<>>>")
        if self.importances is None:
            text += "\nToo few trials differ to say which parameters matter."
        return text


def _counted(counts: Mapping[str, int]) -> str:
    order = (COMPLETE, PRUNED, FAILED, CUT, RUNNING)
    return ", ".join(f"{counts[s]} {s}" for s in order if counts.get(s)) or "none"


def _value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
