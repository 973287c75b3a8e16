"""Devices behind SSH, by the system's own `ssh`, with the user's keys, config and known hosts.

All goes through one master connection per device (ControlMaster), so there is one login and, after
that, a few milliseconds per script. Files go through `cat` too rather than scp or sftp: there is
one level of quoting instead of scp's two, no sftp server is needed on the device (small images
often have none), and the copy, its check and its rename are one command that a cut can't part.

Host keys are checked as the user's config says; nothing here ever loosens that.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgekit.devices.transport import Transport, command_in, quote
from edgekit.errors import EdgekitError, MissingError, RuntimeFailure, UsageError

#: The command to use instead of `ssh`, with arguments, as in GIT_SSH_COMMAND.
VARIABLE = "EDGEKIT_SSH"

_CONNECT_S = 10
#: A dead line is noticed after three unanswered questions.
_ALIVE_S = 5
#: An idle master ends by itself, should this process be killed before it can do that.
_IDLE_S = 120

_FORM = "Write ssh:[USER@]HOST[:PORT], an IPv6 address in brackets: ssh:pi@[::1]:22"

#: The hardest limit on the path of a socket (macOS), less the suffix that ssh adds to it for a
#: moment.
_SOCKET_PATH = 104 - 18


@dataclass(frozen=True)
class Address:
    """Where a device is: `[user@]host[:port]`.

    Attributes:
        host: A name, an address, or an alias of the user's ssh config, perhaps with `user@`.
        port: The port, or None for what the config says.
    """

    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads `host`, `user@host`, `host:22`, `user@[::1]:22` or `::1`.

        Raises:
            UsageError: It is none of these.
        """
        user, at, place = text.rpartition("@")
        match = re.fullmatch(
            r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<name>[^:\[\]]+))(?::(?P<port>\d+))?", place
        )
        port = match["port"] if match else None
        host = (match["v6"] or match["name"]) if match else place
        if (":" in host or "[" in place) and not _is_ipv6(host):
            raise UsageError(f"ssh:{text}: {host} is no IPv6 address", _FORM)
        # A leading dash would be an option to ssh; blanks and controls are in no host's name.
        if not host or re.search(r"^-|^@|[\s\x00-\x1f\x7f]", text) or host.startswith("-"):
            raise UsageError(f"ssh:{text}: names no host", _FORM)
        if port is not None and not 0 < int(port) < 65536:
            raise UsageError(f"ssh:{text}: there is no port {port}", "Ports go from 1 to 65535.")
        return cls(user + at + host, None if port is None else int(port))


class SshTransport(Transport):
    """Runs scripts on a host, over one connection that stays open."""

    def __init__(self, name: str, address: Address) -> None:
        super().__init__(name)
        self._address = address
        self._ssh = command_in(VARIABLE, "ssh")
        self._sockets: Path | None = None

    def connect(self) -> None:
        """Logs in; the master connection goes to the background.

        It runs in our own session, unlike all later commands, so that ssh can ask for a passphrase
        on the terminal.
        """
        self.close()
        self._sockets = Path(tempfile.mkdtemp(prefix="edgekit-", dir=_short_temporary_folder()))
        master = ["-o", "ControlMaster=yes", "-o", f"ControlPersist={_IDLE_S}"]
        # Not a pipe: the master would keep it open, and we would wait for its end.
        with tempfile.TemporaryFile() as log:
            try:
                child = subprocess.run(
                    [*self._arguments(), *master, *self._destination(), "exec true"],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    check=False,
                )
            except OSError as error:
                self.close()
                raise MissingError(
                    f"{self.name}: {self._ssh[0]} can't be run ({error.strerror})",
                    "Install an SSH client: sudo apt install openssh-client",
                ) from error
            except KeyboardInterrupt:
                self.close()
                raise
            log.seek(0)
            stderr = log.read().decode(errors="replace")
        if child.returncode != 0:
            self.close()
            raise self.explain(stderr)

    def close(self) -> None:
        """Ends the master connection."""
        if self._sockets is None:
            return
        self._ask_master("exit")
        shutil.rmtree(self._sockets, ignore_errors=True)
        self._sockets = None

    def alive(self) -> bool:
        """Whether the master is there; it ends itself when the line is dead."""
        return self._sockets is not None and self._ask_master("check")

    def command(self, script: str) -> list[str]:
        """`ssh HOST "exec sh -c 'SCRIPT'"`: the login shell there may be any, and only unquotes."""
        return [*self._arguments(), *self._destination(), f"exec sh -c {quote(script)}"]

    def explain(self, stderr: str) -> EdgekitError:
        """Tells apart what ssh reports with one and the same exit code, 255."""
        for pattern, make, message, hint in _REASONS:
            if re.search(pattern, stderr):
                host, ssh = self._address.host, shlex.join([*self._ssh, *self._port()])
                known = host.rpartition("@")[2]
                if self._address.port not in (None, 22):
                    known = f"[{known}]:{self._address.port}"
                words = {"host": host, "ssh": ssh, "known": shlex.quote(known)}
                return make(f"{self.name}: {message}", hint.format(**words))
        last = stderr.strip().rpartition("\n")[2].strip()
        return RuntimeFailure(
            f"{self.name}: the connection broke" + (f" ({last})" if last else ""),
            "Is the device still on and in the network? Try again.",
        )

    def _arguments(self) -> list[str]:
        options = {
            "ControlPath": f"{self._sockets}/s" if self._sockets else "none",
            "ConnectTimeout": _CONNECT_S,
            "ServerAliveInterval": _ALIVE_S,
            "ServerAliveCountMax": 3,
            "LogLevel": "ERROR",
            # What a user's config may ask for in a session, and a script can't do with.
            "RemoteCommand": "none",
            "RequestTTY": "no",
            "ClearAllForwardings": "yes",
            "PermitLocalCommand": "no",
        }
        if sys.stdin is None or not sys.stdin.isatty():
            options["BatchMode"] = "yes"
        return [*self._ssh, *(part for k, v in options.items() for part in ("-o", f"{k}={v}"))]

    def _destination(self) -> list[str]:
        return [*self._port(), "--", self._address.host]

    def _port(self) -> list[str]:
        return [] if self._address.port is None else ["-p", str(self._address.port)]

    def _ask_master(self, question: str) -> bool:
        try:
            answer = subprocess.run(
                [*self._arguments(), "-O", question, *self._destination()],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_CONNECT_S,
                start_new_session=True,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return answer.returncode == 0


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _short_temporary_folder() -> str:
    """A folder in which the path of a socket is short enough."""
    usual = tempfile.gettempdir()
    return usual if len(usual) + len("/edgekit-12345678/s") <= _SOCKET_PATH else "/tmp"


#: (what ssh says, the error, its message, its hint), the first that fits. Texts of OpenSSH 6 to 10.
_REASONS: tuple[tuple[str, type[EdgekitError], str, str], ...] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|[Hh]ost key for .* has changed",
        RuntimeFailure,
        "its host key is not the one known for it; someone may be in between",
        "If the device was installed anew, forget the old key: ssh-keygen -R {known}; "
        "then connect once by hand and compare the new fingerprint: {ssh} {host}",
    ),
    (
        r"Host key verification failed|No .* host key is known|authenticity of host",
        RuntimeFailure,
        "its host key is not known yet",
        "Connect once by hand, compare the fingerprint and accept it: {ssh} {host}",
    ),
    (
        r"Could not resolve hostname",
        RuntimeFailure,
        "there is no host of that name",
        "Check the spelling, or use its address; a Raspberry Pi is often NAME.local.",
    ),
    (
        r"Connection refused",
        RuntimeFailure,
        "it refuses the connection",
        "Does an SSH server run there, on that port? On a Raspberry Pi: sudo raspi-config, "
        "Interface Options, SSH.",
    ),
    (
        r"timed out|Timeout, server",
        RuntimeFailure,
        "it doesn't answer",
        "Is it on, and in the same network? A firewall may be in between.",
    ),
    (
        r"No route to host|Network is unreachable|Host is down",
        RuntimeFailure,
        "no way leads there",
        "Is it on, and in the same network?",
    ),
    (
        r"Permission denied|Too many authentication failures|No supported authentication",
        RuntimeFailure,
        "it accepts none of the keys",
        "Install one there: ssh-copy-id {host}; {ssh} {host} must then work without a password.",
    ),
    (
        r"Bad configuration option|Can't open user config file|unknown option|Bad owner or perm",
        UsageError,
        "ssh refuses its own options or config",
        "Try it by hand: {ssh} {host}",
    ),
)
