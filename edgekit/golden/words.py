"""What a replay came to, in words: for the command line, and for what runs on a device."""

from __future__ import annotations

from edgekit.errors import NotMetError
from edgekit.golden.replay import Replay
from edgekit.golden.stages import STAGES
from edgekit.golden.vectors import Golden
from edgekit.report.table import table

#: What to do where a stage differs.
_ADVICE = {
    "decode": "Decode to 8-bit RGB: EXIF orientation applied, alpha dropped, no colour management.",
    "fit": "Crop and resize as the contract says: docs/contract.md gives the arithmetic.",
    "input": "Order, normalize and quantize as the contract says: docs/contract.md.",
    "inference": "Another delegate, runtime or processor computes otherwise. See how much accuracy "
    "it costs, or allow more with --tolerance.",
}


def stages(golden: Golden, replay: Replay) -> str:
    """A table of how each picture fared in each stage."""
    labels = golden.contract.labels or ()
    rows = []
    for held in replay.held:
        answer = "-" if held.answer is None else str(held.answer)
        if held.answer is not None and held.answer < len(labels):
            answer = labels[held.answer]
        fared = ["-" if held.stages[s] == "unknown" else held.stages[s] for s in STAGES]
        steps = "-" if held.steps is None else f"{held.steps:.3g}"
        rows.append((held.vector, *fared, steps, answer))
    return table(("picture", *STAGES, "steps", "answer"), rows, "<<<<<><")


def praise(replay: Replay) -> str:
    """A sentence on a replay without a fault."""
    held = replay.held
    if all(stage in ("same", "unknown") for each in held for stage in each.stages.values()):
        return f"Right: every byte is the same for {len(held)} pictures."
    worst = max(each.steps or 0.0 for each in held)
    return (
        f"Right for {len(held)} pictures: no score differs by more than {worst:.3g} steps "
        f"({replay.tolerance:g} are allowed)."
    )


def fault(replay: Replay, model: str) -> NotMetError | None:
    """The first stage that differs, with the mistake where it was found; or None.

    Args:
        replay: What came out.
        model: What the model is called.
    """
    stage = replay.fault
    if stage is None:
        return None
    first = next(held for held in replay.held if held.fault == stage)
    message = f"{model}: differs in the stage {stage}: {first.vector}: {first.detail}"
    cause = next((replay.causes[h.vector] for h in replay.held if h.vector in replay.causes), None)
    if cause is not None:
        message += f"; {cause}"
    return NotMetError(message, _ADVICE[stage])
