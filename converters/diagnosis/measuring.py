"""Runs the float model and the quantized file on the same pictures and adds up what differs.

Four versions of what a layer gives are compared, all in real units:

* `y`, the float model's;
* `stored`, the same layer on the float model's inputs, with weights and bias as the file holds them
  (`edgekit.converters.diagnosis.shadow`);
* `own`, that rounded to the grid of the layer's output and clipped to its range: all that this
  layer does wrong by itself. (What is left out is how an integer kernel computes inside: rescaled
  operands, tables for SOFTMAX or RSQRT.) The error of its inputs belongs to the layers before;
* `found`, what the file really gives, the errors of all layers before included.

Two things are taken into account. An op that only moves values, on one grid, does nothing wrong by
itself. And what a softmax reads is looked at as it sees it: what is so far below the highest that
its share is under half a step (masked attention, mostly) may be anything as low.

The quantized file runs on the runtime's plain kernels, since those of XNNPACK keep no intermediate
values; they may differ by a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit import images, tflite
from edgekit.contract import Contract
from edgekit.converters.diagnosis.matching import Pair
from edgekit.converters.diagnosis.shadow import Shadowed
from edgekit.cpus import usable_cpus
from edgekit.errors import NotMetError
from edgekit.runtime import Interpreter

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

#: Ops that give values they were given. (RESHAPE and the like; MAX_POOL_2D chooses.)
_MOVING = frozenset(
    {
        *("BATCH_TO_SPACE_ND", "BROADCAST_TO", "CONCATENATION", "DEPTH_TO_SPACE", "EXPAND_DIMS"),
        *("GATHER", "MAX_POOL_2D", "MIRROR_PAD", "PACK", "PAD", "PADV2", "REDUCE_MAX", "RESHAPE"),
        *("RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "SLICE", "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH"),
        *("SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TILE", "TRANSPOSE", "UNPACK"),
    }
)
#: exp(-8) is under half a step of int8 SOFTMAX's output, 1 / 512.
_UNSEEN_BELOW = 8.0

#: A channel that spans fewer codes than this has less than three of eight bits.
FEW_CODES = 8
#: With fewer values a channel is not called dead or lost: after pooling it has one a picture.
FEW_VALUES = 8

#: The float values are counted in 256 bins over the output's range, and as many on either side.
BINS = 256


class Tally:
    """What is added up of one layer over all pictures.

    Attributes:
        signal: float64[channels], the sum of `y` squared.
        own_noise: float64[channels], the sum of (own - y) squared.
        noise: The sum of (found - y) squared.
        weight_noise: The sum of (stored - y) squared, or None without constants.
        clip_noise: The sum of (y - y clipped to the range) squared.
        round_noise: The sum of (y on the grid - y clipped) squared.
        codes: int64[256], how often each code occurs; the lowest first. None for int16.
        bins: int64[3 * BINS], how often `y` falls in each bin.
        clipped: How many values of `y` are outside of the range by more than half a step.
        ends: How many values of the file are the lowest code, and the highest.
        values: How many values there are.
        lows: float64[channels], the least of `y`.
        highs: float64[channels], the greatest.
        code_lows: float64[channels], the least of the file's codes.
        code_highs: float64[channels], the greatest.
    """

    def __init__(
        self, tensor: tflite.Tensor, *, moved: bool = False, read_by_softmax: bool = False
    ) -> None:
        """Starts at nothing.

        Args:
            tensor: Quantized with one scale.
            moved: Its values are those that the op was given, on the same grid.
            read_by_softmax: Nothing else reads it.
        """
        self._moved, self._read_by_softmax = moved, read_by_softmax
        info = np.iinfo(tensor.dtype)
        assert tensor.scale is not None and tensor.zero_point is not None
        self._scale, self._zero_point = tensor.scale, tensor.zero_point
        self._least, self._most = int(info.min), int(info.max)
        channels = tensor.shape[-1] if tensor.shape else 1
        self.signal = np.zeros(channels)
        self.own_noise = np.zeros(channels)
        self.noise = self.clip_noise = self.round_noise = 0.0
        self.weight_noise: float | None = None
        self.codes = np.zeros(256, np.int64) if info.bits == 8 else None
        self.bins = np.zeros(3 * BINS, np.int64)
        self.clipped = self.values = 0
        self.ends = [0, 0]
        self.lows, self.code_lows = np.full(channels, np.inf), np.full(channels, np.inf)
        self.highs, self.code_highs = np.full(channels, -np.inf), np.full(channels, -np.inf)

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest value that the tensor can hold, in real units."""
        ends = (self._least - self._zero_point, self._most - self._zero_point)
        return ends[0] * self._scale, ends[1] * self._scale

    @property
    def live(self) -> npt.NDArray[np.bool_]:
        """Which channels are not constant in the float model: bool[channels].

        With too few values to tell, all are taken to be live.
        """
        if self.values < FEW_VALUES * len(self.signal):
            return np.ones(len(self.signal), np.bool_)
        return np.asarray(self.highs > self.lows)

    def range_used(self) -> float:
        """The share of the range between the 0.1 % and 99.9 % percentiles of `y`, to one bin."""
        reached = np.cumsum(self.bins) / self.values
        first, last = np.searchsorted(reached, (0.001, 0.999))
        return float(last - first + 1) / BINS

    def add(self, y: Array, stored: Array | None, found: Array) -> None:
        """Adds one picture.

        Args:
            y: float32, what the float layer gives.
            stored: float32, what its copy gives, or None where it has no constants.
            found: What the file gives, in codes.
        """
        rows = (-1, len(self.signal))
        codes = found.reshape(rows)
        real = (codes.astype(np.float64) - self._zero_point) * self._scale
        y = y.reshape(rows).astype(np.float64)
        copied = y if stored is None else stored.reshape(rows).astype(np.float64)
        if self._read_by_softmax:
            unseen = y.max(axis=1, keepdims=True) - _UNSEEN_BELOW
            y, copied, real = (np.maximum(values, unseen) for values in (y, copied, real))
        low, high = self.range
        inside = np.clip(y, low, high)
        self.signal += _power(y)
        self.noise += float(_power(real - y).sum())
        if stored is not None:
            self.weight_noise = (self.weight_noise or 0.0) + float(_power(copied - y).sum())
        if not self._moved:
            self.own_noise += _power(self._on_grid(copied) - y)
            self.clip_noise += float(_power(inside - y).sum())
            self.round_noise += float(_power(self._on_grid(y) - inside).sum())
        self.clipped += int((np.abs(inside - y) > self._scale / 2).sum())
        self.values += y.size
        places = np.floor((y - low) * (BINS / (high - low))).astype(np.int64) + BINS
        self.bins += np.bincount(np.clip(places, 0, 3 * BINS - 1).ravel(), minlength=3 * BINS)
        if self.codes is not None:
            shifted = codes.astype(np.int64) - self._least
            self.codes += np.bincount(shifted.ravel(), minlength=256)
        for place, end in enumerate((self._least, self._most)):
            self.ends[place] += int((codes == end).sum())
        self.lows = np.minimum(self.lows, y.min(axis=0))
        self.highs = np.maximum(self.highs, y.max(axis=0))
        self.code_lows = np.minimum(self.code_lows, codes.min(axis=0))
        self.code_highs = np.maximum(self.code_highs, codes.max(axis=0))

    def _on_grid(self, values: Floats) -> Floats:
        """Quantized and dequantized."""
        steps = np.rint(values / self._scale) + self._zero_point
        return np.asarray(
            (np.clip(steps, self._least, self._most) - self._zero_point) * self._scale
        )


@dataclass(frozen=True)
class Measured:
    """What was seen of all layers.

    Attributes:
        tallies: One for each pair, in that order.
        float_scores: float32[N, classes].
        scores: float32[N, classes], dequantized.
    """

    tallies: tuple[Tally, ...]
    float_scores: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]


def measure(
    shadowed: Shadowed,
    quantized: bytes,
    pairs: Sequence[Pair],
    pictures: images.Picture,
    contract: Contract,
    progress: Callable[[int, int], None] | None = None,
) -> Measured:
    """Runs both models.

    Args:
        shadowed: The float model with its copies.
        quantized: The bytes of the quantized file.
        pairs: The layers to compare.
        pictures: uint8[N, height, width, 3], RGB, N at least 1.
        contract: Turns pictures into inputs.
        progress: Called with (done, total).

    Raises:
        NotMetError: The float model gives numbers that are not finite.
        RuntimeFailure: The runtime failed.
    """
    threads = usable_cpus()
    reference = Interpreter(shadowed.model, threads, keep_all_tensors=True)
    other = Interpreter(quantized, threads, keep_all_tensors=True)
    places = {tensor.name: tensor.index for tensor in reference.tensors()}
    file = tflite.read(quantized, "the quantized file")
    tallies = tuple(
        Tally(
            pair.tensor,
            moved=_only_moves(pair.op, file.main),
            read_by_softmax=_readers(pair.tensor, file.main) == {"SOFTMAX"},
        )
        for pair in pairs
    )
    scores: tuple[list[Array], list[Array]] = ([], [])
    with ThreadPoolExecutor(threads) as pool:
        for done, picture in enumerate(pictures, 1):
            for model, given in zip((reference, other), scores, strict=True):
                value = images.to_input(
                    picture, contract, model.input.dtype, model.input.quantization
                )
                given.append(model.output.dequantize(model.invoke(value)))
            # An interpreter is one thread's, so the values are fetched here.
            values = [
                (
                    _finite(reference, places, pair.float_tensor.name),
                    _copy(reference, places, shadowed.copies.get(pair.float_tensor.name)),
                    _kept(other, pair.tensor.index),
                )
                for pair in pairs
            ]
            list(pool.map(lambda tally, value: tally.add(*value), tallies, values))
            if progress is not None:
                progress(done, len(pictures))
    return Measured(tallies, np.stack(scores[0]), np.stack(scores[1]))


def _kept(model: Interpreter, index: int) -> Array:
    value = model.tensor(index)
    assert value is not None, f"tensor {index} was not kept"
    return value


def _copy(model: Interpreter, places: dict[str, int], name: str | None) -> Array | None:
    return None if name is None else _kept(model, places[name])


def _finite(model: Interpreter, places: dict[str, int], name: str) -> Array:
    value = _kept(model, places[name])
    if not np.isfinite(value).all():
        raise NotMetError(
            f"the float model gives numbers that are not finite on these images ({name})",
            "Training probably diverged: check the model with model.predict first.",
        )
    return value


def _only_moves(op: tflite.Operator, graph: tflite.Subgraph) -> bool:
    """Whether an op gives values that it was given, on the same grid."""
    tensors = [graph.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
    grids = {(tensor.scale, tensor.zero_point) for tensor in tensors if tensor.is_quantized}
    return op.name in _MOVING and len(grids) == 1


def _readers(tensor: tflite.Tensor, graph: tflite.Subgraph) -> set[str]:
    """The ops that read a tensor, and `output` where the graph gives it."""
    readers = {op.name for op in graph.operators if tensor.index in op.inputs}
    return readers | ({"output"} if tensor.index in graph.outputs else set())


def _power(difference: Floats) -> Floats:
    """The sum of squares in each channel: float64[channels]."""
    return np.asarray(np.einsum("ij,ij->j", difference, difference))
