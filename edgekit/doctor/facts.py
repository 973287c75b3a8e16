"""What is known of a machine before anything is judged: values, so that tests can invent some."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edgekit.devices import DeviceFacts

Outcome = Literal["works", "refused", "crashed", "hung"]


@dataclass(frozen=True)
class Trial:
    """Something that was tried in a process of its own.

    Attributes:
        outcome: How it ended.
        said: What it printed, or the last line of its error.
    """

    outcome: Outcome
    said: str = ""

    @property
    def in_words(self) -> str:
        """Why it didn't work."""
        return {
            "crashed": f"crashes ({self.said})",
            "hung": f"hangs ({self.said})",
        }.get(self.outcome, self.said)


@dataclass(frozen=True)
class RuntimeTrial:
    """The TFLite runtime, with tiny models run in it.

    Attributes:
        trial: How it ended; what it said is the reason where it failed.
        name: The runtime that the façade took, as `ai-edge-litert 2.3.0`, or None.
        absent: Whether none can be imported.
        xnnpack: Whether XNNPACK took the model's op.
        refused: (module, reason) of the runtimes that are there and can't be imported.
        wrong: What it computes wrong in silence (`edgekit.runtime.probes`).
    """

    trial: Trial
    name: str | None = None
    absent: bool = False
    xnnpack: bool = False
    refused: tuple[tuple[str, str], ...] = ()
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Need:
    """A package that edgekit asks for.

    Attributes:
        name: Of the distribution.
        wanted: Its version as edgekit's metadata has it: `>=1.26`, or empty for any.
        extra: The extra that it belongs to; empty for what every installation has.
        installed: The version that is there, or None.
        fits: Whether that is one that is wanted.
    """

    name: str
    wanted: str
    extra: str = ""
    installed: str | None = None
    fits: bool = False


@dataclass(frozen=True)
class Conflict:
    """A package that asks for another version of a package than is there."""

    package: str
    wants: str
    installed: str | None


@dataclass(frozen=True)
class Packages:
    """The Python packages of this installation.

    Attributes:
        needs: What edgekit asks for, or None where its metadata can't be read.
        unread: Why not.
        requires_python: What edgekit's metadata says of Python, as `>=3.10`.
        python_fits: Whether this Python is one of those.
        installed: (distribution, version) of all packages that the rules ask for by name.
        conflicts: What those ask for of each other and don't get.
    """

    needs: tuple[Need, ...] | None
    unread: str = ""
    requires_python: str = ""
    python_fits: bool = True
    installed: tuple[tuple[str, str], ...] = ()
    conflicts: tuple[Conflict, ...] = ()

    def version(self, name: str) -> str | None:
        """The version of a package that is installed, or None."""
        return dict(self.installed).get(name)

    def pin(self, name: str) -> str:
        """A package with the version that edgekit wants, as pip takes it: `numpy>=1.26`."""
        wanted = [need.wanted for need in self.needs or () if need.name == name]
        return name + (wanted[0] if wanted else "")


@dataclass(frozen=True)
class Tool:
    """A program.

    Attributes:
        name: As it is called.
        there: Whether it is found.
        version: The line that says so, or empty where it wasn't asked.
        fault: Why it doesn't say its version, or empty.
        variable: The variable of edgekit's that names another command for it, or empty.
    """

    name: str
    there: bool
    version: str = ""
    fault: str = ""
    variable: str = ""


@dataclass(frozen=True)
class Desk:
    """This machine, as this Python sees it.

    Attributes:
        python: Its version.
        managed: Whether pip refuses to install into it (PEP 668) and no virtual environment is on.
        packages: What is installed.
        runtime: The TFLite runtime, tried.
        opencv: OpenCV, tried; it says its version and the kind of windows it has.
        window: A window, tried, or None where there is no display.
        edgetpu: libedgetpu's delegate, tried, or None where there is no such library.
        opencl: The OpenCL library, tried; it says how many platforms it has.
        binaries: The architectures that an edgekit-bench is carried for.
        binary: That of this machine, tried, or None where there is none.
        library: Whether ai-edge-litert brings the library that edgekit-bench loads.
        tools: Programs.
        phones: (serial, state) of what adb sees.
        legacy_keras: TF_USE_LEGACY_KERAS, or None where it isn't set.
        android_sdk: The folder that ANDROID_HOME or ANDROID_SDK_ROOT names, or None.
        android_sdk_there: Whether that folder exists.
    """

    python: tuple[int, int, int]
    packages: Packages
    runtime: RuntimeTrial
    opencv: Trial
    managed: bool = False
    window: Trial | None = None
    edgetpu: Trial | None = None
    opencl: Trial | None = None
    binaries: tuple[str, ...] = ()
    binary: Trial | None = None
    library: bool = True
    tools: tuple[Tool, ...] = ()
    phones: tuple[tuple[str, str], ...] = ()
    legacy_keras: str | None = None
    android_sdk: str | None = None
    android_sdk_there: bool = False

    def tool(self, name: str) -> Tool:
        """A program that was looked for."""
        return next((tool for tool in self.tools if tool.name == name), Tool(name, False))


@dataclass(frozen=True)
class Node:
    """A device file.

    Attributes:
        path: Where it is.
        usable: Whether this user may read and write it.
        group: The group it belongs to.
        label: What it says of itself: a camera's name, a USB id.
    """

    path: str
    usable: bool
    group: str
    label: str = ""


@dataclass(frozen=True)
class RemotePython:
    """A Python that was found on a device.

    Attributes:
        path: Where.
        version: Such as `3.11.2`.
        packages: (distribution, version) of those that a classifier needs.
        trials: (module, how its import ended).
        wrong: (module, what it computes wrong in silence), one of each.
    """

    path: str
    version: str
    packages: tuple[tuple[str, str], ...] = ()
    trials: tuple[tuple[str, Trial], ...] = ()
    wrong: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Look:
    """What a POSIX shell sees of a machine; see `edgekit.doctor.look`.

    Attributes:
        kernel: The processor as the kernel names it, which a 32-bit userland may not share.
        model: The board or phone, or empty.
        release: The name of the system.
        uid: The user's number, or None where it isn't known.
        user: The user's name.
        groups: The user's groups.
        memory_bytes: In all, or None.
        available_bytes: What programs may still take, or None.
        tmp_free_bytes: Free space for temporary files, or None.
        governors: Of the CPU frequency, each once.
        driver: The driver that they steer.
        throttled: The bits of `vcgencmd get_throttled`, or None.
        temperature_c: The hottest sensor, or None.
        cameras: Video devices.
        accelerators: Edge TPUs: on USB, or on PCIe with the driver apex.
        udev_rule: Whether a udev rule names the USB accelerator.
        libraries: (name, path) of native libraries.
        android_sdk: The API level, or None where it is no Android.
        avx: Whether an x86-64 processor has AVX; None elsewhere.
        display: The display that programs may open windows on, or empty.
        pythons: What Pythons there are; looked for on devices only.
    """

    kernel: str = ""
    model: str = ""
    release: str = ""
    uid: int | None = None
    user: str = ""
    groups: tuple[str, ...] = ()
    memory_bytes: int | None = None
    available_bytes: int | None = None
    tmp_free_bytes: int | None = None
    governors: tuple[str, ...] = ()
    driver: str = ""
    throttled: int | None = None
    temperature_c: float | None = None
    cameras: tuple[Node, ...] = ()
    accelerators: tuple[Node, ...] = ()
    udev_rule: bool = False
    libraries: tuple[tuple[str, str], ...] = ()
    android_sdk: int | None = None
    avx: bool | None = None
    display: str = ""
    pythons: tuple[RemotePython, ...] = ()

    def library(self, *names: str) -> str | None:
        """The path of the first of these libraries that is there."""
        there = dict(self.libraries)
        return next((there[name] for name in names if name in there), None)

    @property
    def is_raspberry_pi(self) -> bool:
        """Whether it is one."""
        return self.model.startswith("Raspberry Pi")


@dataclass(frozen=True)
class Facts:
    """All that is judged.

    Attributes:
        host: System, processor, C library, cores, cache folder and its free space.
        look: What a shell sees, or None where there is no POSIX shell: on Windows.
        desk: What this Python sees, or None for a device.
    """

    host: DeviceFacts
    look: Look | None = field(default_factory=Look)
    desk: Desk | None = None
