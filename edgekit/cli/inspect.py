"""`edgekit inspect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import contract_options, force_option, json_option

if TYPE_CHECKING:
    from edgekit.overrides import Overrides
    from edgekit.tflite.arithmetic import Arithmetic
    from edgekit.tflite.inspect import Inspection
    from edgekit.types import TensorInfo

_SAMPLES, _WORST = 32, 10


@click.command(
    epilog="""\b
Examples:
  edgekit inspect model.tflite
  edgekit inspect model.tflite --ops
  edgekit inspect model.tflite --json | jq .arithmetic.kind
  edgekit inspect model.tflite --target coral
  edgekit inspect model.tflite --target android_nnapi@29 --ops
  edgekit inspect model.tflite --quantization --against model.keras --data photos
  edgekit inspect model.tflite --quantization --against model.keras --data photos \\
      --worst 20 --csv layers.csv --plot layers.png --node-data layers.json
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--ops", is_flag=True, help="List every op.")
@click.option(
    "--target",
    metavar="NAME",
    help="Predict which ops run where on a target: coral, pi4, android_gpu, android_nnapi@30, "
    "a .toml file of your own.",
)
@click.option(
    "--multiple-subgraphs",
    is_flag=True,
    help="With --target: as Coral's compiler does with -a, which is experimental.",
)
@click.option(
    "--quantization",
    is_flag=True,
    help="Compare with the float model, layer by layer: where accuracy is lost, and what to try.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="The float model: .keras, .h5, a SavedModel folder or a float32 .tflite.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Photos to run; without them, those beside the float model or procedural images.",
)
@click.option(
    "--labels-csv",
    type=click.Path(path_type=Path),
    metavar="CSV",
    help="Path and label of each photo, to choose evenly over classes.",
)
@click.option("--samples", type=int, help="How many photos to run at most.  [default: 32]")
@click.option("--worst", type=click.IntRange(min=1), help="Show N layers.  [default: 10]")
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Write all that was measured of every layer.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Draw the SQNR along the depth.",
)
@click.option(
    "--node-data",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Write the SQNR of each layer for Model Explorer.",
)
@contract_options
@force_option
@json_option
def command(
    file: Path,
    ops: bool,
    quantization: bool,
    against: Path | None,
    data: Path | None,
    labels_csv: Path | None,
    samples: int | None,
    worst: int | None,
    csv_file: Path | None,
    plot: Path | None,
    node_data: Path | None,
    target: str | None,
    multiple_subgraphs: bool,
    overrides: Overrides,
    force: bool,
    as_json: bool,
) -> None:
    """Show what is in a .tflite FILE, without running it.

    Ops with their parameters and multiply-accumulates (MACs), the quantization and what stayed in
    float, the memory of activations, the preprocessing contract and all other metadata.

    With --quantization the file runs next to the float model it was made from. For each layer: its
    SQNR by itself (on the float model's inputs, with its own rounded weights and output), of its
    median channel, and with the errors of all layers before it; how its range is used; channels
    that are dead or lost; and for the worst layers what to try.

    With --target: for each op whether the target's accelerator takes it, and why not; and estimates
    of the memory, the latency, and of who takes how long where the CPU has some ops left.
    """
    from edgekit.errors import UsageError

    if quantization:
        if target is not None:
            raise UsageError("--target goes without --quantization")
        if against is None:
            raise UsageError(
                "--quantization compares with the float model",
                "Say which: --against model.keras",
            )
        if ops:
            raise UsageError("--ops goes without --quantization")
        from edgekit.cli import inspect_quantization

        inspect_quantization.run(
            inspect_quantization.Request(
                file,
                against,
                data,
                labels_csv,
                _SAMPLES if samples is None else samples,
                worst or _WORST,
                csv_file,
                plot,
                node_data,
                force,
                as_json,
                overrides,
            )
        )
        return
    given = (against, data, labels_csv, samples, worst, csv_file, plot, node_data)
    if any(value is not None for value in given) or force or overrides != type(overrides)():
        raise UsageError(
            "of these options only --ops, --target and --json go without --quantization",
            "To look for what quantization loses: --quantization --against model.keras",
        )
    if target is not None:
        from edgekit.cli import inspect_target

        inspect_target.run(
            file, target, many_partitions=multiple_subgraphs, ops=ops, as_json=as_json
        )
        return
    if multiple_subgraphs:
        raise UsageError("--multiple-subgraphs goes with --target")

    from edgekit import tflite

    inspection = tflite.inspect(file)
    if as_json:
        click.echo(json.dumps(inspection.to_dict(), ensure_ascii=False))
        return
    _render(inspection)
    if ops:
        click.echo(f"\n{_operators(inspection)}")


def _render(inspection: Inspection) -> None:
    from edgekit.report.table import printable, table

    facts = [
        ("size", f"{inspection.file_bytes:,} bytes ({inspection.file_bytes / 2**20:.2f} MiB)"),
        ("SHA-256", inspection.sha256),
        ("made by", inspection.description or "-"),
        ("runtime", _runtime(inspection)),
        *[("input", _tensor(tensor)) for tensor in inspection.inputs],
        *[("output", _tensor(tensor)) for tensor in inspection.outputs],
        ("computes", f"{inspection.arithmetic.kind} ({inspection.arithmetic.reason})"),
        ("parameters", f"{inspection.parameters:,} in {inspection.constant_bytes:,} bytes"),
        ("MACs", _macs(inspection)),
        ("activations", _peak(inspection)),
        ("contract", _contract(inspection)),
    ]
    if inspection.contract is not None:
        facts.append(("labels", _labels(inspection.contract.labels)))
    if inspection.files:
        facts.append(("files", ", ".join(f"{name} ({size:,})" for name, size in inspection.files)))
    facts += [
        ("signature", f"{entry.key}: {_names(entry.inputs)} -> {_names(entry.outputs)}")
        for entry in inspection.signatures
    ]
    if inspection.subgraphs > 1:
        facts.append(("subgraphs", f"{inspection.subgraphs}; shown is the first"))
    click.echo(printable(inspection.path))
    click.echo(table(("", ""), facts, "<<"))
    rows = [
        (
            total.name,
            total.version,
            total.count,
            f"{total.parameters:,}",
            f"{total.constant_bytes:,}",
            "?" if total.name in inspection.macs_unknown else f"{total.macs:,}",
        )
        for total in inspection.totals
    ]
    click.echo(
        f"\n{table(('op', 'version', 'count', 'parameters', 'bytes', 'MACs'), rows, '<>>>>>')}"
    )
    for total in inspection.totals:
        if total.needed_version is not None and total.version < total.needed_version:
            click.echo(
                f"\n{total.name} states version {total.version} and needs {total.needed_version}: "
                "a runtime that is too old loads this file, and may answer rubbish."
            )
    if inspection.arithmetic.islands:
        click.echo(f"\n{_islands(inspection.arithmetic)}")


def _islands(arithmetic: Arithmetic) -> str:
    from edgekit.report.table import table

    rows = [
        (
            ", ".join(f"{n} #{i}" for n, i in zip(island.names, island.operators, strict=True)),
            ", ".join(island.boundary) or "-",
            _some(island.tensors),
        )
        for island in arithmetic.islands
    ]
    return table(("computed in float", "boundary", "tensors"), rows, "<<<")


def _operators(inspection: Inspection) -> str:
    from edgekit.report.table import table

    rows = [
        (
            op.index,
            op.name + (f" + {op.activation}" if op.activation else ""),
            f"{op.output_dtype} {_shape(op.output_shape)}",
            f"{op.parameters:,}",
            "?" if op.macs is None else f"{op.macs:,}",
            _some(op.outputs),
        )
        for op in inspection.operators
    ]
    return table(("#", "op", "output", "parameters", "MACs", "tensor"), rows, "><<>><")


def _tensor(tensor: TensorInfo) -> str:
    text = f"{tensor.dtype} {_shape(tensor.shape)}  {tensor.name}"
    if tensor.scale is not None:
        text += f"  (scale {tensor.scale:.9g}, zero point {tensor.zero_point})"
    return text


def _runtime(inspection: Inspection) -> str:
    from edgekit.tflite import versions

    needs, stated = inspection.needs, inspection.min_runtime_version
    if needs is None or needs.since is None:
        return (
            f"TensorFlow Lite {stated} or later" if stated else "the oldest that works is not known"
        )
    text = str(needs)
    if stated is None or versions.comparable(stated)[:2] == versions.comparable(needs.since)[:2]:
        return text
    return f"{text}; the file states {stated}"


def _macs(inspection: Inspection) -> str:
    text = f"{inspection.macs:,}"
    if inspection.macs_unknown:
        text += f", without {', '.join(inspection.macs_unknown)}"
    return text


def _peak(inspection: Inspection) -> str:
    if any(-1 in tensor.shape[1:] for tensor in inspection.inputs):
        return "not known: it takes pictures of any size"
    text = f"{inspection.peak_activation_bytes / 1024:,.0f} KiB at the peak"
    if inspection.peak_operator is None:
        return text
    operator = inspection.operators[inspection.peak_operator]
    return f"{text} (at {operator.name} #{operator.index}), no op writing over its input"


def _contract(inspection: Inspection) -> str:
    contract = inspection.contract
    if contract is None:
        return "none: say how pictures are prepared with --preprocess"
    return (
        f"{contract.height} x {contract.width}, {contract.normalization_name}, "
        f"{contract.resize_rule} ({contract.interpolation}), gives {contract.output}; "
        f"from {inspection.contract_source}"
    )


def _labels(labels: tuple[str, ...] | None) -> str:
    if labels is None:
        return "none"
    return f"{len(labels)}: {_some(labels)}"


def _names(tensors: dict[str, str]) -> str:
    return ", ".join(tensors) or "-"


def _some(names: tuple[str, ...]) -> str:
    """The first few names."""
    shown = "; ".join(names[:3])
    return shown + (f"; and {len(names) - 3} more" if len(names) > 3 else "")


def _shape(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
