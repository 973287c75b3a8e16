"""Android devices, against a stand-in for adb that runs everything on this machine.

What is shown is how edgekit uses adb and what it makes of adb's answers; no phone was involved.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from devices_support import StandInAdb, assert_nothing_left, leftovers, userland, wait_until

from edgekit.devices import RunLost, open_device
from edgekit.errors import EdgekitError, MissingError, RuntimeFailure, UsageError


@pytest.fixture
def adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandInAdb:
    adb = StandInAdb(tmp_path / "stand in")
    adb.prepare()
    monkeypatch.setenv("EDGEKIT_ADB", adb.command)
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    return adb


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "on device"
    monkeypatch.setenv("EDGEKIT_DEVICE_FOLDER", str(folder))
    return folder


def refusal(name: str) -> EdgekitError:
    with pytest.raises(EdgekitError) as caught, open_device(name):
        pass
    return caught.value


def test_the_only_device_is_taken(adb: StandInAdb, folder: Path) -> None:
    for name in ("adb", "adb:STANDIN1"):
        with open_device(name) as device:
            assert device.shell("echo ok").stdout == b"ok\n"


def test_facts_of_android(adb: StandInAdb, folder: Path, tmp_path: Path) -> None:
    path = userland("toybox", tmp_path / "bin")
    (tmp_path / "bin" / "getprop").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "getprop").chmod(0o755)
    (adb.folder / "path").write_text(path)
    with open_device("adb") as device:
        assert (device.facts.system, device.facts.libc) == ("android", "bionic")


def test_no_device(adb: StandInAdb) -> None:
    adb.lists()
    error = refusal("adb")
    assert isinstance(error, RuntimeFailure)
    assert "sees no device" in error.message and "USB debugging" in (error.hint or "")


@pytest.mark.parametrize(
    ("row", "meaning", "advice"),
    [
        ("AB12 unauthorized usb:1-2 transport_id:3", "doesn't trust", "accept the question"),
        ("AB12 offline transport_id:3", "is offline", "Unplug"),
        ("AB12 no permissions (missing udev rules?); see [http://x] usb:1-2", "opened", "udev"),
        ("AB12 recovery usb:1-2", "state 'recovery'", "started up"),
    ],
)
def test_device_that_is_not_ready(adb: StandInAdb, row: str, meaning: str, advice: str) -> None:
    adb.lists(row)
    for name in ("adb", "adb:AB12"):
        error = refusal(name)
        assert isinstance(error, RuntimeFailure)
        assert "AB12" in error.message and meaning in error.message
        assert advice in (error.hint or "")


def test_several_devices(adb: StandInAdb, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adb.lists("AB12 device usb:1-1 product:x", "emulator-5554 offline")
    error = refusal("adb")
    assert isinstance(error, UsageError)
    assert error.hint == "Name one: adb:AB12 (device), adb:emulator-5554 (offline)."
    error = refusal("adb:XY")
    assert "sees no device XY" in error.message and "AB12, emulator-5554" in (error.hint or "")
    monkeypatch.setenv("ANDROID_SERIAL", "AB12")
    with open_device("adb"):
        pass


def test_adb_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_ADB", "no-such-adb")
    error = refusal("adb")
    assert isinstance(error, MissingError) and "apt install adb" in (error.hint or "")


def test_unplugged_and_plugged_in_again(adb: StandInAdb, folder: Path) -> None:
    said: list[str] = []
    lines: list[str] = []

    def replug(line: str) -> None:
        lines.append(line)
        if line == "up":
            adb.unplug()

    def notify(sentence: str) -> None:
        said.append(sentence)
        if "the run goes on there" in sentence:
            adb.plug_in()

    program = "echo up >&2; for i in 1 2; do sleep 1; echo $i >&2; done; echo done"
    with open_device("adb", notify=notify, grace_s=30) as device, device.lock("a test"):
        done = device.run(["sh", "-c", program], on_stderr=replug)
        assert (done.exit_code, done.stdout, lines) == (0, b"done\n", ["up", "1", "2"])
    assert said[-1] == "adb: reconnected"
    assert_nothing_left(folder)


def test_unplugged_for_good(adb: StandInAdb, folder: Path) -> None:
    with (
        pytest.raises(RunLost, match="the run is lost to us"),
        open_device("adb", reconnect_s=1, grace_s=4) as device,
        device.lock("a test"),
    ):
        device.run(["sh", "-c", "echo up >&2; exec sleep 1000"], on_stderr=lambda _: adb.unplug())
    wait_until(lambda: leftovers(folder) == set(), "the device's own cleaning", 30)
    assert_nothing_left(folder)


def test_unplugged_before_a_command(adb: StandInAdb, folder: Path) -> None:
    with open_device("adb", reconnect_s=0.5) as device:
        adb.unplug()
        with pytest.raises(RuntimeFailure, match="sees no device"):
            device.shell("true")
