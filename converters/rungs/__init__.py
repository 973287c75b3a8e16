"""The rungs of the accuracy ladder, from cheap to dear; each is a module, and can be used alone.

Every rung takes a draft (a float graph, the ranges of its activations, what is asked for) and gives
a better one, whatever made the graph. None of them sees a judging image.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rung:
    """One rung, as the command line and the tables name it.

    Attributes:
        name: Its name.
        what: What it does, in a few words.
    """

    name: str
    what: str


#: In the order they are climbed. Equalization comes before the ranges are chosen, since it changes
#: them, and because it is cheaper.
RUNGS = (
    Rung("plain", "percentile ranges and analytic bias correction, as without a promise"),
    Rung("images", "calibration on all images"),
    Rung("equalization", "channels evened out across layers, high biases absorbed"),
    Rung("ranges", "percentile, MSE or entropy, chosen for each tensor"),
    Rung("bias", "empirical bias correction, layer by layer"),
    Rung("rounding", "adaptive rounding of weights, layer by layer"),
    Rung("mixed", "the fewest layers in higher precision"),
    Rung("qat", "quantization-aware training"),
)
NAMES = tuple(rung.name for rung in RUNGS)
