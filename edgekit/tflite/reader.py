"""Reads a .tflite file of unknown origin: decoded within its bounds, then checked for sense.

The native loader trusts much of what it reads. `read` lets nothing through that contradicts itself
in the ways found so far to crash it; `edgekit.runtime.check_in_child` is there for the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from edgekit.errors import UnreadableError
from edgekit.tflite import schema, soundness
from edgekit.tflite.flatbuffer import Fields, Malformed, Reader, Schema
from edgekit.tflite.model import Model, Operator, Signature, Subgraph, Tensor
from edgekit.tflite.sniff import describe

SCHEMA = Schema(schema.MODEL_TABLES, schema.UNIONS)
_HINT = "The file is damaged, cut off, or of a kind edgekit doesn't know; get or convert it again."


def read(data: bytes, where: str) -> Model:
    """Reads a .tflite file; what follows the flatbuffer (a zip with metadata) is left alone.

    Args:
        data: The bytes of the file. The model refers to them; nothing is copied.
        where: The file they came from, for the error.

    Raises:
        UnreadableError: It is another kind of file, or a damaged or contradictory one.
    """
    return _read(data, where)[0]


def read_fields(data: bytes, where: str) -> Fields:
    """Reads a .tflite file as the fields of its root table, to write it again.

    Buffers and custom options that lie behind the flatbuffer have been brought inside.

    Raises:
        UnreadableError: As `read`, and where the file holds what this edgekit would drop.
    """
    _, root, complete = _read(data, where)
    if not complete:
        raise UnreadableError(
            f"{where}: holds parts of a newer .tflite schema, which this edgekit can't write back",
            "Use a newer edgekit.",
        )
    return root


def _read(data: bytes, where: str) -> tuple[Model, Fields, bool]:
    if data[4:8] != schema.FILE_IDENTIFIER:
        what, hint = describe(data)
        raise UnreadableError(f"{where}: not a .tflite file ({what})", hint)
    try:
        reader = Reader(data, SCHEMA)
        root = reader.root("Model")
        soundness.check_root(root)
        end = max(reader.end, _bring_inside(root, memoryview(data)))
        model = _model(root, end)
        soundness.check_model(model)
    except Malformed as error:
        raise UnreadableError(f"{where}: not a sound .tflite file: {error}", _HINT) from error
    return model, root, reader.complete


def _bring_inside(root: Fields, data: memoryview) -> int:
    """Resolves what is given by its place in the file, as some converters do with all weights.

    Returns:
        The position after the last byte of it.
    """
    end = 0
    parts = [
        (buffer, "data", "offset", "size", f"buffers[{i}]")
        for i, buffer in enumerate(root["buffers"])
    ]
    parts += [
        (
            operator,
            "custom_options",
            "large_custom_options_offset",
            "large_custom_options_size",
            f"subgraphs[{g}].operators[{i}].custom_options",
        )
        for g, graph in enumerate(root["subgraphs"])
        for i, operator in enumerate(graph["operators"])
    ]
    for fields, content, offset, size, place in parts:
        start, count = fields[offset], fields[size]
        fields[offset] = fields[size] = 0
        # The native loader takes 0 and 1 as "not given", and what is inside first.
        if len(fields[content]) or start <= 1 or count <= 1:
            continue
        if start + count > len(data):
            raise Malformed(
                f"{place}: bytes {start} to {start + count} are asked for, but the file has "
                f"{len(data)}"
            )
        fields[content] = data[start : start + count]
        end = max(end, start + count)
    return end


def _model(root: Fields, size: int) -> Model:
    buffers = tuple(memoryview(buffer["data"] or b"") for buffer in root["buffers"])
    codes = [_operator_code(code) for code in root["operator_codes"]]
    return Model(
        version=root["version"],
        description=root["description"] or "",
        subgraphs=tuple(_subgraph(graph, codes) for graph in root["subgraphs"]),
        metadata={entry["name"] or "": buffers[entry["buffer"]] for entry in root["metadata"]},
        signatures=tuple(
            Signature(
                entry["signature_key"] or "",
                {pair["name"] or "": pair["tensor_index"] for pair in entry["inputs"]},
                {pair["name"] or "": pair["tensor_index"] for pair in entry["outputs"]},
                entry["subgraph_index"],
            )
            for entry in root["signature_defs"]
        ),
        buffers=buffers,
        size=size,
    )


class _Code(NamedTuple):
    name: str
    custom: bool
    version: int


def _operator_code(code: Fields) -> _Code:
    # Codes past 127 don't fit in the older of the two fields.
    number = max(code["builtin_code"], code["deprecated_builtin_code"])
    if number == schema.CUSTOM_OPERATOR:
        return _Code(code["custom_code"], True, code["version"])
    known = number < len(schema.OPERATORS)
    name = schema.OPERATORS[number] if known else f"BUILTIN_{number}"
    return _Code(name, False, code["version"])


def _subgraph(graph: Fields, codes: list[_Code]) -> Subgraph:
    return Subgraph(
        name=graph["name"] or "",
        tensors=tuple(_tensor(i, tensor) for i, tensor in enumerate(graph["tensors"])),
        inputs=_integers(graph["inputs"]),
        outputs=_integers(graph["outputs"]),
        operators=tuple(
            Operator(
                i,
                codes[operator["opcode_index"]].name,
                codes[operator["opcode_index"]].custom,
                codes[operator["opcode_index"]].version,
                _integers(operator["inputs"]),
                _integers(operator["outputs"]),
                _options(operator),
            )
            for i, operator in enumerate(graph["operators"])
        ),
    )


def _tensor(index: int, tensor: Fields) -> Tensor:
    quantization = tensor["quantization"] or {}
    shape = _integers(tensor["shape"])
    return Tensor(
        index=index,
        name=tensor["name"] or "",
        shape=shape,
        shape_signature=_integers(tensor["shape_signature"]) or shape,
        dtype=schema.TENSOR_TYPES[tensor["type"]],
        buffer=tensor["buffer"],
        scales=np.asarray(quantization.get("scale", ()), np.float32),
        zero_points=np.asarray(quantization.get("zero_point", ()), np.int64),
        quantized_dimension=quantization.get("quantized_dimension", 0),
        is_variable=tensor["is_variable"],
        sparse=tensor["sparsity"] is not None,
    )


def _options(operator: Fields) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for union in ("builtin_options", "builtin_options2"):
        if operator[union] is not None:
            options.update(operator[union][1])
    for name, value in options.items():
        if name == "fused_activation_function":
            options[name] = _named(value, schema.ACTIVATIONS)
        elif name == "padding" and isinstance(value, int):
            options[name] = _named(value, schema.PADDINGS)
        elif isinstance(value, np.ndarray):
            options[name] = tuple(value.tolist())
    return options


def _named(code: int, names: tuple[str, ...]) -> str:
    return names[code] if 0 <= code < len(names) else f"UNKNOWN_{code}"


def _integers(values: Iterable[int]) -> tuple[int, ...]:
    return tuple(values.tolist()) if isinstance(values, np.ndarray) else tuple(values)
