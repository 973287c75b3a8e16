"""Lets this kernel run aarch64 programs through qemu-user, and undoes what it changed.

Linux hands a program it can't run itself to the interpreter that is registered for its first bytes
(Documentation/admin-guide/binfmt-misc.rst of the kernel). Flag F opens the interpreter when it is
registered, so that it also serves a root folder that doesn't hold it.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import MissingError, RuntimeFailure

INSTALL = "sudo apt-get install debootstrap debian-archive-keyring qemu-user-static openssh-client"
_FOLDER = Path("/proc/sys/fs/binfmt_misc")
#: The source that our mount names: what tells it from one that was there before.
_MOUNT_SOURCE = "edgekit-emulated-pi"
_PREFIX = "edgekit-"
#: An ELF header of 64 bits, little-endian, an executable or a shared object, for machine 183.
_MAGIC = "7f454c460201010000000000000000000200b700"
_MASK = "ffffffffffffff00fffffffffffffffffeffffff"
#: Also P: programs see the argv[0] they were given. O: they may be unreadable.
_FLAGS = "POF"


def tool(name: str) -> str:
    """The path of a program that is needed.

    Raises:
        MissingError: It is not installed.
    """
    # A normal user's PATH may lack the sbin folders, where debootstrap lives.
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise MissingError(f"{name} is not installed on this machine", INSTALL)
    return found


@dataclass(frozen=True)
class Registration:
    """An interpreter for aarch64 programs, registered under a name of its own.

    Attributes:
        key: Tells ours from all others, now and after a crash: nothing else is ever taken away.
    """

    key: str

    @property
    def name(self) -> str:
        """Of its entry in binfmt_misc."""
        return _PREFIX + self.key

    def enable(self) -> None:
        """Makes aarch64 programs run, unless they already do in any root folder.

        Raises:
            MissingError: qemu is not installed.
            RuntimeFailure: binfmt_misc can't be mounted, or refuses.
        """
        interpreter = tool("qemu-aarch64-static")
        if not (_FOLDER / "register").exists():
            _mount()
        if (_FOLDER / "status").read_text().strip() != "enabled":
            raise RuntimeFailure(
                "binfmt_misc is switched off on this machine", f"echo 1 | sudo tee {_FOLDER}/status"
            )
        # Not that of another folder: it may be taken away while we need it.
        others = [entry for entry in _entries() if not entry.name.startswith(_PREFIX)]
        if (_FOLDER / self.name).exists() or any(map(_serves_any_root, others)):
            return
        rule = f":{self.name}:M::{_escaped(_MAGIC)}:{_escaped(_MASK)}:{interpreter}:{_FLAGS}"
        try:
            (_FOLDER / "register").write_text(rule)
        except OSError as error:
            raise RuntimeFailure(
                f"{_FOLDER}/register: {error.strerror}; {interpreter} can't be registered",
                "Run it as root, on a machine or in a container that may change binfmt_misc.",
            ) from error

    def disable(self) -> None:
        """Takes away what `enable` of this key added, and nothing else. Harmless when repeated."""
        entry = _FOLDER / self.name
        if entry.exists():
            entry.write_text("-1")
        if _mounted_by_us() and not _entries():
            subprocess.run(["umount", str(_FOLDER)], check=False)


def _mount() -> None:
    result = subprocess.run(
        [tool("mount"), "-t", "binfmt_misc", _MOUNT_SOURCE, str(_FOLDER)],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        reason = result.stderr.partition("\n")[0]
        raise RuntimeFailure(
            f"binfmt_misc can't be mounted at {_FOLDER}: {reason}",
            "Run it as root, with a kernel that has binfmt_misc (modprobe binfmt_misc) and not in "
            "a container that may not mount.",
        )


def _mounted_by_us() -> bool:
    mounts = (line.split()[:2] for line in Path("/proc/self/mounts").read_text().splitlines())
    return [_MOUNT_SOURCE, str(_FOLDER)] in mounts


def _entries() -> list[Path]:
    return [path for path in _FOLDER.iterdir() if path.name not in ("register", "status")]


def _serves_any_root(entry: Path) -> bool:
    lines = entry.read_text().splitlines()
    flags = next((line.partition(":")[2] for line in lines if line.startswith("flags:")), "")
    return lines[0] == "enabled" and f"magic {_MAGIC}" in lines and "F" in flags


def _escaped(digits: str) -> str:
    return "".join(f"\\x{digits[i : i + 2]}" for i in range(0, len(digits), 2))
