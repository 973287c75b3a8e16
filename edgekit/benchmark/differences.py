"""What differs between two cells besides what is to be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from edgekit.benchmark.document import Cell, Round
from edgekit.benchmark.pairing import Axis, Pair


@dataclass(frozen=True)
class Difference:
    """One thing that isn't the same.

    Attributes:
        what: Such as `kernel`.
        a: What it is for a.
        b: What it is for b.
        grave: Whether latencies can't be compared because of it, unless asked for.
    """

    what: str
    a: str
    b: str
    grave: bool


@dataclass(frozen=True)
class _Fact:
    what: str
    read: Callable[[Round], Any]
    #: The axis along which it may differ.
    axis: Axis | None = None
    grave: bool = False


def _context(key: str) -> Callable[[Round], Any]:
    return lambda r: r["context"].get(key)


def _runtime(r: Round) -> str:
    return f"{r['runtime']['kind']} {r['runtime'].get('version') or '(unknown version)'}"


def _governor(r: Round) -> str | None:
    governors = set((r["context"]["before"].get("governors") or {}).values())
    return ", ".join(sorted(governors)) or None


def _tool(r: Round) -> str:
    tool = r.document.get("tool") or {}
    return f"{tool.get('name', 'unknown')} {tool.get('version', '')}".strip()


def _emulated(r: Round) -> str:
    return "emulated" if r["context"].get("emulated") else "real"


_FACTS = (
    _Fact("architecture", _context("architecture"), "device", grave=True),
    _Fact("CPU", _context("cpu"), "device", grave=True),
    _Fact("machine", _context("machine"), "device", grave=True),
    _Fact("device", _emulated, "device", grave=True),
    _Fact("threads", lambda r: r["request"]["threads"], "threads", grave=True),
    _Fact("affinity", lambda r: r["request"].get("affinity"), "threads"),
    _Fact("pacing", lambda r: r["request"].get("interval_ns") or 0),
    _Fact("kernel", _context("kernel"), "device"),
    _Fact("C library", _context("libc"), "device"),
    _Fact("governor", _governor, "device"),
    _Fact("runtime", _runtime, "device"),
    _Fact("program", _tool, "device"),
)


def differences(pair: Pair) -> tuple[Difference, ...]:
    """What differs between two cells, the grave first; what the pair is about is left out."""
    found = list(_input(pair))
    for fact in _FACTS:
        if fact.axis is not None and fact.axis == pair.axis:
            continue
        a, b = _values(pair.a, fact.read), _values(pair.b, fact.read)
        if a != b:
            found.append(Difference(fact.what, _words(a), _words(b), fact.grave))
    return tuple(sorted(found, key=lambda d: not d.grave))


def _input(pair: Pair) -> Iterator[Difference]:
    """Other bytes are grave, unless the models' shapes or types leave no choice."""
    if _values(pair.a, _input_hash) == _values(pair.b, _input_hash):
        return
    kinds = _values(pair.a, _input_kind), _values(pair.b, _input_kind)
    shapes = _values(pair.a, _input_shapes), _values(pair.b, _input_shapes)
    if kinds[0] != kinds[1]:
        yield Difference("input", _words(kinds[0]), _words(kinds[1]), grave=True)
    elif shapes[0] != shapes[1]:
        yield Difference("input", _words(shapes[0]), _words(shapes[1]), grave=False)
    else:
        hashes = _values(pair.a, _input_hash), _values(pair.b, _input_hash)
        yield Difference("input", _words(hashes[0]), _words(hashes[1]), grave=True)


def _input_hash(r: Round) -> str:
    return f"{r['input'].get('kind')} {str(r['input']['sha256'])[:12]}"


def _input_kind(r: Round) -> str:
    seed = r["input"].get("seed")
    return f"{r['input'].get('kind')}" + (f":{seed}" if seed is not None else "")


def _input_shapes(r: Round) -> str:
    tensors = r["model"].get("inputs") or []
    return ", ".join(
        f"{'x'.join(map(str, tensor.get('shape', ())))} {tensor.get('dtype')}" for tensor in tensors
    )


def _values(cell: Cell, read: Callable[[Round], Any]) -> frozenset[Any]:
    return frozenset(map(read, cell.rounds))


def _words(values: frozenset[Any]) -> str:
    return " / ".join(sorted("unknown" if value is None else str(value) for value in values))
