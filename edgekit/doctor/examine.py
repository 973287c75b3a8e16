"""Gathers what is known of a machine, then judges it."""

from __future__ import annotations

import contextlib
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from edgekit import folders
from edgekit.cpus import usable_cpus
from edgekit.devices import DeviceFacts, open_device
from edgekit.doctor.areas import accelerators, camera, machine, packages, python, runtime, tools
from edgekit.doctor.desk import gather
from edgekit.doctor.facts import Facts
from edgekit.doctor.finding import PURPOSES, Finding
from edgekit.doctor.look import look_at, look_here
from edgekit.errors import MissingError, UsageError

#: In the order of the report.
AREAS = (python, packages, runtime, accelerators, tools, camera, machine)

_MACHINES = {"arm64": "aarch64", "amd64": "x86_64", "armv8l": "armv7l"}
_32_BIT = {"aarch64": "armv7l", "x86_64": "i686"}


def examine(
    on: str | None = None, asked: Sequence[str] = (), notify: Callable[[str], None] | None = None
) -> tuple[Finding, ...]:
    """Looks at this machine, or at a device.

    Args:
        on: `local`, `ssh:[USER@]HOST[:PORT]`, `adb[:SERIAL]`; None for this machine with its
            Python packages and tools.
        asked: What it is to be good for, names of `PURPOSES`; checked, and otherwise only used by
            `Finding.matters`.
        notify: Called with what should be known meanwhile.

    Raises:
        UsageError: A name isn't one of `PURPOSES`, or no device has that name.
        RuntimeFailure: The device can't be reached.
        MissingError: `ssh` or `adb` isn't installed here.
    """
    for name in asked:
        if name not in PURPOSES:
            raise UsageError(
                f"--for {name}: is none of the things to ask for", f"Choose {', '.join(PURPOSES)}."
            )
    return judge(_here() if on is None else _there(on, notify))


def judge(facts: Facts) -> tuple[Finding, ...]:
    """All that the rules say of these facts, in the order of the report."""
    return tuple(finding for area in AREAS for rule in area.RULES for finding in rule(facts))


def host_here() -> DeviceFacts:
    """This machine as its Python sees it; makes no folder."""
    kernel = platform.machine().lower()
    name = _MACHINES.get(kernel, kernel)
    if sys.maxsize <= 1 << 32:
        name = _32_BIT.get(name, name)
    libc = " ".join(platform.libc_ver()).strip() or None
    if libc is None and any(Path("/lib").glob("ld-musl-*")):
        libc = "musl"
    folder, free = Path("~/.cache/edgekit"), None
    with contextlib.suppress(OSError, MissingError):  # a user without a home: a rule says so
        folder = folders.cache()
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(there).free
    return DeviceFacts(
        system=platform.system().lower(),
        machine=name,
        libc=libc,
        cores=usable_cpus(),
        folder=str(folder),
        free_bytes=free,
    )


def _here() -> Facts:
    host, look = host_here(), look_here()
    return Facts(host, look, gather(host, look))


def _there(on: str, notify: Callable[[str], None] | None) -> Facts:
    with open_device(on, notify=notify, reconnect_s=10) as device:
        return Facts(device.facts, look_at(device), None)
