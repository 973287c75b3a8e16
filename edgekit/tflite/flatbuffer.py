"""Flatbuffers read and written by a schema that is data.

Format: https://flatbuffers.dev/internals. `Reader` checks every offset before it follows it. The
checks are those of the C++ `flatbuffers::Verifier`
(bounds and alignment of every table, vtable, field, vector and string) and one more: the work is
bounded by the size of the file, since offsets may share what they point at, and a small file could
otherwise ask for very much. `Writer` writes what `Reader` gave; same fields, same bytes.
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Where something stands, for messages: table names, field names and indices.
Path = tuple[str | int, ...]
Fields = dict[str, Any]

_SCALARS = {
    "bool": "?",
    "i8": "b",
    "u8": "B",
    "i16": "h",
    "u16": "H",
    "i32": "i",
    "u32": "I",
    "i64": "q",
    "u64": "Q",
    "f32": "f",
    "f64": "d",
}

#: A sound file is read once, and little in it is shared; a table takes 8 bytes at least.
_BYTES_READ_PER_BYTE = 2
_BYTES_PER_TABLE = 8
_ALWAYS_BYTES, _ALWAYS_TABLES = 1 << 16, 1 << 10
_MOST_TABLES = 300_000


class Malformed(ValueError):
    """The bytes are no sound flatbuffer of this schema; the message says what and where."""


@dataclass(frozen=True)
class Field:
    """One field of a table.

    Attributes:
        slot: Its place in the vtable; a union's value stands one slot after its type.
        name: Its name.
        kind: `scalar`, `string`, `table` or `union`.
        of: The struct format of a scalar; the name of a table or union.
        vector: Whether it is a vector of these.
        default: What a missing scalar means.
    """

    slot: int
    name: str
    kind: str
    of: str
    vector: bool
    default: int | bool


@dataclass(frozen=True, eq=False)
class Schema:
    """Tables and unions by name; how they are written says `edgekit.tflite.schema`."""

    tables: dict[str, str]
    unions: dict[str, tuple[str, ...]]

    @functools.cache  # noqa: B019 - schemas are constants
    def fields(self, table: str) -> tuple[Field, ...]:
        """The fields of a table."""
        fields, slot = [], 0
        for text in self.tables[table].split():
            name, _, rest = text.partition(":")
            kind, _, default = rest.partition("=")
            vector = kind.startswith("[")
            kind, of = kind.strip("[]"), ""
            if kind in _SCALARS:
                kind, of = "scalar", _SCALARS[kind]
            elif kind.startswith("union."):
                kind, of = "union", kind.removeprefix("union.")
            elif kind in self.tables:
                kind, of = "table", kind
            if name != "_":
                number = int(default or 0)
                fields.append(
                    Field(slot, name, kind, of, vector, bool(number) if of == "?" else number)
                )
            slot += 2 if kind == "union" else 1
        return tuple(fields)

    def slots(self, table: str) -> int:
        """The number of slots of a table."""
        fields = self.fields(table)
        return fields[-1].slot + (2 if fields[-1].kind == "union" else 1) if fields else 0


class Reader:
    """Decodes one buffer.

    Attributes:
        end: The position after the last byte that was reached so far.
        complete: Whether the schema knew everything so far: no field or union member was skipped.
    """

    def __init__(self, data: bytes | memoryview, schema: Schema) -> None:
        self.end = 0
        self.complete = True
        self._data = memoryview(data)
        self._schema = schema
        self._bytes_left = _ALWAYS_BYTES + _BYTES_READ_PER_BYTE * len(data)
        self._tables_left = min(_MOST_TABLES, _ALWAYS_TABLES + len(data) // _BYTES_PER_TABLE)

    def root(self, table: str) -> Fields:
        """The root table: its fields by name, and so at every depth.

        A missing scalar has its default; a missing vector is the empty tuple; a missing string,
        table or union is None. A union is a pair of its table's name and fields, or None for a
        member that the schema doesn't know. A vector of scalars is a numpy array, one of u8 a
        memoryview, both views on the buffer; other vectors are lists.

        Raises:
            Malformed: Something can't be followed.
        """
        return self._table(self._follow(0, (table,)), table, (table,))

    def _table(self, position: int, table: str | None, path: Path) -> Fields:
        """Decodes a table; of an unknown one (None) only its frame is checked."""
        self._tables_left -= 1
        if self._tables_left < 0:
            raise Malformed(f"{at(path)}: more tables than a file of this size can hold")
        size, slots = self._frame(position, path)
        if table is None:
            return {}
        fields: Fields = {}
        known = self._schema.fields(table)
        self.complete &= not any(slots[self._schema.slots(table) :])
        for field in known:
            inside = slots[field.slot] if field.slot < len(slots) else 0
            if field.kind == "union":
                value = slots[field.slot + 1] if field.slot + 1 < len(slots) else 0
                fields[field.name] = self._union(
                    position, size, inside, value, field.of, (*path, field.name)
                )
            elif inside:
                wide = struct.calcsize(field.of) if field.kind == "scalar" else 4
                place = self._inside(position, size, inside, 4 if field.vector else wide, path)
                fields[field.name] = self._value(place, field, (*path, field.name))
            elif field.vector:
                fields[field.name] = ()
            else:
                fields[field.name] = field.default if field.kind == "scalar" else None
        return fields

    def _value(self, place: int, field: Field, path: Path) -> Any:
        if field.vector:
            return self._vector(self._follow(place, path), field, path)
        if field.kind == "scalar":
            return struct.unpack_from("<" + field.of, self._data, place)[0]
        if field.kind == "string":
            return self._string(self._follow(place, path), path)
        return self._table(self._follow(place, path), field.of, path)

    def _union(
        self, position: int, size: int, kind: int, value: int, union: str, path: Path
    ) -> tuple[str, Fields] | None:
        code = 0
        if kind:
            code = self._data[self._inside(position, size, kind, 1, path)]
        if not value:
            return None
        target = self._follow(self._inside(position, size, value, 4, path), path)
        members = self._schema.unions[union]
        # Without a type nothing reads the value, but the frame of a table it must be.
        known = members[code] if 0 < code < len(members) else None
        fields = self._table(target, known, (*path, known or "?"))
        self.complete &= known is not None
        return None if known is None else (known, fields)

    def _vector(self, position: int, field: Field, path: Path) -> Any:
        count = self._u32(position, path)
        width = struct.calcsize(field.of) if field.kind == "scalar" else 4
        self._span(position + 4, count * width, 1, path)
        if field.kind == "scalar":
            if field.of == "B":
                return self._data[position + 4 : position + 4 + count]
            self._charge(count * width, path)
            return np.frombuffer(self._data, "<" + field.of, count, position + 4)
        self._charge(count * 4, path)
        places = range(position + 4, position + 4 + 4 * count, 4)
        if field.kind == "string":
            return [
                self._string(self._follow(place, (*path, i)), (*path, i))
                for i, place in enumerate(places)
            ]
        return [
            self._table(self._follow(place, (*path, i)), field.of, (*path, i))
            for i, place in enumerate(places)
        ]

    def _string(self, position: int, path: Path) -> str:
        count = self._u32(position, path)
        self._span(position + 4, count + 1, 1, path)
        self._charge(count, path)
        if self._data[position + 4 + count] != 0:
            raise Malformed(f"{at(path)}: a string without its terminating zero")
        return str(self._data[position + 4 : position + 4 + count], "utf-8", "replace")

    def _frame(self, position: int, path: Path) -> tuple[int, tuple[int, ...]]:
        """Checks a table's frame: (its size, the offset of each slot's field or 0)."""
        self._span(position, 4, 4, path)
        vtable = position - struct.unpack_from("<i", self._data, position)[0]
        self._span(vtable, 4, 2, path)
        length, size = struct.unpack_from("<HH", self._data, vtable)
        if length < 4 or length % 2 or size < 4:
            raise Malformed(f"{at(path)}: a malformed vtable at byte {vtable}")
        self._span(vtable, length, 2, path)
        self._span(position, size, 4, path)
        return size, struct.unpack_from(f"<{length // 2 - 2}H", self._data, vtable + 4)

    def _inside(self, position: int, size: int, offset: int, width: int, path: Path) -> int:
        """The place of a field within its table."""
        if offset < 4 or offset + width > size or (position + offset) % width:
            raise Malformed(f"{at(path)}: a field that lies outside its table or is misaligned")
        return position + offset

    def _follow(self, place: int, path: Path) -> int:
        offset = self._u32(place, path)
        if offset == 0:
            raise Malformed(f"{at(path)}: an offset of zero at byte {place}")
        return place + offset

    def _u32(self, place: int, path: Path) -> int:
        self._span(place, 4, 4, path)
        return int(struct.unpack_from("<I", self._data, place)[0])

    def _span(self, start: int, size: int, alignment: int, path: Path) -> None:
        if start < 0 or start + size > len(self._data):
            raise Malformed(
                f"{at(path)}: bytes {start} to {start + size} are asked for, but the file has "
                f"{len(self._data)}"
            )
        if start % alignment:
            raise Malformed(f"{at(path)}: byte {start} is not aligned to {alignment}")
        self.end = max(self.end, start + size)

    def _charge(self, count: int, path: Path) -> None:
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise Malformed(f"{at(path)}: more content than a file of this size can hold")


class Writer:
    """Encodes tables, parents before children, in the order of the schema."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._out = bytearray()
        self._vtables: dict[bytes, int] = {}

    def finish(self, table: str, fields: Fields, identifier: bytes) -> bytes:
        """The buffer with this root table.

        Args:
            table: The root table's name.
            fields: As `Reader.root` gives them; what is missing has its default.
            identifier: Four bytes.
        """
        self._out, self._vtables = bytearray(4) + identifier, {}
        self._point(0, self._table(table, fields))
        self._align(4)
        return bytes(self._out)

    def _table(self, table: str, fields: Fields) -> int:
        # (slot, format, value, field): a scalar's value, or 0 and the field that is pointed at.
        entries: list[tuple[int, str, int | float, Field | None]] = []
        for field in self._schema.fields(table):
            value = fields.get(field.name, field.default)
            if field.kind == "union":
                if value is not None and value != 0:
                    code = self._schema.unions[field.of].index(value[0])
                    entries += [(field.slot, "B", code, None), (field.slot + 1, "I", 0, field)]
            elif field.vector:
                # Only the reader's empty tuple, or nothing at all, is a vector that isn't there.
                if not (isinstance(value, tuple) and not value) and field.name in fields:
                    entries.append((field.slot, "I", 0, field))
            elif field.kind == "scalar":
                if value != field.default:
                    entries.append((field.slot, field.of, value, None))
            elif field.name in fields and value is not None:
                entries.append((field.slot, "I", 0, field))
        # The widest first leaves the fewest gaps; the sort is stable.
        entries.sort(key=lambda entry: -struct.calcsize(entry[1]))
        start, places = self._frame([(slot, struct.calcsize(kind)) for slot, kind, _, _ in entries])
        for (_, kind, number, _), place in zip(entries, places, strict=True):
            struct.pack_into("<" + kind, self._out, place, number)
        for (_, _, _, child), place in sorted(
            zip(entries, places, strict=True), key=lambda pair: pair[0][0]
        ):
            if child is not None:
                self._point(place, self._child(child, fields[child.name]))
        return start

    def _frame(self, entries: list[tuple[int, int]]) -> tuple[int, list[int]]:
        """A table of zeros with its vtable: (its place, the place of each field)."""
        offsets, size = [], 4
        for _, width in entries:
            size += -size % width
            offsets.append(size)
            size += width
        slots = [0] * (max((slot for slot, _ in entries), default=-1) + 1)
        for (slot, _), offset in zip(entries, offsets, strict=True):
            slots[slot] = offset
        vtable = struct.pack(f"<HH{len(slots)}H", 4 + 2 * len(slots), size, *slots)
        if vtable not in self._vtables:
            self._align(2)
            self._vtables[vtable] = len(self._out)
            self._out += vtable
        self._align(8)
        start = len(self._out)
        self._out += struct.pack("<i", start - self._vtables[vtable]) + bytes(size - 4)
        return start, [start + offset for offset in offsets]

    def _child(self, field: Field, value: Any) -> int:
        if field.kind == "union":
            return self._table(*value)
        if field.kind == "scalar":
            return self._scalars(value, field.of)
        if not field.vector:
            return self._string(value) if field.kind == "string" else self._table(field.of, value)
        self._align(4)
        start = len(self._out)
        self._out += struct.pack("<I", len(value)) + bytes(4 * len(value))
        for i, item in enumerate(value):
            target = self._string(item) if field.kind == "string" else self._table(field.of, item)
            self._point(start + 4 + 4 * i, target)
        return start

    def _scalars(self, values: Any, kind: str) -> int:
        data = np.asarray(values, np.dtype("<" + kind)).tobytes()
        # Weights are bytes to the schema; the kernels want them aligned to 16.
        self._align(16 if kind == "B" else max(4, struct.calcsize(kind)), ahead=4)
        start = len(self._out)
        self._out += struct.pack("<I", len(data) // struct.calcsize(kind)) + data
        return start

    def _string(self, text: str) -> int:
        data = text.encode()
        self._align(4)
        start = len(self._out)
        self._out += struct.pack("<I", len(data)) + data + b"\0"
        return start

    def _align(self, alignment: int, ahead: int = 0) -> None:
        """Fills up with zeros until what comes `ahead` bytes later is aligned."""
        self._out += bytes(-(len(self._out) + ahead) % alignment)

    def _point(self, place: int, target: int) -> None:
        struct.pack_into("<I", self._out, place, target - place)


def at(path: Path) -> str:
    """A path in words, such as `subgraphs[0].operators[3].inputs`."""
    text = ""
    for part in path[1:] or path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
