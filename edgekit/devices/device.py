"""The façade: a device by its name, with its facts, its lock, its files and its runs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from edgekit.devices import cache, facts, jobs, lock
from edgekit.devices.adb import AdbTransport
from edgekit.devices.connection import Connection, failed
from edgekit.devices.facts import DeviceFacts
from edgekit.devices.local import LocalTransport
from edgekit.devices.ssh import Address, SshTransport
from edgekit.devices.transport import Finished, Transport, quote
from edgekit.errors import RuntimeFailure, UsageError

FORMS = "A device is one of: local, ssh:[USER@]HOST[:PORT], adb, adb:SERIAL."


def open_device(
    name: str,
    *,
    notify: Callable[[str], object] | None = None,
    reconnect_s: float = 60,
    grace_s: int = 600,
) -> Device:
    """A device by its name; `with` connects to it.

    Args:
        name: `local`, `ssh:[USER@]HOST[:PORT]` (an alias of the ssh config too, an IPv6 address in
            brackets), `adb` or `adb:SERIAL`.
        notify: Called with each sentence that the user should see at once.
        reconnect_s: For how long to try to come back after the connection broke.
        grace_s: For how long a run goes on on the device without us, and for how long its outputs
            are kept when it has ended.

    Raises:
        UsageError: The name has none of these forms.
    """
    kind, _, rest = name.partition(":")
    transport: Transport
    if name == "local":
        transport = LocalTransport(name)
    elif kind == "ssh" and rest:
        transport = SshTransport(name, Address.parse(rest))
    elif name == "adb" or (kind == "adb" and rest and rest.isprintable() and " " not in rest):
        transport = AdbTransport(name, rest or None)
    else:
        raise UsageError(f"{name}: is no device", FORMS)
    return Device(transport, notify or _unheard, reconnect_s, grace_s)


class Device:
    """A machine that edgekit can bring files to and run programs on.

    Files and runs need the lock:

        with open_device("ssh:pi@raspberrypi.local") as device, device.lock("a benchmark"):
            program = device.put(Path("edgekit-bench"), executable=True)
            done = device.run([program, "--version"])

    Attributes:
        facts: What it is; there once it is connected.
    """

    facts: DeviceFacts

    def __init__(
        self,
        transport: Transport,
        notify: Callable[[str], object],
        reconnect_s: float,
        grace_s: int,
    ) -> None:
        self._transport = transport
        self._notify = notify
        self._reconnect_s = reconnect_s
        self._grace_s = grace_s
        self._token: str | None = None

    @property
    def name(self) -> str:
        """The device as the user wrote it."""
        return self._transport.name

    @property
    def is_local(self) -> bool:
        """Whether it is this machine, whose files need not be copied."""
        return isinstance(self._transport, LocalTransport)

    def __enter__(self) -> Device:
        """Connects, and asks the device what it is.

        Raises:
            RuntimeFailure: It can't be reached, or our folder can't be made there.
            MissingError: `ssh` or `adb` is not installed here.
        """
        self._transport.connect()
        try:
            self.facts = facts.probe(self._transport)
        except BaseException:
            self._transport.close()
            raise
        self._connection = Connection(
            self._transport, self.facts.folder, self._notify, self._reconnect_s
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._transport.close()

    @contextlib.contextmanager
    def lock(self, what: str) -> Iterator[None]:
        """Holds the device for us alone, as far as other edgekits are concerned.

        It is a lock of our folder there, so users of the device with folders of their own don't
        see each other.

        Args:
            what: What for, to be told to whoever finds it taken.

        Raises:
            RuntimeFailure: Another one holds it; the message says who, since when and for what.
        """
        with lock.locked(self._connection, what) as token:
            self._token = token
            try:
                yield
            finally:
                self._token = None

    def put(self, source: Path, executable: bool = False) -> str:
        """Brings a file to the device, unless it is there; returns its absolute path there.

        Raises:
            UnreadableError: The file can't be read here.
            RuntimeFailure: The disk there is full or forbids execution, or the line broke.
        """
        self._locked()
        return cache.put(self._connection, source, executable)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float | None = None,
        on_stderr: Callable[[str], object] | None = None,
        stop: threading.Event | None = None,
    ) -> Finished:
        """Runs a program to its end; a dropped connection doesn't end it.

        It runs without input, in an empty folder that is removed afterwards.

        Args:
            argv: The program, by name or absolute path, and its arguments, passed as they are.
            timeout_s: When to end it there (to a tenth, or a second): by SIGINT, after 5 s by
                SIGKILL. What it wrote comes back with `timed_out`.
            on_stderr: Called with each line of its standard error, about once a second.
            stop: Set by another thread, it does what Ctrl-C does, within about a second. Ctrl-C
                itself only reaches a run in the main thread.

        Raises:
            RunInterrupted: Ctrl-C (it is a KeyboardInterrupt) or `stop`; the program was ended by
                SIGINT, and what it wrote is in `finished`.
            RunLost: The device could not be reached again; the run goes on there for a while.
            RuntimeFailure: It was started anew or its disk ran full in the middle, someone ended
                the run from outside, or took the lock over.
            UsageError: There is no program to run.
        """
        return jobs.run(
            self._connection,
            self._locked(),
            argv,
            timeout_s=timeout_s,
            on_stderr=on_stderr or _unheard,
            stop=stop or threading.Event(),
            grace_s=self._grace_s,
        )

    def shell(
        self, script: str, stdin: bytes | None = None, timeout_s: float | None = 30
    ) -> Finished:
        """Runs a short POSIX sh script, as a child of the connection.

        Raises:
            RuntimeFailure: The line broke, or no answer came in time.
        """
        return self._connection.run(script, stdin, timeout_s)

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder of that name on the device."""
        return self.shell(f"[ -e {quote(path)} ]").exit_code == 0

    def read(self, path: str) -> bytes:
        """The bytes of a file on the device.

        Raises:
            RuntimeFailure: It can't be read.
        """
        done = self.shell(f"cat <{quote(path)}", timeout_s=None)
        if done.exit_code != 0:
            raise failed(self._connection, f"{path}: can't be read", done, None)
        return done.stdout

    def clean(self) -> None:
        """Removes everything edgekit put on the device.

        Raises:
            RuntimeFailure: Another edgekit is using it, or something can't be removed.
        """
        with contextlib.nullcontext() if self._token else self.lock("cleaning up"):
            done = self.shell(f"cd {quote(self.facts.folder)} && rm -rf cache jobs", timeout_s=300)
        if done.exit_code != 0:
            raise failed(self._connection, "could not be cleaned", done, None)
        # Never `rm -rf` of the folder itself: the user may have named one with other things in it.
        self.shell(f"rmdir {quote(self.facts.folder)} 2>/dev/null")

    def _locked(self) -> str:
        if self._token is None:
            raise RuntimeFailure(
                f"{self.name}: is not locked", "Put files and run programs inside device.lock(...)."
            )
        return self._token


def _unheard(_: str) -> None:
    """Nobody listens."""
