"""What holds for every device: one suite over this machine, SSH and a stand-in for adb.

The SSH server is a real one on loopback. adb's is a stand-in that runs everything here, in
Android's shell and tools (mksh, toybox) where they are installed: no phone was involved.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from devices_support import (
    SshServer,
    StandInAdb,
    assert_nothing_left,
    fill,
    leftovers,
    processes,
    tmpfs,
    userland,
    wait_until,
)

from edgekit.devices import Device, RunInterrupted, open_device
from edgekit.errors import RuntimeFailure, UnreadableError, UsageError

#: `local` is this machine with its own tools; the next two are what routers and phones have.
ROADS = ("local", "busybox", "toybox", "ssh", "adb", "adb-old")


@pytest.fixture(autouse=True)
def ctrl_c() -> Iterator[None]:
    """Also where the tests run in the background of a script, which has them ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder on the device; its name asks for quotes."""
    folder = tmp_path / "on device's disk"
    monkeypatch.setenv("EDGEKIT_DEVICE_FOLDER", str(folder))
    return folder


@pytest.fixture(params=ROADS)
def road(
    request: pytest.FixtureRequest,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The name of a device; the environment is set up to reach it."""
    if request.param in ("busybox", "toybox"):
        monkeypatch.setenv("PATH", userland(request.param, tmp_path / "bin"))
        return "local"
    if request.param == "ssh":
        server: SshServer = request.getfixturevalue("server")
        monkeypatch.setenv("EDGEKIT_SSH", server.command)
        return f"ssh:{server.host}"
    if request.param.startswith("adb"):
        adb = StandInAdb(tmp_path / "adb")
        has_android_tools = all(Path(f"/usr/bin/{name}").exists() for name in ("mksh", "toybox"))
        path = userland("toybox", tmp_path / "bin") if has_android_tools else None
        adb.prepare(old=request.param == "adb-old", path=path)
        monkeypatch.setenv("EDGEKIT_ADB", adb.command)
        return "adb"
    return "local"


@pytest.fixture
def device(road: str, folder: Path) -> Iterator[Device]:
    """Connected; afterwards nothing but the cache is left."""
    with open_device(road, grace_s=5) as device:
        yield device
    assert_nothing_left(folder)


@pytest.fixture
def local(folder: Path) -> Iterator[Device]:
    """This machine, for what is the same on all roads."""
    with open_device("local", grace_s=5) as device:
        yield device
    assert_nothing_left(folder)


# --- facts, shell


def test_facts_and_shell(device: Device, folder: Path, request: pytest.FixtureRequest) -> None:
    facts = device.facts
    assert (facts.system, facts.machine) == ("linux", platform.machine())
    assert facts.libc is None or re.fullmatch(r"glibc \d+\.\d+|musl", facts.libc)
    assert 1 <= facts.cores <= (os.cpu_count() or 1)
    assert facts.folder == str(folder)
    assert facts.free_bytes is not None and facts.free_bytes > 0

    done = device.shell("echo 'it'\"'\"'s' \"\\$HOME\" ü; echo oh >&2; exit 7")
    if "adb-old" in request.node.name:  # one stream for both
        assert (done.exit_code, done.stdout) == (7, "it's $HOME ü\noh\n".encode())
    else:
        assert (done.exit_code, done.stdout, done.stderr) == (7, "it's $HOME ü\n".encode(), "oh\n")

    file = folder / "a file"
    assert not device.exists(str(file))
    every_byte = bytes(range(256)) * 40 + b"\n\nedgekit-0 end 0\n\r\n"
    file.write_bytes(every_byte)
    assert device.exists(str(file)) and device.read(str(file)) == every_byte
    file.unlink()
    with pytest.raises(RuntimeFailure, match="a file: can't be read"):
        device.read(str(file))


def test_stdin_of_a_script(device: Device, request: pytest.FixtureRequest) -> None:
    if "adb-old" in request.node.name:
        pytest.skip("adb's exec-out, for phones before Android 7, has no input")
    assert device.shell("cat", stdin=b"\0\r\n\xff").stdout == b"\0\r\n\xff"


def test_a_32_bit_userland_is_called_so() -> None:
    from edgekit.devices.facts import _from_probe

    probed = (
        "system=Linux\nmachine=aarch64\nbits=32\nlibc=glibc 2.36\ncores=4\nfree=1\nfolder=/a\nb\n"
    )
    facts = _from_probe(probed)
    assert (facts.machine, facts.cores, facts.free_bytes) == ("armv7l", 4, 1024)
    assert facts.folder == "/a\nb"


# --- files


@pytest.mark.parametrize("name", ["model.tflite", 'it\'s "a"\nmödel', "-rf", "x" * 250])
def test_put_copies_once(device: Device, folder: Path, tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    source.write_bytes(os.urandom(100_000))
    with device.lock("a test"):
        remote = device.put(source)
        copied = Path(remote).stat()
        assert Path(remote).parent == folder / "cache"
        assert Path(remote).read_bytes() == source.read_bytes() == device.read(remote)
        assert device.put(source) == remote
        assert Path(remote).stat().st_ino == copied.st_ino


def test_put_mends_a_damaged_copy_and_runs_programs(device: Device, tmp_path: Path) -> None:
    program = tmp_path / "say it.sh"
    program.write_text('#!/bin/sh\necho "$1"\n')
    with device.lock("a test"):
        remote = device.put(program, executable=True)
        Path(remote).write_text("#!/bin/sh\necho no\n")
        assert device.put(program, executable=True) == remote
        assert remote.endswith("-say_it.sh")
        done = device.run([remote, "yes"])
    assert (done.exit_code, done.stdout) == (0, b"yes\n")


def test_what_cannot_be_put(local: Device, tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure, match="not locked"):
        local.put(tmp_path)
    with local.lock("a test"):
        for missing in (tmp_path / "missing", tmp_path):
            with pytest.raises(UnreadableError, match=re.escape(str(missing))):
                local.put(missing)


def test_clean_removes_everything(device: Device, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with device.lock("a test"):
        device.put(tmp_path / "file")
    device.clean()
    assert not folder.exists()


def test_clean_leaves_what_is_not_ours(local: Device, folder: Path) -> None:
    (folder / "holiday.jpg").touch()
    local.clean()
    assert leftovers(folder) == {"holiday.jpg"}
    (folder / "holiday.jpg").unlink()


# --- runs

_EVERY_ARGUMENT = ["", " ", "it's", '"', "$HOME `id`", "a\nb", "-n", "\\n", "ü", "*", "%s", "!"]


def test_run_passes_all_through(device: Device) -> None:
    lines: list[str] = []
    program = (
        "printf '%s\\0' \"$@\"; echo first >&2; sleep 1; echo '>.' >&2; printf last >&2; exit 3"
    )
    with device.lock("a test"):
        done = device.run(["sh", "-c", program, "sh", *_EVERY_ARGUMENT], on_stderr=lines.append)
    assert done.exit_code == 3 and not done.timed_out
    assert done.stdout.decode().split("\0")[:-1] == _EVERY_ARGUMENT
    assert lines == ["first", ">.", "last"]
    assert done.stderr == "first\n>.\nlast"


def test_run_keeps_every_byte(device: Device, tmp_path: Path) -> None:
    data = os.urandom(300_000) + bytes(range(256)) + b"\nedgekit-0 end 0\n"
    (tmp_path / "data").write_bytes(data)
    with device.lock("a test"):
        assert device.run(["cat", str(tmp_path / "data")]).stdout == data
        assert device.run(["no-such-program"]).exit_code == 127


@pytest.mark.parametrize("road", ["local", "busybox", "toybox", "ssh"], indirect=True)
def test_run_ends_at_its_time_limit(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.devices.jobs.END_S", 1)
    program = "trap 'echo partial; exit 9' INT; echo up; while :; do sleep 0.1; done"
    stubborn = "trap '' INT; echo up; while :; do sleep 0.1; done"
    with device.lock("a test"):
        done = device.run(["sh", "-c", program], timeout_s=1)
        assert (done.exit_code, done.stdout, done.timed_out) == (9, b"up\npartial\n", True)
        done = device.run(["sh", "-c", stubborn], timeout_s=1)
        assert (done.exit_code, done.stdout, done.timed_out) == (128 + 9, b"up\n", True)


def test_run_ends_children_left_behind(local: Device, folder: Path) -> None:
    with local.lock("a test"):
        assert local.run(["sh", "-c", "sleep 1000 & echo ok"]).stdout == b"ok\n"
        wait_until(lambda: not processes(folder), "the end of the child", 5)


def test_run_cleans_up_after_an_error_of_ours(device: Device, folder: Path) -> None:
    def fails(line: str) -> None:
        raise ValueError(line)

    with device.lock("a test"):
        with pytest.raises(ValueError, match="oops"):
            device.run(["sh", "-c", "echo oops >&2; sleep 1000"], on_stderr=fails)
        assert leftovers(folder) == {"lock"}


def test_run_killed_from_outside(local: Device, folder: Path) -> None:
    def kill_all(line: str) -> None:
        for found in processes(folder):
            os.kill(int(found.partition(":")[0]), signal.SIGKILL)

    with local.lock("a test"), pytest.raises(RuntimeFailure, match="ended from outside"):
        local.run(["sh", "-c", "echo up >&2; exec sleep 1000"], on_stderr=kill_all)


def test_run_whose_minder_is_killed(local: Device, folder: Path) -> None:
    """As when the device runs out of memory: the program itself is not forgotten."""

    def kill_minder(line: str) -> None:
        (job,) = (folder / "jobs").iterdir()
        os.kill(int((job / "pid").read_text()), signal.SIGKILL)

    with local.lock("a test"), pytest.raises(RuntimeFailure, match="ended from outside"):
        local.run(["sh", "-c", "echo up >&2; exec sleep 1000"], on_stderr=kill_minder)


def test_run_whose_folder_is_removed(local: Device, folder: Path) -> None:
    with local.lock("a test"), pytest.raises(RuntimeFailure, match="the run is gone"):
        local.run(
            ["sh", "-c", "sleep 2; echo up >&2; exec sleep 1000"],
            on_stderr=lambda _: shutil.rmtree(folder / "jobs"),
        )


@pytest.mark.parametrize("argv", [[], ["-x"], ["a", "b\0"]])
def test_what_cannot_be_run(local: Device, argv: list[str]) -> None:
    with local.lock("a test"), pytest.raises(UsageError, match="can't be run"):
        local.run(argv)


@pytest.mark.parametrize("road", ["local", "toybox", "ssh"], indirect=True)
def test_run_is_stopped_by_another_thread(device: Device) -> None:
    program = "trap 'echo partial; exit 5' INT; echo up >&2; while :; do sleep 0.1; done"
    stop = threading.Event()
    with device.lock("a test"):
        with pytest.raises(RunInterrupted) as caught:
            device.run(["sh", "-c", program], on_stderr=lambda _: stop.set(), stop=stop)
        done = caught.value.finished
        assert done is not None and (done.exit_code, done.stdout) == (5, b"partial\n")
        with pytest.raises(RunInterrupted):  # nothing is begun any more
            device.run(["sh", "-c", program], stop=stop)


# --- lock


def test_lock_excludes_and_is_released(device: Device, road: str, folder: Path) -> None:
    with open_device(road) as other:
        with device.lock("benchmark of\nm.tflite"):
            with pytest.raises(RuntimeFailure) as caught, other.lock("other"):
                pytest.fail("two hold one lock")
            assert re.search(
                rf"in use by .+@.+ \(process {os.getpid()}\) since 20\d\d-.*, "
                "for: benchmark of m.tflite",
                caught.value.message,
            )
            with pytest.raises(RuntimeFailure, match="in use by"):
                other.clean()
        with pytest.raises(ValueError), device.lock("a test"):
            raise ValueError
        with other.lock("other"):
            pass
    assert leftovers(folder) == set()


def test_stale_lock_is_taken_over(road: str, folder: Path, tmp_path: Path) -> None:
    """What a power cut leaves: a lock, a run without processes, half a file."""
    said: list[str] = []
    (tmp_path / "file").write_text("x")
    with open_device(road) as first, open_device(road, notify=said.append) as second:
        with first.lock("first"):
            (folder / "lock" / "lease").write_text("1000000000\n")
            (folder / "jobs" / "dead").mkdir(parents=True)
            (folder / "cache").mkdir()
            (folder / "cache" / ".part.1").touch()
            with second.lock("second"):
                assert leftovers(folder) == {"lock", "cache"}
                with pytest.raises(RuntimeFailure, match=r"taken over by .+@"):
                    first.run(["true"])
        assert len(said) == 1 and re.search(r"took over from .*first", said[0])
    assert_nothing_left(folder)


def test_lock_is_renewed_while_nothing_happens(
    local: Device, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a long cool-down."""
    monkeypatch.setattr("edgekit.devices.lock._RENEW_S", 0.1)
    with local.lock("a test"):
        (folder / "lock" / "lease").write_text("1000000000\n")
        renewed = folder / "lock" / "lease"
        wait_until(lambda: renewed.read_text() > "1000000000\n", "a new lease")


def test_lock_of_an_earlier_boot_is_stale(local: Device, folder: Path) -> None:
    with local.lock("first"):
        owner = folder / "lock" / "owner"
        rows = owner.read_text().splitlines()
        owner.write_text("\n".join([*rows[:4], "another boot"]) + "\n")
        with open_device("local") as second, second.lock("second"):
            pass


# --- full disks, forbidden execution


def test_full_disk(road: str, folder: Path, tmp_path: Path) -> None:
    fits, large = tmp_path / "fits", tmp_path / "large"
    fits.write_bytes(b"x" * 1000)
    large.write_bytes(bytes(9 << 20))
    with tmpfs(folder, "size=4m,mode=700"), open_device(road, grace_s=5) as device:
        with device.lock("a test"):
            with pytest.raises(
                RuntimeFailure, match=r"10\.0 MiB needed, \d\.\d MiB free"
            ) as caught:
                device.put(large)
            assert "EDGEKIT_DEVICE_FOLDER" in (caught.value.hint or "")
            device.put(fits)
            with pytest.raises(RuntimeFailure, match="ran full during the run"):
                device.run(["cat", str(large)])
            assert leftovers(folder) == {"lock", "cache"}
            fill(folder)
            with pytest.raises(RuntimeFailure, match="full"):
                device.put(large)
            with pytest.raises(RuntimeFailure, match="full"):
                device.run(["true"])
            assert leftovers(folder) == {"lock", "cache", "filler"}
        fill(folder)
        with pytest.raises(RuntimeFailure, match="full"), device.lock("a test"):
            pass
        assert leftovers(folder) == {"cache", "filler"}
        (folder / "filler").unlink()
        assert_nothing_left(folder)


def test_disk_that_fills_up_while_copying(road: str, folder: Path, tmp_path: Path) -> None:
    """The free space was enough when it was asked for."""
    from edgekit.devices import cache

    large = tmp_path / "large"
    large.write_bytes(bytes(9 << 20))
    with (
        tmpfs(folder, "size=4m,mode=700"),
        pytest.MonkeyPatch.context() as patch,
        open_device(road) as device,
        device.lock("a test"),
    ):
        patch.setattr(cache, "_MARGIN_BYTES", -(20 << 20))
        with pytest.raises(RuntimeFailure, match="its disk is full"):
            device.put(large)
        assert list((folder / "cache").iterdir()) == []


def test_forbidden_execution(folder: Path) -> None:
    with (
        tmpfs(folder, "size=4m,noexec,mode=700"),
        open_device("local") as device,
        device.lock("a test"),
    ):
        assert device.put(Path(__file__))
        with pytest.raises(RuntimeFailure, match="noexec") as caught:
            device.put(Path(__file__), executable=True)
        assert "EDGEKIT_DEVICE_FOLDER" in (caught.value.hint or "")


def test_folder_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_DEVICE_FOLDER", "/dev/null/edgekit")
    with pytest.raises(RuntimeFailure, match="Not a directory"), open_device("local"):
        pass
    monkeypatch.setenv("EDGEKIT_DEVICE_FOLDER", "relative")
    with pytest.raises(UsageError, match="no absolute path"), open_device("local"):
        pass


# --- Ctrl-C, a host that dies

_HOST = """
import json, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from edgekit.devices import RunInterrupted, open_device
with open_device(sys.argv[1], grace_s=2) as device, device.lock("a test"):
    try:
        device.run(["sh", "-c", sys.argv[2]], on_stderr=lambda line: print(line, flush=True))
    except RunInterrupted as stop:
        done = stop.finished
        print(json.dumps([done.exit_code, done.stdout.decode()]))
        sys.exit(isinstance(stop, KeyboardInterrupt) and 130)
"""


@pytest.fixture
def host(road: str) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts an edgekit in a process of its own, running an sh program on the device."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str) -> subprocess.Popen[str]:
        host = subprocess.Popen(
            [sys.executable, "-c", _HOST, road, program], text=True, stdout=subprocess.PIPE
        )
        started.append(host)
        assert host.stdout is not None
        assert host.stdout.readline() == "up\n"
        return host

    yield start
    for host in started:
        host.kill()
        host.communicate()


def test_ctrl_c_keeps_the_partial_result(
    host: Callable[[str], subprocess.Popen[str]], folder: Path
) -> None:
    program = "trap 'echo partial; exit 5' INT; echo up >&2; while :; do sleep 0.1; done"
    running = host(program)
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=30)
    assert json.loads(output) == [5, "partial\n"]
    assert running.returncode == 130
    assert_nothing_left(folder)


@pytest.mark.parametrize("road", ["local", "toybox", "ssh"], indirect=True)
def test_a_host_that_dies_leaves_nothing(
    host: Callable[[str], subprocess.Popen[str]], folder: Path
) -> None:
    running = host("echo up >&2; sleep 1000")
    running.kill()
    wait_until(lambda: leftovers(folder) == set(), "the end of the deserted run", 30)
    assert_nothing_left(folder)


# --- names


@pytest.mark.parametrize(
    "name",
    [
        "",
        "pi@host",
        "local:1",
        "ssh",
        "ssh:",
        "ssh:-oProxyCommand=x",
        "ssh:pi@-x",
        "ssh:pi@",
        "ssh:@host",
        "ssh:host:0",
        "ssh:host:99999",
        "ssh:host:x",
        "ssh:a b",
        "ssh:a\nb",
        "ssh:[::1",
        "ssh:[host]:22",
        "adb:",
        "adb:a b",
    ],
)
def test_names_of_no_device(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_device(name)
    assert caught.value.hint


def test_nothing_is_written_while_a_name_is_read(folder: Path) -> None:
    for name in ("local", "ssh:pi@host", "ssh:pi@[::1]:22", "ssh:::1", "adb", "adb:1.2.3.4:5555"):
        assert open_device(name).name == name
    assert not folder.exists()
