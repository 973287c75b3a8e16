"""The options and the table of a conversion with a promise."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edgekit.converters import Promised
    from edgekit.converters.ladder import Climb


@dataclass(frozen=True)
class Asked:
    """What the command line says of a promise."""

    max_drop: float | None
    min_agreement: float | None
    confidence: float | None
    rungs: str | None
    judge: Path | None
    train_data: Path | None
    mixed: str | None
    keep_best: bool

    def promised(self) -> Promised | None:
        """The promise, or None where none was asked for.

        Raises:
            UsageError: Options that need a promise stand without one, or two promises are given.
        """
        from edgekit.converters.ladder import Promise, Promised
        from edgekit.converters.rungs import NAMES
        from edgekit.errors import UsageError

        if self.max_drop is None and self.min_agreement is None:
            others = (self.confidence, self.rungs, self.judge, self.train_data, self.mixed)
            if self.keep_best or any(value is not None for value in others):
                raise UsageError(
                    "--confidence, --rungs, --judge, --train-data, --mixed and --keep-best go with "
                    "a promise",
                    "Give --max-drop POINTS or --min-agreement PERCENT.",
                )
            return None
        confidence = 95.0 if self.confidence is None else self.confidence
        rungs = NAMES if self.rungs is None else tuple(n.strip() for n in self.rungs.split(","))
        promise = Promise(self.max_drop, self.min_agreement, confidence)
        return Promised(promise, rungs, self.judge, self.train_data, self.keep_best)


_OPTIONS = (
    click.option(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="Promise: at most so many points of top-1 lost, on photos of --data set apart.",
    ),
    click.option(
        "--min-agreement",
        type=float,
        metavar="PERCENT",
        help="Promise without labels: the float model's answer on so many photos.",
    ),
    click.option(
        "--confidence",
        type=float,
        metavar="PERCENT",
        help="How sure the promise must be; 0 takes what was observed as it is.  [default: 95]",
    ),
    click.option(
        "--rungs",
        metavar="A,B",
        help="Climb these only: images, equalization, ranges, bias, rounding, mixed, qat.",
    ),
    click.option(
        "--judge",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Judge by these photos, and calibrate on all of --data.",
    ),
    click.option(
        "--train-data",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Labelled photos for the last rung, quantization-aware training.",
    ),
    click.option(
        "--mixed",
        type=click.Choice(["int16", "float"]),
        help="The target can compute a few layers in this precision.",
    ),
    click.option(
        "--keep-best",
        is_flag=True,
        help="Write the best file even if it doesn't keep the promise (exit code 1 still).",
    ),
)


def promise_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options; the command gets them as `promise`."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **given: Any) -> Any:
        names = [field.name for field in dataclasses.fields(Asked)]
        return command(
            *arguments, promise=Asked(**{name: given.pop(name) for name in names}), **given
        )

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


@contextlib.contextmanager
def showing_rungs(as_json: bool) -> Iterator[None]:
    """Shows what was tried where a promise isn't kept, before the error says so."""
    from edgekit.converters.ladder import PromiseNotKept

    try:
        yield
    except PromiseNotKept as error:
        if as_json:
            document = {"error": error.message, "hint": error.hint, **error.climb.to_dict()}
            click.echo(json.dumps(document, indent=2))
        else:
            render_rungs(error.climb)
        raise


def render_rungs(climb: Climb) -> None:
    """The table of rungs."""
    from edgekit.converters.ladder.result import show

    click.echo(f"Promise      {climb.verdict}")
    click.echo(f"Images       {climb.note}")
    click.echo(f"{show(climb.steps)}\n")
