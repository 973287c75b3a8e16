"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edgekit.cli.values import NUMBERS

# Written out, since edgekit.contract brings numpy, and --help must not; a test compares them.
PREPROCESS_NAMES = ("raw", "unit", "tf", "torch", "caffe", "efficientnet_lite")
INTERPOLATION_NAMES = ("exact", "linear", "cubic", "area", "nearest")


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
runtime_option = click.option(
    "--runtime", metavar="PATH", help="The runtime library: a file here, or a path on DEVICE."
)
binary_option = click.option(
    "--binary",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Your own build of edgekit-bench.",
)
force_option = click.option("--force", is_flag=True, help="Replace an existing file.")

_CONTRACT_OPTIONS = (
    click.option(
        "--preprocess",
        metavar="NAME",
        help=f"How the model's input is prepared: {', '.join(PREPROCESS_NAMES)}.",
    ),
    click.option(
        "--mean",
        type=NUMBERS,
        metavar="M[,M,M]",
        help="With --std: input = (pixel - mean) / std, in grey levels.",
    ),
    click.option("--std", type=NUMBERS, metavar="S[,S,S]", help="See --mean."),
    click.option(
        "--colour-order",
        type=click.Choice(["RGB", "BGR"], case_sensitive=False),
        help="Of the model's channels; with --mean and --std.  [default: RGB]",
    ),
    click.option(
        "--resize",
        metavar="RULE",
        help="How pictures are fitted: stretch, pad, crop, or crop:0.875 to keep a share.",
    ),
    click.option(
        "--interpolation",
        type=click.Choice(INTERPOLATION_NAMES),
        help="How pictures are resampled.  [default: exact]",
    ),
    click.option(
        "--labels",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Class names, one a line, in the order of the model's outputs.",
    ),
)


def contract_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of the preprocessing contract.

    The command gets them as one argument, `overrides: edgekit.overrides.Overrides`.
    """

    @functools.wraps(function)
    def command(
        *,
        preprocess: str | None,
        mean: tuple[float, ...] | None,
        std: tuple[float, ...] | None,
        colour_order: str | None,
        resize: str | None,
        interpolation: str | None,
        labels: Path | None,
        **others: Any,
    ) -> Any:
        from edgekit.overrides import parse

        given = parse(preprocess, mean, std, colour_order, resize, interpolation, labels)
        return function(overrides=given, **others)

    decorated: Callable[..., Any] = command
    for option in reversed(_CONTRACT_OPTIONS):
        decorated = option(decorated)
    return decorated
