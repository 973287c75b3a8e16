"""A target and its accelerator, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: What numbers a target may have, each with the one unit it is given in. Peaks are of the
#: accelerator where there is one, else of all cores of the CPU; a multiply-accumulate is two
#: operations.
UNITS = {
    "cores": "cores",
    "clock": "GHz",
    "memory": "MiB",
    "peak_int8": "TOPS",
    "peak_float": "GFLOPS",
    "on_chip_memory": "MiB",
}


#: What can be made of an op that an accelerator doesn't take (`edgekit.converters.mapping`).
REWRITES = ("spell_out", "pool", "split", "cut_off")

#: What a measurement is known by; see `Target.measured_on`.
KNOWN_BY = ("machine", "architecture", "os", "delegate")


@dataclass(frozen=True)
class Number:
    """A number that somebody published.

    Attributes:
        value: The number.
        unit: One of `UNITS`.
        source: Where it is said: an address, or a document.
    """

    value: float
    unit: str
    source: str


@dataclass(frozen=True)
class Condition:
    """When an accelerator takes an op.

    Attributes:
        rule: Its name in `edgekit.targets.conditions`.
        values: What the rule needs.
    """

    rule: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Accelerator:
    """What an accelerator takes.

    Attributes:
        name: `edgetpu`, `gpu`, `nnapi`.
        title: For people.
        source: Where its ops and conditions are documented.
        dtypes: Types of computed tensors that it works on.
        one_partition: Whether its compiler makes one piece: the first turn that it can have, where
            TFLite cuts the graph into turns of what it takes and what it doesn't.
        most_inner_dimensions: How many dimensions of a tensor may be larger than 1, the innermost
            ones; None for any.
        compiled: The custom op into which its compiler puts what it takes, or None.
        unlisted: What is to be said of an op that isn't among them.
        ops: Op -> all conditions that must hold.
        advice: Op or rule -> what to change.
        rewrites: Op -> the one of `REWRITES` that `edgekit convert --target` makes of it where it
            isn't taken.
    """

    name: str
    title: str
    source: str
    dtypes: frozenset[str]
    one_partition: bool
    most_inner_dimensions: int | None
    compiled: str | None
    unlisted: str
    ops: Mapping[str, tuple[Condition, ...]]
    advice: Mapping[str, str]
    rewrites: Mapping[str, str]


@dataclass(frozen=True)
class Target:
    """Where a model is to run.

    Attributes:
        name: `pi4`, `coral_usb`, ...; with a level `android_nnapi@30`.
        title: For people.
        aliases: Other names.
        processor: The CPU, in words.
        numbers: What is known of it, by the keys of `UNITS`.
        quantization: What a model should be: `int8`, or `any`.
        io_types: Types that input and output may have.
        accelerator: What takes ops from the CPU, or None.
        level: The Android API level, or None.
        measured_on: How to know a measurement of such a target: what its `machine`, `architecture`,
            `os` or `delegate` (`cpu`, `edgetpu`, ...) contain.
        runtime: The TensorFlow Lite that is installed there, such as `2.5`, where that is known; or
            None.
        cpu_like: Settings of `fitted/rates.toml`: one of the accelerator -> that of the CPU beside
            it, for the ops that the accelerator leaves.
    """

    name: str
    title: str
    aliases: tuple[str, ...]
    processor: str
    numbers: Mapping[str, Number]
    quantization: str
    io_types: tuple[str, ...]
    accelerator: Accelerator | None
    level: int | None
    measured_on: Mapping[str, str]
    runtime: str | None
    cpu_like: Mapping[str, str]

    @property
    def on_chip_bytes(self) -> int | None:
        """What of the parameters stays on the chip; None where nothing is streamed."""
        memory = self.numbers.get("on_chip_memory")
        return None if memory is None else int(memory.value * (1 << 20))
