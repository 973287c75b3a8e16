"""The file of golden vectors: a zip of `golden.json` and, for each vector, three files.

`NAME.png` is the picture, `NAME.input` and `NAME.output` are the raw bytes of the model's tensors.
`golden.json` says which model they are of, what ran it, its contract, and the SHA-256 of the pixels
after decoding and after fitting, in RGB.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit import zipped
from edgekit.contract import Contract
from edgekit.errors import EdgekitError, UnreadableError, UsageError
from edgekit.types import TensorInfo

SCHEMA_VERSION = 1
#: The zip inside a .tflite file.
EMBEDDED = "golden.zip"

_INDEX = "golden.json"
#: The largest member: a float32 input of 2048 x 2048 pixels has 48 MiB.
_MOST_BYTES = 64 << 20
#: What values of the wrong kind lead to.
_NONSENSE = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)
_MAKE_ANEW = "Make it anew: edgekit convert writes it beside the model."


@dataclass(frozen=True)
class Vector:
    """One picture, and what is right for it.

    Attributes:
        name: Of its files.
        picture: The bytes of a PNG file.
        decoded_sha256: Of its pixels: uint8[H, W, 3], RGB.
        fitted_sha256: Of the pixels fitted to the model's input: uint8[height, width, 3], RGB.
        input: The bytes of the model's input.
        output: The bytes of its output.
        answer: The class, where it leads so clearly that any sound runtime gives it; or None.
    """

    name: str
    picture: bytes
    decoded_sha256: str
    fitted_sha256: str
    input: bytes
    output: bytes
    answer: int | None


@dataclass(frozen=True)
class Golden:
    """The golden vectors of one model.

    Attributes:
        model: The file's name.
        graph_bytes: Size of its flatbuffer, without the zip behind it.
        graph_sha256: Of that, so that a contract changed in the zip is told from another model.
        runtime: What ran it, such as `ai-edge-litert 2.3.0`.
        machine: The processor's architecture, such as `x86_64`.
        contract: How the pictures were prepared.
        input: The model's input.
        output: The model's output.
        vectors: The pictures.
    """

    model: str
    graph_bytes: int
    graph_sha256: str
    runtime: str
    machine: str
    contract: Contract
    input: TensorInfo
    output: TensorInfo
    vectors: tuple[Vector, ...]

    def require_of(self, model: bytes, where: str, golden: str) -> None:
        """Checks that these are the golden vectors of a model.

        Args:
            model: The bytes of the .tflite file.
            where: What it is called.
            golden: What these vectors are called.

        Raises:
            UsageError: They are of another model.
        """
        graph = model[: zipped.start(model)]
        if (len(graph), _sha256(graph)) != (self.graph_bytes, self.graph_sha256):
            raise UsageError(
                f"{golden}: the golden vectors of another model ({self.model}), not of {where}",
                "Convert the model again, or take the golden file that came with it.",
            )

    def moved_to(self, model: bytes, name: str) -> Golden:
        """The same vectors for another file of the same classifier: compiled for an accelerator."""
        graph = model[: zipped.start(model)]
        return dataclasses.replace(
            self, model=name, graph_bytes=len(graph), graph_sha256=_sha256(graph)
        )

    def to_zip(self) -> bytes:
        """The file; same vectors, same bytes."""
        files = {_INDEX: (json.dumps(self._index(), indent=2) + "\n").encode()}
        for vector in self.vectors:
            files[f"{vector.name}.png"] = vector.picture
            files[f"{vector.name}.input"] = vector.input
            files[f"{vector.name}.output"] = vector.output
        return zipped.append(b"", files)

    def _index(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA_VERSION,
            "model": {
                "file": self.model,
                "graph_bytes": self.graph_bytes,
                "graph_sha256": self.graph_sha256,
            },
            "made_with": {"runtime": self.runtime, "machine": self.machine},
            "contract": self.contract.to_dict(),
            "input": dataclasses.asdict(self.input),
            "output": dataclasses.asdict(self.output),
            "vectors": [
                {
                    "name": v.name,
                    "decoded_sha256": v.decoded_sha256,
                    "fitted_sha256": v.fitted_sha256,
                    "answer": v.answer,
                }
                for v in self.vectors
            ],
        }


def of_model(
    model: bytes,
    *,
    name: str,
    runtime: str,
    machine: str,
    contract: Contract,
    ends: tuple[TensorInfo, TensorInfo],
    vectors: tuple[Vector, ...],
) -> Golden:
    """Golden vectors of the bytes of a .tflite file; `ends` are its input and output."""
    graph = model[: zipped.start(model)]
    return Golden(
        name, len(graph), _sha256(graph), runtime, machine, contract, ends[0], ends[1], vectors
    )


def beside(model: Path) -> Path:
    """Where the golden vectors of a .tflite file are: `m.golden.zip`."""
    return model.with_suffix(".golden.zip")


def find(path: Path, model: bytes, chosen: Path | None = None) -> tuple[Golden, str]:
    """The golden vectors of a model and where they were found.

    Args:
        path: The .tflite file.
        model: Its bytes.
        chosen: The golden file; by default the one beside the model, or else the one inside.

    Raises:
        UsageError: There are none, or they are of another model.
        UnreadableError: They are damaged.
    """
    found = look_for(path, model, chosen)
    if found is None:
        raise UsageError(
            f"{path}: no golden vectors, neither in {beside(path).name} beside it nor inside",
            f"{_MAKE_ANEW} Elsewhere: --golden FILE.zip",
        )
    return found


def look_for(path: Path, model: bytes, chosen: Path | None = None) -> tuple[Golden, str] | None:
    """The same as `find`, but None where there are none."""
    place = chosen or beside(path)
    if chosen is not None or place.is_file():
        try:
            data, where = place.read_bytes(), str(place)
        except OSError as error:
            raise UnreadableError(f"{place}: {error.strerror or error}", _MAKE_ANEW) from error
    else:
        inside = zipped.member(model, EMBEDDED, str(path), _MOST_BYTES)
        if inside is None:
            return None
        data, where = inside, f"{EMBEDDED} in {path}"
    golden = read(data, where)
    golden.require_of(model, str(path), where)
    return golden, where


def read(data: bytes, where: str) -> Golden:
    """Reads the file.

    Args:
        data: Its bytes.
        where: What it is called, for errors.

    Raises:
        UnreadableError: It is damaged, or of a newer schema.
    """
    index = zipped.member(data, _INDEX, where)
    if index is None:
        raise UnreadableError(f"{where}: no file of golden vectors (no {_INDEX} in it)", _MAKE_ANEW)
    try:
        document = json.loads(index)
        if document["schema"] != SCHEMA_VERSION:
            raise UnreadableError(
                f"{where}: schema {document['schema']!r}, this edgekit reads {SCHEMA_VERSION}",
                "Use a newer edgekit.",
            )
        return _golden(document, data, where)
    except UnreadableError:
        raise
    except (EdgekitError, *_NONSENSE) as error:
        raise UnreadableError(
            f"{where}: its {_INDEX} makes no sense ({error})", _MAKE_ANEW
        ) from error


def _golden(document: Mapping[str, Any], data: bytes, where: str) -> Golden:
    model, made = document["model"], document["made_with"]
    ends = [_tensor(document[end]) for end in ("input", "output")]
    vectors = tuple(_vector(entry, data, where) for entry in document["vectors"])
    if not vectors:
        raise ValueError("no vectors")
    for vector in vectors:
        for end, found in zip(ends, (vector.input, vector.output), strict=True):
            if len(found) != end.nbytes:
                raise ValueError(f"{vector.name}: {len(found)} bytes for {end.name}")
    return Golden(
        str(model["file"]),
        int(model["graph_bytes"]),
        str(model["graph_sha256"]),
        str(made["runtime"]),
        str(made["machine"]),
        Contract.from_dict(document["contract"]),
        ends[0],
        ends[1],
        vectors,
    )


def _tensor(values: Mapping[str, Any]) -> TensorInfo:
    return TensorInfo(**{**values, "shape": tuple(int(n) for n in values["shape"])})


def _vector(entry: Mapping[str, Any], data: bytes, where: str) -> Vector:
    name, answer = str(entry["name"]), entry["answer"]
    files = []
    for kind in ("png", "input", "output"):
        content = zipped.member(data, f"{name}.{kind}", where, _MOST_BYTES)
        if content is None:
            raise ValueError(f"{name}.{kind} is missing")
        files.append(content)
    return Vector(
        name,
        files[0],
        str(entry["decoded_sha256"]),
        str(entry["fitted_sha256"]),
        files[1],
        files[2],
        None if answer is None else int(answer),
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
