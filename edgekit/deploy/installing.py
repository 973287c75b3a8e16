"""Puts a package on a board, makes it ready there, and verifies it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgekit.deploy.folder import MANIFEST
from edgekit.deploy.pi import PiBundle
from edgekit.devices import Device, Finished, open_device
from edgekit.devices.transport import quote
from edgekit.errors import (
    EdgekitError,
    MissingError,
    NotMetError,
    RuntimeFailure,
    UnreadableError,
    UsageError,
)

#: A slow board builds a virtual environment, and may fetch 100 MB over a slow line.
_SECONDS = 3600
_NOT_OURS, _FAILED = 21, 12
_ERRORS: dict[int, type[EdgekitError]] = {
    cls.exit_code: cls for cls in (NotMetError, UnreadableError, RuntimeFailure, MissingError)
}

#: Unpacks beside the package's place first, so that a full disk leaves what is there as it was.
#: Then each file and folder of ours is replaced; the virtual environment and the user's files stay.
_UNPACK = r"""
target=${HOME:?is not set}/%(name)s
part=$target.part
if [ -e "$target" ] && [ ! -e "$target/%(manifest)s" ]; then exit %(not_ours)d; fi
rm -rf "$part"
mkdir "$part" && tar -xzf %(archive)s -C "$part" && mkdir -p "$target" ||
  { rm -rf "$part"; exit %(failed)d; }
cd "$part"/* || exit %(failed)d
for file in %(manifest)s *; do
  rm -rf "$target/$file" && mv "$file" "$target/" || exit %(failed)d
done
cd "$HOME" && rm -rf "$part"
printf %%s "$target"
"""


@dataclass(frozen=True)
class Installed:
    """Where a package is, and what it said of itself there.

    Attributes:
        device: As the user wrote it.
        folder: On the device.
        said: The table of its check.
    """

    device: str
    folder: str
    said: str


def install(bundle: PiBundle, on: str, notify: Callable[[str], None]) -> Installed:
    """Copies a package to `~/edgekit-NAME` of a device, installs it, and verifies it there.

    Args:
        bundle: The package.
        on: `ssh:user@host[:port]`, or `local`.
        notify: Called with what happens.

    Raises:
        NotMetError: Its answers there are not those of the desk.
        RuntimeFailure: The device can't be reached, its disk is full, or something failed there.
        MissingError: Something isn't installed there.
        UsageError: Something else is in its place there.
    """
    with (
        open_device(on, notify=notify) as device,
        device.lock(f"edgekit bundle pi of {bundle.name}"),
    ):
        if device.facts.system != "linux":
            raise UsageError(
                f"{on}: is no Linux but {device.facts.system}", "For phones: edgekit bundle android"
            )
        folder = _unpack(device, bundle, f"edgekit-{bundle.name}")
        notify(f"{on}: unpacked to {folder}")
        lines: list[str] = []

        def hear(line: str) -> None:
            lines.append(line)
            notify(f"{on}: {line}")

        done = device.run([f"{folder}/install.sh"], timeout_s=_SECONDS, on_stderr=hear)
    said = done.stdout.decode(errors="replace")
    if done.exit_code != 0:
        raise _failure(on, folder, done)
    return Installed(on, folder, said)


def _unpack(device: Device, bundle: PiBundle, name: str) -> str:
    archive = device.put(bundle.archive)
    words = {
        "name": quote(name),
        "archive": quote(archive),
        "manifest": MANIFEST,
        "not_ours": _NOT_OURS,
        "failed": _FAILED,
    }
    try:
        done = device.shell(_UNPACK % words, timeout_s=600)
    finally:
        device.shell(f"rm -f {quote(archive)}")
    if done.exit_code == _NOT_OURS:
        raise UsageError(
            f"{device.name}: ~/{name} exists there and is no package of edgekit",
            "Move it away there, or give the model's file another name.",
        )
    if done.exit_code != 0:
        raise RuntimeFailure(
            f"{device.name}: the package could not be unpacked in ~/{name}: {done.last_words}",
            "Make room there, and try again.",
        )
    return done.stdout.decode()


def _failure(on: str, folder: str, done: Finished) -> EdgekitError:
    """The error that install.sh or classify.py told there, as one of ours."""
    lines = done.stderr.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("Error: ")]
    where = f"{on}: {folder}/install.sh"
    if done.timed_out or not starts:
        reason = "was still busy after an hour" if done.timed_out else done.last_words
        return RuntimeFailure(f"{where}: {reason}", "Try it there by hand.")
    message = lines[starts[-1]].removeprefix("Error: ")
    hint = " ".join(line.strip() for line in lines[starts[-1] + 1 :]) or None
    return _ERRORS.get(done.exit_code, RuntimeFailure)(f"{on}: {message}", hint)
