"""Fetching wheels for another machine with pip."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edgekit.errors import MissingError

#: Tags of wheels for Linux with glibc, the newest first. LiteRT's for aarch64 carry 2_27 alone.
_TAGS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
_SECONDS = 600


def download(
    wanted: Sequence[str],
    folder: Path,
    machine: str,
    python: str,
    *,
    alone: bool = False,
    hint: str | None = None,
) -> list[Path]:
    """Fetches wheels for Linux into a folder.

    Args:
        wanted: Requirements, such as `numpy>=1.26`; or `-r` and a file.
        folder: Where to.
        machine: `aarch64`, `x86_64`.
        python: The version they are for, such as `3.11`.
        alone: Without what they require.
        hint: What to do where they can't be had.

    Raises:
        MissingError: They can't be had.
    """
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--only-binary=:all:", "--implementation", "cp", "--python-version", python),
        *(f"--platform={tag}_{machine}" for tag in _TAGS),
        *(("--no-deps",) if alone else ()),
        *("--dest", str(folder), *wanted),
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        failed = done.returncode != 0
        reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    except subprocess.TimeoutExpired:
        failed, reason = True, f"pip was still busy after {_SECONDS} s"
    if failed:
        what = " ".join(wanted)
        raise MissingError(f"{what} for {machine} can't be fetched: {reason}", hint)
    return sorted(folder.glob("*.whl"))
