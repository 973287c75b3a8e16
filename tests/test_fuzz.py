"""Mutated files, a seeded and fast share of what `tests/fuzz.py` runs, and that it can fail."""

from __future__ import annotations

import io
import os
import random
import signal
import threading
import time
import zipfile
from pathlib import Path

import fuzz
import pytest
from conftest import COLOURS, build_colour_model

from edgekit import tflite
from edgekit.contract import Contract


@pytest.fixture(scope="session")
def seeds(
    tiny_float: Path,
    tiny_keras: Path,
    tiny_photos: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> fuzz.Seeds:
    folder = tmp_path_factory.mktemp("seeds")
    contract = Contract(32, 32, labels=COLOURS)
    colour, int8 = folder / "colour.tflite", folder / "int8.tflite"
    colour.write_bytes(tflite.pack(build_colour_model(), contract))
    int8.write_bytes(tflite.pack(build_colour_model(quantized=True), contract))
    return fuzz.Seeds((tiny_float, colour), int8, tiny_keras, tiny_photos)


@pytest.mark.slow
def test_tflite(seeds: fuzz.Seeds, tmp_path: Path) -> None:
    tally = fuzz.run(seeds, tmp_path, tflite=150, keras=0, seed=20)
    assert tally.failures == []
    assert tally.passed == 150
    # Some get through to the end, so that all of it is tried.
    assert tally.outcomes["convert .tflite: exit code 0"] > 5
    assert tally.outcomes["convert .tflite: exit code 3"] > 5


@pytest.mark.slow
def test_keras(seeds: fuzz.Seeds, tmp_path: Path) -> None:
    tally = fuzz.run(seeds, tmp_path, tflite=0, keras=16, seed=20)
    assert tally.failures == []
    assert tally.passed == 16
    assert tally.outcomes["convert .keras: exit code 3"] > 5


def test_the_same_seed_gives_the_same_mutants(seeds: fuzz.Seeds) -> None:
    for mutate, path in ((fuzz.mutate_bytes, seeds.int8_tflite), (fuzz.mutate_keras, seeds.keras)):
        data = path.read_bytes()
        first, again, other = (mutate(data, random.Random(n)) for n in (1, 1, 2))
        assert first == again
        assert first not in (data, other)


def test_keras_mutants_get_past_the_checksums(seeds: fuzz.Seeds) -> None:
    data = seeds.keras.read_bytes()
    for number in range(30):
        with zipfile.ZipFile(io.BytesIO(fuzz.mutate_keras(data, random.Random(number)))) as archive:
            assert archive.testzip() is None


def test_failures_are_noticed(tmp_path: Path) -> None:
    worker, work = fuzz.Worker(tmp_path), tmp_path / "work"
    work.mkdir()
    mutant = work / "m.tflite"
    mutant.write_bytes(b"x")
    inspect = ["inspect", str(mutant)]
    try:
        assert fuzz._judge(worker, work, mutant, [inspect], fuzz.Tally()) is None
        (work / ".m.part").touch()
        failure = fuzz._judge(worker, work, mutant, [inspect], fuzz.Tally())
        assert failure == "files left or missing: .m.part"
        (work / ".m.part").unlink()
        (worker.temporary / "edgekit-x").mkdir()
        failure = fuzz._judge(worker, work, mutant, [inspect], fuzz.Tally())
        assert failure == "files left or missing: edgekit-x"
    finally:
        worker.close()


def test_crashes_are_noticed(tmp_path: Path) -> None:
    worker = fuzz.Worker(tmp_path)
    os.mkfifo(tmp_path / "pipe")

    def crash() -> None:
        time.sleep(1)
        assert worker._process is not None
        worker._process.send_signal(signal.SIGSEGV)

    try:
        thread = threading.Thread(target=crash)
        thread.start()
        assert worker.run([["inspect", str(tmp_path / "pipe")]]) == "crashed: SIGSEGV"
        thread.join()
        # The next one starts a new worker.
        assert worker.run([["inspect", str(tmp_path / "none")]])[0][0] == 3
    finally:
        worker.close()
