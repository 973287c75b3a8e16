"""`edgekit train`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import force_option, json_option
from edgekit.cli.progress import ProgressBars
from edgekit.cli.values import DURATION as DURATION
from edgekit.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from edgekit.types import EpochRow


#: Options that are fields of `Recipe`, whose defaults live there: those not given stay there.
_RECIPE = (
    click.option("--size", type=int, help="Input size in pixels.  [default: the model's]"),
    click.option("--epochs", type=int, help="Epochs of fine-tuning; 0 for none.  [default: 20]"),
    click.option("--batch", type=int, help="Pictures in a step.  [default: 32]"),
    click.option("--rate", type=float, help="Learning rate of fine-tuning.  [default: 0.0006]"),
    click.option(
        "--unfreeze",
        metavar="BLOCKS",
        help="Fine-tune so many of the last blocks, a share of them, or all.  [default: 1/2]",
    ),
    click.option("--optimizer", type=click.Choice(["adamw", "sgd"]), help="[default: adamw]"),
    click.option("--momentum", type=float, help="Of sgd.  [default: 0.9]"),
    click.option("--weight-decay", type=float, help="Decoupled, of kernels.  [default: 0.05]"),
    click.option("--warmup", type=float, help="Epochs of warm-up.  [default: 1]"),
    click.option("--label-smoothing", type=float, help="[default: 0.1]"),
    click.option("--dropout", type=float, help="Before the classifier.  [default: the model's]"),
    click.option("--batch-norm", type=click.Choice(["frozen", "train"]), help="[default: train]"),
    click.option("--average", type=float, help="Moving average of the weights.  [default: 0.98]"),
    click.option("--patience", type=int, help="Epochs without a better one.  [default: 6]"),
    click.option(
        "--balance",
        type=click.Choice(["none", "sampling", "weights"]),
        help="For classes of unequal size.  [default: none]",
    ),
    click.option("--feature-epochs", type=int, help="Epochs with the backbone frozen."),
    click.option("--feature-rate", type=float, help="Learning rate of those."),
    click.option("--views", type=int, help="Augmented variants whose features are kept."),
    click.option("--pull", type=float, help="Pull of the classifier to its start."),
    click.option("--seed", type=int, help="Of order, augmentation and split.  [default: 0]"),
)


def recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of `_RECIPE` and `--augmentation`."""
    augmentation = click.option(
        "--augmentation",
        metavar="TEXT",
        help="`default` or `none`, then changes: default,mixup=0.2,rotation=15. Names: crop_scale, "
        "crop_ratio, flip, vertical_flip, rotation, brightness, contrast, saturation, hue, "
        "randaugment, erase, mixup, cutmix.",
    )
    for option in reversed((*_RECIPE, augmentation)):
        command = option(command)
    return command


def recipe_from(values: dict[str, Any]) -> Any:
    """The recipe of the options that were given; takes them out of `values`."""
    import dataclasses

    from edgekit.training.feeding import Augmentation
    from edgekit.training.recipe import Recipe

    names = [field.name for field in dataclasses.fields(Recipe)]
    given = {name: values.pop(name) for name in names if name in values}
    given = {name: value for name, value in given.items() if value is not None}
    if str(given.get("unfreeze", "")).isdecimal():
        given["unfreeze"] = int(given["unfreeze"])
    if "augmentation" in given:
        given["augmentation"] = Augmentation.parse(given["augmentation"])
    return Recipe(**given)


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
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    help="What to start from: imagenet, none, or a file (.keras, .h5, .pth).",
)
@click.option(
    "--labels-csv", type=click.Path(path_type=Path), metavar="CSV", help="path,label[,split]"
)
@click.option(
    "--val-share",
    type=float,
    default=0.2,
    show_default=True,
    help="Share to judge by, where PHOTOS has no val/.",
)
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
