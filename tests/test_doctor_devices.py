"""`edgekit doctor --on`: over SSH on loopback, and through a stand-in for adb."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from devices_support import SshServer, StandInAdb, leftovers, ssh_server
from doctor_support import Run, of, program

import edgekit


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "on device"
    monkeypatch.setenv("EDGEKIT_DEVICE_FOLDER", str(folder))
    return folder


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    for server in ssh_server(tmp_path / "server"):
        monkeypatch.setenv("EDGEKIT_SSH", server.command)
        yield server


def test_over_ssh(server: SshServer, folder: Path, run_cli: Run) -> None:
    done = run_cli("doctor", "--on", "ssh:board")
    assert (done.returncode, done.stderr) == (0, "")
    assert "are sent there" in done.stdout and "disk for cache" in done.stdout
    assert done.stdout.splitlines()[-1] == "Next: edgekit benchmark MODEL --on ssh:board"
    assert not folder.exists(), "a folder made for the look stays"


def test_over_ssh_what_is_there_stays(server: SshServer, folder: Path) -> None:
    (folder / "cache").mkdir(parents=True)
    edgekit.doctor("ssh:board")
    assert leftovers(folder) == {"cache"}


def test_a_python_on_a_device(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home with this virtual environment in it, by a wrapper, and one that starts nothing."""
    home = tmp_path / "home"
    program(home / "mine" / "bin", "python3", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    program(home / "stub" / "bin", "python3", "#!/bin/sh\nexit 9\n")
    monkeypatch.setenv("HOME", str(home))
    findings = edgekit.doctor("local")
    path = f"{home}/mine/bin/python3"
    assert f"numpy {np.__version__}" in of(findings, path).detail
    assert of(findings, f"ai_edge_litert in {path}").state == "ok"
    assert of(findings, f"cv2 in {path}").state == "ok"
    assert not any("stub" in finding.what for finding in findings)


def test_over_adb(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Run
) -> None:
    adb = StandInAdb(tmp_path / "adb")
    adb.prepare(path=f"{tmp_path / 'bin'}:/bin:/usr/bin")
    program(
        *(tmp_path / "bin", "getprop"),
        "#!/bin/sh\ncase $1 in *sdk) echo 35;; *model) echo Pixel 9;; esac\n",
    )
    monkeypatch.setenv("EDGEKIT_ADB", adb.command)
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    told = json.loads(run_cli("doctor", "--on", "adb", "--json").stdout)
    by_name = {finding["what"]: finding for finding in told["findings"]}
    assert by_name["NNAPI"]["state"] == "note" and "API level 35" in by_name["NNAPI"]["detail"]
    assert by_name["android"]["detail"].startswith("Pixel 9, ")
    assert "camera" not in by_name and told["on"] == "adb"


def test_a_device_that_can_not_be_reached(
    server: SshServer, run_cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.stop()
    done = run_cli("doctor", "--on", "ssh:board", "--for", "benchmark")
    assert (done.returncode, done.stdout) == (4, "")
    assert "ssh:board: it refuses the connection" in done.stderr
    assert run_cli("doctor", "--on", "nonsense").returncode == 2
    monkeypatch.setenv("EDGEKIT_SSH", "no-such-ssh")
    assert run_cli("doctor", "--on", "ssh:board").returncode == 5


def test_a_device_with_a_fault_that_was_asked_for(folder: Path, run_cli: Run) -> None:
    # No test machine has an Edge TPU's library.
    done = run_cli("doctor", "--on", "local", "--for", "edgetpu")
    if "ok      libedgetpu" in done.stdout:
        pytest.skip("libedgetpu is installed here")
    assert done.returncode == 1
    assert "To mend, on local:\n  # edgetpu\n  sudo apt install libedgetpu1-std\n" in done.stdout
    assert "MISSING libedgetpu" in done.stdout
