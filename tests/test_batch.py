"""Sources of any batch: what comes out has a batch of 1, and answers the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import randomize
from lowering_support import op_counts

from edgekit import tflite
from edgekit.converters import batch
from edgekit.errors import UsageError
from edgekit.runtime import open_native

_SIZE = 24


def _model(keras3: Any, size: int | None, end: str = "softmax") -> Any:
    """Flattened and shaped again, so that a batch that may change is worked out on the way."""
    layers = keras3.layers
    inputs = keras3.Input((_SIZE, _SIZE, 3), batch_size=size)
    x = layers.Conv2D(8, 3, 4, activation="relu")(inputs)
    x = layers.Reshape((6, 6, 8))(layers.Dense(288)(layers.Flatten()(x)))
    x = layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    if end == "argmax":
        import tensorflow as tf

        x = layers.Lambda(lambda scores: tf.argmax(scores, axis=-1))(x)
    if end == "mixed":  # with the mean over the whole batch
        x = layers.Lambda(lambda v: v + keras3.ops.mean(v, axis=0, keepdims=True))(x)
    model = keras3.Model(inputs, x)
    randomize(model)
    return model


def _stock(model: Any) -> bytes:
    """As TensorFlow's converter writes it."""
    import tensorflow as tf

    return bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


def _answers(model: bytes, images: np.ndarray) -> np.ndarray:
    native = open_native(model)
    native.set_tensor(native.get_input_details()[0]["index"], images)
    native.invoke()
    return np.asarray(native.get_tensor(native.get_output_details()[0]["index"]))


@pytest.mark.parametrize("size", [None, 4], ids=["any", "four"])
def test_a_tflite_file_of_another_batch(
    run_cli: Any, keras3: Any, tmp_path: Path, size: int | None
) -> None:
    source = _stock(_model(keras3, size))
    assert op_counts(source)["SHAPE"] == (0 if size else 2)
    (tmp_path / "m.tflite").write_bytes(source)
    output = tmp_path / "int8.tflite"
    options = ("--int8", tmp_path / "m.tflite", "--preprocess", "raw", "-o", output)
    run = run_cli("convert", *options, "--target", "coral")
    assert run.returncode == 0, run.stderr
    assert ("its batch of 4 is fixed at 1" in run.stderr) == (size == 4)
    assert "Edge TPU: 7 of 7 ops, 100.0% of the MACs" in run.stdout
    graph = tflite.read(output.read_bytes(), "m").main
    assert graph.tensors[graph.inputs[0]].shape == (1, _SIZE, _SIZE, 3)
    assert all(-1 not in tensor.shape_signature for tensor in graph.tensors)


@pytest.mark.parametrize("size", [None, 4], ids=["any", "four"])
def test_each_image_has_the_answer_that_it_had(keras3: Any, size: int | None) -> None:
    source = _stock(_model(keras3, size))
    assert batch.is_to_be_fixed(tflite.read(source, "m"))
    fixed = batch.fix_at_one(source, "m")
    assert not batch.is_to_be_fixed(tflite.read(fixed, "m"))
    images = np.random.default_rng(2).uniform(-1, 1, (size or 1, _SIZE, _SIZE, 3))
    images = images.astype(np.float32)
    expected = _answers(source, images)
    found = np.concatenate([_answers(fixed, image[None]) for image in images])
    assert np.ptp(expected) > 0.05
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_what_is_filled_by_a_shape_is_a_constant(keras3: Any) -> None:
    import tensorflow as tf

    layers = keras3.layers
    inputs = keras3.Input((_SIZE, _SIZE, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, 4)(inputs))
    x = layers.Lambda(lambda v: tf.concat([v, tf.fill([tf.shape(v)[0], 4], 0.5)], 1))(x)
    source = _stock(keras3.Model(inputs, layers.Dense(3)(x)))
    assert op_counts(source)["FILL"] == 1
    fixed = batch.fix_at_one(source, "model")
    assert not {"FILL", "SHAPE"} & set(op_counts(fixed))


def test_a_model_that_mixes_the_images_of_a_batch_is_refused(keras3: Any) -> None:
    source = _stock(_model(keras3, 4, "mixed"))
    with pytest.raises(UsageError, match="its batch can't be fixed at 1: it then answers otherwis"):
        batch.fix_at_one(source, "m")


def test_what_takes_no_images_is_told_so(run_cli: Any, keras3: Any, tmp_path: Path) -> None:
    layers = keras3.layers
    words = keras3.Input((16,), dtype="int32")
    x = layers.Dense(3, activation="relu")(layers.Embedding(9, 4)(words))
    scores = layers.Dense(5)(layers.Flatten()(x))
    source = _stock(keras3.Model(words, scores))
    assert op_counts(source)["SHAPE"]
    (tmp_path / "m.tflite").write_bytes(source)
    options = ("--preprocess", "raw", "-o", tmp_path / "o.tflite")
    run = run_cli("convert", tmp_path / "m.tflite", *options)
    assert run.returncode == 2
    assert "not an image classifier: it takes int32[-1, 16]" in run.stderr


@pytest.mark.slow
def test_keras_and_savedmodel_sources_have_a_batch_of_one(
    run_cli: Any, keras3: Any, tmp_path: Path
) -> None:
    _model(keras3, 4).save(tmp_path / "four.keras")
    _model(keras3, None).export(str(tmp_path / "any"), verbose=False)
    for source in ("four.keras", "any"):
        output = tmp_path / f"{source}.tflite"
        options = ("--int8", tmp_path / source, "--preprocess", "raw", "-o", output)
        run = run_cli("convert", *options, "--target", "coral")
        assert run.returncode == 0, run.stderr
        assert "100.0% of the MACs" in run.stdout
        graph = tflite.read(output.read_bytes(), "m").main
        assert graph.tensors[graph.inputs[0]].shape == (1, _SIZE, _SIZE, 3)


def test_a_savedmodel_of_a_fixed_batch_is_told_how_to_mend_it(
    run_cli: Any, keras3: Any, tmp_path: Path
) -> None:
    import tensorflow as tf

    model = _model(keras3, 4)
    call = tf.function(lambda x: model(x, training=False))
    signature = call.get_concrete_function(tf.TensorSpec((4, _SIZE, _SIZE, 3), tf.float32))
    tf.saved_model.save(model, str(tmp_path / "four"), signatures=signature)
    options = ("--int8", tmp_path / "four", "--preprocess", "raw", "-o", tmp_path / "m.tflite")
    run = run_cli("convert", *options)
    assert run.returncode == 2
    assert "its signature takes 4 images at a time" in run.stderr


@pytest.mark.slow
def test_an_argmax_at_the_end(run_cli: Any, keras3: Any, tmp_path: Path) -> None:
    """It is cut off where the target has none, or where that is asked for."""
    source = tmp_path / "m.tflite"
    source.write_bytes(_stock(_model(keras3, None, "argmax")))
    assert op_counts(source.read_bytes())["ARG_MAX"] == 1
    options = ("--int8", source, "--preprocess", "raw", "-o", tmp_path / "o.tflite", "--force")
    for asked in ((), ("--target", "android_nnapi@30")):
        run = run_cli("convert", *options, *asked)
        assert run.returncode == 2
        assert "no scores to judge by" in run.stderr
        assert "edgekit convert --logits" in run.stderr
    for asked in (("--target", "coral"), ("--logits",)):
        run = run_cli("convert", *options, *asked)
        assert run.returncode == 0, run.stderr
        assert "1 ARG_MAX at the end is cut off" in run.stderr
        parsed = tflite.read((tmp_path / "o.tflite").read_bytes(), "o")
        assert parsed.main.tensors[parsed.main.outputs[0]].shape == (1, 5)
        assert "ARG_MAX" not in op_counts((tmp_path / "o.tflite").read_bytes())


def test_a_file_that_takes_any_size(
    run_cli: Any, shared_cases: Path, tiny_photos: Path, tmp_path: Path
) -> None:
    """Its stored shape, of 1 x 1 pixels, is never taken for its size."""
    model, output = shared_cases / "open_size.tflite", tmp_path / "m.tflite"
    said = run_cli("inspect", model).stdout
    assert "[1, -1, -1, 3]" in said and "without CONV_2D" in said
    for verb in (
        ("predict", model, *tiny_photos.glob("*")),
        ("evaluate", model, "--data", tiny_photos),
    ):
        run = run_cli(*verb)
        assert run.returncode == 2
        assert "takes pictures of any size: its input is float32[1, -1, -1, 3]" in run.stderr
    asked = ("convert", model, "-o", output, "--data", tiny_photos, "--preprocess", "raw")
    asked += ("--resize", "stretch")
    run = run_cli(*asked)
    assert run.returncode == 2 and not output.exists()
    assert "takes pictures of any size" in run.stderr and "--input-size 224" in run.stderr
    run = run_cli(*asked, "--input-size", "40x48")
    assert run.returncode == 0, run.stderr
    converted = tflite.read(output.read_bytes(), "m").main
    assert converted.tensors[converted.inputs[0]].shape_signature == (1, 40, 48, 3)
