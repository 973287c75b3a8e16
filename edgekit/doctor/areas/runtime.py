"""What runs a model: the Python runtime, and the benchmark binary with its library."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from edgekit.doctor.areas.mending import (
    LITERT_MACHINES,
    ON_DEVICE,
    WHEELS,
    has_litert,
    is_armv7,
    newer_venv,
    pip_install,
    runtime_package,
)
from edgekit.doctor.areas.packages import why_not
from edgekit.doctor.facts import Facts, RemotePython
from edgekit.doctor.finding import EVERY, Finding, State

AREA = "Runtime"

#: The glibc that LiteRT's library asks for, read from the libraries of ai-edge-litert 2.3.0.
_GLIBC = {"x86_64": (2, 27), "aarch64": (2, 34)}
#: The last OpenCV that takes numpy 1.
_OPENCV_NUMPY1 = "opencv-python<4.12"
_NEWER_SYSTEM = "sudo apt full-upgrade    # to Debian 12, Ubuntu 22.04 or later"
_NEWER_PI = "rpi-imager    # on the desk: write Raspberry Pi OS (64-bit), Bookworm or later"
_DISTRIBUTIONS = {
    "ai_edge_litert.interpreter": "ai-edge-litert",
    "tflite_runtime.interpreter": "tflite-runtime",
}


def takes(facts: Facts) -> Iterator[Finding]:
    """Which runtime the façade takes, and whether it runs a model."""
    if facts.desk is None:
        return
    tried, packages = facts.desk.runtime, facts.desk.packages
    name = tried.name or "runtime"
    if tried.trial.outcome == "works":
        if name.startswith("tensorflow"):
            detail = "TensorFlow's own copy, which is deprecated and slow to load"
            yield Finding(AREA, name, "note", detail, pip_install(runtime_package(facts, packages)))
        else:
            yield Finding(AREA, name, "ok", "loads and runs a tiny int8 model")
        if tried.wrong:
            yield Finding(AREA, name, "note", *_wrong(tried.wrong, pip_install("ai-edge-litert")))
    elif tried.absent and not tried.refused:
        yield _none(facts)
    elif not (name.startswith("tflite-runtime") and _is_2(packages.version("numpy"))):
        # Else `numpy2` knows the way out.
        package = runtime_package(facts, packages)
        mend = pip_install(package).replace("install", "install --force-reinstall", 1)
        if re.search(r"No module named '?numpy", tried.trial.said):
            mend = pip_install(packages.pin("numpy"))
        yield Finding(AREA, name, "broken", tried.trial.in_words, mend, (EVERY,))


def xnnpack(facts: Facts) -> Iterator[Finding]:
    """Whether the CPU's delegate takes ops."""
    if facts.desk is None or facts.desk.runtime.trial.outcome != "works":
        return
    if facts.desk.runtime.xnnpack:
        yield Finding(AREA, "XNNPACK", "ok", "takes the ops of the tiny model")
    else:
        detail = "doesn't take the tiny model's op: latencies will be those of the plain kernels"
        yield Finding(AREA, "XNNPACK", "note", detail)


def passed_over(facts: Facts) -> Iterator[Finding]:
    """Runtimes that are there and can't be imported: the façade goes on to the next in silence."""
    if facts.desk is None:
        return
    packages = facts.desk.packages
    for module, reason in facts.desk.runtime.refused:
        name = _DISTRIBUTIONS.get(module, module)
        if name == "tflite-runtime" and _is_2(packages.version("numpy")):
            continue  # `numpy2` knows the way out
        if "numpy'" in reason:
            continue  # numpy is missing: that is said of numpy
        mend = pip_install(packages.pin(name)).replace("install", "install --force-reinstall", 1)
        state: State = "note" if facts.desk.runtime.trial.outcome == "works" else "broken"
        yield Finding(AREA, f"import of {name}", state, reason, mend, (EVERY,))


def numpy2(facts: Facts) -> Iterator[Finding]:
    """tflite-runtime's wheels were built for numpy 1: with 2, no model can be loaded."""
    if facts.desk is None:
        return
    packages = facts.desk.packages
    mine, numpy = packages.version("tflite-runtime"), packages.version("numpy")
    if mine is None or not _is_2(numpy):
        return
    if is_armv7(facts):
        mend = pip_install("numpy<2", _OPENCV_NUMPY1)
    else:
        mend = f"pip uninstall -y tflite-runtime && {pip_install(packages.pin('ai-edge-litert'))}"
    state: State = "note" if facts.desk.runtime.trial.outcome == "works" else "broken"
    detail = f"was built for numpy 1, and numpy {numpy} is installed"
    yield Finding(AREA, f"tflite-runtime {mine}", state, detail, mend, (EVERY,))


def glibc(facts: Facts) -> Iterator[Finding]:
    """LiteRT's library needs a C library that is new enough, and glibc."""
    libc, wanted = facts.host.libc or "", _GLIBC.get(facts.host.machine)
    if wanted is None or facts.host.system != "linux":
        return
    mend = _NEWER_PI if facts.look is not None and facts.look.is_raspberry_pi else _NEWER_SYSTEM
    if libc == "musl":
        detail = "the C library is musl, and LiteRT's libraries are for glibc"
        mend = "docker run -it debian:stable    # or another system with glibc"
    elif (found := re.fullmatch(r"glibc (\d+)\.(\d+).*", libc)) is None:
        return
    elif (int(found[1]), int(found[2])) >= wanted:
        yield Finding(AREA, "C library", "ok", f"{libc} (LiteRT needs {wanted[0]}.{wanted[1]})")
        return
    else:
        detail = f"{libc}, and LiteRT's library needs {wanted[0]}.{wanted[1]}"
    yield Finding(AREA, "C library", "broken", detail, mend, ON_DEVICE)


def binary(facts: Facts) -> Iterator[Finding]:
    """The benchmark binaries that are carried, and whether that of this machine runs."""
    if facts.desk is None:
        return
    carried, own = ", ".join(facts.desk.binaries), facts.desk.binary
    if not carried:
        detail = "none is carried; a wheel has them, in a checkout they are built"
        yield Finding(AREA, "edgekit-bench", "missing", detail, "make native", ("benchmark",))
    elif own is not None and own.outcome != "works":
        detail = f"that of this machine doesn't run: {own.in_words}"
        yield Finding(AREA, "edgekit-bench", "broken", detail, "make native", ("benchmark",))
    else:
        here = "runs here; " if own is not None else "none for this machine; "
        yield Finding(
            AREA, "edgekit-bench", "ok" if own else "note", f"{here}carried for {carried}"
        )


def library(facts: Facts) -> Iterator[Finding]:
    """The library that the benchmark binary loads."""
    if facts.desk is None or facts.host.system != "linux":
        return
    if facts.host.machine not in LITERT_MACHINES:
        return
    if not facts.desk.library:
        detail = "libLiteRt.so is not here: edgekit-bench has nothing to load"
        mend = pip_install(facts.desk.packages.pin("ai-edge-litert"))
        yield Finding(AREA, "LiteRT's library", "missing", detail, mend, ("benchmark",))


def on_device(facts: Facts) -> Iterator[Finding]:
    """How a model can run on a device: by what is sent there, or by a Python that is there."""
    if facts.desk is not None or facts.look is None:
        return
    machine = facts.host.machine
    working = [python for python in facts.look.pythons if _runs(python)]
    if facts.host.system == "android":
        detail = "needs your own build of edgekit-bench, and a runtime library: --binary, --runtime"
        yield Finding(AREA, "edgekit-bench", "note", detail)
    elif _takes_ours(facts):
        detail = f"edgekit-bench and LiteRT's library for {machine} are sent there"
        yield Finding(AREA, "edgekit-bench", "ok", detail)
    elif working:
        detail = f"by the Python at {working[0].path}: use --python"
        yield Finding(AREA, "Python runtime", "ok", detail)
    elif not any(_has(python) for python in facts.look.pythons):  # else `in_pythons` says it
        wanted = "tflite-runtime" if is_armv7(facts) else "ai-edge-litert"
        detail = f"nothing there runs a model, and LiteRT has no library for {machine}"
        yield _without_wheel(facts) or Finding(
            *(AREA, "Python runtime", "missing", detail),
            f"python3 -m venv .venv && .venv/bin/pip install {wanted}",
            (EVERY,),
        )


def in_pythons(facts: Facts) -> Iterator[Finding]:
    """What a device's Pythons have and can't import."""
    if facts.look is None:
        return
    pythons = facts.look.pythons
    # A runtime that is broken matters where a model can't run by another.
    needed = () if _takes_ours(facts) or any(map(_runs, pythons)) else (EVERY,)
    for python in pythons:
        packages = dict(python.packages)
        for module, tried in python.trials:
            pip = f"{python.path} -m pip install"
            if tried.outcome == "works":
                what = f"{module.partition('.')[0]} in {python.path}"
                wrong = [name for at, name in python.wrong if at == module]
                if wrong:
                    yield Finding(AREA, what, "note", *_wrong(wrong, f"{pip} ai-edge-litert"))
                else:
                    yield Finding(AREA, what, "ok", "works")
                continue
            detail = tried.in_words
            if module == "cv2":
                detail, mend = why_not(tried, "opencv-python")
                mend = mend.replace("pip install", pip, 1)
            elif module.startswith("tflite_runtime") and _is_2(packages.get("numpy")):
                detail = f"tflite-runtime was built for numpy 1, and {packages['numpy']} is there"
                mend = f'{pip} "numpy<2" "{_OPENCV_NUMPY1}"'
            else:
                mend = f"{pip} --force-reinstall {_DISTRIBUTIONS.get(module, module)}"
            what = f"{module.partition('.')[0]} in {python.path}"
            yield Finding(AREA, what, "broken", detail, mend, () if module == "cv2" else needed)


def _wrong(names: Collection[str], mend: str) -> tuple[str, str]:
    """What to know of a runtime that computes something wrong, and the way out."""
    detail = (
        f"computes {' and '.join(names)} wrong, so models with them are refused; "
        "edgekit convert --runtime VERSION makes one without"
    )
    return detail, mend


def _none(facts: Facts) -> Finding:
    """No runtime is installed: the one that can be, or why none can."""
    assert facts.desk is not None
    blocked = _without_wheel(facts)
    if blocked is not None:
        return blocked
    mend = pip_install(runtime_package(facts, facts.desk.packages))
    return Finding(AREA, "runtime", "missing", "no TFLite runtime is installed", mend, (EVERY,))


def _without_wheel(facts: Facts) -> Finding | None:
    """On 32-bit Arm there is tflite-runtime alone, and it has no wheel past Python 3.11.

    Other processors, and Linux with musl, have no runtime at all.
    """
    if not is_armv7(facts) and not has_litert(facts):
        machine = f"{facts.host.machine} with {facts.host.libc or 'this C library'}"
        detail = f"no TFLite runtime has a wheel for {machine}; take 64-bit x86 or Arm, with glibc"
        return Finding(AREA, "runtime", "missing", detail, None, (EVERY,))
    newest = WHEELS["tflite-runtime"][1]
    pythons = (
        [facts.desk.python[:2]]
        if facts.desk is not None
        else [_two(python.version) for python in (facts.look.pythons if facts.look else ())]
    )
    if not is_armv7(facts) or not pythons or min(pythons) <= newest:
        return None
    dotted = ".".join(map(str, min(pythons)))
    return Finding(
        *(AREA, "tflite-runtime", "missing"),
        f"has no wheel for Python {dotted} (up to {newest[0]}.{newest[1]}), and LiteRT none for "
        "32-bit Arm; the other way out is a 64-bit system",
        newer_venv(newest),
        (EVERY,),
    )


def _takes_ours(facts: Facts) -> bool:
    """Whether a device can run the binary with LiteRT's library."""
    glibc = (facts.host.libc or "").startswith("glibc")
    return facts.host.system == "linux" and glibc and facts.host.machine in LITERT_MACHINES


def _has(python: RemotePython) -> bool:
    return any(module in _DISTRIBUTIONS for module, _ in python.trials)


def _runs(python: RemotePython) -> bool:
    return any(m in _DISTRIBUTIONS and tried.outcome == "works" for m, tried in python.trials)


def _two(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _is_2(version: str | None) -> bool:
    return version is not None and int(version.partition(".")[0]) >= 2


RULES = (takes, xnnpack, passed_over, numpy2, glibc, binary, library, on_device, in_pythons)
