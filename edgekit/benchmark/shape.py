"""The shape of the documents: every key that edgekit reads, and the type of its value.

The files come from users, and from devices that may cut them off, so each is checked before any
number is taken out of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: An integer that may be missing or null, and so on.
_Maybe = tuple[type, ...]
_INTEGER: _Maybe = (int, type(None))
_NUMBER: _Maybe = (int, float, type(None))
_TEXT: _Maybe = (str, type(None))
_FLAG: _Maybe = (bool, type(None))

#: What the device said at one moment. A map holds one kind of value, under keys of any name; where
#: the system says nothing it may be missing.
_READINGS = {
    "frequencies_khz": {"*": int},
    "temperatures_mc": {"*": int},
    "throttled": _INTEGER,
}
_STATE = {
    **_READINGS,
    "governors": {"*": str},
    "max_frequencies_khz": {"*": int},
    "load_1m": _NUMBER,
    "available_bytes": _INTEGER,
}

ROUND = {
    "tool": {"name": str, "version": _TEXT},
    "status": str,
    "model": {
        "path": str,
        "sha256": str,
        "inputs": [{"name": _TEXT, "dtype": str, "shape": [int]}],
    },
    "runtime": {"kind": str, "path": _TEXT, "version": _TEXT},
    "request": {
        "threads": int,
        "delegate": str,
        "interval_ns": _INTEGER,
        "sustain_ns": _INTEGER,
        "affinity": _TEXT,
    },
    "engaged": {
        "delegate": str,
        "nodes_total": _INTEGER,
        "nodes_delegated": _INTEGER,
        "partitions": _INTEGER,
    },
    "input": {"sha256": str, "kind": str, "seed": _INTEGER},
    "output": {"sha256": str, "repeatable": _FLAG},
    "context": {
        "architecture": str,
        "machine": _TEXT,
        "cpu": _TEXT,
        "cores": _INTEGER,
        "os": _TEXT,
        "kernel": _TEXT,
        "libc": _TEXT,
        "emulated": _TEXT,
        "before": _STATE,
        "after": _STATE,
        "peak_rss_bytes": _INTEGER,
    },
    "load_ns": int,
    "first_ns": int,
    "samples_ns": [int],
    "starts_ns": [int],
    "timeline": [{"t_ns": int, **_READINGS}],
    "warnings": [str],
}
#: What may be null, and has a shape where it isn't: (path, shape).
ROUND_OPTIONAL = (
    (
        ("output", "golden"),
        {"equal": bool, "differing_bytes": _INTEGER, "max_abs_difference": _NUMBER},
    ),
    (("profile",), [{"op": str, "calls": int, "total_ns": int}]),
    (("engaged", "affinity"), [int]),
)

#: A run, down to its rounds.
RUN = {"created": str, "edgekit": str, "seed": int, "cells": [{}]}
CELL = {
    "model": str,
    "device": str,
    "delegate": str,
    "threads": int,
    "error": _TEXT,
    "rounds": [{"order": _INTEGER}],
}


def misfit(value: Any, shape: Any, place: str = "") -> str | None:
    """What of a value doesn't have a shape, as `context.before.governors: no object`; None if all.

    Args:
        value: Parsed JSON.
        shape: A type, several, a list of one shape, or an object by its keys.
        place: Where the value is, for the answer.
    """
    if isinstance(shape, Mapping):
        return _misfit_of_object(value, shape, place)
    if isinstance(shape, list):
        return _misfit_of_list(value, shape[0], place)
    kinds = shape if isinstance(shape, tuple) else (shape,)
    # True and False are integers to Python, and no count or time to us.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return f"{place}: {_words(kinds)} is missing"
    return None


def _misfit_of_object(value: Any, shape: Mapping[str, Any], place: str) -> str | None:
    if value is None and "*" in shape:
        return None
    if not isinstance(value, Mapping):
        return f"{place}: no object"
    keys = value if "*" in shape else shape
    for key in keys:
        found = misfit(value.get(key), shape.get(key, shape.get("*")), f"{place}.{key}".lstrip("."))
        if found:
            return found
    return None


def _misfit_of_list(value: Any, shape: Any, place: str) -> str | None:
    if not isinstance(value, list):
        return f"{place}: no list"
    return next((f for i, v in enumerate(value) if (f := misfit(v, shape, f"{place}[{i}]"))), None)


_WORDS = {int: "an integer", float: "a number", str: "text", bool: "true or false"}


def _words(kinds: Sequence[type]) -> str:
    return " or ".join(_WORDS[kind] for kind in kinds if kind in _WORDS)
