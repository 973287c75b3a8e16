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
from edgekit.tflite import versions
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
        compiled: The custom op that holds what the accelerator's compiler took, in a file that has
            been through it; or None.
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
    compiled: str | None
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
        len({turn for turn in _turns(model, [op.accelerated for op in ops]) if turn % 2 == 0}),
        taken / total if total else 0.0,
        _parameters(model, ops),
        target.on_chip_bytes,
        _compiled(model, target),
        tuple(_remarks(model, target)),
    )


def _compiled(model: Model, target: Target) -> str | None:
    name = None if target.accelerator is None else target.accelerator.compiled
    found = any(op.custom and op.name == name for op in model.main.operators)
    return name if found else None


def takes(model: Model, operator: Operator, target: Target) -> bool:
    """Whether a target's accelerator takes an op, once its tensors are of a type that it takes."""
    if target.accelerator is None:
        return False
    conditions = target.accelerator.ops.get(operator.name)
    if conditions is None:
        return False
    return not any(_unmet(Case(model, operator, target.level), conditions))


def _place_all(model: Model, target: Target, many_partitions: bool) -> Iterator[Placed]:
    accelerator, operators = target.accelerator, model.main.operators
    counts = [macs(operator, model.main) for operator in operators]
    if accelerator is None:
        for operator, count in zip(operators, counts, strict=True):
            yield Placed(operator.index, operator.name, False, None, None, None, count)
        return
    reasons = [_reason(Case(model, op, target.level), accelerator) for op in operators]
    turns = _turns(model, [reason is None for reason, _ in reasons])
    # A compiler that makes one piece takes the first turn that the accelerator can have.
    first = min((turn for turn in turns if turn % 2 == 0), default=0)
    single = accelerator.one_partition and not many_partitions
    causes: dict[int, int] = {}  # tensor -> the op because of which it comes too late
    for operator, count, (reason, advice), turn in zip(
        operators, counts, reasons, turns, strict=True
    ):
        follows = None
        if single and turn > first:
            cause = next((causes[i] for i in operator.inputs if i in causes), operator.index)
            causes |= dict.fromkeys(operator.outputs, cause)
            if reason is None:
                follows = cause
                reason = f"comes after {operators[cause].name} (op {cause})"
        yield Placed(operator.index, operator.name, reason is None, reason, follows, advice, count)


def _turns(model: Model, taken: list[bool]) -> list[int]:
    """In which turn each op runs, as TFLite cuts a graph.

    Turn by turn all ops of one kind that can run; the first op's kind begins. Even turns are the
    accelerator's.
    """
    made: dict[int, int] = {}  # tensor -> in which turn it is computed
    turns = []
    for operator, accelerated in zip(model.main.operators, taken, strict=True):
        start = 0 if taken[0] else -1
        after = max((made[i] for i in operator.inputs if i in made), default=start)
        turn = after if (after % 2 == 0) == accelerated else after + 1
        made |= dict.fromkeys(operator.outputs, turn)
        turns.append(turn)
    return turns


def _reason(case: Case, accelerator: Accelerator) -> tuple[str | None, str | None]:
    """Why an op isn't taken, and what to change."""
    operator = case.operator
    if operator.custom and operator.name == accelerator.compiled:
        return None, None
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


def _parameters(model: Model, ops: tuple[Placed, ...]) -> int:
    sizes = parameter_bytes(model, model.main)
    return sum(size for placed, size in zip(ops, sizes, strict=True) if placed.accelerated)


def _remarks(model: Model, target: Target) -> Iterator[str]:
    graph = model.main
    if target.runtime is not None:
        newer = sorted(
            f"{operator.name} {operator.version}"
            for operator in {(op.name, op.version): op for op in graph.operators}.values()
            if (since := versions.since(operator.name, operator.version)) is not None
            and not versions.at_least(target.runtime, since)
        )
        if newer:
            yield (
                f"TensorFlow Lite {target.runtime}, which is there, doesn't load it: it has "
                f"{', '.join(newer)}. Convert it with --target {target.name}."
            )
    for what, index in (("input", graph.inputs[:1]), ("output", graph.outputs[:1])):
        for i in index:
            dtype = graph.tensors[i].dtype
            if dtype not in target.io_types:
                yield f"The {what} is {dtype}; {target.title} wants {', '.join(target.io_types)}."
    if target.quantization == "int8":
        floats = sum(any(graph.tensors[i].is_float for i in op.outputs) for op in graph.operators)
        if floats:
            yield f"{floats} op(s) compute in float; convert the model with --int8."
