"""What this Python sees of this machine: packages, what really loads, the programs there are."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from edgekit.benchmark import artefacts
from edgekit.devices import DeviceFacts
from edgekit.devices.adb import VARIABLE as ADB_VARIABLE
from edgekit.devices.ssh import VARIABLE as SSH_VARIABLE
from edgekit.doctor import requirements, trials
from edgekit.doctor.facts import Desk, Look, Tool, Trial

#: A program that says its version does it at once; adb may have to start its server first.
_SECONDS = 10


def gather(host: DeviceFacts, look: Look | None) -> Desk:
    """Gathers it; most of the time goes by in child processes, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        runtime = pool.submit(trials.runtime)
        opencv = pool.submit(trials.opencv)
        opencl = _where(pool, look is None or _opencl_there(look), trials.opencl)
        edgetpu = _where(pool, look is None or _edgetpu_there(look), trials.edgetpu)
        window = pool.submit(trials.window, "" if look is None else look.display)
        tools = [
            pool.submit(_tool, "edgetpu_compiler", "--version"),
            pool.submit(_tool, "adb", "version", ADB_VARIABLE),
            pool.submit(_tool, "ssh", "-V", SSH_VARIABLE),
            pool.submit(_tool, "java", "-version"),
        ]
        phones = pool.submit(_phones)
        carried = artefacts.carried()
        own = carried.get(host.machine) if host.system == "linux" else None
        binary = None if own is None else pool.submit(trials.run, [str(own), "--version"], _SECONDS)
        packages = requirements.read()
        sdk = os.environ.get("ANDROID_HOME") or os.environ.get("ANDROID_SDK_ROOT")
        return Desk(
            python=sys.version_info[:3],
            packages=packages,
            managed=_managed(),
            runtime=runtime.result(),
            opencv=opencv.result(),
            window=window.result(),
            edgetpu=None if edgetpu is None else edgetpu.result(),
            opencl=None if opencl is None else opencl.result(),
            binaries=tuple(carried),
            binary=None if binary is None else binary.result(),
            library=artefacts.installed_library() is not None,
            tools=(*(tool.result() for tool in tools), _quiet_tool("npm")),
            phones=phones.result(),
            legacy_keras=os.environ.get("TF_USE_LEGACY_KERAS"),
            android_sdk=sdk,
            android_sdk_there=bool(sdk) and Path(sdk or "").is_dir(),
        )


def _where(
    pool: ThreadPoolExecutor, condition: bool, work: Callable[[], Trial]
) -> Future[Trial] | None:
    return pool.submit(work) if condition else None


def _edgetpu_there(look: Look) -> bool:
    return look.library("libedgetpu.so.1") is not None


def _opencl_there(look: Look) -> bool:
    return look.library("libOpenCL.so.1", "libOpenCL.so") is not None


def _tool(name: str, asks: str, variable: str = "") -> Tool:
    given = os.environ.get(variable) or ""
    command, variable = _words(given or name), variable if given else ""
    if not command or shutil.which(command[0]) is None:
        return Tool(name, False, variable=variable)
    tried = trials.run([*command, asks], _SECONDS)
    if tried.outcome != "works":
        return Tool(name, True, fault=tried.in_words, variable=variable)
    return Tool(name, True, _version(tried.said), variable=variable)


def _words(command: str) -> list[str]:
    """A command as a shell takes it apart, or nothing where a quotation doesn't end."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


def _version(said: str) -> str:
    """The first line, without Java's own about the variables that it read options from."""
    lines = (line.strip() for line in said.splitlines())
    return next((line for line in lines if "Picked up " not in line), "")


def _quiet_tool(name: str) -> Tool:
    """A program that takes too long to say its version."""
    return Tool(name, shutil.which(name) is not None)


def _phones() -> tuple[tuple[str, str], ...]:
    """Serial and state of what adb sees."""
    command = _words(os.environ.get(ADB_VARIABLE) or "adb")
    if not command or shutil.which(command[0]) is None:
        return ()
    said = trials.run([*command, "devices"], _SECONDS).said
    _, _, rows = said.partition("List of devices attached")
    pairs = (row.split(None, 1) for row in rows.splitlines())
    return tuple((pair[0], pair[1].strip()) for pair in pairs if len(pair) == 2)


def _managed() -> bool:
    """Whether pip refuses to install into this Python; see PEP 668."""
    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    return sys.prefix == sys.base_prefix and marker.is_file()
