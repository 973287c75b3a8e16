"""This machine as a device: the same scripts, run by its own sh."""

from __future__ import annotations

from edgekit.devices.transport import Transport
from edgekit.errors import EdgekitError, RuntimeFailure


class LocalTransport(Transport):
    """Runs scripts in a child process."""

    def connect(self) -> None:
        """There is nothing to open."""

    def close(self) -> None:
        """There is nothing to close."""

    def alive(self) -> bool:
        """Always."""
        return True

    def command(self, script: str) -> list[str]:
        """`sh -c`."""
        return ["sh", "-c", script]

    def explain(self, stderr: str) -> EdgekitError:
        """Only a signal ends sh before its script does."""
        return RuntimeFailure(f"{self.name}: the shell was ended from outside", stderr or None)
