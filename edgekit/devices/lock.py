"""One edgekit at a time on a device.

The lock is a folder, `FOLDER/lock`: making one either works or doesn't, on every file system. In it
are `owner` (who, since when, for what) and `lease` (the device's clock, renewed while the owner
lives). A lock is stale when the device was started anew since, or when its lease is old and no job
is alive; then the next one takes it over. Whoever removes a lock first makes a folder named after
that very lock, so that two can't remove it, and none a newer one.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import secrets
import socket
import threading
from collections.abc import Iterator

from edgekit.devices.connection import Connection, failed
from edgekit.devices.facts import FREE_KIB
from edgekit.devices.transport import quote
from edgekit.errors import EdgekitError, RuntimeFailure

#: A lease older than this is stale; it is renewed every `_RENEW_S`.
STALE_S = 120
_RENEW_S = 30.0

#: `boot`: which start of the device this is; empty where it doesn't say. `remove_lock TOKEN`: the
#: one way to remove a lock. Both expect to be in our folder.
LOCK_FUNCTIONS = r"""
boot() { cat /proc/sys/kernel/random/boot_id 2>/dev/null || :; }
token() { sed -n 1p lock/owner 2>/dev/null; }
remove_lock() {
  mkdir "lock.removing.$1.$(boot)" 2>/dev/null || return
  [ "$(token)" != "$1" ] || rm -rf lock
  rmdir "lock.removing.$1.$(boot)"
}
"""

#: `alive JOB`: whether the minder of a job folder still runs. A process number may have been given
#: to another program since, so its command line must name the job. `remove_job JOB`: ends whatever
#: is left of it, children that the program left behind included. Needs `LOCK_FUNCTIONS`.
JOB_FUNCTIONS = r"""
alive() {
  read -r pid <"$1/pid" && kill -0 "$pid" || return 1
  [ ! -r "/proc/$pid/cmdline" ] || grep -q "${1##*/}" "/proc/$pid/cmdline"
} 2>/dev/null
remove_job() {
  { if [ "$(cat "$1/boot")" = "$(boot)" ]; then
      alive "$1" && { kill -s KILL -- "-$pid" || kill -s KILL "$pid"; }
      read -r program <"$1/program" &&
        { kill -s KILL -- "-$program" ||
          { read -r state <"$1/exit" && [ "$state" = running ] && kill -s KILL "$program"; }; }
    fi; } 2>/dev/null
  rm -rf "$1"
}
"""

#: Ends with 0 where the lock is ours now, and with 10 where another one holds it, with its owner.
#: What is left of runs that ended without cleaning up (a power cut) is removed on the way.
_TAKE = (
    FREE_KIB
    + LOCK_FUNCTIONS
    + JOB_FUNCTIONS
    + r"""
cd %(folder)s && mkdir lock.try.%(token)s && rmdir lock.try.%(token)s || { say_if_full; exit 1; }
take() {
  mkdir lock 2>/dev/null || return
  since=$(date '+%%Y-%%m-%%d %%H:%%M:%%S')
  date +%%s >lock/lease
  printf '%%s\n' %(token)s %(who)s "$since" %(what)s "$(boot)" >lock/owner
  # A full disk must not leave a lock without an owner; and not every tool reports it.
  [ -s lock/lease ] && [ "$(token)" = %(token)s ] && return
  rm -rf lock
  say_if_full
  exit 1
}
if ! take; then
  [ -s lock/owner ] || sleep 1  # it may be just being made
  old=$(token) now=$(date +%%s)
  read -r lease <lock/lease || lease=0
  age=$((now - lease))
  stale=1
  [ $age -ge 0 ] && [ $age -le %(stale)d ] && stale=
  for job in jobs/*; do alive "$job" && stale=; done
  [ "$(sed -n 5p lock/owner)" = "$(boot)" ] || stale=1
  cat lock/owner
  [ $stale ] && remove_lock "$old" && take || exit 10
fi
rm -f cache/.part.*
for job in jobs/*; do alive "$job" || remove_job "$job"; done
rmdir jobs 2>/dev/null
exit 0
"""
)

_RENEW = LOCK_FUNCTIONS + 'cd %(folder)s && [ "$(token)" = %(token)s ] && date +%%s 1<>lock/lease'
#: A run that was lost to us and still goes on keeps the lock: its minder releases it.
_RELEASE = (
    LOCK_FUNCTIONS
    + JOB_FUNCTIONS
    + r"""
cd %(folder)s || exit
for job in jobs/*; do alive "$job" && exit; done
remove_lock %(token)s
"""
)


@contextlib.contextmanager
def locked(connection: Connection, what: str) -> Iterator[str]:
    """Holds the lock of a device; yields its token.

    Args:
        connection: The device.
        what: What for, to be told to whoever finds it taken.

    Raises:
        RuntimeFailure: Another edgekit holds it.
    """
    token = secrets.token_hex(8)
    words = {"folder": quote(connection.folder), "token": token}
    over = threading.Event()
    keeper = threading.Thread(target=_keep, args=(connection, _RENEW % words, over), daemon=True)
    try:
        _take(connection, what, words)
        keeper.start()
        yield token
    finally:
        over.set()
        if keeper.ident is not None:
            keeper.join()
        # Not worth waiting for a line that is cut: what isn't released goes stale by itself.
        with contextlib.suppress(EdgekitError):
            if not connection.transport.alive():
                connection.transport.connect()
            connection.transport.run(_RELEASE % words)


def _take(connection: Connection, what: str, words: dict[str, str]) -> None:
    mine = {"who": quote(_one_line(_me())), "what": quote(_one_line(what)), "stale": STALE_S}
    done = connection.run(_TAKE % {**words, **mine})
    owner = [*done.stdout.decode(errors="replace").splitlines(), "", "", "", ""]
    who, since, reason = owner[1:4]
    if done.exit_code == 0:
        if who:
            connection.notify(
                f"{connection.name}: took over from {who} (since {since}, {reason}), who is gone"
            )
    elif done.exit_code == 10:
        raise RuntimeFailure(
            f"{connection.name}: in use by {who or 'another edgekit'} since {since} by its clock, "
            f"for: {reason}",
            f"Wait until that ends, or end it there. If it is gone already, the device is free "
            f"again {STALE_S // 60} minutes after its last sign of life.",
        )
    else:
        raise failed(connection, "could not be locked", done, None)


def _keep(connection: Connection, renew: str, over: threading.Event) -> None:
    """Renews the lease until the lock is released; a line that is cut is for others to mend."""
    while not over.wait(_RENEW_S):
        with contextlib.suppress(EdgekitError):
            connection.transport.run(renew)


def _me() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no such user in the password file, as in some containers
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()} (process {os.getpid()})"


def _one_line(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text)[:200]
