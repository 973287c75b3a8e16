"""What can go wrong between here and an SSH host, against a real OpenSSH server on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from devices_support import (
    SshServer,
    assert_nothing_left,
    leftovers,
    processes,
    ssh_server,
    wait_until,
)

from edgekit.devices import ConnectionLost, RunLost, open_device
from edgekit.errors import EdgekitError, MissingError, RuntimeFailure, UsageError

#: Says that it is up, goes on for three seconds, and leaves a word at the end.
PROGRAM = "echo up >&2; for i in 1 2 3; do sleep 1; echo $i >&2; done; echo done"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    for server in ssh_server(tmp_path / "server"):
        monkeypatch.setenv("EDGEKIT_SSH", server.command)
        yield server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "on device"
    monkeypatch.setenv("EDGEKIT_DEVICE_FOLDER", str(folder))
    return folder


def refusal(name: str) -> EdgekitError:
    """The error of an attempt to connect."""
    with pytest.raises(EdgekitError) as caught, open_device(name):
        pass
    return caught.value


def sockets() -> set[str]:
    return {str(path) for path in Path("/tmp").glob("edgekit-*/s*")}


# --- connecting


def test_names_that_reach_the_server(server: SshServer, folder: Path) -> None:
    before = sockets()
    for name in (f"ssh:{server.host}", f"ssh:127.0.0.1:{server.port}", "ssh:board"):
        with open_device(name) as device:
            assert device.name == name
            assert device.shell("echo ok").stdout == b"ok\n"
            assert sockets() != before
    assert sockets() == before


def test_one_login_for_everything(server: SshServer, folder: Path) -> None:
    with open_device("ssh:board") as device, device.lock("a test"):
        device.run(["true"])
        device.put(Path(__file__))
    log = (server.folder / "log").read_text()
    assert log.count("Accepted publickey") == 1


def test_a_talkative_login_is_not_in_the_way(server: SshServer, folder: Path) -> None:
    """As a `.bashrc` that prints, or a banner that a system administrator wants shown."""
    greeting = "echo 'Welcome to the board!'; echo 'You have mail' >&2"
    server.log_in_with(f'{greeting}; exec sh -c "$SSH_ORIGINAL_COMMAND"')
    with open_device("ssh:board") as device, device.lock("a test"):
        assert device.shell("echo ok").stdout == b"ok\n"
        assert device.run(["echo", "ok"]).stdout == b"ok\n"


@pytest.mark.parametrize("login_shell", ["bash", "dash", "busybox sh", "mksh"])
def test_login_shells(server: SshServer, folder: Path, login_shell: str) -> None:
    if shutil.which(login_shell.split()[0]) is None:
        pytest.skip(f"{login_shell} is not installed")
    server.log_in_with(f'exec {login_shell} -c "$SSH_ORIGINAL_COMMAND"')
    with open_device("ssh:board") as device, device.lock("a test"):
        assert device.run(["printf", "%s", "it's \\ \n$HOME"]).stdout == b"it's \\ \n$HOME"


def test_unknown_name(server: SshServer) -> None:
    error = refusal("ssh:pi@name.invalid")
    assert isinstance(error, RuntimeFailure)
    assert error.message == "ssh:pi@name.invalid: there is no host of that name"


def test_refused_port(server: SshServer) -> None:
    server.stop()
    error = refusal(f"ssh:{server.host}")
    assert error.message.endswith("it refuses the connection") and "SSH server" in (
        error.hint or ""
    )


def test_unknown_host_key(server: SshServer) -> None:
    server.forget_host()
    error = refusal(f"ssh:{server.host}")
    assert "host key is not known yet" in error.message
    assert f"{server.command} -p {server.port} {server.user}@127.0.0.1" in (error.hint or "")
    assert (server.folder / "known_hosts").read_text() == "", "a key was accepted unasked"


def test_changed_host_key(server: SshServer) -> None:
    server.stop()
    server.make_key("host")
    server.start()
    error = refusal(f"ssh:{server.host}")
    assert "host key is not the one known" in error.message
    assert f"ssh-keygen -R '[127.0.0.1]:{server.port}'" in (error.hint or "")


def test_key_that_is_not_accepted(server: SshServer) -> None:
    authorized = server.folder / "authorized"
    authorized.write_text((server.folder / "stranger.pub").read_text())
    error = refusal("ssh:board")
    assert "accepts none of the keys" in error.message and "ssh-copy-id board" in (error.hint or "")


def test_ssh_that_is_missing_or_misconfigured(
    server: SshServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (server.folder / "config").open("a") as config:
        config.write("NoSuchOption yes\n")
    assert isinstance(refusal("ssh:board"), UsageError)
    monkeypatch.setenv("EDGEKIT_SSH", "no-such-ssh -v")
    error = refusal("ssh:board")
    assert isinstance(error, MissingError) and "no-such-ssh" in error.message


@pytest.mark.parametrize(
    ("name", "variable"), [("ssh:board", "EDGEKIT_SSH"), ("adb", "EDGEKIT_ADB")]
)
def test_variables_that_are_no_command(
    name: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for told in ("  ", "ssh 'unclosed"):
        monkeypatch.setenv(variable, told)
        with pytest.raises(UsageError, match=variable):
            open_device(name)


def test_port_that_never_answers(server: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts and says nothing, as behind some firewalls."""
    # Of options given twice, ssh takes the first.
    monkeypatch.setenv("EDGEKIT_SSH", f"{server.command} -o ConnectTimeout=1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert "doesn't answer" in refusal(f"ssh:127.0.0.1:{silent.getsockname()[1]}").message


# --- the connection breaks


def test_run_is_collected_after_the_server_died(server: SshServer, folder: Path) -> None:
    said: list[str] = []
    lines: list[str] = []

    def crash(line: str) -> None:
        lines.append(line)
        if line == "up":
            server.stop()
            server.start()

    with (
        open_device("ssh:board", notify=said.append, reconnect_s=20, grace_s=30) as device,
        device.lock("a test"),
    ):
        done = device.run(["sh", "-c", PROGRAM], on_stderr=crash)
        assert (done.exit_code, done.stdout) == (0, b"done\n")
        assert lines == ["up", "1", "2", "3"], "each line once, over both connections"
    assert any("the run goes on there" in sentence for sentence in said)
    assert said[-1] == "ssh:board: reconnected"
    assert_nothing_left(folder)


def test_run_is_lost_when_the_server_stays_away(server: SshServer, folder: Path) -> None:
    with (
        pytest.raises(RunLost) as caught,
        open_device("ssh:board", reconnect_s=1, grace_s=5) as device,
        device.lock("a test"),
    ):
        device.run(["sh", "-c", "echo up >&2; exec sleep 1000"], on_stderr=lambda _: server.stop())
    assert "the run is lost to us" in caught.value.message
    assert "refuses the connection" in caught.value.message
    assert "goes on there until" in (caught.value.hint or "") and str(folder) in caught.value.hint
    assert processes(folder), "it goes on there"
    assert "lock" in leftovers(folder)
    wait_until(lambda: leftovers(folder) == set(), "the device's own cleaning", 30)
    assert_nothing_left(folder)


def test_outputs_are_kept_for_a_while(server: SshServer, folder: Path) -> None:
    """A run that ends while we are away; nobody comes back in time."""
    with (
        pytest.raises(RunLost),
        open_device("ssh:board", reconnect_s=0.5, grace_s=8) as device,
        device.lock("a test"),
    ):
        device.run(
            ["sh", "-c", "echo up >&2; sleep 2; echo done"], on_stderr=lambda _: server.stop()
        )
    (job,) = (folder / "jobs").iterdir()
    wait_until(lambda: (job / "exit").read_text().startswith("0\n"), "the end of the run")
    assert (job / "stdout").read_text() == "done\n"
    wait_until(lambda: leftovers(folder) == set(), "the device's own cleaning", 30)


def test_device_in_use_by_a_lost_run(server: SshServer, folder: Path) -> None:
    with (
        pytest.raises(RunLost),
        open_device("ssh:board", reconnect_s=0.5, grace_s=4) as device,
        device.lock("the first"),
    ):
        device.run(["sh", "-c", "echo up >&2; exec sleep 1000"], on_stderr=lambda _: server.stop())
    server.start()
    with open_device("ssh:board") as device:
        with pytest.raises(RuntimeFailure, match=r"in use by .* for: the first"), device.lock("b"):
            pass
        wait_until(lambda: leftovers(folder) == set(), "the device's own cleaning", 30)
        with device.lock("the second"):
            assert device.run(["echo", "ok"]).stdout == b"ok\n"


def test_server_restarted_between_two_commands(server: SshServer, folder: Path) -> None:
    said: list[str] = []
    with (
        open_device("ssh:board", notify=said.append, reconnect_s=20) as device,
        device.lock("a test"),
    ):
        assert device.run(["echo", "1"]).stdout == b"1\n"
        server.stop()
        server.start()
        assert device.run(["echo", "2"]).stdout == b"2\n"
        server.stop()
        server.start()
    assert said[-1] == "ssh:board: reconnected"
    assert_nothing_left(folder)


def test_upload_that_is_cut(server: SshServer, folder: Path, tmp_path: Path) -> None:
    """The file is a pipe that gives half of its bytes, so the cut comes in the middle."""
    from edgekit.devices.ssh import Address, SshTransport

    half = tmp_path / "half"
    os.mkfifo(half)
    # One writer throughout: between two of them the reader would see the end of the file.
    feeder = subprocess.Popen(
        ["sh", "-c", f"exec >{half}; head -c 200000 /dev/zero; exec sleep 1000"]
    )
    transport = SshTransport("ssh:board", Address("board", None))
    transport.connect()
    folder.mkdir()
    part = folder / "part"
    try:

        def cut() -> None:
            wait_until(lambda: part.exists() and part.stat().st_size == 200_000, "half a file")
            server.stop()

        thread = threading.Thread(target=cut)
        thread.start()
        with pytest.raises(ConnectionLost):
            transport.upload(half, str(part), f"[ $(wc -c <'{part}') = 400000 ] || rm '{part}'")
        thread.join()
    finally:
        feeder.kill()
        feeder.wait()
        transport.close()
    wait_until(lambda: not part.exists(), "the end of the half file")


@pytest.mark.slow
def test_cable_is_pulled(server: SshServer, folder: Path) -> None:
    """The server falls silent without a word; ssh's own questions notice it in 15 s."""
    said: list[str] = []
    silent: list[int] = []

    def silence(line: str) -> None:
        silent.extend(server.sessions())
        for pid in silent:
            os.kill(pid, signal.SIGSTOP)

    with (
        open_device("ssh:board", notify=said.append, reconnect_s=20, grace_s=60) as device,
        device.lock("a test"),
    ):
        done = device.run(["sh", "-c", "echo up >&2; sleep 1; echo done"], on_stderr=silence)
        assert done.stdout == b"done\n"
    for pid in silent:
        os.kill(pid, signal.SIGCONT)
    assert said[-1] == "ssh:board: reconnected"
    assert_nothing_left(folder)


def test_device_started_anew_in_the_middle(server: SshServer, folder: Path) -> None:
    """As after a power cut: the processes are gone, and the boot has another name."""

    def reboot(line: str) -> None:
        server.stop()
        for found in processes(folder):
            os.kill(int(found.partition(":")[0]), signal.SIGKILL)
        (job,) = (folder / "jobs").iterdir()
        (job / "boot").write_text("another boot\n")
        server.start()

    with (
        open_device("ssh:board", reconnect_s=20) as device,
        device.lock("a test"),
        pytest.raises(RuntimeFailure, match="started anew in the middle"),
    ):
        device.run(["sh", "-c", "echo up >&2; exec sleep 1000"], on_stderr=reboot)
    assert_nothing_left(folder)
