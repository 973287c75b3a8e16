"""`edgekit convert`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import contract_options, force_option, json_option
from edgekit.cli.progress import ProgressBars
from edgekit.cli.promise import Asked, promise_options, render_rungs, showing_rungs
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.converters import Conversion
    from edgekit.overrides import Overrides
    from edgekit.targets import Placement, Target

_WORST_LAYERS = 5
_IO_TYPES = ("int8", "uint8", "float32")


class _Size(click.ParamType):
    """`224` or `224x192` (height x width)."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        parts = str(value).lower().split("x")
        if len(parts) not in (1, 2) or not all(p.isdecimal() and 0 < int(p) < 8193 for p in parts):
            self.fail(f"{value!r} is no size; write 224 or 224x192 (height x width)", param, ctx)
        return int(parts[0]), int(parts[-1])


@click.command(
    epilog="""\b
Examples:
  edgekit convert --int8 model.keras --data photos/
  edgekit convert --int8 model.h5 --data photos/ --preprocess tf -o model_int8.tflite
  edgekit convert --float16 saved_model/ -o model.tflite --preprocess unit
  edgekit convert --int8 model.keras --data photos/ --layers
  edgekit convert --int8 model.keras --data photos/ --target coral
  edgekit convert --int8 model.keras --data photos/ --runtime 2.14
  edgekit convert --int8 model.keras --data photos/ --for mediapipe
  edgekit convert --int8 model.keras --data photos/ --max-drop 1
  edgekit convert --int8 model.keras --data photos/ --min-agreement 97 --rungs rounding

\b
Exit codes: 0 done; 1 the file would not be what was asked for, or a promise is not
kept or can't be decided (nothing is written);
2 usage; 3 a model or data that can't be read; 4 a runtime that failed; 5 something
is not installed.
"""
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--int8",
    "quantization",
    flag_value="int8",
    default="int8",
    help="int8 weights, activations, input and output (the default).",
)
@click.option(
    "--int16x8", "quantization", flag_value="int16x8", help="int8 weights, int16 activations."
)
@click.option("--float16", "quantization", flag_value="float16", help="float16 weights.")
@click.option(
    "--dynamic",
    "quantization",
    flag_value="dynamic",
    help="int8 weights, activations quantized on the fly.",
)
@click.option("--float32", "quantization", flag_value="float32", help="No quantization.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The .tflite file to write.  [default: the model's name]",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Photos to calibrate on, at any depth: about 200, like those the device sees.",
)
@click.option(
    "--labels-csv",
    type=click.Path(path_type=Path),
    metavar="CSV",
    help="Path and label of each photo, to choose evenly over classes.",
)
@click.option(
    "--samples",
    type=int,
    default=200,
    show_default=True,
    help="How many photos to calibrate on, chosen evenly over classes.",
)
@contract_options
@click.option(
    "--input-type",
    type=click.Choice(_IO_TYPES),
    help="Type of the model's input.  [default: int8 with --int8]",
)
@click.option("--output-type", type=click.Choice(_IO_TYPES), help="Likewise for its output.")
@click.option(
    "--input-size",
    type=_Size(),
    metavar="SIZE",
    help="Input size, for a model that takes any: 224 or 224x192 (height x width).",
)
@click.option(
    "--engine",
    type=click.Choice(["litert", "tflite"]),
    default="litert",
    show_default=True,
    help="litert, or TensorFlow's own quantizer to compare with.",
)
@click.option(
    "--bias-correction/--no-bias-correction",
    default=True,
    show_default=True,
    help="Give back the mean that rounding the weights takes away.",
)
@click.option(
    "--range-percentile",
    type=float,
    default=95.0,
    show_default=True,
    metavar="P",
    help="Activation ranges hold what P percent of the photos stay within; 100: plain extremes.",
)
@click.option(
    "--per-tensor",
    is_flag=True,
    help="One scale for all weights of a layer, which older accelerators need.",
)
@promise_options
@click.option(
    "--layers",
    is_flag=True,
    help=f"Also show the {_WORST_LAYERS} layers with the lowest SQNR.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Of the procedural images that stand in for photos.",
)
@click.option(
    "--import",
    "modules",
    multiple=True,
    metavar="MODULE",
    help="Python module that registers custom Keras classes. Its code runs.",
)
@click.option(
    "--embed-golden",
    "golden",
    flag_value="inside",
    help="Keep the golden vectors inside the .tflite, not beside it.",
)
@click.option("--no-golden", "golden", flag_value="none", help="Keep none.")
@click.option(
    "--target",
    "wanted",
    metavar="NAME",
    help="Make it for where it is to run, as far as that can be done: coral, pi4, android_gpu, ...",
)
@click.option(
    "--runtime",
    metavar="VERSION",
    help="Write what this TensorFlow Lite computes right: 2.5, 2.14, ...  [default: the target's]",
)
@click.option(
    "--for",
    "client",
    type=click.Choice(["mediapipe", "task_library", "browser"]),
    help="Make it for a program that wants uint8 or float, and probabilities (by a softmax).",
)
@click.option(
    "--logits",
    is_flag=True,
    help="Cut off a softmax or argmax at the end: it is done on the CPU, in float.",
)
@force_option
@json_option
def command(
    model: Path,
    quantization: str,
    output: Path | None,
    data: Path | None,
    labels_csv: Path | None,
    samples: int,
    overrides: Overrides,
    input_type: str | None,
    output_type: str | None,
    input_size: tuple[int, int] | None,
    engine: str,
    bias_correction: bool,
    range_percentile: float,
    per_tensor: bool,
    promise: Asked,
    layers: bool,
    seed: int,
    modules: tuple[str, ...],
    golden: str | None,
    wanted: str | None,
    runtime: str | None,
    client: str | None,
    logits: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Convert MODEL (.keras, .h5, SavedModel folder, float .tflite) to TFLite.

    The file that is written has been run next to the float model on the calibration images,
    carries its preprocessing contract and labels, and has a passport beside it
    (MODEL.tflite.json). So have the golden vectors (MODEL.golden.zip): a few of the photos, made
    small, with the exact input and output for each, which `edgekit verify` replays on a device.

    With --max-drop or --min-agreement it is written only if it keeps that: the photos are split
    into some to calibrate on and others to judge by, and better and dearer ways to quantize are
    tried until the judging photos say that it is kept.

    With --target ops that the target's accelerator doesn't take are written with others where that
    gives the same answers in float: hard-swish, the mean of a plane, a softmax or argmax at the
    end. It says what was rewritten, which ops the accelerator will take, and why not the others; a
    form that the target can't use is refused before any work is done.
    """
    from edgekit.converters import convert, make_options

    target = None if wanted is None else _target(wanted, quantization, input_type, output_type)
    options = make_options(
        quantization,
        engine,
        input_type,
        output_type,
        samples,
        seed,
        _WORST_LAYERS if layers else 0,
        bias_correction,
        range_percentile,
        "tensor" if per_tensor else "channel",
        promise.mixed,
        wanted,
        logits,
        runtime,
        client,
    )
    promised = promise.promised()
    with showing_rungs(as_json), ProgressBars(quiet=as_json) as bars:
        conversion = convert(
            model,
            output,
            options=options,
            data=data,
            labels_csv=labels_csv,
            overrides=overrides,
            input_size=input_size,
            modules=modules,
            force=force,
            observer=bars,
            promised=promised,
            golden_vectors=golden or "beside",
        )
    if as_json:
        document = json.loads(conversion.passport.read_text("utf-8"))
        document["written"] = str(conversion.output)
        if target is not None:
            document["placement"] = _placement(conversion, target).to_dict()
        click.echo(json.dumps(document, indent=2))
        return
    _render(conversion, data)
    if target is not None:
        from edgekit.cli import inspect_target

        click.echo(f"\nOn {target.title}:")
        inspect_target.render(_placement(conversion, target))


def _target(
    wanted: str, quantization: str, input_type: str | None, output_type: str | None
) -> Target:
    """The target, where it can use what was asked for."""
    from edgekit import targets

    target = targets.find(wanted)
    if target.quantization not in ("any", quantization):
        raise UsageError(
            f"{target.title} takes {target.quantization}, not {quantization}",
            f"Convert with --{target.quantization}.",
        )
    for option, dtype in (("--input-type", input_type), ("--output-type", output_type)):
        if dtype is not None and dtype not in target.io_types:
            raise UsageError(f"{option} {dtype}: {target.title} takes {', '.join(target.io_types)}")
    return target


def _placement(conversion: Conversion, target: Target) -> Placement:
    from edgekit import targets, tflite

    data = conversion.output.read_bytes()
    return targets.place(tflite.read(data, str(conversion.output)), target)


def _render(conversion: Conversion, data: Path | None) -> None:
    """The summary: what was used, what came out, what to know, what to do next."""
    contract = conversion.contract
    labels = f"{len(contract.labels)} labels" if contract.labels else "no labels"
    click.echo(f"Model        {conversion.source} ({conversion.framework})")
    click.echo(
        f"Contract     {contract.height} x {contract.width} {contract.colour_order}, "
        f"{contract.normalization_name}, resize {contract.resize_rule}, {contract.output}, {labels}"
    )
    click.echo(f"             {conversion.contract_source}")
    if conversion.options.input_type == "int8" and contract.int8_is_pixel_minus_128:
        click.echo("             int8 input = pixel - 128: no arithmetic on the device")
    if conversion.calibration_source:
        click.echo(f"Calibration  {conversion.calibration_source}")
    if conversion.climb is not None:
        render_rungs(conversion.climb)
    if conversion.parity is not None:
        click.echo(f"Parity       {conversion.parity}")
    quality = conversion.quality
    if quality is not None:
        click.echo(
            f"Agreement    {quality.agreement:.1%} same top-1 as float on {quality.images} "
            f"calibration images, SQNR {quality.sqnr_db:.1f} dB"
        )
    for layer in conversion.worst_layers:
        click.echo(f"             {layer.sqnr_db:5.1f} dB  {layer.name}")
    click.echo(
        f"Size         {conversion.output_bytes / 2**20:.2f} MiB "
        f"({conversion.float_bytes / 2**20:.2f} MiB in float32)"
    )
    if conversion.needs is not None:
        click.echo(f"Runs on      {conversion.needs}")
    stages = ", ".join(f"{name} {s:.1f}" for name, s in conversion.seconds.items() if s >= 0.05)
    click.echo(f"Time         {sum(conversion.seconds.values()):.1f} s ({stages})")
    for warning in conversion.warnings:
        click.echo(f"Warning: {warning}", err=True)
    written = (conversion.output, conversion.passport, conversion.golden)
    click.echo(f"\nWritten: {', '.join(str(path) for path in written if path is not None)}")
    photos = data if data is not None else "PHOTOS"
    click.echo(f"Next: edgekit evaluate {conversion.source} {conversion.output} --data {photos}")
