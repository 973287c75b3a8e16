"""`edgekit models list` and `edgekit models create`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

import click


@click.group()
def command() -> None:
    """List the model zoo, or create a model from it."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_models(as_json: bool) -> None:
    """List the models that edgekit can create."""
    from edgekit.report.table import table
    from edgekit.training.zoo import CATALOGUE

    if as_json:
        click.echo(json.dumps([asdict(entry) for entry in CATALOGUE.values()], indent=2))
        return
    rows = [
        (
            entry.name,
            f"{entry.size} x {entry.size}",
            f"{entry.parameters / 1e6:.2f} M",
            f"{entry.macs / 1e6:,.0f} M",
            f"ImageNet ({entry.weights_package})" if entry.weights_package else "none",
        )
        for entry in CATALOGUE.values()
    ]
    click.echo(table(("model", "input", "parameters", "MACs", "weights"), rows))
    click.echo("\nNext: edgekit models create efficientnet_lite0 -o m.keras")


@command.command(
    epilog="""\b
Examples:
  edgekit models create efficientnet_lite0 -o m.keras
  edgekit models create efficientnet_lite3 --weights none --classes 6 -o m.keras
"""
)
@click.argument("name")
@click.option("-o", "--output", required=True, type=click.Path(), help="The .keras file to write.")
@click.option(
    "--weights",
    type=click.Choice(["imagenet", "none"]),
    default="imagenet",
    show_default=True,
    help="Weights to start from.",
)
@click.option("--classes", type=int, default=1000, show_default=True, help="Number of outputs.")
@click.option("--size", type=int, help="Input height and width in pixels.  [default: the paper's]")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def create(
    name: str,
    output: str,
    weights: str,
    classes: int,
    size: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Create the model NAME as a .keras file that carries its preprocessing contract."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from edgekit.training import zoo

    path = zoo.create(
        name,
        output,
        weights=None if weights == "none" else weights,
        classes=classes,
        size=size,
        force=force,
    )
    size_bytes = path.stat().st_size
    if as_json:
        click.echo(json.dumps({"output": str(path), "bytes": size_bytes}))
        return
    weights_words = "ImageNet weights" if weights != "none" else "random weights"
    click.echo(f"{path}: {name}, {classes} classes, {weights_words}, {size_bytes / 2**20:.1f} MiB")
    click.echo(f"Next: edgekit convert --int8 {path} --data PHOTOS")
