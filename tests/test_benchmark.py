"""`edgekit benchmark` with the real binary: here, over a real SSH server, over a stand-in for adb.

No test looks at how long anything took.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import importlib.metadata
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from devices_support import (
    SshServer,
    StandInAdb,
    assert_nothing_left,
    tmpfs,
    wait_until,
)
from native_support import build_stub, chain_model, seeded_inputs

from edgekit.benchmark import artefacts, trying
from edgekit.benchmark.document import load
from edgekit.benchmark.driver import measure
from edgekit.benchmark.kit import Tools
from edgekit.benchmark.plan import Effort, Request, grid, interleaved
from edgekit.devices import open_device
from edgekit.errors import RuntimeFailure
from edgekit.runtime import Interpreter, probes

_QUICK = ("--rounds", 2, "--min-time", "20ms", "--min-runs", 5, "--warm-up", "5ms", "--max-time")
#: Two rounds, and more only where they are very noisy.
QUICK = (*_QUICK, "1s", "--precision", "100%")


@pytest.fixture(scope="module", autouse=True)
def _binary() -> None:
    with open_device("local") as device:
        artefacts.binary(device.facts)  # an error, not a skip: `make test` builds it first


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for our files on whichever device the test uses."""
    path = tmp_path / "device"
    monkeypatch.setenv("EDGEKIT_DEVICE_FOLDER", str(path))
    return path


@pytest.fixture
def board(server: SshServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    """The SSH server, as `ssh:board`."""
    monkeypatch.setenv("EDGEKIT_SSH", server.command)
    yield server
    if server._process is None:
        server.start()


@pytest.fixture
def adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandInAdb:
    """No phone: a program with adb's arguments that runs everything on this machine."""
    stand_in = StandInAdb(tmp_path / "adb")
    stand_in.prepare()
    monkeypatch.setenv("EDGEKIT_ADB", stand_in.command)
    return stand_in


def measured(run: subprocess.CompletedProcess[str], code: int = 0) -> dict[str, Any]:
    assert run.returncode == code, run.stderr
    result = json.loads(run.stdout)
    assert isinstance(result, dict)
    return result


# --- what it measures


def test_rounds_statistics_and_the_right_output(run_cli, colour_int8: Path) -> None:
    result = measured(run_cli("benchmark", colour_int8, *QUICK, "--input", "random:7", "--json"))
    (cell,) = result["cells"]
    rounds = len(cell["rounds"])
    assert [r["order"] for r in cell["rounds"]] == list(range(rounds))
    assert cell["summary"]["rounds"] == rounds >= 2
    assert cell["summary"]["samples"] == sum(len(r["samples_ns"]) for r in cell["rounds"]) >= 10
    assert cell["verdict"]["word"] in ("stable", "drifting", "throttled", "noisy")
    interpreter = Interpreter(colour_int8.read_bytes())
    (value,) = seeded_inputs(colour_int8.read_bytes(), 7)
    data, output = value.tobytes(), interpreter.invoke(value)
    for round_ in cell["rounds"]:
        assert round_["input"]["sha256"] == hashlib.sha256(data).hexdigest()
        assert round_["output"]["sha256"] == hashlib.sha256(output.tobytes()).hexdigest()
        assert round_["model"]["sha256"] == hashlib.sha256(colour_int8.read_bytes()).hexdigest()


def test_a_grid_is_interleaved(run_cli, colour_int8: Path, colour_float: Path) -> None:
    grid = ("--threads", "1,2", "--delegate", "xnnpack,none")
    run = run_cli("benchmark", colour_int8, colour_float, *grid, *QUICK, "--json", "--seed", 3)
    cells = measured(run)["cells"]
    assert len({(c["model"], c["threads"], c["delegate"]) for c in cells}) == 8
    order = sorted((r["order"], i) for i, c in enumerate(cells) for r in c["rounds"])
    assert [i for _, i in order][:16] == interleaved(8, 2, 3)
    assert sorted([i for _, i in order][:8]) == list(range(8))


def test_more_rounds_until_the_interval_is_narrow(run_cli, colour_int8: Path) -> None:
    effort = (*_QUICK, "200ms", "--precision", "0.0001%")
    result = measured(run_cli("benchmark", colour_int8, *effort, "--json"))
    (cell,) = result["cells"]
    assert len(cell["rounds"]) > 2
    assert cell["verdict"]["word"] != "stable"


def test_the_python_runtime_gives_the_same(run_cli, colour_float: Path, tmp_path: Path) -> None:
    outputs = set()
    for tool in ((), ("--python",)):
        result = measured(run_cli("benchmark", colour_float, *QUICK, *tool, "--json"))
        for round_ in result["cells"][0]["rounds"]:
            outputs.add((round_["input"]["sha256"], round_["output"]["sha256"]))
    assert len(outputs) == 1
    assert "Python" in " ".join(result["cells"][0]["verdict"]["warnings"])


def test_tables(run_cli, colour_int8: Path) -> None:
    grid = ("benchmark", colour_int8, "--threads", "1,2", *QUICK)
    text = run_cli(*grid)
    assert text.returncode == 0
    assert "threads" in text.stdout and "95 % interval" in text.stdout
    assert f"model: {colour_int8.name}" in text.stdout
    markdown = run_cli(*grid, "--markdown").stdout.splitlines()
    assert markdown[1].startswith("| --- |") and len(markdown) == 4
    rows = list(csv.DictReader(io.StringIO(run_cli(*grid, "--csv").stdout)))
    assert [row["threads"] for row in rows] == ["1", "2"]
    for row in rows:
        assert float(row["p50_low_ms"] or 0) <= float(row["p50_ms"]) <= float(row["p99_ms"] or 1e9)


def test_it_keeps_what_it_measured(run_cli, colour_int8: Path, tmp_path: Path) -> None:
    kept, picture = tmp_path / "r.json", tmp_path / "r.png"
    command = ("benchmark", colour_int8, *QUICK, "--rounds", 5, "-o", kept, "--plot", picture)
    run = run_cli(*command)
    assert run.returncode == 0, run.stderr
    assert f"edgekit compare {kept}" in run.stdout
    assert len(load(kept).cells[0].rounds) >= 5
    assert picture.read_bytes().startswith(b"\x89PNG")
    again = run_cli(*command)
    assert again.returncode == 2 and "--force" in again.stderr
    assert run_cli("compare", kept, kept).returncode == 0


def test_a_sustained_run_is_one_round(run_cli, colour_int8: Path, tmp_path: Path) -> None:
    picture = tmp_path / "curve.png"
    run = run_cli("benchmark", colour_int8, "--sustain", "1500ms", "--plot", picture, "--json")
    (cell,) = measured(run)["cells"]
    (round_,) = cell["rounds"]
    assert round_["starts_ns"][-1] + round_["samples_ns"][-1] >= 1_000_000_000
    assert round_["timeline"]
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("python", [False, True])
def test_a_long_round_says_how_far_it_has_come(colour_int8: Path, python: bool) -> None:
    told: list[tuple[str, int, int]] = []
    outcome = measure(
        grid([colour_int8], ["xnnpack"], [1]),
        ["local"],
        Effort(sustain_s=2.5),
        Request(),
        Tools(python=python),
        progress=lambda stage, done, total: told.append((stage, done, total)),
    )
    assert outcome.failure is None
    assert ("sustaining, seconds", 1, 2) in told
    assert told[-1] == ("measuring", 1, 1)


def test_a_profile_of_the_ops(run_cli, colour_float: Path) -> None:
    run = run_cli("benchmark", colour_float, *QUICK, "--profile")
    assert run.returncode == 0, run.stderr
    assert "Time by kind of op" in run.stdout
    table = run.stdout.partition("Time by kind of op")[2].splitlines()
    shares = [float(line.split()[-2]) for line in table if line.endswith(" %")]
    assert shares and abs(sum(shares) - 100) < 1


def test_golden_outputs(run_cli, colour_int8: Path, tmp_path: Path) -> None:
    interpreter = Interpreter(colour_int8.read_bytes())
    output = interpreter.invoke(np.zeros(interpreter.input.shape, np.int8)).tobytes()
    good, bad = tmp_path / "good.bin", tmp_path / "bad.bin"
    good.write_bytes(output)
    bad.write_bytes(bytes([output[0] ^ 1]) + output[1:])
    command = ("benchmark", colour_int8, *QUICK, "--input", "zeros", "--json", "--golden")
    for tool in ((), ("--python",)):
        assert run_cli(*command, good, *tool).returncode == 0
        different = run_cli(*command, bad, *tool)
        assert different.returncode == 1
        assert "1 bytes of the outputs" in different.stderr
        assert json.loads(different.stdout)["cells"][0]["rounds"]


# --- what a delegate took


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No accelerator: a plug-in that claims the ops it is told to and computes them."""
    return build_stub(tmp_path_factory.mktemp("stub"))


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    (tmp_path / "chain.tflite").write_bytes(chain_model())
    return tmp_path / "chain.tflite"


@pytest.mark.parametrize("road", ["local", "ssh:board"])
def test_an_external_delegate(
    run_cli, board: SshServer, stub: Path, chain: Path, folder: Path, road: str
) -> None:
    delegate = f"external:{stub},claim=ADD"
    delegates = ("none", f"external:{stub},claim=RESHAPE", delegate)
    grid = [word for name in delegates for word in ("--delegate", name)]
    cells = measured(run_cli("benchmark", chain, "--on", road, *grid, *QUICK, "--json"))["cells"]
    assert len({r["output"]["sha256"] for cell in cells for r in cell["rounds"]}) == 1
    cell = cells[-1]
    engaged = cell["rounds"][0]["engaged"]
    assert (engaged["nodes_delegated"], engaged["nodes_total"], engaged["partitions"]) == (3, 5, 3)
    assert any("3 of 5" in warning for warning in cell["verdict"]["warnings"])
    full = run_cli(
        *("benchmark", chain, "--on", road, "--delegate", delegate, *QUICK),
        "--require-full-delegation",
    )
    assert full.returncode == 1
    assert "3 of 5 nodes" in full.stderr
    assert_nothing_left(folder)


def test_a_delegate_that_fails(run_cli, stub: Path, chain: Path) -> None:
    delegate = f"external:{stub},fail=create"
    run = run_cli("benchmark", chain, "--delegate", delegate, *QUICK)
    assert run.returncode == 4, run.stderr
    assert "libstub_delegate.so" in run.stderr


# --- what it refuses


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("missing.tflite",), 3, "missing.tflite"),
        (("{model}", "--on", "moon"), 2, "ssh:"),
        (("{model}", "--delegate", "warp"), 2, "xnnpack"),
        (("{model}", "--threads", "0"), 2, "at least 1"),
        (("{model}", "--threads", "2,2"), 2, "twice"),
        (("{model}", "--min-time", "soon"), 2, "300ms"),
        (("{model}", "--delegate", "external:/no/such/delegate.so"), 5, "/no/such/delegate.so"),
        (("{model}", "--runtime", "/no/such/lib.so"), 2, "/no/such/lib.so"),
        (("{model}", "--input", "file:/no/such/file"), 2, "/no/such/file"),
        (("{model}", "--binary", "{model}"), 2, "no Linux"),
        (("{model}", "-o", "r.txt"), 2, ".json"),
        (("{model}", "--require-full-delegation", "--delegate", "none"), 2, "contradicts"),
        (("{model}", "--python", "--profile"), 2, "--profile"),
        (("{model}", "--affinity", "900"), 2, "900"),
    ],
)
def test_what_it_refuses(
    run_cli, colour_int8: Path, folder: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    words = [word.replace("{model}", str(colour_int8)) for word in arguments]
    run = run_cli("benchmark", *QUICK, *words)
    assert run.returncode == code, run.stderr
    assert said in run.stderr
    assert run.stderr.startswith("Error: ") or "Usage:" in run.stderr
    assert "Traceback" not in run.stderr
    assert_nothing_left(folder)


def test_other_files_are_named(run_cli, tmp_path: Path) -> None:
    (tmp_path / "m.keras").write_bytes(b"PK\x03\x04 a Keras file")
    run = run_cli("benchmark", tmp_path / "m.keras")
    assert run.returncode == 3
    assert "m.keras" in run.stderr


def test_one_cell_that_fails_leaves_the_others(run_cli, colour_int8: Path, tmp_path: Path) -> None:
    kept = tmp_path / "r.json"
    run = run_cli(
        *("benchmark", colour_int8, "--delegate", "xnnpack", "--on", "local", *QUICK, "-o", kept),
        *("--on", "ssh:nobody@host.invalid"),
    )
    assert run.returncode == 4
    assert "host.invalid" in run.stderr
    here, there = load(kept).cells
    assert len(here.rounds) == 2 and here.error is None
    assert not there.rounds and "host.invalid" in str(there.error)


def test_a_device_in_use(run_cli, colour_int8: Path, folder: Path) -> None:
    with open_device("local") as device, device.lock("a long test"):
        run = run_cli("benchmark", colour_int8, *QUICK)
    assert run.returncode == 4
    assert "a long test" in run.stderr
    assert_nothing_left(folder)


# --- over SSH and adb


def test_over_ssh(run_cli, board: SshServer, colour_int8: Path, folder: Path) -> None:
    command = ("benchmark", colour_int8, "--on", "ssh:board", *QUICK, "--json")
    first = measured(run_cli(*command))
    assert_nothing_left(folder)
    copied = {path: path.stat().st_mtime_ns for path in (folder / "cache").iterdir()}
    assert any("edgekit-bench" in path.name for path in copied)
    second = measured(run_cli(*command))
    assert {p: p.stat().st_mtime_ns for p in (folder / "cache").iterdir()} == copied
    here = measured(run_cli("benchmark", colour_int8, *QUICK, "--json"))
    hashes = {
        r["output"]["sha256"] for run in (first, second, here) for r in run["cells"][0]["rounds"]
    }
    assert len(hashes) == 1
    assert first["cells"][0]["device"] == "ssh:board"
    runtime = first["cells"][0]["rounds"][0]["runtime"]
    assert runtime["path"].startswith(f"{folder}/cache/")
    assert runtime["version"] == importlib.metadata.version("ai-edge-litert")


def test_python_over_ssh(
    run_cli, board: SshServer, colour_int8: Path, folder: Path, tmp_path: Path
) -> None:
    run = run_cli("benchmark", colour_int8, "--on", "ssh:board", "--python", *QUICK, "--json")
    if run.returncode == 5:  # no Python that a login shell finds has a runtime
        assert "pip install ai-edge-litert" in run.stderr
    else:
        assert measured(run)["cells"][0]["rounds"][0]["runtime"]["kind"] == "python"
    assert_nothing_left(folder)


def _start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgekit", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ.copy(),
    )


def _running(folder: Path) -> bool:
    """Whether it says how far it has come, so that there are samples."""
    return any(b"progress: " in path.read_bytes() for path in folder.glob("jobs/*/stderr"))


@pytest.mark.slow
def test_a_dropped_connection_is_mended(
    board: SshServer, colour_int8: Path, folder: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "r.json"
    sustained = ("benchmark", colour_int8, "--on", "ssh:board", "--sustain", "4s", "-o", kept)
    with _start(*sustained) as child:
        wait_until(lambda: _running(folder), "the run on the board")
        board.stop()
        board.start()
        _, stderr = child.communicate(timeout=60)
    assert child.returncode == 0, stderr
    assert "reconnect" in stderr
    assert load(kept).cells[0].samples_ns.size > 100
    assert_nothing_left(folder)


@pytest.mark.slow
def test_a_server_that_stays_away(board: SshServer, colour_int8: Path, folder: Path) -> None:
    sustained = ("benchmark", colour_int8, "--on", "ssh:board", "--sustain", "3s")
    with _start(*sustained, "--reconnect", "1s", "--grace", "4s") as child:
        wait_until(lambda: _running(folder), "the run on the board")
        board.stop()
        _, stderr = child.communicate(timeout=60)
    assert child.returncode == 4
    assert "lost" in stderr
    # Nobody tells the board to: it ends and cleans up by itself.
    wait_until(lambda: not (folder / "jobs").exists(), "the clean-up on the board", 30)
    assert_nothing_left(folder)


def test_over_a_stand_in_for_adb(run_cli, adb: StandInAdb, colour_int8: Path, folder: Path) -> None:
    hashes = set()
    for road in ("adb", "local"):
        (cell,) = measured(run_cli("benchmark", colour_int8, "--on", road, *QUICK, "--json"))[
            "cells"
        ]
        assert cell["device"] == road
        hashes |= {r["output"]["sha256"] for r in cell["rounds"]}
        assert_nothing_left(folder)
    assert len(hashes) == 1


@pytest.mark.parametrize("python", [(), ("--python",)])
def test_a_runtime_that_is_there_is_used(
    run_cli, colour_int8: Path, folder: Path, tmp_path: Path, monkeypatch, python: tuple[str, ...]
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "python3").chmod(0o755)
    stand_in = StandInAdb(tmp_path / "adb")
    stand_in.prepare(path=f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("EDGEKIT_ADB", stand_in.command)
    run = run_cli("benchmark", colour_int8, "--on", "adb", *QUICK, *python, "--json")
    runtime = measured(run)["cells"][0]["rounds"][0]["runtime"]
    assert Path(runtime["path"]).parent == Path(str(artefacts.installed_library())).parent
    assert not [path for path in (folder / "cache").iterdir() if "libLiteRt" in path.name]
    assert_nothing_left(folder)


@pytest.mark.slow
def test_a_stand_in_that_is_unplugged(adb: StandInAdb, colour_int8: Path, folder: Path) -> None:
    sustained = ("benchmark", colour_int8, "--on", "adb", "--sustain", "3s")
    with _start(*sustained, "--reconnect", "1s", "--grace", "4s") as child:
        wait_until(lambda: _running(folder), "the run on the stand-in")
        adb.unplug()
        _, stderr = child.communicate(timeout=60)
    assert child.returncode == 4
    assert "adb" in stderr and "Traceback" not in stderr
    wait_until(lambda: not (folder / "jobs").exists(), "the clean-up on the stand-in", 30)
    assert_nothing_left(folder)


@pytest.mark.slow
@pytest.mark.parametrize("road", ["local", "ssh:board"])
def test_ctrl_c_keeps_what_was_measured(
    board: SshServer, colour_int8: Path, folder: Path, tmp_path: Path, road: str
) -> None:
    kept = tmp_path / "r.json"
    with _start("benchmark", colour_int8, "--on", road, "--sustain", "60s", "-o", kept) as child:
        wait_until(lambda: _running(folder), "the run")
        child.send_signal(signal.SIGINT)
        _, stderr = child.communicate(timeout=60)
    assert child.returncode == 130, stderr
    (cell,) = load(kept).cells
    assert cell.rounds[0].interrupted
    assert cell.samples_ns.size > 10
    assert_nothing_left(folder)


def test_a_full_disk(
    run_cli, board: SshServer, colour_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tmpfs(tmp_path / "small", "size=128k") as small:
        monkeypatch.setenv("EDGEKIT_DEVICE_FOLDER", str(small / "edgekit"))
        run = run_cli("benchmark", colour_int8, "--on", "ssh:board", *QUICK)
        assert run.returncode == 4
        assert "its disk is full" in run.stderr and "EDGEKIT_DEVICE_FOLDER" in run.stderr
        assert_nothing_left(small / "edgekit")
        assert not list((small / "edgekit" / "cache").iterdir())


def test_clean_leaves_nothing(run_cli, board: SshServer, colour_int8: Path, folder: Path) -> None:
    run = run_cli("benchmark", colour_int8, "--on", "ssh:board", *QUICK, "--clean")
    assert run.returncode == 0, run.stderr
    assert not folder.exists()


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("samples_ns",), [0]),
        (("samples_ns",), []),
        (("starts_ns",), ["now"]),
        (("context", "before"), None),
        (("context", "before", "governors"), {"0": 5}),
        (("timeline",), [{"frequencies_khz": {}}]),
        (("output", "golden"), {"equal": "yes"}),
        (("request", "threads"), True),
        (("warnings",), [1]),
        (("tool",), "edgekit-bench"),
    ],
)
def test_damaged_results_are_refused(
    run_cli, colour_int8: Path, tmp_path: Path, keys: tuple[str, ...], value: object
) -> None:
    kept, damaged = tmp_path / "r.json", tmp_path / "damaged.json"
    assert run_cli("benchmark", colour_int8, *QUICK, "-o", kept).returncode == 0
    result = json.loads(kept.read_text())
    place = result["cells"][0]["rounds"][1]
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    damaged.write_text(json.dumps(result))
    run = run_cli("compare", kept, damaged)
    assert run.returncode == 3, run.stderr
    assert "cell 0, round 1" in run.stderr


def test_a_wheel_serves_another_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library for a Pi comes out of the wheel for it; skipped where no registry answers."""
    from edgekit.errors import MissingError

    try:
        path = artefacts._from_wheel("aarch64", "2.3.0", lambda message: None)
    except MissingError as error:
        pytest.skip(error.message)
    assert artefacts._machine(path) == "aarch64"


def test_a_runtime_that_computes_wrong_is_refused(
    colour_int8: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The binary answers the probes before it measures; one that it gets wrong ends the cell."""
    sound = dataclasses.replace(probes.dense_channels(), used_by=lambda graph, op: True)
    effort = Effort(rounds=1, min_runs=1, min_time_s=0.0, max_time_s=1.0, warmup_s=0.0)
    points = grid([colour_int8], ["xnnpack"], [1])
    monkeypatch.setattr(trying, "all_probes", lambda: (sound,))
    assert measure(points, ["local"], effort, Request(), Tools()).run.cells[0].rounds
    wrong = dataclasses.replace(sound, expected=sound.expected + 20)
    monkeypatch.setattr(trying, "all_probes", lambda: (wrong,))
    with pytest.raises(RuntimeFailure, match=r"computes int8 fully connected layers .* wrong"):
        measure(points, ["local"], effort, Request(), Tools())
