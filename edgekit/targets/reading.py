"""Reads targets and accelerators from TOML, and says what is wrong by line and key."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from edgekit.errors import UnreadableError
from edgekit.targets.conditions import RULES
from edgekit.targets.estimate import rates
from edgekit.targets.target import (
    KNOWN_BY,
    REWRITES,
    UNITS,
    Accelerator,
    Condition,
    Number,
    Target,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEMA_VERSION = 1
_QUANTIZATIONS = ("int8", "any")
_DTYPES = ("int8", "uint8", "int16", "int32", "float16", "float32", "bool", "int64")

Value = TypeVar("Value")


class _Table:
    """A table of a file, whose keys are taken one by one; what is left over is an error."""

    def __init__(self, values: object, file: _File, key: str) -> None:
        if not isinstance(values, dict):
            raise file.error(key, "is no table")
        self._values, self._file, self._key = dict(values), file, key

    def take(self, key: str, kind: type[Value], default: Value | None = None) -> Value:
        if key not in self._values and default is not None:
            return default
        path = f"{self._key}.{key}" if self._key else key
        if key not in self._values:
            raise self._file.error(self._key or key, f"{path} is missing")
        value = self._values.pop(key)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self._file.error(key, f"{path} is no {_WORDS[kind]}")
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        value = self.take(key, str)
        if value not in choices:
            raise self._file.error(key, f"{key} = {value!r} is none of {', '.join(choices)}")
        return value

    def strings(self, key: str, choices: tuple[str, ...] | None = None) -> tuple[str, ...]:
        values = self.take(key, list)
        for value in values:
            if not isinstance(value, str) or (choices is not None and value not in choices):
                allowed = "" if choices is None else f" of {', '.join(choices)}"
                raise self._file.error(key, f"{key} has {value!r}, which is none{allowed}")
        return tuple(values)

    def source(self) -> str:
        value = self.take("source", str)
        if not value.strip():
            raise self._file.error(self._key or "source", "has an empty source")
        return value

    def items(self) -> dict[str, Any]:
        """All that is left."""
        left, self._values = self._values, {}
        return left

    def finish(self) -> None:
        if self._values:
            key = next(iter(self._values))
            raise self._file.error(key, f"{key} is not known there")


_WORDS: dict[type, str] = {
    str: "text", int: "whole number", float: "number", bool: "true or false", list: "list",
    dict: "table",
}  # fmt: skip


class _File:
    """A TOML file, and where in it a key is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._text = path.read_text("utf-8")
            self.values: dict[str, Any] = tomllib.loads(self._text)
        except OSError as error:
            raise UnreadableError(f"{path}: {error.strerror or error}") from error
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UnreadableError(f"{path}: no TOML ({error})") from error

    def error(self, key: str, what: str) -> UnreadableError:
        last = re.escape(key)
        where = f"{self._path}"
        for number, line in enumerate(self._text.splitlines(), 1):
            if re.match(rf'\s*(\[.*\b{last}\]|"?{last}"?\s*=)', line):
                where += f", line {number}"
                break
        return UnreadableError(
            f"{where}: {what}", "See edgekit/targets/coral_usb.toml for one that is right."
        )


def read_target(
    path: Path, accelerators: Callable[[str], Accelerator], level: int | None = None
) -> Target:
    """Reads a target.

    Args:
        path: Its file.
        accelerators: Gives an accelerator by name.
        level: The Android API level that was asked for; by default the file's.

    Raises:
        UnreadableError: The file makes no sense; the message says where.
    """
    file = _File(path)
    table = _Table(file.values, file, "")
    _check_schema(table, file)
    known = table.take("level", int, 0)
    numbers = {
        key: _number(key, values, file) for key, values in table.take("numbers", dict, {}).items()
    }
    accelerator = table.take("accelerator", str, "none")
    name = table.take("name", str)
    target = Target(
        name,
        table.take("title", str),
        table.strings("aliases"),
        table.take("processor", str),
        numbers,
        table.choice("quantization", _QUANTIZATIONS),
        table.strings("io_types", _DTYPES),
        None if accelerator == "none" else accelerators(accelerator),
        (level or known) if known else None,
        _known_by(table.take("measured_on", dict, {}), file),
        _runtime(table.take("runtime", dict, {}), file),
        _cpu_like(name, table.take("cpu_like", dict, {}), file),
    )
    table.finish()
    return target


def read_accelerator(path: Path) -> Accelerator:
    """Reads an accelerator.

    Raises:
        UnreadableError: The file makes no sense; the message says where.
    """
    file = _File(path)
    table = _Table(file.values, file, "")
    _check_schema(table, file)
    ops = table.take("ops", dict)
    accelerator = Accelerator(
        table.take("name", str),
        table.take("title", str),
        table.source(),
        frozenset(table.strings("dtypes", _DTYPES)),
        table.take("one_partition", bool),
        table.take("most_inner_dimensions", int, 0) or None,
        table.take("compiled", str, "") or None,
        table.take("unlisted", str, "is not supported"),
        {op: _conditions(op, values, file) for op, values in ops.items()},
        {key: str(text) for key, text in table.take("advice", dict, {}).items()},
        _rewrites(table.take("rewrites", dict, {}), file),
    )
    table.finish()
    return accelerator


def _rewrites(values: Mapping[str, Any], file: _File) -> Mapping[str, str]:
    table = _Table(values, file, "rewrites")
    return {op: table.choice(op, REWRITES) for op in values}


def _check_schema(table: _Table, file: _File) -> None:
    schema = table.take("schema", int)
    if schema != SCHEMA_VERSION:
        raise file.error("schema", f"schema {schema}, this edgekit reads {SCHEMA_VERSION}")


def _known_by(values: Mapping[str, Any], file: _File) -> Mapping[str, str]:
    table = _Table(values, file, "measured_on")
    found = {key: table.take(key, str) for key in KNOWN_BY if key in values}
    table.finish()
    return found


def _runtime(values: Mapping[str, Any], file: _File) -> str | None:
    if not values:
        return None
    table = _Table(values, file, "runtime")
    version = table.take("version", str)
    table.source()
    table.finish()
    return version


def _cpu_like(name: str, values: Mapping[str, Any], file: _File) -> Mapping[str, str]:
    """Pairs of fitted settings: the target's own, and another's."""
    mine = tuple(dict.fromkeys(rate.setting for rate in rates() if rate.target == name))
    others = tuple(dict.fromkeys(rate.setting for rate in rates() if rate.target != name))
    table = _Table(values, file, "cpu_like")
    for setting in values:
        if setting not in mine:
            known = "; ".join(mine) or "none"
            raise file.error(setting, f"{setting!r} is no fitted setting of {name}: {known}")
    return {setting: table.choice(setting, others) for setting in values}


def _number(key: str, values: object, file: _File) -> Number:
    if key not in UNITS:
        raise file.error(key, f"{key} is none of {', '.join(UNITS)}")
    table = _Table(values, file, key)
    number = Number(table.take("value", float), table.take("unit", str), table.source())
    if number.unit != UNITS[key]:
        raise file.error(key, f"{key} is in {number.unit!r}; the unit is {UNITS[key]}")
    if not number.value > 0:
        raise file.error(key, f"{key} = {number.value:g} is not positive")
    table.finish()
    return number


def _conditions(op: str, values: object, file: _File) -> tuple[Condition, ...]:
    if not isinstance(values, list):
        raise file.error(op, f"{op} is no list of conditions")
    return tuple(_condition(op, value, file) for value in values)


def _condition(op: str, value: object, file: _File) -> Condition:
    given: Mapping[str, Any] = {"rule": value} if isinstance(value, str) else {}
    if isinstance(value, dict):
        given = value
    rule = str(given.get("rule"))
    if rule not in RULES:
        raise file.error(
            op, f"{op} has the condition {rule!r}, which is none of {', '.join(RULES)}"
        )
    values = {key: item for key, item in given.items() if key not in ("rule", "source")}
    if set(values) != RULES[rule].needs:
        needs = ", ".join(sorted(RULES[rule].needs)) or "nothing"
        raise file.error(op, f"{op}: the condition {rule} needs {needs}")
    return Condition(rule, values)
