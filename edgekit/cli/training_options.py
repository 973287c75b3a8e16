"""Options that `edgekit train` and `edgekit tune` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

#: What is learned from, and where it starts.
_SOURCE = (
    click.option(
        "--weights",
        default="imagenet",
        show_default=True,
        help="What to start from: imagenet, none, or a file (.keras, .h5, .pth).",
    ),
    click.option(
        "--labels-csv", type=click.Path(path_type=Path), metavar="CSV", help="path,label[,split]"
    ),
    click.option(
        "--val-share",
        type=float,
        default=0.2,
        show_default=True,
        help="Share to judge by, where PHOTOS has no val/.",
    ),
)

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
    click.option(
        "--feature-epochs", type=int, help="Epochs with the backbone frozen.  [default: 30]"
    ),
    click.option("--feature-rate", type=float, help="Learning rate of those.  [default: 0.003]"),
    click.option(
        "--views", type=int, help="Augmented variants whose features are kept.  [default: 4]"
    ),
    click.option(
        "--pull", type=float, help="Pull of the classifier to its start.  [default: 0.03]"
    ),
    click.option("--seed", type=int, help="Of order, augmentation and split.  [default: 0]"),
)


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of `_SOURCE`."""
    for option in reversed(_SOURCE):
        command = option(command)
    return command


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
