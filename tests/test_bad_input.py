"""Bad input to `edgekit convert`: one clear message, the right exit code, nothing left behind."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import COLOURS, build_colour_model, randomize, write_picture

from edgekit import tflite
from edgekit.cli.main import main
from edgekit.contract import NORMALIZATIONS, Contract
from edgekit.converters import convert, make_options, preprocessing, procedural, sources
from edgekit.converters.export import Description
from edgekit.errors import (
    EdgekitError,
    MissingError,
    NotMetError,
    RuntimeFailure,
    UnreadableError,
    UsageError,
)
from edgekit.overrides import Overrides
from edgekit.training import keras_file

#: Runs the command line in a fresh process, where `-m edgekit` can't be used.
_MAIN = "import sys; from edgekit.cli.main import main; main(sys.argv[1:])"


@dataclass
class Shell:
    """Runs `edgekit` in this process, in a folder of its own, and holds it to the rules."""

    folder: Path
    temporary: Path
    capsys: pytest.CaptureFixture[str]
    before: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: object) -> tuple[int, str]:
        """The exit code, and stderr."""
        self.before = _contents(self.folder)
        with pytest.raises(SystemExit) as end:
            main([str(a) for a in arguments])
        assert isinstance(end.value.code, int)
        return end.value.code, self.capsys.readouterr().err

    def refuses(self, error: type[EdgekitError], words: str, *arguments: object) -> str:
        """Checks that a command ends with that error; its message."""
        code, text = self.run(*arguments)
        check_refusal(code, text, error, words)
        self.check_nothing_left()
        return text

    def check_nothing_left(self) -> None:
        assert _contents(self.folder) == self.before
        assert list(self.temporary.iterdir()) == []


def check_refusal(code: int, text: str, error: type[EdgekitError], words: str) -> None:
    """One message that says what, where and what to do, and the error's exit code."""
    assert code == error.exit_code, text
    assert "Traceback" not in text
    assert "bug in edgekit" not in text
    lines = text.rstrip().splitlines()
    assert [line for line in lines if line.startswith("Error: ")] == lines[:1], text
    assert words in text
    assert len(lines) > 1, f"nothing says what to do: {text}"


def _contents(folder: Path) -> dict[str, str]:
    """The digest of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def shell(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Shell:
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path, temporary, capsys)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A float classifier of colours without a contract."""
    path = tmp_path / "m.tflite"
    path.write_bytes(build_colour_model())
    return path


def save(model: Any, path: Path) -> Path:
    model.save(path)
    return path


def small(keras: Any, *, size: int | None = 8, channels: int = 3, name: str = "small") -> Any:
    """Pooling and a Dense layer."""
    inputs = keras.Input((size, size, channels))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(4)(x), name=name)
    randomize(model)
    return model


@pytest.fixture(scope="session")
def small_keras(keras3: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `.keras` file that says nothing of its preprocessing."""
    return save(small(keras3), tmp_path_factory.mktemp("small") / "small.keras")


def read_here(path: Path, size: tuple[int, int] | None = None) -> Any:
    """What the export child does first, in this process: TensorFlow needs not start again."""
    from edgekit.converters import graph, keras_loader

    kind = sources.kind_of(path)
    if kind == "savedmodel":
        return graph.open_savedmodel(path, size)
    return graph.open_keras(path, keras_loader.load(path, kind, ()), size)


def refused_here(
    path: Path, error: type[EdgekitError], words: str, size: tuple[int, int] | None = None
) -> None:
    with pytest.raises(error) as raised:
        read_here(path, size)
    assert str(path) in raised.value.message
    assert words in raised.value.message + (raised.value.hint or "")
    assert raised.value.hint


# --- files that are no models


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".tflite"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"P", "not a model file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not a model file"),
        (np.random.default_rng(0).bytes(5000), "not a model file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a model file"),
        (b"\0\0\0\0TFL3", "not a sound .tflite file"),
        (b"PK\x03\x04" + bytes(300), "not a sound .keras file"),
    ],
    ids=["empty", "one byte", "lfs", "random", "picture", "tflite head", "zip head"],
)
def test_no_model(shell: Shell, suffix: str, content: bytes, words: str) -> None:
    path = shell.folder / f"m{suffix}"
    path.write_bytes(content)
    text = shell.refuses(UnreadableError, words, "convert", path, "-o", "out.tflite")
    assert str(path) in text


def test_missing_and_odd_sources(shell: Shell) -> None:
    shell.refuses(UnreadableError, "No such file", "convert", "no.keras")
    (shell.folder / "empty").mkdir()
    shell.refuses(UnreadableError, "no SavedModel", "convert", "empty")
    shell.refuses(UnreadableError, "no SavedModel", "convert", ".")
    (shell.folder / "saved_model.pb").write_bytes(b"x" * 100)
    shell.refuses(UnreadableError, "Give its folder", "convert", "saved_model.pb")
    shell.refuses(UnreadableError, "name too long", "convert", f"{'x' * 300}.keras")
    os.mkfifo(shell.folder / "pipe")
    shell.refuses(UnreadableError, "neither a file nor a folder", "convert", "pipe")


def test_truncated_tflite(shell: Shell, colour_float: Path) -> None:
    data = colour_float.read_bytes()
    for length in range(8, len(data) - 4, len(data) // 12):
        (shell.folder / "m.tflite").write_bytes(data[:length])
        shell.refuses(UnreadableError, "m.tflite", "convert", "m.tflite", "-o", "out.tflite")


def test_truncated_keras_never_reaches_keras(shell: Shell, small_keras: Path) -> None:
    data = small_keras.read_bytes()
    for length in range(4, len(data), len(data) // 8):
        (shell.folder / "m.keras").write_bytes(data[:length])
        text = shell.refuses(UnreadableError, "not a sound .keras file", "convert", "m.keras")
        assert "File not found" not in text


# --- zip archives that escape, explode or lie


def _rezip(source: Path, target: Path, change: Callable[[dict[str, bytes]], object]) -> None:
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("name", ["../x", "/tmp/edgekit-x", "a/../../x", "..\\x", "C:\\x"])
def test_members_that_escape(shell: Shell, small_keras: Path, name: str) -> None:
    path = shell.folder / "m.keras"
    _rezip(small_keras, path, lambda members: members.update({name: b"x"}))
    shell.refuses(UnreadableError, "outside its folder", "convert", path)
    assert not Path("/tmp/edgekit-x").exists()


def test_members_that_explode(shell: Shell, small_keras: Path) -> None:
    path = shell.folder / "m.keras"
    shutil.copyfile(small_keras, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/bomb", bytes(50 << 20))
    shell.refuses(UnreadableError, "bytes from", "convert", path)


def test_members_that_explode_together(
    shell: Shell, small_keras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_MAX_BYTES", small_keras.stat().st_size + 5000)
    path = shell.folder / "m.keras"
    extra = {f"assets/{i}": bytes(100) for i in range(100)}
    _rezip(small_keras, path, lambda members: members.update(extra))
    shell.refuses(UnreadableError, "bytes unpacked", "convert", path)


def test_members_twice_or_missing(shell: Shell, small_keras: Path) -> None:
    path = shell.folder / "m.keras"
    shutil.copyfile(small_keras, path)
    with (
        pytest.warns(UserWarning, match="Duplicate"),
        zipfile.ZipFile(path, "a") as archive,
    ):
        archive.writestr("config.json", "{}")
    shell.refuses(UnreadableError, "the same name twice", "convert", path)
    _rezip(small_keras, path, lambda members: members.pop("model.weights.h5"))
    shell.refuses(UnreadableError, "it lacks model.weights.h5", "convert", path)


def test_members_compressed_otherwise(shell: Shell, small_keras: Path) -> None:
    path = shell.folder / "m.keras"
    shutil.copyfile(small_keras, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_LZMA) as archive:
        archive.writestr("assets/x", b"x" * 100)
    shell.refuses(UnreadableError, "compressed in a way", "convert", path)


@pytest.mark.parametrize("config", ["[]", "x", "{" * 5000, "[" * 100_000, "1" * 10_000])
def test_config_that_is_none(shell: Shell, small_keras: Path, config: str) -> None:
    path = shell.folder / "m.keras"
    _rezip(small_keras, path, lambda members: members.update({"config.json": config.encode()}))
    shell.refuses(UnreadableError, str(path), "convert", path)


# --- Keras files that hold something else


def test_hdf5_files(keras3: Any, tmp_path: Path) -> None:
    model = small(keras3)
    sound = save(model, tmp_path / "sound.h5")
    cut = tmp_path / "cut.h5"
    cut.write_bytes(sound.read_bytes()[:2000])
    refused_here(cut, UnreadableError, "not a sound HDF5 file")
    model.save_weights(tmp_path / "m.weights.h5")
    refused_here(tmp_path / "m.weights.h5", UnreadableError, "only weights, no model")


def test_misnamed_files_are_read_by_content(keras3: Any, small_keras: Path, tmp_path: Path) -> None:
    for name in ("zip.h5", "zip"):
        shutil.copyfile(small_keras, tmp_path / name)
        assert read_here(tmp_path / name).description["classes"] == 4
    save(small(keras3), tmp_path / "m.h5").rename(tmp_path / "hdf.keras")
    assert read_here(tmp_path / "hdf.keras").description["classes"] == 4


def test_damaged_savedmodel(keras3: Any, small_keras: Path, tmp_path: Path) -> None:
    keras3.models.load_model(small_keras).export(tmp_path / "sound", verbose=False)
    assert read_here(tmp_path / "sound").description["classes"] == 4
    for file, words in (("saved_model.pb", "can't load"), ("variables", "can't load")):
        folder = tmp_path / f"without_{file}"
        shutil.copytree(tmp_path / "sound", folder)
        if file == "variables":
            shutil.rmtree(folder / file)
        else:
            (folder / file).write_bytes((folder / file).read_bytes()[:1000])
        refused_here(folder, UnreadableError, words)


def test_savedmodel_that_draws_random_numbers(keras3: Any, tmp_path: Path) -> None:
    model = keras3.Sequential(
        [
            keras3.Input((8, 8, 3)),
            keras3.layers.RandomFlip("horizontal"),
            keras3.layers.Flatten(),
            keras3.layers.Dense(4),
        ]
    )
    model.export(tmp_path / "random", verbose=False)
    with pytest.raises(UnreadableError, match="still draws random numbers"):
        read_here(tmp_path / "random").freeze(tmp_path / "random")
    model.save(tmp_path / "at_rest.keras")
    assert read_here(tmp_path / "at_rest.keras").freeze(tmp_path / "at_rest.keras").inputs


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_lambda_layer(keras3: Any, tmp_path: Path, suffix: str) -> None:
    model = keras3.Sequential(
        [
            keras3.Input((8, 8, 3)),
            keras3.layers.Lambda(lambda x: x / 255, name="scale"),
            keras3.layers.GlobalAveragePooling2D(),
            keras3.layers.Dense(4),
        ]
    )
    path = save(model, tmp_path / f"m{suffix}")
    refused_here(path, UnreadableError, "'scale' is a Lambda layer: it carries Python code")


def test_not_built(keras3: Any, tmp_path: Path) -> None:
    layers = keras3.layers
    model = keras3.Sequential([layers.GlobalAveragePooling2D(), layers.Dense(4)])
    refused_here(save(model, tmp_path / "m.keras"), UsageError, "before it was built")


def test_several_inputs_or_outputs(keras3: Any, tmp_path: Path) -> None:
    inputs = [keras3.Input((8, 8, 3), name=name) for name in "ab"]
    pooled = keras3.layers.GlobalAveragePooling2D()(keras3.layers.Add()(inputs))
    model = keras3.Model(inputs, keras3.layers.Dense(4)(pooled))
    path = save(model, tmp_path / "two_in.keras")
    refused_here(path, UsageError, "the model has 2 inputs")
    one = keras3.Model(inputs[0], keras3.layers.GlobalAveragePooling2D()(inputs[0]))
    two = keras3.Model(one.input, [one.output, keras3.layers.Dense(4)(one.output)])
    refused_here(save(two, tmp_path / "two_out.keras"), UsageError, "the model has 2 outputs")


def test_no_image_classifier(keras3: Any, tmp_path: Path) -> None:
    path = save(small(keras3, channels=1), tmp_path / "grey.keras")
    refused_here(path, UsageError, "not that of RGB images")
    vector = keras3.Sequential([keras3.Input((10,)), keras3.layers.Dense(4)])
    refused_here(save(vector, tmp_path / "vector.keras"), UsageError, "not that of RGB images")
    pixels = keras3.Sequential([keras3.Input((8, 8, 3)), keras3.layers.Conv2D(4, 3)])
    refused_here(save(pixels, tmp_path / "pixels.keras"), UsageError, "not that of a classifier")


def test_any_size_needs_a_size(keras3: Any, tmp_path: Path) -> None:
    path = save(small(keras3, size=None), tmp_path / "any.keras")
    refused_here(path, UsageError, "--input-size 224")
    description = read_here(path, (16, 24)).description
    assert (description["height"], description["width"]) == (16, 24)


def test_a_size_that_contradicts(small_keras: Path, keras3: Any) -> None:
    with pytest.raises(UsageError, match=r"--input-size 16x16, but the model's input is 8 x 8"):
        read_here(small_keras, (16, 16))


_CUSTOM = """
import keras

@keras.saving.register_keras_serializable("mine")
class Double(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


@pytest.mark.slow
def test_custom_class(keras3: Any, shell: Shell) -> None:
    (shell.folder / "my_layers.py").write_text(_CUSTOM)
    program = f"""{_CUSTOM}
keras.Sequential(
    [keras.Input((8, 8, 3)), Double(name="twice"), keras.layers.GlobalAveragePooling2D()]
).save("m.keras")
"""
    # In a process of its own, so that the class is not registered here.
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    arguments = ("convert", "m.keras", "--float32", "--preprocess", "unit")
    text = shell.refuses(UnreadableError, "'twice' is of the custom class", *arguments)
    assert "--import MODULE" in text
    shell.refuses(UsageError, "--import no_such", *arguments, "--import", "no_such")
    (shell.folder / "broken.py").write_text("raise SystemExit('no')\n")
    shell.refuses(UsageError, "--import broken: SystemExit", *arguments, "--import", "broken")
    code, text = shell.run(*arguments, "--import", "my_layers")
    assert code == 0, text
    assert (shell.folder / "m.tflite").is_file()


@pytest.mark.slow
@pytest.mark.fresh_interpreter
def test_the_current_folder_is_no_source_of_code(small_keras: Path, shell: Shell) -> None:
    for name in ("random.py", "keras.py", "numpy.py", "edgekit.py"):
        (shell.folder / name).write_text("import pathlib; pathlib.Path('ran').touch(); 1 / 0\n")
    arguments = ("convert", small_keras, "--float32", "--preprocess", "unit", "-o", "out.tflite")
    code, text = shell.run(*arguments)
    assert code == 0, text
    assert not (shell.folder / "ran").exists()


@pytest.mark.slow
def test_weights_that_are_not_finite(keras3: Any, shell: Shell) -> None:
    broken = small(keras3)
    broken.layers[-1].bias.assign([0, 0, float("nan"), 0])
    save(broken, shell.folder / "m.keras")
    shell.refuses(NotMetError, "not finite", "convert", "m.keras", "--preprocess", "unit")


def test_tflite_weights_that_are_not_finite(shell: Shell, model: Path) -> None:
    from edgekit.tflite.edit import edit, write

    root = edit(model.read_bytes(), "m")
    tensor = next(t for t in root["subgraphs"][0]["tensors"] if t["name"] == "weights")
    values = np.frombuffer(root["buffers"][tensor["buffer"]]["data"], np.float32).copy()
    values[5] = np.inf
    root["buffers"][tensor["buffer"]]["data"] = memoryview(values.tobytes())
    model.write_bytes(write(root))
    for mode in ("--int8", "--float32"):
        shell.refuses(
            NotMetError, "'weights' are not finite", "convert", model, mode, "-o", "out.tflite"
        )


# --- the data and the labels

_RAW = ("--preprocess", "raw", "-o", "out.tflite")


def test_data_that_is_none(shell: Shell, model: Path) -> None:
    folder = shell.folder / "photos"
    arguments = ("convert", model, *_RAW, "--data", folder)
    shell.refuses(UnreadableError, "no such folder", *arguments)
    folder.mkdir()
    shell.refuses(UnreadableError, "no picture", *arguments)
    (folder / "notes.txt").write_text("no photo")
    shell.refuses(UnreadableError, "no picture", *arguments)
    for i in range(3):
        (folder / f"{i}.jpg").write_bytes(b"\xff\xd8\xff" + bytes(50))
    shell.refuses(UnreadableError, "none of its 3 chosen pictures can be read", *arguments)


def test_labels_that_do_not_fit(shell: Shell, model: Path) -> None:
    labels = shell.folder / "labels.txt"
    arguments = ("convert", model, *_RAW, "--labels", labels)
    shell.refuses(UnreadableError, "No such file", *arguments)
    labels.write_bytes(b"")
    shell.refuses(UnreadableError, "empty", *arguments)
    labels.write_bytes("caf\xe9\n".encode("latin-1"))
    shell.refuses(UnreadableError, "not a UTF-8 text file", *arguments)
    labels.write_text("red\ngreen\n")
    shell.refuses(UsageError, "2 labels, but the model has 3 outputs", *arguments)


def test_labels_csv_without_data(shell: Shell, model: Path) -> None:
    (shell.folder / "l.csv").write_text("a.png,red\n")
    arguments = ("convert", model, *_RAW, "--labels-csv", "l.csv")
    shell.refuses(UsageError, "--labels-csv goes with --data", *arguments)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 40)])
def test_procedural_images_of_any_size(size: tuple[int, int]) -> None:
    assert procedural.images(*size, seed=0, count=8).shape == (8, *size, 3)


def test_more_pixels_than_memory_holds(
    shell: Shell, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgekit.converters.calibration_set._MOST_BYTES", 10 * 32 * 32 * 3)
    shell.refuses(UsageError, "--samples 10", "convert", model, *_RAW)
    code, text = shell.run("convert", model, *_RAW, "--samples", "10")
    assert code == 0, text


# --- the contract


def test_nothing_known(shell: Shell, model: Path) -> None:
    text = shell.refuses(UsageError, "edgekit doesn't guess", "convert", model, "-o", "out.tflite")
    assert all(name in text for name in NORMALIZATIONS)


def test_contract_of_another_size(shell: Shell, model: Path) -> None:
    sidecar = keras_file.sidecar(model)
    sidecar.write_text(Contract(64, 64).to_json())
    shell.refuses(UsageError, "says 64 x 64", "convert", model, "-o", "out.tflite")
    sidecar.write_text(Contract(32, 32, labels=("a", "b")).to_json())
    shell.refuses(UsageError, "2 labels", "convert", model, "-o", "out.tflite")
    sidecar.write_text(Contract(32, 32, output="probabilities").to_json())
    shell.refuses(UsageError, "probabilities", "convert", model, "-o", "out.tflite")
    for damaged in ("{", "[]", '{"schema": 9}', '{"schema": 1, "contract": {"height": "x"}}'):
        sidecar.write_text(damaged)
        shell.refuses(UnreadableError, "contract", "convert", model, "-o", "out.tflite")


def _described(*pixelwise: tuple[str, str]) -> Description:
    return Description(32, 32, 3, "m", "Keras", pixelwise, ("m",), "conv")


def test_normalizing_twice() -> None:
    description = _described(("Rescaling", "rescaling"))
    tf = Overrides(normalization=NORMALIZATIONS["tf"])
    for stored in (None, (Contract(32, 32), "m.keras itself")):
        with pytest.raises(UsageError, match="a second time"):
            preprocessing.resolve(Path("m.keras"), description, stored, tf)
    raw = Overrides(normalization=NORMALIZATIONS["raw"])
    found = preprocessing.resolve(Path("m.keras"), description, None, raw)
    assert found.contract.normalization_name == "raw"


@pytest.mark.slow
def test_normalizing_twice_end_to_end(keras3: Any, shell: Shell) -> None:
    model = keras3.Sequential(
        [keras3.Input((8, 8, 3)), keras3.layers.Rescaling(1 / 255), *small(keras3).layers[1:]]
    )
    save(model, shell.folder / "m.keras")
    shell.refuses(UsageError, "a second time", "convert", "m.keras", "--preprocess", "tf")


# --- the output


def test_already_quantized(shell: Shell, colour_int8: Path) -> None:
    text = shell.refuses(UsageError, "quantized already", "convert", colour_int8, *_RAW)
    assert str(colour_int8) in text


def test_output_exists(shell: Shell, model: Path) -> None:
    output = shell.folder / "out.tflite"
    written = [
        output.with_name(name) for name in ("out.tflite", "out.tflite.json", "out.golden.zip")
    ]
    for existing in written:
        existing.write_text("precious")
        shell.refuses(UsageError, "exists already", "convert", model, *_RAW)
        code, text = shell.run("convert", model, *_RAW, "--force")
        assert code == 0, text
        assert output.read_bytes()[4:8] == b"TFL3"
        for path in written:
            path.unlink()


def test_output_that_can_not_be(shell: Shell, model: Path) -> None:
    (shell.folder / "folder.tflite").mkdir()
    arguments = ("convert", model, "--preprocess", "raw", "-o")
    shell.refuses(UsageError, "is a folder", *arguments, "folder.tflite", "--force")
    shell.refuses(UsageError, "mkdir -p no", *arguments, "no/m.tflite")
    shell.refuses(UsageError, "-o m.tflite", *arguments, "m.bin")
    shell.refuses(UsageError, "name too long", *arguments, f"{'x' * 300}.tflite")


def test_the_source_is_never_replaced(shell: Shell, model: Path) -> None:
    os.link(model, shell.folder / "hard.tflite")
    (shell.folder / "soft.tflite").symlink_to(model)
    for output in ((), ("-o", "hard.tflite"), ("-o", "soft.tflite"), ("-o", "./m.tflite")):
        arguments = ("convert", model, "--preprocess", "raw", *output)
        shell.refuses(UsageError, "Name another file with -o", *arguments)
        shell.refuses(UsageError, "Name another file with -o", *arguments, "--force")


@pytest.fixture
def tiny_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Mounts a disk with the given options; the test is skipped where that is not allowed."""
    mounted = []

    def mount(options: str) -> Path:
        folder = tmp_path_factory.mktemp("disk")
        command = ["mount", "-t", "tmpfs", "-o", options, "edgekit-test", str(folder)]
        if (
            shutil.which("mount") is None
            or subprocess.run(command, capture_output=True, check=False).returncode
        ):
            pytest.skip("mounting a small disk takes root")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def pages(shell: Shell, model: Path) -> int:
    """How many pages of 4 KiB the files of a conversion take; with one less, the last fails."""
    assert shell.run("convert", model, *_RAW)[0] == 0
    files = list(shell.folder.glob("out.*"))
    assert len(files) == 3
    count = sum(-(-file.stat().st_size // 4096) for file in files)
    for file in files:
        file.unlink()
    return count


@pytest.mark.parametrize("missing", [1, 2])
def test_disk_that_fills(
    shell: Shell, model: Path, tiny_disk: Callable[[str], Path], pages: int, missing: int
) -> None:
    disk = tiny_disk(f"size={4 * (pages - missing)}k" if pages > missing else "size=4k,nr_inodes=2")
    output = disk / "out.tflite"
    shell.refuses(
        RuntimeFailure, "No space left", "convert", model, "--preprocess", "raw", "-o", output
    )
    assert list(disk.iterdir()) == []


def test_files_that_may_not_grow(model: Path, tmp_path: Path) -> None:
    before = _contents(tmp_path)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    run = subprocess.run(
        [sys.executable, "-m", "edgekit", "convert", str(model), *_RAW],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard)),
    )
    check_refusal(run.returncode, run.stderr, RuntimeFailure, "could not be written")
    assert _contents(tmp_path) == before


def test_read_only_disk(shell: Shell, model: Path, tiny_disk: Callable[[str], Path]) -> None:
    output = tiny_disk("ro") / "out.tflite"
    shell.refuses(
        RuntimeFailure, str(output), "convert", model, "--preprocess", "raw", "-o", output
    )


@pytest.mark.slow
def test_temporary_disk_that_fills(
    shell: Shell,
    small_keras: Path,
    tiny_disk: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TMPDIR", str(tiny_disk("size=4k")))
    monkeypatch.setattr(tempfile, "tempdir", None)
    arguments = ("convert", small_keras, "--preprocess", "unit", "-o", "out.tflite")
    text = shell.refuses(RuntimeFailure, "o space", *arguments)
    assert "TMPDIR" in text


# --- Ctrl-C, and a child that is killed


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(shell: Shell) -> Iterator[Start]:
    """Starts Python code on arguments, as the leader of a process group of its own."""
    groups = []

    def run(code: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=shell.folder,
            start_new_session=True,
        )
        groups.append(process)
        return process

    yield run
    for process in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _child_of(process: subprocess.Popen[str]) -> int:
    """The process id of the export child, once it imports TensorFlow."""
    for _ in range(200):
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                loaded = "tensorflow" in (entry / "maps").read_text()
            except (OSError, ValueError, IndexError):
                continue
            if parent == process.pid and loaded:
                return int(entry.name)
        time.sleep(0.05)
    pytest.fail("the export child did not start")


def _group_is_gone(group: int) -> bool:
    for _ in range(60):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_interrupt_while_tensorflow_reads(shell: Shell, small_keras: Path, start: Start) -> None:
    shell.before = _contents(shell.folder)
    arguments = ("convert", small_keras, "--preprocess", "unit", "-o", "out.tflite")
    process = start(_MAIN, *arguments)
    _child_of(process)
    os.killpg(process.pid, signal.SIGINT)
    _, text = process.communicate(timeout=10)
    assert process.returncode == 130, text
    assert text.strip() == "Interrupted; nothing was left behind."
    assert _group_is_gone(process.pid)
    shell.check_nothing_left()


_SLOW_CALIBRATION = """
import sys, time
from edgekit.cli.main import main
from edgekit.converters import calibrate

run = calibrate._Profiled.run

def slow(self, value):
    print("calibrating", flush=True)
    time.sleep(1)
    return run(self, value)

calibrate._Profiled.run = slow
main(sys.argv[1:])
"""


def test_interrupt_while_calibrating(shell: Shell, model: Path, start: Start) -> None:
    shell.before = _contents(shell.folder)
    process = start(_SLOW_CALIBRATION, "convert", model, *_RAW)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("calibrating")  # two threads may print at once
    os.killpg(process.pid, signal.SIGINT)
    # 64 images take half a minute; what is under way may end, and no more.
    _, text = process.communicate(timeout=8)
    assert process.returncode == 130, text
    assert text.strip() == "Interrupted; nothing was left behind."
    assert _group_is_gone(process.pid)
    shell.check_nothing_left()


@pytest.mark.slow
def test_killed_child(shell: Shell, small_keras: Path, start: Start) -> None:
    shell.before = _contents(shell.folder)
    arguments = ("convert", small_keras, "--preprocess", "unit", "-o", "out.tflite")
    process = start(_MAIN, *arguments)
    os.kill(_child_of(process), signal.SIGKILL)
    _, text = process.communicate(timeout=10)
    check_refusal(process.returncode, text, RuntimeFailure, "TensorFlow was killed")
    shell.check_nothing_left()


@pytest.mark.slow
def test_killed_parent_takes_the_child_along(shell: Shell, small_keras: Path, start: Start) -> None:
    arguments = ("convert", small_keras, "--preprocess", "unit", "-o", "out.tflite")
    process = start(_MAIN, *arguments)
    _child_of(process)
    process.kill()
    process.communicate()
    assert _group_is_gone(process.pid)


# --- what is not installed


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a package look as if it were not installed."""
    find_spec = importlib.util.find_spec

    def remove(package: str) -> None:
        def find(name: str, parent: str | None = None) -> Any:
            return None if name.partition(".")[0] == package else find_spec(name, parent)

        monkeypatch.setattr(importlib.util, "find_spec", find)

    return remove


def test_without_tensorflow(
    shell: Shell, small_keras: Path, without: Callable[[str], None]
) -> None:
    without("tensorflow")
    words = 'pip install "edgekit[convert]"'
    shell.refuses(MissingError, words, "convert", small_keras, "-o", "out.tflite")
    create = ("models", "create", "efficientnet_lite3", "--weights", "none", "-o", "m.keras")
    shell.refuses(MissingError, words, *create)


def test_without_quantizer(shell: Shell, model: Path, without: Callable[[str], None]) -> None:
    without("litert_quantizer")
    shell.refuses(MissingError, 'pip install "edgekit[convert]"', "convert", model, *_RAW)
    code, text = shell.run("convert", model, *_RAW, "--float32")
    assert code == 0, text


# --- options that don't go together


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--float16", "--input-type", "int8"], "--input-type int8 goes with --int8"),
        (["--int16x8", "--output-type", "uint8"], "--output-type uint8 goes with --int8"),
        (["--engine", "tflite"], "not from .tflite"),
        (["--engine", "tflite", "--float16"], "--engine tflite goes with --int8"),
        (["--float32", "--layers"], "--layers goes with"),
        (["--samples", "0"], "--samples 0"),
        (["--range-percentile", "10"], "--range-percentile 10"),
        (["--preprocess", "imagenet"], "--preprocess 'imagenet' is not known"),
        (["--preprocess", "tf", "--mean", "1"], "--preprocess goes without --mean"),
        (["--mean", "1"], "--mean and --std go together"),
        (["--mean", "nan", "--std", "1"], "not three finite numbers"),
        (["--mean", "1,2", "--std", "1"], "one number or three"),
        (["--mean", "0", "--std", "0"], "not positive"),
        (["--preprocess", "raw", "--resize", "crop:2"], "crop fraction"),
        (["--preprocess", "raw", "--resize", "half"], "'half' is not known"),
        (["--preprocess", "raw", "--input-size", "64"], "the model's input is 32 x 32"),
        (["--colour-order", "BGR"], "--colour-order goes with"),
    ],
)
def test_contradicting_options(shell: Shell, model: Path, options: list[str], words: str) -> None:
    code, text = shell.run("convert", model, "-o", "out.tflite", *options)
    assert code == 2, text
    assert words in text
    assert text.startswith("Error: ")
    assert text.count("Error: ") == 1
    shell.check_nothing_left()


@pytest.mark.parametrize(
    "options", [["--no-such"], ["--input-size", "0"], ["--input-type", "int4"], ["extra"]]
)
def test_unknown_options(shell: Shell, model: Path, options: list[str]) -> None:
    code, text = shell.run("convert", model, *options)
    assert code == 2
    assert "Usage: edgekit convert" in text
    shell.check_nothing_left()


def test_a_failing_system_call_is_no_bug(
    shell: Shell, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(shell.folder / "gone"))

    def fail(*arguments: object, **options: object) -> None:
        raise OSError(24, "Too many open files", "x")

    monkeypatch.setattr("edgekit.converters.pipeline.write_all", fail)
    shell.refuses(RuntimeFailure, "x: Too many open files", "convert", model, *_RAW)


@pytest.mark.slow
def test_debug_shows_all(small_keras: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    config = {"module": "keras", "class_name": "Functional", "config": {"layers": [{}]}}
    _rezip(small_keras, path, lambda members: members.update({"config.json": _json(config)}))
    run = subprocess.run(
        [sys.executable, "-m", "edgekit", "convert", str(path), "--debug"],
        capture_output=True,
        text=True,
        check=False,
    )
    # TensorFlow's process first, then edgekit's.
    assert run.stderr.count("Traceback (most recent call last)") >= 2
    assert "keras/src/" in run.stderr


# --- names


def test_names_that_are_no_utf8(shell: Shell, model: Path) -> None:
    odd = shell.folder / os.fsdecode(b"caf\xe9 m.tflite")
    model.rename(odd)
    code, text = shell.run("convert", odd, *_RAW)
    assert code == 0, text
    document = json.loads((shell.folder / "out.tflite.json").read_text("utf-8"))
    assert document["source"]["file"].startswith("caf")


def test_tensor_names_that_are_no_utf8(shell: Shell, model: Path) -> None:
    model.write_bytes(model.read_bytes().replace(b"pooled", b"p\xff\0led"))
    code, text = shell.run("convert", model, *_RAW)
    assert code == 0, text


def test_the_zip_behind_a_tflite_file_is_damaged(shell: Shell, model: Path) -> None:
    packed = tflite.pack(model.read_bytes(), Contract(32, 32, labels=COLOURS))
    model.write_bytes(packed.replace(b'"height": 32', b'"height": 31'))
    shell.refuses(UnreadableError, "can't be read", "convert", model, "-o", "out.tflite")
    # Another tool's zip, which says nothing of preprocessing: its damage is nobody's business.
    model.write_bytes(build_colour_model() + b"PK\x05\x06" + b"\xff" * 18)
    code, text = shell.run("convert", model, *_RAW)
    assert code == 0, text


# --- Python callers get the same


def test_python_callers_get_exceptions(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="replaced by what is made from it"):
        convert(model, options=make_options("float32"), force=True)
    with pytest.raises(UsageError, match="quantization 'int4' is not known"):
        make_options("int4")
    picture = np.zeros((40, 40, 3), np.uint8)
    write_picture(tmp_path / "x.png", picture)
    with pytest.raises(UnreadableError, match="not a model file"):
        convert(tmp_path / "x.png")
