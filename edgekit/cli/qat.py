"""`edgekit qat`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import contract_options, force_option, json_option
from edgekit.cli.progress import ProgressBars
from edgekit.cli.values import DURATION
from edgekit.errors import EXIT_INTERRUPTED, UsageError

if TYPE_CHECKING:
    from edgekit.training.hooks import Hooks
    from edgekit.types import EpochRow

#: Options that are fields of the recipe, whose defaults live there: those not given stay there.
_RECIPE = (
    click.option("--epochs", type=int, help="Epochs of the training pictures.  [default: 10]"),
    click.option("--steps", type=int, help="So many steps in all, instead of epochs."),
    click.option("--batch", type=int, help="Pictures in a step.  [default: 32]"),
    click.option("--rate", type=float, help="Peak learning rate.  [default: 0.0001]"),
    click.option("--warmup", type=float, help="Epochs of warm-up.  [default: 0.5]"),
    click.option("--weight-decay", type=float, help="Decoupled, of kernels.  [default: 0]"),
    click.option("--label-smoothing", type=float, help="[default: 0]"),
    click.option(
        "--distillation",
        type=float,
        help="Share of the float model's answers in the loss; 0: labels alone.  [default: 0.7]",
    ),
    click.option("--temperature", type=float, help="Of those answers.  [default: 2]"),
    click.option("--learned-ranges", is_flag=True, default=None, help="Train the ranges too."),
    click.option("--average", type=float, help="Moving average of the weights.  [default: 0.98]"),
    click.option("--patience", type=int, help="Epochs without a better one.  [default: 4]"),
    click.option(
        "--balance",
        type=click.Choice(["none", "sampling"]),
        help="Draw each class equally often.  [default: none]",
    ),
    click.option(
        "--augmentation",
        metavar="TEXT",
        help="`default` or `none`, then changes, as for edgekit train.",
    ),
    click.option("--seed", type=int, help="Of order, augmentation and split.  [default: 0]"),
)


def _recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_RECIPE):
        command = option(command)
    return command


@click.command(
    epilog="""\b
Examples:
  edgekit qat m.keras --data photos/ -o q.keras
  edgekit qat m.keras --data photos/ --time-budget 10m -o q.keras
  edgekit qat m.keras --data photos/ --learned-ranges --epochs 20 -o q.keras
  edgekit qat m.keras --data photos/ -o q.keras --resume
  edgekit qat m.keras --data photos/ --engine tfmot -o q.tflite

\b
PHOTOS has a folder for each class of the model, or train/, val/ and perhaps test/ with
such folders; with --labels-csv, the file says which picture is what.

\b
Exit codes: 0 done; 1 a layer would stay in float; 2 usage; 3 a model or photos that
can't be used; 4 the training failed (the best so far is kept); 5 something is not
installed; 130 interrupted (likewise).
"""
)
@click.argument("source", metavar="MODEL", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    metavar="PHOTOS",
    help="Labelled photos to train on and to judge by.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The .keras to write; with --engine tfmot, the .tflite.",
)
@click.option(
    "--engine",
    type=click.Choice(["keras", "tfmot"]),
    default="keras",
    show_default=True,
    help="edgekit's own, or tensorflow-model-optimization, to compare with.",
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
@_recipe_options
@contract_options
@click.option("--resume", is_flag=True, help="Go on with a training that was stopped.")
@force_option
@json_option
def command(as_json: bool, engine: str, **values: Any) -> int:
    """Train MODEL (.keras, .h5, SavedModel folder, float .tflite) to be as good in int8.

    What is trained is the graph that is deployed: batch norm is folded, weights and activations are
    rounded as the int8 file rounds them, and the float model's answers are learned from. The best
    epoch is kept. edgekit convert --int8 of what is written needs no data.

    --engine tfmot trains a Keras model with tensorflow-model-optimization and writes the int8 file;
    it takes fewer models, and of the options on learning --epochs, --batch, --rate, --warmup,
    --weight-decay, --label-smoothing and --seed.
    """
    return _with_tfmot(as_json, values) if engine == "tfmot" else _with_keras(as_json, values)


def _with_keras(as_json: bool, values: dict[str, Any]) -> int:
    from edgekit.converters.qat.job import Job, quantization_aware_train
    from edgekit.converters.qat.recipe import Recipe

    recipe = Recipe(**_given(values))
    job = Job(budget=values.pop("time_budget"), **values)
    with ProgressBars(quiet=as_json) as bars:
        try:
            result = quantization_aware_train(job, recipe, _hooks(bars))
        except KeyboardInterrupt:
            bars.say("\nInterrupted, and nothing was written; --resume goes on.")
            return EXIT_INTERRUPTED
    for warning in result.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if as_json:
        document = {
            "output": str(result.output),
            "folder": str(result.folder),
            "interrupted": result.interrupted,
            **result.metrics,
        }
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(str(result))
    if result.interrupted:
        click.echo(
            f"\nInterrupted. The best so far is in {result.output}; --resume goes on.", err=True
        )
        return EXIT_INTERRUPTED
    return 0


def _with_tfmot(as_json: bool, values: dict[str, Any]) -> int:
    from edgekit.converters.tfmot.job import Job, train_files
    from edgekit.converters.tfmot.recipe import Recipe

    given = _given(values)
    known = {field.name for field in dataclasses.fields(Recipe)}
    refused = [name for name in given if name not in known]
    refused += ["time_budget"] if values.pop("time_budget") is not None else []
    refused += ["resume"] if values.pop("resume") else []
    if refused:
        raise UsageError(
            f"--{refused[0].replace('_', '-')} is none of --engine tfmot's options",
            "Leave it out, or train with edgekit's own engine.",
        )
    with ProgressBars(quiet=as_json) as bars:
        trained = train_files(Job(**values), Recipe(**given), _hooks(bars))
    click.echo(json.dumps(trained.to_dict(), indent=2) if as_json else str(trained))
    return 0


def _hooks(bars: ProgressBars) -> Hooks:
    from edgekit.training.hooks import Hooks

    return Hooks(progress=bars, on_epoch=lambda row: bars.say(_line(row)), say=bars.say)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """The options on learning that were given; takes all of them out of `values`."""
    from edgekit.converters.qat.recipe import Recipe
    from edgekit.training.feeding import Augmentation

    names = [field.name for field in dataclasses.fields(Recipe)]
    taken = {name: values.pop(name) for name in names if name in values}
    given = {name: value for name, value in taken.items() if value is not None}
    if "augmentation" in given:
        given["augmentation"] = Augmentation.parse(given["augmentation"])
    return given


def _line(row: EpochRow) -> str:
    return (
        f"epoch {row.epoch:3}: loss {row.loss:.4f}, accuracy {100 * row.accuracy:.1f} %, int8 val "
        f"loss {row.val_loss:.4f}, int8 val accuracy {100 * row.val_accuracy:.2f} %, "
        f"{row.seconds:.1f} s"
    )
