"""Files say which runtime they need, and no runtime is believed untried."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from conftest import needs

from edgekit import tflite
from edgekit.converters import make_options
from edgekit.errors import RuntimeFailure, UsageError
from edgekit.runtime import interpreter, probes
from edgekit.tflite import versions
from edgekit.tflite.edit import edit, write
from edgekit.tflite.schema import MODEL_TABLES, OPERATORS, TENSOR_TYPES

Cli = Callable[..., subprocess.CompletedProcess[str]]

_FORMS = {
    "int8": (),
    "uint8": ("--input-type", "uint8", "--output-type", "uint8"),
    "float32 ends": ("--input-type", "float32", "--output-type", "float32"),
    "int16x8": ("--int16x8",),
    "dynamic": ("--dynamic",),
    "float16": ("--float16",),
    "float32": ("--float32",),
}


def _converted(
    run_cli: Cli, source: Path, photos: Path, output: Path, *options: object
) -> tflite.Model:
    data = () if {"--dynamic", "--float16", "--float32"} & set(options) else ("--data", photos)
    run = run_cli("convert", source, "-o", output, *data, "--no-golden", *options)
    assert run.returncode == 0, run.stderr
    return tflite.read(output.read_bytes(), str(output))


@pytest.mark.parametrize("form", _FORMS)
def test_every_operator_states_what_it_needs(
    run_cli: Cli, tiny_float: Path, tiny_photos: Path, tmp_path: Path, form: str
) -> None:
    output = tmp_path / "m.tflite"
    model = _converted(run_cli, tiny_float, tiny_photos, output, *_FORMS[form])
    wanted: dict[str, int] = {}
    for operator in model.main.operators:
        need = versions.need(model.main, operator)
        assert need is not None, operator.name
        wanted[operator.name] = max(need.version, wanted.get(operator.name, 1))
    # As a reader that isn't ours sees it.
    read = schema.Model.GetRootAs(output.read_bytes(), 0)
    codes = [read.OperatorCodes(i) for i in range(read.OperatorCodesLength())]
    assert {OPERATORS[code.BuiltinCode()]: code.Version() for code in codes} == wanted
    assert all(c.DeprecatedBuiltinCode() == min(c.BuiltinCode(), 127) for c in codes)
    oldest = versions.runtime_of(model)
    assert oldest is not None and oldest.since is not None
    stated = bytes(model.metadata[versions.MIN_RUNTIME_VERSION]).rstrip(b"\0").decode()
    assert stated == oldest.since
    newest = {"int8": "2.13", "uint8": "2.13", "float32 ends": "2.13", "int16x8": "2.13"}
    assert stated == (newest | {"dynamic": "2.17", "float16": "1.15", "float32": "1.6"})[form]


def test_the_rules_name_what_there_is() -> None:
    fields = {field.partition(":")[0] for table in MODEL_TABLES.values() for field in table.split()}
    for name, rules in versions._rules().items():
        assert name in OPERATORS
        for version, words in rules.needs:
            assert 1 <= version <= len(rules.since), name
            for word in (word.removeprefix("!") for word in words):
                if match := re.fullmatch(r"[xwvy]=(.*)", word):
                    assert set(match[1].split(",")) <= set(TENSOR_TYPES), (name, word)
                else:
                    assert word in versions._WORDS or word in fields, (name, word)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["float32", "float16", "dynamic"])
@pytest.mark.parametrize("family", ["mobilenet_v2", "mobilenet_v3_small"])
def test_the_stock_converter_states_the_same(keras3: Any, family: str, form: str) -> None:
    """Not so in int8 and int16x8, where it states what it had computed before it quantized."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(_small(keras3, family))
    if form != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form == "float16":
        converter.target_spec.supported_types = [tf.float16]
    graph = tflite.read(converter.convert(), "stock").main
    needed: dict[str, int] = {}
    stated: dict[str, int] = {}
    for operator in graph.operators:
        need = versions.need(graph, operator)
        assert need is not None, operator.name
        needed[operator.name] = max(need.version, needed.get(operator.name, 1))
        stated[operator.name] = operator.version
    assert needed == stated


def _small(keras3: Any, family: str) -> Any:
    """An untrained model of a family, 64 x 64."""
    builder = {
        "mobilenet_v2": keras3.applications.MobileNetV2,
        "mobilenet_v3_small": keras3.applications.MobileNetV3Small,
    }[family]
    return builder(input_shape=(64, 64, 3), weights=None, classes=10)


# --- made for an old runtime


@pytest.mark.parametrize(
    ("runtime", "one_scale"), [("2.5", True), ("2.12.0", True), ("2.13", False)]
)
def test_dense_layers_for_an_old_runtime(
    run_cli: Cli,
    tiny_float: Path,
    tiny_photos: Path,
    tmp_path: Path,
    runtime: str,
    one_scale: bool,
) -> None:
    """Theirs alone have one scale; the other layers keep one for each channel."""
    output = tmp_path / "m.tflite"
    model = _converted(run_cli, tiny_float, tiny_photos, output, "--runtime", runtime)
    for operator in model.main.operators:
        if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            weights = model.main.tensors[operator.inputs[1]]
            alone = one_scale and operator.name == "FULLY_CONNECTED"
            assert (len(weights.scales) == 1) == alone
    oldest = versions.runtime_of(model)
    assert oldest is not None and versions.at_least(runtime, oldest.since or "")


@pytest.mark.parametrize(("runtime", "version"), [("2.14", 9), (None, 12)])
def test_dynamic_dense_layers(
    run_cli: Cli, tiny_float: Path, tiny_photos: Path, tmp_path: Path, runtime: str, version: int
) -> None:
    options = ("--runtime", runtime) if runtime else ()
    output = tmp_path / "m.tflite"
    model = _converted(run_cli, tiny_float, tiny_photos, output, "--dynamic", *options)
    (dense,) = [op for op in model.main.operators if op.name == "FULLY_CONNECTED"]
    assert dense.version == version and dense.options["asymmetric_quantize_inputs"]


def test_what_an_old_runtime_can_not_do_is_refused(
    run_cli: Cli, tiny_float: Path, tiny_photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "m.tflite"
    run = run_cli("convert", tiny_float, "-o", output, "--data", tiny_photos, "--runtime", "1.13")
    assert run.returncode == 1 and not output.exists()
    assert re.search(
        r"needs TensorFlow Lite 1\.1[45] or later, and the file is for 1\.13", run.stderr
    )


@pytest.mark.parametrize("runtime", ["two", "2", "2.5.0.post1", ""])
def test_a_runtime_that_is_no_version(runtime: str) -> None:
    with pytest.raises(UsageError, match="expected a version of TensorFlow Lite"):
        make_options(runtime=runtime)


# --- inspect


def test_inspect_says_versions_and_why(
    run_cli: Cli, tiny_float: Path, tiny_photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "m.tflite"
    _converted(run_cli, tiny_float, tiny_photos, output)
    said = run_cli("inspect", output).stdout
    assert re.search(
        r"runtime +TensorFlow Lite 2\.13 or later \(FULLY_CONNECTED 10: .*each output channel", said
    )
    assert re.search(r"FULLY_CONNECTED +10 +1 ", said)
    # As edgekit wrote them before it knew.
    root = edit(output.read_bytes(), "m")
    root["metadata"] = []  # it speaks of files behind the model, which are gone
    for code in root["operator_codes"]:
        code["version"] = 1
    output.write_bytes(write(root))
    said = run_cli("inspect", output).stdout
    assert "FULLY_CONNECTED states version 1 and needs 10" in said


# --- no runtime is believed untried


def test_the_runtime_here_passes() -> None:
    assert interpreter.faults() == ()
    assert [probe.name for probe in probes.all_probes() if not _answered(probe)] == []


def _answered(probe: probes.Probe) -> bool:
    return probe.fits(interpreter.Interpreter(probe.model).invoke(probe.value)[None])


@pytest.mark.parametrize("probe", probes.all_probes(), ids=lambda probe: probe.name)
def test_a_model_that_would_be_computed_wrong_is_refused(
    probe: probes.Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime with a fault refuses the models that it spoils, and no others."""
    wrong = dataclasses.replace(probe, expected=probe.expected + 100)
    monkeypatch.setattr(interpreter, "all_probes", lambda: (wrong,))
    interpreter.faults.cache_clear()
    try:
        with pytest.raises(RuntimeFailure, match=f"computes {re.escape(probe.name)} wrong"):
            interpreter.Interpreter(probe.model)
        others = [p for p in probes.all_probes() if p.name != probe.name]
        assert all(map(_answered, others))
    finally:
        interpreter.faults.cache_clear()


def test_what_a_device_is_told_to_try_finds_the_same(tmp_path: Path) -> None:
    """The text that other Pythons run, in this one."""
    needs("ai_edge_litert")
    told = [
        {**vars(p), "expected": p.expected + (100 if i == 1 else 0)}
        for i, p in enumerate(probes.all_probes())
    ]
    changed = [probes.Probe(**values) for values in told]
    spaces: dict[str, Any] = {"module": "ai_edge_litert.interpreter", "printed": []}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "all_probes", lambda: tuple(changed))
        spaces["probes"] = probes.as_json()
    spaces["print"] = spaces["printed"].append
    exec(probes.TRY, spaces)
    assert spaces["printed"] == [changed[1].name]


# --- made for a program


@pytest.mark.parametrize("form", ["--int8", "--float16"])
def test_for_mediapipe(
    run_cli: Cli, tiny_float: Path, tiny_photos: Path, tmp_path: Path, form: str
) -> None:
    """uint8 or float at both ends, and probabilities out of a model that gives logits."""
    made = {}
    for name, asked in (("plain", ()), ("for", ("--for", "mediapipe"))):
        output = tmp_path / f"{name}.tflite"
        run = run_cli(
            "convert", tiny_float, "-o", output, "--data", tiny_photos, "--no-golden", form, *asked
        )
        assert run.returncode == 0, run.stderr
        made[name] = tflite.read(output.read_bytes(), name)
    graph = made["for"].main
    dtype = "uint8" if form == "--int8" else "float32"
    ends = [graph.tensors[i].dtype for i in (*graph.inputs, *graph.outputs)]
    assert ends == [dtype, dtype]
    assert tflite.output_meaning(made["plain"]) == "logits"
    assert tflite.output_meaning(made["for"]) == "probabilities"
    contract = tflite.read_contract((tmp_path / "for.tflite").read_bytes(), "for")
    assert contract is not None and contract.output == "probabilities"
    picture = np.random.default_rng(0).integers(0, 256, graph.tensors[graph.inputs[0]].shape)
    scores = interpreter.Interpreter((tmp_path / "for.tflite").read_bytes())
    answer = scores.invoke(picture.astype(dtype)).astype(np.float64)
    assert answer.sum() == pytest.approx(
        255 if dtype == "uint8" else 1, abs=3 if dtype == "uint8" else 1e-3
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"input_type": "int8"}, "can't be given int8"),
        ({"logits": True}, "reads scores as probabilities"),
        ({"engine": "tflite"}, "--for goes without --engine tflite"),
    ],
)
def test_what_a_program_can_not_read_is_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make_options(client="mediapipe", **asked)
