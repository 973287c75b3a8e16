"""What a device needs beside the model: the benchmark binary and a runtime library for it.

The binaries are built by `make native` and travel in the wheel. The runtime library comes from the
device if it has one, or else out of the ai-edge-litert wheel for its platform, fetched with pip and
kept in the user's cache.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgekit import folders, pip
from edgekit.devices import Device, DeviceFacts
from edgekit.errors import MissingError, UsageError
from edgekit.files import write_all

Notify = Callable[[str], None]

_BINARIES = Path(__file__).parent / "bin"
_LIBRARY = "libLiteRt.so"
_DISTRIBUTION = "ai-edge-litert"
#: What a device gets where no ai-edge-litert is installed here: the version that setup.cfg pins.
LITERT_VERSION = "2.3.0"
_WHEELS = frozenset({"x86_64", "aarch64"})
#: ELF e_machine (System V ABI and its supplements) by the name that `uname -m` gives.
_ELF_MACHINES = {3: "i686", 40: "armv7l", 62: "x86_64", 183: "aarch64"}

_PYTHON_FALLBACK = "measure through the Python runtime instead with --python"


def binary(facts: DeviceFacts, given: Path | None = None) -> Path:
    """The benchmark binary for a device.

    Args:
        facts: The device's.
        given: The user's own build, such as one made with the Android NDK.

    Raises:
        MissingError: There is none for it; the hint says how to get one.
        UsageError: The user's is for another architecture.
    """
    if given is not None:
        _check_machine(given, facts)
        return given
    if facts.system == "android":
        raise MissingError(
            "Android needs an edgekit-bench built with the NDK, which edgekit doesn't carry",
            "Build it as benchmarks/native/README.md says and name it with --binary FILE.",
        )
    target = f"{facts.machine}-linux-gnu"
    path = _BINARIES / f"edgekit-bench-{target}"
    if facts.system != "linux" or facts.libc == "musl":
        raise MissingError(
            f"there is no edgekit-bench for {facts.system} with {facts.libc or 'its C library'}",
            f"Build one from benchmarks/native and name it with --binary, or {_PYTHON_FALLBACK}.",
        )
    if not path.is_file():
        raise MissingError(
            f"no edgekit-bench for {target} is installed here",
            f"In a checkout, build it with `make native`; or {_PYTHON_FALLBACK}.",
        )
    return path


@dataclass(frozen=True)
class Library:
    """A runtime library on a device.

    Attributes:
        path: Its absolute path there.
        version: Of the wheel it came from, or None where it was there already.
    """

    path: str
    version: str | None = None


def carried() -> dict[str, Path]:
    """The benchmark binaries that this installation carries: architecture -> file."""
    found = sorted(_BINARIES.glob("edgekit-bench-*-linux-gnu"))
    return {path.name.removeprefix("edgekit-bench-").partition("-")[0]: path for path in found}


def runtime(device: Device, given: str | None, notify: Notify) -> Library:
    """The runtime library for a device, put there where it has none.

    Args:
        device: An open device.
        given: The user's choice: a file here, which is copied, or else a path on the device.
        notify: Called with what takes long.

    Raises:
        MissingError: None can be had for this platform.
        UsageError: The user's choice is missing or for another architecture.
    """
    if given is not None:
        return Library(_given_runtime(device, given))
    here = installed_library()
    if here is not None and _machine(here) == device.facts.machine and device.is_local:
        return Library(str(here), _installed_version())
    found = _on_device(device)
    if found is not None:
        notify(f"{device.name}: runtime {found}, found there")
        return Library(found)
    if device.facts.system != "linux":  # the wheels' libraries are for glibc
        raise MissingError(
            f"{device.name}: no runtime library was found there",
            "Name one with --runtime: for Android, jni/arm64-v8a/libtensorflowlite_jni.so out of "
            "the AAR of LiteRT.",
        )
    if here is not None and _machine(here) == device.facts.machine:
        return Library(device.put(here), _installed_version())
    version = _installed_version() or LITERT_VERSION
    return Library(device.put(_from_wheel(device.facts.machine, version, notify)), version)


def installed_library() -> Path | None:
    """The LiteRT library of the ai-edge-litert that is installed here, if it is."""
    spec = importlib.util.find_spec("ai_edge_litert")
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        path = Path(folder) / _LIBRARY
        if path.is_file():
            return path
    return None


def external(device: Device, delegate: str) -> str:
    """A delegate as the binary on the device takes it: a plug-in that lies here is copied there.

    Args:
        device: An open device.
        delegate: `xnnpack`, ... or `external:PATH[,key=value...]`.
    """
    kind, _, rest = delegate.partition(":")
    path, comma, options = rest.partition(",")
    if kind != "external" or device.is_local or not Path(path).is_file():
        return delegate
    _check_machine(Path(path), device.facts)
    return f"external:{device.put(Path(path))}{comma}{options}"


def _given_runtime(device: Device, given: str) -> str:
    path = Path(given)
    if path.is_file():
        _check_machine(path, device.facts)
        return str(path.resolve()) if device.is_local else device.put(path)
    if not PurePosixPath(given).is_absolute() or not device.exists(given):
        raise UsageError(
            f"--runtime {given}: neither a file here nor an absolute path on {device.name}",
            "Name a libLiteRt.so or libtensorflowlite_c.so, or leave --runtime out.",
        )
    return given


#: Where to look for a Python on a device, in sh words: a shell over SSH doesn't activate the user's
#: virtual environments.
PYTHONS = '"$HOME"/.venv/bin/python3 "$HOME"/*/.venv/bin/python3 "$HOME"/*/bin/python3 python3'

#: Python's own finder knows every place where pip may have put it.
_FIND_ON_DEVICE = f"""
for python in {PYTHONS}; do
  command -v "$python" >/dev/null 2>&1 || continue
  path=$("$python" -c 'import importlib.util as u, pathlib
spec = u.find_spec("ai_edge_litert")
print(pathlib.Path(spec.submodule_search_locations[0]) / "libLiteRt.so" if spec else "")
' 2>/dev/null)
  if [ -f "$path" ]; then printf '%s\\n' "$path"; exit 0; fi
done
for path in /usr/lib/*/libtensorflowlite_c.so /usr/lib/libtensorflowlite_c.so \\
            /usr/local/lib/libtensorflowlite_c.so /usr/local/lib/libLiteRt.so; do
  if [ -f "$path" ]; then printf '%s\\n' "$path"; exit 0; fi
done
"""


def _on_device(device: Device) -> str | None:
    found = device.shell(_FIND_ON_DEVICE)
    return found.stdout.decode(errors="surrogateescape").strip() or None


def _from_wheel(machine: str, version: str, notify: Notify) -> Path:
    """The library out of the wheel for another architecture, kept in the cache."""
    if machine not in _WHEELS:
        raise MissingError(
            f"there is no LiteRT library for {machine}, and none was found on the device",
            f"Name a libtensorflowlite_c.so with --runtime, or {_PYTHON_FALLBACK} "
            "(pip install tflite-runtime there).",
        )
    cached = folders.cache() / "runtimes" / f"{_DISTRIBUTION}-{version}-{machine}" / _LIBRARY
    if not cached.is_file():
        notify(f"fetching {_DISTRIBUTION} {version} for {machine} ...")
        with tempfile.TemporaryDirectory() as folder:
            (wheel,) = pip.download(
                [f"{_DISTRIBUTION}=={version}"],
                *(Path(folder), machine, "3.11"),
                alone=True,
                hint="On the device: pip install ai-edge-litert; or name a library with --runtime.",
            )
            with zipfile.ZipFile(wheel) as archive:
                library = archive.read(f"ai_edge_litert/{_LIBRARY}")
        cached.parent.mkdir(parents=True, exist_ok=True)
        write_all({cached: library})
    return cached


def _installed_version() -> str | None:
    try:
        return importlib.metadata.version(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None


def _check_machine(path: Path, facts: DeviceFacts) -> None:
    try:
        machine = _machine(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    if machine != facts.machine:
        raise UsageError(f"{path}: is built for {machine or 'no Linux'}, not for {facts.machine}")


def _machine(path: Path) -> str | None:
    """The architecture an ELF file is built for, or None for anything else."""
    with path.open("rb") as file:
        header = file.read(20)
    if len(header) < 20 or header[:4] != b"\x7fELF":
        return None
    return _ELF_MACHINES.get(int.from_bytes(header[18:20], "little"), "another architecture")
