"""The Python stand-in for the native binary: the same options, the same document, slower to start.

For machines that have no native binary or no C library of the runtime, such as a 32-bit Raspberry
Pi OS, where tflite-runtime is a Python extension alone. It is copied to the device as it is and run
by the Python there: it may import nothing of edgekit, only numpy and a TFLite runtime.

What it times is `Interpreter.invoke()`, so each sample holds one call from Python.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import importlib.metadata
import json
import os
import platform
import re
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SCHEMA = "edgekit.bench/1"
_RUNTIMES = (
    ("ai_edge_litert.interpreter", "ai-edge-litert"),
    ("tflite_runtime.interpreter", "tflite-runtime"),
)
_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9}
_CPUS = Path("/sys/devices/system/cpu")


class Failure(Exception):
    """An error for the document: its message, what to do next, and the exit code."""

    def __init__(self, message: str, hint: str | None, exit_code: int) -> None:
        super().__init__(message)
        self.message, self.hint, self.exit_code = message, hint, exit_code


class Interrupt:
    """Whether SIGINT or SIGTERM has come; the inference that is under way is ended first."""

    def __init__(self) -> None:
        self.came = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, _: Any) -> None:
        self.came = True
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once


def main(arguments: list[str]) -> int:
    """Measures, prints the document, and returns the exit code."""
    options = _parse(arguments)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "tool": {
            "name": "edgekit python",
            "version": options.tool_version,
            "target": f"{platform.machine()} {platform.python_implementation()} "
            f"{platform.python_version()}",
        },
        "error": None,
        "started_unix_ns": time.time_ns(),
    }
    try:
        _measure(options, document, Interrupt())
        code = 130 if document["status"] == "interrupted" else 0
        golden = document["output"]["golden"]
        if code == 0 and golden is not None and not golden["equal"]:
            code = 1
    except Failure as failure:
        document["status"], code = "error", failure.exit_code
        document["error"] = {
            "message": failure.message,
            "hint": failure.hint,
            "exit_code": code,
        }
    print(json.dumps(document))
    return code


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--delegate", default="xnnpack")
    parser.add_argument("--affinity")
    parser.add_argument("--min-runs", type=int, default=20)
    for name, default in (("min-time", "1s"), ("max-time", "30s"), ("warmup", "300ms")):
        parser.add_argument(f"--{name}", type=_nanoseconds, default=_nanoseconds(default))
    for name in ("interval", "sustain"):
        parser.add_argument(f"--{name}", type=_nanoseconds, default=0)
    parser.add_argument("--input", default="random:0")
    parser.add_argument("--golden", type=Path)
    parser.add_argument("--dump-output", type=Path)
    parser.add_argument("--emulated", action="store_true")
    parser.add_argument("--require-full-delegation", action="store_true")
    parser.add_argument("--tool-version", default="unknown")
    return parser.parse_args(arguments)


def _nanoseconds(text: str) -> int:
    match = re.fullmatch(r"([0-9.]+)(ns|us|ms|s|m)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 300ms, 2s or 10m")
    return round(float(match[1]) * _UNITS[match[2]])


def _measure(options: argparse.Namespace, document: dict[str, Any], interrupt: Interrupt) -> None:
    affinity = _pin(options.affinity)
    model = _read(options.model)
    before = _state()
    begin = time.perf_counter_ns()
    interpreter, runtime = _load(model, options)
    document["load_ns"] = time.perf_counter_ns() - begin
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    document["model"] = {
        "path": str(options.model),
        "sha256": hashlib.sha256(model).hexdigest(),
        "bytes": len(model),
        "operators": None,
        "custom_ops": [],
        "inputs": [_tensor(d) for d in inputs],
        "outputs": [_tensor(d) for d in outputs],
    }
    document["runtime"] = runtime
    document["request"] = _request(options)
    document["engaged"] = {
        "delegate": options.delegate,
        "nodes_total": None,
        "nodes_delegated": None,
        "partitions": None,
        "fully_delegated": None,
        "threads": None,
        "affinity": affinity,
    }
    document["input"] = _fill(interpreter, inputs, options.input)

    document["first_ns"] = _time(interpreter)[1]
    first = _hash_outputs(interpreter, outputs)
    warm_up: list[int] = []
    end = time.perf_counter_ns() + options.warmup
    while time.perf_counter_ns() < end and not interrupt.came:
        warm_up.append(_time(interpreter)[1])
    document["warmup_ns"] = warm_up

    starts, samples, timeline = _steady(interpreter, options, interrupt)
    document["status"] = "interrupted" if interrupt.came else "complete"
    document["samples_ns"], document["starts_ns"] = samples, [s - starts[0] for s in starts]
    document["profile"], document["timeline"] = None, timeline
    last = _hash_outputs(interpreter, outputs)
    if options.dump_output is not None:
        options.dump_output.write_bytes(_outputs(interpreter, outputs))
    document["output"] = {
        "sha256": last,
        "repeatable": first == last,
        "golden": _compare(interpreter, outputs, options.golden),
    }
    document["context"] = _context(before, options.emulated)
    document["warnings"] = ["measured through Python: each sample holds one call of invoke()"]


def _steady(
    interpreter: Any, options: argparse.Namespace, interrupt: Interrupt
) -> tuple[list[int], list[int], list[dict[str, Any]]]:
    """Runs until the minimum time and count are met, the maximum is, or the interrupt came."""
    starts: list[int] = []
    samples: list[int] = []
    timeline: list[dict[str, Any]] = []
    begin = looked = time.perf_counter_ns()
    while True:
        start, took = _time(interpreter)
        starts.append(start)
        samples.append(took)
        now = time.perf_counter_ns()
        spent = now - begin
        enough = spent >= options.min_time and len(samples) >= options.min_runs
        if options.sustain:
            enough = spent >= options.sustain
        elif spent >= options.max_time:
            enough = True
        if enough or interrupt.came:
            return starts, samples, timeline
        if now - looked >= 10**9:
            looked = now
            timeline.append({"t_ns": spent, **_momentary()})
            if options.sustain:
                done, whole = spent / 1e9, options.sustain / 1e9
                print(
                    f"progress: sustain {done:.1f}/{whole:.1f} s {len(samples)} runs",
                    file=sys.stderr,
                    flush=True,
                )
        if options.interval:
            time.sleep(max(0, start + options.interval - time.perf_counter_ns()) / 1e9)


def _time(interpreter: Any) -> tuple[int, int]:
    """One inference: when it began and how long it took, in nanoseconds."""
    begin = time.perf_counter_ns()
    interpreter.invoke()
    return begin, time.perf_counter_ns() - begin


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}", "Check the path of the model.", 3) from error


def _load(model: bytes, options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    if options.require_full_delegation:
        raise Failure(
            "the Python runtime doesn't say what a delegate took",
            "Use the native binary for --require-full-delegation.",
            5,
        )
    module, runtime = _runtime()
    extra: dict[str, Any] = {}
    if options.delegate == "none":
        kinds = module.OpResolverType
        extra["experimental_op_resolver_type"] = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    elif options.delegate.startswith("external:"):
        extra["experimental_delegates"] = [_plug_in(module, options.delegate)]
    elif options.delegate != "xnnpack":
        raise Failure(
            f"--delegate {options.delegate}: not with the Python runtime",
            "Use the native binary, or xnnpack, none or external:PATH.",
            2,
        )
    try:
        interpreter = module.Interpreter(model_content=model, num_threads=options.threads, **extra)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise Failure(f"{options.model}: the runtime refuses it: {error}", None, 4) from error
    return interpreter, runtime


def _runtime() -> tuple[Any, dict[str, Any]]:
    for name, distribution in _RUNTIMES:
        with contextlib.suppress(ImportError):
            module = importlib.import_module(name)
            version = importlib.metadata.version(distribution)
            return module, {
                "kind": "python",
                "path": str(module.__file__),
                "version": f"{distribution} {version}",
            }
    raise Failure("no TFLite runtime for Python here", "pip install ai-edge-litert", 5)


def _plug_in(module: Any, delegate: str) -> Any:
    path, *pairs = delegate.removeprefix("external:").split(",")
    if not Path(path).is_file():  # the runtime would crash or say nothing of use
        raise Failure(f"delegate {path}: no such file", "Check the path of the plug-in.", 5)
    try:
        return module.load_delegate(path, dict(pair.split("=", 1) for pair in pairs))
    except (OSError, ValueError) as error:
        raise Failure(f"delegate {path}: {error}", None, 4) from error


def _tensor(details: dict[str, Any]) -> dict[str, Any]:
    dtype = np.dtype(details["dtype"])
    shape = [int(n) for n in details["shape"]]
    return {
        "name": details["name"],
        "dtype": dtype.name,
        "shape": shape,
        "bytes": int(np.prod(shape)) * dtype.itemsize,
    }


def _request(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "threads": options.threads,
        "delegate": options.delegate,
        "affinity": options.affinity,
        "min_time_ns": options.min_time,
        "min_runs": options.min_runs,
        "max_time_ns": options.max_time,
        "warmup_ns": options.warmup,
        "interval_ns": options.interval,
        "sustain_ns": options.sustain,
        "profile": False,
        "require_full_delegation": options.require_full_delegation,
        "input": options.input,
    }


def _hash_outputs(interpreter: Any, outputs: list[dict[str, Any]]) -> str:
    return hashlib.sha256(_outputs(interpreter, outputs)).hexdigest()


def _outputs(interpreter: Any, outputs: list[dict[str, Any]]) -> bytes:
    return b"".join(interpreter.get_tensor(d["index"]).tobytes() for d in outputs)


def _compare(
    interpreter: Any, outputs: list[dict[str, Any]], golden: Path | None
) -> dict[str, Any] | None:
    """How the outputs of the last run differ from those expected."""
    if golden is None:
        return None
    ours, wanted = _outputs(interpreter, outputs), _read(golden)
    if len(ours) != len(wanted):
        raise Failure(
            f"{golden}: {len(wanted)} bytes, but the outputs have {len(ours)}",
            "A golden file holds the raw bytes of all outputs of the same model.",
            3,
        )
    largest, offset = 0.0, 0
    for details in outputs:
        value = interpreter.get_tensor(details["index"])
        expected = np.frombuffer(wanted[offset : offset + value.nbytes], value.dtype)
        offset += value.nbytes
        gap = np.abs(value.reshape(-1).astype(np.float64) - expected.astype(np.float64))
        largest = max(largest, float(gap.max(initial=0.0)))
    differing = sum(a != b for a, b in zip(ours, wanted, strict=True))
    return {
        "equal": differing == 0,
        "differing_bytes": differing,
        "max_abs_difference": largest,
    }


# --- the input, the same bytes as the native binary's


class SplitMix64:
    """Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def draw(self, count: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """The next outputs: uint64[count]."""
        steps = np.arange(1, count + 1, dtype=np.uint64)
        z = np.uint64(self._state) + steps * np.uint64(0x9E3779B97F4A7C15)
        self._state = int(z[-1])
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def _fill(interpreter: Any, inputs: list[dict[str, Any]], source: str) -> dict[str, Any]:
    """Sets all inputs: zeros, random as benchmarks/native/src/input.h defines it, or a file."""
    kind, _, rest = source.partition(":")
    seed = int(rest or 0) if kind == "random" and (rest or "0").isdigit() else None
    if kind not in ("zeros", "file") and seed is None:
        raise Failure(f"--input {source}: not zeros, random[:SEED] or file:PATH", None, 2)
    random = SplitMix64(seed or 0)
    given = _read(Path(rest)) if kind == "file" else b""
    wanted = sum(_tensor(d)["bytes"] for d in inputs)
    if kind == "file" and len(given) != wanted:
        raise Failure(f"{rest}: {len(given)} bytes, but the model takes {wanted}", None, 2)
    digest = hashlib.sha256()
    for details in inputs:
        tensor = _tensor(details)
        if kind == "random":
            data = _random(random, tensor)
        else:
            data = given[: tensor["bytes"]] if given else bytes(tensor["bytes"])
            given = given[tensor["bytes"] :]
        digest.update(data)
        value = np.frombuffer(data, details["dtype"]).reshape(tensor["shape"])
        interpreter.set_tensor(details["index"], value)
    return {"kind": kind, "seed": seed, "sha256": digest.hexdigest()}


def _random(random: SplitMix64, tensor: dict[str, Any]) -> bytes:
    dtype, size = np.dtype(tensor["dtype"]), tensor["bytes"]
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        return random.draw(-(-size // 8)).astype("<u8").tobytes()[:size]
    drawn = random.draw(size // dtype.itemsize)
    if dtype.kind in "iu":
        return (drawn >> np.uint64(57)).astype(dtype).tobytes()
    if dtype == np.float16:
        return ((drawn >> np.uint64(61)).astype(np.float64) / 4 - 1).astype(dtype).tobytes()
    if dtype.kind == "f":
        return ((drawn >> np.uint64(40)).astype(np.float64) / 2**23 - 1).astype(dtype).tobytes()
    if dtype.kind == "b":
        return (drawn >> np.uint64(63)).astype(dtype).tobytes()
    raise Failure(f"input of type {dtype}: no random values for it", "Use --input zeros.", 2)


# --- the machine


def _pin(affinity: str | None) -> list[int] | None:
    if affinity is not None and affinity != "all":
        if affinity in ("big", "little"):
            cpus = _cores_of_kind(affinity)
        else:
            cpus = _cpu_list(affinity)
        try:
            os.sched_setaffinity(0, cpus)
        except OSError as error:
            raise Failure(f"--affinity {affinity}: {error.strerror}", None, 2) from error
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _cpu_list(text: str) -> set[int]:
    cpus: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise Failure(f"--affinity {text}: no list of CPUs such as 0,2-3", None, 2)
        cpus |= set(range(int(first), int(last or first) + 1))
    return cpus


def _cores_of_kind(kind: str) -> set[int]:
    """The cores of the highest (big) or lowest (little) capacity, by the kernel's own figures."""
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        sizes = _per_cpu(name)
        if sizes:
            wanted = max(sizes.values()) if kind == "big" else min(sizes.values())
            return {int(cpu) for cpu, size in sizes.items() if size == wanted}
    raise Failure(f"--affinity {kind}: the system doesn't say which cores are {kind}", None, 2)


def _per_cpu(name: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for path in _CPUS.glob(f"cpu[0-9]*/{name}"):
        text = _text(path)
        if text.isdigit():
            found[re.sub(r"\D", "", path.relative_to(_CPUS).parts[0])] = int(text)
    return found


def _text(path: Path) -> str:
    """What a file of the system says, or nothing where it isn't there."""
    try:
        return path.read_text("utf-8", "replace").strip("\0\n ")
    except OSError:
        return ""


def _momentary() -> dict[str, Any]:
    zones = sorted(Path("/sys/class/thermal").glob("thermal_zone*"))
    temperatures = {_text(z / "type") or z.name: _text(z / "temp") for z in zones}
    throttled = _text(Path("/sys/devices/platform/soc/soc:firmware/get_throttled"))
    return {
        "frequencies_khz": _per_cpu("cpufreq/scaling_cur_freq"),
        "temperatures_mc": {
            name: int(value) for name, value in temperatures.items() if value.lstrip("-").isdigit()
        },
        "throttled": int(throttled, 16) if throttled else None,
    }


def _state() -> dict[str, Any]:
    governors = {
        re.sub(r"\D", "", path.parts[-3]): _text(path)
        for path in _CPUS.glob("cpu[0-9]*/cpufreq/scaling_governor")
    }
    available = re.search(r"MemAvailable:\s+(\d+)", _text(Path("/proc/meminfo")))
    return {
        "governors": governors,
        "max_frequencies_khz": _per_cpu("cpufreq/cpuinfo_max_freq"),
        **_momentary(),
        "load_1m": os.getloadavg()[0],
        "available_bytes": int(available[1]) * 1024 if available else None,
    }


def _context(before: dict[str, Any], emulated: bool) -> dict[str, Any]:
    information = _text(Path("/proc/cpuinfo"))
    name = re.search(r"(?:model name|Model|Hardware)\s*:\s*(.+)", information)
    features = re.search(r"(?:flags|Features)\s*:\s*(.+)", information)
    system = re.search(r'PRETTY_NAME="?([^"\n]+)', _text(Path("/etc/os-release")))
    return {
        "machine": None if emulated else _text(Path("/proc/device-tree/model")) or None,
        "architecture": platform.machine(),
        "cpu": name[1] if name else platform.processor() or "unknown",
        "cores": os.cpu_count(),
        "features": features[1].split() if features else [],
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "os": system[1] if system else None,
        "emulated": "said so with --emulated" if emulated else None,
        "before": before,
        "after": _state(),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
