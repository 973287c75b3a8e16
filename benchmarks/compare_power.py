"""How often `edgekit compare` is wrong about a model and itself, and how often it sees 3 %.

    make native
    python benchmarks/compare_power.py MODEL.tflite --sweeps 1000

Measured are four files in one long interleaved run: the model twice, and twice a variant that is
really slower, by a chain of ADD ops at its end that is made as long as it takes. The run is cut
into short ones of 5, 10, 15, ... rounds. Of those, `compare` gets

- a model and its copy, and a model and the slower one, of the same short run: "in one run";
- a model of one and the same, or the slower one, of the next: "apart".

Written to benchmarks/results/compare_power.json with the machine, and the median of each round.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import itertools
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgekit.benchmark.compare import Comparison, compare
from edgekit.benchmark.document import Cell, Run
from edgekit.benchmark.driver import measure
from edgekit.benchmark.kit import Tools
from edgekit.benchmark.pairing import Pair, match_runs, match_within
from edgekit.benchmark.plan import Effort, Request, grid
from edgekit.cpus import describe_machine

RESULTS = Path(__file__).resolve().parent / "results" / "compare_power.json"
SLOWER = 0.03
ROUNDS = (5, 10, 15, 20, 30)
PAIRS = 200
#: Ops of the first guess, from which the cost of one is known.
PROBE_OPS = 64
PROBE_ROUNDS = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--sweeps", type=int, default=1000, help="Rounds of each of the four.")
    parser.add_argument("--min-time", type=float, default=0.1, help="Seconds per round.")
    parser.add_argument("--warm-up", type=float, default=0.05, help="Seconds per round.")
    parser.add_argument("--ops", type=int, help="Added to the slower variant; found by default.")
    parser.add_argument("--python", action="store_true", help="Without the native binary.")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()

    def run(files: dict[str, bytes], rounds: int) -> Run:
        return interleaved_run(files, rounds, arguments)

    began = time.perf_counter()
    fast = arguments.model.read_bytes()
    ops = arguments.ops or find_ops(
        fast, lambda slow: run({"fast": fast, "slow": slow}, PROBE_ROUNDS)
    )
    slow = slowed(fast, ops)
    files = {"fast": fast, "fast_copy": fast, "slow": slow, "slow_copy": slow}
    long_run = run(files, arguments.sweeps)
    cells = {cell.model.removesuffix(".tflite"): cell for cell in long_run.cells}
    whole = compare(within(cells["fast"], cells["slow"]))
    document = {
        "what": f"edgekit compare on {arguments.model.name} with itself and with a slower variant",
        "machine": describe_machine(),
        "versions": {p: version(p) for p in ("edgekit", "ai-edge-litert", "numpy")},
        "runtime": cells["fast"].rounds[0]["runtime"]["kind"],
        "tool": cells["fast"].rounds[0]["tool"]["name"],
        "command": "python benchmarks/compare_power.py MODEL " + " ".join(sys.argv[2:]),
        "minutes": round((time.perf_counter() - began) / 60, 1),
        "samples_per_round": int(np.median([r.samples_ns.size for r in cells["fast"].rounds])),
        "slower": {
            "ops_added": ops,
            "ratio": round(whole.ratio, 4),
            "interval_95": [round(bound, 4) for bound in whole.interval],
        },
        "results": [judge_rounds(cells, rounds) for rounds in ROUNDS],
        "round_medians_us": {
            name: [round(float(np.median(r.samples_ns)) / 1e3, 2) for r in cell.rounds]
            for name, cell in cells.items()
        },
    }
    arguments.output.write_text(json.dumps(document) + "\n")
    print(json.dumps({k: v for k, v in document.items() if k != "round_medians_us"}, indent=2))


def interleaved_run(files: dict[str, bytes], rounds: int, arguments: argparse.Namespace) -> Run:
    effort = Effort(
        rounds=rounds,
        min_runs=5,
        min_time_s=arguments.min_time,
        warmup_s=arguments.warm_up,
        precision=math.inf,  # as many rounds as asked for, no more
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.tflite" for name in files]
        for path, data in zip(paths, files.values(), strict=True):
            path.write_bytes(data)
        points = grid(paths, ["xnnpack"], [1])
        outcome = measure(points, ["local"], effort, Request(), Tools(python=arguments.python))
    if outcome.failure is not None:
        raise outcome.failure
    if outcome.interrupted:
        raise KeyboardInterrupt
    return outcome.run


# --- the slower variant


def find_ops(fast: bytes, run: Callable[[bytes], Run]) -> int:
    """How many ops cost 3 %: from the cost of a first guess, and once more from a better one.

    By the tenth percentile: a neighbour on the machine may disturb half of so short a run.
    """
    ops = PROBE_OPS
    for _ in range(2):
        quick = [np.percentile(cell.samples_ns, 10) for cell in run(slowed(fast, ops)).cells]
        cost = float(quick[1] / quick[0]) - 1
        print(f"{ops} ops: {100 * cost:+.2f} %", file=sys.stderr, flush=True)
        ops = max(1, round(ops * SLOWER / max(cost, SLOWER / 10)))
    return ops


def slowed(model: bytes, count: int) -> bytes:
    """The model with a chain of ADD ops after its first output."""
    edited = schema.ModelT.InitFromPackedBuf(model, 0)
    graph = edited.subgraphs[0]
    last = first = graph.outputs[0]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    code.version = 2 if graph.tensors[first].type == schema.TensorType.INT8 else 1
    edited.operatorCodes.append(code)
    for number in range(count):
        tensor = copy.deepcopy(graph.tensors[first])
        tensor.name, tensor.buffer = f"slower_{number}", 0
        graph.tensors.append(tensor)
        op = schema.OperatorT()
        op.opcodeIndex = len(edited.operatorCodes) - 1
        op.inputs, op.outputs = [last, last], [len(graph.tensors) - 1]
        op.builtinOptionsType = schema.BuiltinOptions.AddOptions
        op.builtinOptions = schema.AddOptionsT()
        graph.operators.append(op)
        last = op.outputs[0]
    graph.outputs = [last, *graph.outputs[1:]]
    for signature in edited.signatureDefs or []:
        for output in signature.outputs:
            if output.tensorIndex == first:
                output.tensorIndex = last
    builder = flatbuffers.Builder(len(model))
    builder.Finish(edited.Pack(builder), b"TFL3")
    return bytes(builder.Output())


# --- short runs out of the long one


def judge_rounds(cells: dict[str, Cell], rounds: int) -> dict[str, Any]:
    """What `compare` says of runs of this many rounds."""
    runs = list(short_runs(cells, rounds))
    followed = list(itertools.pairwise(runs))
    same = (("fast", "fast_copy"), ("slow", "slow_copy"))
    other = (("fast", "slow"), ("fast_copy", "slow_copy"))
    alone = (("fast", "fast"), ("slow", "slow"))
    return {
        "rounds": rounds,
        "in_one_run": {
            "same_model": count(compare(within(r[a], r[b])) for r in runs for a, b in same),
            "slower_model": count(compare(within(r[a], r[b])) for r in runs for a, b in other),
        },
        "apart": {
            "same_model": count(apart(r[a], s[b]) for r, s in followed for a, b in alone),
            "slower_model": count(apart(r[a], s[b]) for r, s in followed for a, b in other),
        },
    }


def short_runs(cells: dict[str, Cell], rounds: int) -> Iterator[dict[str, Cell]]:
    for start in range(0, min(len(c.rounds) for c in cells.values()) - rounds + 1, rounds):
        yield {
            name: dataclasses.replace(cell, rounds=cell.rounds[start : start + rounds])
            for name, cell in cells.items()
        }


def within(a: Cell, b: Cell) -> Pair:
    return match_within(Run((a, b), "", "", 0), "run")[0]


def apart(a: Cell, b: Cell) -> Comparison:
    return compare(match_runs(Run((a,), "", "", 0), Run((b,), "", "", 0), ("a", "b"))[0])


def count(comparisons: Iterable[Comparison]) -> dict[str, Any]:
    """The words of at most `PAIRS` comparisons, and what the test alone would have said."""
    found = [c for _, c in zip(range(PAIRS), comparisons, strict=False)]
    words = [c.word for c in found]
    return {
        "pairs": len(found),
        "slower": words.count("slower"),
        "faster": words.count("faster"),
        "test_alone_at_5_percent": sum(c.p_value < 0.05 for c in found),
        "half_width_median": round(
            float(np.median([(c.interval[1] - c.interval[0]) / 2 for c in found])), 5
        )
        if found
        else None,
    }


if __name__ == "__main__":
    main()
