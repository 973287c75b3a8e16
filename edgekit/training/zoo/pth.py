"""Reads PyTorch state dicts in the legacy format (before torch 1.6), without torch.

Such a file is five pickles in a row (magic number, protocol version, system information, the state
dict, the storage keys) and then the raw storages. A pickle can run any code when it is loaded; the
unpickler here builds only the two things that a state dict is made of, and refuses everything else.

Source of the format: `_legacy_save` and `_legacy_load` in torch/serialization.py.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import UnreadableError

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001

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
    """Reads all tensors of a legacy `.pth` file.

    Returns:
        name -> array, in the file's order, C-contiguous.

    Raises:
        UnreadableError: The file is missing, of another format, damaged, or asks for anything but
            plain tensors.
    """
    try:
        data = path.read_bytes()
        return _read(data)
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}") from error
    except (
        pickle.UnpicklingError,
        struct.error,
        EOFError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        UnicodeDecodeError,
    ) as error:
        raise UnreadableError(
            f"{path}: not a PyTorch state dict in the legacy format ({error})",
            "Reinstall the package that carries it, or give the file as it was published.",
        ) from error


def _read(data: bytes) -> dict[str, npt.NDArray[np.generic]]:
    file = io.BytesIO(data)
    if _StateDictUnpickler(file).load() != _MAGIC_NUMBER:
        raise ValueError("wrong magic number")
    if _StateDictUnpickler(file).load() != _PROTOCOL_VERSION:
        raise ValueError("wrong protocol version")
    if not _StateDictUnpickler(file).load()["little_endian"]:
        raise ValueError("written on a big-endian machine")
    specs: dict[str, _TensorSpec] = dict(_StateDictUnpickler(file).load())
    keys: list[str] = _StateDictUnpickler(file).load()
    dtypes = {spec.key: spec.dtype for spec in specs.values()}
    storages = {key: _read_storage(file, dtypes[key]) for key in keys}
    return {name: _view(spec, storages[spec.key]) for name, spec in specs.items()}


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
    """Builds ordered dicts and tensor descriptions; refuses every other class or function."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no tensor")

    def persistent_load(self, pid: Any) -> tuple[str, np.dtype[Any], int]:
        kind, dtype, key, _device, elements, view = pid
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError("a storage of an unknown kind")
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
