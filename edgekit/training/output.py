"""What a training leaves behind: `m.keras`, and beside it the folder `m.edgekit/`.

| file | what it holds |
|---|---|
| `contract.json` | the preprocessing contract, which is in the model file too |
| `labels.txt` | one class a line, in the order of the outputs |
| `metrics.json` | everything that was measured, the settings and the history |
| `README.md` | the model card |
| `curves.png`, `confusion.png`, `reliability.png`, `mistakes.jpg` | pictures of it |
| `calibration/` | training pictures as the model takes them, for `edgekit convert --int8` |

The folder appears as a whole, and before the model: whoever finds `m.keras` finds all of it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from edgekit import images
from edgekit.contract import Contract
from edgekit.errors import RuntimeFailure
from edgekit.evaluation.judging import Guesses
from edgekit.report import calibration, confusion, contact_sheet, curves, model_card
from edgekit.report.facts import CardFacts
from edgekit.training import keras_file

#: Role -> file, as the model card links them.
FILES = {
    "curves": "curves.png",
    "confusion": "confusion.png",
    "reliability": "reliability.png",
    "mistakes": "mistakes.jpg",
    "metrics": "metrics.json",
    "contract": "contract.json",
    "labels": "labels.txt",
}


@dataclass(frozen=True, eq=False)
class Outputs:
    """What is to be written.

    Attributes:
        model: The Keras model with its best weights.
        contract: With the labels.
        facts: What the card tells.
        metrics: What `metrics.json` holds.
        guesses: On the validation set, for the worst mistakes.
        names: The file of each of its pictures.
        shown: position -> that picture as the model sees it.
        calibration: label index -> fitted pictures.
    """

    model: Any
    contract: Contract
    facts: CardFacts
    metrics: Mapping[str, Any]
    guesses: Guesses
    names: tuple[str, ...]
    shown: Any
    calibration: tuple[tuple[int, images.Picture], ...]


def work_folder_of(output: Path) -> Path:
    """Where the state of a training that is not over lies: `m.training` for `m.keras`."""
    return output.with_name(f"{output.stem}.training")


def write(output: Path, staging: Path, outputs: Outputs) -> None:
    """Writes the model and its folder; an older folder is replaced.

    Args:
        output: The model's file.
        staging: A folder on the same disk, where all is made ready; what is in it is removed.
        outputs: What is written.

    Raises:
        RuntimeFailure: The disk is full, or something can't be written there.
    """
    try:
        shutil.rmtree(staging, ignore_errors=True)  # left by a run that was killed
        folder, model = staging / "folder", staging / "model.keras"
        folder.mkdir(parents=True)
        _fill(folder, outputs)
        outputs.model.save(model)
        keras_file.add_contract(model, outputs.contract)
        with model.open("rb") as file:
            os.fsync(file.fileno())
        _put(folder, model, output, staging / "old")
    except OSError as error:
        raise RuntimeFailure(
            f"{output}: could not be written ({error.strerror or error})",
            "Free some space, then go on with --resume.",
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _put(folder: Path, model: Path, output: Path, old: Path) -> None:
    """Gives both their names, the folder first; where that doesn't succeed, all is as it was."""
    final = keras_file.folder_beside(output)
    try:
        if final.exists():
            final.replace(old)
        folder.replace(final)
        model.replace(output)
    except BaseException:  # Ctrl-C too
        if model.exists() and final.exists() and not folder.exists():
            final.replace(folder)
        if old.exists() and not final.exists():
            old.replace(final)
        raise


def _fill(folder: Path, outputs: Outputs) -> None:
    facts, contract = outputs.facts, outputs.contract
    accuracy = facts.results["val"]
    labels = facts.data.labels
    panel = confusion.Panel(Path(facts.model.path).name, accuracy.confusion, labels)
    contents = {
        "curves": curves.curves_png(facts.training.history, facts.training.kept),
        "confusion": confusion.as_png([panel]),
        "reliability": calibration.reliability_png(accuracy.calibration),
        "mistakes": _mistakes(outputs, labels),
        "metrics": (json.dumps(outputs.metrics, indent=2, ensure_ascii=False) + "\n").encode(),
        "contract": contract.to_json().encode(),
        "labels": ("\n".join(labels) + "\n").encode(),
    }
    for role, data in contents.items():
        (folder / FILES[role]).write_bytes(data)
    (folder / "README.md").write_text(model_card.model_card(facts), encoding="utf-8")
    kept = folder / keras_file.CALIBRATION
    kept.mkdir()
    for number, (label, picture) in enumerate(outputs.calibration):
        # The leading number is the class: `edgekit convert` chooses evenly by it.
        _write_png(kept / f"{label}_class-{number:04}.png", picture)


def _mistakes(outputs: Outputs, labels: tuple[str, ...]) -> bytes:
    guesses = outputs.guesses
    worst = guesses.worst()
    return contact_sheet.contact_sheet_jpeg(
        outputs.shown(worst),
        [
            contact_sheet.Guess(
                outputs.names[i],
                labels[int(guesses.truth[i])],
                labels[int(guesses.top1[i])],
                float(guesses.confidence[i]),
            )
            for i in worst
        ],
    )


def _write_png(path: Path, picture: images.Picture) -> None:
    ok, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not ok:
        raise RuntimeFailure(f"{path}: OpenCV could not encode a picture as PNG")
    path.write_bytes(data.tobytes())
