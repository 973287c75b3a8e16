"""Android devices, by the `adb` of the Android platform tools."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from pathlib import Path

from edgekit.devices.transport import ConnectionLost, Finished, Transport, command_in, quote
from edgekit.errors import EdgekitError, MissingError, RuntimeFailure, UsageError

#: The command to use instead of `adb`, with arguments.
VARIABLE = "EDGEKIT_ADB"

_ANSWER_S = 20
_PUSH_S = 600

_STATES = {
    "unauthorized": (
        "doesn't trust this computer yet",
        "Unlock its screen and accept the question about USB debugging.",
    ),
    "authorizing": ("is still asking about this computer", "Unlock its screen, then try again."),
    "offline": ("is offline", "Unplug it and plug it in again, or: adb reconnect offline"),
    "no permissions": (
        "may not be opened by this user",
        "Add udev rules for it (Debian: sudo apt install android-sdk-platform-tools-common), "
        "then plug it in again.",
    ),
}


class AdbTransport(Transport):
    """Runs scripts on a phone or board with USB debugging, over USB or the network."""

    default_folder = "/data/local/tmp/edgekit"

    def __init__(self, name: str, serial: str | None) -> None:
        super().__init__(name)
        self._adb = command_in(VARIABLE, "adb")
        self._wanted = serial or os.environ.get("ANDROID_SERIAL") or None
        self._serial = self._wanted or ""
        self._separate = True

    def connect(self) -> None:
        """Finds the device among those that adb sees."""
        if self._wanted and ":" in self._wanted:  # over the network; harmless when it is connected
            self._ask("connect", self._wanted)
        self._serial = self._chosen(_parse_devices(self._ask("devices", "-l").stdout))
        # Before Android 7 there is one stream for both outputs, and no exit code.
        self._separate = "shell_v2" in self._ask("-s", self._serial, "features").stdout.split()

    def close(self) -> None:
        """adb's server stays: it is not ours."""

    def alive(self) -> bool:
        """Whether adb sees the device."""
        try:
            return self._ask("-s", self._serial, "get-state").stdout.strip() == "device"
        except EdgekitError:
            return False

    def command(self, script: str) -> list[str]:
        """`adb shell -T`: no terminal, so bytes pass as they are; `exec-out` where that is new.

        adb passes its one argument to sh there as it is: there is nothing to quote.
        """
        return [*self._adb, "-s", self._serial, *self._runner(), script]

    def explain(self, stderr: str) -> EdgekitError:
        """What adb says, and what that means."""
        for state, (meaning, hint) in _STATES.items():
            if state in stderr:
                return RuntimeFailure(f"{self.name}: the device {meaning}", hint)
        if re.search(r"not found|no devices", stderr):
            return RuntimeFailure(
                f"{self.name}: the device is gone", "Is it plugged in, on, and not rebooting?"
            )
        last = stderr.strip().rpartition("\n")[2].strip()
        return RuntimeFailure(
            f"{self.name}: the connection broke" + (f" ({last})" if last else ""),
            "Is the cable loose? See what adb says: adb devices -l",
        )

    def upload(self, source: Path, target: str, then: str) -> Finished:
        """Copies with `adb push`, which is several times as fast as a pipe through the shell."""
        # An absolute path can't be taken for an option; push takes a folder as its last argument.
        arguments = ["-s", self._serial, "push", str(source.resolve()), target]
        pushed = self._ask(*arguments, timeout_s=_PUSH_S)
        if pushed.returncode != 0:
            said = (pushed.stderr + pushed.stdout).strip()
            with contextlib.suppress(ConnectionLost):
                self.run(f"rm -f {quote(target)}")
                return Finished(12, b"", said)
            raise ConnectionLost(*_both(self.explain(said)))
        return self.run(then, timeout_s=None)

    def _runner(self) -> list[str]:
        return ["shell", "-T"] if self._separate else ["exec-out"]

    def _chosen(self, devices: dict[str, str]) -> str:
        if self._wanted:
            if self._wanted not in devices:
                raise RuntimeFailure(
                    f"{self.name}: adb sees no device {self._wanted}",
                    f"It sees: {', '.join(devices) or 'none'}. Is it plugged in and on?",
                )
            serial = self._wanted
        elif not devices:
            raise RuntimeFailure(
                f"{self.name}: adb sees no device",
                "Plug it in, switch on USB debugging (Settings, Developer options), and accept "
                "the question on its screen.",
            )
        elif len(devices) > 1:
            listing = ", ".join(f"adb:{serial} ({state})" for serial, state in devices.items())
            raise UsageError(f"{self.name}: adb sees several devices", f"Name one: {listing}.")
        else:
            (serial,) = devices
        state = devices[serial]
        if state != "device":
            meaning, hint = _STATES.get(
                state, (f"is in the state '{state}'", "It must have started up completely.")
            )
            raise RuntimeFailure(f"{self.name}: the device {serial} {meaning}", hint)
        return serial

    def _ask(
        self, *arguments: str, timeout_s: float = _ANSWER_S
    ) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [*self._adb, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=timeout_s,
                start_new_session=True,
                check=False,
            )
        except OSError as error:
            raise MissingError(
                f"{self.name}: {self._adb[0]} can't be run ({error.strerror})",
                "Install the Android platform tools: sudo apt install adb",
            ) from error
        except subprocess.TimeoutExpired as error:
            raise ConnectionLost(
                f"{self.name}: adb {arguments[0]} gave no answer within {timeout_s:g} s",
                "Restart its server: adb kill-server",
            ) from error


def _parse_devices(listing: str) -> dict[str, str]:
    """Serial and state of each device in the output of `adb devices -l`."""
    pattern = r"(\S+)\s+(no permissions|\w+)(?:\s.*)?"
    _, _, rows = listing.partition("List of devices attached")
    matches = (re.fullmatch(pattern, row.strip()) for row in rows.splitlines())
    return {match[1]: match[2] for match in matches if match}


def _both(error: EdgekitError) -> tuple[str, str | None]:
    return error.message, error.hint
