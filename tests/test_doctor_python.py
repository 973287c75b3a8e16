"""`edgekit doctor`: Python itself."""

from __future__ import annotations

from doctor_support import (
    CONVERT,
    AreaTests,
    Trap,
    board,
    local,
    packages,
    phone,
)

from edgekit.doctor import EVERY
from edgekit.doctor.areas import python
from edgekit.doctor.facts import Facts, RemotePython

TRAPS: dict[str, Trap] = {
    "Python 3.9": (
        local(python=(3, 9, 2), packages=packages(python_fits=False)),
        *("version", "broken", "python3.13 -m venv .venv && .venv/bin/pip install edgekit"),
        (EVERY,),
    ),
    "Python newer than LiteRT's wheels": (
        local(python=(3, 15, 0), packages=packages(installed={"ai-edge-litert": None})),
        *("wheel of ai-edge-litert", "missing"),
        "python3.13 -m venv .venv && .venv/bin/pip install edgekit",
        (EVERY,),
    ),
    "Python newer than TensorFlow's wheels": (
        local(python=(3, 14, 0)),
        *("wheel of tensorflow", "missing"),
        'python3.13 -m venv .venv && .venv/bin/pip install "edgekit[convert]"',
        CONVERT,
    ),
    "the system's Python": (
        local(managed=True),
        *("pip", "note", "python3 -m venv .venv && . .venv/bin/activate", ()),
    ),
    "no Python on a board": (
        board(pythons=()),
        *("python3", "missing", "sudo apt install python3 python3-venv", ("bundle",)),
    ),
    "an old Python on a board": (
        board(pythons=(RemotePython("/usr/bin/python3", "3.9.2"),)),
        *("/usr/bin/python3", "note"),
        "sudo apt full-upgrade    # Raspberry Pi OS Bookworm has Python 3.11",
        (),
    ),
}


UNSAID: dict[str, tuple[Facts, str]] = {
    "TensorFlow is there all the same": (
        local(python=(3, 14, 0), packages=packages(installed={"tensorflow": "2.21.0"})),
        "wheel of tensorflow",
    ),
    "the last Python that has wheels": (
        local(python=(3, 14, 0), packages=packages(installed={"ai-edge-litert": None})),
        "wheel of ai-edge-litert",
    ),
    "phones have no Python": (phone(34), "python3"),
}


class TestPython(AreaTests):
    area, traps, unsaid = python, TRAPS, UNSAID
