"""The façade: is this file, here or on a device or in an app, what was converted on the desk?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit import tflite
from edgekit.errors import UnreadableError, UsageError
from edgekit.golden import replay, vectors
from edgekit.golden.on_device import Place, on_device
from edgekit.golden.replay import Replay
from edgekit.golden.stages import STEPS
from edgekit.golden.vectors import Golden
from edgekit.runtime import Interpreter, check_in_child


@dataclass(frozen=True)
class Verification:
    """What came out.

    Attributes:
        model: The file.
        golden: Its golden vectors.
        found: Where they were found, in words.
        replay: How they fared.
    """

    model: Path
    golden: Golden
    found: str
    replay: Replay

    def to_dict(self) -> dict[str, Any]:
        """The verification as plain JSON values."""
        made_with = {"runtime": self.golden.runtime, "machine": self.golden.machine}
        return {
            "model": str(self.model),
            "golden": {"file": self.found, "made_with": made_with},
            **self.replay.to_dict(),
        }


def verify(
    path: Path,
    chosen: Path | None = None,
    place: Place | None = None,
    answers: Path | None = None,
    tolerance: float | None = None,
    notify: Callable[[str], None] = lambda message: None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Verification:
    """Replays the golden vectors of a model.

    Args:
        path: The .tflite file.
        chosen: Its golden vectors; by default those beside it, or else those inside.
        place: Where to run it; by default in this process, with every stage.
        answers: A folder that an app wrote instead; see `edgekit.golden.replay.read_answers`.
        tolerance: By how many steps a score may differ; see `edgekit.golden.stages.STEPS`.
        notify: Called with what the user should know.
        progress: Called with (stage, done, total).

    Raises:
        UnreadableError: A file can't be read.
        UsageError: There are no golden vectors, they are of another model, or the device or the
            answers aren't there.
        RuntimeFailure: The runtime or the device failed.
        MissingError: Something isn't installed.
    """
    if place is not None and answers is not None:
        raise UsageError("--answers are there already: nothing is run", "Leave --on out.")
    try:
        model = path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}") from error
    tflite.read(model, str(path))
    golden, found = vectors.find(path, model, chosen)
    if answers is not None:
        allowed = STEPS if tolerance is None else tolerance
        result = replay.compare(golden, replay.read_answers(answers), str(answers), allowed)
    elif place is not None:
        result = on_device(path, golden, place, tolerance, notify, progress)
    else:
        contract = tflite.read_contract(model, str(path))
        if contract is None:
            raise UsageError(
                f"{path}: carries no preprocessing contract any more",
                "Convert it again, or check only the inference with --on local.",
            )
        check_in_child(model, str(path))
        result = replay.here(Interpreter(model), golden, contract, tolerance)
    return Verification(path, golden, found, result)
