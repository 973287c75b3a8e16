"""Mutated model files through `inspect` and `convert`: nothing may crash, and nothing be left.

    python tests/fuzz.py --tflite 1000 --keras 300 --seed 1

Each mutant goes through the command line's own `main`, in a worker process, so that a crash of
native code is seen and not suffered. It passes where the command ends with a documented exit code,
prints no traceback, and leaves no file behind but what it was asked for.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: A mutant takes a second or two, and six where TensorFlow is started.
_SECONDS = 180
_REFUSALS = (1, 2, 3, 4)
_BUG = "This is a bug in edgekit"
_EXTREMES = (0, 1, 2, 4, 255, 65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7F800000)


@dataclass(frozen=True)
class Seeds:
    """The sound files that mutants are made of.

    Attributes:
        float_tflite: Float models with a contract inside, which convert.
        int8_tflite: A quantized model with its metadata, to inspect.
        keras: A `.keras` file with a contract inside.
        photos: A folder of a few pictures.
    """

    float_tflite: tuple[Path, ...]
    int8_tflite: Path
    keras: Path
    photos: Path


@dataclass
class Tally:
    """How a run came out."""

    passed: int = 0
    failures: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)


# --- mutations of bytes


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """One to three changes: bits flipped, values, blocks and offsets replaced, bytes put in."""
    mutant = bytearray(data)
    if rng.random() < 0.08:
        return bytes(mutant[: rng.randrange(len(mutant))])
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice(_BYTE_MUTATIONS)(mutant, rng)
    return bytes(mutant)


def _place(mutant: bytearray, rng: random.Random) -> int:
    """A position; more often near the start, where the structure of a model is."""
    end = max(len(mutant) - 8, 1)
    return rng.randrange(min(end, 4096) if rng.random() < 0.5 else end)


def _flip(mutant: bytearray, rng: random.Random) -> None:
    mutant[_place(mutant, rng)] ^= 1 << rng.randrange(8)


def _overwrite(mutant: bytearray, rng: random.Random) -> None:
    start, count = _place(mutant, rng), rng.choice((1, 4, 16, 64, 512))
    block = bytes(count) if rng.random() < 0.3 else rng.randbytes(count)
    mutant[start : start + count] = block[: len(mutant) - start]


def _extreme(mutant: bytearray, rng: random.Random) -> None:
    struct.pack_into("<I", mutant, _place(mutant, rng) & ~3, rng.choice(_EXTREMES))


def _shift(mutant: bytearray, rng: random.Random) -> None:
    place = _place(mutant, rng) & ~3
    (value,) = struct.unpack_from("<I", mutant, place)
    changed = (value + rng.choice((-64, -8, -4, -1, 1, 4, 8, 64))) & 0xFFFFFFFF
    struct.pack_into("<I", mutant, place, changed)


def _insert(mutant: bytearray, rng: random.Random) -> None:
    place = _place(mutant, rng)
    mutant[place:place] = rng.randbytes(rng.choice((1, 4, 16, 100)))


def _remove(mutant: bytearray, rng: random.Random) -> None:
    place = _place(mutant, rng)
    del mutant[place : place + rng.choice((1, 4, 16, 100))]


_BYTE_MUTATIONS = (_flip, _flip, _overwrite, _extreme, _extreme, _shift, _shift, _insert, _remove)


# --- mutations of what a .keras file holds; the zip around it is sound


def mutate_keras(data: bytes, rng: random.Random) -> bytes:
    """Changes the members of a `.keras` file and writes the zip again, its checksums right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    kind = rng.random()
    if kind < 0.6:
        config = json.loads(members["config.json"])
        for _ in range(rng.choice((1, 1, 2, 3))):
            mutate_json(config, rng)
        members["config.json"] = json.dumps(config).encode()
    elif kind < 0.85:
        members["model.weights.h5"] = mutate_bytes(members["model.weights.h5"], rng)
    elif kind < 0.92:
        name = rng.choice(("config.json", "metadata.json", "edgekit.json"))
        members[name] = mutate_bytes(members[name], rng)
    elif kind < 0.96:
        contract = json.loads(members["edgekit.json"])
        mutate_json(contract, rng)
        members["edgekit.json"] = json.dumps(contract).encode()
    else:
        name = rng.choice(list(members))
        content = members.pop(name)
        if rng.random() < 0.5:
            members[rng.choice(("../" + name, "assets/" + name, name.upper(), "/tmp/x"))] = content
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return whole.getvalue()


def mutate_json(document: Any, rng: random.Random) -> None:
    """Changes one entry of a JSON document in its place."""
    container, key = rng.choice(list(_entries(document)))
    kind = rng.random()
    if kind < 0.2:
        del container[key]
    elif kind < 0.3 and isinstance(container, list):
        container.insert(key, container[key])
    elif kind < 0.5 and isinstance(container[key], (int, float)):
        container[key] = rng.choice((0, -1, 1, 7, 2**31, 2**62, 1e308, -0.5, 1e-30))
    elif kind < 0.6:
        container[key] = {"class_name": "Lambda", "config": {"name": "x"}, "module": "keras.layers"}
    else:
        container[key] = json.loads(rng.choice(_JSON_VALUES))


_JSON_VALUES = (
    *("null", "true", "-1", "0", "3", "2147483648", "[]", "{}", "[[]]", "[null, 32, 32, 1]"),
    *('""', '"x"', '"relu"', '"softmax"', '"Dense"', '"Functional"', '"keras"', '"os"', '"../x"'),
    *('"float16"', '"int8"', '"\\u0000"', '"NaN"'),
)


def _entries(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = range(len(value)) if isinstance(value, list) else list(value)
    for key in keys:
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _entries(value[key])


# --- the worker: one mutant after the other, each command with its output kept apart


def worker() -> None:
    """Serves requests, a JSON list of command lines on each line of stdin."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    from edgekit.cli.main import main

    for line in sys.stdin:
        results = [_command(main, arguments) for arguments in json.loads(line)]
        print(json.dumps(results), file=answers)


def _command(main: Callable[[list[str]], None], arguments: list[str]) -> tuple[int, str]:
    """Runs one command line; its exit code, and what it wrote to stderr by whatever means."""
    code = -1
    with tempfile.TemporaryFile(dir=os.environ["FUZZ_LOGS"]) as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
        try:
            main(arguments)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else -1
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        log.seek(0)
        return code, log.read().decode("utf-8", "replace")


class Worker:
    """A worker process, started again whenever it died."""

    def __init__(self, folder: Path) -> None:
        self.temporary, self._logs = folder / "tmp", folder / "logs"
        for path in (self.temporary, self._logs):
            path.mkdir()
        self._process: subprocess.Popen[str] | None = None

    def run(self, commands: list[list[str]]) -> list[tuple[int, str]] | str:
        """The exit code and output of each command, or how the worker died."""
        process = self._process
        if process is None or process.poll() is not None:
            process = self._process = self._start()
        assert process.stdin is not None and process.stdout is not None
        timer = threading.Timer(_SECONDS, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(commands) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        finally:
            timer.cancel()
        if answer:
            return [(code, text) for code, text in json.loads(answer)]
        code = process.wait()
        self.close()
        if code == -signal.SIGKILL:
            return f"still busy after {_SECONDS} s, or killed"
        return f"crashed: {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, __file__, "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"TMPDIR": str(self.temporary), "FUZZ_LOGS": str(self._logs)},
        )


# --- the run


def run(
    seeds: Seeds,
    folder: Path,
    *,
    tflite: int,
    keras: int,
    seed: int,
    progress: Callable[[str], None] = lambda line: None,
) -> Tally:
    """Runs mutants; those that fail are kept in `folder`.

    Args:
        seeds: What they are made of.
        folder: An empty folder to work in.
        tflite: How many `.tflite` mutants; two in three of float models.
        keras: How many `.keras` mutants; half of them with raw bytes changed.
        seed: The same seed, the same mutants.
        progress: Called with a line now and then.
    """
    tally, place = Tally(), Worker(folder)
    kept = folder / "failures"
    kept.mkdir()
    started = time.monotonic()
    try:
        for number in range(tflite + keras):
            suffix = ".tflite" if number < tflite else ".keras"
            rng = random.Random(f"{seed}/{suffix}/{number if number < tflite else number - tflite}")
            work = folder / "work"
            work.mkdir()
            mutant, commands = _mutant(seeds, suffix, number, rng, work)
            failure = _judge(place, work, mutant, commands, tally)
            if failure:
                name = f"{seed}_{number}{suffix}"
                shutil.copyfile(mutant, kept / name)
                tally.failures.append(f"{kept / name}: {failure}")
                progress(f"FAILED {tally.failures[-1]}")
            else:
                tally.passed += 1
            shutil.rmtree(work)
            if number % 25 == 24:
                progress(
                    f"{number + 1} of {tflite + keras}: {tally.passed} passed, "
                    f"{len(tally.failures)} failed, {time.monotonic() - started:.0f} s"
                )
    finally:
        place.close()
    return tally


def _mutant(
    seeds: Seeds, suffix: str, number: int, rng: random.Random, work: Path
) -> tuple[Path, list[list[str]]]:
    """Writes a mutant; the file, and the command lines to try it with."""
    path, output = work / f"m{suffix}", work / "out.tflite"
    inspect = ["inspect", str(path), *(["--json"] if number % 2 else [])]
    convert = ["convert", str(path), "-o", str(output), "--data", str(seeds.photos)]
    convert += ["--samples", "4", rng.choice(("--int8", "--int8", "--dynamic", "--float32"))]
    if suffix == ".keras":
        data = seeds.keras.read_bytes()
        path.write_bytes(mutate_bytes(data, rng) if number % 2 else mutate_keras(data, rng))
        return path, [inspect, convert]
    if number % 3 == 2:
        path.write_bytes(mutate_bytes(seeds.int8_tflite.read_bytes(), rng))
        return path, [inspect]
    path.write_bytes(mutate_bytes(rng.choice(seeds.float_tflite).read_bytes(), rng))
    return path, [inspect, convert]


def _judge(
    place: Worker, work: Path, mutant: Path, commands: list[list[str]], tally: Tally
) -> str | None:
    """What is wrong with how the commands ended, or None."""
    results = place.run(commands)
    if isinstance(results, str):
        return results
    expected = {mutant.name}
    for arguments, (code, text) in zip(commands, results, strict=True):
        verb = arguments[0]
        tally.outcomes[f"{verb} {mutant.suffix}: exit code {code}"] += 1
        if "Traceback" in text or _BUG in text:
            return f"{verb}: {text.strip()}"
        if code not in (0, *_REFUSALS):
            return f"{verb}: exit code {code}: {text.strip()}"
        if code and not text.startswith(("Error: ", "Usage: ")):
            return f"{verb}: exit code {code}, and no message: {text.strip()[:200]}"
        if code == 0 and verb == "convert":
            expected |= {"out.tflite", "out.tflite.json", "out.golden.zip"}
    found = {path.name for path in work.iterdir()}
    left = sorted(found ^ expected) + sorted(p.name for p in place.temporary.iterdir())
    return f"files left or missing: {', '.join(left)}" if left else None


def make_seeds(folder: Path) -> Seeds:
    """Builds the sound files; takes TensorFlow."""
    import conftest
    import keras

    from edgekit import tflite
    from edgekit.contract import Contract
    from edgekit.converters import convert, make_options
    from edgekit.training import keras_file

    folder.mkdir()
    contract = Contract(32, 32, labels=conftest.COLOURS)
    colour, int8 = folder / "colour.tflite", folder / "int8.tflite"
    colour.write_bytes(tflite.pack(conftest.build_colour_model(), contract))
    int8.write_bytes(tflite.pack(conftest.build_colour_model(quantized=True), contract))
    photos = conftest.write_procedural(folder / "photos", 4)

    layers = keras.layers
    inputs = keras.Input((32, 32, 3), name="image")
    x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(inputs)
    x = skip = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.GlobalAveragePooling2D()(layers.Add()([skip, x]))
    x = layers.Dense(4, activation="softmax")(layers.Dropout(0.2)(x))
    model = keras.Model(inputs, x, name="small")
    conftest.randomize(model)
    path = folder / "small.keras"
    model.save(path)
    keras_file.add_contract(
        path, Contract(32, 32, (127.0,) * 3, (128.0,) * 3, output="probabilities")
    )
    small = convert(path, folder / "small.tflite", options=make_options("float32")).output
    return Seeds((small, small, colour), int8, path, photos)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--tflite", type=int, default=1000, metavar="N")
    parser.add_argument("--keras", type=int, default=300, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="A new folder, where failing mutants are kept.")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker()
        return 0
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    with contextlib.ExitStack() as stack:
        if arguments.keep:
            arguments.keep.mkdir()
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        tally = run(
            make_seeds(folder / "seeds"),
            folder,
            tflite=arguments.tflite,
            keras=arguments.keras,
            seed=arguments.seed,
            progress=lambda line: print(line, flush=True),
        )
    for outcome, count in sorted(tally.outcomes.items()):
        print(f"{count:6} {outcome}")
    print(f"{tally.passed} passed, {len(tally.failures)} failed")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
