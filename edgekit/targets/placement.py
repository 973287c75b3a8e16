"""For each op of a model where it will run, why, and what to change.

It is a prediction from documents. What really happened a compiler or a runtime says, and
`edgekit benchmark` shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from edgekit.targets.conditions import RULES, Case
from edgekit.targets.target import Accelerator, Condition, Target
from edgekit.tflite.cost import macs, parameter_bytes
from edgekit.tflite.model import Model, Operator, Tensor


@dataclass(frozen=True)
class Placed:
    """One op.

    Attributes:
        index: Its place in the order of execution.
        op: Its name.
        accelerated: Whether the accelerator takes it.
        reason: Why not, or None.
        follows: The op because of which it stays, where it would be taken itself; or None.
        advice: What to change, or None.
        macs: Its multiply-accumulates, or None where they aren't known.
    """

    index: int
    op: str
    accelerated: bool
    reason: str | None
    follows: int | None
    advice: str | None
    macs: int | None


@dataclass(frozen=True)
class Placement:
    """All ops of a model on a target.

    Attributes:
        target: Its name.
        accelerator: The accelerator's title, or None where there is only the CPU.
        source: Where its rules are documented.
        ops: Every op.
        partitions: How many pieces the accelerator gets.
        mac_share: The share of multiply-accumulates that it takes, 0..1, of those that are known.
        parameter_bytes: Of the ops it takes.
        on_chip_bytes: What it can keep of them; None where that isn't known. The rest is sent anew
            for every inference.
        remarks: What else is to be known: types that the target wants.
    """

    target: str
    accelerator: str | None
    source: str | None
    ops: tuple[Placed, ...]
    partitions: int
    mac_share: float
    parameter_bytes: int
    on_chip_bytes: int | None
    remarks: tuple[str, ...]

    @property
    def left(self) -> tuple[Placed, ...]:
        """The ops that stay on the CPU."""
        return tuple(op for op in self.ops if not op.accelerated)

    @property
    def streamed_bytes(self) -> int:
        """Parameters that don't fit on the chip."""
        if self.on_chip_bytes is None:
            return 0
        return max(0, self.parameter_bytes - self.on_chip_bytes)

    def causes(self) -> list[tuple[str, str, str | None, int]]:
        """(op, reason, advice, count) of what isn't taken for a reason of its own."""
        own = [
            (op.op, op.reason, op.advice)
            for op in self.left
            if op.reason is not None and op.follows is None
        ]
        return [(*cause, count) for cause, count in Counter(own).items()]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "streamed_bytes": self.streamed_bytes}


def place(model: Model, target: Target, *, many_partitions: bool = False) -> Placement:
    """Predicts where the ops of a model run.

    Args:
        model: From `edgekit.tflite.read`.
        target: Where it is to run.
        many_partitions: Let the accelerator have several pieces, as Coral's compiler does with its
            experimental `-a`.
    """
    accelerator = target.accelerator
    ops = tuple(_place_all(model, target, many_partitions))
    counted = [op for op in ops if op.macs is not None]
    total = sum(op.macs or 0 for op in counted)
    taken = sum(op.macs or 0 for op in counted if op.accelerated)
    return Placement(
        target.name,
        None if accelerator is None else accelerator.title,
        None if accelerator is None else accelerator.source,
        ops,
        _partitions(model, ops),
        taken / total if total else 0.0,
        _parameters(model, ops),
        target.on_chip_bytes,
        tuple(_remarks(model, target)),
    )


def takes(model: Model, operator: Operator, target: Target) -> bool:
    """Whether a target's accelerator takes an op, once its tensors are of a type that it takes."""
    if target.accelerator is None:
        return False
    conditions = target.accelerator.ops.get(operator.name)
    if conditions is None:
        return False
    return not any(_unmet(Case(model, operator, target.level), conditions))


def _place_all(model: Model, target: Target, many_partitions: bool) -> Iterator[Placed]:
    accelerator = target.accelerator
    spoilt: dict[int, int] = {}  # tensor -> the op because of which it is on the CPU
    for operator in model.main.operators:
        count = macs(operator, model.main)
        if accelerator is None:
            yield Placed(operator.index, operator.name, False, None, None, None, count)
            continue
        case = Case(model, operator, target.level)
        reason, advice = _reason(case, accelerator)
        follows = next((spoilt[i] for i in operator.inputs if i in spoilt), None)
        if reason is None and follows is not None:
            first = model.main.operators[follows]
            reason = f"comes after {first.name} (op {follows})"
        else:
            follows = None
        if reason is not None and accelerator.one_partition and not many_partitions:
            cause = operator.index if follows is None else follows
            if not _is_entrance(case):
                spoilt |= dict.fromkeys(operator.outputs, cause)
        yield Placed(operator.index, operator.name, reason is None, reason, follows, advice, count)


def _reason(case: Case, accelerator: Accelerator) -> tuple[str | None, str | None]:
    """Why an op isn't taken, and what to change."""
    operator = case.operator
    conditions = None if operator.custom else accelerator.ops.get(operator.name)
    if conditions is None:
        return accelerator.unlisted, accelerator.advice.get(operator.name)
    for key, said in (
        ("dtype", _wrong_type(case, accelerator)),
        ("dynamic", _dynamic(case)),
        ("dimensions", _too_many_dimensions(case, accelerator)),
    ):
        if said is not None:
            return said, accelerator.advice.get(key)
    for rule, said in _unmet(case, conditions):
        advice = accelerator.advice
        return said, advice.get(rule, advice.get(operator.name))
    return None, None


def _unmet(case: Case, conditions: tuple[Condition, ...]) -> Iterator[tuple[str, str]]:
    """(rule, why) of the conditions that don't hold."""
    for condition in conditions:
        said = RULES[condition.rule].check(case, condition.values)
        if said is not None:
            yield condition.rule, said


def _computed(case: Case) -> list[Tensor]:
    return [t for t in (*case.inputs, *case.outputs) if not case.model.is_constant(t)]


def _wrong_type(case: Case, accelerator: Accelerator) -> str | None:
    wrong = sorted({t.dtype for t in _computed(case) if t.dtype not in accelerator.dtypes})
    return f"works on {', '.join(wrong)}" if wrong else None


def _dynamic(case: Case) -> str | None:
    moving = any(size < 0 for t in _computed(case) for size in t.shape_signature[1:])
    return "has a size that is known only when it runs" if moving else None


def _too_many_dimensions(case: Case, accelerator: Accelerator) -> str | None:
    most = accelerator.most_inner_dimensions
    if most is None:
        return None
    for tensor in _computed(case):
        if any(size > 1 for size in tensor.shape[:-most]):
            return f"has a tensor {list(tensor.shape)}: only the innermost {most} may exceed 1"
    return None


def _is_entrance(case: Case) -> bool:
    """A QUANTIZE at the model's input stays on the CPU and spoils nothing behind it."""
    operator = case.operator
    return operator.name == "QUANTIZE" and operator.inputs[0] in case.model.main.inputs


def _partitions(model: Model, ops: tuple[Placed, ...]) -> int:
    """How often the runtime hands over to the accelerator.

    As TFLite cuts a graph: turn by turn all ops of one kind that can run. Even turns are the
    accelerator's.
    """
    turn: dict[int, int] = {}  # tensor -> in which turn it is computed
    turns: set[int] = set()
    for operator, placed in zip(model.main.operators, ops, strict=True):
        odd = 0 if placed.accelerated else 1
        after = max((turn[i] for i in operator.inputs if i in turn), default=-odd)
        mine = after if after % 2 == odd else after + 1
        turn |= dict.fromkeys(operator.outputs, mine)
        if placed.accelerated:
            turns.add(mine)
    return len(turns)


def _parameters(model: Model, ops: tuple[Placed, ...]) -> int:
    sizes = parameter_bytes(model, model.main)
    return sum(size for placed, size in zip(ops, sizes, strict=True) if placed.accelerated)


def _remarks(model: Model, target: Target) -> Iterator[str]:
    graph = model.main
    for what, index in (("input", graph.inputs[:1]), ("output", graph.outputs[:1])):
        for i in index:
            dtype = graph.tensors[i].dtype
            if dtype not in target.io_types:
                yield f"The {what} is {dtype}; {target.title} wants {', '.join(target.io_types)}."
    if target.quantization == "int8":
        floats = sum(any(graph.tensors[i].is_float for i in op.outputs) for op in graph.operators)
        if floats:
            yield f"{floats} op(s) compute in float; convert the model with --int8."
