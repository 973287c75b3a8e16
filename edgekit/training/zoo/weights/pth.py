"""Reads PyTorch state dicts without torch.

Since torch 1.6 such a file is an uncompressed zip: one pickle, and a member per storage. Before, it
was five pickles in a row (magic number, protocol version, system information, the state dict, the
storage keys) and then the raw storages. A pickle can run any code when it is loaded; the unpickler
here builds only the two things that a state dict is made of, and refuses everything else.

Source of the formats: `_save`, `_load`, `_legacy_save` and `_legacy_load` in
torch/serialization.py.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import UnreadableError

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001

#: Where training scripts keep the state dict in a checkpoint.
_STATE_KEYS = ("state_dict", "model_state_dict", "model")
#: What DataParallel, torch.compile and Lightning put before every name.
_PREFIXES = ("module.", "_orig_mod.", "model.")

_STORAGE_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}


@dataclass(frozen=True)
class _TensorSpec:
    """A tensor as the pickle describes it: a strided view of a storage still to be read."""

    key: str
    dtype: np.dtype[Any]
    elements: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_state_dict(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Reads the tensors of a state dict, or of the one in a training checkpoint.

    Returns:
        name -> array, in the file's order, C-contiguous; a prefix that wrappers put before all
        names (`module.`) is taken off.

    Raises:
        UnreadableError: The file is missing, of another format, damaged, or asks for anything but
            plain tensors.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK"
        return _read_zip(path) if is_zip else _read_legacy(path.read_bytes())
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}") from error
    except (
        pickle.UnpicklingError,
        struct.error,
        zipfile.BadZipFile,
        EOFError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        UnicodeDecodeError,
        NotImplementedError,
        RecursionError,
        RuntimeError,
    ) as error:
        raise UnreadableError(
            f"{path}: not a PyTorch state dict ({error})",
            "Give the file as it was published, or what torch.save(model.state_dict(), FILE) "
            "writes.",
        ) from error


def _read_legacy(data: bytes) -> dict[str, npt.NDArray[np.generic]]:
    file = io.BytesIO(data)
    if _StateDictUnpickler(file).load() != _MAGIC_NUMBER:
        raise ValueError("wrong magic number")
    if _StateDictUnpickler(file).load() != _PROTOCOL_VERSION:
        raise ValueError("wrong protocol version")
    if not _StateDictUnpickler(file).load()["little_endian"]:
        raise ValueError("written on a big-endian machine")
    unpickler = _StateDictUnpickler(file)
    specs = _specs(unpickler.load())
    keys: list[str] = _StateDictUnpickler(file).load()
    storages = {key: _read_storage(file, unpickler.dtypes[key]) for key in keys}
    return {name: _view(spec, storages[spec.key]) for name, spec in specs.items()}


def _read_zip(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"a zip with {len(pickles)} members data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("a compressed zip, which torch doesn't write")
        if f"{folder}byteorder" in archive.namelist():
            order = archive.read(f"{folder}byteorder")
            if order != b"little":
                raise ValueError(f"written in the byte order {order!r}")
        specs = _specs(_StateDictUnpickler(io.BytesIO(archive.read(pickles[0]))).load())
        storages: dict[str, npt.NDArray[np.generic]] = {}
        state = {}
        for name, spec in specs.items():
            if spec.key not in storages:
                raw = archive.read(f"{folder}data/{spec.key}")
                storages[spec.key] = np.frombuffer(raw, spec.dtype)
            state[name] = _view(spec, storages[spec.key])
        return state


def _specs(loaded: Any) -> dict[str, _TensorSpec]:
    """The tensors of a state dict by name, found in the checkpoint that holds it."""
    key = next((key for key in _STATE_KEYS if isinstance(loaded.get(key), dict)), None)
    state = loaded if key is None else loaded[key]
    for name, spec in state.items():
        if not isinstance(spec, _TensorSpec):
            raise ValueError(f"{name} is no tensor")
    prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in state)), "")
    return {name[len(prefix) :]: spec for name, spec in state.items()}


def _read_storage(file: io.BytesIO, dtype: np.dtype[Any]) -> npt.NDArray[np.generic]:
    (elements,) = struct.unpack("<q", file.read(8))
    raw = file.read(elements * dtype.itemsize) if elements >= 0 else b""
    if elements < 0 or len(raw) != elements * dtype.itemsize:
        raise ValueError("a storage is cut off")
    return np.frombuffer(raw, dtype)


def _view(spec: _TensorSpec, storage: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    if min((spec.offset, *spec.shape, *spec.strides), default=0) < 0:
        raise ValueError("a tensor has a negative size")
    last = spec.offset + sum((n - 1) * s for n, s in zip(spec.shape, spec.strides, strict=True))
    if 0 not in spec.shape and last >= storage.size:
        raise ValueError("a tensor reaches past its storage")
    size = storage.dtype.itemsize
    view = np.lib.stride_tricks.as_strided(
        storage[spec.offset :], spec.shape, [s * size for s in spec.strides], writeable=False
    )
    return view.copy()  # C-contiguous; np.ascontiguousarray would turn a scalar into a vector


class _StateDictUnpickler(pickle.Unpickler):
    """Builds ordered dicts and tensor descriptions; refuses every other class or function.

    Attributes:
        dtypes: Storage key -> type, of the storages that were asked for.
    """

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.dtypes: dict[str, np.dtype[Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no tensor")

    def persistent_load(self, pid: Any) -> tuple[str, np.dtype[Any], int]:
        # The legacy format has a sixth item, a view of the storage.
        kind, dtype, key, _device, elements, *view = pid
        if kind != "storage" or view not in ([], [None]):
            raise pickle.UnpicklingError("a storage of an unknown kind")
        self.dtypes[str(key)] = dtype
        return str(key), dtype, int(elements)


def _rebuild_tensor(
    storage: tuple[str, np.dtype[Any], int],
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *_unused: object,
) -> _TensorSpec:
    key, dtype, elements = storage
    return _TensorSpec(key, dtype, elements, int(offset), tuple(shape), tuple(strides))
