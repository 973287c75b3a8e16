"""A transport with patience: a line that broke is opened again before the next script goes over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edgekit.devices.transport import ConnectionLost, Finished, Transport
from edgekit.errors import EdgekitError, RuntimeFailure

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0


@dataclass(frozen=True)
class Connection:
    """What the parts of a device share.

    Attributes:
        transport: The road.
        folder: The absolute path of our folder on the device.
        notify: Called with each sentence that the user should see now.
        reconnect_s: For how long to try to open a broken line again.
    """

    transport: Transport
    folder: str
    notify: Callable[[str], object]
    reconnect_s: float

    @property
    def name(self) -> str:
        """The device as the user wrote it."""
        return self.transport.name

    def run(
        self, script: str, stdin: bytes | None = None, timeout_s: float | None = 30
    ) -> Finished:
        """Runs a short script; see `Transport.run`."""
        self.ensure()
        return self.transport.run(script, stdin, timeout_s)

    def ensure(self) -> None:
        """Opens the line again where it broke since the last script."""
        if not self.transport.alive():
            self.reconnect("the connection was lost")

    def reconnect(self, why: str, stop: threading.Event | None = None) -> None:
        """Tries until it works or `reconnect_s` have passed.

        Raises:
            ConnectionLost: It didn't work; the message is that of the last attempt.
            KeyboardInterrupt: `stop` was set meanwhile.
        """
        stop = stop or threading.Event()
        self.notify(f"{self.name}: {why}; trying to reconnect for {self.reconnect_s:g} s")
        deadline, pause = time.monotonic() + self.reconnect_s, _FIRST_PAUSE_S
        while True:
            try:
                self.transport.connect()
            except RuntimeFailure as error:  # anything else won't mend itself by waiting
                if time.monotonic() + pause > deadline:
                    raise ConnectionLost(error.message, error.hint) from error
                if stop.wait(pause):
                    raise KeyboardInterrupt from error
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            else:
                self.notify(f"{self.name}: reconnected")
                return


def failed(connection: Connection, doing: str, done: Finished, hint: str | None) -> EdgekitError:
    """The error for a script that failed on the device; a full disk gets its own hint."""
    where = f"{connection.name}: {doing}"
    if "No space left" in done.stderr or "No space left" in done.last_words:
        return RuntimeFailure(f"{where}: its disk is full", disk_hint(connection))
    return RuntimeFailure(f"{where}: {done.last_words}", hint)


def disk_hint(connection: Connection) -> str:
    """What to do about a full disk."""
    return (
        f"Free some space there, or set EDGEKIT_DEVICE_FOLDER to a folder with more than "
        f"{connection.folder} has."
    )
