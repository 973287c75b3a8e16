"""Builds edgekit-bench for Linux with PyPI's ziglang, which brings compiler, C library and linker.

    python benchmarks/native/build.py [TARGET...] [-o DIR]

TARGET is x86_64, aarch64 or armv7l; all three by default. What is up to date is left alone. The
programs need glibc 2.17 or later and nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "native"
OUTPUT = ROOT / "edgekit" / "benchmark" / "bin"

#: By architecture as `uname -m` says it: the target and the processor in zig's words.
TARGETS = {
    "x86_64": ("x86_64-linux-gnu.2.17", "baseline"),
    "aarch64": ("aarch64-linux-gnu.2.17", "baseline"),
    "armv7l": ("arm-linux-gnueabihf.2.17", "generic+v7a+vfp3d16"),
}
FLAGS = (
    *("-std=c++17", "-Os", "-flto", "-Wall", "-Wextra", "-Werror"),
    *("-fPIE", "-pie", "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2", "-D_FILE_OFFSET_BITS=64"),
    *("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-Wl,-z,relro,-z,now", "-s"),
)
MOST_BYTES = 400_000


def program_name(target: str) -> str:
    """The file name of the program for a machine, `aarch64` say."""
    return f"edgekit-bench-{target}-linux-gnu"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, metavar="DIR")
    arguments = parser.parse_args()
    targets = arguments.targets or list(TARGETS)
    unknown = set(targets) - set(TARGETS)
    if unknown:
        parser.error(f"unknown target {', '.join(sorted(unknown))}; known: {', '.join(TARGETS)}")
    if importlib.util.find_spec("ziglang") is None:
        sys.exit("ziglang is missing; install it: pip install ziglang==0.17.1")
    arguments.output.mkdir(parents=True, exist_ok=True)
    paths = [arguments.output / program_name(target) for target in targets]
    # Side by side: for minutes, each first compiles a C++ library for its target on one processor.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, built in zip(paths, pool.map(build, targets, paths), strict=True):
            size = f"{path.stat().st_size:>8} bytes"
            print(f"{path.name:36} {size}{'' if built else '  (up to date)'}")


def build(target: str, path: Path) -> bool:
    """Builds the program for one target.

    Returns:
        False where the file is that of these sources, flags and compiler already.
    """
    zig_target, processor = TARGETS[target]
    defines = [f'-DEDGEKIT_VERSION="{edgekit_version()}"']
    command = [sys.executable, "-m", "ziglang", "c++", "-target", zig_target, f"-mcpu={processor}"]
    command += [*FLAGS, *defines, *map(str, sources()), "-ldl"]
    stamp = BUILD / f"{path.name}.stamp"
    wanted = fingerprint(command)
    if path.exists() and stamp.exists() and stamp.read_text() == wanted + sha256(path):
        return False
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    subprocess.run([*command, "-o", str(temporary)], check=True, env=environment(), cwd=ROOT)
    size = temporary.stat().st_size
    if size > MOST_BYTES:
        sys.exit(f"{path.name}: {size} bytes, more than {MOST_BYTES}")
    temporary.replace(path)
    stamp.write_text(wanted + sha256(path))
    return True


def sources() -> list[Path]:
    return sorted((HERE / "src").glob("*.cc"))


def edgekit_version() -> str:
    namespace: dict[str, str] = {}
    exec((ROOT / "edgekit" / "version.py").read_text(), namespace)
    return namespace["__version__"]


def fingerprint(command: list[str]) -> str:
    """Changes with the sources, the flags and the compiler."""
    digest = hashlib.sha256("\0".join([*command, version("ziglang")]).encode())
    for path in sorted((HERE / "src").iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def environment() -> dict[str, str]:
    """Keeps zig's caches below build/, where `make clean` finds them."""
    cache = BUILD / "zig-cache"
    cache.mkdir(parents=True, exist_ok=True)
    return {
        **os.environ,
        "ZIG_GLOBAL_CACHE_DIR": str(cache),
        "ZIG_LOCAL_CACHE_DIR": str(cache),
    }


if __name__ == "__main__":
    main()
