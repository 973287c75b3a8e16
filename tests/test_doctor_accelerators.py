"""`edgekit doctor`: the Edge TPU, OpenCL and NNAPI."""

from __future__ import annotations

from doctor_support import (
    AreaTests,
    Trap,
    board,
    local,
    phone,
)

from edgekit.doctor.areas import accelerators
from edgekit.doctor.facts import Facts, Node, Trial

USB = Node("/dev/bus/usb/001/004", False, "root", "1a6e:089a")

TRAPS: dict[str, Trap] = {
    "no libedgetpu": (
        board(libraries=()),
        *("libedgetpu", "missing", "sudo apt install libedgetpu1-std", ("edgetpu",)),
    ),
    "no Edge TPU": (board(accelerators=()), *("Edge TPU", "missing", None, ("edgetpu",))),
    "an Edge TPU without a udev rule": (
        board(accelerators=(USB,), udev_rule=False),
        *("Edge TPU", "broken"),
        """printf 'SUBSYSTEM=="usb",ATTRS{idVendor}=="%s",GROUP="plugdev"\\n' 1a6e 18d1 """
        "| sudo tee /etc/udev/rules.d/60-libedgetpu1-std.rules "
        "&& sudo udevadm control --reload-rules && sudo udevadm trigger",
        ("edgetpu",),
    ),
    "a user who isn't in plugdev": (
        board(accelerators=(USB,), groups=("me",)),
        *("Edge TPU", "broken"),
        'sudo usermod -aG plugdev "$USER"    # then log out and in again',
        ("edgetpu",),
    ),
    "a rule that wasn't applied": (
        board(accelerators=(USB,)),
        *("Edge TPU", "broken"),
        "sudo udevadm control --reload-rules && sudo udevadm trigger",
        ("edgetpu",),
    ),
    "an Edge TPU on PCIe that isn't ours": (
        board(accelerators=(Node("/dev/apex_0", False, "apex", "PCIe"),), udev_rule=False),
        *("Edge TPU", "broken"),
        'sudo usermod -aG apex "$USER"    # then log out and in again',
        ("edgetpu",),
    ),
    "an Edge TPU on PCIe without a udev rule": (
        board(accelerators=(Node("/dev/apex_0", False, "root", "PCIe"),)),
        *("Edge TPU", "broken"),
        """echo 'SUBSYSTEM=="apex", MODE="0660", GROUP="apex"' """
        "| sudo tee /etc/udev/rules.d/65-apex.rules && sudo groupadd -f apex "
        "&& sudo udevadm control --reload-rules && sudo udevadm trigger "
        """&& sudo usermod -aG apex "$USER"    # then log out and in again""",
        ("edgetpu",),
    ),
    "an Edge TPU that doesn't start": (
        local(edgetpu=Trial("refused", "delegate edgetpu: can't start it")),
        *("Edge TPU delegate", "broken"),
        "sudo apt install --reinstall libedgetpu1-std    # then plug it in again",
        ("edgetpu",),
    ),
    "no OpenCL": (
        local(sight={"libraries": ()}, opencl=None),
        *("OpenCL", "missing", "sudo apt install ocl-icd-libopencl1", ("gpu",)),
    ),
    "OpenCL without a driver": (
        local(opencl=Trial("works", "0")),
        *("OpenCL", "missing"),
        "sudo apt install mesa-opencl-icd    # or the driver of the GPU's maker",
        ("gpu",),
    ),
    "OpenCL that crashes": (
        local(opencl=Trial("crashed", "signal 11")),
        *("OpenCL", "broken", "sudo apt install ocl-icd-libopencl1", ("gpu",)),
    ),
    "NNAPI on Android 15": (
        phone(35),
        *("NNAPI", "note", "edgekit benchmark MODEL --on adb --delegate gpu", ("nnapi",)),
    ),
    "NNAPI on Android 8.0": (phone(26), *("NNAPI", "missing", None, ("nnapi",))),
}


UNSAID: dict[str, tuple[Facts, str]] = {
    "the delegate of an Edge TPU that isn't ours": (
        local(
            sight={"accelerators": (USB,)},
            edgetpu=Trial("refused", "delegate edgetpu: can't start it"),
        ),
        "Edge TPU delegate",
    ),
    "phones have no Edge TPU to plug in": (phone(34), "Edge TPU"),
    "only Android has NNAPI": (board(), "NNAPI"),
}


class TestAccelerators(AreaTests):
    area, traps, unsaid = accelerators, TRAPS, UNSAID
