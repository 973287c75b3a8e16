"""Models that are ready to ship, and the package of one, for the tests of `edgekit bundle`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import COLOURS, build_colour_model, colour_picture

from edgekit import tflite
from edgekit.contract import Contract
from edgekit.golden import making, vectors

CONTRACT = Contract(32, 32, fit="crop", crop_fraction=0.875, labels=COLOURS)


def classifier(path: Path, contract: Contract = CONTRACT, *, golden: bool = True) -> Path:
    """The colour model with a contract inside and golden vectors beside it, at `path`."""
    model = tflite.pack(build_colour_model(quantized=True), contract)
    path.write_bytes(model)
    if golden:
        photos = [colour_picture(colour, 3, 131, 97) for colour in COLOURS]
        made = making.make(model, path.name, contract, photos)
        vectors.beside(path).write_bytes(made.to_zip())
    return path


def classify(package: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a package's classify.py by this Python, as an environment of its own would."""
    command = [sys.executable, package / "classify.py", *arguments]
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
