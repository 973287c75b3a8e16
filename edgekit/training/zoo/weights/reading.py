"""Tells what a file of weights is by its content, and reads it. Imports Keras."""

from __future__ import annotations

import zipfile
from pathlib import Path

from edgekit.errors import UnreadableError
from edgekit.training.zoo.catalogue.description import Entry
from edgekit.training.zoo.weights import keras_files, pth, torch_layouts
from edgekit.training.zoo.weights.stored import Weights

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def read(path: Path, entry: Entry) -> Weights:
    """Reads a file of weights for a model.

    Args:
        path: A `.keras` file, `.h5` weights of Keras, or a PyTorch state dict.
        entry: The model.

    Raises:
        UnreadableError: It is missing, damaged, or none of these.
        UsageError: It is a state dict of a layout that isn't known for this model.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise UnreadableError(
            f"{path}: {error.strerror or error}",
            "Give a file of weights: .keras, .h5 or .pth; or --weights none.",
        ) from error
    if head == _HDF5_SIGNATURE:
        return keras_files.read_hdf5(path, entry)
    if head.startswith(b"PK") and _holds(path, "config.json"):
        return keras_files.read_keras(path, entry)
    return torch_layouts.read_torch(path, entry, pth.read_state_dict(path))


def _holds(path: Path, member: str) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return member in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UnreadableError(
            f"{path}: a damaged zip ({error})", "Save or copy the file again."
        ) from error
