"""The contract: its tables, its document, and what the user may put in its place."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgekit.cli.options import INTERPOLATION_NAMES, PREPROCESS_NAMES
from edgekit.contract import INTERPOLATIONS, NORMALIZATIONS, Contract, parse_resize_rule
from edgekit.errors import UnreadableError, UsageError
from edgekit.overrides import parse, read_labels

PIXELS = np.arange(256)[:, None]


def contract_of(name: str) -> Contract:
    return Contract(8, 8).with_normalization(NORMALIZATIONS[name])


@pytest.mark.parametrize("name", ["raw", "tf", "efficientnet_lite"])
def test_the_device_only_subtracts_128(name: str) -> None:
    contract = contract_of(name)
    assert contract.int8_is_pixel_minus_128
    assert (contract.int8_table() == PIXELS - 128).all()


@pytest.mark.parametrize("name", ["torch", "caffe"])
def test_channels_that_differ_need_a_table(name: str) -> None:
    contract = contract_of(name)
    assert not contract.int8_is_pixel_minus_128
    # Every channel rises with the pixel, and the three together use the whole range.
    table = contract.int8_table().astype(int)
    assert (np.diff(table, axis=0) >= 0).all()
    assert table.min() == -128 and table.max() == 127


@pytest.mark.parametrize("name", ["raw", "unit", "efficientnet_lite"])
def test_an_integer_mean_is_exact(name: str) -> None:
    contract = contract_of(name)
    scale, zero_point = contract.int8_quantization()
    real = (contract.int8_table().astype(np.float64) - zero_point) * scale
    np.testing.assert_allclose(real, contract.float_table(), rtol=1e-6, atol=1e-6)


def test_a_mean_of_127_5_is_within_half_a_grey_level() -> None:
    contract = contract_of("tf")
    scale, zero_point = contract.int8_quantization()
    real = (contract.int8_table().astype(np.float64) - zero_point) * scale
    grey_levels = np.abs(real - contract.float_table()) * 127.5
    assert 0.49 < grey_levels.max() <= 0.501


def test_quantization_of_the_named_normalizations() -> None:
    assert contract_of("raw").int8_quantization() == (1.0, -128)
    assert contract_of("efficientnet_lite").int8_quantization() == (1 / 128, -1)
    assert contract_of("tf").int8_quantization() == (float(np.float32(1 / 127.5)), -1)


def test_zero_is_always_representable() -> None:
    bright = Contract(8, 8, mean=(-50.0, -60.0, -70.0), std=(2.0, 2.0, 2.0))
    scale, zero_point = bright.int8_quantization()
    assert -128 <= zero_point <= 127
    assert scale * 255 >= bright.float_table().max()


def test_the_document_comes_back_the_same() -> None:
    contract = Contract(
        96, 128, (1.5, 2.0, 3.0), (4.0, 5.0, 6.0), "BGR", "crop", 0.875, "cubic",
        ("Ä", "b"), "probabilities",
    )  # fmt: skip
    text = contract.to_json()
    assert Contract.from_json(text, "x") == contract
    assert Contract.from_json(text, "x").to_json() == text
    assert json.loads(text)["schema"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": 2, "contract": {}}',
        '{"schema": 1, "contract": {"height": 8}}',
        '{"schema": 1, "contract": {"height": 8, "width": 8, "mean": 0, "std": [1, 1, 1]}}',
        Contract(8, 8).to_json().replace('"fit": "stretch"', '"fit": "squeeze"'),
        Contract(8, 8).to_json().replace('"height": 8', '"height": 0'),
        Contract(8, 8).to_json().replace('"labels"', '"names"'),
    ],
)
def test_a_damaged_document_is_named(text: str) -> None:
    with pytest.raises(UnreadableError, match=r"model\.tflite"):
        Contract.from_json(text, "model.tflite")


@pytest.mark.parametrize(
    "values",
    [
        {"height": 0},
        {"width": 10**6},
        {"std": (1.0, 0.0, 1.0)},
        {"mean": (float("nan"),) * 3},
        {"mean": (1.0, 2.0)},
        {"colour_order": "GBR"},
        {"fit": "squeeze"},
        {"interpolation": "lanczos"},
        {"output": "votes"},
        {"crop_fraction": 1.5},
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Contract(**{"height": 8, "width": 8, **values})  # type: ignore[arg-type]


def test_names_of_normalizations() -> None:
    assert contract_of("torch").normalization_name == "torch"
    assert Contract(8, 8, (1.0,) * 3, (2.0,) * 3).normalization_name == "mean 1 std 2 RGB"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("stretch", ("stretch", 1.0)), ("crop", ("crop", 1.0)), ("crop:0.875", ("crop", 0.875))],
)
def test_resize_rules(rule: str, expected: tuple[str, float]) -> None:
    assert parse_resize_rule(rule) == expected
    fit, fraction = expected
    assert Contract(8, 8, fit=fit, crop_fraction=fraction).resize_rule == rule


@pytest.mark.parametrize("rule", ["", "squeeze", "pad:0.5", "crop:x"])
def test_unknown_resize_rules(rule: str) -> None:
    with pytest.raises(UsageError, match="not known"):
        parse_resize_rule(rule)


def test_the_help_names_every_choice() -> None:
    assert tuple(NORMALIZATIONS) == PREPROCESS_NAMES
    assert INTERPOLATIONS == INTERPOLATION_NAMES


def test_overrides_take_the_place_of_what_is_known() -> None:
    given = parse("tf", resize="crop:0.5", interpolation="area", labels=["a", "b"])
    contract = given.apply(Contract(8, 8), 2)
    assert contract.normalization_name == "tf"
    assert (contract.fit, contract.crop_fraction, contract.interpolation) == ("crop", 0.5, "area")
    assert contract.labels == ("a", "b")
    untouched = Contract(8, 8, fit="pad", labels=("a", "b"))
    assert parse().apply(untouched, 2) == untouched


def test_mean_and_std_are_one_number_or_three() -> None:
    given = parse(mean=[1.0], std=[2.0, 3.0, 4.0], colour_order="BGR")
    contract = given.apply(Contract(8, 8), 2)
    assert contract.mean == (1.0,) * 3
    assert contract.std == (2.0, 3.0, 4.0)
    assert contract.colour_order == "BGR"


@pytest.mark.parametrize(
    "values",
    [
        {"preprocess": "magic"},
        {"preprocess": "tf", "mean": [1.0], "std": [1.0]},
        {"preprocess": "tf", "colour_order": "BGR"},
        {"mean": [1.0]},
        {"mean": [1.0, 2.0], "std": [1.0]},
        {"colour_order": "BGR"},
        {"resize": "squeeze"},
    ],
)
def test_contradictions_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        parse(**values)  # type: ignore[arg-type]


def test_labels_must_be_one_per_class(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeffcat\r\nhot dog\r\n\r\n".encode())
    assert read_labels(path) == ("cat", "hot dog")
    with pytest.raises(UsageError, match=r"labels.txt: 2 labels.* 3 outputs"):
        parse(labels=path).apply(Contract(8, 8), 3)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"cat\n\ndog\n", b"\xff\xfe\x00"])
def test_a_bad_labels_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match=r"labels\.txt"):
        read_labels(path)
    with pytest.raises(UnreadableError, match=r"none\.txt"):
        read_labels(tmp_path / "none.txt")
