"""Small edits of .tflite files: what later stages need, and what every runtime wants to find."""

from __future__ import annotations

from collections import Counter

import numpy as np

from edgekit import tflite
from edgekit.tflite import versions
from edgekit.tflite.edit import edit, operator_code, write
from edgekit.tflite.flatbuffer import Fields
from edgekit.tflite.schema import OPERATORS

SIGNATURE = "serving_default"
INPUT_NAME, OUTPUT_NAME = "image", "scores"


def prepare(model: bytes, where: str) -> bytes:
    """A float model as calibration and quantization want it.

    They go by tensor name, so every tensor gets a name of its own, which is UTF-8 without zeros;
    and the batch is 1 for good.

    Args:
        model: The bytes of a .tflite file.
        where: The file they came from, for errors.
    """
    root = edit(model, where)
    tensors = root["subgraphs"][0]["tensors"]
    names = [_plain(tensor["name"] or "") for tensor in tensors]
    odd = any(name != (tensor["name"] or "") for name, tensor in zip(names, tensors, strict=True))
    repeated = {name for name, count in Counter(names).items() if count > 1 or not name}
    if not odd and not repeated and not any(len(tensor["shape_signature"]) for tensor in tensors):
        return model
    for index, tensor in enumerate(tensors):
        name = names[index]
        if name in repeated:
            name = f"{name or 'tensor'};{index}"
            while name in names:  # somebody else's already
                name += ";"
        tensor["name"] = name
        tensor["shape_signature"] = []
    return write(root)


def finish(model: bytes, where: str) -> bytes:
    """Gives a model what every runtime wants to find.

    One signature, for runtimes that call by signature: image -> scores. The version of each
    operator that its uses need (`edgekit.tflite.versions`), so that a runtime too old refuses the
    file and doesn't answer rubbish; and the oldest TensorFlow Lite that has all of them.
    """
    root, parsed = edit(model, where), tflite.read(model, where)
    graph = root["subgraphs"][0]
    root["signature_defs"] = [
        {
            "inputs": [{"name": INPUT_NAME, "tensor_index": int(graph["inputs"][0])}],
            "outputs": [{"name": OUTPUT_NAME, "tensor_index": int(graph["outputs"][0])}],
            "signature_key": SIGNATURE,
            "subgraph_index": 0,
        }
    ]
    root["description"] = "edgekit"
    _set_versions(root, parsed)
    _set_oldest_runtime(root, parsed)
    return write(root)


def _set_versions(root: Fields, parsed: tflite.Model) -> None:
    needed: dict[int, list[int]] = {}
    for graph, read in zip(root["subgraphs"], parsed.subgraphs, strict=True):
        for fields, operator in zip(graph["operators"], read.operators, strict=True):
            need = versions.need(read, operator)
            # Of what isn't known, or newer than what is, the version stays as it was written.
            known = need is not None and operator.version <= versions.known(operator.name)
            wanted = need.version if need is not None and known else operator.version
            needed.setdefault(fields["opcode_index"], []).append(wanted)
    for index, code in enumerate(root["operator_codes"]):
        name = OPERATORS[max(code["builtin_code"], code["deprecated_builtin_code"])]
        code |= operator_code(name, max(needed.get(index, [code["version"]])))


def _set_oldest_runtime(root: Fields, parsed: tflite.Model) -> None:
    oldest = versions.runtime_of(parsed)
    name = versions.MIN_RUNTIME_VERSION
    entries = [entry for entry in root["metadata"] or () if entry["name"] != name]
    if oldest is not None and oldest.since is not None:
        text = oldest.since.encode().ljust(versions.MIN_RUNTIME_BYTES, b"\0")
        data = np.frombuffer(text, np.uint8)
        root["buffers"].append({"data": data, "offset": 0, "size": 0})
        entries.append({"name": name, "buffer": len(root["buffers"]) - 1})
    root["metadata"] = entries


def _plain(name: str) -> str:
    """A name as Python and C both read it; what was no UTF-8 has been read as U+FFFD."""
    return name.replace("\ufffd", "?").replace("\0", "?")
