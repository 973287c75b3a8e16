"""For the tests of `edgekit doctor`: facts of a machine where all is well, and what can be changed.

What is shown of a Raspberry Pi, a phone or an Edge TPU is what the rules make of facts written by
hand or of a made-up /sys; none was there.
"""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from edgekit.devices import DeviceFacts
from edgekit.doctor import EVERY, PURPOSES, Finding
from edgekit.doctor.examine import judge
from edgekit.doctor.facts import (
    Desk,
    Facts,
    Look,
    Need,
    Node,
    Packages,
    RemotePython,
    RuntimeTrial,
    Tool,
    Trial,
)

Run = Callable[..., subprocess.CompletedProcess[str]]
#: What the rules make of facts: (facts, what, state, mend, needed for).
Trap = tuple[Facts, str, str, "str | None", tuple[str, ...]]

WORKS = Trial("works")
CONVERT = ("convert", "qat", "train", "tune")
ON_DEVICE = ("benchmark", "verify", "bundle")
RPI_IMAGER = "rpi-imager    # on the desk: write Raspberry Pi OS (64-bit)"
NO_GL = "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"
_GIB = 1 << 30


def host(**changes: Any) -> DeviceFacts:
    well = DeviceFacts("linux", "x86_64", "glibc 2.36", 4, "/home/me/.cache/edgekit", 20 * _GIB)
    return dataclasses.replace(well, **changes)


def packages(**changes: Any) -> Packages:
    installed = changes.pop("installed", {})
    well = {
        "edgekit": "0.1.0",
        "numpy": "2.4.6",
        "opencv-python": "5.0.0.93",
        "ai-edge-litert": "2.3.0",
    }
    versions = {k: v for k, v in {**well, **installed}.items() if v is not None}
    needs = (
        Need("numpy", ">=1.26", "", "2.4.6", True),
        Need("opencv-python", ">=4.10", "", "5.0.0.93", True),
        Need("ai-edge-litert", "==2.3.0", "", "2.3.0", True),
        Need("litert-quantizer", "==0.11.0", "convert", "0.11.0", True),
    )
    start = Packages(needs, requires_python=">=3.10", installed=tuple(versions.items()))
    return dataclasses.replace(start, **changes)


def desk(**changes: Any) -> Desk:
    names = ("edgetpu_compiler", "adb", "ssh", "npm")
    well = Desk(
        python=(3, 11, 7),
        packages=packages(),
        runtime=RuntimeTrial(WORKS, "ai-edge-litert 2.3.0", xnnpack=True),
        opencv=Trial("works", "5.0.0 QT5"),
        window=WORKS,
        edgetpu=WORKS,
        opencl=Trial("works", "1"),
        binaries=("aarch64", "x86_64"),
        binary=WORKS,
        tools=(
            *(Tool(n, True, "1.0") for n in names),
            Tool("java", True, 'openjdk version "17.0"'),
        ),
        phones=(("PHONE1", "device"),),
        android_sdk="/opt/sdk",
        android_sdk_there=True,
    )
    return dataclasses.replace(well, **changes)


def seen(**changes: Any) -> Look:
    well = Look(
        kernel="x86_64",
        release="Debian 12",
        uid=1000,
        user="me",
        groups=("me", "video", "plugdev"),
        memory_bytes=8 * _GIB,
        available_bytes=6 * _GIB,
        tmp_free_bytes=20 * _GIB,
        governors=("performance",),
        driver="cpufreq-dt",
        throttled=0,
        temperature_c=45.0,
        cameras=(Node("/dev/video0", True, "video", "USB Camera"),),
        accelerators=(Node("/dev/bus/usb/002/003", True, "plugdev", "18d1:9302"),),
        udev_rule=True,
        libraries=(("libedgetpu.so.1", "/usr/lib/e.so"), ("libOpenCL.so.1", "/usr/lib/o.so")),
        avx=True,
        display=":0",
    )
    return dataclasses.replace(well, **changes)


def local(
    *, on: dict[str, Any] | None = None, sight: dict[str, Any] | None = None, **changes: Any
) -> Facts:
    return Facts(host(**(on or {})), seen(**(sight or {})), desk(**changes))


def board(on: dict[str, Any] | None = None, **changes: Any) -> Facts:
    """A Raspberry Pi, over SSH."""
    python = RemotePython("/usr/bin/python3", "3.11.2", (("numpy", "1.26.4"),))
    pi = {"kernel": "aarch64", "model": "Raspberry Pi 4 Model B Rev 1.4", "avx": None}
    there = {"pythons": (python,), **pi, **changes}
    return Facts(host(**{"machine": "aarch64", **(on or {})}), seen(**there), None)


def armv7(**changes: Any) -> Facts:
    return board({"machine": "armv7l"}, **changes)


def phone(level: int, **changes: Any) -> Facts:
    on = {"system": "android", "machine": "aarch64", "libc": "bionic"}
    libraries = (("libOpenCL.so", "/vendor/lib64/libOpenCL.so"),)
    there = {"android_sdk": level, "cameras": (), "libraries": libraries, **changes}
    return Facts(host(**on), seen(**there), None)


def without(name: str) -> dict[str, Any]:
    """A machine that lacks a program."""
    return {"tools": tuple(tool for tool in desk().tools if tool.name != name)}


def needing(*needs: Need, **changes: Any) -> dict[str, Any]:
    return {"packages": packages(needs=needs, **changes)}


# --- what is made of them


def of(findings: tuple[Finding, ...], what: str) -> Finding:
    (found,) = [finding for finding in findings if finding.what == what]
    return found


class AreaTests:
    """What holds for the rules of every area; a test file inherits it and gives its tables.

    Attributes:
        area: The module whose RULES are tested.
        traps: What is to be said of facts: one finding says it, and one alone.
        unsaid: Facts, and what isn't said of them: another rule says it, or it is of no use there.
        judging_nothing: Rules that need no trap.
    """

    area: ModuleType
    traps: Mapping[str, Trap]
    unsaid: Mapping[str, tuple[Facts, str]] = {}
    judging_nothing: Sequence[str] = ()

    def test_trap(self, trap: Trap) -> None:
        facts, what, state, mend, needed_for = trap
        found = of(judge(facts), what)
        assert (found.state, found.mend, found.needed_for) == (state, mend, needed_for), found
        assert found.detail, found
        assert set(found.needed_for) <= {EVERY, *PURPOSES}, found

    def test_what_is_not_said(self, unsaid_of: tuple[Facts, str]) -> None:
        facts, what = unsaid_of
        assert what not in [finding.what for finding in judge(facts)]

    def test_every_rule_has_a_trap_that_only_it_finds(self) -> None:
        assert not [
            rule.__name__
            for rule in self.area.RULES
            if rule.__name__ not in self.judging_nothing
            and not any(
                (what, state) == (finding.what, finding.state)
                for facts, what, state, _, _ in self.traps.values()
                for finding in rule(facts)
            )
        ]


def program(folder: Path, name: str, text: str) -> None:
    """Writes a program."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
