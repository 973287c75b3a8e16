"""The contract inside a `.keras` file: one more member, `edgekit.json`, of its zip.

It travels with the model wherever that is copied, and Keras ignores it. (A file beside the model,
`m.contract.json`, does the same for formats that can't carry it.)
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from edgekit.contract import Contract

MEMBER = "edgekit.json"
#: The folder of training pictures in the one beside a model.
CALIBRATION = "calibration"
_MAX_BYTES = 4 << 20


def add_contract(path: Path, contract: Contract) -> None:
    """Adds the contract to a `.keras` file that has none yet."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(MEMBER, contract.to_json())


def sidecar(path: Path) -> Path:
    """The name of the contract file beside a model: `m.contract.json` for `m.h5`."""
    return path.with_name(f"{path.stem}.contract.json")


def folder_beside(path: Path) -> Path:
    """The folder that a training leaves beside its model: `m.edgekit` for `m.keras`."""
    return path.with_name(f"{path.stem}.edgekit")


def calibration_beside(path: Path) -> Path:
    """Where training pictures are kept as the model takes them, to calibrate on."""
    return folder_beside(path) / CALIBRATION


def read_contract(path: Path) -> tuple[Contract, str] | None:
    """The contract in a `.keras` file or beside any model, and where it was found.

    Args:
        path: The model; a `.keras` file must be a sound zip.

    Raises:
        UnreadableError: There is one, and it can't be read.
    """
    if path.is_file() and _is_archive(path):
        with zipfile.ZipFile(path) as archive:
            if MEMBER in archive.namelist() and archive.getinfo(MEMBER).file_size <= _MAX_BYTES:
                return Contract.from_json(archive.read(MEMBER), str(path)), f"{path.name} itself"
    return read_sidecar(path)


def read_sidecar(path: Path) -> tuple[Contract, str] | None:
    """The contract in the file beside a model, and that file's name.

    Raises:
        UnreadableError: There is one, and it can't be read.
    """
    beside = sidecar(path)
    if beside.is_file() and beside.stat().st_size <= _MAX_BYTES:
        return Contract.from_json(beside.read_bytes(), str(beside)), beside.name
    return None


def _is_archive(path: Path) -> bool:
    """Whether a file begins as a zip; an HDF5 file may have one behind it that means nothing."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"
