"""What a file that is no .tflite file seems to be."""

from __future__ import annotations

_CONVERT = "Convert it first: edgekit convert --int8 FILE -o model.tflite"
_AGAIN = "Get or convert the model again."

#: (first bytes, what it is, what to do).
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, perhaps a Keras model (.h5)", _CONVERT),
    (b"\x89PNG", "a PNG picture", "Give the .tflite file."),
    (b"\xff\xd8\xff", "a JPEG picture", "Give the .tflite file."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it first: tar xzf FILE"),
    (b"\x7fELF", "a program or library", "Give the .tflite file."),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "Run: git lfs pull"),
    (b"<", "a web page or XML, perhaps saved instead of the download", "Download it again."),
)


def describe(data: bytes) -> tuple[str, str]:
    """(what the bytes seem to be, what to do)."""
    if not data:
        return "the file is empty", _AGAIN
    if data.startswith(b"PK\x03\x04"):
        # A .keras file is a zip whose first members are these two.
        if b"metadata.json" in data[:64] or b"config.json" in data[:64]:
            return "it seems to be a Keras model (.keras)", _CONVERT
        return "it seems to be a zip archive", "Unpack it, and give the .tflite file inside."
    for magic, what, hint in _MAGIC:
        if data.startswith(magic):
            return f"it seems to be {what}", hint
    if data[4:7] == b"TFL":
        return "its file format is another version than TFL3", _AGAIN
    if len(data) < 8:
        return f"only {len(data)} bytes", _AGAIN
    head = data[:512]
    if not head.strip(b"\0"):
        return "it begins with zeros", _AGAIN
    try:
        # A letter of several bytes may be cut off at the end of the sample.
        text = head.decode("utf-8", "ignore")
    except UnicodeDecodeError:
        text = ""
    if len(text) > 0.9 * len(head) and all(c.isprintable() or c in "\t\r\n" for c in text):
        return "it seems to be text", "Give the .tflite file."
    return "the identifier TFL3 is missing", _AGAIN
