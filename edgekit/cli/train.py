"""`edgekit train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import force_option, json_option
from edgekit.cli.progress import ProgressBars
from edgekit.cli.training_options import recipe_from, recipe_options, source_options
from edgekit.cli.values import DURATION
from edgekit.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from edgekit.types import EpochRow


@click.command(
    epilog="""\b
Examples:
  edgekit train photos/ -o m.keras
  edgekit train photos/ --model mobilenet_v2 --time-budget 10m -o m.keras
  edgekit train photos/ --unfreeze 5 --augmentation default,mixup=0.2 -o m.keras
  edgekit train photos/ -o m.keras --resume

\b
PHOTOS has a folder for each class, or train/, val/ and perhaps test/ with such folders;
with --labels-csv, the file says which picture is what.

\b
Exit codes: 0 done; 2 usage; 3 photos or weights that can't be used; 4 the training failed
(the best so far is kept); 5 something is not installed; 130 interrupted (likewise).
"""
)
@click.argument("data", metavar="PHOTOS", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="The .keras to write."
)
@click.option("--model", default="efficientnet_lite0", show_default=True, help="Of the zoo.")
@source_options
@click.option("--time-budget", type=DURATION, help="For all of it: 90s, 10m, 1h.")
@recipe_options
@click.option(
    "--distribute",
    type=click.Choice(["none", "mirrored", "multiworker"]),
    default="none",
    show_default=True,
    help="All devices of this machine, or the machines of TF_CONFIG.",
)
@click.option(
    "--tensorboard", type=click.Path(path_type=Path), metavar="DIR", help="Write a log for it."
)
@click.option("--resume", is_flag=True, help="Go on with a training that was stopped.")
@force_option
@json_option
def command(as_json: bool, weights: str, time_budget: float | None, **values: Any) -> int:
    """Fine-tune a model of the zoo on PHOTOS.

    First the backbone is frozen and a new classifier learns from its cached outputs, then all of
    it (or the last blocks) is fine-tuned. The best epoch is kept.
    """
    from edgekit.training.hooks import Hooks
    from edgekit.training.train import Job, train

    recipe = recipe_from(values)
    job = Job(weights=None if weights == "none" else weights, budget=time_budget, **values)
    with ProgressBars(quiet=as_json) as bars:

        def on_epoch(row: EpochRow) -> None:
            # An epoch over features takes no time; `say` has a line for all of them.
            if row.phase != "feature extraction":
                bars.say(_line(row))

        try:
            training = train(job, recipe, Hooks(progress=bars, on_epoch=on_epoch, say=bars.say))
        except KeyboardInterrupt:
            bars.say("\nInterrupted, and nothing was written; --resume goes on.")
            return EXIT_INTERRUPTED
        if not training.written:
            if training.interrupted:
                return EXIT_INTERRUPTED
            bars.say(f"Done; worker 0 writes {training.output}.")
            return 0
    for warning in training.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "output": str(training.output),
                    "folder": str(training.folder),
                    "interrupted": training.interrupted,
                    **training.metrics,
                },
                indent=2,
            )
        )
    else:
        click.echo(str(training))
    if training.interrupted:
        click.echo(
            f"\nInterrupted. The best so far is in {training.output}; --resume goes on.", err=True
        )
        return EXIT_INTERRUPTED
    return 0


def _line(row: EpochRow) -> str:
    return (
        f"{row.phase} {row.epoch:3}: loss {row.loss:.4f}, accuracy {100 * row.accuracy:.1f} %, "
        f"val loss {row.val_loss:.4f}, val accuracy {100 * row.val_accuracy:.2f} %, "
        f"{row.seconds:.1f} s"
    )
