"""Files on a device, named by what is in them: nothing is copied twice, nothing is half there."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from edgekit.devices.connection import Connection, disk_hint, failed
from edgekit.devices.facts import FOLDER_VARIABLE, FREE_KIB
from edgekit.devices.transport import quote
from edgekit.errors import RuntimeFailure, UnreadableError
from edgekit.files import sha256

#: Space that must stay free beside the file: for the outputs of a run.
_MARGIN_BYTES = 1 << 20
_HASH_LETTERS = 16
_NAME_LETTERS = 80

_PRELUDE = (
    FREE_KIB
    + r"""
sha() {
  if command -v sha256sum >/dev/null 2>&1; then set -- $(sha256sum <"$1")
  else set -- $(shasum -a 256 <"$1"); fi
  echo "$1"
}
"""
)

#: Ends with 0 where the file is there and sound, else says what is free. What a mount without
#: execution would do to a program is tried before it is copied.
_FIND = (
    _PRELUDE
    + r"""
(umask 077 && mkdir -p %(cache)s) && cd %(cache)s || exit 12
if [ %(mode)s = 755 ]; then
  printf '#!%%s\n' "$(command -v sh)" >.try && chmod 755 .try || exit 12
  ./.try 2>/dev/null; works=$?
  rm -f .try
  [ $works = 0 ] || exit 14
fi
if [ -f %(name)s ] && [ "$(sha %(name)s)" = %(hash)s ]; then chmod %(mode)s %(name)s; exit; fi
free_kib
exit 10
"""
)

_FINISH = (
    _PRELUDE
    + r"""
cd %(cache)s || exit 12
[ "$(sha %(part)s)" = %(hash)s ] || { rm -f %(part)s; exit 13; }
chmod %(mode)s %(part)s && mv -f %(part)s %(name)s && exit
rm -f %(part)s
exit 12
"""
)


def put(connection: Connection, source: Path, executable: bool) -> str:
    """Brings a file to the device unless it is there already; returns its path there.

    The path is `FOLDER/cache/HASH-NAME`. A copy that is there is hashed again before it is used.

    Raises:
        UnreadableError: The source can't be read.
        RuntimeFailure: The disk there is full, forbids execution, or the copy isn't the original.
        ConnectionLost: The line broke; nothing half-written is used later.
    """
    try:
        digest, size = sha256(source), source.stat().st_size
        if not source.is_file():
            raise UnreadableError(f"{source}: is no file")
    except OSError as error:
        raise UnreadableError(f"{source}: can't be read ({error.strerror})") from error
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", source.name)[-_NAME_LETTERS:]
    name = f"{digest[:_HASH_LETTERS]}-{readable}"
    part = f".part.{secrets.token_hex(4)}"
    folder = f"{connection.folder}/cache"
    words = {
        "cache": quote(folder),
        "hash": digest,
        "mode": "755" if executable else "644",
        "name": quote(name),
        "part": part,
    }
    doing = f"{source.name} could not be copied to {folder}"
    found = connection.run(_FIND % words, timeout_s=120)
    if found.exit_code == 0:
        return f"{folder}/{name}"
    if found.exit_code == 14:
        raise RuntimeFailure(
            f"{connection.name}: programs in {connection.folder} may not be run "
            "(its file system is mounted with noexec)",
            f"Set {FOLDER_VARIABLE} to a folder on another file system of the device.",
        )
    if found.exit_code != 10:
        raise failed(connection, doing, found, None)
    free = found.stdout.decode().strip()
    if free.isdigit() and int(free) * 1024 < size + _MARGIN_BYTES:
        raise RuntimeFailure(
            f"{connection.name}: {doing}: its disk is full "
            f"({_mib(size + _MARGIN_BYTES)} needed, {_mib(int(free) * 1024)} free)",
            disk_hint(connection),
        )
    done = connection.transport.upload(source, f"{folder}/{part}", _FINISH % words)
    if done.exit_code == 13:
        raise RuntimeFailure(
            f"{connection.name}: {doing}: what arrived is not what was sent", "Try again."
        )
    if done.exit_code != 0:
        raise failed(connection, doing, done, None)
    return f"{folder}/{name}"


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
