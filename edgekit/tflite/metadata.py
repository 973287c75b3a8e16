"""The preprocessing contract inside a .tflite file.

It is there twice: as standard TFLite metadata, which Android Studio and the TFLite task libraries
read, and whole as `edgekit.json`. Both follow the rules of TFLite metadata: a flatbuffer of its own
(metadata_schema.fbs of tensorflow/tflite-support) in the entry `TFLITE_METADATA`, and files in a
zip behind the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgekit import zipped
from edgekit.contract import Contract
from edgekit.errors import UnreadableError, UsageError
from edgekit.tflite import schema
from edgekit.tflite.classifier import classifier_shape, output_meaning
from edgekit.tflite.flatbuffer import Fields, Malformed, Reader, Schema, Writer
from edgekit.tflite.model import Model
from edgekit.tflite.reader import SCHEMA, read, read_fields

CONTRACT_FILE = "edgekit.json"
LABELS_FILE = "labels.txt"
ENTRY = "TFLITE_METADATA"

#: Where a contract came from; see `contract_source`.
FROM_EDGEKIT, FROM_TFLITE = "edgekit.json", "TFLite metadata"

_SCHEMA = Schema(schema.METADATA_TABLES, schema.UNIONS)
#: Every field written here exists since the first version of the metadata schema.
_MIN_PARSER_VERSION = "1.0.0"
_DESCRIPTIONS, _TENSOR_AXIS_LABELS = 1, 2
_RGB, _COLOUR_UNKNOWN = 1, 0
_MOST_BYTES = (1 << 31) - 1


def pack(model: bytes, contract: Contract, files: Mapping[str, bytes] | None = None) -> bytes:
    """Puts a contract into a model, in the place of any metadata it carries.

    Weights that lie behind the flatbuffer come inside, so that runtimes from before 2023 read the
    file too; every buffer is aligned to 16 bytes. Same model and contract, same bytes, and packing
    twice is packing once.

    Args:
        model: The bytes of a .tflite file of an image classifier.
        contract: Must have the sizes of the model.
        files: What else goes into the zip behind it, by name.

    Raises:
        UsageError: The contract isn't one of this model.
        UnreadableError: The model is unsound, or of a schema newer than this edgekit.
    """
    where = "the model"
    sound = read(model, where)
    _check_fit(contract, classifier_shape(sound, where))
    root = read_fields(model, where)
    description = _describe(contract, outputs=len(sound.main.outputs))
    _put(root, Writer(_SCHEMA).finish("ModelMetadata", description, schema.METADATA_IDENTIFIER))
    packed = Writer(SCHEMA).finish("Model", root, schema.FILE_IDENTIFIER)
    if len(packed) > _MOST_BYTES:
        raise UsageError("the model takes more than 2 GiB, which a .tflite file can't hold")
    described = {CONTRACT_FILE: contract.to_json().encode()}
    if contract.labels is not None:
        described[LABELS_FILE] = "".join(f"{label}\n" for label in contract.labels).encode()
    return zipped.append(packed, described | dict(files or {}))


def read_contract(data: bytes, where: str) -> Contract | None:
    """The contract that a .tflite file carries.

    That of `edgekit.json`; or else what the TFLite metadata of another tool says: normalization
    and labels, while pictures are stretched to the input, which is what the task libraries do.

    Args:
        data: The bytes of the file.
        where: The file they came from, for the error.

    Returns:
        None where the file says nothing of how its input is prepared.

    Raises:
        UnreadableError: What it carries is damaged or contradicts itself.
    """
    stored = _stored(data, where)
    return stored[0] if stored is not None else None


def contract_source(data: bytes, where: str) -> str | None:
    """Where `read_contract` finds the contract: `FROM_EDGEKIT`, `FROM_TFLITE`, or None."""
    stored = _stored(data, where)
    return stored[1] if stored is not None else None


def associated_files(data: bytes) -> tuple[tuple[str, int], ...]:
    """(name, bytes) of each file in the zip behind the model."""
    return zipped.listing(data)


def _check_fit(contract: Contract, shape: tuple[int, int, int]) -> None:
    height, width, classes = shape
    if (contract.height, contract.width) != (height, width):
        raise UsageError(
            f"the contract is for {contract.height} x {contract.width}, the model's input is "
            f"{height} x {width}"
        )
    if contract.labels is None:
        return
    if len(contract.labels) != classes:
        raise UsageError(
            f"the contract has {len(contract.labels)} labels, the model {classes} outputs"
        )
    for label in contract.labels:
        if "\n" in label or "\r" in label:
            raise UsageError(f"the label {label!r} has a line break")


def _describe(contract: Contract, outputs: int) -> Fields:
    """The ModelMetadata table of a contract."""
    lows = [(0.0 - m) / s for m, s in zip(contract.mean, contract.std, strict=True)]
    highs = [(255.0 - m) / s for m, s in zip(contract.mean, contract.std, strict=True)]
    rgb = contract.colour_order == "RGB"
    image = {
        "name": "image",
        "description": f"A {contract.colour_order} picture, {contract.height} x {contract.width}.",
        "content": {
            "content_properties": (
                "ImageProperties",
                {
                    # The schema has no BGR; a wrong RGB would be worse than none.
                    "color_space": _RGB if rgb else _COLOUR_UNKNOWN,
                    "default_size": {"width": contract.width, "height": contract.height},
                },
            )
        },
        "process_units": [
            {
                "options": (
                    "NormalizationOptions",
                    {"mean": _shortest(contract.mean), "std": _shortest(contract.std)},
                )
            }
        ],
        "stats": {"max": _shortest(highs), "min": _shortest(lows)},
    }
    probabilities = contract.output == "probabilities"
    scores: Fields = {
        "name": "probability" if probabilities else "logits",
        "description": "One score per class.",
        "content": {"content_properties": ("FeatureProperties", {})},
        "stats": {"max": [1.0], "min": [0.0]} if probabilities else None,
    }
    if contract.labels is not None:
        scores["associated_files"] = [
            {
                "name": LABELS_FILE,
                "description": "The classes in the order of the scores.",
                "type": _TENSOR_AXIS_LABELS,
            }
        ]
    return {
        "name": "image classifier",
        "description": "Classifies a picture; prepared by edgekit.",
        "subgraph_metadata": [
            {
                "input_tensor_metadata": [image],
                "output_tensor_metadata": [scores, *[{} for _ in range(outputs - 1)]],
            }
        ],
        "associated_files": [
            {
                "name": CONTRACT_FILE,
                "description": "How pictures are prepared, in full.",
                "type": _DESCRIPTIONS,
            }
        ],
        "min_parser_version": _MIN_PARSER_VERSION,
    }


def _put(root: Fields, content: bytes) -> None:
    """Sets the metadata entry, in the buffer of the one before if nothing else uses it."""
    used = {tensor["buffer"] for graph in root["subgraphs"] for tensor in graph["tensors"]}
    used |= {entry["buffer"] for entry in root["metadata"] if entry["name"] != ENTRY}
    mine = [entry for entry in root["metadata"] if entry["name"] == ENTRY]
    root["buffers"] = list(root["buffers"])
    # Buffer 0 stands for "no buffer".
    free = [entry["buffer"] for entry in mine if entry["buffer"] not in used | {0}]
    for index in free:
        root["buffers"][index] = {}
    if not root["buffers"]:
        root["buffers"].append({})
    if not free:
        free = [len(root["buffers"])]
        root["buffers"].append({})
    root["buffers"][free[0]] = {"data": memoryview(content)}
    entry = {"name": ENTRY, "buffer": free[0]}
    root["metadata"] = [e for e in root["metadata"] if e["name"] != ENTRY] + [entry]


def _stored(data: bytes, where: str) -> tuple[Contract, str] | None:
    document = zipped.member(data, CONTRACT_FILE, where)
    if document is not None:
        try:
            return Contract.from_json(document, where), FROM_EDGEKIT
        except RecursionError as error:
            raise UnreadableError(f"{where}: its {CONTRACT_FILE} is nested absurdly") from error
    model = read(data, where)
    entry = model.metadata.get(ENTRY)
    if entry is None:
        return None
    if bytes(entry[4:8]) != schema.METADATA_IDENTIFIER:
        raise UnreadableError(f"{where}: its TFLite metadata is damaged (no identifier M001)")
    try:
        described = Reader(entry, _SCHEMA).root("ModelMetadata")
    except Malformed as error:
        raise UnreadableError(f"{where}: its TFLite metadata is damaged: {error}") from error
    if any(file["name"] == CONTRACT_FILE for file in described["associated_files"]):
        raise _cut_off(where, CONTRACT_FILE)
    contract = _from_tflite(described, data, model, where)
    return None if contract is None else (contract, FROM_TFLITE)


def _from_tflite(described: Fields, data: bytes, model: Model, where: str) -> Contract | None:
    """The contract that another tool's metadata tells of, or None where it tells of none."""
    if not described["subgraph_metadata"]:
        return None
    graph = described["subgraph_metadata"][0]
    if not graph["input_tensor_metadata"] or not graph["output_tensor_metadata"]:
        return None
    image, scores = graph["input_tensor_metadata"][0], graph["output_tensor_metadata"][0]
    content = (image["content"] or {}).get("content_properties")
    if content is None or content[0] != "ImageProperties" or content[1]["color_space"] != _RGB:
        return None
    normalization = [
        unit["options"][1]
        for unit in image["process_units"]
        if unit["options"] is not None and unit["options"][0] == "NormalizationOptions"
    ]
    if not normalization:
        return None
    try:
        height, width, _ = classifier_shape(model, where)
    except UsageError:
        return None  # metadata of a detector, say
    try:
        return Contract(
            height,
            width,
            mean=_channels(normalization[0]["mean"]),
            std=_channels(normalization[0]["std"]),
            labels=_labels(scores["associated_files"], data, where),
            # What the Edge TPU compiler took in can't be seen: then the name of the output tells.
            output=output_meaning(model)
            or ("probabilities" if scores["name"] == "probability" else "logits"),
        )
    except UsageError as error:
        raise UnreadableError(
            f"{where}: its TFLite metadata makes no sense: {error.message}"
        ) from error


def _labels(files: Any, data: bytes, where: str) -> tuple[str, ...] | None:
    for file in files:
        if file["type"] == _TENSOR_AXIS_LABELS:
            content = zipped.member(data, file["name"] or "", where)
            if content is None:
                raise _cut_off(where, file["name"] or "")
            try:
                lines = content.decode("utf-8-sig").rstrip().split("\n")
            except UnicodeDecodeError as error:
                raise UnreadableError(f"{where}: its labels are no UTF-8 text") from error
            return tuple(line.strip() for line in lines)
    return None


def _channels(values: Any) -> tuple[float, float, float]:
    numbers = [float(value) for value in values]
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3:
        raise UsageError(f"{len(numbers)} values of mean or std for 3 channels")
    return numbers[0], numbers[1], numbers[2]


def _shortest(values: Any) -> list[float]:
    """One value where all channels share it."""
    return [values[0]] if len(set(values)) == 1 else list(values)


def _cut_off(where: str, name: str) -> UnreadableError:
    return UnreadableError(
        f"{where}: its metadata names the file {name!r:.80}, but the zip behind the model lacks it",
        "The end of the file was cut off; get or convert it again.",
    )
