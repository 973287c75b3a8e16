"""Cameras, and the display that --camera shows them on."""

from __future__ import annotations

from collections.abc import Iterator

from edgekit.doctor.areas.mending import join_group
from edgekit.doctor.facts import Facts
from edgekit.doctor.finding import Finding

AREA = "Camera"

#: Video devices of a Raspberry Pi's codecs and image processor, which are no cameras.
_NO_CAMERAS = ("bcm2835-codec", "bcm2835-isp", "rpi-hevc", "rpivid", "pispbe")
_UNTIL = "    # until it is plugged in again"


def cameras(facts: Facts) -> Iterator[Finding]:
    """Video devices, and whether this user may read them."""
    if facts.look is None or facts.host.system != "linux":
        return
    found = [node for node in facts.look.cameras if not node.label.startswith(_NO_CAMERAS)]
    mend: str | None
    for node in found:
        what = f"{node.path}{f' ({node.label})' if node.label else ''}"
        if node.usable:
            yield Finding(AREA, what, "ok", "may be read")
            continue
        group = node.group or "video"
        detail = f"{facts.look.user or 'this user'} may not read it"
        if group == "root":
            detail += ": it belongs to root alone"
            mend = f"sudo chgrp video {node.path}{_UNTIL}"
        elif group in facts.look.groups:
            detail += f", though in the group {group}"
            mend = f"sudo chmod g+rw {node.path}{_UNTIL}"
        else:
            detail, mend = f"{detail}: not in the group {group}", join_group(group)
        yield Finding(AREA, what, "broken", detail, mend, ("camera",))
    if not found:
        detail = "no /dev/video*"
        if facts.look.is_raspberry_pi:
            detail += "; a camera module needs libcamera: put libcamerify before the command"
        mend = "sudo apt install libcamera-tools" if facts.look.is_raspberry_pi else None
        yield Finding(AREA, "camera", "missing", detail, mend, ("camera",))


def display(facts: Facts) -> Iterator[Finding]:
    """Whether a window can be opened."""
    if facts.desk is None or facts.look is None or facts.host.system != "linux":
        return
    without = "edgekit predict MODEL --camera 0 --no-window"
    tried = facts.desk.window
    if not facts.look.display:
        yield Finding(AREA, "display", "note", "no screen for a window", without, ("camera",))
    elif tried is not None and tried.outcome != "works":
        detail = f"no window can be opened on {facts.look.display}: {tried.in_words}"
        yield Finding(AREA, "display", "note", detail, without, ("camera",))
    else:
        yield Finding(AREA, "display", "ok", f"a window opens on {facts.look.display}")


RULES = (cameras, display)
