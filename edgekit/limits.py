"""How much memory there is, and limits that a process sets on itself."""

from __future__ import annotations

import contextlib
from pathlib import Path


def limit_memory(kind: str, limit: int) -> None:
    """Holds this process to so much memory, so that absurd sizes fail and nothing swaps.

    Does nothing where the system has no such limit or refuses it (Windows, macOS).

    Args:
        kind: A limit of the `resource` module: `RLIMIT_AS` counts addresses, `RLIMIT_DATA` what is
            written to.
        limit: In bytes; a lower limit that is set already stays.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        which = getattr(resource, kind)
        soft, hard = resource.getrlimit(which)
        known = [n for n in (limit, soft, hard) if n != resource.RLIM_INFINITY]
        resource.setrlimit(which, (min(known), hard))


def available_memory() -> int | None:
    """How many bytes this process may still take without swapping, or None where unknown.

    The least of what the kernel says is available, of what the control group leaves, and of what
    this process's own limits leave.
    """
    known = [n for n in (_of_the_system(), _of_the_group(), _of_the_process()) if n is not None]
    return min(known, default=None)


def _of_the_system() -> int | None:
    fields = _numbers(Path("/proc/meminfo"))
    return fields["MemAvailable"] * 1024 if "MemAvailable" in fields else None


def _of_the_group() -> int | None:
    """Of control groups, version 2: what the limit leaves beside what can't be given back."""
    root = Path("/sys/fs/cgroup")
    try:
        limit = int((root / "memory.max").read_text())
        used = int((root / "memory.current").read_text())
    except (OSError, ValueError):  # no control group, or `max`: no limit
        return None
    return max(0, limit - used + _numbers(root / "memory.stat").get("inactive_file", 0))


def _of_the_process() -> int | None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        used = _numbers(Path("/proc/self/status")).get("VmSize")
        if limit != resource.RLIM_INFINITY and used is not None:
            return max(0, limit - used * 1024)
    return None


def _numbers(path: Path) -> dict[str, int]:
    """The lines `NAME: NUMBER ...` or `NAME NUMBER` of a file of the kernel."""
    try:
        rows = [line.replace(":", " ").split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}
