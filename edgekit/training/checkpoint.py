"""The state of a training on the disk: written whole or not at all, and read back to go on.

Everything that decides what comes next is in it: weights, optimizer, random states, the place in
the epoch, the best weights so far. What a picture looks like in an epoch and the order they come in
need no state: they are functions of the seed and the epoch (`feeding.loader`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import RuntimeFailure, UnreadableError
from edgekit.types import EpochRow

SCHEMA = "edgekit.training/1"
_STATE = "state.npz"
Arrays = Mapping[str, npt.NDArray[np.generic]]


@dataclass
class State:
    """Where a training is.

    Attributes:
        request: What the run was asked for; another request can't go on from here.
        phase: The name of the phase that runs, or is next.
        epoch: Of that phase, from 0: the epoch that runs.
        step: Steps of it that are done.
        loss: Their summed loss.
        hits: Their hits.
        count: Their pictures.
        planned: Epochs of the phase, where a time budget changed it, or None.
        pieces: In how many pieces a step goes through the memory.
        seconds: Spent so far, over all runs.
        epoch_seconds: Spent in the epoch that runs.
        history: The epochs that are done.
        best: The position in `history` of the best epoch, or None.
        best_file: The file in the folder that holds its weights.
        stopped: Why training ended early, in words.
        warnings: What happened on the way.
        stages: Stage -> seconds.
        done: Whether training is over and only the outputs are to be written.
    """

    request: dict[str, Any]
    phase: str = ""
    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    hits: float = 0.0
    count: int = 0
    planned: int | None = None
    pieces: int = 1
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    history: list[EpochRow] = field(default_factory=list)
    best: int | None = None
    best_file: str | None = None
    stopped: str | None = None
    warnings: list[str] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    done: bool = False


class Checkpoint:
    """A folder that holds the state of one training.

    Args:
        folder: Made when the first state is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def exists(self) -> bool:
        """Whether there is a state to go on from."""
        return (self.folder / _STATE).is_file()

    def save(self, state: State, arrays: Arrays) -> None:
        """Writes the state and the variables of the running phase.

        Raises:
            RuntimeFailure: The disk is full, or the folder can't be written to.
        """
        document = {"schema": SCHEMA, **dataclasses.asdict(state)}
        text = np.frombuffer(json.dumps(document).encode(), np.uint8)
        self._write(_STATE, {"state": text, **arrays})
        self._sweep(state)

    def save_best(self, name: str, arrays: Arrays) -> None:
        """Writes the weights of the best epoch, before the state that names them.

        Raises:
            RuntimeFailure: As `save`.
        """
        self._write(name, arrays)

    def load(self) -> tuple[State, dict[str, npt.NDArray[np.generic]]]:
        """Reads the state back.

        Raises:
            UnreadableError: The file is damaged or of another version.
        """
        arrays = self.load_arrays(_STATE)
        try:
            document = json.loads(arrays.pop("state").tobytes())
            if document.pop("schema") != SCHEMA:
                raise ValueError("another version wrote it")
            document["history"] = [EpochRow(**row) for row in document["history"]]
            return State(**document), arrays
        except (ValueError, KeyError, TypeError) as error:
            raise self._unreadable(_STATE, error) from error

    def load_arrays(self, name: str) -> dict[str, npt.NDArray[np.generic]]:
        """Reads the arrays of one file.

        Raises:
            UnreadableError: The file is missing or damaged.
        """
        try:
            with np.load(self.folder / name, allow_pickle=False) as file:
                return dict(file)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise self._unreadable(name, error) from error

    def remove(self) -> None:
        """Removes the folder when it is no longer needed.

        The state goes first: one that names weights which are gone could not be gone on from.
        """
        (self.folder / _STATE).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, name: str, arrays: Arrays) -> None:
        """Straight to the disk: a copy in memory would double what a large model needs."""
        temporary = self.folder / f"{name}.part"
        try:
            self.folder.mkdir(exist_ok=True)
            with temporary.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.folder / name)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise RuntimeFailure(
                f"{self.folder}: the state can't be kept there ({error.strerror or error})",
                "Free some space or choose another place with -o.",
            ) from error

    def _sweep(self, state: State) -> None:
        """Removes what killed runs left, and weights that are no longer the best."""
        for file in self.folder.iterdir():
            if file.is_file() and file.name not in (_STATE, state.best_file):
                file.unlink(missing_ok=True)

    def _unreadable(self, name: str, error: Exception) -> UnreadableError:
        return UnreadableError(
            f"{self.folder / name}: the state of the training can't be read ({error})",
            f"Remove the folder {self.folder} and train again.",
        )


def values_of(variables: Sequence[Any]) -> dict[str, npt.NDArray[np.generic]]:
    """The values of variables, by position."""
    return {f"{i:05}": np.asarray(v.numpy()) for i, v in enumerate(variables)}


def assign(variables: Sequence[Any], arrays: Arrays) -> None:
    """Gives variables the values of `values_of`.

    Raises:
        UnreadableError: They are the values of other variables.
    """
    names = [f"{i:05}" for i in range(len(variables))]
    if sorted(arrays) != names or any(
        arrays[name].shape != tuple(variable.shape)
        for name, variable in zip(names, variables, strict=True)
    ):
        raise UnreadableError(
            "the state of the training doesn't fit the model: another version of edgekit or Keras "
            "wrote it",
            "Train anew with --force.",
        )
    for name, variable in zip(names, variables, strict=True):
        variable.assign(arrays[name])
