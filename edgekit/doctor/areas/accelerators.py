"""The Edge TPU, OpenCL for GPUs, and Android's NNAPI."""

from __future__ import annotations

from collections.abc import Iterator

from edgekit.doctor.areas.mending import join_group
from edgekit.doctor.facts import Facts, Look
from edgekit.doctor.finding import Finding

AREA = "Accelerators"

#: As the package libedgetpu1-std installs them.
_ADD_RULE = (
    """printf 'SUBSYSTEM=="usb",ATTRS{idVendor}=="%s",GROUP="plugdev"\\n' 1a6e 18d1 """
    "| sudo tee /etc/udev/rules.d/60-libedgetpu1-std.rules "
    "&& sudo udevadm control --reload-rules && sudo udevadm trigger"
)
_RELOAD = "sudo udevadm control --reload-rules && sudo udevadm trigger"
#: For the PCIe modules, as https://coral.ai/docs/m2/get-started has it.
_ADD_APEX_RULE = (
    """echo 'SUBSYSTEM=="apex", MODE="0660", GROUP="apex"' """
    "| sudo tee /etc/udev/rules.d/65-apex.rules "
    f"&& sudo groupadd -f apex && {_RELOAD}"
)
_LIBRARY = "libedgetpu.so.1"

#: With Android 15, API level 35, NNAPI is deprecated (developer.android.com, "NNAPI Migration
#: Guide"); it came with Android 8.1, API level 27.
_DEPRECATED, _FIRST = 35, 27


def edgetpu_library(facts: Facts) -> Iterator[Finding]:
    """Coral's runtime."""
    look = _linux(facts)
    if look is None:
        return
    path = look.library(_LIBRARY)
    if path is None:
        detail = "not installed (Coral's packages: https://coral.ai/docs/accelerator/get-started)"
        mend = "sudo apt install libedgetpu1-std"
        yield Finding(AREA, "libedgetpu", "missing", detail, mend, ("edgetpu",))
    else:
        yield Finding(AREA, "libedgetpu", "ok", path)


def edgetpu(facts: Facts) -> Iterator[Finding]:
    """The accelerator: plugged in, allowed to be used, and starting."""
    look = _linux(facts)
    if look is None:
        return
    if not look.accelerators:
        yield Finding(AREA, "Edge TPU", "missing", "none is plugged in", None, ("edgetpu",))
    for node in look.accelerators:
        where = f"{node.label} at {node.path}"
        if node.usable:
            yield Finding(AREA, "Edge TPU", "ok", where)
            continue
        usb = "apex" not in node.path
        group = "plugdev" if usb else node.group or "apex"
        ruled = look.udev_rule if usb else group != "root"
        if not ruled:
            group = "plugdev" if usb else "apex"
            detail = f"{where}: no udev rule lets users have it"
            mend = _ADD_RULE if usb else _ADD_APEX_RULE
            if group not in look.groups:
                mend += f" && {join_group(group)}"
        elif group not in look.groups:
            detail = f"{where}: {look.user or 'this user'} is not in the group {group}"
            mend = join_group(group)
        else:
            detail = f"{where}: may not be used yet, though there is a rule and the group fits"
            mend = _RELOAD
        yield Finding(AREA, "Edge TPU", "broken", detail, mend, ("edgetpu",))


def edgetpu_starts(facts: Facts) -> Iterator[Finding]:
    """Whether the delegate really starts the accelerator."""
    if facts.desk is None or facts.desk.edgetpu is None or facts.look is None:
        return
    tried = facts.desk.edgetpu
    if tried.outcome == "works":
        yield Finding(AREA, "Edge TPU delegate", "ok", "starts the accelerator")
    elif any(node.usable for node in facts.look.accelerators):
        mend = "sudo apt install --reinstall libedgetpu1-std    # then plug it in again"
        yield Finding(AREA, "Edge TPU delegate", "broken", tried.in_words, mend, ("edgetpu",))


def opencl(facts: Facts) -> Iterator[Finding]:
    """What the GPU delegate computes with."""
    look = _linux(facts, android=True)
    if look is None:
        return
    path = look.library("libOpenCL.so.1", "libOpenCL.so")
    mend = None if facts.host.system == "android" else "sudo apt install ocl-icd-libopencl1"
    if path is None:
        yield Finding(AREA, "OpenCL", "missing", "no libOpenCL.so", mend, ("gpu",))
        return
    tried = None if facts.desk is None else facts.desk.opencl
    if tried is None:
        yield Finding(AREA, "OpenCL", "ok", path)
    elif tried.outcome != "works":
        yield Finding(AREA, "OpenCL", "broken", f"{path}: {tried.in_words}", mend, ("gpu",))
    elif tried.said == "0":
        detail = f"{path} finds no platform: the GPU's own driver is missing"
        mend = "sudo apt install mesa-opencl-icd    # or the driver of the GPU's maker"
        yield Finding(AREA, "OpenCL", "missing", detail, mend, ("gpu",))
    else:
        yield Finding(AREA, "OpenCL", "ok", f"{path}, {tried.said} platform(s)")


def nnapi(facts: Facts) -> Iterator[Finding]:
    """Android's own interface to accelerators, which is going."""
    level = None if facts.look is None else facts.look.android_sdk
    if level is None:
        return
    if level < _FIRST:
        detail = f"API level {level}: it came with {_FIRST} (Android 8.1)"
        yield Finding(AREA, "NNAPI", "missing", detail, None, ("nnapi",))
    elif level >= _DEPRECATED:
        detail = f"API level {level}: deprecated since Android 15; most phones run it on the CPU"
        mend = "edgekit benchmark MODEL --on adb --delegate gpu"
        yield Finding(AREA, "NNAPI", "note", detail, mend, ("nnapi",))
    else:
        yield Finding(AREA, "NNAPI", "ok", f"API level {level}")


def _linux(facts: Facts, android: bool = False) -> Look | None:
    systems = ("linux", "android") if android else ("linux",)
    return facts.look if facts.host.system in systems else None


RULES = (edgetpu_library, edgetpu, edgetpu_starts, opencl, nnapi)
