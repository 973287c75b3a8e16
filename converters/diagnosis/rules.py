"""What is wrong with a layer and what to try: rules as data, the first that holds is the main one.

The thresholds stand here and nowhere else. They were held against EfficientNet-Lite0 with ImageNet
weights, whose int8 file gives the float model's answer on 98 % of photos: the layers' own SQNR is
27 to 48 dB there, at most an eighth of a layer's channels are dead, and the median channel spans 21
to 100 % of its layer's range (16 photos).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edgekit import tflite
from edgekit.report.quantization import Finding, LayerFacts

#: A layer at least as good adds noise of 1 % of its signal's amplitude or less. Of 60 such layers
#: in a row about 22 dB are left (40 - 10 log10(60)), which is what a good int8 file has.
SOUND_DB = 40.0
#: What makes up more than half of a layer's own error is its cause.
MAIN_SHARE = 0.5
#: Where an error is this far above the layer's own, three quarters of it come from before: 6 dB are
#: a factor of four in power.
INHERITED_DB = 6.0
#: One scale for each channel is worth having where it brings one bit, which is 6 dB.
PER_CHANNEL_DB = 6.0
#: Below this share of the range between the 0.1 % and 99.9 % percentiles, two of eight bits are
#: spent on the last 0.2 % of values.
WIDE_RANGE = 0.25
#: Where the widest channel spans this many times what the median one does, the median channel has
#: at most five of eight bits.
UNEVEN = 8.0
#: A file's weights are other ones than the float model's where rounding can't explain this share.
OTHER_WEIGHTS = 0.01
#: Dead channels are worth a word from this share on: twice what a good model has.
DEAD_SHARE = 0.25


@dataclass(frozen=True)
class Rule:
    """One thing that can be wrong.

    Attributes:
        cause: Its name.
        holds: Whether a layer has it.
        evidence: The numbers that say so.
        advice: What to try.
    """

    cause: str
    holds: Callable[[LayerFacts], bool]
    evidence: Callable[[LayerFacts], str]
    advice: str


def _mostly(part: str) -> Callable[[LayerFacts], bool]:
    return lambda layer: layer.worst_db < SOUND_DB and getattr(layer.shares, part) > MAIN_SHARE


def _has_other_weights(layer: LayerFacts) -> bool:
    return layer.weights is not None and layer.weights.other > OTHER_WEIGHTS


def _has_lost_channels(layer: LayerFacts) -> bool:
    weights = layer.weights
    return weights is not None and weights.zero_channels > 0 and _mostly("weights")(layer)


def _needs_channel_scales(layer: LayerFacts) -> bool:
    weights = layer.weights
    return (
        weights is not None
        and not weights.per_channel
        and _mostly("weights")(layer)
        and weights.per_channel_sqnr_db - weights.sqnr_db >= PER_CHANNEL_DB
    )


def _is_uneven(layer: LayerFacts) -> bool:
    channels = layer.channels
    return (
        _mostly("rounding")(layer)
        and channels.spread >= UNEVEN
        and channels.median_range <= 1 / UNEVEN
    )


def _is_wide(layer: LayerFacts) -> bool:
    return _mostly("rounding")(layer) and layer.range_used < WIDE_RANGE


def _lost(layer: LayerFacts) -> str:
    assert layer.weights is not None
    return (
        f"{layer.weights.zero_channels} of {layer.weights.channels} channels have only zeros as "
        "weights, and not in the float model"
    )


def _other(layer: LayerFacts) -> str:
    assert layer.weights is not None
    return f"{layer.weights.other:.1%} of its weights are further off than rounding takes them"


def _per_tensor(layer: LayerFacts) -> str:
    weights = layer.weights
    assert weights is not None
    words = (
        f"one scale for all channels: weights of {weights.sqnr_db:.1f} dB, which a scale for each "
        f"would make {weights.per_channel_sqnr_db:.1f} dB; the largest channel is "
        f"{weights.spread:.3g} times the median one"
    )
    return f"{words}; {_lost(layer)}" if weights.zero_channels else words


#: In the order of their weight.
RULES = (
    Rule(
        "weights per tensor",
        _needs_channel_scales,
        _per_tensor,
        "A scale for each channel; where the target takes one only, equalization: --max-drop "
        "climbs to it.",
    ),
    Rule(
        "lost channels",
        _has_lost_channels,
        _lost,
        "Convert again: with a scale for each channel, rounding leaves no channel of zeros. Where "
        "the target takes one scale only: cross-layer equalization.",
    ),
    Rule(
        "other weights",
        _has_other_weights,
        _other,
        "This file wasn't made from these weights: give the float model that it was made from (an "
        "equalized or trained one, if it was).",
    ),
    Rule(
        "saturated",
        _mostly("clipping"),
        lambda layer: (
            f"{_percent(layer.clipped)} of the values lie outside of the range and make up "
            f"{layer.shares.clipping:.0%} of its error"
        ),
        "A wider range: --range-percentile 100, --max-drop with --rungs ranges, or more photos to "
        "calibrate on.",
    ),
    Rule(
        "weight rounding",
        _mostly("weights"),
        lambda layer: f"rounded weights make up {layer.shares.weights:.0%} of its error",
        "Adaptive rounding of its weights: --max-drop with --rungs bias,rounding.",
    ),
    Rule(
        "uneven channels",
        _is_uneven,
        lambda layer: (
            f"the widest channel spans {layer.channels.spread:.3g} times the median one, which is "
            f"left with {256 * layer.channels.median_range:.1f} of 256 steps"
        ),
        "Cross-layer equalization, as the channels share one scale: --max-drop with --rungs "
        "equalization.",
    ),
    Rule(
        "range too wide",
        _is_wide,
        lambda layer: (
            f"99.8 % of the values lie in {layer.range_used:.0%} of the range"
            + (
                f"; {layer.codes_used:.0%} of the codes occur"
                if layer.codes_used is not None
                else ""
            )
        ),
        "A narrower range: a lower --range-percentile, or --max-drop with --rungs ranges.",
    ),
    Rule(
        "too few bits",
        lambda layer: layer.worst_db < SOUND_DB,
        lambda layer: (
            f"rounding its output makes up {layer.shares.rounding:.0%} of its error; 99.8 % of the "
            f"values take {layer.range_used:.0%} of the range"
        ),
        "Mixed precision, if the target can (--max-drop with --mixed float), or edgekit qat.",
    ),
)


def judge(layers: Sequence[LayerFacts], quantized: tflite.Model) -> tuple[LayerFacts, ...]:
    """Gives each layer its findings.

    Args:
        layers: In the order of execution.
        quantized: The file, which says what comes before what.
    """
    before = _ancestors(quantized)
    judged = []
    for layer in layers:
        earlier = [other for other in layers if other.index in before[layer.index]]
        findings = (*_own(layer), *_inherited(layer, earlier), *_dead(layer))
        judged.append(replace(layer, findings=findings))
    return tuple(judged)


def _own(layer: LayerFacts) -> tuple[Finding, ...]:
    for rule in RULES:
        if rule.holds(layer):
            return (Finding(rule.cause, rule.evidence(layer), rule.advice),)
    return ()


def _inherited(layer: LayerFacts, earlier: Sequence[LayerFacts]) -> tuple[Finding, ...]:
    """A sound layer with a large error has it from those before it."""
    sound = layer.worst_db >= SOUND_DB
    if not sound or layer.own_sqnr_db - layer.sqnr_db < INHERITED_DB or not earlier:
        return ()
    source = min(earlier, key=lambda other: other.worst_db)
    own = f"{layer.own_sqnr_db:.1f} dB" if math.isfinite(layer.own_sqnr_db) else "no error"
    evidence = f"by itself it has {own}, with the errors before it {layer.sqnr_db:.1f} dB"
    name = source.name.partition(";")[0]  # converters join the names of what they fused
    advice = f"Look before it: the worst is #{source.index} {name}."
    return (Finding("inherited", evidence, advice),)


def _dead(layer: LayerFacts) -> tuple[Finding, ...]:
    channels = layer.channels
    if channels.dead < DEAD_SHARE * channels.count:
        return ()
    evidence = (
        f"{channels.dead} of {channels.count} channels are constant on these pictures, in the "
        "float model too"
    )
    advice = "They cost time and no accuracy: prune them, or look at the training."
    return (Finding("dead channels", evidence, advice),)


def _ancestors(model: tflite.Model) -> list[set[int]]:
    """For each op, the ops that its inputs come from, at any distance."""
    producer: dict[int, int] = {}
    before: list[set[int]] = []
    for op in model.main.operators:
        sources = {producer[i] for i in op.inputs if i in producer}
        before.append(sources.union(*(before[source] for source in sources)))
        producer |= dict.fromkeys(op.outputs, op.index)
    return before


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else f"{100 * share:.2g} %"
