"""The native benchmark program, built here and run as a whole, with real runtimes.

The x86-64 program is built with ziglang. The TFLite C library comes from an npm package, the
aarch64 one of LiteRT from its wheel; both are kept below build/, and tests that need them are
skipped where they can't be had.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from native_support import (
    CACHE,
    LITERT,
    NATIVE,
    GraphBuilder,
    Outcome,
    build,
    build_stub,
    chain_model,
    compile_library,
    python_outputs,
    run,
    seeded_inputs,
    sha256,
)

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux",
    reason="the program is built for, and run on, x86-64 Linux",
)

#: Short runs: their times don't matter here.
BRIEF = ("--min-time", "0", "--min-runs", "3", "--warmup", "0")


Bench = Callable[..., Outcome]


@pytest.fixture(scope="session")
def program() -> Path:
    return build("x86_64")


@pytest.fixture(scope="session")
def tflite_c() -> Path:
    """libtensorflowlite_c.so 2.9.0, which the npm package tfjs-tflite-node carries."""
    library = CACHE / "tfjs-tflite-node-0.0.2" / "libtensorflowlite_c.so"
    if library.exists():
        return library
    if shutil.which("npm") is None:
        pytest.skip("npm, with which the TFLite C library is fetched, is not installed")
    library.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["npm", "pack", "--silent", "tfjs-tflite-node@0.0.2"],
        cwd=library.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    archives = list(library.parent.glob("*.tgz"))
    if done.returncode != 0 or not archives:
        pytest.skip("the npm package with the TFLite C library can't be fetched")
    with tarfile.open(archives[0]) as archive:
        member = archive.extractfile(f"package/cc_deps/linux_amd64/{library.name}")
        assert member is not None
        write_atomically(library, member.read())
    return library


@pytest.fixture(scope="session", params=["litert", "tflite_c"])
def runtime(request: pytest.FixtureRequest) -> Path:
    """Each runtime in turn."""
    return LITERT if request.param == "litert" else request.getfixturevalue("tflite_c")


@pytest.fixture(scope="session")
def bench(program: Path) -> Bench:
    """Runs the program with LiteRT, briefly, unless the arguments say otherwise."""

    def call(model: object, *arguments: object, runtime: Path = LITERT) -> Outcome:
        return run([program, model, "--runtime", runtime, *BRIEF, *arguments])

    return call


@pytest.fixture(scope="session")
def stub(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_stub(tmp_path_factory.mktemp("stub"))


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chain") / "chain.tflite"
    path.write_bytes(chain_model())
    return path


def write_atomically(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(path)


# The document.


def test_document_holds_what_its_schema_promises(bench: Bench, colour_int8: Path) -> None:
    outcome = bench(colour_int8, "--profile", "--input", "random:5")
    assert outcome.code == 0, outcome.stderr
    document = outcome.document
    assert set(document) == {
        *("schema", "tool", "status", "error", "started_unix_ns", "model", "runtime", "request"),
        *("engaged", "load_ns", "first_ns", "warmup_ns", "samples_ns", "starts_ns", "profile"),
        *("timeline", "input", "output", "context", "warnings"),
    }
    assert document["schema"] == "edgekit.bench/1"
    assert document["status"] == "complete" and document["error"] is None
    assert document["tool"]["name"] == "edgekit-bench"
    assert document["tool"]["target"] == "x86_64-linux-gnu"
    assert abs(document["started_unix_ns"] / 1e9 - time.time()) < 300
    data = colour_int8.read_bytes()
    assert document["model"] == {
        "path": str(colour_int8),
        "sha256": sha256(data),
        "bytes": len(data),
        "operators": 2,
        "custom_ops": [],
        "inputs": [{"name": "image", "dtype": "int8", "shape": [1, 32, 32, 3], "bytes": 3072}],
        "outputs": [{"name": "logits", "dtype": "int8", "shape": [1, 3], "bytes": 3}],
    }
    assert document["request"] == {
        **{"threads": 1, "delegate": "xnnpack", "affinity": None, "min_time_ns": 0, "min_runs": 3},
        **{"max_time_ns": 30_000_000_000, "warmup_ns": 0, "interval_ns": 0, "sustain_ns": 0},
        **{"profile": True, "require_full_delegation": False, "input": "random:5"},
    }
    assert document["load_ns"] > 0 and document["first_ns"] > 0
    assert document["warmup_ns"] == [] and len(document["samples_ns"]) == 3
    assert set(document["context"]) == {
        *("machine", "architecture", "cpu", "cores", "features", "kernel", "libc", "os"),
        *("emulated", "before", "after", "peak_rss_bytes"),
    }
    state = {
        *("governors", "frequencies_khz", "max_frequencies_khz", "temperatures_mc"),
        *("throttled", "load_1m", "available_bytes"),
    }
    assert set(document["context"]["before"]) == set(document["context"]["after"]) == state
    assert document["context"]["architecture"] == platform.machine()
    assert document["context"]["emulated"] is None
    assert document["context"]["peak_rss_bytes"] > len(data)


def test_names_the_runtime_and_its_version(
    bench: Bench, colour_float: Path, tflite_c: Path
) -> None:
    litert = bench(colour_float).document["runtime"]
    assert (litert["kind"], litert["path"]) == ("litert", str(LITERT.resolve()))
    assert litert["version"] == "2.3.0"
    other = bench(colour_float, runtime=tflite_c).document["runtime"]
    assert other == {"kind": "tflite_c", "path": str(tflite_c.resolve()), "version": "2.9.0"}


def test_stderr_is_for_people_and_quiet_silences_it(bench: Bench, colour_float: Path) -> None:
    spoken = bench(colour_float)
    assert "p50" in spoken.stderr and "p90" in spoken.stderr and "litert 2.3.0" in spoken.stderr
    quiet = bench(colour_float, "--quiet")
    assert "p50" not in quiet.stderr
    assert quiet.document["status"] == "complete"


def test_context_alone(program: Path) -> None:
    outcome = run([program, "--context"])
    assert outcome.code == 0
    assert set(outcome.document) == {"schema", "tool", "context"}
    assert outcome.document["context"]["cores"] == os.cpu_count()
    told = run([program, "--context", "--emulated"]).document["context"]
    assert told["machine"] is None and "--emulated" in told["emulated"]
    assert told["before"]["frequencies_khz"] == told["before"]["temperatures_mc"] == {}


def test_version_and_help(program: Path) -> None:
    from edgekit.version import __version__

    assert run([program, "--version"]).stdout == f"edgekit-bench {__version__} (x86_64-linux-gnu)\n"
    shown = run([program, "--help"])
    assert shown.code == 0 and shown.stdout.startswith("Usage: edgekit-bench MODEL.tflite")
    assert "Exit codes: 0 done; 1" in shown.stdout


def test_needs_nothing_but_an_old_c_library(program: Path) -> None:
    assert program.stat().st_size < 400_000
    shown = run(["objdump", "-p", program]) if shutil.which("objdump") else None
    if shown is None:
        pytest.skip("objdump is not installed")
    needed = {line.split()[1] for line in shown.stdout.splitlines() if "NEEDED" in line}
    assert needed <= {
        *("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "ld-linux-x86-64.so.2")
    }
    versions = {word[6:] for word in shown.stdout.split() if word.startswith("GLIBC_2.")}
    assert max(tuple(map(int, version.split("."))) for version in versions) <= (2, 17)


# What goes in and comes out.


@pytest.mark.parametrize("fixture", ["colour_int8", "colour_float"])
@pytest.mark.parametrize("seed", [0, 7])
def test_same_input_and_output_as_python(
    bench: Bench, request: pytest.FixtureRequest, fixture: str, seed: int
) -> None:
    path: Path = request.getfixturevalue(fixture)
    document = bench(path, "--input", f"random:{seed}").document
    inputs = seeded_inputs(path.read_bytes(), seed)
    assert document["input"]["seed"] == seed
    assert document["input"]["sha256"] == sha256(b"".join(i.tobytes() for i in inputs))
    assert document["output"]["sha256"] == sha256(python_outputs(path.read_bytes(), inputs))
    assert document["output"]["repeatable"] is True


def test_inputs_are_in_the_order_of_the_graph(bench: Bench, tmp_path: Path, runtime: Path) -> None:
    graph = GraphBuilder()
    a, b = graph.tensor("a", [1, 4]), graph.tensor("b", [1, 2])
    data = graph.finish([a, b], [graph.double(b), graph.double(a)], reversed_signature=True)
    path = tmp_path / "two.tflite"
    path.write_bytes(data)
    document = bench(path, runtime=runtime).document
    assert [tensor["name"] for tensor in document["model"]["inputs"]] == ["a", "b"]
    first, second = seeded_inputs(data, 0)
    assert document["output"]["sha256"] == sha256((2 * second).tobytes() + (2 * first).tobytes())


def test_an_open_batch_is_one(bench: Bench, tmp_path: Path, runtime: Path) -> None:
    graph = GraphBuilder()
    image = graph.tensor("image", [1, 4], open_batch=True)
    path = tmp_path / "open.tflite"
    path.write_bytes(graph.finish([image], [graph.double(image)]))
    document = bench(path, runtime=runtime).document
    assert document["model"]["inputs"][0]["shape"] == [1, 4]
    assert any("-1" in warning and "set to 1" in warning for warning in document["warnings"])


def test_zeros_and_files(bench: Bench, chain: Path, tmp_path: Path) -> None:
    zeros = bench(chain, "--input", "zeros").document
    assert zeros["input"] == {"kind": "zeros", "seed": None, "sha256": sha256(bytes(512))}
    assert zeros["output"]["sha256"] == sha256(bytes(512))

    values = np.linspace(-3, 3, 128, dtype=np.float32)
    raw, out = tmp_path / "in.bin", tmp_path / "out.bin"
    raw.write_bytes(values.tobytes())
    given = bench(chain, "--input", f"file:{raw}", "--dump-output", out).document
    assert given["input"]["kind"] == "file"
    assert np.array_equal(np.frombuffer(out.read_bytes(), np.float32), 8 * values)

    raw.write_bytes(bytes(500))
    outcome = bench(chain, "--input", f"file:{raw}")
    assert outcome.code == 2 and "500 bytes, but the model takes 512" in outcome.error


def test_golden(bench: Bench, colour_int8: Path, tmp_path: Path) -> None:
    golden = tmp_path / "golden.bin"
    assert bench(colour_int8, "--dump-output", golden).code == 0
    same = bench(colour_int8, "--golden", golden)
    assert same.code == 0
    assert same.document["output"]["golden"] == {
        **{"equal": True, "differing_bytes": 0, "max_abs_difference": 0}
    }
    changed = np.frombuffer(golden.read_bytes(), np.int8).copy()
    changed[1] += 5
    golden.write_bytes(changed.tobytes())
    other = bench(colour_int8, "--golden", golden)
    assert other.code == 1 and "differs" in other.error
    assert other.document["status"] == "complete" and len(other.document["samples_ns"]) == 3
    assert other.document["output"]["golden"] == {
        **{"equal": False, "differing_bytes": 1, "max_abs_difference": 5}
    }
    golden.write_bytes(b"1")
    assert "1 bytes, but the model gives 3" in bench(colour_int8, "--golden", golden).error


# How long it runs.


def test_stops_at_the_minimum(bench: Bench, chain: Path) -> None:
    samples = bench(chain, "--min-runs", "31").document
    assert len(samples["samples_ns"]) == len(samples["starts_ns"]) == 31
    assert samples["starts_ns"][0] == 0 and min(samples["samples_ns"]) > 0
    ends = np.add(samples["starts_ns"], samples["samples_ns"])
    assert np.all(ends[:-1] <= samples["starts_ns"][1:])


def test_both_minimums_count_and_the_maximum_ends_it(bench: Bench, chain: Path) -> None:
    longer = bench(chain, "--min-time", "50ms").document
    assert longer["starts_ns"][-1] > 40_000_000 and len(longer["samples_ns"]) > 3
    cut = bench(chain, "--min-runs", "1000000000", "--max-time", "50ms").document
    assert cut["starts_ns"][-1] > 40_000_000 and len(cut["samples_ns"]) < 1_000_000_000


def test_sustains(bench: Bench, chain: Path) -> None:
    document = bench(chain, "--sustain", "60ms", "--max-time", "1ms").document
    assert document["request"]["sustain_ns"] == 60_000_000
    assert document["starts_ns"][-1] + document["samples_ns"][-1] > 50_000_000


def test_paces(bench: Bench, chain: Path) -> None:
    starts = bench(chain, "--interval", "20ms", "--min-runs", "5").document["starts_ns"]
    assert [start >= 20_000_000 * i for i, start in enumerate(starts)] == [True] * 5


def test_warms_up(bench: Bench, chain: Path) -> None:
    document = bench(chain, "--warmup", "20ms").document
    assert len(document["warmup_ns"]) > 1
    assert sum(document["warmup_ns"]) < 1_000_000_000


def test_interrupted_runs_give_what_they_have(program: Path, chain: Path) -> None:
    command = [program, chain, "--runtime", LITERT, "--sustain", "5m", "--interval", "10ms"]
    with started(command) as process:
        wait_for(process, "progress: sustain")
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=60)
    document = json.loads(stdout)
    assert process.returncode == 130
    assert document["status"] == "interrupted" and document["error"] is None
    assert len(document["samples_ns"]) == len(document["starts_ns"]) > 10
    assert document["output"]["repeatable"] is True
    assert "after" in document["context"] and document["timeline"]


def test_a_second_interrupt_ends_at_once(program: Path, chain: Path, stub: Path) -> None:
    delegate = f"external:{stub},claim=ADD,fail=hang"
    with started([program, chain, "--runtime", LITERT, "--delegate", delegate]) as process:
        wait_for(process, "stub: hanging")
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert process.poll() is None  # the first waits for the inference to end
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=20)
    assert process.returncode == 130 and stdout == ""


@contextlib.contextmanager
def started(command: Sequence[object]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"the program ended without saying {text!r}")


# Delegates.


def test_xnnpack_takes_the_nodes(bench: Bench, chain: Path, runtime: Path) -> None:
    engaged = bench(chain, "--require-full-delegation", runtime=runtime).document["engaged"]
    assert engaged == {
        **{"delegate": "xnnpack", "nodes_total": 5, "nodes_delegated": 5, "partitions": 1},
        **{"fully_delegated": True, "threads": 1, "affinity": None},
    }


def test_none_means_builtin_kernels(bench: Bench, chain: Path, runtime: Path) -> None:
    engaged = bench(chain, "--delegate", "none", runtime=runtime).document["engaged"]
    assert engaged["delegate"] == "none"
    assert (engaged["nodes_delegated"], engaged["partitions"]) == (0, 0)
    assert engaged["fully_delegated"] is False


def test_nodes_that_xnnpack_leaves_are_counted(bench: Bench, shared_models: Path) -> None:
    model = shared_models / "edgetpu" / "mobilenet_v1_0.25_128_quant.tflite"
    engaged = bench(model).document["engaged"]
    assert engaged["nodes_total"] == 31
    assert 0 < engaged["nodes_delegated"] < 31 and engaged["partitions"] >= 1
    refused = bench(model, "--require-full-delegation")
    assert refused.code == 1
    assert f"xnnpack took {engaged['nodes_delegated']} of 31 nodes" in refused.error


@pytest.mark.parametrize("dynamic", ["", ",dynamic=yes"])
@pytest.mark.parametrize(
    ("claim", "nodes", "partitions"), [("RESHAPE", 2, 2), ("ADD", 3, 3), ("ADD+RESHAPE", 5, 1)]
)
def test_an_external_delegate_runs_what_it_claims(
    bench: Bench,
    chain: Path,
    stub: Path,
    runtime: Path,
    claim: str,
    nodes: int,
    partitions: int,
    dynamic: str,
) -> None:
    outcome = bench(chain, "--delegate", f"external:{stub},claim={claim}{dynamic}", runtime=runtime)
    document = outcome.document
    assert document["engaged"]["delegate"] == "external"
    assert document["engaged"]["nodes_delegated"] == nodes
    assert document["engaged"]["partitions"] == partitions
    assert document["engaged"]["fully_delegated"] is (nodes == 5)
    said = any(f"took {nodes} of 5 nodes" in warning for warning in document["warnings"])
    assert said is (nodes < 5)
    expected = 8 * seeded_inputs(chain.read_bytes(), 0)[0]
    assert document["output"]["sha256"] == sha256(expected.tobytes())
    assert "chatter on stdout" in outcome.stderr


def test_full_delegation_can_be_required(
    bench: Bench, chain: Path, stub: Path, runtime: Path
) -> None:
    require = "--require-full-delegation"
    whole = bench(
        chain, require, "--delegate", f"external:{stub},claim=ADD+RESHAPE", runtime=runtime
    )
    assert whole.code == 0
    part = bench(chain, require, "--delegate", f"external:{stub},claim=ADD", runtime=runtime)
    assert part.code == 1 and "external took 3 of 5 nodes" in part.error
    assert part.document["engaged"]["nodes_delegated"] == 3
    assert "samples_ns" not in part.document


def test_a_delegate_that_claims_nothing_is_no_delegate(
    bench: Bench, chain: Path, stub: Path
) -> None:
    document = bench(chain, "--delegate", f"external:{stub}").document
    assert document["engaged"]["delegate"] == "xnnpack"
    assert document["engaged"]["fully_delegated"] is False
    assert any("external took 0 of 5 nodes" in warning for warning in document["warnings"])


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        ("create", "could not be created: stub: told to fail at create"),
        ("prepare", "could not make the model ready"),
        ("invoke", "an inference failed"),
        ("crash", "crashed while running the model (signal 06)"),
    ],
)
def test_a_delegate_that_fails(
    bench: Bench, chain: Path, stub: Path, runtime: Path, fail: str, message: str
) -> None:
    outcome = bench(chain, "--delegate", f"external:{stub},claim=ADD,fail={fail}", runtime=runtime)
    assert outcome.code == 4
    document = outcome.document
    assert document["status"] == "error" and document["error"]["exit_code"] == 4
    assert message in document["error"]["message"]


def test_a_delegate_says_what_it_did_not_like(bench: Bench, chain: Path, stub: Path) -> None:
    outcome = bench(chain, "--delegate", f"external:{stub},speed=much")
    assert outcome.code == 4 and "stub: unknown setting speed" in outcome.error


def test_missing_delegates(bench: Bench, chain: Path, tmp_path: Path, runtime: Path) -> None:
    absent = bench(chain, "--delegate", f"external:{tmp_path}/none.so", runtime=runtime)
    assert absent.code == 5 and "can't be loaded" in absent.error
    ordinary = bench(chain, "--delegate", f"external:{LITERT}", runtime=runtime)
    assert ordinary.code == 5 and "not an external delegate" in ordinary.error
    nnapi = bench(chain, "--delegate", "nnapi", runtime=runtime)
    assert nnapi.code == 5 and "NNAPI" in nnapi.error
    assert any("deprecated since Android 15" in w for w in nnapi.document["warnings"])


def test_edge_tpu(bench: Bench, chain: Path, shared_models: Path) -> None:
    compiled = shared_models / "edgetpu" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    refused = bench(compiled)
    assert refused.code == 5
    assert "edgetpu-custom-op" in refused.error and "--delegate edgetpu" in refused.error
    if not list(Path("/usr/lib").glob("**/libedgetpu.so.1")):
        absent = bench(compiled, "--delegate", "edgetpu")
        assert absent.code == 5 and "libedgetpu" in absent.error


def test_a_gpu_that_is_not_there_is_said_to_be_missing(
    bench: Bench, chain: Path, tflite_c: Path
) -> None:
    assert bench(chain, "--delegate", "gpu", runtime=tflite_c).code == 5
    if list(Path("/dev").glob("dri/*")) or list(Path("/dev").glob("nvidia*")):
        pytest.skip("this machine may have a GPU that works")
    outcome = bench(chain, "--delegate", "gpu")
    assert outcome.code == 4 and "GPU" in outcome.error


def test_threads_that_run_are_counted(bench: Bench, chain: Path) -> None:
    assert bench(chain, "--threads", "2").document["engaged"]["threads"] == 2
    builtin = bench(chain, "--threads", "2", "--delegate", "none").document
    assert builtin["engaged"]["threads"] == 1
    assert "2 thread(s) were asked for, 1 ran" in builtin["warnings"]


def test_affinity(bench: Bench, chain: Path) -> None:
    core = sorted(os.sched_getaffinity(0))[0]
    assert bench(chain, "--affinity", core).document["engaged"]["affinity"] == [core]
    everything = bench(chain, "--affinity", "all").document["engaged"]["affinity"]
    assert set(everything) >= set(os.sched_getaffinity(0))
    assert bench(chain, "--affinity", "1000").code == 2
    assert "not all, big, little or a list" in bench(chain, "--affinity", "0-x").error


def test_profile(bench: Bench, chain: Path, tflite_c: Path) -> None:
    document = bench(chain, "--profile", "--delegate", "none").document
    assert [(op["index"], op["op"], op["calls"]) for op in document["profile"]] == [
        *((0, "ADD", 20), (1, "RESHAPE", 20), (2, "ADD", 20), (3, "RESHAPE", 20), (4, "ADD", 20))
    ]
    assert bench(chain, "--profile").document["profile"]  # XNNPACK has names of its own
    without = bench(chain, "--profile", runtime=tflite_c).document
    assert without["profile"] is None
    assert "this runtime offers no profile of ops" in without["warnings"]


# What is wrong.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no model given"),
        (["a.tflite", "b.tflite"], "two models"),
        (["a.tflite", "--speed"], "unknown option --speed"),
        (["a.tflite", "--threads"], "needs a value"),
        (["a.tflite", "--threads", "0"], "not a number from 1"),
        (["a.tflite", "--threads=two"], "not a number from 1"),
        (["a.tflite", "--min-time", "3"], "not a duration"),
        (["a.tflite", "--min-time", "3h"], "not a duration"),
        (["a.tflite", "--min-time", "1.2.3s"], "not a duration"),
        (["a.tflite", "--max-time", "0"], "longer than nothing"),
        (["a.tflite", "--min-time", "1m"], "longer than --max-time"),
        (["a.tflite", "--delegate", "npu"], "not one of xnnpack"),
        (["a.tflite", "--delegate", "external:"], "path of the library is missing"),
        (["a.tflite", "--delegate", "external:a.so,key"], "not KEY=VALUE"),
        (["a.tflite", "--delegate", "none", "--require-full-delegation"], "contradicts"),
        (["a.tflite", "--input", "noise"], "not one of zeros"),
        (["a.tflite", "--input", "random:x"], "seed is not a number"),
    ],
)
def test_usage(program: Path, arguments: list[str], message: str) -> None:
    outcome = run([program, *arguments])
    assert outcome.code == 2
    assert message in outcome.error
    assert outcome.document["status"] == "error"


def test_runtimes_that_are_missing(program: Path, chain: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    copy = Path(shutil.copy(program, alone / "edgekit-bench"))
    nowhere = {"HOME": str(tmp_path), "VIRTUAL_ENV": str(tmp_path), "LD_LIBRARY_PATH": ""}
    if not list(Path("/usr").glob("l*/**/ai_edge_litert/libLiteRt.so")):
        outcome = run([copy, chain], **nowhere)
        assert outcome.code == 5 and "pip install ai-edge-litert" in outcome.error
    for wrong, message in (
        (tmp_path / "none.so", "can't be loaded"),
        (tmp_path, "holds none of"),
        (Path(shutil.copy(chain, tmp_path / "text.so")), "can't be loaded"),
    ):
        outcome = run([copy, chain, "--runtime", wrong], **nowhere)
        assert outcome.code == 5 and message in outcome.error


def test_a_library_that_is_no_runtime(bench: Bench, chain: Path, stub: Path) -> None:
    outcome = bench(chain, runtime=stub)
    assert outcome.code == 5 and "neither LiteRT" in outcome.error


@pytest.mark.parametrize(
    ("has", "lacks"),
    [
        ("LiteRtCreateCompiledModel", "LiteRtRunCompiledModel, LiteRtCreateModelFromFd"),
        (
            "TfLiteInterpreterCreate",
            "TfLiteInterpreterInvoke, TfLiteInterpreterGetInputTensorCount",
        ),
    ],
)
def test_a_runtime_of_another_version(
    bench: Bench, chain: Path, tmp_path: Path, has: str, lacks: str
) -> None:
    source, library = tmp_path / "old.cc", tmp_path / "old.so"
    source.write_text(f'extern "C" int {has}() {{ return 0; }}')
    compile_library(source, library)
    outcome = bench(chain, runtime=library)
    assert outcome.code == 5
    assert "lacks what is needed" in outcome.error and lacks in outcome.error
    assert f" {has}," not in outcome.error


def test_finds_the_runtime_by_itself(program: Path, chain: Path, tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    copy = Path(shutil.copy(program, beside / "edgekit-bench"))
    (beside / LITERT.name).symlink_to(LITERT)
    found = run([copy, chain, *BRIEF]).document
    assert found["runtime"]["path"] == str(LITERT.resolve())

    packages = tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "ai_edge_litert").symlink_to(LITERT.parent)
    found = run([program, chain, *BRIEF], VIRTUAL_ENV=str(tmp_path / "venv")).document
    assert found["runtime"]["kind"] == "litert"


def test_files_that_are_no_models(bench: Bench, tmp_path: Path) -> None:
    assert "can't be read" in bench(tmp_path / "none.tflite").error
    assert "is not a file" in bench(tmp_path).error
    text = tmp_path / "text.tflite"
    text.write_text("TFL3 is not all that makes a model")
    assert "not a .tflite file" in bench(text).error
    text.write_bytes(b"")
    outcome = bench(text)
    assert outcome.code == 3 and "is empty" in outcome.error


@pytest.mark.slow
def test_damaged_models_never_reach_the_runtime(program: Path, chain: Path, tmp_path: Path) -> None:
    sound = chain.read_bytes()
    dice = random.Random(3)
    cut = [sound[: dice.randrange(len(sound))] for _ in range(60)]
    flipped = []
    for _ in range(200):
        changed = bytearray(sound)
        for _ in range(dice.choice([1, 1, 2, 8])):
            changed[dice.randrange(len(changed))] = dice.choice([0, 1, 127, 128, 255])
        flipped.append(bytes(changed))
    codes = set()
    path = tmp_path / "damaged.tflite"
    for data in [*cut, *flipped]:
        path.write_bytes(data)
        # A runtime that is missing: what is sound enough to be loaded ends with 5.
        outcome = run([program, path, "--runtime", tmp_path / "none.so"])
        assert outcome.document["error"]["exit_code"] == outcome.code
        codes.add(outcome.code)
    assert codes == {3, 5}


def test_an_output_that_can_not_be_written(bench: Bench, chain: Path, tmp_path: Path) -> None:
    outcome = bench(chain, "--dump-output", tmp_path / "none" / "out.bin")
    assert outcome.code == 4 and "can't be written" in outcome.error
    assert len(outcome.document["samples_ns"]) == 3


def test_strange_names_stay_valid_json(bench: Bench, chain: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b'odd "\\\n\xff\xc3.tflite')
    shutil.copy(chain, odd)
    outcome = bench(odd, runtime=LITERT)
    assert outcome.document["model"]["path"].endswith('odd "\\\n\ufffd\ufffd.tflite')


# Other processors, emulated.

CORTEX_A72 = """processor\t: {core}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""


@pytest.fixture(scope="session")
def raspberry_pi(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs an aarch64 program as on a Cortex-A72.

    XNNPACK reads /proc/cpuinfo and crashes on the host's, so there is one of such a board.
    """
    libraries = Path("/usr/aarch64-linux-gnu/lib")
    if shutil.which("qemu-aarch64-static") is None:
        pytest.skip("qemu-aarch64-static (Debian: qemu-user-static) is not installed")
    if not (libraries / "libstdc++.so.6").exists():
        pytest.skip("the aarch64 C++ library (Debian: libstdc++6-arm64-cross) is not installed")
    root = tmp_path_factory.mktemp("raspberry_pi")
    (root / "lib").symlink_to(libraries)
    (root / "proc").mkdir()
    cores = "".join(CORTEX_A72.format(core=core) for core in range(4))
    (root / "proc" / "cpuinfo").write_text(cores)
    return ["qemu-aarch64-static", "-cpu", "cortex-a72", "-L", str(root)]


@pytest.fixture(scope="session")
def litert_aarch64() -> Path:
    """libLiteRt.so of the aarch64 wheel."""
    library = CACHE / "ai_edge_litert-2.3.0-aarch64" / "libLiteRt.so"
    if library.exists():
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    done = run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--only-binary=:all:", "--platform", "manylinux_2_27_aarch64"),
            *("--python-version", "3.11", "-d", library.parent, "ai-edge-litert==2.3.0"),
        ]
    )
    wheels = list(library.parent.glob("*.whl"))
    if done.code != 0 or not wheels:
        pytest.skip("the aarch64 wheel of ai-edge-litert can't be fetched")
    with zipfile.ZipFile(wheels[0]) as wheel:
        write_atomically(library, wheel.read("ai_edge_litert/libLiteRt.so"))
    wheels[0].unlink()
    return library


@pytest.mark.slow
def test_aarch64_gives_the_same_bytes(
    bench: Bench, colour_int8: Path, chain: Path, raspberry_pi: list[str], litert_aarch64: Path
) -> None:
    program = build("aarch64")
    assert program.stat().st_size < 400_000
    for model in (colour_int8, chain):
        here = bench(model).document
        there = run([*raspberry_pi, program, model, "--runtime", litert_aarch64, *BRIEF]).document
        assert there["tool"]["target"] == "aarch64-linux-gnu"
        assert there["input"]["sha256"] == here["input"]["sha256"]
        assert there["output"] == here["output"]
        assert there["engaged"] == here["engaged"]
        context = there["context"]
        assert context["cpu"] == "Cortex-A72" and context["machine"] is None
        assert "QEMU" in context["emulated"]
        assert "neon" in context["features"] and "dotprod" not in context["features"]
        assert context["before"]["frequencies_khz"] == {}


@pytest.mark.slow
def test_armv7_starts_and_says_what_is_missing(chain: Path, tmp_path: Path) -> None:
    if shutil.which("qemu-arm-static") is None:
        pytest.skip("qemu-arm-static (Debian: qemu-user-static) is not installed")
    if not Path("/usr/arm-linux-gnueabihf/lib").exists():
        pytest.skip("the armv7 C library (Debian: libc6-armhf-cross) is not installed")
    program = build("armv7l")
    assert program.stat().st_size < 400_000
    emulator = ["qemu-arm-static", "-cpu", "cortex-a7", "-L", "/usr/arm-linux-gnueabihf", program]
    assert run([*emulator, "--help"]).stdout.startswith("Usage:")
    assert "armv7l-linux-gnueabihf" in run([*emulator, "--version"]).stdout
    context = run([*emulator, "--context"]).document["context"]
    assert "x86" in context["emulated"] or "QEMU" in context["emulated"]
    assert "neon" in context["features"]
    outcome = run([*emulator, chain, "--runtime", tmp_path / "none.so"])
    assert outcome.code == 5 and "can't be loaded" in outcome.error
    assert outcome.document["model"]["operators"] == 5
    data = chain.read_bytes()
    assert outcome.document["model"]["sha256"] == sha256(data)
    drawn = b"".join(value.tobytes() for value in seeded_inputs(data, 0))
    assert outcome.document["input"]["sha256"] == sha256(drawn)
    (tmp_path / "cut.tflite").write_bytes(data[:300])
    assert run([*emulator, tmp_path / "cut.tflite"]).code == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("compiler", "toolchain", "header"),
    [
        ("c++", None, b"\x02\x01"),
        ("aarch64-linux-gnu-g++", "aarch64-linux-gnu.cmake", b"\x02\x01"),
        ("arm-linux-gnueabihf-g++", "armv7-linux-gnueabihf.cmake", b"\x01\x01"),
    ],
)
def test_builds_with_a_system_toolchain(
    tmp_path: Path, compiler: str, toolchain: str | None, header: bytes
) -> None:
    for tool in ("cmake", "make", compiler):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    chosen = ["--toolchain", NATIVE / "toolchains" / toolchain] if toolchain else []
    configure = ["cmake", "-S", NATIVE, "-B", tmp_path, "-DEDGEKIT_BENCH_WERROR=ON", *chosen]
    for command in (configure, ["cmake", "--build", tmp_path]):
        done = run(command)
        assert done.code == 0, done.stdout + done.stderr
    program = tmp_path / "edgekit-bench"
    data = program.read_bytes()
    assert len(data) < 400_000
    assert data.startswith(b"\x7fELF" + header)
    if toolchain is None:
        assert run([program, "--version"]).stdout.startswith("edgekit-bench ")
