"""Holds edgekit-bench and its Python stand-in against a bare C loop, and beside litert-benchmark.

    python benchmarks/fidelity.py MODEL.tflite... --rounds 12 --seconds 2

All run in turn, as whole processes, in an order that changes from round to round: the same model,
the same LiteRT, one thread, and but for litert-benchmark the same input. Each gives the median of
its round. Prints the ratios and writes them, with every median and the machine, to
benchmarks/results/fidelity.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import ai_edge_litert
import numpy as np

from edgekit.benchmark import python_runner
from edgekit.cpus import describe_machine

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results" / "fidelity.json"
CACHE = ROOT / "build" / "native"
PYTHON = [sys.executable, Path(python_runner.__file__)]
LITERT = Path(ai_edge_litert.__file__).parent / "libLiteRt.so"
WARMUP_SECONDS = 0.5

#: One round of a contender: the median of its samples, in ns.
Contender = Callable[[], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=2.0, help="of measuring in each round")
    arguments = parser.parse_args()

    program, loop = build_program(), build_loop()
    models: dict[str, object] = {}
    document = {
        "what": "median inference time of edgekit-bench and `edgekit benchmark --python` against a "
        "bare C loop over the same LiteRT, and beside litert-benchmark, in interleaved rounds; one "
        "thread, XNNPACK",
        "machine": describe_machine(),
        "versions": {name: version(name) for name in ("ai-edge-litert", "ziglang")},
        "command": "python benchmarks/fidelity.py MODEL... "
        f"--rounds {arguments.rounds} --seconds {arguments.seconds:g}",
        "models": models,
    }
    with tempfile.TemporaryDirectory() as folder:
        for model in arguments.models:
            medians = measure(
                contenders(program, loop, model, Path(folder), arguments.seconds),
                arguments.rounds,
            )
            models[model.stem] = {
                "ratios_to_bare_loop": {
                    name: ratios(medians, name) for name in medians if name != "bare loop"
                },
                "medians_ns": medians,
            }
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")


def contenders(
    program: Path, loop: Path, model: Path, folder: Path, seconds: float
) -> dict[str, Contender]:
    """What runs in every round, by name."""
    bare = run_bench([program, "--runtime", LITERT], model, 0.01, "random:0")
    (tensor,) = bare["model"]["inputs"]
    given = folder / "input.bin"
    given.write_bytes(
        np.random.default_rng(0).integers(0, 256, tensor["bytes"], np.uint8).tobytes()
    )
    if tensor["dtype"] == "float32":
        values = np.random.default_rng(0).uniform(-1, 1, tensor["bytes"] // 4)
        given.write_bytes(values.astype(np.float32).tobytes())

    def edgekit_bench() -> float:
        document = run_bench([program, "--runtime", LITERT], model, seconds, f"file:{given}")
        return statistics.median(document["samples_ns"])

    def python_stand_in() -> float:
        document = run_bench(PYTHON, model, seconds, f"file:{given}")
        return statistics.median(document["samples_ns"])

    def bare_loop() -> float:
        command = [loop, LITERT, model, given, tensor["bytes"], WARMUP_SECONDS, seconds]
        return statistics.median(map(int, run(command).split()))

    # It takes a number of runs and not a time.
    typical = statistics.median(bare["samples_ns"])
    counts = {
        "--num_runs": seconds * 1e9 / typical,
        "--warmup_runs": WARMUP_SECONDS * 1e9 / typical,
    }

    def litert_benchmark() -> float:
        result = folder / "result.json"
        command = [litert_benchmark_program(), "--model", model, "--num_threads", 1]
        for option, count in counts.items():
            command += [option, max(1, round(count))]
        run([*command, "--result_json", result])
        return json.loads(result.read_text())["latency"]["median_ms"] * 1e6

    return {
        "edgekit-bench": edgekit_bench,
        "python": python_stand_in,
        "bare loop": bare_loop,
        "litert-benchmark": litert_benchmark,
    }


def measure(contenders: dict[str, Contender], rounds: int) -> dict[str, list[float]]:
    """The median of each contender in each round."""
    names = list(contenders)
    medians: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            medians[name].append(contenders[name]())
        shown = "   ".join(f"{name} {medians[name][-1] / 1e6:.4f} ms" for name in names)
        print(f"{number + 1:3}/{rounds}   {shown}", flush=True)
    for name in names:
        if name != "bare loop":
            print(f"{name} / bare loop: {ratios(medians, name)}", flush=True)
    return medians


def ratios(medians: dict[str, list[float]], name: str) -> dict[str, float]:
    """The contender's median over the bare loop's: over all rounds, and round by round."""
    pairs = [a / b for a, b in zip(medians[name], medians["bare loop"], strict=True)]
    overall = statistics.median(medians[name]) / statistics.median(medians["bare loop"])
    return {
        "of_medians": round(overall, 4),
        "median_of_rounds": round(statistics.median(pairs), 4),
        "lowest": round(min(pairs), 4),
        "highest": round(max(pairs), 4),
    }


def run_bench(program: list[object], model: Path, seconds: float, given: str) -> dict:
    command = [*program, model, "--input", given]
    command += ["--warmup", f"{WARMUP_SECONDS}s", "--min-time", f"{seconds}s", "--min-runs", 1]
    return json.loads(run(command))


def build_program() -> Path:
    target = platform.machine()
    run([sys.executable, HERE / "native" / "build.py", target, "-o", CACHE / "bin"])
    return CACHE / "bin" / f"edgekit-bench-{target}-linux-gnu"


def build_loop() -> Path:
    loop, cache = CACHE / "bin" / "bare_loop", str(CACHE / "zig-cache")
    os.environ["ZIG_GLOBAL_CACHE_DIR"] = os.environ["ZIG_LOCAL_CACHE_DIR"] = cache
    compiler = [sys.executable, "-m", "ziglang", "cc", "-O2", "-Wall", "-Wextra"]
    run([*compiler, HERE / "native" / "bare_loop.c", "-ldl", "-o", loop])
    return loop


def litert_benchmark_program() -> str:
    """The script that ai-edge-litert installs beside this Python."""
    beside = Path(sys.executable).parent / "litert-benchmark"
    found = str(beside) if beside.exists() else shutil.which("litert-benchmark")
    if found is None:
        sys.exit("litert-benchmark is not installed; it comes with ai-edge-litert")
    return found


def run(command: list[object]) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{command} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
