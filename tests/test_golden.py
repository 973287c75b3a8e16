"""Golden vectors: what `convert` keeps, and how `verify` names the stage that differs."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import COLOURS, colour_picture, write_picture, zip_of
from devices_support import assert_nothing_left

import edgekit
from edgekit import images, tflite, zipped
from edgekit.contract import NORMALIZATIONS, Contract
from edgekit.errors import UnreadableError, UsageError
from edgekit.golden import vectors
from edgekit.golden.stages import Answer, hold
from edgekit.golden.vectors import Golden, Vector
from edgekit.runtime import Interpreter

#: How each of these models is prepared: neither the default nor symmetric in anything.
_CONTRACTS = {
    "tf": ("--preprocess", "tf", "--resize", "crop:0.875"),
    "torch": ("--preprocess", "torch", "--resize", "pad"),
    "caffe": ("--preprocess", "caffe", "--resize", "stretch", "--interpolation", "area"),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("golden") / "photos"
    for number, colour in enumerate(COLOURS):
        (root / colour).mkdir(parents=True)
        for i in range(4):
            picture = colour_picture(colour, 10 * number + i, 131 + i, 97)
            write_picture(root / colour / f"{i}.png", picture)
    return root


@pytest.fixture(scope="module")
def converted(
    run_cli, colour_float: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Converts the colour model; each way once."""
    done: dict[tuple[object, ...], Path] = {}

    def convert(name: str = "tf", *options: object) -> Path:
        key = (name, *options)
        if key not in done:
            output = tmp_path_factory.mktemp("converted") / f"{name}.tflite"
            arguments = (colour_float, "--data", photos, *_CONTRACTS[name], *options)
            run = run_cli("convert", *arguments, "-o", output)
            assert run.returncode == 0, run.stderr
            done[key] = output
        return done[key]

    return convert


def _golden(model: Path) -> Golden:
    return vectors.find(model, model.read_bytes())[0]


def _verified(run) -> dict:
    document = json.loads(run.stdout)
    assert document["verified"] == (run.returncode == 0), run.stderr
    return document


# --- what convert keeps


def test_convert_keeps_photos_of_several_classes_and_a_card(converted) -> None:
    model = converted()
    golden = _golden(model)
    assert [vector.name for vector in golden.vectors] == ["card", "photo-1", "photo-2", "photo-3"]
    assert sorted(v.answer for v in golden.vectors if v.answer is not None) == [0, 1, 2]
    assert golden.contract == tflite.read_contract(model.read_bytes(), "m")
    for vector in golden.vectors:
        picture = images.decode_bytes(vector.picture, vector.name)
        assert picture.shape[:2] != (32, 32)  # fitting it takes a crop and a resize
        interpreter = Interpreter(model.read_bytes())
        value = np.frombuffer(vector.input, np.int8)
        assert interpreter.invoke(value).tobytes() == vector.output


def test_same_conversion_same_golden_vectors(run_cli, colour_float, photos, tmp_path, converted):
    again = tmp_path / "tf.tflite"
    arguments = ("--data", photos, *_CONTRACTS["tf"])
    assert run_cli("convert", colour_float, *arguments, "-o", again).returncode == 0
    first = vectors.beside(converted()).read_bytes()
    assert vectors.beside(again).read_bytes() == first


def test_large_photos_are_made_small(run_cli, colour_float: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    write_picture(tmp_path / "photos" / "large.png", colour_picture("red", 1, 1200, 900))
    output = tmp_path / "m.tflite"
    arguments = ("--data", tmp_path / "photos", "--preprocess", "raw", "--resize", "crop")
    run = run_cli("convert", colour_float, *arguments, "-o", output)
    assert run.returncode == 0, run.stderr
    photo = _golden(output).vectors[1]
    assert images.decode_bytes(photo.picture, "p").shape == (51, 38, 3)
    assert run_cli("verify", output).returncode == 0


@pytest.mark.parametrize("form", ["--float32", "--float16", "--dynamic", "--int16x8"])
def test_other_forms_without_photos(run_cli, colour_float: Path, tmp_path: Path, form: str) -> None:
    output = tmp_path / "m.tflite"
    options = ("--preprocess", "raw", "--resize", "stretch")
    run = run_cli("convert", form, colour_float, *options, "-o", output)
    assert run.returncode == 0, run.stderr
    found = _verified(run_cli("verify", output, "--json"))
    assert len(found["vectors"]) == 4


def test_inside_the_model_or_nowhere(run_cli, converted) -> None:
    embedded, without = converted("tf", "--embed-golden"), converted("tf", "--no-golden")
    assert not vectors.beside(embedded).exists() and not vectors.beside(without).exists()
    found = _verified(run_cli("verify", embedded, "--json"))
    assert found["golden"]["file"] == f"golden.zip in {embedded}"
    run = run_cli("verify", without)
    assert run.returncode == 2 and "no golden vectors" in run.stderr
    assert "--golden" in run.stderr


def test_an_existing_golden_file_is_not_replaced(run_cli, colour_float, photos, tmp_path) -> None:
    precious = tmp_path / "m.golden.zip"
    precious.write_bytes(b"precious")
    arguments = ("--data", photos, *_CONTRACTS["tf"], "-o", tmp_path / "m.tflite")
    run = run_cli("convert", colour_float, *arguments)
    assert run.returncode == 2 and "--force" in run.stderr
    assert precious.read_bytes() == b"precious" and list(tmp_path.iterdir()) == [precious]


def test_a_place_that_is_none(colour_float: Path, tmp_path: Path) -> None:
    output = tmp_path / "m.tflite"
    with pytest.raises(UsageError, match="beside, inside, none"):
        edgekit.convert(colour_float, output, golden_vectors="elsewhere", preprocess="raw")
    assert not output.exists()


# --- verify on this machine


@pytest.mark.parametrize("name", _CONTRACTS)
def test_right_here(run_cli, converted, name: str) -> None:
    run = run_cli("verify", converted(name))
    assert run.returncode == 0, run.stderr
    assert "every byte is the same for 4 pictures" in run.stdout
    assert "edgekit benchmark" in run.stdout


def test_from_python(converted) -> None:
    found = edgekit.verify(converted())
    assert found.replay.fault is None
    assert found.to_dict()["verified"] is True


@pytest.mark.parametrize(
    ("change", "stage"),
    [
        ({"interpolation": "nearest"}, "fit"),
        ({"fit": "stretch", "crop_fraction": 1.0}, "fit"),
        ({"colour_order": "BGR"}, "input"),
        ({"mean": [0.0, 0.0, 0.0]}, "input"),
    ],
)
def test_a_contract_that_was_changed(run_cli, converted, tmp_path, change, stage) -> None:
    """By hand, in the zip: the model itself is still the same."""
    model = tmp_path / "m.tflite"
    data = converted().read_bytes()
    contract = tflite.read_contract(data, "m")
    other = Contract.from_dict(contract.to_dict() | change)
    vectors.beside(model).write_bytes(vectors.beside(converted()).read_bytes())
    model.write_bytes(_with_contract(data, other))
    run = run_cli("verify", model, "--json")
    found = _verified(run)
    assert run.returncode == 1 and found["stage"] == stage
    assert f"the stage {stage}" in run.stderr
    named = next(iter(change)).replace("_", " ")
    assert any(named in remark for remark in found["remarks"])


def _with_contract(model: bytes, contract: Contract) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(model)) as source:
        start = min(info.header_offset for info in source.infolist())
        target.write(model[:start])
        with zipfile.ZipFile(target, "a") as archive:
            for info in source.infolist():
                content = source.read(info)
                if info.filename == "edgekit.json":
                    content = contract.to_json().encode()
                archive.writestr(info.filename, content)
    return target.getvalue()


# --- what an app answered

_App = Callable[[np.ndarray, Contract], tuple[np.ndarray, np.ndarray]]


def _app(
    fit=images.fit, colours=lambda fitted: fitted, normalize=lambda contract: contract
) -> _App:
    """An app's preprocessing, with one thing done its own way: (fitted, real input)."""

    def prepare(picture: np.ndarray, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        fitted = fit(picture, contract)
        wrong = colours(fitted)
        return fitted, images.to_input(wrong, normalize(contract), np.float32)

    return prepare


def _other(**changes: object) -> Callable[[np.ndarray, Contract], np.ndarray]:
    return lambda picture, contract: images.fit(picture, dataclasses.replace(contract, **changes))


_SWAPPED = _app(colours=lambda fitted: np.ascontiguousarray(fitted[..., ::-1]))
_BILINEAR = _app(fit=_other(interpolation="linear"))
_NO_CROP = _app(fit=_other(fit="stretch"))
_MIRRORED = _app(fit=lambda p, c: images.fit(np.ascontiguousarray(p[:, ::-1]), c))
_NO_MEAN = _app(normalize=lambda c: dataclasses.replace(c, mean=(0.0, 0.0, 0.0)))
_TORCH = _app(normalize=lambda c: c.with_normalization(NORMALIZATIONS["torch"]))


def _write_answers(
    folder: Path, model: Path, app: _App, fields: tuple[str, ...] = ("fitted", "input", "output")
) -> Path:
    """What an app leaves for `verify --answers`: it prepares, quantizes and runs each picture."""
    folder.mkdir()
    golden = _golden(model)
    interpreter = Interpreter(model.read_bytes())
    scale, zero_point = interpreter.input.quantization or (1.0, 0)
    for vector in golden.vectors:
        picture = images.decode_bytes(vector.picture, vector.name)
        fitted, real = app(picture, golden.contract)
        # By arithmetic, not by a table: halves up, with room for float32 in front of them.
        steps = np.floor(real.astype(np.float64) / scale + 0.501) + zero_point
        value = np.clip(steps, -128, 127).astype(np.int8)
        answer = {
            "decoded": picture.tobytes(),
            "fitted": np.ascontiguousarray(fitted).tobytes(),
            "input": value.tobytes(),
            "output": interpreter.invoke(value).tobytes(),
        }
        for field in fields:
            (folder / f"{vector.name}.{field}").write_bytes(answer[field])
    return folder


def test_halves_that_are_rounded_otherwise(run_cli, converted, tmp_path: Path) -> None:
    """With a mean of 127.5 every value lies between two steps."""
    answers = _write_answers(tmp_path / "answers", converted(), _app())
    for vector in _golden(converted()).vectors:
        fitted = (answers / f"{vector.name}.fitted").read_bytes()
        steps = np.rint(np.frombuffer(fitted, np.uint8) - 127.5) - 1  # halves to even
        (answers / f"{vector.name}.input").write_bytes(steps.astype(np.int8).tobytes())
    run = run_cli("verify", converted(), "--answers", answers)
    assert run.returncode == 1 and "rounded otherwise than by the contract" in run.stderr


@pytest.mark.parametrize("name", ["tf", "torch"])
def test_a_right_app(run_cli, converted, tmp_path: Path, name: str) -> None:
    fields = ("decoded", "fitted", "input", "output")
    answers = _write_answers(tmp_path / "answers", converted(name), _app(), fields)
    run = run_cli("verify", converted(name), "--answers", answers, "--json")
    found = _verified(run)
    assert run.returncode == 0
    assert all(set(v["stages"].values()) == {"same"} for v in found["vectors"])


@pytest.mark.parametrize(
    ("app", "stage", "cause"),
    [
        (_SWAPPED, "input", "blue and red swapped"),
        (_BILINEAR, "fit", "the interpolation linear instead of exact"),
        (_NO_CROP, "fit", "the resize rule stretch instead of crop:0.875"),
        (_MIRRORED, "fit", "the picture mirrored"),
        (_NO_MEAN, "input", "the mean forgotten"),
        (_TORCH, "input", "the preprocessing torch instead of tf"),
    ],
)
def test_faults_of_an_app_are_named(run_cli, converted, tmp_path, app, stage, cause) -> None:
    answers = _write_answers(tmp_path / "answers", converted(), app)
    run = run_cli("verify", converted(), "--answers", answers, "--json")
    found = _verified(run)
    assert run.returncode == 1 and found["stage"] == stage
    assert any(cause in (v["cause"] or "") for v in found["vectors"]), found["vectors"]
    assert cause in run.stderr and f"the stage {stage}" in run.stderr


@pytest.mark.parametrize(
    ("app", "cause"),
    [
        (_SWAPPED, "blue and red swapped"),
        (_NO_CROP, "the resize rule stretch"),
        (_NO_MEAN, "the mean forgotten"),
    ],
)
def test_faults_are_named_from_the_input_alone(run_cli, converted, tmp_path, app, cause) -> None:
    answers = _write_answers(tmp_path / "answers", converted(), app, ("input",))
    run = run_cli("verify", converted(), "--answers", answers, "--json")
    found = _verified(run)
    assert run.returncode == 1 and found["stage"] == "input"
    assert cause in run.stderr


def test_an_app_that_only_tells_its_outputs(run_cli, converted, tmp_path: Path) -> None:
    answers = _write_answers(tmp_path / "answers", converted(), _NO_MEAN, ("output",))
    run = run_cli("verify", converted(), "--answers", answers)
    assert run.returncode == 1 and "the stage inference" in run.stderr
    assert run.stdout.count("different") == 4


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        (lambda folder: (folder / "photo-2.fitted").unlink(), 0, ""),
        (lambda folder: [p.unlink() for p in folder.glob("photo-2.*")], 2, "no answer to photo-2"),
        (lambda folder: (folder / "card.input").write_bytes(b"x"), 1, "1 bytes, not 3072"),
        (lambda folder: (folder / "card.output").write_bytes(b""), 1, "0 bytes, not 3"),
    ],
)
def test_incomplete_answers(run_cli, converted, tmp_path, spoil, code, said) -> None:
    answers = _write_answers(tmp_path / "answers", converted(), _app())
    spoil(answers)
    run = run_cli("verify", converted(), "--answers", answers)
    assert run.returncode == code, run.stderr
    assert said in run.stderr


def test_answers_that_are_not_there(run_cli, converted, tmp_path: Path) -> None:
    run = run_cli("verify", converted(), "--answers", tmp_path / "none")
    assert run.returncode == 2 and "no such folder" in run.stderr
    run = run_cli("verify", converted(), "--answers", tmp_path, "--on", "local")
    assert run.returncode == 2 and "--answers" in run.stderr


# --- scores


def _held(scores: list[float], found: list[float], answer: int | None, tolerance: float) -> str:
    """How the output stage of a float model compares."""
    vector = Vector("v", b"", "", "", b"", np.array(scores, np.float32).tobytes(), answer)
    info = edgekit.types.TensorInfo("scores", 0, (1, len(scores)), "float32")
    golden = Golden("m", 0, "", "r", "x", Contract(8, 8), info, info, (vector,))
    output = np.array(found, np.float32).tobytes()
    return hold(vector, golden, Answer(output=output), tolerance).stages["inference"]


@pytest.mark.parametrize(
    ("found", "answer", "verdict"),
    [
        ([0.0, 255.0], 1, "same"),
        ([1.0, 254.0], 1, "close"),
        ([0.0, 258.0], 1, "close"),
        ([0.0, 258.5], 1, "different"),
        ([0.0, np.nan], None, "different"),
        ([np.inf, 255.0], None, "different"),
    ],
)
def test_scores_may_differ_by_steps(found, answer, verdict) -> None:
    assert _held([0.0, 255.0], found, answer, 3.0) == verdict


def test_another_answer_is_a_difference_even_within_the_tolerance() -> None:
    assert _held([0.0, 10.0, 9.9], [0.0, 9.9, 10.0], 1, 255.0) == "different"
    assert _held([0.0, 10.0, 9.9], [0.0, 9.9, 10.0], None, 255.0) == "close"


# --- files that aren't right


def test_golden_vectors_of_another_model(run_cli, converted) -> None:
    run = run_cli("verify", converted(), "--golden", vectors.beside(converted("torch")))
    assert run.returncode == 2 and "of another model (torch.tflite)" in run.stderr


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_golden_file_that_is_cut_off(run_cli, converted, tmp_path: Path, keep: float) -> None:
    data = vectors.beside(converted()).read_bytes()
    cut = tmp_path / "cut.zip"
    cut.write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    run = run_cli("verify", converted(), "--golden", cut)
    assert run.returncode == 3 and "edgekit convert" in run.stderr
    assert "Traceback" not in run.stderr


def test_every_damage_of_the_index_is_told(converted) -> None:
    """Any value of golden.json replaced, or a file left out: told, or of no matter."""
    data = vectors.beside(converted()).read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    index = json.loads(files["golden.json"])
    for path in _paths(index):
        for value in (None, -1, "x", [], {}, 1e400):
            spoilt = json.loads(files["golden.json"])
            holder = spoilt
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = value
            changed = {**files, "golden.json": json.dumps(spoilt).encode()}
            try:
                vectors.read(zip_of(changed), "g")
            except UnreadableError as error:
                assert error.message.startswith("g: ")
    for name in files:
        with pytest.raises(UnreadableError):
            vectors.read(zip_of({k: v for k, v in files.items() if k != name}), "g")


def test_a_newer_schema(converted) -> None:
    with zipfile.ZipFile(vectors.beside(converted())) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    index = json.loads(files["golden.json"]) | {"schema": 2}
    with pytest.raises(UnreadableError, match="schema 2") as caught:
        vectors.read(zip_of(files | {"golden.json": json.dumps(index).encode()}), "g")
    assert caught.value.hint == "Use a newer edgekit."


def _paths(document: object, path: tuple = ()) -> Iterator[tuple]:
    entries = document.items() if isinstance(document, dict) else ()
    if isinstance(document, list):
        entries = enumerate(document)
    for key, value in entries:
        yield (*path, key)
        yield from _paths(value, (*path, key))


# --- verify on a device


@pytest.fixture
def device_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "device"
    monkeypatch.setenv("EDGEKIT_DEVICE_FOLDER", str(path))
    return path


@pytest.mark.parametrize("tool", [(), ("--python",)])
def test_on_this_machine_with_the_binary(run_cli, converted, device_folder, tool) -> None:
    run = run_cli("verify", converted(), "--on", "local", *tool, "--json")
    found = _verified(run)
    assert run.returncode == 0, run.stderr
    assert found["by"] == "local with xnnpack" and found["tolerance_steps"] == 0
    assert found["runtime"] == found["golden"]["made_with"]["runtime"]
    assert {v["stages"]["inference"] for v in found["vectors"]} == {"same"}
    assert_nothing_left(device_folder)


def test_over_ssh(run_cli, converted, server, device_folder, monkeypatch) -> None:
    monkeypatch.setenv("EDGEKIT_SSH", server.command)
    run = run_cli("verify", converted(), "--on", "ssh:board", "--delegate", "none")
    assert run.returncode == 0, run.stderr
    assert "ssh:board with none" in run.stdout
    assert_nothing_left(device_folder)


def test_a_device_that_answers_otherwise(run_cli, converted, tmp_path, device_folder) -> None:
    """The right outputs are changed, which is the same as a device that computes wrongly."""
    data = vectors.beside(converted()).read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    output = np.frombuffer(files["photo-1.output"], np.int8)
    files["photo-1.output"] = (output // 2).astype(np.int8).tobytes()
    wrong = tmp_path / "wrong.zip"
    wrong.write_bytes(zip_of(files))
    run = run_cli("verify", converted(), "--golden", wrong, "--on", "local")
    assert run.returncode == 1 and "the stage inference: photo-1" in run.stderr
    assert "--tolerance" in run.stderr
    loose = run_cli("verify", converted(), "--golden", wrong, "--on", "local", "--tolerance", 255)
    assert loose.returncode == 0, loose.stderr
    assert "no score differs by more than" in loose.stdout


def test_devices_and_delegates_that_are_not_there(run_cli, converted, device_folder) -> None:
    run = run_cli("verify", converted(), "--on", "moon")
    assert run.returncode == 2 and "ssh:" in run.stderr
    run = run_cli("verify", converted(), "--delegate", "warp")
    assert run.returncode == 2 and "unknown" in run.stderr
    run = run_cli("verify", "none.tflite")
    assert run.returncode == 3 and "none.tflite" in run.stderr


def test_a_model_without_its_contract(converted, tmp_path: Path) -> None:
    data = converted().read_bytes()
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(data[: zipped.start(data)])
    golden = vectors.beside(converted())
    with pytest.raises(UnreadableError, match="the zip behind the model lacks it"):
        edgekit.verify(bare, golden=golden)
