"""What is known of a quantized file layer by layer: the values, and their JSON and CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from dataclasses import dataclass
from typing import Any

from edgekit.types import finite

#: The cause of a layer without findings.
SOUND = "nothing"


@dataclass(frozen=True)
class WeightFacts:
    """The weights of one layer, in the file and in the float model.

    Attributes:
        channels: Output channels.
        per_channel: Whether each has a scale of its own.
        sqnr_db: SQNR of the stored weights, in dB.
        per_channel_sqnr_db: What it is with a scale for each channel, rounded to the nearest of
            int8.
        per_tensor_sqnr_db: What it is with one scale for all: accelerators that know no other lose
            that much.
        spread: The largest channel's maximum of |w| over the median channel's.
        zero_channels: Channels that are all zero in the file and not in the float model.
        other: The share of weights further from the float model's than any rounding takes them,
            0..1: of a file made from other weights.
    """

    channels: int
    per_channel: bool
    sqnr_db: float
    per_channel_sqnr_db: float
    per_tensor_sqnr_db: float
    spread: float
    zero_channels: int
    other: float


@dataclass(frozen=True)
class Shares:
    """Where a layer's own error comes from; the three add up to 1, or are 0 where there is none.

    Attributes:
        weights: Rounded weights and bias.
        clipping: Values outside of the output's range.
        rounding: Values rounded to a step of the output.
    """

    weights: float
    clipping: float
    rounding: float


@dataclass(frozen=True)
class ChannelFacts:
    """The channels of a layer's output, its last axis, over all pictures.

    Attributes:
        count: How many.
        dead: Channels that are constant in the float model.
        lost: Channels that are constant in the file and not in the float model.
        coarse: Channels that are neither, and span fewer than `measuring.FEW_CODES` codes in the
            file.
        median_range: The share of the output's range that the median live channel spans, 0 where
            all are dead. Above 1 where the range is narrower than the channel.
        spread: What the widest channel spans over what the median live channel spans; 1 where all
            are dead.
    """

    count: int
    dead: int
    lost: int
    coarse: int
    median_range: float
    spread: float


@dataclass(frozen=True)
class Finding:
    """What is wrong with a layer.

    Attributes:
        cause: A name of `edgekit.converters.diagnosis.rules`.
        evidence: The numbers that say so, in words.
        advice: What to try.
    """

    cause: str
    evidence: str
    advice: str


@dataclass(frozen=True)
class LayerFacts:
    """One layer of the quantized file: an op and the tensor that it gives.

    Attributes:
        index: The op's place in the order of execution.
        name: The tensor's name in the file.
        op: The op, such as `CONV_2D`.
        dtype: The tensor's type.
        matched_by: `name` or `order`: how its counterpart in the float model was found.
        sqnr_db: SQNR in dB, the errors of all layers before included.
        own_sqnr_db: SQNR in dB of the error that this layer adds by itself.
        channel_sqnr_db: The same of the median channel.
        weights_sqnr_db: SQNR in dB where only its weights are rounded; None without weights.
        shares: Where its own error comes from.
        codes_used: The share of the 256 codes that occur, 0..1; None for int16.
        range_used: The share of the range between the 0.1 % and the 99.9 % percentile of the float
            values, 0..1; above 1 where the range is narrower than they.
        at_lowest: The share of values at the lowest code, 0..1. After a ReLU many are.
        at_highest: The share of values at the highest code, 0..1.
        clipped: The share of float values outside of the range by more than half a step, 0..1: what
            a fused activation clips is not among them.
        channels: Its channels.
        weights: Its weights, or None.
        findings: What is wrong, the main thing first.
    """

    index: int
    name: str
    op: str
    dtype: str
    matched_by: str
    sqnr_db: float
    own_sqnr_db: float
    channel_sqnr_db: float
    weights_sqnr_db: float | None
    shares: Shares
    codes_used: float | None
    range_used: float
    at_lowest: float
    at_highest: float
    clipped: float
    channels: ChannelFacts
    weights: WeightFacts | None
    findings: tuple[Finding, ...] = ()

    @property
    def worst_db(self) -> float:
        """What layers are ranked by, in dB: the lower of its own SQNR and its median channel's.

        One loud channel makes the SQNR of a tensor look good while all others drown in its steps;
        the median channel shows them.
        """
        return min(self.own_sqnr_db, self.channel_sqnr_db)

    @property
    def cause(self) -> str:
        """The cause of the main finding, or `SOUND`."""
        return self.findings[0].cause if self.findings else SOUND


@dataclass(frozen=True)
class QuantizationReport:
    """All layers of a quantized file next to the float model.

    Attributes:
        file: The quantized file as the user gave it.
        against: The float model.
        pictures: How many pictures were run.
        source: Where they come from, in words.
        kind: How the file computes, such as `int8`.
        scores_sqnr_db: SQNR of the scores, in dB.
        agreement: The share of pictures with the same top-1, 0..1.
        layers: In the order of execution.
        unmatched: Quantized layers without a counterpart in the float model, by name.
        in_float: Ops that compute in float, as `OP (tensor)`.
        warnings: What the user should know.
    """

    file: str
    against: str
    pictures: int
    source: str
    kind: str
    scores_sqnr_db: float
    agreement: float
    layers: tuple[LayerFacts, ...]
    unmatched: tuple[str, ...]
    in_float: tuple[str, ...]
    warnings: tuple[str, ...]

    def worst(self, count: int) -> tuple[LayerFacts, ...]:
        """The layers that add most error by themselves; see `LayerFacts.worst_db`."""
        return tuple(sorted(self.layers, key=lambda layer: layer.worst_db)[:count])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; a number that isn't finite is a text."""
        plain = _plain(dataclasses.asdict(self))
        assert isinstance(plain, dict)
        return plain

    def to_csv(self) -> str:
        """One line per layer, in the order of execution, under a header."""
        rows = [_flat(dataclasses.asdict(layer)) for layer in self.layers]
        names = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return finite(value) if isinstance(value, float) else value


def _flat(layer: dict[str, Any]) -> dict[str, Any]:
    """A layer's fields on one level: `weights.spread`, and the main finding."""
    row: dict[str, Any] = {}
    for name, value in layer.items():
        if name == "findings":
            main = value[0] if value else {"cause": "", "evidence": "", "advice": ""}
            row |= main
        elif isinstance(value, dict):
            row |= {f"{name}.{inner}": _cell(entry) for inner, entry in value.items()}
        elif not (name == "weights" and value is None):
            row[name] = _cell(value)
    return row


def _cell(value: Any) -> Any:
    """Numbers with six digits: what a spreadsheet shows, and the same on every machine."""
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    return "" if value is None else value
