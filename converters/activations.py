"""Looking at what flows through a float graph, picture by picture, on all cores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

import numpy as np

from edgekit import images
from edgekit.contract import Contract
from edgekit.converters.rewriting import Array
from edgekit.runtime import Interpreter, map_on_cores


class Tally(Protocol):
    """What is kept of the pictures that one thread saw."""

    def add(self, values: Mapping[str, Array], picture: int) -> None:
        """Takes the activations of one picture, by tensor name; they are the runtime's own."""


Kept = TypeVar("Kept", bound=Tally)


def observe(
    model: bytes,
    pictures: images.Picture,
    contract: Contract,
    names: set[str],
    tally: Callable[[], Kept],
    progress: Callable[[int, int], None] | None = None,
) -> list[Kept]:
    """Runs a model over pictures and shows chosen activations to a tally.

    Args:
        model: A float32 .tflite file, batch 1.
        pictures: uint8[N, height, width, 3].
        contract: Turns pictures into the model's input.
        names: The tensors to look at; one that the runtime did not keep is left out.
        tally: Makes an empty tally; each thread has one.
        progress: Called with (done, total).

    Returns:
        The tallies of all threads.
    """
    tallies: list[Kept] = []

    def tool() -> tuple[Interpreter, dict[str, int], Kept]:
        interpreter = Interpreter(model, keep_all_tensors=True)
        places = {t.name: t.index for t in interpreter.tensors() if t.name in names}
        tallies.append(tally())
        return interpreter, places, tallies[-1]

    def look(tool: tuple[Interpreter, dict[str, int], Kept], position: int) -> None:
        interpreter, places, kept = tool
        interpreter.invoke(images.to_input(pictures[position], contract, np.float32))
        values = {name: interpreter.tensor(index) for name, index in places.items()}
        kept.add({name: v for name, v in values.items() if v is not None}, position)

    map_on_cores(tool, look, len(pictures), progress=progress)
    return tallies


class ChannelRanges:
    """The minimum and maximum of each channel (the last dimension) over pictures.

    Attributes:
        low: tensor name -> float64[channels].
        high: The same.
    """

    def __init__(self) -> None:
        self.low: dict[str, Array] = {}
        self.high: dict[str, Array] = {}

    def add(self, values: Mapping[str, Array], picture: int) -> None:
        """Takes one picture."""
        for name, value in values.items():
            rows = value.reshape(-1, value.shape[-1])
            low, high = rows.min(axis=0), rows.max(axis=0)
            self.low[name] = np.minimum(self.low.get(name, low), low)
            self.high[name] = np.maximum(self.high.get(name, high), high)


def channel_ranges(
    model: bytes, pictures: images.Picture, contract: Contract, names: set[str]
) -> ChannelRanges:
    """The range of each channel of some tensors over pictures."""
    joined = ChannelRanges()
    for part in observe(model, pictures, contract, names, ChannelRanges):
        for name in part.low:
            joined.low[name] = np.minimum(joined.low.get(name, part.low[name]), part.low[name])
            joined.high[name] = np.maximum(joined.high.get(name, part.high[name]), part.high[name])
    return joined
