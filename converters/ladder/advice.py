"""What would help where a promise isn't kept."""

from __future__ import annotations

from edgekit.converters.ladder.climbing import Climb
from edgekit.converters.ladder.promise import UNDECIDED
from edgekit.converters.rungs import NAMES


def advice(climb: Climb) -> str:
    """The next thing to try, as a sentence or two."""
    best = climb.judgement
    assert best is not None and climb.best is not None
    if best.verdict == UNDECIDED and best.needed is not None:
        return (
            f"{best.images:,} judging images are too few to decide: if it goes on like this, about "
            f"{best.needed:,} would show that the promise is kept. Give more photos, promise less, "
            "or take what was observed with --confidence 0."
        )
    tried = {step.rung for step in climb.steps if step.judgement is not None}
    left = [name for name in NAMES if name not in tried]
    options = []
    if "qat" in left:
        options.append("train it to be quantized: --train-data PHOTOS")
    if "mixed" in left and climb.best.options.mixed is None:
        options.append("leave a few layers in higher precision, if the target can: --mixed float")
    if climb.best.options.granularity == "tensor":
        options.append("give weights a scale for each channel, if the target can: no --per-tensor")
    options.append("promise less")
    return f"What can help: {'; '.join(options)}. --keep-best writes the best file that was found."
