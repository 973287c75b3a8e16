"""Editing a .tflite file: its root table as plain dictionaries, and back to bytes."""

from __future__ import annotations

from edgekit.tflite.flatbuffer import Fields, Writer
from edgekit.tflite.reader import SCHEMA, read_fields
from edgekit.tflite.schema import FILE_IDENTIFIER, OPERATORS

_LARGEST_OLD_CODE = 127

#: The fields of the root table of a sound file (`edgekit.tflite.schema.MODEL_TABLES` names them).
edit = read_fields


def operator_code(name: str, version: int = 1) -> Fields:
    """A row of a root table's `operator_codes` for a builtin operator."""
    code = OPERATORS.index(name)
    return {
        # Readers older than the field `builtin_code` look here; 0 would be ADD.
        "deprecated_builtin_code": min(code, _LARGEST_OLD_CODE),
        "builtin_code": code,
        "version": version,
    }


def write(root: Fields) -> bytes:
    """The file of a root table; same fields, same bytes."""
    return bytes(Writer(SCHEMA).finish("Model", root, FILE_IDENTIFIER))
