"""Small edits of .tflite files: what later stages need, and what every runtime wants to find."""

from __future__ import annotations

from collections import Counter

from edgekit.tflite.edit import edit, write

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


def add_signature(model: bytes, where: str) -> bytes:
    """Gives the model one signature, for runtimes that call by signature: image -> scores."""
    root = edit(model, where)
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
    return write(root)


def _plain(name: str) -> str:
    """A name as Python and C both read it; what was no UTF-8 has been read as U+FFFD."""
    return name.replace("\ufffd", "?").replace("\0", "?")
