"""Asks on the terminal for what `edgekit advise` wasn't told."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edgekit.errors import EdgekitError, UsageError

#: option -> the question; all may be left open.
_LIMITS = {
    "max_latency": "How many milliseconds may an inference take? (Enter: any)",
    "max_size": "How many MiB may the int8 file have? (Enter: any)",
    "min_accuracy": "Which share of your photos is it to know, 0 to 1? (Enter: not said)",
    "train_budget": "For how many minutes may it train? (Enter: any)",
}


def complete(given: dict[str, Any]) -> dict[str, Any]:
    """The options, with answers where photos or target weren't given; as they are otherwise.

    Questions go to stderr.

    Args:
        given: `data`, `target` and the limits, None where they weren't given.

    Raises:
        UsageError: Photos or target are missing, and there is no terminal to ask on.
    """
    missing = [name for name in ("data", "target") if given[name] is None]
    if not missing:
        return given
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        named = " and ".join(f"--{name}" for name in missing)
        raise UsageError(
            f"{named} {'is' if len(missing) == 1 else 'are'} missing",
            "edgekit advise --data photos/ --target pi4. On a terminal it asks for what it needs.",
        )
    ask = {"data": _photos, "target": _target, **{name: _limit(name) for name in _LIMITS}}
    return {name: ask[name]() if value is None else value for name, value in given.items()}


def line(answers: dict[str, Any]) -> str:
    """What to type for the same: the options that were given, and the answers."""
    context = click.get_current_context()
    words = ["edgekit", "advise"]
    for parameter in context.command.params:
        name = str(parameter.name)
        given = context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE
        value = answers.get(name, context.params.get(name) if given else None)
        if value is True:
            words.append(parameter.opts[-1])
        elif value is not None and value is not False:
            words += [parameter.opts[-1], str(value)]
    return shlex.join(words)


def _photos() -> Path:
    kind = click.Path(exists=True, file_okay=False, path_type=Path)
    folder: Path = click.prompt(
        "Where are the photos? (a folder with one for each class)", type=kind, err=True
    )
    return folder


def _target() -> str:
    from edgekit import targets

    def known(answer: str) -> str:
        try:
            targets.find(answer)
        except EdgekitError as error:
            raise click.BadParameter(" ".join(filter(None, (error.message, error.hint)))) from error
        return answer

    question = f"Where is it to run? ({', '.join(targets.names())})"
    answer: str = click.prompt(question, value_proc=known, err=True)
    return answer


def _limit(name: str) -> Callable[[], float | None]:
    def number(answer: str) -> float | None:
        try:
            return float(answer) if answer.strip() else None
        except ValueError as error:
            raise click.BadParameter(f"{answer} is no number.") from error

    def ask() -> float | None:
        answer: float | None = click.prompt(
            _LIMITS[name], default="", show_default=False, value_proc=number, err=True
        )
        return answer

    return ask
