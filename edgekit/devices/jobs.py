"""Programs that run on a device on their own, so that a dropped connection costs nothing.

A program is not a child of our connection. A small script on the device, the *minder*, starts it
detached, keeps its outputs in `FOLDER/jobs/ID/`, and writes down its exit code. This side waits
through one script that looks at that folder once a second, passes on what the program writes to its
standard error, and renews a lease. That costs the device one `sleep` a second (five in the first
one) and no login, so the measurement isn't disturbed by its being watched.

When the line breaks, we come back and go on waiting. When we don't come back, the minder ends the
program after a grace time and cleans up; when the program had ended by then, it keeps the outputs
for the grace time first.

The scripts count seconds by `sleep` rather than by the clock: a Raspberry Pi has none until it is
in the network, and then it jumps.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgekit.devices.connection import Connection, disk_hint, failed
from edgekit.devices.facts import FREE_KIB
from edgekit.devices.lock import JOB_FUNCTIONS, LOCK_FUNCTIONS
from edgekit.devices.transport import ConnectionLost, Finished, quote
from edgekit.errors import EdgekitError, RuntimeFailure, UsageError

#: How long a program may take to end after SIGINT, before SIGKILL.
END_S = 5
#: A disk with less than that is full: outputs may be cut off.
_FULL_KIB = 64
#: After so many seconds the waiting script ends and is started again: one whose connection is gone
#: without a word can't renew the lease for longer than that.
_ROUNDS = 60


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C during a run: the program was ended by SIGINT, and this is what it had to say.

    It is a KeyboardInterrupt, so a caller that doesn't know of it stops as on any Ctrl-C; one that
    wants the partial result catches it first.

    Attributes:
        finished: The program's outputs, or None where they could not be had.
    """

    def __init__(self, finished: Finished | None) -> None:
        super().__init__()
        self.finished = finished


class RunLost(ConnectionLost):
    """The device couldn't be reached again in time; the run goes on there, without us."""


@dataclass(frozen=True)
class Job:
    """A program on a device.

    Attributes:
        connection: The device.
        token: The lock under which it runs.
        grace_s: For how long it may go on without us, and how long its outputs are kept then.
        key: The name of its folder.
    """

    connection: Connection
    token: str
    grace_s: int
    key: str

    @property
    def folder(self) -> str:
        """The path of its folder on the device."""
        return f"{self.connection.folder}/jobs/{self.key}"


def run(
    connection: Connection,
    token: str,
    argv: Sequence[str],
    *,
    timeout_s: float | None,
    on_stderr: Callable[[str], object],
    stop: threading.Event,
    grace_s: int,
) -> Finished:
    """Runs a program on the device, from start to clean-up; see `Device.run`."""
    job = Job(connection, token, grace_s, secrets.token_hex(8))
    if stop.is_set():
        raise RunInterrupted(None)
    goes_on = False
    try:
        _start(job, argv, timeout_s)
        _wait(job, on_stderr, stop)
        return _collect(job)
    except KeyboardInterrupt:
        connection.notify(f"{connection.name}: interrupted; ending the program there")
        raise RunInterrupted(_partial(job)) from None
    except RunLost:
        goes_on = True
        raise
    finally:
        if not goes_on:
            _discard(job)


# --- start

#: Runs beside the program: ends it when its time is up, or when nobody waits for it any more; and
#: afterwards keeps its outputs for a while. Numbers are written in place (`1<>`), into space that
#: is taken already: that works on a full disk too.
_MINDER = r"""
cd "$job" || exit 1
{ boot >boot && echo $$ >pid && echo 'running   ' >exit && echo 1000000000 >lease; } || exit 1
{ : >stdout && : >stderr && mkdir work; } || exit 1
echo started
exec >/dev/null

command -v setsid >/dev/null 2>&1 || setsid() { "$@"; }
running() { read -r state <exit && [ "$state" = running ]; } 2>/dev/null
tell() { kill -s "$1" -- "-$2" || kill -s "$1" "$2"; } 2>/dev/null
idle() {  # seconds since the lease was renewed
  read -r now <lease 2>/dev/null
  if [ "$now" = "$before" ]; then quiet=$((quiet + tick)); else quiet=0; fi
  before=$now
  [ "$quiet" -ge "$grace" ]
}
finish() {
  : >"$1"
  tell INT "$program"
  left=$end
  while running && [ "$left" -gt 0 ]; do sleep 1; left=$((left - 1)); done
  running && tell KILL "$program"
}
watch() {
  quiet=0 age=1 before=
  sleep 1
  read -r program <program
  while sleep "$tick"; do
    [ -f exit ] || tell KILL "$program"  # someone removed the folder
    running || return
    age=$((age + tick))
    if [ "$limit" -gt 0 ] && [ "$age" -ge "$limit" ]; then finish timed_out; return; fi
    if idle; then finish deserted; return; fi
  done
}

watch &
watcher=$!
# In the foreground of this script, else sh would have it ignore SIGINT; in a session of its own, so
# that the signal reaches its children too.
(
  cd work && exec setsid sh -c 'echo $$ >../program && exec "$@"' sh "$@"
) </dev/null >stdout 2>stderr
code=$?
echo "$code" 1<>exit
kill "$watcher" 2>/dev/null

quiet=0 before=
while [ ! -f deserted ] && sleep "$tick" && [ -f exit ] && ! idle; do :; done
cd ../.. && rm -rf "$job"
rmdir jobs 2>/dev/null
remove_lock "$token"
"""

#: sh has its background commands ignore SIGINT, for good; and edgekit's own programs end well by
#: that signal. The members of a pipeline don't inherit that. So the minder starts as one; the other
#: member waits for its word that it is up, and then ends the sh that would wait for the pipeline.
_START = (
    FREE_KIB
    + LOCK_FUNCTIONS
    + JOB_FUNCTIONS
    + r"""
cd %(folder)s || exit 1
[ "$(token)" = %(token)s ] || { sed -n 2p lock/owner 2>/dev/null; exit 10; }
for job in jobs/*; do alive "$job" && exit 11; done
free=$(free_kib)
[ "${free:-%(plenty)d}" -ge %(plenty)d ] || { echo 'No space left on device' >&2; exit 1; }
(umask 077 && mkdir -p jobs && mkdir %(job)s && printf '%%s\n' %(minder)s >%(job)s/minder) || exit 1
command -v setsid >/dev/null 2>&1 && detach=setsid || detach=nohup
{
  sh -c '"$0" sh "$1/minder" </dev/null 2>"$1/trouble" | { read -r _; kill -s KILL $$; }' \
    $detach %(job)s
} >/dev/null 2>&1
[ -s %(job)s/lease ] && exit
cat %(job)s/trouble >&2
exit 1
"""
)


def _start(job: Job, argv: Sequence[str], timeout_s: float | None) -> None:
    connection = job.connection
    if not argv or argv[0].startswith("-") or any("\0" in part for part in argv):
        raise UsageError(
            f"{list(argv)}: can't be run on a device",
            "The first is a program's name or path; no argument may hold a NUL byte.",
        )
    limit = 0 if timeout_s is None else max(1, round(timeout_s))
    tick = max(1, min(10, job.grace_s // 10, limit // 10 if limit else 10))
    settings = {
        "job": job.folder,
        "token": job.token,
        "tick": tick,
        "grace": job.grace_s,
        "limit": limit,
        "end": END_S,
    }
    minder = "\n".join(
        [
            *(f"{name}={quote(str(value))}" for name, value in settings.items()),
            f"set -- {' '.join(map(quote, argv))}",
            LOCK_FUNCTIONS,
            _MINDER,
        ]
    )
    words = {
        "folder": quote(connection.folder),
        "token": job.token,
        "job": quote(job.folder),
        "minder": quote(minder),
        "plenty": _FULL_KIB,
    }
    done = connection.run(_START % words)
    if done.exit_code == 10:
        taker = done.stdout.decode(errors="replace").strip()
        raise RuntimeFailure(
            f"{connection.name}: the lock was taken over by {taker or 'another edgekit'}",
            "Was this machine asleep? Start again when the other one has ended.",
        )
    if done.exit_code == 11:
        raise RuntimeFailure(
            f"{connection.name}: an earlier run that was lost still goes on there",
            "It ends by itself after its grace time, 10 minutes if nothing else was asked for.",
        )
    if done.exit_code != 0:
        raise failed(connection, f"{argv[0]} could not be started", done, None)


# --- wait

#: Ends with 0 when the program has ended, 20 when it is time to ask again, and with 21 to 23 where
#: it never will end. Reads stderr with the shell's own `read`: no process but `sleep` is started.
_WAIT = (
    LOCK_FUNCTIONS
    + JOB_FUNCTIONS
    + r"""
cd %(job)s 2>/dev/null || exit 22
[ "$(cat boot)" = "$(boot)" ] || exit 21
alive %(job)s || { read -r state <exit && [ "$state" != running ]; } || exit 23
exec 3<stderr
skip=%(seen)d round=0 part=
while :; do
  read -r state 2>/dev/null <exit || exit 22
  while IFS= read -r line <&3; do
    if [ $skip -gt 0 ]; then skip=$((skip - 1)); else printf '>%%s\n' "$part$line"; fi
    part=
  done
  part=$part$line
  if [ "$state" != running ]; then
    [ -z "$part" ] || printf '>%%s\n' "$part"
    exit 0
  fi
  kill -0 "$pid" 2>/dev/null || [ $round -lt 2 ] || exit 23
  round=$((round + 1))
  [ $round -le %(rounds)d ] || exit 20
  echo $((%(base)d + round)) 1<>lease
  echo . || exit 24
  # A program that fails does so at once. Not every sleep knows fractions.
  [ $round -le 5 ] && sleep 0.2 2>/dev/null || sleep 1
done
"""
)


def _wait(job: Job, on_stderr: Callable[[str], object], stop: threading.Event) -> None:
    """Returns when the program has ended; raises KeyboardInterrupt when `stop` is set."""
    connection, seen, base = job.connection, 0, 1_000_000_000

    def take(line: str) -> None:
        nonlocal seen
        if line.startswith(">"):
            seen += 1
            on_stderr(line[1:])
        if stop.is_set():  # looked at once a second, when the waiting script has its say
            raise KeyboardInterrupt

    while True:
        base += _ROUNDS + 1  # each round of each script renews the lease with a number of its own
        words = {"job": quote(job.folder), "seen": seen, "rounds": _ROUNDS, "base": base}
        try:
            code = connection.transport.lines(_WAIT % words, take)
        except ConnectionLost as broken:
            _return_to(job, broken, stop)
            continue
        if code == 0:
            return
        if code != 20:
            raise RuntimeFailure(f"{connection.name}: {_ENDINGS.get(code, _ENDINGS[23])}", _AGAIN)


_ENDINGS = {
    21: "it was started anew in the middle of the run (or lost its power), so the run is lost",
    22: "the run is gone: nobody had waited for it for too long, or someone removed its folder",
    23: "the run was ended from outside; perhaps the device ran out of memory",
}
_AGAIN = "Start again."


def _return_to(job: Job, broken: ConnectionLost, stop: threading.Event | None = None) -> None:
    """Opens the line again, or says what becomes of the program without us."""
    connection = job.connection
    left = time.time()
    try:
        connection.reconnect("the connection was lost; the run goes on there", stop)
    except EdgekitError as error:
        until = time.strftime("%H:%M:%S", time.localtime(left + job.grace_s))
        raise RunLost(
            f"{broken.message}; it could not be reached again within {connection.reconnect_s:g} s "
            f"({error.message.removeprefix(f'{connection.name}: ')}), so the run is lost to us",
            f"If the device is still on, the run goes on there until {until}; then it is ended and "
            f"cleaned up, and the device is free again. If it ends before, its outputs are in "
            f"{job.folder} for {_minutes(job.grace_s)}.",
        ) from error


# --- collect

_COLLECT = (
    FREE_KIB
    + r"""
cd %(job)s || exit 1
read -r code <exit && [ "$code" != running ] || exit 2
timed_out=0
[ -f timed_out ] && timed_out=1
free=$(free_kib)
echo "$code" $timed_out $(wc -c <stdout) $(wc -c <stderr) "${free:-%(plenty)d}"
cat stdout stderr
"""
)


def _collect(job: Job) -> Finished:
    """The program's outputs, after a cut too; refuses what a full disk may have cut off."""
    connection = job.connection
    script = _COLLECT % {"job": quote(job.folder), "plenty": _FULL_KIB}
    try:
        done = connection.transport.run(script, timeout_s=None)
    except ConnectionLost as broken:
        _return_to(job, broken)
        done = connection.transport.run(script, timeout_s=None)
    if done.exit_code != 0:
        raise failed(connection, "the outputs of the run could not be read", done, _AGAIN)
    head, _, body = done.stdout.partition(b"\n")
    code, timed_out, out, err, free = (int(word) for word in head.split())
    stderr = body[out : out + err].decode(errors="replace")
    if free < _FULL_KIB or (code != 0 and "No space left on device" in stderr):
        raise RuntimeFailure(
            f"{connection.name}: its disk ran full during the run ({free} KiB free)",
            disk_hint(connection),
        )
    return Finished(code, body[:out], stderr, timed_out == 1)


# --- end

_STOP = r"""
cd %(job)s || exit
tell() { kill -s "$1" -- "-$2" || kill -s "$1" "$2"; } 2>/dev/null
running() { read -r state <exit && [ "$state" = running ]; } 2>/dev/null
left=%(end)d
until [ -s program ] || [ $left -le 0 ]; do sleep 1; left=$((left - 1)); done
read -r program <program || exit
tell INT "$program"
while running && [ $left -gt 0 ]; do sleep 1; left=$((left - 1)); done
running && tell KILL "$program"
left=2
while running && [ $left -gt 0 ]; do sleep 1; left=$((left - 1)); done
"""

_DISCARD = (
    LOCK_FUNCTIONS
    + JOB_FUNCTIONS
    + r"""
cd %(folder)s || exit
remove_job jobs/%(key)s
rmdir jobs 2>/dev/null
"""
)


def _partial(job: Job) -> Finished | None:
    """Ends the program by SIGINT and fetches what it wrote; None where that fails."""
    stop = _STOP % {"job": quote(job.folder), "end": END_S}
    try:
        job.connection.transport.run(stop)
        return _collect(job)
    except EdgekitError:
        return None


def _discard(job: Job) -> None:
    """Leaves nothing of the job; where the line is cut, its minder does."""
    words = {"folder": quote(job.connection.folder), "key": job.key}
    with contextlib.suppress(EdgekitError):
        job.connection.transport.run(_DISCARD % words)


def _minutes(seconds: int) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds} s"
