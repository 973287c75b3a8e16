"""Processes that begin with TensorFlow imported: what tests start is forked, not started anew.

Most of what a test of the command line costs is importing: `edgekit convert` starts a process, that
starts an export child, and the child imports TensorFlow for seconds before it reads a small model
for a tenth of one. So one process imports everything once and does nothing else (the server), and
`python -m edgekit ...` and the export child are forked from it. What comes out is still a process
of its own: its own memory, file descriptors, folder, environment, limits, signals and exit code,
and a child of whoever asked for it, to wait for, kill or time out as usual. Only importing is
skipped.

`install()` puts this under `subprocess`; nothing in the product or the tests knows. Whatever has to
see a fresh interpreter (what is imported when, what shadows what) is left alone: any other command
line, one with a variable that an interpreter or TensorFlow reads when it starts, and everything
within `fresh_interpreters()`.

How a forked process becomes the child of who asked: the server forks twice, and when the process in
the middle ends, Linux gives its child to the nearest ancestor that asked for orphans
(PR_SET_CHILD_SUBREAPER, prctl(2)). A server is always started beneath its only client. So that a
forked command can start an export child in its turn, it begins with a server of its own, forked
while it has one thread and has computed nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import resource
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

#: What an interpreter or TensorFlow reads once, when it starts.
_READ_AT_START = (
    "PYTHON",
    "LC_",
    "LANG",
    "LD_",
    "TF_",
    "KERAS_",
    "CUDA_",
    "OMP_",
    "XLA_",
    "MALLOC_",
)
#: What edgekit sets before it imports TensorFlow, and the server therefore too.
_SET_FOR_TENSORFLOW = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
}
#: What of that can be followed later, or is read later.
_READ_LATER = {"PYTHONPATH", "TF_CONFIG"}
#: Scripts that train, and that tests start.
_SCRIPTS = ("distributed_worker.py", "tune_support.py", "kill_resume.py")
#: The one `python -c` that is served: the export child, edgekit/converters/export.py.
_EXPORT_CHILD = "from edgekit.converters.exporter import main"
_LIMITS = (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_DATA, resource.RLIMIT_AS)
_PR_SET_CHILD_SUBREAPER = 36
_MOST_BYTES = 1 << 20

_exec = subprocess._fork_exec  # type: ignore[attr-defined]
_client: _Client | None = None
_disabled = 0


def install() -> None:
    """Serves this process's `subprocess` calls; the server starts with the first that is served."""
    global _client
    if _client is None and sys.platform == "linux":
        _client = _Client(None)
        subprocess._fork_exec = _fork_exec  # type: ignore[attr-defined]


@contextlib.contextmanager
def fresh_interpreters() -> Iterator[None]:
    """Within it every process is started, none forked."""
    global _disabled
    _disabled += 1
    try:
        yield
    finally:
        _disabled -= 1


def _fork_exec(
    args: Sequence[Any],
    executables: Sequence[bytes],
    close_fds: bool,
    keep: Sequence[int],
    cwd: Any,
    env: Sequence[bytes] | None,
    *rest: Any,
) -> int:
    """Takes the place of `_posixsubprocess.fork_exec`; the same in Python 3.10 to 3.14."""
    p2cread, _, _, c2pwrite, _, errwrite, _, errpipe = rest[:8]
    restores_signals, session, group = rest[8:11]
    plain = restores_signals and not any(callable(value) for value in rest)  # no preexec_fn
    words = [os.fsdecode(word) for word in args]
    environment = dict(os.environ) if env is None else _decoded(env)
    folder = os.fsdecode(cwd) if cwd is not None else str(Path.cwd())
    assert _client is not None
    if (
        _disabled
        or not plain
        or not _is_served(words)
        or not _client.fits(environment)
        or not Path(folder).is_dir()  # else subprocess has its own words
    ):
        return int(_exec(args, executables, close_fds, keep, cwd, env, *rest))
    streams = [
        own if given == -1 else given for given, own in ((p2cread, 0), (c2pwrite, 1), (errwrite, 2))
    ]
    kept = [fd for fd in keep if fd != errpipe]
    request = {
        "words": words[1:],
        "folder": folder,
        "environment": environment,
        "kept": kept,
        "session": bool(session),
        "group": group if sys.version_info >= (3, 11) else -1,
        "umask": _umask(),
        "limits": [resource.getrlimit(limit) for limit in _LIMITS],
        "processors": sorted(os.sched_getaffinity(0)),
    }
    return _client.start(request, [*streams, *kept])


def _decoded(env: Sequence[bytes]) -> dict[str, str]:
    pairs = (os.fsdecode(entry).partition("=") for entry in env)
    return {name: value for name, _, value in pairs}


def _is_served(words: Sequence[str]) -> bool:
    if words[0] != sys.executable or len(words) < 2:
        return False
    if Path(words[1]).is_absolute() and Path(words[1]).name in _SCRIPTS:
        return True
    return words[1:3] == ["-m", "edgekit"] or (words[1:2] == ["-c"] and _EXPORT_CHILD in words[2])


def _umask() -> int:
    mask = os.umask(0o22)
    os.umask(mask)
    return mask


class _Client:
    """The asking side."""

    def __init__(self, line: socket.socket | None) -> None:
        self._line = line
        self._lock = threading.Lock()
        self._environment = dict(os.environ)
        self._libc = ctypes.CDLL(None, use_errno=True)

    def fits(self, environment: dict[str, str]) -> bool:
        """Whether a process with these variables would have started as the server did."""
        names = {*environment, *self._environment} - _READ_LATER
        for name in names:
            if name.startswith(_READ_AT_START):
                given = environment.get(name)
                if given not in (self._environment.get(name), _SET_FOR_TENSORFLOW.get(name)):
                    return False
        return True

    def start(self, request: dict[str, Any], descriptors: list[int]) -> int:
        """Has a process forked.

        Returns:
            Its process number; it is a child of this process.
        """
        with self._lock:
            if self._line is None:
                self._line = self._start_server()
            self._take_orphans(True)
            try:
                socket.send_fds(self._line, [json.dumps(request).encode()], descriptors)
                answer = self._line.recv(64)
            finally:
                self._take_orphans(False)
        if not answer:
            raise RuntimeError("the fork server ended")
        return int(answer)

    def _take_orphans(self, whether: bool) -> None:
        if self._libc.prctl(_PR_SET_CHILD_SUBREAPER, int(whether), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")

    def _start_server(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST_BYTES)
        environment = {**self._environment, **_SET_FOR_TENSORFLOW}
        with fresh_interpreters():
            subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment,
            )
        theirs.close()
        if ours.recv(64) != b"ready":
            raise RuntimeError("the fork server did not start")
        return ours


# --- the server


def main() -> None:
    """Imports everything, then forks until the client is gone."""
    line = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for what was forked
    sys.path.remove(str(Path(__file__).parent))  # the folder of the script
    _import_all()
    line.send(b"ready")
    _serve(line)


def _import_all() -> None:
    """Everything that commands import, and nothing that computes: no thread may run at a fork."""
    for name in ("tensorflow", "keras", "h5py", "cv2", "tqdm", "litert_quantizer"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with contextlib.suppress(ImportError):
        import tensorflow as tf

        _ = tf.lite.TFLiteConverter, tf.compat.v1.lite.TFLiteConverter
    import edgekit

    for module in pkgutil.walk_packages(edgekit.__path__, "edgekit."):
        # tfmot takes Keras 2 for the whole of its process, which then isn't forked from here.
        if ".tfmot" not in module.name and not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)


def _serve(line: socket.socket) -> None:
    gc.collect()
    gc.freeze()  # so that a collection in a child doesn't copy every page
    while True:
        data, descriptors, _, _ = socket.recv_fds(line, _MOST_BYTES, 64)
        if not data:
            os._exit(0)
        reading, writing = os.pipe()
        middle = os.fork()
        if middle == 0:
            middle = os.getpid()
            child = os.fork()
            if child != 0:
                os.write(writing, str(child).encode())
                os._exit(0)
            for fd in (line.detach(), reading, writing):
                os.close(fd)
            _become(json.loads(data), descriptors, middle)
        os.waitpid(middle, 0)
        number = os.read(reading, 64)
        for fd in (*descriptors, reading, writing):
            os.close(fd)
        with contextlib.suppress(OSError):
            line.send(number)


def _become(request: dict[str, Any], descriptors: list[int], middle: int) -> None:
    """Is the process that was asked for; doesn't return."""
    while os.getppid() == middle:
        time.sleep(0.001)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _place(descriptors, [0, 1, 2, *request["kept"]])
    if request["session"]:
        os.setsid()
    if request["group"] >= 0:
        os.setpgid(0, request["group"])
    os.umask(request["umask"])
    for limit, values in zip(_LIMITS, request["limits"], strict=True):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, tuple(values))
    os.sched_setaffinity(0, request["processors"])
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None  # what was imported asked for it before TMPDIR was this
    how, *arguments = request["words"]
    added = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    first = {"-c": "", "-m": request["folder"]}.get(how, str(Path(how).parent))
    sys.path[:] = [first, *added, *(path for path in sys.path if path not in added)]
    sys.stdin = _stream(0, "r", "strict")
    sys.stdout = _stream(1, "w", "strict")
    sys.stderr = _stream(2, "w", "backslashreplace")
    if how != "-c":  # the export child starts nothing
        _serve_own_children()
    os._exit(_run(how, arguments))


def _place(descriptors: list[int], numbers: list[int]) -> None:
    """Gives each descriptor its number, and closes every other but the three."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, max(numbers) + 1) for fd in descriptors]
    for fd, number in zip(high, numbers, strict=True):
        os.dup2(fd, number, inheritable=True)
    for fd in {*descriptors, *high} - set(numbers):
        with contextlib.suppress(OSError):
            os.close(fd)


def _stream(fd: int, mode: str, errors: str) -> Any:
    """A standard stream as an interpreter opens it."""
    lines = fd == 2 or os.isatty(fd)
    buffering = 1 if lines and mode == "w" else -1
    return open(fd, mode, buffering, encoding="utf-8", errors=errors, closefd=False)


def _serve_own_children() -> None:
    """Forks a server beneath this process, while that is safe, and serves `subprocess` by it."""
    global _client
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        nothing = os.open(os.devnull, os.O_RDWR)
        _place([nothing, nothing, nothing, os.dup(theirs.detach())], [0, 1, 2, 3])
        os.closerange(4, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _serve(socket.socket(fileno=3))
    theirs.close()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST_BYTES)
    _client = _Client(ours)
    subprocess._fork_exec = _fork_exec  # type: ignore[attr-defined]


def _run(how: str, arguments: list[str]) -> int:
    """Runs a module, a line of code or a script as an interpreter would; returns the exit code."""
    code = 0
    try:
        if how == "-m":
            sys.argv = arguments
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        elif how == "-c":
            sys.argv = ["-c", *arguments[1:]]
            exec(compile(arguments[0], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = [how, *arguments]
            runpy.run_path(how, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = 120  # as Python does
    return code


if __name__ == "__main__":
    # As a module of that name, so that what is forked has one copy of all this.
    sys.modules["fork_server"] = sys.modules["__main__"]
    main()
