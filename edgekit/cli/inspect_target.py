"""`edgekit inspect --target`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgekit.targets import Estimate, Latency, Memory, Placement, Split
    from edgekit.targets.own import Measured

_MOST_ESTIMATES = 2


def run(file: Path, wanted: str, *, many_partitions: bool, ops: bool, as_json: bool) -> None:
    """Shows where the ops of a file will run on a target."""
    from edgekit import targets, tflite
    from edgekit.errors import UnreadableError

    target = targets.find(wanted)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UnreadableError(f"{file}: {error.strerror or error}") from error
    model = tflite.read(data, str(file))
    placement = targets.place(model, target, many_partitions=many_partitions)
    # What a compiled or custom op needs, the file doesn't say.
    custom = any(operator.custom for operator in model.main.operators)
    memory = None if custom else targets.memory_of(model, placement, target)
    # Estimates are of models that one processor takes whole.
    whole = placement.accelerator is None or not placement.left
    work = targets.work_if_known(model) if whole else None
    found = [] if work is None else targets.estimates(work, target)
    best = None if work is None else targets.latency_of(work, target)
    split = targets.split_of(model, placement, target)
    own = targets.own.find(hashlib.sha256(data).hexdigest(), target)
    if as_json:
        document = {"file": str(file), **placement.to_dict()}
        document["measured"] = [asdict(measured) for measured in own]
        document["estimates"] = [estimate.to_dict() for estimate in found]
        document["latency"] = None if best is None else asdict(best)
        document["split"] = None if split is None else split.to_dict()
        document["memory"] = None if memory is None else memory.to_dict()
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    click.echo(f"{file} on {target.title}")
    render(placement)
    _render_memory(memory)
    if own:
        _render_measured(own)
    else:
        _render_estimates(placement, found, best)
    if split is not None:
        _render_split(placement, split)
    if ops:
        click.echo(f"\n{_every(placement)}")


def render(placement: Placement) -> None:
    """What the accelerator takes, what stays on the CPU and why, and what to try."""
    if placement.accelerator is None:
        click.echo(f"All {len(placement.ops)} ops run on the CPU: there is no accelerator.")
    else:
        _render_accelerated(placement)
    for remark in placement.remarks:
        click.echo(f"Note: {remark}")


def _render_accelerated(placement: Placement) -> None:
    from edgekit.report.table import table

    if placement.compiled is not None:
        click.echo(
            f"{placement.accelerator}: the file is compiled; {placement.compiled} holds what the "
            f"compiler took, and {len(placement.left)} other op(s) run on the CPU."
        )
        return
    taken = len(placement.ops) - len(placement.left)
    pieces = f" in {placement.partitions} piece(s)" if placement.partitions > 1 else ""
    click.echo(
        f"{placement.accelerator}: {taken} of {len(placement.ops)} ops{pieces}, "
        f"{placement.mac_share:.1%} of the MACs, {placement.parameter_bytes / (1 << 20):.2f} MiB "
        "of parameters"
    )
    if placement.on_chip_bytes is not None and taken:
        streamed = placement.streamed_bytes
        click.echo(
            "All parameters fit on the chip."
            if not streamed
            else f"{streamed / (1 << 20):.2f} MiB of them don't fit on the chip and are sent for "
            "every inference."
        )
    causes = placement.causes()
    if causes:
        rows = [(f"{count} x {op}", reason) for op, reason, _, count in causes]
        click.echo(f"\n{table(('stays on the CPU', 'because it'), rows, '<<')}")
        following = len(placement.left) - sum(count for *_, count in causes)
        if following:
            click.echo(f"and {following} op(s) that would be taken, because they come after.")
        for advice in dict.fromkeys(advice for *_, advice, _ in causes if advice):
            click.echo(f"Try: {advice}")
    click.echo(f"\nA prediction, by {placement.source}")


def _render_memory(memory: Memory | None) -> None:
    if memory is None:
        click.echo("The memory isn't known: it has a custom op, such as a compiled part.")
        return
    parts = [
        f"activations {_mib(memory.activation_bytes)} at the peak",
        f"parameters {_mib(memory.parameter_bytes)}",
    ]
    if memory.quantization_bytes:
        parts.append(f"scales and zero points {_mib(memory.quantization_bytes)}")
    if memory.packed_bytes:
        parts.append(f"XNNPACK's copy of the parameters {_mib(memory.packed_bytes)}")
    if memory.indirection_bytes:
        parts.append(f"XNNPACK's indirection buffers {_mib(memory.indirection_bytes)}")
    there = memory.available_bytes
    amount = "not known how much there is" if there is None else f"of {_mib(there)}"
    click.echo(
        f"Memory: about {_mib(memory.needed_bytes)} ({', '.join(parts)}), {amount}; an estimate, "
        "without the runtime and the system"
    )
    if memory.fits is False:
        click.echo("Warning: it can't fit: the model alone needs more memory than there is.")


def _mib(size: int) -> str:
    """Three digits, and whole numbers in full."""
    mib = size / (1 << 20)
    if mib < 0.001:
        return "< 0.001 MiB"
    return f"{mib:.0f} MiB" if mib >= 100 else f"{mib:.3g} MiB"


def _render_measured(own: list[Measured]) -> None:
    """The latest of each number of threads."""
    for one in {measured.threads: measured for measured in reversed(own)}.values():
        threads = f"{one.threads} thread{'s' if one.threads > 1 else ''}"
        click.echo(
            f"Measured by you: {one.p50_ms:.3g} ms (p50 of {one.samples}) on "
            f"{one.machine or one.architecture}, {one.delegate}, {threads}, {one.runtime}, "
            f"{one.created[:10]}"
        )


def _render_estimates(placement: Placement, found: list[Estimate], best: Latency | None) -> None:
    """Latencies; none where a part of the model stays on a CPU that they know nothing of."""
    if placement.accelerator is not None and placement.left:
        click.echo("No estimate of the latency: not all of it runs on the accelerator.")
        return
    if best is not None and best.kind != "published":
        _render_own(best)
    elif any(op.macs is None for op in placement.ops):
        click.echo("No estimate of the latency: what some of its ops cost isn't known.")
    elif not found:
        click.echo("No estimate of the latency: too little is published of such models there.")
    for estimate in found[:_MOST_ESTIMATES]:
        rate = estimate.rate
        click.echo(
            f"Estimate: {estimate.ms:.3g} ms ({estimate.low:.3g} to {estimate.high:.3g} in 80 % of "
            f"cases) on {rate.setting}; from {rate.rows} published latencies, half of them off by "
            f"more than {rate.median_error:.0%} where their family was left out"
        )


def _render_split(placement: Placement, split: Split) -> None:
    """The share of time on each processor."""
    if split.unknown is not None:
        click.echo(f"The share of time on each processor isn't known: {split.unknown}.")
        return
    for share in split.shares[:_MOST_ESTIMATES]:
        click.echo(
            f"Estimate: {placement.accelerator} {_percent(share.of_accelerator)} of the time "
            f"({share.accelerator.ms:.3g} ms on {share.accelerator.rate.setting}), "
            f"CPU {_percent(1 - share.of_accelerator)} ({share.cpu.ms:.3g} ms on "
            f"{share.cpu.rate.setting}); {placement.accelerator} {_percent(share.low)} to "
            f"{_percent(share.high)} where both rates are off as far as in 80 % of cases"
        )
    click.echo("Not counted there: moving tensors between the two.")


def _percent(share: float) -> str:
    """Never 0 % of what is done at all, nor all of what isn't."""
    if share < 0.01:
        return "under 1%"
    return f"{share:.0%}" if share <= 0.99 else "over 99%"


def _render_own(best: Latency) -> None:
    """What follows from measurements of other files of the user's."""
    if best.kind == "measured":
        click.echo(
            f"Measured by you, of another model that does the same: {best.ms:.3g} ms on "
            f"{best.setting}"
        )
        return
    whose = "corrected" if best.kind == "corrected" else "with the shape of a Raspberry Pi 4's"
    click.echo(
        f"Estimate, {whose}: {best.ms:.3g} ms ({best.low:.3g} to {best.high:.3g} in 80 % of "
        f"cases); {best.own} model(s) that you measured took {best.factor:.2f} times what is "
        f"estimated for {best.setting}"
    )


def _every(placement: Placement) -> str:
    from edgekit.report.table import table

    rows = [
        (
            op.index,
            op.op,
            placement.accelerator if op.accelerated else "CPU",
            "?" if op.macs is None else f"{op.macs:,}",
            op.reason or "",
        )
        for op in placement.ops
    ]
    return table(("#", "op", "runs on", "MACs", "because it"), rows, "><<><")
