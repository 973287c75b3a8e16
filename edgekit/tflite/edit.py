"""Editing a .tflite file: its root table as plain dictionaries, and back to bytes."""

from __future__ import annotations

from edgekit.tflite.flatbuffer import Fields, Writer
from edgekit.tflite.reader import SCHEMA, read_fields
from edgekit.tflite.schema import FILE_IDENTIFIER

#: The fields of the root table of a sound file (`edgekit.tflite.schema.MODEL_TABLES` names them).
edit = read_fields


def write(root: Fields) -> bytes:
    """The file of a root table; same fields, same bytes."""
    return bytes(Writer(SCHEMA).finish("Model", root, FILE_IDENTIFIER))
