"""The machine: processor, memory, disk, and whether it runs as fast as it can."""

from __future__ import annotations

from collections.abc import Iterator

from edgekit.doctor.areas.mending import ON_DEVICE
from edgekit.doctor.facts import Facts
from edgekit.doctor.finding import Finding, State

AREA = "Machine"

_MIB, _GIB = 1 << 20, 1 << 30
#: LiteRT's library and a model are about 50 MiB; exports and checkpoints of training are more.
_DISK_FULL, _DISK_LOW = 100 * _MIB, _GIB
_MEMORY_LOW = 256 * _MIB
#: Where Raspberry Pi firmware begins to throttle (Raspberry Pi documentation, "Frequency management
#: and thermal control").
_HOT_C = 80
#: Bits of `vcgencmd get_throttled` (Raspberry Pi documentation, "vcgencmd"); each is repeated 16
#: bits higher as "has happened since boot".
_THROTTLED = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
}
_SINCE_BOOT = 16
#: Drivers whose governor `powersave` still goes up with the load, as kernel documentation says of
#: them (admin-guide/pm/intel_pstate.rst, amd-pstate.rst, active mode).
_SCALES_ANYWAY = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")
_PERFORMANCE = (
    "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
    "    # until it is started anew"
)
_WRITERS = ("models", "train", "tune", "qat", "convert", *ON_DEVICE)


def processor(facts: Facts) -> Iterator[Finding]:
    """What it is."""
    look, host = facts.look, facts.host
    model = f"{look.model}, " if look is not None and look.model else ""
    release = f", {look.release}" if look is not None and look.release else ""
    cores = f"{host.cores} core{'' if host.cores == 1 else 's'}"
    yield Finding(AREA, host.system, "ok", f"{model}{host.machine}, {cores}{release}")


def unseen(facts: Facts) -> Iterator[Finding]:
    """What is not looked at on systems other than Linux and Android."""
    if facts.look is None or facts.host.system not in ("linux", "android"):
        detail = "cameras, accelerators, governor and throttling are looked at on Linux only"
        yield Finding(AREA, "not looked at", "note", detail)


def narrow(facts: Facts) -> Iterator[Finding]:
    """A 32-bit userland on a 64-bit kernel, as older Raspberry Pi OS has it."""
    kernel = "" if facts.look is None else facts.look.kernel
    if kernel in ("aarch64", "arm64") and facts.host.machine.startswith("armv"):
        detail = "a 64-bit kernel with 32-bit programs: LiteRT has no library for those"
        mend = "rpi-imager    # on the desk: write Raspberry Pi OS (64-bit)"
        yield Finding(AREA, "32-bit userland", "note", detail, mend, ON_DEVICE)


def memory(facts: Facts) -> Iterator[Finding]:
    """Memory that programs may still take."""
    if facts.look is None or facts.look.memory_bytes is None:
        return
    free, total = facts.look.available_bytes, facts.look.memory_bytes
    words = f"{_size(free)} free of {_size(total)}"
    low = free is not None and free < _MEMORY_LOW
    on_phone = facts.host.system == "android"
    mend = "ps aux --sort=-rss | head    # what takes it" if low and not on_phone else None
    yield Finding(AREA, "memory", "note" if low else "ok", words, mend)


def home(facts: Facts) -> Iterator[Finding]:
    """A user without a home, as in containers that run under any number."""
    if facts.desk is not None and facts.host.folder.startswith("~"):
        detail = "this user has none: caches and measurements have no place"
        yield Finding(AREA, "home folder", "broken", detail, "export HOME=/tmp", _WRITERS)


def disk(facts: Facts) -> Iterator[Finding]:
    """Space for caches and for temporary files."""
    mend = "pip cache purge" if facts.desk is not None else "sudo apt clean"
    if facts.host.system == "android":
        mend = "adb shell pm trim-caches 1G"
    temporary = None if facts.look is None else facts.look.tmp_free_bytes
    for what, free in (("cache", facts.host.free_bytes), ("temporary files", temporary)):
        if free is None:
            continue
        state: State = "broken" if free < _DISK_FULL else "note" if free < _DISK_LOW else "ok"
        yield Finding(
            *(AREA, f"disk for {what}", state, f"{_size(free)} free"),
            None if state == "ok" else mend,
            _WRITERS,
        )


def governor(facts: Facts) -> Iterator[Finding]:
    """How the clock follows the load."""
    if facts.look is None or not facts.look.governors:
        return
    governors, driver = ", ".join(facts.look.governors), facts.look.driver
    words = f"{governors}{f' ({driver})' if driver else ''}"
    mend = None if facts.host.system == "android" else _PERFORMANCE  # a phone has no sudo
    if "powersave" not in facts.look.governors:
        yield Finding(AREA, "CPU governor", "ok", words)
    elif driver in _SCALES_ANYWAY:
        detail = f"{words}: the clock follows the load; for steadier latencies take performance"
        yield Finding(AREA, "CPU governor", "note", detail, mend, ("benchmark",))
    else:
        detail = f"{words}: the clock stays at its lowest, and latencies with it"
        yield Finding(AREA, "CPU governor", "note", detail, mend, ("benchmark",))


def throttling(facts: Facts) -> Iterator[Finding]:
    """What a Raspberry Pi's firmware says of voltage and heat."""
    bits = None if facts.look is None else facts.look.throttled
    if bits is None:
        return
    now = [word for bit, word in _THROTTLED.items() if bits >> bit & 1]
    since = [word for bit, word in _THROTTLED.items() if bits >> bit >> _SINCE_BOOT & 1]
    if now:
        detail = f"now: {', '.join(now)} ({bits:#x}); use its own power supply, and cool it"
        mend = "watch vcgencmd get_throttled    # 0x0 is good"
        yield Finding(AREA, "throttling", "broken", detail, mend, ("benchmark",))
    elif since:
        detail = f"since it was started: {', '.join(since)} ({bits:#x})"
        mend = "sudo reboot    # with its own power supply; then look again"
        yield Finding(AREA, "throttling", "note", detail, mend)
    else:
        yield Finding(AREA, "throttling", "ok", "none since it was started")


def temperature(facts: Facts) -> Iterator[Finding]:
    """The hottest sensor."""
    degrees = None if facts.look is None else facts.look.temperature_c
    if degrees is None:
        return
    hot = degrees >= _HOT_C
    words = f"{degrees:.0f} °C{': it slows down, or soon will; let it cool' if hot else ''}"
    yield Finding(AREA, "temperature", "note" if hot else "ok", words)


def _size(count: int | None) -> str:
    if count is None:
        return "?"
    return f"{count / _GIB:.1f} GiB" if count >= _GIB else f"{count / _MIB:.0f} MiB"


RULES = (
    *(processor, unseen, narrow, memory, home, disk),
    *(governor, throttling, temperature),
)
