"""What a look found: one line of the report each, and what it is needed for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["ok", "note", "missing", "broken"]

#: What no verb does without.
EVERY = "every verb"

#: What --for takes: the verbs, and parts of them that need something of their own.
PURPOSES = {
    **dict.fromkeys(
        (
            *("models", "train", "tune", "qat", "convert", "inspect", "evaluate", "predict"),
            *("verify", "benchmark", "compare", "bundle", "advise"),
        ),
        "the verb",
    ),
    "camera": "predict --camera",
    "edgetpu": "--delegate edgetpu",
    "edgetpu_compiler": "bundle pi --edgetpu",
    "gpu": "--delegate gpu",
    "nnapi": "--delegate nnapi",
    "android": "bundle android --build",
    "ssh": "--on ssh:...",
    "adb": "--on adb",
    "weights": "ImageNet weights of EfficientNet-Lite",
    "keras2": "Keras 2 files that can't be translated",
    "tfmot": "qat --engine tfmot",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: The heading it stands under.
        what: What was looked at.
        state: `ok`; `note`, it works but should be known; `missing`; or `broken`, it is there and
            doesn't work.
        detail: What was found, in words.
        mend: The line to type that mends it, or None.
        needed_for: Names of `PURPOSES`, or `EVERY`.
    """

    area: str
    what: str
    state: State
    detail: str
    mend: str | None = None
    needed_for: tuple[str, ...] = ()

    def matters(self, asked: Collection[str]) -> bool:
        """Whether it stands in the way of what was asked for, or of every verb."""
        if self.state not in ("missing", "broken"):
            return False
        return EVERY in self.needed_for or not set(asked).isdisjoint(self.needed_for)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "area": self.area,
            "what": self.what,
            "state": self.state,
            "detail": self.detail,
            "mend": self.mend,
            "needed_for": list(self.needed_for),
        }
