"""From a float .tflite graph and calibrated ranges to a quantized one, through litert-quantizer."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import re
from collections.abc import Collection
from typing import Any

import numpy as np

from edgekit.contract import Contract
from edgekit.converters.options import INTEGER, Options
from edgekit.converters.ranges import Ranges
from edgekit.errors import MissingError, RuntimeFailure
from edgekit.tflite.edit import edit, write


def require() -> None:
    """Checks that litert-quantizer is installed.

    Raises:
        MissingError: It is not.
    """
    if importlib.util.find_spec("litert_quantizer") is None:
        raise MissingError(
            "quantizing needs litert-quantizer, which is not installed",
            'Install it: pip install "edgekit[convert]"',
        )


def preload() -> None:
    """Imports litert-quantizer now, where there is time: it takes a third of a second."""
    importlib.import_module("litert_quantizer.quantizer")


def quantize(
    model: bytes,
    options: Options,
    ranges: Ranges,
    input_name: str,
    contract: Contract,
    higher: Collection[str] = (),
) -> bytes:
    """Quantizes a float32 .tflite file.

    Weights are int8, symmetric, per channel (per output channel of convolutions and fully
    connected layers). Activations are asymmetric int8, or symmetric int16 with `int16x8`. The
    input's range is not the calibrated one but the contract's, so that the device's arithmetic is
    known in advance.

    Args:
        model: The float file; tensor names must be unique.
        options: Which quantization, and the types of input and output.
        ranges: The range of each activation; unused by `float16` and `dynamic`.
        input_name: The name of the input tensor.
        contract: Gives the pinned input range.
        higher: Names of the outputs of ops that stay in `options.mixed` precision.

    Returns:
        A .tflite file.

    Raises:
        RuntimeFailure: litert-quantizer can't quantize this graph.
    """
    require()
    from litert_quantizer import quantizer

    qsvs = None
    if options.quantization in INTEGER:
        pinned = dict(ranges) | {input_name: pinned_range(contract)}
        qsvs = {
            name: {"min": np.array([low], np.float64), "max": np.array([high], np.float64)}
            for name, (low, high) in pinned.items()
        }
    # It draws a progress bar on stderr whatever it is told.
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            worker = quantizer.Quantizer(bytearray(model), recipe(options, higher))
            result = worker.quantize(qsvs, enable_progress_bar=False, enable_progress_report=False)
        except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
            raise RuntimeFailure(
                f"litert-quantizer can't quantize this graph to {options.quantization}: {error}",
                "Try --engine tflite, which uses TensorFlow's own quantizer.",
            ) from error
    made = bytes(result.quantized_model)
    return _with_asymmetric_inputs(made) if options.quantization == "dynamic" else made


def _with_asymmetric_inputs(model: bytes) -> bytes:
    """Has dynamic dense layers quantize their inputs with a zero point.

    The kernel for inputs without one takes one channel's scale for all in a nightly build of
    TensorFlow Lite 2.20.
    """
    root = edit(model, "quantized model")
    for graph in root["subgraphs"]:
        for operator in graph["operators"]:
            table = operator["builtin_options"]
            if table is not None and table[0] == "FullyConnectedOptions":
                table[1]["asymmetric_quantize_inputs"] = True
    return write(root)


def pinned_range(contract: Contract) -> tuple[float, float]:
    """The input range that gives exactly the contract's scale and zero point in int8."""
    scale, zero_point = contract.int8_quantization()
    return (-128 - zero_point) * scale, (127 - zero_point) * scale


def recipe(options: Options, higher: Collection[str] = ()) -> Any:
    """The litert-quantizer recipe for these options: plain data, kept in the passport.

    Args:
        options: What is asked for.
        higher: Names of the outputs of ops that stay in `options.mixed` precision.
    """
    from litert_quantizer import recipe as recipes

    if options.quantization == "float16":
        return _float16_recipe()
    make = {
        "int8": recipes.static_wi8_ai8,
        "int16x8": recipes.static_wi8_ai16,
        "dynamic": recipes.dynamic_wi8_afp32,
    }[options.quantization]
    base = make() if options.per_channel("CONV_2D") else _per_tensor(make())
    if options.per_channel("CONV_2D") and not options.per_channel("FULLY_CONNECTED"):
        base += [rule | {"operation": "FULLY_CONNECTED"} for rule in _per_tensor(make())]
    if options.quantization == "dynamic":
        return base
    if higher:
        base = [*base, _higher_recipe(options, higher)]
    return base + [
        _io_recipe(end, io_type)
        for end, io_type in (("INPUT", options.input_type), ("OUTPUT", options.output_type))
        if io_type in ("float32", "uint8")
    ]


def _per_tensor(rules: Any) -> list[dict[str, Any]]:
    """Gives weights one scale in all; the rules themselves are changed."""
    for rule in rules:
        rule["op_config"]["weight_tensor_config"]["granularity"] = "TENSORWISE"
    return list(rules)


def _higher_recipe(options: Options, names: Collection[str]) -> dict[str, Any]:
    """Leaves some ops in float, or gives them int16 activations."""
    from litert_quantizer import recipe as recipes

    (rule,) = recipes.static_wi8_ai16()
    if options.mixed == "float":
        rule = {"operation": "*", "algorithm_key": "no_quantize", "op_config": {}}
    return {**rule, "regex": _any_of(names)}


def _any_of(names: Collection[str]) -> str:
    """A pattern for the ops that write these tensors; an op's scope is those names and `;`."""
    return f"^({'|'.join(re.escape(name) for name in sorted(names))});?$"


def _io_recipe(end: str, io_type: str) -> dict[str, Any]:
    """Leaves one end of the model in float32, or makes it uint8: a QUANTIZE op converts there."""
    if io_type == "float32":
        return {"regex": ".*", "operation": end, "algorithm_key": "no_quantize", "op_config": {}}
    return {
        "regex": ".*",
        "operation": end,
        "algorithm_key": "min_max_uniform_quantize",
        "op_config": {
            "activation_tensor_config": {
                "num_bits": 8,
                "symmetric": False,
                "granularity": "TENSORWISE",
                "dtype": "UINT",
            },
            "weight_tensor_config": {
                "num_bits": 8,
                "symmetric": True,
                "granularity": "CHANNELWISE",
                "dtype": "INT",
            },
            "compute_precision": "INTEGER",
            "explicit_dequantize": False,
        },
    }


def _float16_recipe() -> list[dict[str, Any]]:
    weights = {"num_bits": 16, "symmetric": True, "granularity": "TENSORWISE", "dtype": "FLOAT"}
    return [
        {
            "regex": ".*",
            "operation": operation,
            "algorithm_key": "float_casting",
            "op_config": {
                "weight_tensor_config": weights,
                "compute_precision": "FLOAT",
                "explicit_dequantize": True,
            },
        }
        for operation in ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE")
    ]
