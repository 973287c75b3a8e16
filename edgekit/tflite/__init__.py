"""Reading .tflite files safely, looking into them, and the metadata they carry."""

from edgekit.tflite.classifier import classifier_shape, output_meaning, require_picture
from edgekit.tflite.inspect import Inspection, inspect
from edgekit.tflite.metadata import (
    associated_files,
    contract_source,
    pack,
    read_contract,
)
from edgekit.tflite.model import Model, Operator, Signature, Subgraph, Tensor
from edgekit.tflite.reader import read

__all__ = [
    "Inspection",
    "Model",
    "Operator",
    "Signature",
    "Subgraph",
    "Tensor",
    "associated_files",
    "classifier_shape",
    "contract_source",
    "inspect",
    "output_meaning",
    "pack",
    "read",
    "read_contract",
    "require_picture",
]
