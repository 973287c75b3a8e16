"""`edgekit doctor`: cameras, and the display that they are shown on."""

from __future__ import annotations

from doctor_support import (
    AreaTests,
    Trap,
    board,
    local,
    phone,
)

from edgekit.doctor.areas import camera
from edgekit.doctor.facts import Facts, Node, Trial

TRAPS: dict[str, Trap] = {
    "no camera": (local(sight={"cameras": ()}), *("camera", "missing", None, ("camera",))),
    "a Pi's codecs are no cameras": (
        board(cameras=(Node("/dev/video10", True, "video", "bcm2835-codec-decode"),)),
        *("camera", "missing", "sudo apt install libcamera-tools", ("camera",)),
    ),
    "a user who isn't in video": (
        local(sight={"cameras": (Node("/dev/video0", False, "video"),), "groups": ("me",)}),
        *("/dev/video0", "broken"),
        'sudo usermod -aG video "$USER"    # then log out and in again',
        ("camera",),
    ),
    "a camera of the group that isn't for the group": (
        local(sight={"cameras": (Node("/dev/video0", False, "video"),)}),
        *("/dev/video0", "broken", "sudo chmod g+rw /dev/video0    # until it is plugged in again"),
        ("camera",),
    ),
    "a camera that is root's": (
        local(sight={"cameras": (Node("/dev/video0", False, "root"),)}),
        *("/dev/video0", "broken"),
        "sudo chgrp video /dev/video0    # until it is plugged in again",
        ("camera",),
    ),
    "no display": (
        local(sight={"display": ""}, window=None),
        *("display", "note", "edgekit predict MODEL --camera 0 --no-window", ("camera",)),
    ),
    "a display that refuses": (
        local(window=Trial("crashed", "signal 6")),
        *("display", "note", "edgekit predict MODEL --camera 0 --no-window", ("camera",)),
    ),
}


UNSAID: dict[str, tuple[Facts, str]] = {
    "a phone's cameras are its apps'": (phone(34), "camera"),
    "a board's display": (board(display=""), "display"),
}


class TestCamera(AreaTests):
    area, traps, unsaid = camera, TRAPS, UNSAID
