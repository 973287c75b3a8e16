"""The kinds of values that options take: numbers, durations, shares, delegates."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Value(click.ParamType):
    """What a function reads from the text of an option; its ValueError says what was expected."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name, self._read = name, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value; a default is one already."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(f"{value!r} is {error}", param, ctx)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError("not a number or three with commas between") from None


def _counts(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError("no number, nor several with commas between") from None


def _duration(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", text)
    if match is None:
        raise ValueError("no time such as 300ms, 2s or 10m; a plain number is seconds")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def _share(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text)
    if match is None or not 0 < float(match[1]) <= 100:
        raise ValueError("no share such as 3%")
    return float(match[1]) / 100


def _delegates(text: str) -> tuple[str, ...]:
    """A plug-in's own settings have commas between them, so one of those stands alone."""
    return (text,) if text.startswith("external:") else tuple(text.split(","))


#: `127.5` or `1,2,3`, as floats.
NUMBERS = Value("numbers", _numbers)
#: `1,2,4`, as integers.
COUNTS = Value("counts", _counts)
#: `300ms`, `2s`, `10m`, `1h`, or plain seconds; in seconds.
DURATION = Value("duration", _duration)
#: `3%`, as a fraction above 0 and up to 1.
SHARE = Value("share", _share)
#: `xnnpack,none`, or one `external:PATH[,key=value...]`.
DELEGATES = Value("delegates", _delegates)
