"""Lines that mend, as several rules write them."""

from __future__ import annotations

from edgekit.doctor.facts import Facts, Packages

#: What each extra is for, as `Finding.needed_for` names it.
EXTRAS = {
    "convert": ("convert", "qat", "train", "tune"),
    "train": ("train", "tune"),
    "weights": ("weights",),
    "keras2": ("keras2",),
    "tfmot": ("tfmot",),
}

#: What runs a model on a device.
ON_DEVICE = ("benchmark", "verify", "bundle")

#: The Pythons that pip finds a wheel for, on Linux with glibc, of the versions that setup.cfg pins
#: (asked of PyPI in November 2026).
WHEELS = {
    "ai-edge-litert": ((3, 10), (3, 14)),
    "tensorflow": ((3, 10), (3, 13)),
    "tflite-runtime": ((3, 6), (3, 11)),
}
#: The architectures that ai-edge-litert has wheels for, as `uname -m` names them on Linux.
LITERT_MACHINES = ("x86_64", "aarch64")


def pip_install(*wanted: str) -> str:
    """The line that installs packages: `pip install "numpy>=1.26" click`."""
    words = (f'"{name}"' if set(name) & set("<>=!~[] ") else name for name in wanted)
    return f"pip install {' '.join(words)}"


def runtime_package(facts: Facts, packages: Packages) -> str:
    """The runtime for a machine, with the version that edgekit wants."""
    return packages.pin("tflite-runtime" if is_armv7(facts) else "ai-edge-litert")


def is_armv7(facts: Facts) -> bool:
    """Whether programs there are 32-bit Arm, whatever the kernel is."""
    return facts.host.machine.startswith("armv")


def has_litert(facts: Facts) -> bool:
    """Whether there is a wheel of LiteRT for a machine; of those with Linux alone it is known."""
    host = facts.host
    return host.system != "linux" or (host.machine in LITERT_MACHINES and host.libc != "musl")


def newer_venv(python: tuple[int, int], extra: str = "") -> str:
    """The line that makes a virtual environment with another Python and edgekit in it."""
    what = f'"edgekit[{extra}]"' if extra else "edgekit"
    return f"python{python[0]}.{python[1]} -m venv .venv && .venv/bin/pip install {what}"


def join_group(group: str) -> str:
    """The line that puts this user into a group."""
    return f'sudo usermod -aG {group} "$USER"    # then log out and in again'
