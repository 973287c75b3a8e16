"""What a device is: system, processor, C library, and where our files go."""

from __future__ import annotations

import os
from dataclasses import dataclass

from edgekit.devices.transport import Transport, quote
from edgekit.errors import RuntimeFailure, UsageError

#: Where our files go on the device, instead of its cache folder. Read on this machine.
FOLDER_VARIABLE = "EDGEKIT_DEVICE_FOLDER"


@dataclass(frozen=True)
class DeviceFacts:
    """What programs for a device must fit.

    Attributes:
        system: `linux`, `android`, or what `uname -s` says in small letters.
        machine: The processor as programs see it: `aarch64`, `x86_64`, `armv7l`, ... A 32-bit
            userland on a 64-bit kernel is what it is: `armv7l`.
        libc: `glibc 2.36`, `musl`, `bionic`, or None where it isn't known.
        cores: The processors a program may use, at least 1.
        folder: The absolute path of the folder for our files; it exists.
        free_bytes: The free space there, or None where the device doesn't say.
    """

    system: str
    machine: str
    libc: str | None
    cores: int
    folder: str
    free_bytes: int | None


#: The free space of the current folder (awk is not on every Android), and the word for none: a
#: shell's own `echo` may only say "I/O error".
FREE_KIB = r"""
free_kib() { set -- $(df -kP . 2>/dev/null | tail -n 1); echo "${4-}"; }
say_if_full() { [ "$(free_kib)" != 0 ] || echo 'No space left on device' >&2; }
"""

#: The word size is read from sh's own ELF header: `uname -m` is the kernel's, /proc may be missing
#: in a chroot, and `getconf LONG_BIT` is not everywhere.
_PROBE = (
    FREE_KIB
    + r"""
folder=%(folder)s
case $folder in /*) ;; *) echo "$folder: is no absolute path" >&2; exit 9;; esac
(umask 077 && mkdir -p "$folder") || exit 3
cd "$folder" || exit 3
[ -w . ] || { echo "$folder: may not be written to" >&2; exit 3; }
echo "system=$(uname -s)"
echo "machine=$(uname -m)"
[ "$(head -c 5 "$(command -v sh)" | tail -c 1)" = "$(printf '\001')" ] && echo bits=32
if command -v getprop >/dev/null 2>&1; then
  echo android=1
elif libc=$(getconf GNU_LIBC_VERSION 2>/dev/null) && [ "$libc" ]; then
  echo "libc=$libc"
else
  for loader in /lib/ld-musl-*; do [ -e "$loader" ] && echo libc=musl; done
fi
echo "cores=$(nproc 2>/dev/null || grep -c '^processor' /proc/cpuinfo 2>/dev/null)"
echo "free=$(free_kib)"
echo "folder=$(pwd -P)"
"""
)

_32_BIT = {"aarch64": "armv7l", "armv8l": "armv7l", "x86_64": "i686"}


def probe(transport: Transport) -> DeviceFacts:
    """Asks a device what it is, and makes our folder there.

    Raises:
        RuntimeFailure: The folder can't be made or written to.
        UsageError: EDGEKIT_DEVICE_FOLDER is no absolute path.
    """
    wanted = os.environ.get(FOLDER_VARIABLE)
    folder = quote(wanted) if wanted else transport.default_folder
    done = transport.run(_PROBE % {"folder": folder})
    if done.exit_code != 0:
        kind = UsageError if done.exit_code == 9 else RuntimeFailure
        raise kind(
            f"{transport.name}: its folder for our files can't be used: {done.last_words}",
            f"Set {FOLDER_VARIABLE} to the absolute path of a folder there that can be written to.",
        )
    return _from_probe(done.stdout.decode(errors="surrogateescape"))


def _from_probe(text: str) -> DeviceFacts:
    # The folder comes last, so that even one with a line break in its name is read whole.
    head, _, folder = text.partition("\nfolder=")
    values = dict(line.split("=", 1) for line in head.splitlines() if "=" in line)
    android = "android" in values
    machine = {"arm64": "aarch64", "armv8l": "armv7l"}.get(values["machine"], values["machine"])
    if "bits" in values:
        machine = _32_BIT.get(machine, machine)
    free = values["free"]
    return DeviceFacts(
        system="android" if android else values["system"].lower(),
        machine=machine,
        libc="bionic" if android else values.get("libc"),
        cores=max(1, int(values["cores"])) if values["cores"].isdigit() else 1,
        folder=folder.removesuffix("\n"),
        free_bytes=int(free) * 1024 if free.isdigit() else None,
    )
