"""Programs of this machine that verbs call."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgekit.doctor.facts import Facts, Tool
from edgekit.doctor.finding import Finding

AREA = "Tools"

#: Gradle 9, which the demo's wrapper fetches, runs on Java 17 or later.
_JAVA = 17
#: What adb says of a device that can't be used, and what to do.
_STATES = {
    "unauthorized": "unlock its screen and accept the question about USB debugging",
    "offline": "plug it in again",
    "no permissions": "it needs udev rules",
}


def compiler(facts: Facts) -> Iterator[Finding]:
    """Coral's compiler, for x86-64 Linux only."""
    if facts.desk is None:
        return
    tool = facts.desk.tool("edgetpu_compiler")
    if not tool.there and (facts.host.system, facts.host.machine) != ("linux", "x86_64"):
        detail = "runs on x86-64 Linux only: compile there"
        yield Finding(AREA, tool.name, "missing", detail, None, ("edgetpu_compiler",))
        return
    where = " (Coral's packages: https://coral.ai/docs/edgetpu/compiler)"
    yield _lacking(tool, "edgetpu-compiler", "edgetpu_compiler", where) or _there(tool)


def adb(facts: Facts) -> Iterator[Finding]:
    """adb, and the phones that it sees."""
    if facts.desk is None:
        return
    tool = facts.desk.tool("adb")
    lacking = _lacking(tool, "adb", "adb")
    if lacking is not None:
        yield lacking
        return
    ready = [serial for serial, state in facts.desk.phones if state == "device"]
    seen = f"sees {', '.join(ready)}" if ready else "sees no device that is ready"
    yield Finding(AREA, "adb", "ok", f"{tool.version or 'there'}; {seen}")
    for serial, state in facts.desk.phones:
        if state == "device":
            continue
        kind = next((kind for kind in _STATES if state.startswith(kind)), "")
        mend = "adb reconnect"
        if kind == "no permissions":
            mend = "sudo apt install android-sdk-platform-tools-common"
        detail = f"is {state}" + (f": {_STATES[kind]}" if kind else "")
        yield Finding(AREA, f"adb:{serial}", "broken", detail, mend, ("adb",))


def ssh(facts: Facts) -> Iterator[Finding]:
    """The way to boards."""
    if facts.desk is None:
        return
    tool = facts.desk.tool("ssh")
    yield _lacking(tool, "openssh-client", "ssh") or _there(tool)


def java(facts: Facts) -> Iterator[Finding]:
    """What Gradle runs on, to build the Android app."""
    if facts.desk is None:
        return
    tool, package = facts.desk.tool("java"), f"openjdk-{_JAVA}-jdk-headless"
    found = re.search(r'"?(\d+)[.\d]*', tool.version.partition("version")[2])
    if found is not None and int(found[1]) < _JAVA:
        detail = f"{tool.version}, and Gradle needs {_JAVA} or later"
        yield Finding(AREA, "java", "broken", detail, f"sudo apt install {package}", ("android",))
    else:
        yield _lacking(tool, package, "android") or _there(tool)


def android_sdk(facts: Facts) -> Iterator[Finding]:
    """Where the Android SDK is."""
    if facts.desk is None:
        return
    mend = 'export ANDROID_HOME="$HOME/Android/Sdk"    # where Android Studio puts it'
    if facts.desk.android_sdk is None:
        detail = "neither ANDROID_HOME nor ANDROID_SDK_ROOT is set"
        yield Finding(AREA, "Android SDK", "missing", detail, mend, ("android",))
    elif not facts.desk.android_sdk_there:
        detail = f"{facts.desk.android_sdk}: no such folder"
        yield Finding(AREA, "Android SDK", "broken", detail, mend, ("android",))
    else:
        yield Finding(AREA, "Android SDK", "ok", facts.desk.android_sdk)


def npm(facts: Facts) -> Iterator[Finding]:
    """Only edgekit's own tests use it: it brings the compiler that checks the app's Kotlin."""
    if facts.desk is None:
        return
    there = facts.desk.tool("npm").there
    detail = "there" if there else "not installed; only edgekit's own tests of the app use it"
    yield Finding(AREA, "npm", "ok" if there else "note", detail)


def _there(tool: Tool) -> Finding:
    return Finding(AREA, tool.name, "ok", tool.version or "there")


def _lacking(tool: Tool, package: str, purpose: str, where: str = "") -> Finding | None:
    """What is wrong with a program that isn't found or doesn't run; None where it does."""
    if tool.there and not tool.fault:
        return None
    detail = f"doesn't run: {tool.fault}" if tool.there else f"not installed{where}"
    mend = f"sudo apt install {'--reinstall ' if tool.there else ''}{package}"
    if tool.variable:
        if not tool.there:
            detail = "names a command that isn't there"
        detail, mend = f"{tool.variable}: {detail}", f"unset {tool.variable}"
    return Finding(AREA, tool.name, "broken" if tool.there else "missing", detail, mend, (purpose,))


RULES = (compiler, adb, ssh, java, android_sdk, npm)
