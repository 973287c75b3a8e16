"""`edgekit doctor`: what runs a model."""

from __future__ import annotations

import dataclasses
from typing import Any

from doctor_support import (
    NO_GL,
    ON_DEVICE,
    RPI_IMAGER,
    WORKS,
    AreaTests,
    Trap,
    armv7,
    board,
    local,
    needing,
    of,
    packages,
    phone,
)

from edgekit.doctor import EVERY
from edgekit.doctor.areas import runtime
from edgekit.doctor.examine import judge
from edgekit.doctor.facts import Facts, Need, RemotePython, RuntimeTrial, Trial


def broken_runtime(said: str, name: str | None = None, **changes: Any) -> RuntimeTrial:
    return RuntimeTrial(Trial("refused", said), name, **changes)


NO_RUNTIME = broken_runtime("no TFLite runtime is installed", absent=True)
NUMPY1_ERROR = (  # of tflite-runtime 2.14.0 with numpy 2.4.6, Python 3.11
    "SystemError: <built-in method CreateWrapperFromBuffer of PyCapsule object at 0x7f> returned a "
    "result with an exception set"
)
TFLITE = {"tflite-runtime": "2.14.0", "ai-edge-litert": None}
LITE2 = RemotePython(
    "/home/pi/.venv/bin/python3",
    "3.11.2",
    (("numpy", "2.2.0"), ("tflite-runtime", "2.14.0")),
    (("tflite_runtime.interpreter", Trial("refused", NUMPY1_ERROR)),),
)

TRAPS: dict[str, Trap] = {
    "no runtime": (
        local(runtime=NO_RUNTIME),
        *("runtime", "missing", 'pip install "ai-edge-litert==2.3.0"', (EVERY,)),
    ),
    "no runtime for this Python": (
        local(on={"machine": "armv7l"}, runtime=NO_RUNTIME, python=(3, 13, 1)),
        *("tflite-runtime", "missing"),
        "python3.11 -m venv .venv && .venv/bin/pip install edgekit",
        (EVERY,),
    ),
    "no runtime on armv7": (
        local(
            on={"machine": "armv7l"},
            runtime=NO_RUNTIME,
            **needing(Need("tflite-runtime", ">=2.14")),
        ),
        *("runtime", "missing", 'pip install "tflite-runtime>=2.14"', (EVERY,)),
    ),
    "no runtime for this processor": (
        local(on={"machine": "riscv64"}, runtime=NO_RUNTIME),
        *("runtime", "missing", None, (EVERY,)),
    ),
    "no runtime for musl": (
        local(on={"libc": "musl"}, runtime=NO_RUNTIME),
        *("runtime", "missing", None, (EVERY,)),
    ),
    "no runtime for the processor of a board": (
        board({"machine": "riscv64"}),
        *("runtime", "missing", None, (EVERY,)),
    ),
    "a runtime that crashes": (
        local(runtime=RuntimeTrial(Trial("crashed", "signal 11"))),
        *("runtime", "broken", 'pip install --force-reinstall "ai-edge-litert==2.3.0"', (EVERY,)),
    ),
    "a runtime without numpy": (
        local(runtime=broken_runtime("ModuleNotFoundError: No module named 'numpy'")),
        *("runtime", "broken", 'pip install "numpy>=1.26"', (EVERY,)),
    ),
    "TensorFlow's runtime": (
        local(runtime=RuntimeTrial(WORKS, "tensorflow 2.21.0")),
        *("tensorflow 2.21.0", "note", 'pip install "ai-edge-litert==2.3.0"', ()),
    ),
    "no XNNPACK": (
        local(runtime=RuntimeTrial(WORKS, "tflite-runtime 2.5.0")),
        *("XNNPACK", "note", None, ()),
    ),
    "LiteRT is passed over": (
        local(
            runtime=RuntimeTrial(
                *(WORKS, "tensorflow 2.21.0"),
                refused=(("ai_edge_litert.interpreter", "ImportError: GLIBC_2.34 not found"),),
            )
        ),
        *("import of ai-edge-litert", "note"),
        'pip install --force-reinstall "ai-edge-litert==2.3.0"',
        (EVERY,),
    ),
    "LiteRT can't be imported and nothing else is there": (
        local(
            runtime=broken_runtime(
                "no TFLite runtime is installed",
                absent=True,
                refused=(("ai_edge_litert.interpreter", "ImportError: undefined symbol"),),
            )
        ),
        *("import of ai-edge-litert", "broken"),
        'pip install --force-reinstall "ai-edge-litert==2.3.0"',
        (EVERY,),
    ),
    "tflite-runtime with numpy 2": (
        local(
            packages=packages(installed=TFLITE),
            runtime=broken_runtime(NUMPY1_ERROR, "tflite-runtime 2.14.0"),
        ),
        *("tflite-runtime 2.14.0", "broken"),
        'pip uninstall -y tflite-runtime && pip install "ai-edge-litert==2.3.0"',
        (EVERY,),
    ),
    "tflite-runtime with numpy 2 on armv7": (
        local(
            on={"machine": "armv7l"},
            packages=packages(installed=TFLITE),
            runtime=broken_runtime(NUMPY1_ERROR, "tflite-runtime 2.14.0"),
        ),
        *("tflite-runtime 2.14.0", "broken"),
        'pip install "numpy<2" "opencv-python<4.12"',
        (EVERY,),
    ),
    "tflite-runtime with numpy 2, beside LiteRT": (
        local(packages=packages(installed={"tflite-runtime": "2.14.0"})),
        *("tflite-runtime 2.14.0", "note"),
        'pip uninstall -y tflite-runtime && pip install "ai-edge-litert==2.3.0"',
        (EVERY,),
    ),
    "an old glibc on a Pi": (
        board({"libc": "glibc 2.31"}),
        *("C library", "broken", f"{RPI_IMAGER}, Bookworm or later", ON_DEVICE),
    ),
    "an old glibc elsewhere": (
        board({"libc": "glibc 2.31"}, model="Other board"),
        *("C library", "broken"),
        "sudo apt full-upgrade    # to Debian 12, Ubuntu 22.04 or later",
        ON_DEVICE,
    ),
    "musl": (
        local(on={"libc": "musl"}),
        *("C library", "broken"),
        "docker run -it debian:stable    # or another system with glibc",
        ON_DEVICE,
    ),
    "no binaries": (
        local(binaries=(), binary=None),
        *("edgekit-bench", "missing", "make native", ("benchmark",)),
    ),
    "a binary that doesn't run": (
        local(binary=Trial("refused", "Exec format error")),
        *("edgekit-bench", "broken", "make native", ("benchmark",)),
    ),
    "no library for the binary": (
        local(library=False),
        *("LiteRT's library", "missing", 'pip install "ai-edge-litert==2.3.0"', ("benchmark",)),
    ),
    "nothing runs a model on a board": (
        armv7(),
        *("Python runtime", "missing"),
        "python3 -m venv .venv && .venv/bin/pip install tflite-runtime",
        (EVERY,),
    ),
    "nothing can be installed on a board": (
        armv7(pythons=(RemotePython("/usr/bin/python3", "3.13.5"),)),
        *("tflite-runtime", "missing"),
        "python3.11 -m venv .venv && .venv/bin/pip install edgekit",
        (EVERY,),
    ),
    "tflite-runtime with numpy 2 on a board": (
        armv7(pythons=(LITE2,)),
        *("tflite_runtime in /home/pi/.venv/bin/python3", "broken"),
        '/home/pi/.venv/bin/python3 -m pip install "numpy<2" "opencv-python<4.12"',
        (EVERY,),
    ),
    "libGL on a board": (
        board(pythons=(dataclasses.replace(LITE2, trials=(("cv2", Trial("refused", NO_GL)),)),)),
        *("cv2 in /home/pi/.venv/bin/python3", "broken", "sudo apt install libgl1", ()),
    ),
    "no binary for Android": (phone(34), *("edgekit-bench", "note", None, ())),
}


UNSAID: dict[str, tuple[Facts, str]] = {
    "tflite-runtime with numpy 2 is said once": (
        local(
            packages=packages(installed=TFLITE),
            runtime=RuntimeTrial(WORKS, refused=(("tflite_runtime.interpreter", NUMPY1_ERROR),)),
        ),
        "import of tflite-runtime",
    ),
    "numpy's absence is numpy's": (
        local(
            runtime=RuntimeTrial(
                WORKS, refused=(("ai_edge_litert.interpreter", "No module named 'numpy'"),)
            )
        ),
        "import of ai-edge-litert",
    ),
    "tflite-runtime with numpy 1": (
        local(packages=packages(installed={**TFLITE, "numpy": "1.26.4"})),
        "tflite-runtime 2.14.0",
    ),
    "LiteRT has no library for 32-bit Arm": (
        local(on={"machine": "armv7l"}, library=False),
        "LiteRT's library",
    ),
    "a glibc that doesn't matter": (local(on={"system": "darwin"}), "C library"),
}


class TestRuntime(AreaTests):
    area, traps, unsaid = runtime, TRAPS, UNSAID


def test_a_board_that_runs_models_by_python_only() -> None:
    works = dataclasses.replace(LITE2, path="/p", trials=(("tflite_runtime.interpreter", WORKS),))
    findings = judge(armv7(pythons=(LITE2, works)))
    assert "use --python" in of(findings, "Python runtime").detail
    assert not any(finding.matters(()) for finding in findings)
