"""The checks on what is written: each refuses a file that breaks the one thing it holds."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit import tflite
from edgekit.converters import Conversion, convert, make_options, verify
from edgekit.converters.export import Export
from edgekit.errors import NotMetError, RuntimeFailure
from edgekit.tflite.edit import edit, write

Fields = dict[str, Any]


@pytest.fixture(scope="module")
def sound(
    tiny_float: Path, tiny_photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Conversion:
    output = tmp_path_factory.mktemp("verify") / "m.tflite"
    return convert(tiny_float, output, data=tiny_photos)


def check(conversion: Conversion, model: bytes) -> None:
    verify.check_file(model, conversion.options, conversion.contract, "m.tflite")


def changed(conversion: Conversion, change: Callable[[Fields], None]) -> bytes:
    root = edit(conversion.output.read_bytes(), "m.tflite")
    change(root["subgraphs"][0])
    return write(root)


def of_first(graph: Fields, place: int) -> Fields:
    """The quantization of an input of the first op, a convolution: 0 data, 1 weights, 2 bias."""
    tensor = graph["tensors"][graph["operators"][0]["inputs"][place]]
    quantization: Fields = tensor["quantization"]
    return quantization


def test_what_convert_wrote_passes(sound: Conversion) -> None:
    check(sound, sound.output.read_bytes())


def test_weights_with_a_zero_point(sound: Conversion) -> None:
    def change(graph: Fields) -> None:
        quantization = of_first(graph, 1)
        quantization["zero_point"] = np.asarray(quantization["zero_point"]) + 1

    with pytest.raises(RuntimeFailure, match="have a zero point"):
        check(sound, changed(sound, change))


def test_one_scale_for_all_channels(sound: Conversion) -> None:
    def change(graph: Fields) -> None:
        quantization = of_first(graph, 1)
        for name in ("scale", "zero_point"):
            quantization[name] = np.asarray(quantization[name])[:1]

    with pytest.raises(RuntimeFailure, match=r"have 1 scale\(s\) for"):
        check(sound, changed(sound, change))


def test_bias_of_another_scale(sound: Conversion) -> None:
    def change(graph: Fields) -> None:
        quantization = of_first(graph, 2)
        quantization["scale"] = np.asarray(quantization["scale"]) * 1.01

    with pytest.raises(RuntimeFailure, match="not input scale times weight scale"):
        check(sound, changed(sound, change))


@pytest.mark.parametrize(("name", "by"), [("scale", 1.001), ("zero_point", None)])
def test_input_of_another_quantization(sound: Conversion, name: str, by: float | None) -> None:
    def change(graph: Fields) -> None:
        quantization = graph["tensors"][graph["inputs"][0]]["quantization"]
        old = np.asarray(quantization[name])
        quantization[name] = old * by if by else old + 1

    with pytest.raises(RuntimeFailure, match="the contract says"):
        check(sound, changed(sound, change))


def test_ends_of_another_type(sound: Conversion) -> None:
    for end in ("input", "output"):
        wanted: Any = {f"{end}_type": "uint8"}
        asked = dataclasses.replace(sound.options, **wanted)
        with pytest.raises(RuntimeFailure, match=f"the {end} came out as int8, not uint8"):
            verify.check_file(sound.output.read_bytes(), asked, sound.contract, "m.tflite")


def test_float_ops_are_named(sound: Conversion, tiny_float: Path) -> None:
    asked = make_options(input_type="float32", output_type="float32")
    with pytest.raises(NotMetError, match=r"would stay in float: CONV_2D \("):
        verify.check_file(tiny_float.read_bytes(), asked, sound.contract, "m.tflite")
    assert verify.float_ops(tflite.read(sound.output.read_bytes(), "m.tflite")) == []


@pytest.mark.slow
def test_an_op_without_int8_kernel_is_a_no(
    keras3: Any, tiny_photos: Path, tmp_path: Path, run_cli: Callable[..., Any]
) -> None:
    inputs = keras3.Input((32, 32, 3))
    x = keras3.layers.Conv2D(4, 3, activation="tanh")(inputs)
    x = keras3.layers.GlobalAveragePooling2D()(keras3.ops.exp(x))
    keras3.Model(inputs, keras3.layers.Dense(5)(x)).save(tmp_path / "m.keras")
    common = (tmp_path / "m.keras", "--data", tiny_photos, "--preprocess", "unit")
    done = run_cli("convert", "--int8", *common)
    assert done.returncode == 1, done.stderr
    assert "would stay in float: EXP" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]
    done = run_cli("convert", "--int16x8", *common)
    assert done.returncode == 0, done.stderr
    assert "stay in float, since they have no int16 kernel here: EXP" in done.stderr


@pytest.mark.slow
def test_an_export_that_answers_otherwise(tiny_keras: Path) -> None:
    with Export(tiny_keras, "keras") as export:
        export.described()
        deadline = time.monotonic() + 60
        while not (export.work / "float32.tflite").exists():  # the probe is written before it
            assert time.monotonic() < deadline
            time.sleep(0.05)
        probe = dict(np.load(export.work / "probe.npz"))
        np.savez(export.work / "probe.npz", input=probe["input"], output=probe["output"] + 1)
        with pytest.raises(RuntimeFailure, match="answers otherwise"):
            export.float_model()
