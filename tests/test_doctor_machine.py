"""`edgekit doctor`: the machine, and whether it runs as fast as it can."""

from __future__ import annotations

from doctor_support import (
    ON_DEVICE,
    RPI_IMAGER,
    AreaTests,
    Trap,
    armv7,
    board,
    desk,
    host,
    local,
    of,
    phone,
)

from edgekit.doctor.areas import machine
from edgekit.doctor.examine import judge
from edgekit.doctor.facts import Facts

TRAPS: dict[str, Trap] = {
    "Windows": (
        Facts(host(system="windows", libc=None), None, desk()),
        *("not looked at", "note", None, ()),
    ),
    "32-bit programs on a 64-bit kernel": (
        armv7(),
        *("32-bit userland", "note", RPI_IMAGER, ON_DEVICE),
    ),
    "hardly any memory": (
        local(sight={"available_bytes": 100 << 20}),
        *("memory", "note", "ps aux --sort=-rss | head    # what takes it", ()),
    ),
    "hardly any memory on a phone": (
        phone(34, available_bytes=100 << 20),
        *("memory", "note", None, ()),
    ),
    "a user without a home": (
        local(on={"folder": "~/.cache/edgekit"}),
        *("home folder", "broken", "export HOME=/tmp"),
        ("models", "train", "tune", "qat", "convert", *ON_DEVICE),
    ),
    "a full disk": (
        local(on={"free_bytes": 0}),
        *("disk for cache", "broken", "pip cache purge"),
        ("models", "train", "tune", "qat", "convert", *ON_DEVICE),
    ),
    "a full disk on a board": (
        board(tmp_free_bytes=5 << 20),
        *("disk for temporary files", "broken", "sudo apt clean"),
        ("models", "train", "tune", "qat", "convert", *ON_DEVICE),
    ),
    "powersave": (
        board(governors=("powersave",)),
        *("CPU governor", "note"),
        "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        "    # until it is started anew",
        ("benchmark",),
    ),
    "powersave on a phone": (
        phone(34, governors=("powersave",)),
        *("CPU governor", "note", None, ("benchmark",)),
    ),
    "a Pi that throttles": (
        board(throttled=0x50005),
        *("throttling", "broken", "watch vcgencmd get_throttled    # 0x0 is good"),
        ("benchmark",),
    ),
    "a Pi that throttled": (
        board(throttled=0x50000),
        *("throttling", "note"),
        "sudo reboot    # with its own power supply; then look again",
        (),
    ),
    "heat": (board(temperature_c=83.0), *("temperature", "note", None, ())),
}


UNSAID: dict[str, tuple[Facts, str]] = {
    "64-bit programs": (board(), "32-bit userland"),
    "no sensor": (board(temperature_c=None), "temperature"),
    "no governor": (board(governors=()), "CPU governor"),
}


class TestMachine(AreaTests):
    area, traps, unsaid = machine, TRAPS, UNSAID
    judging_nothing = ("processor",)


def test_powersave_of_drivers_that_follow_the_load() -> None:
    stays = of(judge(board(governors=("powersave",))), "CPU governor").detail
    follows = of(
        judge(local(sight={"governors": ("powersave",), "driver": "intel_pstate"})), "CPU governor"
    ).detail
    assert "stays at its lowest" in stays and "follows the load" in follows
