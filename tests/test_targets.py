"""Targets as data, and where the ops of a model will run."""

from __future__ import annotations

import csv
import dataclasses
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import build_colour_model
from targets_support import chain, graph, tensor

from edgekit import targets, tflite
from edgekit.errors import UnreadableError, UsageError
from edgekit.targets.conditions import RULES
from edgekit.targets.estimate import rates
from edgekit.targets.reading import read_accelerator, read_target
from edgekit.targets.target import UNITS
from edgekit.tflite.model import Model, Operator

_FOLDER = Path(targets.__file__).parent


# --- the data


@pytest.mark.parametrize("name", targets.names())
def test_a_target_that_edgekit_carries(name: str) -> None:
    target = targets.find(name)
    assert target.name == name
    assert target.title
    for key, number in target.numbers.items():
        assert number.unit == UNITS[key]
        assert number.source.startswith("https://")
    for alias in target.aliases:
        assert targets.find(alias).name == name


def test_the_targets_that_are_promised() -> None:
    promised = {"pi3", "pi4", "pi5", "pi_zero2w", "coral_usb", "coral_dev_board", "arm64", "armv7"}
    others = {"x86_64", "android_cpu", "android_gpu", "android_nnapi"}
    assert promised | others == set(targets.names())


def test_every_rule_is_used_and_every_advice_is_for_something() -> None:
    used = set()
    for path in (_FOLDER / "ops").glob("*.toml"):
        accelerator = read_accelerator(path)
        rules = {c.rule for conditions in accelerator.ops.values() for c in conditions}
        used |= rules
        for key in accelerator.advice:
            named = {"dtype", "dynamic", "dimensions"} | rules
            assert key in named or key.isupper(), (path.name, key)
    assert used == set(RULES)


def test_levels() -> None:
    assert targets.find("android_nnapi").level == 30
    assert targets.find("nnapi@28").level == 28
    with pytest.raises(UsageError, match="has no levels"):
        targets.find("pi4@3")
    with pytest.raises(UsageError, match="no Android API level"):
        targets.find("nnapi@R")


def test_an_unknown_target_has_near_names() -> None:
    with pytest.raises(UsageError) as caught:
        targets.find("choral")
    assert "Did you mean coral" in (caught.value.hint or "")
    assert "pi_zero2w" in (caught.value.hint or "")


# --- files of one's own

_OWN = """schema = 1
name = "board"
title = "My board"
aliases = []
processor = "a processor"
quantization = "any"
io_types = ["int8", "uint8", "float32"]
accelerator = "edgetpu"

[numbers.clock]
value = 1.5
unit = "GHz"
source = "its data sheet"
"""


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_text(_OWN)
    target = targets.find(str(tmp_path / "board.toml"))
    assert target.accelerator is not None
    assert target.numbers["clock"].value == 1.5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('source = "its data sheet"\n', "", "line 10: clock.source is missing"),
        ('"its data sheet"', '" "', "line 10: has an empty source"),
        ('"GHz"', '"MHz"', "line 10: clock is in 'MHz'; the unit is GHz"),
        ("value = 1.5", "value = -1", "line 10: clock = -1 is not positive"),
        ("value = 1.5", 'value = "fast"', "line 11: clock.value is no number"),
        ("value = 1.5", "value = true", "line 11: clock.value is no number"),
        ("numbers.clock", "numbers.colour", "line 10: colour is none of cores"),
        ("schema = 1", "schema = 2", "line 1: schema 2, this edgekit reads 1"),
        ("schema = 1\n", "", "schema is missing"),
        ('quantization = "any"', 'quantization = "int4"', "line 6: quantization = 'int4' is none"),
        ('"float32"]', '"float31"]', "line 7: io_types has 'float31'"),
        ("aliases = []", "alias = []", "aliases is missing"),
        ('title = "My board"', 'title = "My board"\ncolour = "red"', "line 4: colour is not known"),
        ("[numbers.clock]", "[numbers.clock", "no TOML"),
        ("[numbers.clock]", "[measured_on]\nname = 'x'\n[numbers.clock]", "name is not known"),
    ],
)
def test_what_is_wrong_with_it(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in _OWN
    path = tmp_path / "board.toml"
    path.write_text(_OWN.replace(old, new, 1))
    with pytest.raises(UnreadableError) as caught:
        targets.find(str(path))
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_an_accelerator_that_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_text(_OWN.replace('"edgetpu"', '"npu"'))
    with pytest.raises(UsageError, match="accelerator 'npu': not known"):
        targets.find(str(path))
    with pytest.raises(UnreadableError, match="No such file"):
        targets.find(str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ('ADD = ["sometimes"]', "ADD has the condition 'sometimes', which is none of"),
        ('MEAN = ["depth_multiple"]', "the condition depth_multiple needs of"),
        ('ADD = [{ rule = "same_dilation", of = 4 }]', "the condition same_dilation needs nothing"),
        ("ADD = true", "ADD is no list of conditions"),
    ],
)
def test_an_accelerator_that_makes_no_sense(tmp_path: Path, ops: str, message: str) -> None:
    path = tmp_path / "npu.toml"
    path.write_text(
        'schema = 1\nname = "npu"\ntitle = "NPU"\nsource = "x"\ndtypes = ["int8"]\n'
        f"one_partition = true\n[ops]\n{ops}\n"
    )
    with pytest.raises(UnreadableError) as caught:
        read_accelerator(path)
    assert f"{path}, line 8: " in str(caught.value)
    assert message in str(caught.value)


def test_a_rewriting_that_is_not_known(tmp_path: Path) -> None:
    text = (_FOLDER / "ops" / "gpu.toml").read_text("utf-8")
    path = tmp_path / "gpu.toml"
    path.write_text(text.replace('MEAN = "pool"', 'MEAN = "drop"'), "utf-8")
    with pytest.raises(UnreadableError, match="MEAN = 'drop' is none of spell_out, pool, split"):
        read_accelerator(path)


# --- against what the real compiler did


@pytest.mark.parametrize(
    "name", ["mobilenet_v1_0.25_128_quant", "deeplabv3_mnv2_dm05_pascal_quant"]
)
def test_the_ops_that_the_compiler_left(shared_models: Path, name: str) -> None:
    """Op for op: which of the model's ops are still ops of what Coral's compiler made of it."""
    folder = shared_models / "edgetpu"
    model, compiled = (
        tflite.read((folder / f"{n}.tflite").read_bytes(), n) for n in (name, f"{name}_edgetpu")
    )
    placement = targets.place(model, targets.find("coral"))
    left = [model.main.operators[op.index] for op in placement.left]
    real = [op for op in compiled.main.operators if not op.custom]
    assert [_signature(model, op) for op in left] == [_signature(compiled, op) for op in real]
    assert placement.partitions == 1
    assert placement.streamed_bytes == 0


def _signature(model: Model, operator: Operator) -> tuple[str, tuple[tuple[int, ...], ...]]:
    return operator.name, tuple(model.main.tensors[i].shape for i in operator.outputs)


# --- rules, on graphs of a few ops


def one(
    name: str,
    shape: tuple[int, ...] = (1, 8, 8, 16),
    out: tuple[int, ...] | None = None,
    options: Mapping[str, Any] | None = None,
    constant: list[int] | None = None,
    dtype: str = "int8",
    version: int = 1,
    position: int = 1,
) -> Model:
    """One op with a constant input of whole numbers, where there is one: mostly the second."""
    tensors = [tensor(0, shape, dtype), tensor(1, out or shape, dtype)]
    inputs: tuple[int, ...] = (0,)
    if constant is not None:
        tensors.insert(1, tensor(1, (len(constant),), "int32", 2))
        tensors[2] = dataclasses.replace(tensors[2], index=2)
        inputs = (0, *[-1] * (position - 1), 1) if position else (1, 0)
    model = graph((name, inputs, (len(tensors) - 1,)), tensors=tensors)
    operator = dataclasses.replace(model.main.operators[0], options=options or {}, version=version)
    main = dataclasses.replace(model.main, operators=(operator,))
    buffers = list(model.buffers)
    if constant is not None:
        buffers[2] = memoryview(np.array(constant, "<i4").tobytes())
    return dataclasses.replace(model, subgraphs=(main,), buffers=tuple(buffers))


def reason(model: Model, target: str = "coral") -> str | None:
    return targets.place(model, targets.find(target)).ops[0].reason


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (one("ADD"), None),
        (one("HARD_SWISH"), "is not supported"),
        (one("mine"), "is not supported"),
        (one("ADD", dtype="float32"), "works on float32"),
        (one("ADD", (2, 8, 8, 16)), "only the innermost 3"),
        (one("MAX_POOL_2D", options={"fused_activation_function": "RELU"}), "RELU is fused"),
        (
            one("CONV_2D", options={"dilation_w_factor": 2, "dilation_h_factor": 1}),
            "differs: 1 x 2",
        ),
        (one("MEAN", constant=[1, 2]), None),
        (one("MEAN", constant=[0]), "over the batch"),
        (one("MEAN", constant=[-4]), "over the batch"),
        (one("MEAN", constant=[-1]), None),
        (one("MEAN", (1, 8, 8, 6), constant=[3]), "no multiple of 4"),
        (one("MEAN"), "not constant"),
        (one("MEAN", (1, 64, 128, 4), constant=[1, 2]), None),
        (one("MEAN", (1, 65, 128, 4), constant=[1, 2]), "reduces 8320 pixels; up to 8192"),
        (one("MEAN", (1, 256, 128, 4), constant=[2]), None),
        (one("PAD", constant=[0, 0, 1, 1, 1, 1, 0, 0]), None),
        (one("PAD", constant=[0, 1, 1, 1, 1, 1, 0, 0]), "pads the batch"),
        (one("PAD"), "not constant"),
        (one("PACK", options={"axis": 0}), "along the batch"),
        (one("PACK", options={"axis": 3}), None),
        (one("SPLIT", constant=[0], position=0), "along the batch"),
        (one("SPLIT", constant=[-4], position=0), "along the batch"),
        (one("SPLIT", constant=[1], position=0), None),
        (one("SPLIT"), "axis is not constant"),
        (one("SOFTMAX", (1, 1000)), None),
        (one("SOFTMAX", (1, 16001)), "more than 16000"),
        (one("SOFTMAX", (1, 7, 7)), "is no vector"),
        (one("FULLY_CONNECTED", (1, 16), (1, 4)), None),
        (one("FULLY_CONNECTED", (1, 16), (1, 2, 4)), "output [1, 2, 4] is no vector"),
        (one("FULLY_CONNECTED", (1, 16), (1, 4), {"weights_format": "SHUFFLED4x16INT8"}), "SHUFF"),
        (one("SQUEEZE", (1, 1, 1, 16), (1, 16)), None),
        (one("SQUEEZE", (1, 5, 1, 16), (5, 16)), "behind others"),
        (one("STRIDED_SLICE", constant=[1, 1, 1, 1], position=3), None),
        (one("STRIDED_SLICE", constant=[1, 2, 2, 1], position=3), "not all 1"),
        (
            one("STRIDED_SLICE", constant=[1] * 4, position=3, options={"new_axis_mask": 1}),
            "new axis mask",
        ),
        (one("RESIZE_BILINEAR", (1, 1, 1, 16), (1, 8, 8, 16)), "a single pixel"),
        (one("RESIZE_BILINEAR", (1, 64, 64, 32), (1, 128, 128, 32)), None),
        (one("RESIZE_BILINEAR", (1, 256, 256, 32), (1, 512, 512, 32)), "10.0 MiB, 8 are there"),
        (one("TRANSPOSE_CONV", version=4), "version 4 is newer than 3"),
    ],
)
def test_conditions_of_the_edge_tpu(model: Model, said: str | None) -> None:
    found = reason(model)
    assert found is None if said is None else said in (found or ""), found


def test_weights_that_are_computed() -> None:
    shapes = [(1, 8, 8, 16), (1, 1, 1, 16), (1, 8, 8, 1)]
    model = graph(("CONV_2D", (0, 1), (2,)), tensors=[tensor(i, s) for i, s in enumerate(shapes)])
    assert reason(model) == "its weights are computed, not constant"
    constant = [tensor(0, shapes[0]), tensor(1, shapes[1], buffer=2), tensor(2, shapes[2])]
    assert reason(graph(("CONV_2D", (0, 1), (2,)), tensors=constant)) is None


def test_a_constant_among_what_is_joined() -> None:
    def joined(value: int, count: int = 2) -> Model:
        tensors = [tensor(0, (1, 8)), tensor(1, (1, 8), buffer=2), tensor(2, (1, 16))]
        model = graph(("CONCATENATION", (0, 1, 0)[:count], (2,)), tensors=tensors)
        buffers = list(model.buffers)
        buffers[2] = memoryview(bytes([value] * 8))
        return dataclasses.replace(model, buffers=tuple(buffers))

    assert reason(joined(0)) is None
    assert reason(joined(1)) == "its constant input is not all zeros"
    assert reason(joined(0, 3)) == "it has a constant input beside several others"


def test_a_size_that_is_known_later() -> None:
    moving = dataclasses.replace(tensor(0, (1, 8, 8, 16)), shape_signature=(1, -1, -1, 16))
    model = graph(("RELU", (0,), (1,)), tensors=[moving, tensor(1, (1, 8, 8, 16))])
    assert reason(model) == "has a size that is known only when it runs"
    batch = dataclasses.replace(moving, shape_signature=(-1, 8, 8, 16))
    model = graph(("RELU", (0,), (1,)), tensors=[batch, tensor(1, (1, 8, 8, 16))])
    assert reason(model) is None


@pytest.mark.parametrize(
    ("model", "level", "said"),
    [
        (one("ADD", dtype="uint8"), 27, None),
        (one("ADD"), 28, "taken since API level 29"),
        (one("ADD"), 29, None),
        (one("MEAN", dtype="uint8"), 27, "came with API level 28"),
        (one("EXP", dtype="float32"), 29, None),
        (one("EXP"), 30, "floating-point numbers only, not in int8"),
        (one("GELU"), 33, "is not supported"),
    ],
)
def test_conditions_of_nnapi(model: Model, level: int, said: str | None) -> None:
    found = reason(model, f"nnapi@{level}")
    assert found is None if said is None else said in (found or ""), found


# --- what follows an op that stays


def accelerated(model: Model, target: str = "coral", **options: bool) -> str:
    placement = targets.place(model, targets.find(target), **options)
    return "".join("x" if op.accelerated else "." for op in placement.ops)


def test_everything_behind_an_op_that_stays_stays() -> None:
    model = chain("RELU", "HARD_SWISH", "RELU", "RELU")
    assert accelerated(model) == "x..."
    placement = targets.place(model, targets.find("coral"))
    assert [op.follows for op in placement.ops] == [None, None, 1, 1]
    assert placement.ops[3].reason == "comes after HARD_SWISH (op 1)"
    assert placement.causes() == [
        ("HARD_SWISH", "is not supported", placement.ops[1].advice, 1),
    ]
    assert "relu6" in (placement.ops[1].advice or "")
    assert accelerated(model, many_partitions=True) == "x.xx"
    assert targets.place(model, targets.find("coral"), many_partitions=True).partitions == 2


def test_another_branch_is_still_taken() -> None:
    """As in the DeepLab that Coral compiled: only what depends on the op stays with it."""
    tensors = [tensor(i, (1, 8)) for i in range(5)]
    sin, relu = ("SIN", (0,), (1,)), ("RELU", (0,), (2,))
    rest = (("RELU", (2,), (3,)), ("ADD", (1, 3), (4,)))
    assert accelerated(graph(relu, sin, *rest, tensors=tensors)) == "x.x."
    # The first turn is the CPU's, and the accelerator's comes after it.
    assert accelerated(graph(sin, relu, *rest, tensors=tensors)) == ".xxx"


def test_what_comes_first_on_the_cpu_spoils_nothing() -> None:
    assert accelerated(chain("QUANTIZE", "RELU", "RELU", first="float32")) == ".xx"
    assert accelerated(chain("RELU", "QUANTIZE", "RELU", first="float32")) == ".xx"
    assert accelerated(chain("SIN", "RELU", "SIN", "RELU")) == ".x.."


def test_an_op_that_leads_spoils_nothing(shared_cases: Path) -> None:
    """As Coral's compiler does with this file: all but the first."""
    data = (shared_cases / "lead_reverse.tflite").read_bytes()
    assert accelerated(tflite.read(data, "lead_reverse.tflite")) == ".xxxx"


def test_what_the_runtime_there_does_not_load_is_said(colour_int8: Path) -> None:
    model = tflite.read(colour_int8.read_bytes(), "m")
    newer = dataclasses.replace(model.main.operators[0], name="FULLY_CONNECTED", version=12)
    graph = dataclasses.replace(model.main, operators=(newer, *model.main.operators[1:]))
    placement = targets.place(dataclasses.replace(model, subgraphs=(graph,)), targets.find("coral"))
    assert "TensorFlow Lite 2.5, which is there, doesn't load it: it has FULLY_CONNECTED 12" in (
        " ".join(placement.remarks)
    )


def test_a_compiled_file(run_cli, shared_models: Path) -> None:
    compiled = shared_models / "edgetpu" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    said = run_cli("inspect", compiled, "--target", "coral").stdout
    assert "the file is compiled; edgetpu-custom-op holds what the compiler took" in said
    assert "0 of 1 ops" not in said


def test_pieces_are_counted_as_tflite_cuts_them() -> None:
    """Two ways of unlike length through the CPU come back to the accelerator in one piece."""
    tensors = [tensor(i, (1, 8)) for i in range(7)]
    ops = (
        *(("RELU", (0,), (1,)), ("SIN", (1,), (2,)), ("RELU", (2,), (3,))),
        *(("SIN", (1,), (4,)), ("SIN", (4,), (5,)), ("RELU", (5,), (6,))),
    )
    model = graph(*ops, tensors=tensors)
    assert targets.place(model, targets.find("coral"), many_partitions=True).partitions == 2


# --- real models


@pytest.mark.parametrize("target", [*targets.names(), "nnapi@27"])
def test_any_model_on_any_target(target: str) -> None:
    for quantized in (False, True):
        model = tflite.read(build_colour_model(quantized=quantized), "m")
        placement = targets.place(model, targets.find(target))
        assert len(placement.ops) == len(model.main.operators)
        assert 0 <= placement.mac_share <= 1
        assert json.loads(json.dumps(placement.to_dict()))["target"] == placement.target


@pytest.mark.slow
def test_efficientnet_lite_maps_whole(run_cli, lite0_keras: Path, tmp_path: Path) -> None:
    """Converted to int8 with no photos: what the file computes is what counts here."""
    output = tmp_path / "lite0.tflite"
    run = run_cli("convert", "--int8", lite0_keras, "-o", output, "--target", "coral")
    assert run.returncode == 0, run.stderr
    for said in (run.stdout, run_cli("inspect", output, "--target", "coral").stdout):
        assert "Edge TPU: 60 of 60 ops, 100.0% of the MACs" in said
        assert "All parameters fit on the chip." in said


def test_hard_swish_is_written_with_ops_that_map(run_cli, keras3: Any, tmp_path: Path) -> None:
    layers = keras3.layers
    inputs = keras3.Input((32, 32, 3))
    x = layers.Activation("hard_silu")(layers.Conv2D(8, 3, 2)(inputs))
    scores = layers.Dense(4)(layers.GlobalAveragePooling2D()(x))
    keras3.Model(inputs, scores).save(tmp_path / "m.keras")
    options = ("--int8", tmp_path / "m.keras", "--preprocess", "tf")
    run = run_cli("convert", *options, "-o", tmp_path / "a.tflite")
    assert "HARD_SWISH" not in run.stderr
    assert "HARD_SWISH" in run_cli("inspect", tmp_path / "a.tflite", "--target", "coral").stdout
    run = run_cli("convert", *options, "-o", tmp_path / "b.tflite", "--target", "coral")
    assert run.returncode == 0, run.stderr
    assert "1 HARD_SWISH are written with simpler ops" in run.stderr
    assert "100.0% of the MACs" in run.stdout
    assert "stays on the CPU" not in run.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--float32", "--target", "coral"), "takes int8, not float32"),
        (("--int8", "--input-type", "float32", "--target", "coral"), "--input-type float32"),
        (("--int8", "--target", "pi9"), "not known"),
    ],
)
def test_what_a_target_can_not_use_is_refused(run_cli, colour_float, tmp_path, options, message):
    output = tmp_path / "m.tflite"
    run = run_cli("convert", colour_float, *options, "--preprocess", "raw", "-o", output)
    assert run.returncode == 2
    assert message in run.stderr
    assert not output.exists()


def test_the_placement_in_json(run_cli, colour_float: Path, tmp_path: Path) -> None:
    options = ("--preprocess", "raw", "-o", tmp_path / "m.tflite", "--target", "coral", "--json")
    run = run_cli("convert", "--int8", colour_float, *options)
    assert run.returncode == 0, run.stderr
    placement = json.loads(run.stdout)["placement"]
    assert placement["target"] == "coral_usb"
    assert all(op["accelerated"] for op in placement["ops"])


def test_a_float_model_is_told_to_become_int8(run_cli, colour_float: Path) -> None:
    run = run_cli("inspect", colour_float, "--target", "coral", "--ops")
    assert run.returncode == 0
    assert "Edge TPU: 0 of 2 ops" in run.stdout
    assert "works on float32" in run.stdout
    assert "Try: Convert with --int8." in run.stdout
    assert "The input is float32; Coral USB Accelerator wants int8, uint8." in run.stdout
    assert run.stdout.count("CPU") >= 3


def test_json_and_bad_use(run_cli, colour_int8: Path, tmp_path: Path) -> None:
    found = json.loads(run_cli("inspect", colour_int8, "--target", "pi4", "--json").stdout)
    assert found["accelerator"] is None
    assert [op["op"] for op in found["ops"]] == ["AVERAGE_POOL_2D", "FULLY_CONNECTED"]
    assert "no accelerator" in run_cli("inspect", colour_int8, "--target", "pi4").stdout
    for options, code, message in (
        (("--target", "pi9"), 2, "Did you mean pi"),
        (("--target", tmp_path / "no.toml"), 3, "No such file"),
        (("--multiple-subgraphs",), 2, "goes with --target"),
        (("--target", "pi4", "--quantization"), 2, "goes without"),
        (("--target", "pi4", "--samples", "3"), 2, "go without --quantization"),
    ):
        run = run_cli("inspect", colour_int8, *options)
        assert run.returncode == code, run.stderr
        assert message in run.stderr
    run = run_cli("inspect", tmp_path / "none.tflite", "--target", "pi4")
    assert run.returncode == 3


def test_reading_a_target_needs_no_level() -> None:
    """A level that a file doesn't speak of is left out of it."""
    path = _FOLDER / "pi4.toml"
    assert read_target(path, lambda name: pytest.fail(name), 30).level is None


# --- estimates


@pytest.mark.slow
def test_what_a_model_does(lite0_float: Path) -> None:
    """EfficientNet-Lite0: 385 M MACs and 4.65 M parameters, as the catalogue has them."""
    work = targets.work_of(tflite.read(lite0_float.read_bytes(), "lite0"))
    assert work.macs == pytest.approx(385e6, rel=0.02)
    assert work.parameters == pytest.approx(4.65e6, rel=0.01)
    assert work.precision == "float32"
    millions, activations, streamed, once = work.features(None)
    assert (millions, streamed, once) == (work.macs / 1e6, 0, 1)
    assert activations == work.activations * 4 / 1e6
    assert work.features(1e6)[2] == (work.parameters * 4 - 1e6) / 1e6


def test_estimates_come_from_the_rates_and_have_an_interval() -> None:
    small = targets.Work(50_000_000, 2_000_000, 1_000_000, "int8")
    large = targets.Work(5_000_000_000, 20_000_000, 25_000_000, "int8")
    for target in ("pi4", "coral", "coral_dev_board", "android_cpu"):
        less, more = (targets.estimates(work, targets.find(target)) for work in (small, large))
        assert less, target
        assert [e.rate for e in less] == [e.rate for e in more]
        for one, other in zip(less, more, strict=True):
            assert 0 < one.low <= one.ms <= one.high or one.rate.low > 1 or one.rate.high < 1
            assert one.ms < other.ms
        errors = [estimate.rate.median_error for estimate in less]
        assert errors == sorted(errors)
    assert targets.estimates(small, targets.find("pi5")) == []
    assert (
        targets.estimates(dataclasses.replace(small, precision="float32"), targets.find("coral"))
        == []
    )


def test_rates_are_those_of_the_published_latencies() -> None:
    """benchmarks/latency_fit.py wrote them: at most 25 % off in half of the cases."""
    root = Path(__file__).resolve().parents[1]
    fitted = json.loads((root / "benchmarks" / "results" / "latency_fit.json").read_text())
    errors = sorted(abs(row["error"]) for row in fitted["left_out"])
    assert len(errors) == fitted["rows"] > 200
    assert np.median(errors) == pytest.approx(fitted["median_error"], abs=1e-3)
    assert fitted["median_error"] <= 0.25
    assert abs(fitted["worst"]["error"]) == errors[-1]
    assert len(rates()) == fitted["settings"]


def test_every_measurement_has_a_source() -> None:
    with (_FOLDER / "measurements.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 500
    for row in rows:
        assert row["source"].startswith("https://"), row
        assert row["latency_ms"] or row["top1_percent"], row
        assert not row["latency_ms"] or float(row["latency_ms"]) > 0
        assert not row["top1_percent"] or 20 < float(row["top1_percent"]) < 95


def test_the_estimate_is_told(run_cli, colour_int8: Path, colour_float: Path) -> None:
    run = run_cli("inspect", colour_int8, "--target", "pi4")
    assert "Estimate: " in run.stdout
    assert "Cortex-A72" in run.stdout
    assert "off by more than" in run.stdout
    found = json.loads(run_cli("inspect", colour_int8, "--target", "pi4", "--json").stdout)
    assert found["estimates"][0]["rate"]["target"] == "pi4"
    run = run_cli("inspect", colour_float, "--target", "coral")
    assert "not all of it runs on the accelerator" in run.stdout
    assert "too little is published" in run_cli("inspect", colour_int8, "--target", "pi5").stdout


# --- peaks


def test_no_rate_is_faster_than_the_peak() -> None:
    """The rate of multiply-accumulates, of two operations each, against what the chip can do."""
    checked = []
    for rate in rates():
        key, giga = ("peak_int8", 1e3) if rate.precision == "int8" else ("peak_float", 1)
        peak = targets.find(rate.target).numbers.get(key)
        if peak is not None:
            giga_operations = 2 / rate.coefficients[0]  # of ms per million
            assert giga_operations <= peak.value * giga, rate.setting
            checked.append(rate.target)
    assert sorted(set(checked)) == ["coral_dev_board", "coral_usb", "pi4"]


@pytest.mark.parametrize(
    ("name", "key", "operations"),
    [
        ("pi3", "peak_float", 8),
        ("pi4", "peak_float", 8),
        ("pi5", "peak_float", 16),
        ("pi_zero2w", "peak_float", 8),
        ("pi4", "peak_int8", 16),
        ("pi5", "peak_int8", 64),
    ],
)
def test_peaks_are_cores_times_clock_times_width(name: str, key: str, operations: int) -> None:
    """Operations a cycle of a core: see the files."""
    numbers = targets.find(name).numbers
    giga = numbers[key].value * (1e3 if key == "peak_int8" else 1)
    assert giga == pytest.approx(
        numbers["cores"].value * numbers["clock"].value * operations, rel=0.005
    )


# --- one's own measurements


@pytest.fixture
def data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "edgekit" / "measurements.jsonl"


def test_what_was_benchmarked_goes_before_any_estimate(run_cli, colour_int8, data_home) -> None:
    here = "arm64" if platform.machine() == "aarch64" else platform.machine()
    effort = ("--rounds", "1", "--min-time", "20ms", "--max-time", "1s", "--threads", "1")
    assert run_cli("benchmark", colour_int8, *effort, "--no-remember").returncode == 0
    assert not data_home.exists()
    for _ in range(2):
        assert run_cli("benchmark", colour_int8, *effort).returncode == 0
    assert len(data_home.read_text().splitlines()) == 2
    run = run_cli("inspect", colour_int8, "--target", here)
    assert run.stdout.count("Measured by you: ") == 1
    assert "1 thread" in run.stdout
    assert "Estimate" not in run.stdout
    found = json.loads(run_cli("inspect", colour_int8, "--target", here, "--json").stdout)
    assert len(found["measured"]) == 2
    assert found["measured"][0]["p50_ms"] > 0
    other = run_cli("inspect", colour_int8, "--target", "pi4")
    assert "Measured" not in other.stdout
    assert "Estimate" in other.stdout


def test_which_target_a_measurement_is_of(data_home: Path) -> None:
    one = targets.own.Measured(
        *("0" * 64, "m.tflite", "Raspberry Pi 4 Model B Rev 1.4", "aarch64", "Debian 12"),
        *("xnnpack", 4, 31.5, 100, "litert 2.3.0", "2026-11-28T10:00:00+00:00"),
    )
    coral = dataclasses.replace(one, delegate="edgetpu")
    phone = dataclasses.replace(one, machine="Pixel 9", os="Android 16", delegate="gpu")
    assert targets.own.keep([one, coral, phone]) == data_home
    with data_home.open("a") as file:
        file.write('{"broken": 1}\n[]\nno json\n')
    expected = {"pi4": one, "arm64": one, "coral": coral, "android_gpu": phone}
    for name, wanted in expected.items():
        assert targets.own.find("0" * 64, targets.find(name)) == [wanted], name
    for name in ("pi3", "pi5", "x86_64", "android_cpu", "android_nnapi", "coral_dev_board"):
        assert targets.own.find("0" * 64, targets.find(name)) == [], name
    assert targets.own.find("1" * 64, targets.find("pi4")) == []


def test_a_place_that_can_not_be_written_to_costs_nothing(
    run_cli, colour_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    run = run_cli("benchmark", colour_int8, "--rounds", "1", "--min-time", "20ms")
    assert run.returncode == 0, run.stderr
