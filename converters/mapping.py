"""Rewrites of a float graph so that a target's accelerator takes it: the same answers, other ops.

What an accelerator doesn't take, and what is made of it, is data (`[ops]` and `[rewrites]` of
edgekit/targets/ops); what it takes is left as it is. The rewritten graph is held against the one
before on a probe image.

Measured in int8, SQNR against the float model on photos that were not calibrated on: the mean of
EfficientNet-Lite0 as a pooling 19.04 dB where it was 19.05 (ImageNet weights, 200 photos);
EfficientNet-B0 (random weights, 50 photos) from 36.00 to 35.88 dB with 17 means as poolings, and to
36.01 dB with the largest one split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit import targets, tflite
from edgekit.converters.export import PROBE_TOLERANCE
from edgekit.converters.rewriting import Graph, Op, Options
from edgekit.errors import RuntimeFailure, UsageError
from edgekit.evaluation.metrics import softmax
from edgekit.runtime import Interpreter
from edgekit.targets.target import Condition, Target
from edgekit.tflite.model import Model, Operator
from edgekit.tflite.schema import ACTIVATIONS, PADDINGS

#: Ops at the end of a classifier that the CPU can do as well.
AT_THE_END = ("SOFTMAX", "ARG_MAX")

_PLANE = (1, 2)
_PUT_LAST = "{op} is put behind the scores: the file gives probabilities"
#: Enough for 512 x 512 pixels; a side of prime length would be cut into rows of one.
_MOST_BANDS = 32
_KEEP_DIMS: Options = ("ReducerOptions", {"keep_dims": True})
_PLAIN_MUL: Options = ("MulOptions", {})

Conditions = Sequence[Condition]


@dataclass(frozen=True)
class Rewritten:
    """What was rewritten.

    Attributes:
        op: The op.
        how: A key of `REWRITES`, or `put_last`.
        count: How many of them.
    """

    op: str
    how: str
    count: int

    def __str__(self) -> str:
        said = _PUT_LAST if self.how == "put_last" else REWRITES[self.how].said
        return said.format(op=self.op, count=self.count)


@dataclass(frozen=True)
class Rewrite:
    """A way to rewrite an op.

    Attributes:
        apply: Given the graph, the op, and the conditions under which the accelerator takes it:
            whether it could be done.
        said: What is said of it to people.
    """

    apply: Callable[[Graph, Op, Conditions], bool]
    said: str


def rewrite(
    model: bytes, where: str, target: Target | None, *, logits: bool = False
) -> tuple[bytes, tuple[Rewritten, ...]]:
    """Rewrites what a target's accelerator doesn't take; without any the model comes back as it is.

    Args:
        model: A float32 .tflite file, batch 1.
        where: The file it came from, for errors.
        target: Where it is to run, or None.
        logits: Cut off what follows the logits, whether the target takes it or not.

    Raises:
        RuntimeFailure: The rewritten model answers otherwise.
    """
    parsed = tflite.read(model, where)
    plan = [planned(parsed, op, target, logits=logits) for op in parsed.main.operators]
    if not any(plan):
        return model, ()
    graph = Graph(model, where)
    made: Counter[tuple[str, str]] = Counter()
    for op, how in zip(list(graph.ops), plan, strict=True):
        if how is not None and REWRITES[how].apply(graph, op, _conditions(op, target)):
            made[op.name, how] += 1
    if not made:
        return model, ()
    rewritten = graph.to_bytes()
    _require_same(model, rewritten, where, cut=("SOFTMAX", "cut_off") in made)
    return rewritten, tuple(Rewritten(*key, count) for key, count in made.items())


def with_softmax(model: bytes, where: str) -> tuple[bytes, Rewritten]:
    """Puts a softmax behind the scores, for programs that read them as probabilities.

    Args:
        model: A float32 .tflite file whose output is logits: float32[1, classes].
        where: The file it came from, for errors.
    """
    graph = Graph(model, where)
    graph.put_last("SOFTMAX", "probabilities", ("SoftmaxOptions", {"beta": 1.0}))
    return graph.to_bytes(), Rewritten("SOFTMAX", "put_last", 1)


def without_argmax(
    model: bytes, where: str, target: Target | None, *, logits: bool = False
) -> tuple[bytes, tuple[Rewritten, ...]]:
    """Cuts off an argmax at the end, which tells a class and no scores; others come back as is.

    Args:
        model: A float32 .tflite file.
        where: The file it came from, for errors.
        target: Where it is to run, or None.
        logits: Cut it off whether the target takes it or not.

    Raises:
        UsageError: There is one that is to stay.
    """
    parsed = tflite.read(model, where)
    last = [op for op in parsed.main.operators if op.outputs[:1] == parsed.main.outputs[:1]]
    if not last or last[0].name != "ARG_MAX" or not last[0].inputs:
        return model, ()
    if planned(parsed, last[0], target, logits=logits) is None:
        raise UsageError(
            f"{where}: gives the number of a class (ARG_MAX at its end), and no scores to judge by",
            "edgekit convert --logits cuts it off.",
        )
    graph = Graph(model, where)
    graph.end_at(last[0].inputs[0])
    return graph.to_bytes(), (Rewritten("ARG_MAX", "cut_off", 1),)


def planned(model: Model, operator: Operator, target: Target | None, *, logits: bool) -> str | None:
    """What is to be made of an op, a key of `REWRITES`; None where it stays."""
    how = None
    if logits and operator.name in AT_THE_END:
        how = "cut_off"
    elif target and target.accelerator and not targets.takes(model, operator, target):
        how = target.accelerator.rewrites.get(operator.name)
    # With several outputs the others would go, too.
    at_the_end = operator.outputs == model.main.outputs
    return None if how == "cut_off" and not at_the_end else how


def _conditions(op: Op, target: Target | None) -> Conditions:
    accelerator = None if target is None else target.accelerator
    return () if accelerator is None else accelerator.ops.get(op.name, ())


def _require_same(before: bytes, after: bytes, where: str, *, cut: bool) -> None:
    first, second = Interpreter(before), Interpreter(after)
    probe = np.random.default_rng(0).uniform(-1, 1, first.input.shape).astype(np.float32)
    expected, answer = (np.asarray(i.invoke(probe), np.float32) for i in (first, second))
    error = float(np.max(np.abs((softmax(answer) if cut else answer) - expected)))
    if not error <= PROBE_TOLERANCE * max(float(np.max(np.abs(expected))), 1e-3):
        raise RuntimeFailure(
            f"{where}: written for the target it answers otherwise (largest difference {error:.3g} "
            "on a probe image)",
            "This would be a wrong file, so it is not written. Please report the model; it can be "
            "converted without --target.",
        )


def _spell_out_hard_swish(graph: Graph, swish: Op, conditions: Conditions) -> bool:
    """`x * relu6(x + 3) / 6`, its definition (Howard et al., "Searching for MobileNetV3", 5.2)."""
    x, name, shape = swish.inputs[0], graph.name(swish.output), graph.shape(swish.output)
    three = graph.add_constant(f"{name}/three", np.array([3], np.float32))
    sixth = graph.add_constant(f"{name}/sixth", np.array([1 / 6], np.float32))
    gate = graph.add_activation(f"{name}/relu6", shape)
    share = graph.add_activation(f"{name}/share", shape)
    clipped = ("AddOptions", {"fused_activation_function": ACTIVATIONS.index("RELU6")})
    graph.replace(
        swish,
        [
            graph.new_op("ADD", [x, three], gate, clipped),
            graph.new_op("MUL", [gate, sixth], share, _PLAIN_MUL),
            graph.new_op("MUL", [x, share], swish.output, _PLAIN_MUL),
        ],
    )
    return True


def _pool(graph: Graph, mean: Op, conditions: Conditions) -> bool:
    """The mean of a plane as a pooling of the whole plane."""
    if not _is_over_plane(graph, mean):
        return False
    _, height, width, channels = graph.shape(mean.inputs[0])
    shape, name = (1, 1, 1, channels), graph.name(mean.output)
    window = {"filter_height": height, "filter_width": width}
    window |= {"stride_h": height, "stride_w": width}
    options = ("Pool2DOptions", {"padding": PADDINGS.index("VALID"), **window})
    # Squeeze-and-excitation gives the mean the shape of a pixel right away.
    shaped = graph.only_consumer(mean.output, "RESHAPE")
    last = shaped if shaped is not None and graph.shape(shaped.output) == shape else mean
    if graph.shape(last.output) == shape:
        graph.replace(
            last, [graph.new_op("AVERAGE_POOL_2D", mean.inputs[:1], last.output, options)]
        )
        return True
    pooled = graph.add_activation(f"{name}/pooled", shape)
    flat = graph.add_constant(f"{name}/shape", np.array(graph.shape(mean.output), np.int32))
    graph.replace(
        mean,
        [
            graph.new_op("AVERAGE_POOL_2D", mean.inputs[:1], pooled, options),
            graph.new_op("RESHAPE", [pooled, flat], mean.output),
        ],
    )
    return True


def _split(graph: Graph, mean: Op, conditions: Conditions) -> bool:
    """The mean of a large plane as the mean of the means of equal bands of it."""
    most = next((c.values["pixels"] for c in conditions if c.rule == "plane_at_most"), None)
    if most is None or not _is_over_plane(graph, mean):
        return False
    x, name, shape = mean.inputs[0], graph.name(mean.output), graph.shape(mean.inputs[0])
    pixels = shape[1] * shape[2]
    bands = [(n, a) for a in _PLANE for n in range(2, shape[a] + 1) if shape[a] % n == 0]
    count, along = min((b for b in bands if pixels // b[0] <= most), default=(0, 0))
    if not 0 < count <= _MOST_BANDS:
        return False
    band_shape = tuple(n // count if a == along else n for a, n in enumerate(shape))
    bands_of = [graph.add_activation(f"{name}/band{i}", band_shape) for i in range(count)]
    means = [graph.add_activation(f"{name}/mean{i}", (1, 1, 1, shape[3])) for i in range(count)]
    joined = graph.add_activation(f"{name}/means", (1, count, 1, shape[3]))
    axis = graph.add_constant(f"{name}/axis", np.array(along, np.int32))
    graph.replace(
        mean,
        [
            graph.new_op("SPLIT", [axis, x], bands_of, ("SplitOptions", {"num_splits": count})),
            *(
                graph.new_op("MEAN", [band, mean.inputs[1]], output, _KEEP_DIMS)
                for band, output in zip(bands_of, means, strict=True)
            ),
            graph.new_op("CONCATENATION", means, joined, ("ConcatenationOptions", {"axis": 1})),
            Op("MEAN", [joined, mean.inputs[1]], [mean.output], dict(mean.fields)),
        ],
    )
    return True


def _is_over_plane(graph: Graph, mean: Op) -> bool:
    axes, rank = graph.constant(mean.inputs[1]), len(graph.shape(mean.inputs[0]))
    return axes is not None and rank == 4 and {int(a) % 4 for a in axes.reshape(-1)} == {*_PLANE}


def _cut_off(graph: Graph, last: Op, conditions: Conditions) -> bool:
    """Ends the graph before its last op."""
    graph.end_at(last.inputs[0])
    return True


#: By the names of `edgekit.targets.target.REWRITES`.
REWRITES: dict[str, Rewrite] = {
    "spell_out": Rewrite(
        _spell_out_hard_swish,
        "{count} {op} are written with simpler ops, which the target has. They give the same in "
        "real numbers, and round more often in int8: see the accuracy",
    ),
    "pool": Rewrite(
        _pool,
        "{count} {op} are written as AVERAGE_POOL_2D, which the target has. It gives the same in "
        "real numbers, and in int8 has the steps of what it averages: see the accuracy",
    ),
    "split": Rewrite(
        _split,
        "{count} {op} are split into parts as large as the target takes. They give the same in "
        "real numbers, and round once more in int8: see the accuracy",
    ),
    "cut_off": Rewrite(
        _cut_off,
        "{count} {op} at the end is cut off: the file gives the scores before it, as its contract "
        "says. edgekit predict, evaluate and bundle do the rest on the CPU; so must other programs",
    ),
}
