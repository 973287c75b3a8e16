"""`edgekit inspect --quantization`: layers damaged on purpose are named, with the right advice."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import COLOURS, colour_picture, randomize, write_picture, write_procedural

from edgekit import datasets, images, tflite
from edgekit.contract import Contract
from edgekit.converters import calibrate, flatbuffer, lowering, make_options, quantize
from edgekit.converters.diagnosis.inspecting import diagnose
from edgekit.converters.ranges import Ranges, percentile_ranges
from edgekit.errors import NotMetError, UnreadableError, UsageError
from edgekit.overrides import Overrides, parse
from edgekit.report.quantization import LayerFacts, QuantizationReport
from edgekit.tflite.edit import edit, write

_SIZE = 32
_CONTRACT = Contract(_SIZE, _SIZE, (127.0,) * 3, (128.0,) * 3, fit="crop")

Array = Any


@pytest.fixture(scope="module")
def chain(keras3: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five convolutions in a row with ReLU, then pooling and a dense layer, in float32.

    A channel can be scaled up in one layer and down in the next: ReLU lets it through as it is.
    """
    layers = keras3.layers
    x = inputs = keras3.Input((_SIZE, _SIZE, 3), name="image")
    for number in range(5):
        x = layers.Conv2D(16, 3, 2 if number % 2 else 1, activation="relu", padding="same")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras3.Model(inputs, layers.Dense(5, name="logits")(x), name="chain")
    randomize(model, seed=3)
    return _export(model, tmp_path_factory.mktemp("chain") / "chain.tflite")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_procedural(tmp_path_factory.mktemp("pictures") / "photos", 24)


def _export(model: Any, path: Path, contract: Contract = _CONTRACT) -> Path:
    """Writes a Keras model as a float32 .tflite file with its contract, here and not in a child."""
    from edgekit.converters import graph

    frozen = graph.open_keras(path, model, None).freeze(path)
    path.write_bytes(tflite.pack(graph.to_tflite(frozen, path), contract))
    return path


class Bench:
    """Makes int8 files of the chain, sound or damaged, and looks into them."""

    def __init__(self, float_file: Path, photos: Path, folder: Path) -> None:
        self.float_file, self.photos, self.folder = float_file, photos, folder
        self.float_bytes = float_file.read_bytes()

    def graph(self) -> tflite.Subgraph:
        return tflite.read(self.float_bytes, "chain").main

    def output(self, number: int) -> str:
        """The name of what the convolution `number` gives."""
        op = [op for op in self.graph().operators if op.name == "CONV_2D"][number]
        return self.graph().tensors[op.outputs[0]].name

    def constant(self, model: bytes, number: int, place: int) -> tuple[int, Array]:
        """The index and a copy of a constant input of a convolution."""
        parsed = tflite.read(model, "model")
        op = [op for op in parsed.main.operators if op.name == "CONV_2D"][number]
        value = parsed.constant(parsed.main.tensors[op.inputs[place]])
        assert value is not None
        return op.inputs[place], value.copy()

    def quantized(
        self, ranges: Ranges | None = None, float_bytes: bytes | None = None, **options: Any
    ) -> bytes:
        """An int8 file, some ranges other than the calibrated ones."""
        model = lowering.lower(flatbuffer.prepare(float_bytes or self.float_bytes, "m"), "m")
        samples = datasets.find(self.photos).samples
        pictures = datasets.load(samples, _CONTRACT).pictures
        seen = calibrate.calibrate(model, pictures, _CONTRACT)
        found = percentile_ranges(seen.observed, 100, "Identity")
        found |= ranges or {}
        return quantize.quantize(model, make_options("int8", **options), found, "image", _CONTRACT)

    def calibrated(self, name: str) -> tuple[float, float]:
        """The range of an activation on the photos."""
        model = flatbuffer.prepare(self.float_bytes, "m")
        pictures = datasets.load(datasets.find(self.photos).samples, _CONTRACT).pictures
        seen = calibrate.calibrate(model, pictures, _CONTRACT).observed[name]
        return float(seen[:, 0].min()), float(seen[:, 1].max())

    def diagnose(self, quantized: bytes, float_bytes: bytes | None = None) -> QuantizationReport:
        against = self.float_file
        if float_bytes is not None:
            against = self.folder / "float.tflite"
            against.write_bytes(tflite.pack(float_bytes, _CONTRACT))
        return diagnose(self.file(quantized), against, data=self.photos, samples=24)

    def file(self, quantized: bytes) -> Path:
        """Writes a file with its contract, as `convert` does."""
        path = self.folder / "quantized.tflite"
        path.write_bytes(tflite.pack(quantized, _CONTRACT))
        return path


@pytest.fixture
def bench(chain: Path, photos: Path, tmp_path: Path) -> Bench:
    return Bench(chain, photos, tmp_path)


def _with_constant(model: bytes, index: int, value: Array, **fields: Any) -> bytes:
    """The file with another value in a constant tensor, which gets a buffer of its own."""
    root = edit(model, "model")
    tensor = root["subgraphs"][0]["tensors"][index]
    tensor["buffer"] = len(root["buffers"])
    root["buffers"].append(
        {"data": np.frombuffer(value.tobytes(), np.uint8), "offset": 0, "size": 0}
    )
    if fields:
        tensor["quantization"] |= fields
    return write(root)


def _layer(report: QuantizationReport, name: str) -> LayerFacts:
    (found,) = [layer for layer in report.layers if layer.name == name]
    return found


# --- what is damaged is named


def test_a_sound_file_has_no_bad_layer(bench: Bench) -> None:
    report = bench.diagnose(bench.quantized())
    assert [layer.op for layer in report.layers] == ["CONV_2D"] * 5 + ["MEAN", "FULLY_CONNECTED"]
    assert {layer.matched_by for layer in report.layers} == {"name"}
    assert report.unmatched == report.in_float == report.warnings == ()
    assert report.worst(1)[0].worst_db > 30
    assert {layer.cause for layer in report.layers} <= {
        *("nothing", "too few bits", "weight rounding", "inherited", "dead channels")
    }
    for layer in report.layers:
        assert layer.clipped == 0
        assert layer.shares.clipping == pytest.approx(0, abs=0.05)
        assert layer.sqnr_db < layer.own_sqnr_db + 1


def test_a_squeezed_range_is_saturation(bench: Bench) -> None:
    name = bench.output(2)
    low, high = bench.calibrated(name)
    report = bench.diagnose(bench.quantized({name: (low, 0.3 * high)}))
    worst = report.worst(1)[0]
    assert worst.name == name
    assert worst.cause == "saturated"
    assert "--range-percentile 100" in worst.findings[0].advice
    assert worst.clipped > 0.002
    assert worst.at_highest > 0.002
    assert worst.shares.clipping > 0.9
    assert worst.range_used > 1
    # What comes after it is bad too, and it is not to blame.
    after = [layer for layer in report.layers if layer.index > worst.index]
    assert after
    sound = {layer.index: layer for layer in bench.diagnose(bench.quantized()).layers}
    for layer in after:
        assert layer.sqnr_db < sound[layer.index].sqnr_db - 5
        assert layer.own_sqnr_db > 30
        if layer.cause == "inherited":
            assert f"#{worst.index} {name.partition(';')[0]}." in layer.findings[0].advice
    assert "inherited" in {layer.cause for layer in after}
    before = [layer for layer in report.layers if layer.index < worst.index]
    assert all(layer.sqnr_db > 30 for layer in before)


def test_a_range_far_too_wide(bench: Bench) -> None:
    name = bench.output(1)
    low, high = bench.calibrated(name)
    report = bench.diagnose(bench.quantized({name: (low, 20 * high)}))
    worst = report.worst(1)[0]
    assert worst.name == name
    assert worst.cause == "range too wide"
    assert "lower --range-percentile" in worst.findings[0].advice
    assert worst.codes_used is not None
    assert worst.codes_used < 0.1
    assert worst.range_used < 0.1


def test_a_channel_a_hundred_times_as_loud_needs_equalization(bench: Bench) -> None:
    """The next layer takes it back, so that the float model's answers are the same."""
    at, weights = bench.constant(bench.float_bytes, 2, 1)
    weights[5] *= 100
    model = _with_constant(bench.float_bytes, at, weights)
    at, bias = bench.constant(model, 2, 2)
    bias[5] *= 100
    model = _with_constant(model, at, bias)
    at, weights = bench.constant(model, 3, 1)
    weights[..., 5] /= 100
    model = _with_constant(model, at, weights)

    report = bench.diagnose(bench.quantized(float_bytes=model), model)
    worst = report.worst(1)[0]
    assert worst.name == bench.output(2)
    assert worst.cause == "uneven channels"
    assert "equalization" in worst.findings[0].advice
    assert worst.channels.spread > 30
    # The loud channel alone looks well; the median one shows the damage.
    assert worst.own_sqnr_db > 30 > worst.channel_sqnr_db


def test_a_channel_whose_weights_became_zeros(bench: Bench) -> None:
    sound = bench.quantized()
    at, weights = bench.constant(sound, 3, 1)
    weights[7] = 0
    at_bias, bias = bench.constant(sound, 3, 2)
    bias[7] = 0
    damaged = _with_constant(_with_constant(sound, at, weights), at_bias, bias)
    report = bench.diagnose(damaged)
    worst = report.worst(1)[0]
    assert worst.name == bench.output(3)
    assert worst.cause == "lost channels"
    assert "1 of 16 channels" in worst.findings[0].evidence
    assert worst.weights is not None
    assert worst.weights.zero_channels == 1
    assert worst.channels.lost == 1
    assert worst.shares.weights > 0.9


def test_a_channel_that_is_dead_in_the_float_model_is_no_loss(bench: Bench) -> None:
    at, weights = bench.constant(bench.float_bytes, 1, 1)
    weights[:4] = 0
    model = _with_constant(bench.float_bytes, at, weights)
    layer = _layer(bench.diagnose(bench.quantized(float_bytes=model), model), bench.output(1))
    assert layer.channels.dead >= 4
    assert layer.channels.lost == 0
    assert layer.weights is not None
    assert layer.weights.zero_channels == 0
    assert [f.cause for f in layer.findings if "prune" in f.advice] == ["dead channels"]


def test_weights_rounded_the_wrong_way_are_weight_rounding(bench: Bench) -> None:
    sound = bench.quantized()
    at, weights = bench.constant(sound, 4, 1)
    up = np.where(weights < 126, weights + 1, weights).astype(np.int8)
    report = bench.diagnose(_with_constant(sound, at, up))
    worst = report.worst(1)[0]
    assert worst.name == bench.output(4)
    assert worst.cause == "weight rounding"
    assert "Adaptive rounding" in worst.findings[0].advice
    assert worst.weights_sqnr_db == pytest.approx(worst.own_sqnr_db, abs=1)
    assert worst.weights is not None
    assert worst.weights.sqnr_db < worst.weights.per_channel_sqnr_db - 3


def test_one_scale_for_uneven_weights(bench: Bench) -> None:
    """As in files for older accelerators: the convolution 2 has one weight scale for all."""
    at, weights = bench.constant(bench.float_bytes, 2, 1)
    weights[5] *= 30
    model = _with_constant(bench.float_bytes, at, weights)
    int8 = bench.quantized(float_bytes=model)
    root = edit(int8, "m")["subgraphs"][0]["tensors"]
    at, _ = bench.constant(int8, 2, 1)
    at_bias, _ = bench.constant(int8, 2, 2)
    scale = float(np.abs(weights).max() / 127)
    source = next(i for i, t in enumerate(root) if t["name"] == bench.output(1))
    bias_scale = float(root[source]["quantization"]["scale"][0]) * scale
    one = {"zero_point": np.zeros(1, np.int64), "quantized_dimension": 0}
    steps = np.rint(weights / scale).astype(np.int8)
    _, bias = bench.constant(model, 2, 2)
    biases = np.rint(bias / bias_scale).astype(np.int32)
    damaged = _with_constant(int8, at, steps, scale=np.array([scale], np.float32), **one)
    damaged = _with_constant(
        damaged, at_bias, biases, scale=np.array([bias_scale], np.float32), **one
    )
    layer = _layer(bench.diagnose(damaged, model), bench.output(2))
    assert layer.weights is not None
    assert not layer.weights.per_channel
    assert layer.weights.spread == pytest.approx(30, rel=0.6)
    assert layer.weights.sqnr_db == pytest.approx(layer.weights.per_tensor_sqnr_db, abs=0.01)
    # The one loud channel has nearly all the power of the weights, so their SQNR stays high while
    # the other 15 channels have 4 of 127 steps.
    assert layer.worst_db < 25
    assert layer.cause == "weights per tensor"
    assert "A scale for each channel" in layer.findings[0].advice


def test_a_file_made_from_other_weights(bench: Bench) -> None:
    at, weights = bench.constant(bench.float_bytes, 1, 1)
    trained = _with_constant(bench.float_bytes, at, (weights * 1.3).astype(np.float32))
    report = bench.diagnose(bench.quantized(float_bytes=trained))
    assert _layer(report, bench.output(1)).cause == "other weights"
    assert [layer.cause for layer in report.layers].count("other weights") == 1


# --- the numbers


def test_the_numbers_worked_out_by_hand(
    colour_float: Path, colour_int8: Path, tmp_path: Path
) -> None:
    """Mean pooling over 8 x 8 to whole grey levels; three means divided by 25.5, in 12 / 255."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        write_picture(folder / f"{number}.png", colour_picture(COLOURS[number % 3], number, 32, 32))
    report = diagnose(
        colour_int8, colour_float, data=folder, overrides=parse("raw", resize="stretch")
    )
    pool, dense = report.layers
    pictures = np.stack([_read(folder / f"{n}.png") for n in range(6)]).astype(np.float64)
    pooled = pictures.reshape(6, 4, 8, 4, 8, 3).mean(axis=(2, 4))
    noise = np.rint(pooled) - pooled
    assert pool.own_sqnr_db == pytest.approx(_decibels(pooled, noise), abs=0.05)
    assert pool.sqnr_db == pytest.approx(pool.own_sqnr_db, abs=0.3)  # ties round otherwise
    assert (pool.clipped, pool.weights, pool.weights_sqnr_db) == (0, None, None)
    assert pool.shares.rounding == 1
    codes = np.unique(np.rint(pooled))
    assert pool.codes_used == pytest.approx(len(codes) / 256, abs=1 / 256)
    logits = pictures.mean(axis=(1, 2))[:, ::-1] / 25.5
    step = 12 / 255
    own = np.rint(logits / step) * step - logits
    assert dense.own_sqnr_db == pytest.approx(_decibels(logits, own), abs=0.05)
    assert dense.weights is not None
    assert dense.weights.spread == 1
    assert dense.weights.sqnr_db > 100  # every weight is 127 steps or none
    assert report.agreement == 1
    assert report.pictures == 6


def _decibels(signal: Array, noise: Array) -> float:
    return float(10 * np.log10((signal**2).sum() / (noise**2).sum()))


def _read(path: Path) -> Array:
    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture[..., ::-1]


@pytest.mark.parametrize("io_type", ["float32", "uint8"])
def test_other_types_at_the_ends_change_nothing_inside(bench: Bench, io_type: str) -> None:
    plain = bench.diagnose(bench.quantized())
    other = bench.diagnose(bench.quantized(input_type=io_type, output_type=io_type))
    assert [layer.op for layer in other.layers] == [layer.op for layer in plain.layers]
    for mine, theirs in zip(other.layers, plain.layers, strict=True):
        assert mine.own_sqnr_db == pytest.approx(theirs.own_sqnr_db, abs=1e-6)
        assert mine.sqnr_db == pytest.approx(theirs.sqnr_db, abs=0.2)
    assert other.scores_sqnr_db == pytest.approx(plain.scores_sqnr_db, abs=0.5)
    assert other.in_float == ()


def test_int16_activations_leave_the_weights(bench: Bench) -> None:
    model = flatbuffer.prepare(bench.float_bytes, "m")
    pictures = datasets.load(datasets.find(bench.photos).samples, _CONTRACT).pictures
    seen = calibrate.calibrate(model, pictures, _CONTRACT)
    found = percentile_ranges(seen.observed, 100, "Identity")
    file = quantize.quantize(model, make_options("int16x8"), found, "image", _CONTRACT)
    report = bench.diagnose(file)
    assert report.kind == "int16x8"
    weighted = [layer for layer in report.layers if layer.weights is not None]
    assert len(weighted) == 6
    for layer in weighted:
        assert layer.shares.weights > 0.99
        assert layer.codes_used is None


def test_what_only_moves_values_adds_no_error(keras3: Any, photos: Path, tmp_path: Path) -> None:
    """The convolution rounds; pooling and flattening give what they were given."""
    from edgekit.converters import convert

    layers = keras3.layers
    inputs = keras3.Input((_SIZE, _SIZE, 3))
    x = layers.MaxPooling2D(4)(layers.Conv2D(4, 3, 2, activation="relu")(inputs))
    model = keras3.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    randomize(model)
    against = _export(model, tmp_path / "f.tflite")
    file = convert(against, tmp_path / "q.tflite", data=photos).output
    report = diagnose(file, against, data=photos)
    by_op = {layer.op: layer for layer in report.layers}
    assert set(by_op) == {"CONV_2D", "MAX_POOL_2D", "RESHAPE", "FULLY_CONNECTED"}
    for op in ("MAX_POOL_2D", "RESHAPE"):
        assert by_op[op].own_sqnr_db == np.inf
        assert by_op[op].sqnr_db < 60
        assert by_op[op].cause == "inherited"
        assert "by itself it has no error" in by_op[op].findings[0].evidence
    assert by_op["CONV_2D"].own_sqnr_db < 60
    assert report.to_dict()["layers"][1]["own_sqnr_db"] == "inf"


def test_a_masked_score_is_no_clipping(keras3: Any, photos: Path, tmp_path: Path) -> None:
    """Attention in four groups of tokens: the mask of -100 lies far outside of the int8 range."""
    from edgekit.converters import convert

    layers, ops = keras3.layers, keras3.ops
    inputs = keras3.Input((_SIZE, _SIZE, 3))
    x = layers.Reshape((16, 24))(layers.Conv2D(24, 8, 8)(inputs))
    query, key, value = (layers.Dense(24)(x) for _ in range(3))
    apart = np.arange(16)[:, None] // 4 != np.arange(16)[None, :] // 4
    scores = ops.matmul(query, ops.transpose(key, (0, 2, 1)))
    scores = ops.add(scores, (-100.0 * apart).astype(np.float32))
    x = layers.GlobalAveragePooling1D()(ops.matmul(layers.Softmax()(scores), value))
    model = keras3.Model(inputs, layers.Dense(3)(x))
    randomize(model)
    against = _export(model, tmp_path / "f.tflite")
    file = convert(against, tmp_path / "q.tflite", data=photos).output

    graph_of = tflite.read(file.read_bytes(), "q").main
    (softmax,) = [op for op in graph_of.operators if op.name == "SOFTMAX"]
    masked = graph_of.tensors[softmax.inputs[0]]
    assert masked.scale is not None and masked.zero_point is not None
    assert (-128 - masked.zero_point) * masked.scale > -90  # the mask doesn't fit
    layer = _layer(diagnose(file, against, data=photos), masked.name)
    assert layer.op == "ADD"
    assert layer.clipped < 0.01
    assert layer.own_sqnr_db > 25
    assert layer.at_lowest > 0.5  # twelve of sixteen are masked


# --- files of others


def test_layers_with_other_names_are_matched_by_order(bench: Bench) -> None:
    sound = bench.quantized()
    root = edit(sound, "m")
    for number, tensor in enumerate(root["subgraphs"][0]["tensors"]):
        tensor["name"] = f"t{number}"
    plain, other = bench.diagnose(sound), bench.diagnose(write(root))
    assert {layer.matched_by for layer in other.layers} == {"order"}
    assert [layer.own_sqnr_db for layer in other.layers] == [
        layer.own_sqnr_db for layer in plain.layers
    ]
    assert any("matched by their order" in warning for warning in other.warnings)


def test_layers_without_counterpart_are_listed(bench: Bench, tiny_float: Path) -> None:
    """Another model of the same size: only its last layer is alike."""
    file = bench.file(bench.quantized())
    report = diagnose(file, tiny_float, data=bench.photos, samples=8)
    assert len(report.unmatched) + len(report.layers) == 7
    assert len(report.unmatched) >= 4
    assert any("is it the one" in warning for warning in report.warnings)
    assert any(f"{len(report.unmatched)} quantized" in warning for warning in report.warnings)


def test_nothing_in_common_is_an_error(keras3: Any, colour_int8: Path, tmp_path: Path) -> None:
    """Pooling and a dense layer here, one convolution and a reshape there."""
    inputs = keras3.Input((_SIZE, _SIZE, 3))
    outputs = keras3.layers.Flatten()(keras3.layers.Conv2D(3, _SIZE)(inputs))
    raw = Contract(_SIZE, _SIZE)
    other = _export(keras3.Model(inputs, outputs), tmp_path / "other.tflite", raw)
    with pytest.raises(UsageError, match="none of its 2 quantized layers"):
        diagnose(colour_int8, other, overrides=parse("raw", resize="stretch"))


@pytest.mark.slow
def test_a_file_of_the_stock_converter(tiny_keras: Path, tiny_photos: Path, tmp_path: Path) -> None:
    from edgekit.converters import convert

    options = make_options("int8", engine="tflite")
    stock = convert(tiny_keras, tmp_path / "s.tflite", options=options, data=tiny_photos).output
    report = diagnose(stock, tiny_keras, data=tiny_photos)
    assert len(report.layers) == 7
    assert report.unmatched == ()
    assert report.worst(1)[0].worst_db > 25


@pytest.mark.slow
def test_lite0_on_photos(lite0_keras: Path, lite0_float: Path, imagenet_split: Any) -> None:
    from edgekit.converters import convert

    calibrated, judged = imagenet_split
    file = convert(lite0_float, lite0_keras.with_name("q.tflite"), data=calibrated).output
    report = diagnose(file, lite0_float, data=judged, samples=8)
    assert len(report.layers) == 60
    assert 20 < report.scores_sqnr_db < 27
    own = sorted(layer.own_sqnr_db for layer in report.layers)
    assert 20 < own[0] < 35
    assert 35 < own[len(own) // 2] < 50
    # No layer of this model is broken, whatever is best tried next.
    causes = {layer.cause for layer in report.layers}
    assert not causes & {"lost channels", "other weights", "uneven channels", "range too wide"}


# --- the command


@pytest.mark.slow
def test_the_command_writes_all(
    bench: Bench, run_cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    name = bench.output(2)
    low, high = bench.calibrated(name)
    file = bench.file(bench.quantized({name: (low, 0.3 * high)}))
    outputs = {
        option: bench.folder / f"layers{suffix}"
        for option, suffix in (("--csv", ".csv"), ("--plot", ".png"), ("--node-data", ".json"))
    }
    arguments = [
        *("inspect", file, "--quantization", "--against", bench.float_file),
        *("--data", bench.photos, "--worst", "3", "--samples", "8"),
        *(word for pair in outputs.items() for word in pair),
    ]
    done = run_cli(*arguments)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    header = next(i for i, line in enumerate(lines) if line.startswith("#  layer"))
    assert lines[header + 1].split()[0] == "2"
    assert lines[header + 3] and not lines[header + 4]  # three layers, as asked for
    assert "Saturated. Try: A wider range" in done.stdout
    assert "  #2: " in done.stdout
    assert all(str(path) in lines[-1] for path in outputs.values())

    rows = list(csv.DictReader(io.StringIO(outputs["--csv"].read_text("utf-8"))))
    assert [int(row["index"]) for row in rows] == list(range(7))
    assert rows[2]["cause"] == "saturated"
    assert float(rows[2]["shares.clipping"]) > 0.9
    assert rows[5]["weights.spread"] == ""  # pooling has no weights

    picture = _read(outputs["--plot"])
    assert picture.shape == (700, 1200, 3)
    assert picture.std() > 10

    node_data = json.loads(outputs["--node-data"].read_text("utf-8"))
    graph = tflite.read(file.read_bytes(), "q").main
    given = {graph.tensors[i].name for op in graph.operators for i in op.outputs}
    assert set(node_data["results"]) <= given
    assert len(node_data["results"]) == 7
    values = {key: entry["value"] for key, entry in node_data["results"].items()}
    assert min(values, key=lambda key: values[key]) == name
    ends = [threshold["value"] for threshold in node_data["thresholds"]]
    assert ends == sorted(ends)
    assert all(t["bgColor"].startswith("#") for t in node_data["thresholds"])

    refused = run_cli(*arguments)
    assert refused.returncode == 2
    assert "exists already" in refused.stderr
    before = {path: path.read_bytes() for path in outputs.values()}
    again = run_cli(*arguments, "--force", "--json")
    assert again.returncode == 0
    assert {path: path.read_bytes() for path in outputs.values()} == before
    found = json.loads(again.stdout)
    assert len(found["layers"]) == 7
    assert found["layers"][2]["findings"][0]["cause"] == "saturated"
    assert found["layers"][5]["weights"] is None


def test_without_photos_it_says_so(
    bench: Bench, run_cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    file = bench.file(bench.quantized())
    done = run_cli(
        "inspect", file, "--quantization", "--against", bench.float_file, "--samples", "4"
    )
    assert done.returncode == 0
    assert "4 procedural images" in done.stdout
    assert "No --data was given" in done.stderr


def test_a_float_file_is_refused(chain: Path, photos: Path) -> None:
    with pytest.raises(UsageError, match="computes in float32") as caught:
        diagnose(chain, chain, data=photos)
    assert caught.value.hint is not None
    assert "--against" in caught.value.hint


def test_a_quantized_file_as_reference_is_refused(bench: Bench) -> None:
    file = bench.file(bench.quantized())
    with pytest.raises(UsageError, match="quantized already"):
        diagnose(file, file, data=bench.photos)


def test_models_of_other_classes_are_refused(bench: Bench, colour_float: Path) -> None:
    file = bench.file(bench.quantized())
    with pytest.raises(UsageError, match=r"gives 5 scores, but .* gives 3"):
        diagnose(file, colour_float, overrides=parse("raw", resize="stretch"))


def test_models_of_other_preprocessing_are_refused(bench: Bench) -> None:
    file = bench.file(bench.quantized())
    with pytest.raises(UsageError, match=r"efficientnet_lite .* with unit"):
        diagnose(file, bench.float_file, overrides=parse("unit"))


@pytest.mark.parametrize(
    ("content", "error"), [(None, UnreadableError), (b"no model", UnreadableError)]
)
def test_files_that_cannot_be_read(
    chain: Path, tmp_path: Path, content: bytes | None, error: type[Exception]
) -> None:
    if content is not None:
        (tmp_path / "m.tflite").write_bytes(content)
    with pytest.raises(error, match=r"m\.tflite"):
        diagnose(tmp_path / "m.tflite", chain)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--quantization"], "--against"),
        (["--quantization", "--against", "m.keras", "--ops"], "--ops"),
        (["--quantization", "--against", "m.keras", "--csv", "layers.txt"], ".csv"),
        (["--worst", "3"], "--quantization"),
        (["--against", "m.keras"], "--quantization"),
        (["--preprocess", "raw"], "--quantization"),
    ],
)
def test_options_that_do_not_fit(
    run_cli: Callable[..., subprocess.CompletedProcess[str]],
    colour_int8: Path,
    arguments: list[str],
    said: str,
) -> None:
    done = run_cli("inspect", colour_int8, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_numbers_that_are_not_finite_are_refused(colour_float: Path, colour_int8: Path) -> None:
    given = parse(mean=[255.0], std=[1e-39], resize="stretch")
    with pytest.raises(NotMetError, match="not finite on these images"):
        diagnose(colour_int8, colour_float, samples=2, overrides=given)


def test_no_samples_are_refused(bench: Bench) -> None:
    with pytest.raises(UsageError, match="--samples 0"):
        diagnose(bench.float_file, bench.float_file, samples=0, overrides=Overrides())


def test_the_scores_are_those_that_the_files_give_alone(bench: Bench) -> None:
    from edgekit.evaluation.run import run_all

    quantized = bench.quantized()
    report = bench.diagnose(quantized)
    chosen = datasets.select(datasets.find(bench.photos).samples, 24)
    pictures: images.Picture = datasets.load(chosen, _CONTRACT).pictures
    mine = run_all(quantized, pictures, _CONTRACT)
    theirs = run_all(bench.float_bytes, pictures, _CONTRACT)
    noise = ((theirs - mine) ** 2).sum()
    expected = 10 * np.log10((theirs**2).sum() / noise)
    assert report.scores_sqnr_db == pytest.approx(expected, abs=1.0)  # XNNPACK there
