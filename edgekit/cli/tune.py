"""`edgekit tune`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edgekit.cli.options import json_option
from edgekit.cli.progress import ProgressBars
from edgekit.cli.training_options import recipe_from, recipe_options, source_options
from edgekit.cli.values import DURATION
from edgekit.errors import EXIT_INTERRUPTED


@click.command(
    epilog="""\b
Examples:
  edgekit tune photos/ --time-budget 1h
  edgekit tune photos/ --trials 30 -o photos.tune.db
  edgekit tune photos/ --model efficientnet_lite0 --model mobilenet_v2 --trials 30
  edgekit tune photos/ --storage mysql+pymysql://me@host/tuning --study photos

\b
The same command goes on with a search that was stopped, and several may run at once on one
study: on one machine with -o, on many with --storage. What you give of a recipe (--batch 16) is
kept in every trial; the rest is searched.

\b
Exit codes: 0 done; 2 usage; 3 photos, weights or a study that can't be used; 4 no trial was
finished; 5 something is not installed; 130 interrupted (the best so far is printed).
"""
)
@click.argument("data", metavar="PHOTOS", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The SQLite file of the study.  [default: PHOTOS.tune.db, here]",
)
@click.option("--storage", metavar="URL", help="A database that Optuna can use, instead of a file.")
@click.option("--study", metavar="NAME", help="The study in it.  [default: the name of PHOTOS]")
@click.option("--trials", type=int, help="How many in all, over all runs and processes.")
@click.option(
    "--time-budget",
    type=DURATION,
    help="For this run: 90s, 10m, 1h.  [default: 1h, or none with --trials]",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    default=("efficientnet_lite0",),
    show_default=True,
    help="Of the zoo; give it several times to have the model searched too.",
)
@source_options
@recipe_options
@json_option
def command(
    as_json: bool, weights: str, time_budget: float | None, models: tuple[str, ...], **values: Any
) -> int:
    """Search for better hyper-parameters on PHOTOS, with Optuna.

    The first trial is the default recipe of `edgekit train`, so the best is never worse. Trials
    that fall behind are ended early. Prints the best, which parameters mattered, and the
    `edgekit train` line that trains it again.
    """
    from edgekit.training.hooks import Hooks
    from edgekit.training.tuning import Request, tune

    fixed = {name for name, value in values.items() if value is not None}
    recipe = recipe_from(values)
    start: str | Path | None = weights
    if weights != "imagenet":
        start = None if weights == "none" else Path(weights)
    request = Request(models=models, weights=start, budget=time_budget, **values)
    with ProgressBars(quiet=as_json) as bars:
        tuning = tune(request, recipe, fixed, Hooks(progress=bars, say=bars.say))
    click.echo(json.dumps(tuning.to_dict(), indent=2) if as_json else str(tuning))
    return EXIT_INTERRUPTED if tuning.interrupted else 0
