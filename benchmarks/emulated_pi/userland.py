"""An arm64 Debian like that of a Raspberry Pi, emulated, which SSH reaches on this machine.

    sudo python benchmarks/emulated_pi/userland.py make     # once, about 4 minutes
    sudo python benchmarks/emulated_pi/userland.py start    # prints how to reach it
    sudo python benchmarks/emulated_pi/userland.py stop

Nothing is left registered, mounted or running after `make` and `stop`.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from binfmt import Registration, tool

from edgekit.errors import EXIT_INTERRUPTED, EdgekitError, RuntimeFailure, UsageError

FOLDER = Path(__file__).resolve().parents[2] / "build" / "emulated_pi"
SUITE = "bookworm"
PACKAGES = ("ca-certificates", "libstdc++6", "openssh-server", "python3", "python3-venv")
#: The Raspberry Pi 4's core. qemu reads it from QEMU_CPU at every program start; under its default,
#: `max`, int8 results of XNNPACK are wrong.
CPU = "cortex-a72"
#: Of AT_HWCAP (Linux, arch/arm64/include/uapi/asm/hwcap.h): FP, ASIMD, EVTSTRM, AES, PMULL, SHA1,
#: SHA2, CRC32 and CPUID are all that the core (Armv8.0) can have.
_CPU_HWCAP = 0x8FF
CORES = 4
USER, _UID = "pi", 1000
_HOST_ALIAS = "edgekit-emulated-pi"
_START_SECONDS, _STOP_SECONDS = 90, 10

#: As on a Raspberry Pi 4, but without its `Model` line: a device name would be a lie here. The
#: features are those of the real chip, which lacks the cryptographic ones.
CPUINFO = "".join(
    f"""processor\t: {core}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
    for core in range(CORES)
) + ("Hardware\t: BCM2835\n")

#: Read before Debian's own settings, and the first value of each counts. sshd gives a session a
#: fresh environment, so the CPU is set here for everything that a session starts.
SSHD_CONFIG = f"""ListenAddress 127.0.0.1
AllowUsers {USER}
AuthenticationMethods publickey
HostKey /etc/ssh/ssh_host_ed25519_key
SetEnv QEMU_CPU={CPU}
UsePAM no
UseDNS no
PrintLastLog no
PidFile none
"""

#: Given the root folder, the cpuinfo and a port. The mounts are seen from inside alone. Under the
#: host's own cpuinfo, which qemu lets through, XNNPACK's detection of an Arm CPU crashes.
INIT = """
mount -t proc proc "$1/proc"
mount --bind "$2" "$1/proc/cpuinfo"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$1/dev/pts"
exec chroot "$1" /usr/sbin/sshd -D -e -p "$3"
"""


@dataclass(frozen=True)
class Connection:
    """How to reach the running userland.

    Attributes:
        port: On 127.0.0.1.
        config: The ssh client's configuration: the key, and the host key to expect.
        pid: The process that holds everything inside; when it ends, all of it ends.
        started: When that began, in clock ticks since boot: a reused pid is told apart by it.
    """

    port: int
    config: Path
    pid: int
    started: int

    @property
    def device(self) -> str:
        """As `edgekit benchmark --on` takes it."""
        return f"ssh:{USER}@127.0.0.1:{self.port}"

    @property
    def ssh(self) -> tuple[str, ...]:
        """The ssh client with its configuration, without a destination."""
        return ("ssh", "-F", str(self.config))

    @property
    def environment(self) -> Mapping[str, str]:
        """What `edgekit` needs to use that client."""
        return {"EDGEKIT_SSH": shlex.join(self.ssh)}

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Runs a shell command inside, over SSH."""
        return subprocess.run(
            [*self.ssh, "-p", str(self.port), f"{USER}@127.0.0.1", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


class Userland:
    """An emulated arm64 Debian in a folder: made once, then started and stopped.

    Attributes:
        root: Its root folder.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        """Touches nothing yet.

        Args:
            folder: Where all of it lies: the root folder, downloaded packages, keys, logs.
        """
        self._folder = folder.resolve()
        self.root = self._folder / "root"
        self._ssh = self._folder / "ssh"
        self._cpuinfo = self._folder / "cpuinfo"
        self._log = self._folder / "sshd.log"
        self._state = self._folder / "running.json"
        self._binfmt = Registration(f"{zlib.crc32(bytes(self._folder)):08x}")

    def make(self, notify: Callable[[str], None] = lambda stage: None) -> bool:
        """Builds the root folder, unless it is there. Downloads are kept for a second attempt.

        Args:
            notify: Called with each stage of the work.

        Returns:
            Whether there was anything to do.

        Raises:
            MissingError: debootstrap, qemu or another program is not installed.
            RuntimeFailure: Not root, binfmt_misc can't be mounted, or debootstrap failed.
        """
        for program in ("debootstrap", "qemu-aarch64-static", "ssh", "ssh-keygen"):
            tool(program)
        _need_root()
        with self._locked():
            if self.root.exists():
                return False
            unfinished = self.root.with_name("root.part")
            if unfinished.exists():
                shutil.rmtree(unfinished)
            self._make_keys()
            try:
                self._binfmt.enable()
                self._bootstrap(unfinished, notify)
                self._configure(unfinished)
            finally:
                if self.connection() is None:
                    self._binfmt.disable()
            unfinished.rename(self.root)
        return True

    def start(self, port: int = 0) -> Connection:
        """Starts its sshd on 127.0.0.1 and waits until a session works and has the right CPU.

        Args:
            port: 0 for any that is free.

        Returns:
            The connection; the one there is where it runs already.

        Raises:
            UsageError: It is not made yet.
            MissingError: A program is not installed.
            RuntimeFailure: Not root, binfmt_misc can't be mounted, or sshd doesn't answer.
        """
        tool("ssh")
        _need_root()
        if not self.root.exists():
            raise UsageError(
                f"{self.root}: the userland is not made yet",
                "Make it, in about 4 minutes: sudo python benchmarks/emulated_pi/userland.py make",
            )
        with self._locked():
            running = self.connection()
            if running is not None:
                return running
            try:
                self._binfmt.enable()
                connection = self._spawn(port or _free_port())
                self._state.write_text(json.dumps({**asdict(connection), "config": None}))
                _wait_until_usable(connection, self._log)
            except BaseException:
                self._stop()
                raise
        return connection

    def stop(self) -> None:
        """Ends everything that runs inside, and takes back what `start` registered and mounted.

        Raises:
            RuntimeFailure: Not root, or it doesn't end.
        """
        _need_root()
        with self._locked():
            self._stop()

    @contextlib.contextmanager
    def running(self) -> Iterator[Connection]:
        """Starts it for a `with` block, unless it runs already: then it stays."""
        ours = self.connection() is None
        connection = self.start()
        try:
            yield connection
        finally:
            if ours:
                self.stop()

    def connection(self) -> Connection | None:
        """How to reach it, or None while it doesn't run."""
        try:
            state = json.loads(self._state.read_text())
        except FileNotFoundError:
            return None
        connection = Connection(**{**state, "config": self._ssh / "config"})
        return connection if _start_of(connection.pid) == connection.started else None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One `make`, `start` or `stop` of a folder at a time."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RuntimeFailure(
                    f"{self._folder}: another process is making, starting or stopping it",
                    "Wait for it to end.",
                ) from error
            yield

    def _make_keys(self) -> None:
        """A key for the user and one for the host, which the client then knows."""
        self._ssh.mkdir(mode=0o700, exist_ok=True)
        for name in ("id_ed25519", "ssh_host_ed25519_key"):
            if not (self._ssh / name).exists():
                command = [tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", _HOST_ALIAS]
                subprocess.run([*command, "-f", str(self._ssh / name)], check=True)
        host_key = (self._ssh / "ssh_host_ed25519_key.pub").read_text()
        (self._ssh / "known_hosts").write_text(f"{_HOST_ALIAS} {host_key}")

    def _bootstrap(self, root: Path, notify: Callable[[str], None]) -> None:
        packages = self._folder / "packages"
        packages.mkdir(exist_ok=True)
        command = [tool("debootstrap"), "--arch=arm64", "--variant=minbase"]
        command += [f"--include={','.join(PACKAGES)}", f"--cache-dir={packages}", SUITE, str(root)]
        # It ends with us even where we are killed: what comes next may delete the folder.
        process = subprocess.Popen(
            [tool("setpriv"), "--pdeathsig=KILL", *_unshare(), *command],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        log = self._folder / "debootstrap.log"
        try:
            _follow(process, log, notify)
        finally:
            if process.poll() is None:
                _end(process.pid)
            code = process.wait()
        if code != 0:
            raise RuntimeFailure(
                f"debootstrap ended with {code}: {_last_words(log)}",
                f"See {log} and {root}/debootstrap/debootstrap.log; what was downloaded is kept.",
            )

    def _configure(self, root: Path) -> None:
        """Turns a plain Debian into the machine that SSH reaches."""
        (root / "proc" / "cpuinfo").write_text(CPUINFO)  # for a chroot without /proc
        self._cpuinfo.write_text(CPUINFO)
        cpus = root / "sys" / "devices" / "system" / "cpu"
        cpus.mkdir(parents=True)
        for name in ("possible", "present"):
            (cpus / name).write_text(f"0-{CORES - 1}\n")
        (root / "run" / "sshd").mkdir(mode=0o755, parents=True, exist_ok=True)
        etc = root / "etc" / "ssh"
        (etc / "sshd_config.d" / "emulated_pi.conf").write_text(SSHD_CONFIG)
        for key in etc.glob("ssh_host_*"):
            key.unlink()
        for name in ("ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"):
            shutil.copy(self._ssh / name, etc / name)
        # The password `*` matches none; without -p the account is locked, and sshd refuses it.
        useradd = ["useradd", "--create-home", "--shell=/bin/bash", f"--uid={_UID}", "--password=*"]
        subprocess.run([tool("chroot"), str(root), *useradd, USER], env=_environment(), check=True)
        keys = root / "home" / USER / ".ssh" / "authorized_keys"
        keys.parent.mkdir(mode=0o700)
        shutil.copy(self._ssh / "id_ed25519.pub", keys)
        for path in (keys.parent, keys):
            os.chown(path, _UID, _UID)

    def _spawn(self, port: int) -> Connection:
        config = self._ssh / "config"
        config.write_text(
            "Host 127.0.0.1\n"
            f"  HostKeyAlias {_HOST_ALIAS}\n"
            f'  IdentityFile "{self._ssh}/id_ed25519"\n'
            f'  UserKnownHostsFile "{self._ssh}/known_hosts"\n'
            "  IdentitiesOnly yes\n"
            "  StrictHostKeyChecking yes\n"
            "  BatchMode yes\n"
        )
        with self._log.open("w") as log:
            process = subprocess.Popen(
                [*_unshare(), "sh", "-euc", INIT, "sh", self.root, self._cpuinfo, str(port)],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        started = _start_of(process.pid)
        if started is None:
            raise RuntimeFailure(f"unshare ended at once: {_last_words(self._log)}")
        return Connection(port, config, process.pid, started)

    def _stop(self) -> None:
        connection = self.connection()
        if connection is not None:
            _end(connection.pid)
            deadline = time.monotonic() + _STOP_SECONDS
            while not _ended(connection):
                if time.monotonic() > deadline:
                    raise RuntimeFailure(f"process {connection.pid} doesn't end", "Try again.")
                time.sleep(0.05)
        self._state.unlink(missing_ok=True)
        self._binfmt.disable()


def _unshare() -> list[str]:
    """Runs what follows with process ids and mounts of its own: all of it ends with its root."""
    return [tool("unshare"), "--fork", "--pid", "--kill-child", "--mount"]


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "QEMU_CPU": CPU}


def _follow(process: subprocess.Popen[str], log: Path, notify: Callable[[str], None]) -> None:
    """Keeps all output in the log and says where a new stage begins; until the end."""
    began, stage = time.monotonic(), ""
    assert process.stdout is not None
    with log.open("w", buffering=1) as file:
        for line in process.stdout:
            file.write(line)
            words = line.split()
            # Each package is retrieved, then validated: that makes one stage.
            if words[:1] == ["I:"] and words[1] not in (stage, "Validating"):
                stage = words[1]
                notify(f"{time.monotonic() - began:5.0f} s  {' '.join(words[1:])}")
    process.wait()


def _last_words(log: Path) -> str:
    return " / ".join(log.read_text().strip().splitlines()[-3:])


def _wait_until_usable(connection: Connection, log: Path) -> None:
    """Waits for a session that runs as the pinned CPU.

    Raises:
        RuntimeFailure: sshd ended, gives no session in time, or a session has another CPU.
    """
    deadline = time.monotonic() + _START_SECONDS
    # glibc's loader prints what the kernel, here qemu, tells a program about its processor.
    while (result := connection.run("uname -m && LD_SHOW_AUXV=1 /bin/true")).returncode != 0:
        if _ended(connection) or time.monotonic() > deadline:
            raise RuntimeFailure(
                f"the userland's sshd gives no session: {result.stderr.strip()}; "
                f"it said: {_last_words(log)}",
                f"See {log}.",
            )
        time.sleep(0.5)
    machine, *auxiliary = result.stdout.splitlines()
    values = dict(line.split(":", 1) for line in auxiliary if ":" in line)
    hwcap = int(values["AT_HWCAP"], 16)
    if machine != "aarch64" or hwcap & ~_CPU_HWCAP:
        raise RuntimeFailure(
            f"a session inside is {machine} with AT_HWCAP {hwcap:#x}, not a {CPU}",
            "The registered emulator doesn't read QEMU_CPU; see /proc/sys/fs/binfmt_misc.",
        )


def _start_of(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None where it has ended."""
    try:
        # The second field is the name in parentheses, which can hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _end(pid: int) -> None:
    """Ends the process tree that `_unshare` began: its first process takes all others with it.

    `unshare` itself ends when that is done, and is killed only where it has begun nothing yet.
    """
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for target in [int(child) for child in children] or [pid]:
            os.kill(target, signal.SIGKILL)


def _ended(connection: Connection) -> bool:
    return _start_of(connection.pid) != connection.started


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _need_root() -> None:
    if os.geteuid() != 0:
        raise RuntimeFailure(
            "making and starting the userland needs root (it mounts, registers and enters a root "
            "folder)",
            f"Run it again with sudo: sudo {shlex.join([sys.executable, *sys.argv])}",
        )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("make", "start", "stop"))
    parser.add_argument("--folder", type=Path, default=FOLDER, help="default: build/emulated_pi")
    parser.add_argument("--port", type=int, default=0, help="of `start`; default: a free one")
    arguments = parser.parse_args()
    userland = Userland(arguments.folder)
    if arguments.action == "make":
        made = userland.make(lambda stage: print(stage, flush=True))
        print(f"{userland.root}: {'made' if made else 'was made already'}")
    elif arguments.action == "start":
        connection = userland.start(arguments.port)
        variables = shlex.join(f"{k}={v}" for k, v in connection.environment.items())
        print(f"{shlex.join(connection.ssh)} -p {connection.port} {USER}@127.0.0.1")
        print(f"env {variables} edgekit benchmark MODEL.tflite --on {connection.device}")
    else:
        userland.stop()
    return 0


@contextlib.contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """Says what went wrong and ends with the documented code; SIGTERM tidies up as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    except EdgekitError as error:
        print(f"Error: {error.message}", *filter(None, [error.hint]), sep="\n  ", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    with errors_as_exit_codes():
        sys.exit(main())
