"""The Android app's engine, in a JVM: its preprocessing is Python's in every byte."""

from __future__ import annotations

import json
import shutil
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from android_support import DEMO, JSON, compile_engine, run
from conftest import COLOURS, build_colour_model, zip_of

from edgekit import images, tflite
from edgekit.contract import NORMALIZATIONS, Contract
from edgekit.evaluation import metrics
from edgekit.golden import making, vectors

_ENGINE = DEMO / "classifier" / "src" / "main" / "java"
_HARNESS = Path(__file__).resolve().parent / "android" / "Harness.java"

Java = Callable[..., str]


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> Java:
    """Runs the harness around the engine."""
    classes = tmp_path_factory.mktemp("classes")
    compile_engine(classes)
    path = f"{JSON}:{classes}"
    run("javac", "-cp", path, "-d", classes, _HARNESS)
    return lambda *arguments: run("java", "-cp", path, "Harness", *arguments)


def test_the_engine_imports_nothing_of_android() -> None:
    for path in _ENGINE.rglob("*.java"):
        assert "import android" not in path.read_text("utf-8"), path


# --- preprocessing


def _any_contract(rng: np.random.Generator) -> Contract:
    """Any contract that a phone can follow."""
    named = list(NORMALIZATIONS.values())
    return Contract(
        int(rng.integers(1, 97)),
        int(rng.integers(1, 97)),
        fit=str(rng.choice(["stretch", "crop", "pad"])),
        crop_fraction=float(rng.choice([1.0, 0.875, 0.33, 0.01])),
        labels=COLOURS,
    ).with_normalization(named[rng.integers(len(named))])


def _side(rng: np.random.Generator) -> int:
    """1 to 4000 pixels, as likely small as large."""
    return round(4000 ** rng.random())


def test_200_random_pictures(java: Java, tmp_path: Path) -> None:
    """Odd sizes, extreme aspect ratios, every EXIF orientation, every input type."""
    rng = np.random.default_rng(20)
    expected = {}
    for number in range(200):
        height, width = _side(rng), _side(rng)
        if height * width > 3_000_000:
            width = max(1, 3_000_000 // height)
        stored = rng.integers(0, 256, (height, width, 3), np.uint8)
        contract, orientation = _any_contract(rng), int(rng.integers(1, 9))
        dtype = str(rng.choice(["int8", "uint8", "float32"]))
        scale, zero_point = contract.int8_quantization()
        if dtype == "uint8":
            zero_point += 128
        if rng.random() < 0.3:  # another tool quantized the model
            scale, zero_point = scale * float(rng.uniform(0.5, 2)), int(rng.integers(-20, 20))
        scale = float(np.float32(scale))
        stem = tmp_path / f"{number:03}"
        stem.with_suffix(".rgb").write_bytes(stored.tobytes())
        given = {
            **{"width": width, "height": height, "orientation": orientation},
            **{"contract": contract.to_json(), "dtype": dtype},
            **{"scale": scale, "zero_point": zero_point},
        }
        stem.with_suffix(".json").write_text(json.dumps(given))
        fitted = images.fit(_upright(stored, orientation), contract)
        quantization = None if dtype == "float32" else (scale, zero_point)
        value = images.to_input(fitted, contract, dtype, quantization)
        expected[stem] = (fitted.tobytes(), np.ascontiguousarray(value).tobytes(), given)
    java("prepare", tmp_path)
    for stem, (fitted, value, given) in expected.items():
        assert stem.with_suffix(".fitted").read_bytes() == fitted, given
        assert stem.with_suffix(".input").read_bytes() == value, given


def _upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """As `images.decode` does it: OpenCV, from the EXIF tag of a lossless file."""
    found, data = cv2.imencode(".png", cv2.cvtColor(stored, cv2.COLOR_RGB2BGR))
    assert found
    return images.decode_bytes(_with_exif(data.tobytes(), orientation), "stored.png")


def _with_exif(png: bytes, orientation: int) -> bytes:
    """A PNG with the chunk eXIf: a TIFF of one IFD with the orientation."""
    tiff = b"II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0"
    tiff += orientation.to_bytes(4, "little") + b"\0\0\0\0"
    body = b"eXIf" + tiff
    chunk = len(tiff).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return png[:33] + chunk + png[33:]  # behind IHDR


# --- golden vectors


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, its golden vectors and the outputs that are right."""
    folder = tmp_path_factory.mktemp("golden")
    contract = Contract(32, 32, fit="crop", crop_fraction=0.875, labels=COLOURS)
    model = tflite.pack(build_colour_model(quantized=True), contract)
    rng = np.random.default_rng(1)
    photos = []
    for channel in range(3):
        photo = rng.integers(0, 100, (71, 53, 3), np.uint8)
        photo[..., channel] += 120
        photos.append(photo)
    made = making.make(model, "model.tflite", contract, photos)
    (folder / "model.tflite").write_bytes(model)
    (folder / "model.golden.zip").write_bytes(made.to_zip())
    for vector in made.vectors:
        (folder / f"{vector.name}.output").write_bytes(vector.output)
    return folder


def _verify(java: Java, golden: Path, folder: Path | None = None) -> dict:
    return json.loads(java("verify", golden, folder or golden.parent))


def test_golden_vectors_are_replayed(java: Java, golden: Path) -> None:
    found = _verify(java, golden / "model.golden.zip")
    assert found == {
        "of_model": True,
        "stage": None,
        "message": "4 pictures give what they gave on the desk.",
    }


@pytest.mark.parametrize(
    ("change", "stage"),
    [
        ({"fit": "pad"}, "FIT"),
        ({"crop_fraction": 1.0}, "FIT"),
        ({"colour_order": "BGR"}, "INPUT"),
        ({"mean": [1.0, 2.0, 3.0]}, "INPUT"),
    ],
)
def test_preprocessing_that_differs(java, golden, tmp_path, change, stage) -> None:
    files = _files(golden)
    index = json.loads(files["golden.json"])
    index["contract"] |= change
    files["golden.json"] = json.dumps(index).encode()
    found = _verify(java, _zip(tmp_path / "changed.zip", files), golden)
    assert found["stage"] == stage and found["message"].startswith("card: ")


def test_a_decoder_that_differs(java: Java, golden: Path, tmp_path: Path) -> None:
    files = _files(golden)
    picture = cv2.imdecode(np.frombuffer(files["photo-1.png"], np.uint8), cv2.IMREAD_COLOR)
    files["photo-1.png"] = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
    found = _verify(java, _zip(tmp_path / "changed.zip", files), golden)
    assert found["stage"] == "DECODE" and found["message"].startswith("photo-1: ")


@pytest.mark.parametrize(
    ("by", "stage", "said"),
    [(3, None, "on the desk"), (4, "INFERENCE", "4.0 steps off"), (200, "INFERENCE", "steps off")],
)
def test_scores_that_differ(java, golden, tmp_path, by, stage, said) -> None:
    for path in golden.glob("*.output"):
        output = np.frombuffer(path.read_bytes(), np.int8).astype(int)
        output[output.argmax()] -= by
        (tmp_path / path.name).write_bytes(np.clip(output, -128, 127).astype(np.int8).tobytes())
    found = _verify(java, golden / "model.golden.zip", tmp_path)
    assert found["stage"] == stage and said in found["message"]


def test_golden_vectors_of_another_model(java: Java, golden: Path, tmp_path: Path) -> None:
    shutil.copytree(golden, tmp_path / "other")
    model = tmp_path / "other" / "model.tflite"
    data = bytearray(model.read_bytes())
    data[len(data) // 4] ^= 1
    model.write_bytes(data)
    assert _verify(java, golden / "model.golden.zip", model.parent)["of_model"] is False


def test_damaged_assets_are_told(java: Java, golden: Path, tmp_path: Path) -> None:
    """A sentence for the banner, never another exception."""
    data = (golden / "model.golden.zip").read_bytes()
    files = _files(golden)
    index = json.loads(files["golden.json"])
    spoilt = [data[: len(data) // 2], data[:50], b"", b"no zip at all"]
    for key in index.keys() - {"made_with"}:  # which the app doesn't read
        changed = {k: v for k, v in index.items() if k != key}
        spoilt.append(zip_of(files | {"golden.json": json.dumps(changed).encode()}))
    spoilt.append(zip_of(files | {"golden.json": json.dumps(index | {"schema": 2}).encode()}))
    spoilt += [zip_of({k: v for k, v in files.items() if k != name}) for name in files]
    folder = tmp_path / "spoilt"
    folder.mkdir()
    for number, content in enumerate(spoilt):
        path = folder / f"{number}.zip"
        path.write_bytes(content)
        assert _verify(java, path, golden)["refused"]


def _files(golden: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(golden / "model.golden.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zip(path: Path, files: dict[str, bytes]) -> Path:
    path.write_bytes(zip_of(files))
    return path


# --- scores


@pytest.mark.parametrize("output", ["logits", "probabilities"])
def test_scores_and_latencies(java: Java, tmp_path: Path, output: str) -> None:
    labels = tuple(f"class {n}" for n in range(20))
    contract = Contract(8, 8, labels=labels, output=output)
    values = np.random.default_rng(3).integers(-128, 128, 20).astype(np.int8)
    milliseconds = [7, 900, 5, 6, 8, 4, 30]  # the first two are out of the window
    given = {
        **{"contract": contract.to_json(), "output": values.tolist(), "size": 20, "window": 5},
        **{"dtype": "int8", "scale": 0.11, "zero_point": -7, "milliseconds": milliseconds},
    }
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(given))
    found = json.loads(java("scores", path))
    scores = ((values.astype(int) + 7) * np.float32(0.11)).astype(np.float32)
    wanted = scores if output == "probabilities" else metrics.softmax(scores[None])[0]
    best = np.argsort(-wanted, kind="stable")[:3]
    assert [guess[0] for guess in found["top"]] == best.tolist()
    assert [guess[1] for guess in found["top"]] == [labels[i] for i in best]
    assert [guess[2] for guess in found["top"]] == pytest.approx(wanted[best].tolist(), rel=1e-6)
    assert found["count"] == 5
    assert found["p50"] == np.percentile(milliseconds[2:], 50)
    assert found["p90"] == pytest.approx(np.percentile(milliseconds[2:], 90))


def test_contracts_that_a_phone_can_not_follow(java: Java, golden: Path, tmp_path: Path) -> None:
    """OpenCV's own interpolations aren't on a phone, so they are refused, not imitated."""
    files = _files(golden)
    index = json.loads(files["golden.json"])
    index["contract"]["interpolation"] = "area"
    files["golden.json"] = json.dumps(index).encode()
    found = _verify(java, _zip(tmp_path / "area.zip", files), golden)
    assert "--interpolation exact" in found["refused"]
    assert vectors.read((tmp_path / "area.zip").read_bytes(), "area.zip").contract
