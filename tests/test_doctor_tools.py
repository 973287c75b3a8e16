"""`edgekit doctor`: the programs that verbs call."""

from __future__ import annotations

from pathlib import Path

import pytest
from doctor_support import AreaTests, Trap, board, local, of, program, without

from edgekit.doctor.areas import tools
from edgekit.doctor.desk import gather
from edgekit.doctor.examine import host_here, judge
from edgekit.doctor.facts import Facts, Look, Tool

TRAPS: dict[str, Trap] = {
    "no edgetpu_compiler": (
        local(**without("edgetpu_compiler")),
        *("edgetpu_compiler", "missing", "sudo apt install edgetpu-compiler"),
        ("edgetpu_compiler",),
    ),
    "no edgetpu_compiler for Arm": (
        local(on={"machine": "aarch64"}, **without("edgetpu_compiler")),
        *("edgetpu_compiler", "missing", None, ("edgetpu_compiler",)),
    ),
    "no adb": (
        local(**without("adb")),
        *("adb", "missing", "sudo apt install adb", ("adb",)),
    ),
    "a phone that doesn't trust us": (
        local(phones=(("PHONE1", "unauthorized"),)),
        *("adb:PHONE1", "broken", "adb reconnect", ("adb",)),
    ),
    "a phone without udev rules": (
        local(phones=(("PHONE1", "no permissions (user in plugdev group); see ..."),)),
        *("adb:PHONE1", "broken"),
        "sudo apt install android-sdk-platform-tools-common",
        ("adb",),
    ),
    "no ssh": (
        local(**without("ssh")),
        *("ssh", "missing", "sudo apt install openssh-client", ("ssh",)),
    ),
    "a compiler that doesn't run": (
        local(tools=(Tool("edgetpu_compiler", True, fault="exit code 127"),)),
        *("edgetpu_compiler", "broken", "sudo apt install --reinstall edgetpu-compiler"),
        ("edgetpu_compiler",),
    ),
    "adb doesn't run": (
        local(tools=(Tool("adb", True, fault="crashes (signal 11)"),)),
        *("adb", "broken", "sudo apt install --reinstall adb", ("adb",)),
    ),
    "another adb that doesn't run": (
        local(tools=(Tool("adb", True, fault="exit code 1", variable="EDGEKIT_ADB"),)),
        *("adb", "broken", "unset EDGEKIT_ADB", ("adb",)),
    ),
    "another ssh that isn't there": (
        local(tools=(Tool("ssh", False, variable="EDGEKIT_SSH"),)),
        *("ssh", "missing", "unset EDGEKIT_SSH", ("ssh",)),
    ),
    "macOS' stand-in for java": (
        local(tools=(Tool("java", True, fault="Unable to locate a Java Runtime."),)),
        *("java", "broken", "sudo apt install --reinstall openjdk-17-jdk-headless", ("android",)),
    ),
    "no java": (
        local(**without("java")),
        *("java", "missing", "sudo apt install openjdk-17-jdk-headless", ("android",)),
    ),
    "an old java": (
        local(tools=(Tool("java", True, 'openjdk version "11.0.2" 2019-01-15'),)),
        *("java", "broken", "sudo apt install openjdk-17-jdk-headless", ("android",)),
    ),
    "no Android SDK": (
        local(android_sdk=None, android_sdk_there=False),
        *("Android SDK", "missing"),
        'export ANDROID_HOME="$HOME/Android/Sdk"    # where Android Studio puts it',
        ("android",),
    ),
    "an Android SDK that isn't there": (
        local(android_sdk_there=False),
        *("Android SDK", "broken"),
        'export ANDROID_HOME="$HOME/Android/Sdk"    # where Android Studio puts it',
        ("android",),
    ),
    "no npm": (local(**without("npm")), *("npm", "note", None, ())),
}


UNSAID = {"adb is of use on the desk alone": (board(), "adb")}


class TestTools(AreaTests):
    area, traps, unsaid = tools, TRAPS, UNSAID


def test_stand_ins_for_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_ = tmp_path / "bin"
    program(bin_, "edgetpu_compiler", "#!/bin/sh\necho Edge TPU Compiler version 16.0.384591198\n")
    program(
        *(bin_, "adb"),
        "#!/bin/sh\nif [ $1 = version ]; then echo Android Debug Bridge version 1.0.41; exit; fi\n"
        "printf '* daemon started\\nList of devices attached\\nPHONE1\\tdevice\\n"
        "PHONE2\\tno permissions (missing udev rules?); see [link]\\n\\n'\n",
    )
    program(
        *(bin_, "java"),
        "#!/bin/sh\necho Picked up JAVA_TOOL_OPTIONS: -Xmx1g >&2\n"
        "echo 'openjdk version \"1.8.0_402\"' >&2\n",
    )
    program(bin_, "ssh", "#!/bin/sh\nexit 255\n")
    monkeypatch.setenv("PATH", f"{bin_}:/bin:/usr/bin")
    for name in ("EDGEKIT_ADB", "EDGEKIT_SSH", "ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    found = gather(host_here(), Look())
    assert found.tool("edgetpu_compiler").version.endswith("16.0.384591198")
    assert found.phones[0] == ("PHONE1", "device") and found.phones[1][1].startswith("no perm")
    findings = judge(Facts(host_here(), Look(), found))
    assert "sees PHONE1" in of(findings, "adb").detail
    assert of(findings, "adb:PHONE2").mend == "sudo apt install android-sdk-platform-tools-common"
    assert of(findings, "java").state == "broken"
    assert of(findings, "ssh").detail == "doesn't run: exit code 255"
    assert of(findings, "Android SDK").state == "missing"


@pytest.mark.parametrize("command", [" ", "'", "no-such-ssh -p 22"])
def test_a_command_of_ones_own_that_is_none(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_SSH", command)
    monkeypatch.setenv("EDGEKIT_ADB", command)
    found = gather(host_here(), Look())
    assert found.tool("ssh") == Tool("ssh", False, variable="EDGEKIT_SSH")
    assert found.tool("adb") == Tool("adb", False, variable="EDGEKIT_ADB")
    assert found.phones == ()
