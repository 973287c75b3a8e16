"""Models that Keras 2 (tf.keras) wrote: read by Keras 3, with the same answers.

They are written in a child process, since Keras 2 and 3 don't go together in one.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import artefacts
import numpy as np
import pytest

from edgekit import images, tflite
from edgekit.contract import NORMALIZATIONS
from edgekit.converters import Conversion, convert, make_options
from edgekit.errors import MissingError
from edgekit.overrides import Overrides
from edgekit.runtime import Interpreter

if importlib.util.find_spec("tf_keras") is None:
    pytest.skip(
        'tf_keras, which writes the models, is not installed: pip install "edgekit[keras2]"',
        allow_module_level=True,
    )

pytestmark = pytest.mark.slow

RAW = Overrides(normalization=NORMALIZATIONS["raw"])

#: Defines models by name; each is saved as NAME.h5 and NAME.keras, its answers as NAME.npz.
_WRITE = """
import sys
import numpy as np
import tensorflow as tf
import tf_keras as keras

layers, rng = keras.layers, np.random.default_rng(5)

def randomize(model):
    for weight in model.weights:
        shape, positive = weight.shape, "variance" in weight.name or "gamma" in weight.name
        inputs = np.prod(shape[:2] if "depthwise" in weight.name else shape[:-1])
        value = rng.normal(0, (2 / inputs) ** 0.5 if len(shape) > 1 else 0.3, shape)
        weight.assign(np.abs(value) + 0.7 if positive else value)

def functional():
    inputs = keras.Input((32, 32, 3))
    x = keras.applications.mobilenet_v2.preprocess_input(inputs)  # TFOpLambda layers
    x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False, name="stem/conv")(x)
    x = skip = layers.ReLU(6.0)(layers.BatchNormalization(name="stem/conv/bn")(x))
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=1)(x)
    x = layers.BatchNormalization(axis=[3])(x)
    x = tf.nn.relu(x + skip)
    x = layers.SpatialDropout2D(0.1)(layers.SeparableConv2D(12, 3)(x))
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))

def nested():
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, 2, activation="relu")(inputs)
    backbone = keras.Model(inputs, layers.BatchNormalization(name="a/b")(x), name="backbone")
    return keras.Sequential([
        keras.Input((32, 32, 3)),
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.1),
        layers.Rescaling(1 / 127.5, offset=-1),
        backbone,
        layers.GlobalAveragePooling2D(),
        layers.Dropout(0.3),
        layers.Dense(4, activation="softmax"),
    ])

def untranslatable():
    inputs = keras.Input((32, 32, 3))
    x = tf.math.softplus(layers.Conv2D(8, 3, 2)(inputs / 255.0))
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))

def hard_sigmoid():
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, 2, activation="hard_sigmoid")(layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))

def mobilenet_v3():
    return keras.applications.MobileNetV3Small(
        (64, 64, 3), minimalistic=False, weights=None, classes=10, classifier_activation=None
    )

for name in sys.argv[2:]:
    model = globals()[name]()
    randomize(model)
    pixels = rng.integers(0, 256, (4, *model.input_shape[1:])).astype(np.float32)
    np.savez(f"{sys.argv[1]}/{name}.npz", x=pixels, y=model(pixels, training=False))
    model.save(f"{sys.argv[1]}/{name}.h5")
    model.save(f"{sys.argv[1]}/{name}.keras")
"""


def _written(names: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def write(folder: Path) -> None:
        run = subprocess.run(
            [sys.executable, "-c", _WRITE, folder, *names.split()],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1"},
        )
        assert run.returncode == 0, run.stderr

    folder = tmp_path_factory.mktemp("keras2") / "files"
    return artefacts.copy_of("keras2", folder, write, of=names, product=False)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _written("functional nested untranslatable hard_sigmoid", tmp_path_factory)


@pytest.fixture(scope="module")
def written_v3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _written("mobilenet_v3", tmp_path_factory)


def _float32(source: Path, output: Path) -> Conversion:
    return convert(source, output, options=make_options("float32"), overrides=RAW)


def _assert_same_answers(conversion: Conversion) -> None:
    kept = np.load(conversion.source.with_suffix(".npz"))
    interpreter = Interpreter(conversion.output.read_bytes())
    found = np.stack([interpreter.invoke(picture) for picture in kept["x"]])
    scale = max(1.0, float(np.abs(kept["y"]).max()))
    np.testing.assert_allclose(found, kept["y"], atol=1e-5 * scale)
    assert kept["y"].std(axis=0).max() > 1e-4 * scale  # the answers depend on the picture


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("name", ["functional", "nested"])
def test_keras3_gives_the_same_answers(
    written: Path, tmp_path: Path, name: str, suffix: str
) -> None:
    conversion = _float32(written / f"{name}{suffix}", tmp_path / "m.tflite")
    assert conversion.framework.startswith("Keras 3")
    _assert_same_answers(conversion)
    # The normalization that is in the model was found in it.
    assert conversion.contract_source.startswith("raw pixels, inferred from layer")
    assert conversion.contract.output == ("probabilities" if name == "nested" else "logits")


def test_a_translated_model_becomes_int8(written: Path, tmp_path: Path) -> None:
    conversion = convert(
        written / "functional.h5", tmp_path / "m.tflite", options=make_options(samples=8)
    )
    graph = tflite.read(conversion.output.read_bytes(), "m").main
    assert not [t.name for t in graph.tensors if t.is_float]
    assert images.to_input(
        np.full((1, 32, 32, 3), 200, np.uint8), conversion.contract, np.int8
    ).tolist()[0][0][0] == [72, 72, 72]


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_mobilenet_v3(written_v3: Path, tmp_path: Path, suffix: str) -> None:
    conversion = _float32(written_v3 / f"mobilenet_v3{suffix}", tmp_path / "m.tflite")
    assert conversion.framework.startswith("Keras 3")
    _assert_same_answers(conversion)


@pytest.mark.parametrize("file", ["untranslatable.h5", "untranslatable.keras", "hard_sigmoid.h5"])
def test_what_is_not_translated_goes_to_keras2(written: Path, tmp_path: Path, file: str) -> None:
    """Keras 3 would read `hard_sigmoid` without a word, and compute something else."""
    conversion = _float32(written / file, tmp_path / "m.tflite")
    assert "tf_keras" in conversion.framework
    _assert_same_answers(conversion)


def test_without_keras2_the_line_that_installs_it_is_given(
    keras3: Any, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgekit.converters import keras_loader

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "tf_keras" else real(name, *rest),
    )
    with pytest.raises(MissingError, match=r"math\.softplus") as raised:
        keras_loader.load(written / "untranslatable.h5", "h5", ())
    assert raised.value.hint is not None
    assert 'pip install "edgekit[keras2]"' in raised.value.hint
    assert raised.value.exit_code == 5
    # What can be translated is read without it.
    assert keras_loader.load(written / "functional.h5", "h5", ()).output_shape == (None, 4)
