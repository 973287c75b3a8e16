"""Python itself."""

from __future__ import annotations

from collections.abc import Iterator

from edgekit.doctor.areas.mending import EXTRAS, WHEELS, newer_venv
from edgekit.doctor.facts import Facts
from edgekit.doctor.finding import EVERY, Finding

AREA = "Python"
_OLDEST = (3, 10)


def version(facts: Facts) -> Iterator[Finding]:
    """Whether edgekit allows this Python."""
    if facts.desk is None:
        return
    words = ".".join(map(str, facts.desk.python))
    wanted = facts.desk.packages.requires_python
    if not facts.desk.packages.python_fits:
        detail = f"{words}, and edgekit wants {wanted}"
        yield Finding(AREA, "version", "broken", detail, newer_venv(_best()), (EVERY,))
    else:
        yield Finding(AREA, "version", "ok", words + (f" (edgekit wants {wanted})" * bool(wanted)))


def wheels(facts: Facts) -> Iterator[Finding]:
    """Packages that can't be installed, since they have no wheel for this Python."""
    if facts.desk is None or facts.desk.python < _OLDEST:
        return
    for name, extra, purposes in (
        ("ai-edge-litert", "", (EVERY,)),
        ("tensorflow", "convert", EXTRAS["convert"]),
    ):
        newest = WHEELS[name][1]
        if facts.desk.packages.version(name) is None and facts.desk.python[:2] > newest:
            detail = f"none for Python {_dotted(facts.desk.python[:2])}: up to {_dotted(newest)}"
            mend = newer_venv(_best(), extra)
            yield Finding(AREA, f"wheel of {name}", "missing", detail, mend, purposes)


def managed(facts: Facts) -> Iterator[Finding]:
    """Whether pip refuses to install into the system's Python (Debian 12 and later)."""
    if facts.desk is not None and facts.desk.managed:
        yield Finding(
            AREA,
            "pip",
            "note",
            "refuses to install into the system's Python (PEP 668)",
            "python3 -m venv .venv && . .venv/bin/activate",
        )


def there(facts: Facts) -> Iterator[Finding]:
    """The Pythons of a device; only a package for the Pi, and --python, need one."""
    if facts.desk is not None or facts.look is None or facts.host.system == "android":
        return
    for python in facts.look.pythons:
        packages = ", ".join(f"{name} {version}" for name, version in python.packages)
        detail = f"{python.version}: {packages or 'nothing of ours'}"
        if _parsed(python.version) < _OLDEST:
            mend = "sudo apt full-upgrade    # Raspberry Pi OS Bookworm has Python 3.11"
            yield Finding(AREA, python.path, "note", f"{detail}; too old for edgekit", mend)
        else:
            yield Finding(AREA, python.path, "ok", detail)
    if not facts.look.pythons:
        yield Finding(
            *(AREA, "python3", "missing", "none was found"),
            "sudo apt install python3 python3-venv",
            ("bundle",),
        )


def _best() -> tuple[int, int]:
    """The newest Python that all of edgekit can be installed in."""
    return min(newest for name, (_, newest) in WHEELS.items() if name != "tflite-runtime")


def _dotted(python: tuple[int, ...]) -> str:
    return ".".join(map(str, python))


def _parsed(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


RULES = (version, wheels, managed, there)
