"""Devices for the tests: other userlands, a real SSH server on loopback, a stand-in for adb."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: What the scripts of edgekit.devices use on a device beside sh, and the programs of the tests.
TOOLS = (
    "cat chmod date df getconf grep head mkdir mv nohup nproc printf rm rmdir sed setsid sha256sum "
    "sleep tail touch uname wc"
)


def wait_until(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Waits for something that happens in another process; fails the test when it doesn't."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds} s")
        time.sleep(0.05)


# --- userlands


def userland(kind: str, folder: Path) -> str:
    """A PATH with nothing in it but one userland.

    Args:
        kind: `busybox`, or `toybox` with mksh for sh, as on Android.
        folder: An empty folder for the links.
    """
    box, shell = shutil.which(kind), shutil.which("mksh" if kind == "toybox" else "busybox")
    if box is None or shell is None:
        pytest.skip(f"{kind} or its shell is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    offered = subprocess.run([box, *(["--list"] if kind == "busybox" else [])], text=True,
                             capture_output=True, check=False).stdout.split()  # fmt: skip
    for tool in set(TOOLS.split()).intersection(offered):
        (folder / tool).symlink_to(box)
    (folder / "sh").symlink_to(shell)
    return str(folder)


# --- what is left


def leftovers(folder: Path) -> set[str]:
    """What is in the device's folder."""
    return {entry.name for entry in folder.iterdir()} if folder.exists() else set()


def processes(folder: Path) -> list[str]:
    """Processes that were started by a job in the folder, or work in it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            inside = (entry / "cwd").readlink().is_relative_to(folder)
            if command and (inside or f"{folder}/jobs/" in command):
                found.append(f"{entry.name}: {command}")
    return found


def assert_nothing_left(folder: Path) -> None:
    """Only the cache is there, the lock is free, and no process of ours runs."""
    wait_until(lambda: not processes(folder), f"the end of {processes(folder)}", 5)
    assert leftovers(folder) <= {"cache"}
    if (folder / "cache").exists():
        assert not [e for e in (folder / "cache").iterdir() if e.name.startswith(".")]


# --- mounts


@contextlib.contextmanager
def tmpfs(folder: Path, options: str) -> Iterator[Path]:
    """A small file system in memory."""
    # By its path: PATH may hold the tools of another userland.
    mount, umount = (shutil.which(name, path="/usr/bin:/bin") for name in ("mount", "umount"))
    if os.getuid() != 0 or mount is None or umount is None:
        pytest.skip("mounting a small file system needs root")
    folder.mkdir(parents=True)
    command = [mount, "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:  # root of a container may not
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([umount, "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Uses all the space there is."""
    with (folder / "filler").open("ab", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))


# --- a real SSH server


@dataclass
class SshServer:
    """A real sshd on 127.0.0.1 with keys, config and known hosts of its own.

    Attributes:
        folder: Where all of it lives.
        port: Where it listens.
        user: Who may log in.
    """

    folder: Path
    port: int = 0
    user: str = field(default_factory=getpass.getuser)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"{self.user}@127.0.0.1:{self.port}"

    @property
    def command(self) -> str:
        """For EDGEKIT_SSH."""
        return shlex.join(["ssh", "-F", str(self.folder / "config")])

    def prepare(self) -> None:
        self.folder.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        for name in ("host", "user", "stranger"):
            self.make_key(name)
        write = self._write
        write("authorized", (self.folder / "user.pub").read_text())
        write(
            "sshd_config",
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host\n"
            f"AuthorizedKeysFile {self.folder}/authorized\nPidFile none\nUsePAM no\n"
            "StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PrintMotd no\nPrintLastLog no\nPermitRootLogin prohibit-password\n",
        )
        write(
            "config",
            f"Host board\n  HostName 127.0.0.1\n  Port {self.port}\n  User {self.user}\n"
            f"Host *\n  IdentityFile {self.folder}/user\n  IdentitiesOnly yes\n"
            f"  IdentityAgent none\n  UserKnownHostsFile {self.folder}/known_hosts\n"
            "  GlobalKnownHostsFile /dev/null\n",
        )
        self.know_host()

    def make_key(self, name: str) -> None:
        for path in (self.folder / name, self.folder / f"{name}.pub"):
            path.unlink(missing_ok=True)
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
        subprocess.run(keygen, check=True, stdin=subprocess.DEVNULL)

    def know_host(self) -> None:
        kind, key, *_ = (self.folder / "host.pub").read_text().split()
        self._write("known_hosts", f"[127.0.0.1]:{self.port} {kind} {key}\n")

    def forget_host(self) -> None:
        self._write("known_hosts", "")

    def log_in_with(self, script: str) -> None:
        """Has each session run this instead of its command, which is in SSH_ORIGINAL_COMMAND."""
        self._write("login", f"#!/bin/sh\n{script}\n")
        (self.folder / "login").chmod(0o700)
        with (self.folder / "sshd_config").open("a") as config:
            config.write(f"ForceCommand {self.folder}/login\n")
        self.stop()
        self.start()

    def start(self) -> None:
        log = self.folder / "log"
        arguments = ["-D", "-f", str(self.folder / "sshd_config"), "-E", str(log)]
        self._process = subprocess.Popen(
            ["/usr/sbin/sshd", *arguments], stdin=subprocess.DEVNULL, start_new_session=True
        )
        process = self._process
        wait_until(
            lambda: process.poll() is not None or self._answers(), "an answer of the SSH server"
        )
        if process.poll() is not None:
            pytest.skip(f"sshd doesn't run here: {log.read_text().strip()}")

    def stop(self) -> None:
        """Ends the server and its sessions as a crash would; what they started stays."""
        if self._process is None:
            return
        for pid in [*self.sessions(), self._process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def sessions(self) -> list[int]:
        """The server's own processes that serve a connection."""
        assert self._process is not None
        found, parents = [], [self._process.pid]
        while parents:
            children = _children(parents.pop())
            servers = [pid for pid in children if _command(pid).startswith("sshd")]
            found += servers
            parents += servers
        return found

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o600)


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(word) for word in text.split()]
    return []


def ssh_server(folder: Path) -> Iterator[SshServer]:
    """For fixtures: a server that runs until the fixture ends."""
    for program in ("/usr/sbin/sshd", "ssh", "ssh-keygen"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: openssh-server)")
    if os.getuid() == 0:  # sshd wants its empty folder; a service manager would make it
        with contextlib.suppress(OSError):
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    server = SshServer(folder)
    server.prepare()
    server.start()
    try:
        yield server
    finally:
        server.stop()


# --- a stand-in for adb

#: It runs here what it should run on a phone: nothing of it shows that a real phone would do the
#: same. It keeps to what is documented of adb: `devices -l`, `features`, `shell -T` with both
#: outputs and the exit code (shell protocol 2), and for older devices `exec-out` with one stream
#: and no exit code.
_STAND_IN = r"""
import os, pathlib, shutil, subprocess, sys, threading

home = pathlib.Path(__file__).parent
unplugged, old = home / "unplugged", (home / "old").exists()
arguments, serial = sys.argv[1:], "STANDIN1"
if arguments[:1] == ["-s"]:
    serial, arguments = arguments[1], arguments[2:]
verb, rest = arguments[0], arguments[1:]


def fail(message):
    sys.exit(f"error: {message}")


if verb == "devices":
    print("* daemon started successfully\nList of devices attached")
    print("" if unplugged.exists() else (home / "devices").read_text())
    sys.exit()
if unplugged.exists():
    fail(f"device '{serial}' not found")
if verb == "get-state":
    print("device")
elif verb == "features":
    print("cmd\nstat_v2" if old else "cmd\nshell_v2\nstat_v2")
elif verb == "push":
    try:
        shutil.copyfile(*rest)
    except OSError as error:
        sys.exit(f"adb: error: failed to copy {rest[0]!r}: remote {error.strerror}")
    print("1 file pushed, 0 skipped.")
elif (verb == "exec-out") or (verb == "shell" and rest[0] == "-T"):
    if verb == "shell" and old:
        fail("target doesn't support PTY args -Tt")
    path = (home / "path").read_text() if (home / "path").exists() else os.environ["PATH"]
    child = subprocess.Popen(
        ["sh", "-c", rest[-1]],
        env={"PATH": path, "HOME": "/nowhere"},
        stdin=sys.stdin if verb == "shell" else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if verb == "exec-out" else subprocess.PIPE,
    )

    def pass_on(source, target):
        while block := os.read(source.fileno(), 65536):
            try:
                target.buffer.write(block)
                target.buffer.flush()
            except BrokenPipeError:  # nobody listens any more
                os._exit(1)

    pairs = [(child.stdout, sys.stdout), (child.stderr, sys.stderr)]
    pumps = [threading.Thread(target=pass_on, args=p, daemon=True) for p in pairs if p[0]]
    for pump in pumps:
        pump.start()
    while any(pump.is_alive() for pump in pumps):
        if unplugged.exists():  # the device's side only notices when it writes
            os._exit(1)
        pumps[0].join(0.02)
    sys.exit(child.wait() if verb == "shell" else 0)
else:
    fail(f"unknown command {verb}")
"""


@dataclass
class StandInAdb:
    """A program that takes adb's arguments and runs everything on this machine.

    Attributes:
        folder: Where it lives; the files in it say how it behaves.
    """

    folder: Path

    @property
    def command(self) -> str:
        """For EDGEKIT_ADB."""
        return shlex.join([sys.executable, "-S", str(self.folder / "adb.py")])

    def prepare(self, *, old: bool = False, path: str | None = None) -> None:
        self.folder.mkdir()
        (self.folder / "adb.py").write_text(_STAND_IN)
        self.lists("STANDIN1 device usb:1-1 product:stand_in model:Stand_In transport_id:1")
        if old:
            (self.folder / "old").touch()
        if path is not None:
            (self.folder / "path").write_text(path)

    def lists(self, *rows: str) -> None:
        (self.folder / "devices").write_text("\n".join(rows) + "\n")

    def unplug(self) -> None:
        (self.folder / "unplugged").touch()

    def plug_in(self) -> None:
        (self.folder / "unplugged").unlink()
