"""Limits that a child process sets on itself before it reads a file of unknown origin."""

from __future__ import annotations

import contextlib


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
