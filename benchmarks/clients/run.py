"""Files made here in programs that others wrote: which read them, and is the answer the same?

    python benchmarks/clients/run.py --photos PHOTOS
    python benchmarks/clients/run.py --photos PHOTOS --only tflite-runtime-2.14

Every form of a few models is given to each program of clients.toml, in an environment that is made
for it under build/clients, with the same 20 photos. A cell is `right` where the class of every
photo is that of the newest runtime; `refused` where the program says so, in its own words; and
`WRONG`.
Kept in benchmarks/results/clients.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import images, tflite
from edgekit.contract import Contract
from edgekit.converters import convert, make_options
from edgekit.cpus import describe_machine
from edgekit.files import write_all
from edgekit.runtime import Interpreter, runtime_name
from edgekit.training import zoo
from edgekit.version import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORK = ROOT / "build" / "clients"
RESULTS = HERE.parent / "results" / "clients.json"
PHOTOS = 20
MODELS = ("efficientnet_lite0",)
#: form -> what `edgekit.converters.make_options` is asked for.
FORMS: dict[str, dict[str, Any]] = {
    "int8": {},
    "uint8": {"client": "mediapipe"},
    "int16x8": {"quantization": "int16x8"},
    "dynamic": {"quantization": "dynamic"},
    "float16": {"quantization": "float16"},
    "float32": {"quantization": "float32"},
    "int8, --runtime 2.5": {"runtime": "2.5"},
    "dynamic, --runtime 2.5": {"quantization": "dynamic", "runtime": "2.5"},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photos", type=Path, required=True, help="a folder of photos")
    parser.add_argument("--only", nargs="+", default=[], metavar="CLIENT")
    given = parser.parse_args()
    clients = tomllib.loads((HERE / "clients.toml").read_text())
    kept: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    files = [made for model in MODELS for made in make_files(model, given.photos)]
    cells = kept.get("cells", {})
    for name, client in clients.items():
        if given.only and name not in given.only:
            continue
        python = environment(name, client)
        if python is None:
            print(f"{name}: no Python {client['python']} here, left out")
            continue
        cells[name] = {
            f"{model}, {form}": ask(python, HERE / "ask" / client["ask"], path)
            for model, form, path in files
        }
        print(name, json.dumps(cells[name], indent=1), flush=True)
    document = {
        "created": datetime.date.today().isoformat(),
        "machine": describe_machine(),
        "edgekit": __version__,
        "reference": runtime_name(),
        "photos": PHOTOS,
        "cells": cells,
    }
    write_all({RESULTS: (json.dumps(document, indent=1) + "\n").encode()})
    return int(any(cell["verdict"] == "WRONG" for row in cells.values() for cell in row.values()))


def make_files(model: str, photos: Path) -> list[tuple[str, str, Path]]:
    """(model, form, file) of every form; beside each its inputs and the answers that are right."""
    folder = WORK / "files" / model
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = zoo.create(model, folder / f"{model}.keras")
    floats = folder / "source.tflite"
    convert(source, floats, options=make_options("float32"), golden_vectors="none")
    pictures = sorted(path for path in photos.rglob("*") if path.suffix in (".jpg", ".png"))
    chosen = pictures[:: max(1, len(pictures) // PHOTOS)][:PHOTOS]
    made = []
    for number, (form, asked) in enumerate(FORMS.items()):
        path = folder / f"{number}.tflite"
        convert(floats, path, options=make_options(**asked), data=photos, golden_vectors="none")
        data = path.read_bytes()
        contract = tflite.read_contract(data, path.name)
        assert contract is not None
        interpreter = Interpreter(data)
        inputs = as_input(chosen, contract, interpreter)
        np.save(path.with_suffix(".inputs.npy"), inputs)
        np.save(path.with_suffix(".right.npy"), np.stack([interpreter.invoke(x) for x in inputs]))
        made.append((model, form, path))
    return made


def as_input(photos: list[Path], contract: Contract, interpreter: Interpreter) -> Any:
    """[N, H, W, 3] of the model's dtype."""
    pictures = np.stack([images.load(path, contract) for path in photos])
    real = np.asarray(images.to_input(pictures, contract, np.float32), np.float32)
    info = interpreter.input
    if info.scale is None:
        return real
    limits = np.iinfo(np.dtype(info.dtype))
    steps = np.round(real / info.scale) + (info.zero_point or 0)
    return np.clip(steps, limits.min, limits.max).astype(info.dtype)


def environment(name: str, client: dict[str, Any]) -> Path | None:
    """The Python of a client's environment, which is made where it isn't there."""
    python = WORK / "environments" / name / "bin" / "python"
    if python.exists():
        return python
    base = shutil.which(f"python{client['python']}")
    if base is None:
        return None
    subprocess.run([base, "-m", "venv", python.parents[1]], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *client["packages"]], check=True)
    return python


def ask(python: Path, script: Path, path: Path) -> dict[str, Any]:
    """What one program makes of one file."""
    answers = path.with_suffix(".answers.npy")
    answers.unlink(missing_ok=True)
    done = subprocess.run(
        [python, script, path, path.with_suffix(".inputs.npy"), answers],
        capture_output=True,
        text=True,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    if done.returncode != 0 or not answers.exists():
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        crashed = done.returncode < 0
        return {"verdict": "CRASHED" if crashed else "refused", "said": said[:200]}
    found, right = np.load(answers), np.load(path.with_suffix(".right.npy"))
    same = float(np.mean(found.argmax(axis=1) == right.argmax(axis=1)))
    off = float(np.abs(found.astype(np.float64) - right.astype(np.float64)).max())
    return {"verdict": "right" if same == 1 else "WRONG", "same": same, "largest_difference": off}


if __name__ == "__main__":
    sys.exit(main())
