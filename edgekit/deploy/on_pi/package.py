"""The folder that was shipped: which models are in it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import UnreadableError

INDEX = "package.json"
SCHEMA_VERSION = 1
_MEND = "Copy the package there again, or make it anew: edgekit bundle pi"


@dataclass(frozen=True)
class Entry:
    """A model of the package.

    Attributes:
        model: The name of its .tflite file.
        sha256: Of that file.
        golden: The name of its golden vectors' file.
    """

    model: str
    sha256: str
    golden: str


@dataclass(frozen=True)
class Package:
    """What is in the folder.

    Attributes:
        name: The model's.
        edgekit: The version that made it.
        cpu: The model for the CPU.
        edgetpu: The same, compiled for the Edge TPU, or None.
    """

    name: str
    edgekit: str
    cpu: Entry
    edgetpu: Entry | None

    def to_json(self) -> str:
        """The file `package.json`."""
        values = {"schema": SCHEMA_VERSION, **dataclasses.asdict(self)}
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def read(folder: Path) -> Package:
    """Reads `package.json`.

    Raises:
        UnreadableError: It isn't there, or makes no sense.
    """
    path = folder / INDEX
    try:
        values: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if values.pop("schema") != SCHEMA_VERSION:
            raise ValueError(f"a schema that is not {SCHEMA_VERSION}")
        compiled = values.pop("edgetpu")
        return Package(
            cpu=Entry(**values.pop("cpu")),
            edgetpu=None if compiled is None else Entry(**compiled),
            **values,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableError(f"{path}: can't be read ({error})", _MEND) from error


def read_model(folder: Path, entry: Entry) -> bytes:
    """The bytes of a model.

    Raises:
        UnreadableError: It isn't there, or isn't the file that was shipped.
    """
    path = folder / entry.model
    try:
        model = path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}", _MEND) from error
    if hashlib.sha256(model).hexdigest() != entry.sha256:
        raise UnreadableError(f"{path}: damaged, not the file that was shipped", _MEND)
    return model
