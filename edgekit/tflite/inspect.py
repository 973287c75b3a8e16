"""What is in a .tflite file, in numbers and words."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.contract import Contract
from edgekit.errors import UnreadableError
from edgekit.tflite import metadata, versions
from edgekit.tflite.arithmetic import Arithmetic, describe
from edgekit.tflite.cost import macs, parameter_tensors, peak_activation_bytes
from edgekit.tflite.model import Model, Operator, Subgraph, Tensor
from edgekit.tflite.reader import read
from edgekit.types import TensorInfo


@dataclass(frozen=True)
class OperatorInfo:
    """One operator.

    Attributes:
        index: Its place in the order of execution.
        name: The builtin operator, or the code of a custom one.
        custom: Whether it is custom.
        inputs: Names of the tensors it reads, constants left out.
        outputs: Names of the tensors it writes.
        output_dtype: The type of its first output.
        output_shape: The shape of its first output, -1 where it may change.
        activation: The fused activation function, or None.
        parameters: Learned constants, in elements.
        constant_bytes: Bytes that these take in the file.
        macs: Multiply-accumulates, or None where they aren't known.
        version: The version of it that the file states.
        needed_version: The version that this use of it needs (`edgekit.tflite.versions`), or None
            where that isn't known.
    """

    index: int
    name: str
    custom: bool
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    output_dtype: str
    output_shape: tuple[int, ...]
    activation: str | None
    parameters: int
    constant_bytes: int
    macs: int | None
    version: int
    needed_version: int | None


@dataclass(frozen=True)
class OperatorTotal:
    """All operators of one name.

    Attributes:
        name: The operator's name.
        count: How many there are.
        parameters: Learned constants, in elements.
        constant_bytes: Bytes that these take in the file.
        macs: Multiply-accumulates of those that are known.
        version: The highest version that the file states for one of them.
        needed_version: The highest that one of them needs, or None where that isn't known.
    """

    name: str
    count: int
    parameters: int
    constant_bytes: int
    macs: int
    version: int
    needed_version: int | None


@dataclass(frozen=True)
class SignatureInfo:
    """A signature: its inputs and outputs by name, and the tensors they stand for."""

    key: str
    inputs: dict[str, str]
    outputs: dict[str, str]


@dataclass(frozen=True)
class Inspection:
    """What is in a .tflite file; all but the file's own facts is of the main subgraph.

    Attributes:
        path: The file.
        file_bytes: Its size.
        sha256: Its SHA-256 in hexadecimal.
        description: What its converter wrote.
        inputs: Inputs, with scale and zero point where they are quantized, and -1 in the shape for
            what may change.
        outputs: Outputs, likewise.
        arithmetic: In which numbers it computes, and the float islands.
        totals: Operators by name, the most frequent first.
        operators: Every operator.
        parameters: Learned constants, in elements.
        constant_bytes: Bytes that these take; a buffer that tensors share counts for each.
        macs: Multiply-accumulates of one inference, of the operators where they are known.
        macs_unknown: Names of the operators where they aren't.
        peak_activation_bytes: See `edgekit.tflite.cost.peak_activation_bytes`.
        peak_operator: The index of the operator where that peak is.
        subgraphs: How many subgraphs there are.
        min_runtime_version: The oldest TFLite that runs it, as its converter wrote, or None.
        needs: What decides which TFLite is the oldest that computes it right, or None.
        metadata_entries: Names of all metadata entries.
        contract: The preprocessing contract, or None.
        contract_source: `edgekit.json`, `TFLite metadata` (another tool's), or None.
        files: (name, bytes) in the zip behind the model.
        signatures: Named entries.
    """

    path: str
    file_bytes: int
    sha256: str
    description: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    arithmetic: Arithmetic
    totals: tuple[OperatorTotal, ...]
    operators: tuple[OperatorInfo, ...]
    parameters: int
    constant_bytes: int
    macs: int
    macs_unknown: tuple[str, ...]
    peak_activation_bytes: int
    peak_operator: int | None
    subgraphs: int
    min_runtime_version: str | None
    needs: versions.Need | None
    metadata_entries: tuple[str, ...]
    contract: Contract | None
    contract_source: str | None
    files: tuple[tuple[str, int], ...]
    signatures: tuple[SignatureInfo, ...]

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        values = asdict(self)
        values["contract"] = self.contract.to_dict() if self.contract else None
        return values


def inspect(path: Path | str) -> Inspection:
    """Looks into a .tflite file without running it.

    Raises:
        UnreadableError: The file is missing, or no sound .tflite file.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}") from error
    where = str(path)
    model = read(data, where)
    graph = model.main
    operators = _operators(model, graph)
    peak, peak_operator = peak_activation_bytes(model, graph)
    source = metadata.contract_source(data, where)
    return Inspection(
        path=where,
        file_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        description=model.description,
        inputs=tuple(_tensor_info(graph.tensors[i]) for i in graph.inputs),
        outputs=tuple(_tensor_info(graph.tensors[i]) for i in graph.outputs),
        arithmetic=describe(model, graph),
        totals=_totals(operators),
        operators=operators,
        parameters=sum(op.parameters for op in operators),
        constant_bytes=sum(op.constant_bytes for op in operators),
        macs=sum(op.macs or 0 for op in operators),
        macs_unknown=tuple(sorted({op.name for op in operators if op.macs is None})),
        peak_activation_bytes=peak,
        peak_operator=peak_operator,
        subgraphs=len(model.subgraphs),
        min_runtime_version=_min_runtime_version(model),
        needs=versions.runtime_of(model),
        metadata_entries=tuple(model.metadata),
        contract=metadata.read_contract(data, where) if source else None,
        contract_source=source,
        files=metadata.associated_files(data),
        signatures=_signatures(model),
    )


def _operators(model: Model, graph: Subgraph) -> tuple[OperatorInfo, ...]:
    learned = parameter_tensors(model, graph)
    return tuple(
        _operator(model, graph, operator, constants)
        for operator, constants in zip(graph.operators, learned, strict=True)
    )


def _operator(
    model: Model, graph: Subgraph, operator: Operator, constants: list[Tensor]
) -> OperatorInfo:
    read_from = [graph.tensors[i] for i in operator.inputs if i >= 0]
    written = [graph.tensors[i] for i in operator.outputs]
    activation = operator.options.get("fused_activation_function", "NONE")
    need = versions.need(graph, operator)
    return OperatorInfo(
        index=operator.index,
        name=operator.name,
        custom=operator.custom,
        inputs=tuple(tensor.name for tensor in read_from if not model.is_constant(tensor)),
        outputs=tuple(tensor.name for tensor in written),
        output_dtype=written[0].dtype if written else "",
        output_shape=written[0].shape_signature if written else (),
        activation=None if activation == "NONE" else activation,
        parameters=sum(tensor.elements for tensor in constants),
        constant_bytes=sum(model.constant_bytes(tensor) for tensor in constants),
        macs=macs(operator, graph),
        version=operator.version,
        needed_version=need.version if need is not None else None,
    )


def _totals(operators: tuple[OperatorInfo, ...]) -> tuple[OperatorTotal, ...]:
    names = dict.fromkeys(operator.name for operator in operators)
    groups = {name: [op for op in operators if op.name == name] for name in names}
    totals = [
        OperatorTotal(
            name,
            len(group),
            sum(op.parameters for op in group),
            sum(op.constant_bytes for op in group),
            sum(op.macs or 0 for op in group),
            max(op.version for op in group),
            max((op.needed_version for op in group if op.needed_version), default=None),
        )
        for name, group in groups.items()
    ]
    return tuple(sorted(totals, key=lambda total: (-total.count, total.name)))


def _tensor_info(tensor: Tensor) -> TensorInfo:
    return TensorInfo(
        tensor.name,
        tensor.index,
        tensor.shape_signature,
        tensor.dtype,
        tensor.scale,
        tensor.zero_point,
    )


def _min_runtime_version(model: Model) -> str | None:
    entry = model.metadata.get(versions.MIN_RUNTIME_VERSION)
    if entry is None:
        return None
    # The converter pads the text with zeros to 16 bytes.
    return bytes(entry[:64]).rstrip(b"\0").decode("ascii", "replace") or None


def _signatures(model: Model) -> tuple[SignatureInfo, ...]:
    return tuple(
        SignatureInfo(
            signature.key,
            {
                k: model.subgraphs[signature.subgraph].tensors[i].name
                for k, i in signature.inputs.items()
            },
            {
                k: model.subgraphs[signature.subgraph].tensors[i].name
                for k, i in signature.outputs.items()
            },
        )
        for signature in model.signatures
    )
