"""`edgekit bundle android`: the project with models in place, and what it refuses."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from android_support import link_resources, run_junit
from conftest import COLOURS, build_colour_model, zip_of
from deploy_support import CONTRACT, classifier
from devices_support import tmpfs

from edgekit import tflite
from edgekit.golden import vectors

_DEMO = Path(__file__).resolve().parents[1] / "android_demo"
_ASSETS = Path("app/src/main/assets/models")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("model") / "colours.tflite")


@pytest.fixture(scope="module")
def app(run_cli, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("app") / "app"
    other = classifier(output.with_name("No. 2 (new).tflite"))
    options = ("--app-id", "com.example.colours", "--app-name", "Farben & Töne")
    run = run_cli("bundle", "android", model, other, "-o", output, *options)
    assert run.returncode == 0, run.stderr
    assert f"cd {output} && ./gradlew installDebug" in run.stdout
    return output


def index(folder: Path) -> list[dict]:
    document = json.loads((folder / "index.json").read_text())
    assert document["schema"] == 1
    return document["models"]


def test_the_demo_with_the_models_in_place(app: Path, model: Path) -> None:
    assets = app / _ASSETS
    first, second = index(assets)
    assert (assets / first["model"]).read_bytes() == model.read_bytes()
    assert first["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert first["bytes"] == model.stat().st_size
    assert first["ops"] == len(tflite.read(model.read_bytes(), "m").main.operators)
    assert (assets / first["labels"]).read_text().split() == list(COLOURS)
    assert json.loads((assets / first["contract"]).read_text())["contract"] == CONTRACT.to_dict()
    golden = vectors.read((assets / first["golden"]).read_bytes(), "golden")
    golden.require_of(model.read_bytes(), "m", "g")
    assert second["name"] == "No_2_new"
    listed = {"index.json", *(e[k] for e in (first, second) for k in e if isinstance(e[k], str))}
    assert {path.name for path in assets.iterdir()} <= listed


def test_the_rest_is_the_demo(app: Path) -> None:
    """Every file of the demo but what was built there, unchanged but for the names."""
    tracked = [
        path.relative_to(_DEMO)
        for path in _DEMO.rglob("*")
        if path.is_file() and not {"build", ".gradle", "assets"} & set(path.parts)
    ]
    for name in tracked:
        if name.name not in ("bundle.properties", "local.properties"):
            assert (app / name).read_bytes() == (_DEMO / name).read_bytes(), name
    assert (app / "bundle.properties").read_bytes() == (
        b"applicationId=com.example.colours\nappName=Farben & T\\u00f6ne\n"
    )
    assert os.access(app / "gradlew", os.X_OK)


@pytest.mark.slow
def test_the_engine_replays_the_bundle(app: Path) -> None:
    """The engine's own JUnit tests, on this very bundle: every stage up to the input, in a JVM."""
    report = run_junit(app / _ASSETS.parent)
    assert "colours" in report
    assert "No_2_new" in report
    assert "0 tests failed" in report


def test_models_are_packed_as_they_are(app: Path, tmp_path: Path) -> None:
    """Android's packager with the option that Gradle gives it: a model can be memory-mapped."""
    link_resources(tmp_path, app / _ASSETS.parent)
    with zipfile.ZipFile(tmp_path / "app.apk") as apk:
        packed = {i.filename: i for i in apk.infolist() if i.filename.startswith("assets/")}
    files = {path.name for path in (app / _ASSETS).iterdir()}
    assert packed.keys() == {f"assets/models/{name}" for name in files}
    models = [info for name, info in packed.items() if name.endswith(".tflite")]
    assert len(models) == 2
    assert all(info.compress_type == zipfile.ZIP_STORED for info in models)


@pytest.mark.slow
def test_the_engine_notices_a_spoilt_bundle(app: Path, tmp_path: Path) -> None:
    assets = Path(shutil.copytree(app / _ASSETS.parent, tmp_path / "assets"))
    contract = dataclasses.replace(CONTRACT, fit="pad")
    (assets / "models" / "colours.contract.json").write_text(contract.to_json())
    with pytest.raises(AssertionError, match=r"colours .* in the stage fit"):
        run_junit(assets)


def test_assets_only(run_cli, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "models"
    run = run_cli("bundle", "android", model, "-o", output, "--assets-only", "--json")
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert {asset["file"] for asset in found["assets"]} == {
        "index.json",
        *(f"colours.{end}" for end in ("tflite", "contract.json", "labels.txt", "golden.zip")),
    }
    for asset in found["assets"]:
        assert (output / asset["file"]).stat().st_size == asset["bytes"]
    assert found["application_id"] is found["apk"] is None
    assert len(index(output)) == 1


def test_python_calls(model: Path, tmp_path: Path) -> None:
    import edgekit

    app = edgekit.bundle_android(model, tmp_path / "m", assets_only=True)
    assert app.models == ("colours",)
    package = edgekit.bundle_pi(str(model), tmp_path / "p")
    assert package.archive == tmp_path / "p.tar.gz"


# --- models


def test_a_model_without_golden_vectors_or_labels(run_cli, tmp_path: Path) -> None:
    contract = dataclasses.replace(CONTRACT, labels=None)
    bare = classifier(tmp_path / "bare.tflite", contract, golden=False)
    run = run_cli("bundle", "android", bare, "-o", tmp_path / "m", "--assets-only")
    assert run.returncode == 0, run.stderr
    assert "New ones are made from a test card" in run.stderr
    assert "no labels" in run.stderr
    (entry,) = index(tmp_path / "m")
    assert "labels" not in entry
    golden = vectors.read((tmp_path / "m" / entry["golden"]).read_bytes(), "g")
    assert [vector.name for vector in golden.vectors] == ["card"]


def _no_contract(folder: Path) -> Path:
    (folder / "m.tflite").write_bytes(build_colour_model(quantized=True))
    return folder / "m.tflite"


def _other_interpolation(folder: Path) -> Path:
    return classifier(folder / "m.tflite", dataclasses.replace(CONTRACT, interpolation="area"))


def _other_golden(folder: Path) -> Path:
    path = classifier(folder / "m.tflite")
    other = classifier(
        folder / "other.tflite", dataclasses.replace(CONTRACT, output="probabilities")
    )
    vectors.beside(path).write_bytes(vectors.beside(other).read_bytes())
    return path


def _damaged_golden(folder: Path) -> Path:
    path = classifier(folder / "m.tflite")
    vectors.beside(path).write_bytes(zip_of({"golden.json": b"{}"}))
    return path


def _no_model(folder: Path) -> Path:
    (folder / "m.tflite").write_bytes(b"TFL3")
    return folder / "m.tflite"


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (_no_contract, 2, "carries no preprocessing contract"),
        (_other_interpolation, 2, "--interpolation exact"),
        (_other_golden, 2, "the golden vectors of another model"),
        (_damaged_golden, 3, "makes no sense"),
        (_no_model, 3, "m.tflite"),
        (lambda folder: folder / "none.tflite", 3, "No such file"),
    ],
)
def test_models_that_are_not_shipped(run_cli, tmp_path: Path, make, code, message) -> None:
    run = run_cli("bundle", "android", make(tmp_path), "-o", tmp_path / "app")
    assert run.returncode == code
    assert message in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "app").exists()


def test_a_model_for_the_edge_tpu(run_cli, shared_models: Path, tmp_path: Path) -> None:
    compiled = shared_models / "edgetpu" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    run = run_cli("bundle", "android", compiled, "-o", tmp_path / "app")
    assert run.returncode == 2
    assert "is compiled for the Edge TPU already" in run.stderr


@pytest.mark.parametrize("names", [("m", "m"), ("m", "M"), ("a b", "a_b")])
def test_names_that_clash(run_cli, model: Path, tmp_path: Path, names: tuple[str, str]) -> None:
    paths = []
    for number, name in enumerate(names):
        (tmp_path / str(number)).mkdir()
        paths.append(Path(shutil.copy(model, tmp_path / str(number) / f"{name}.tflite")))
    run = run_cli("bundle", "android", *paths, "-o", tmp_path / "app")
    assert run.returncode == 2
    assert "both would be called" in run.stderr
    assert not (tmp_path / "app").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--app-id", "birds"), "application id"),
        (("--app-id", "com.1birds"), "application id"),
        (("--app-name", " "), "app name"),
        (("--app-name", "@home"), "references"),
        (("--assets-only", "--build"), "makes no app"),
        (("--delegate", "npu"), "npu"),
    ],
)
def test_bad_use(run_cli, model: Path, tmp_path: Path, options, message: str) -> None:
    run = run_cli("bundle", "android", model, "-o", tmp_path / "app", *options)
    assert run.returncode == 2
    assert message in run.stderr
    assert not (tmp_path / "app").exists()


def test_what_a_delegate_may_leave_to_the_cpu(run_cli, lite0_float, tmp_path: Path) -> None:
    """EfficientNet-Lite ends in a MEAN, which the documents of the GPU delegate don't list."""
    packed = tmp_path / "lite0.tflite"
    contract = dataclasses.replace(CONTRACT, height=224, width=224, labels=None)
    packed.write_bytes(tflite.pack(lite0_float.read_bytes(), contract))
    options = ("--assets-only", "--delegate", "gpu", "--delegate", "nnapi")
    run = run_cli("bundle", "android", packed, "-o", tmp_path / "m", *options)
    assert run.returncode == 0, run.stderr
    assert "GPU delegate: 59 of 60 ops expected there" in run.stderr
    assert "1 x MEAN is not in the documented list" in run.stderr
    assert "NNAPI (deprecated since Android 15): 60 of 60 ops" in run.stderr


# --- the folder


@pytest.fixture
def own(run_cli, model: Path, tmp_path: Path) -> Path:
    """A bundle that its user works in."""
    run = run_cli("bundle", "android", model, "-o", tmp_path / "app")
    assert run.returncode == 0, run.stderr
    return tmp_path / "app"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_that_exists_is_left_alone(run_cli, own: Path, model: Path) -> None:
    before = snapshot(own)
    run = run_cli("bundle", "android", model, "-o", own)
    assert run.returncode == 2
    assert "exists already" in run.stderr
    assert "--force brings it up to date" in run.stderr
    assert snapshot(own) == before


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_folder_of_somebody_is_left_alone(run_cli, model: Path, tmp_path: Path, force) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "thesis.txt").write_text("years of work")
    run = run_cli("bundle", "android", model, "-o", tmp_path / "app", *force)
    assert run.returncode == 2
    assert "is no bundle of edgekit" in run.stderr
    assert [path.name for path in (tmp_path / "app").iterdir()] == ["thesis.txt"]


def test_an_empty_folder_is_taken(run_cli, model: Path, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    assert run_cli("bundle", "android", model, "-o", tmp_path / "app").returncode == 0


def test_a_folder_whose_parent_is_missing(run_cli, model: Path, tmp_path: Path) -> None:
    run = run_cli("bundle", "android", model, "-o", tmp_path / "a" / "b")
    assert run.returncode == 2
    assert "mkdir -p" in run.stderr


def test_force_brings_it_up_to_date(run_cli, own: Path, tmp_path: Path) -> None:
    """Another model: the old one goes, what the user and Gradle made stays."""
    (own / "local.properties").write_text("sdk.dir=/opt/sdk\n")
    (own / "app" / "build").mkdir()
    (own / "app" / "build" / "made").write_text("by Gradle")
    fresh = classifier(tmp_path / "fresh.tflite")
    run = run_cli("bundle", "android", fresh, "-o", own, "--force")
    assert run.returncode == 0, run.stderr
    assert {path.name.partition(".")[0] for path in (own / _ASSETS).iterdir()} == {"fresh", "index"}
    assert (own / "local.properties").exists()
    assert (own / "app" / "build" / "made").exists()


def test_force_never_loses_work(run_cli, own: Path, model: Path) -> None:
    manifest = own / "app" / "src" / "main" / "AndroidManifest.xml"
    manifest.write_text(manifest.read_text() + "<!-- mine -->\n")
    before = snapshot(own)
    run = run_cli("bundle", "android", model, "-o", own, "--force")
    assert run.returncode == 2
    assert "1 file(s) were changed since: app/src/main/AndroidManifest.xml" in run.stderr
    assert snapshot(own) == before


@pytest.mark.parametrize("kind", ["android", "pi"])
def test_a_full_disk(run_cli, model: Path, tmp_path: Path, kind: str) -> None:
    with tmpfs(tmp_path / "disk", "size=64k") as disk:
        _assert_full(run_cli("bundle", kind, model, "-o", disk / "out"), disk, "out")


def test_a_disk_that_is_full_after_the_folder(run_cli, model: Path, tmp_path: Path) -> None:
    assert run_cli("bundle", "pi", model, "-o", tmp_path / "out").returncode == 0
    blocks = int(subprocess.check_output(["du", "-sk", tmp_path / "out"]).split()[0])
    half = (tmp_path / "out.tar.gz").stat().st_size // 2048
    with tmpfs(tmp_path / "disk", f"size={blocks + half}k") as disk:
        _assert_full(run_cli("bundle", "pi", model, "-o", disk / "out"), disk, "out.tar.gz")


def _assert_full(run, disk: Path, what: str) -> None:
    assert run.returncode == 4
    assert f"{disk / what}: could not be written (No space left" in run.stderr
    assert not list(disk.iterdir())


# --- an Android SDK: what Gradle does is the phone's and its own; how it is called is ours


@pytest.fixture
def gradle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Lets a script stand in for the project's gradlew, where an SDK is said to be."""
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path))

    def stand_in(script: str) -> Path:
        demo = tmp_path / "demo"
        shutil.copytree(_DEMO, demo, ignore=shutil.ignore_patterns("build", "assets"))
        (demo / "gradlew").write_text(f"#!/bin/sh\n{script}\n")
        monkeypatch.setattr("edgekit.deploy.android._DEMO", demo)
        return demo

    return stand_in


def _bundle_and(action: str, model: Path, output: Path) -> Path:
    from edgekit.deploy import android, gradle

    android.bundle([model], output)
    return gradle.run(output, action, lambda line: None)


@pytest.mark.parametrize(
    ("action", "task"), [("build", ":app:assembleDebug"), ("install", ":app:installDebug")]
)
def test_gradle_is_called(gradle, model: Path, tmp_path: Path, action: str, task: str) -> None:
    gradle('echo "$PWD $@" >called')
    apk = _bundle_and(action, model, tmp_path / "app")
    called = (tmp_path / "app" / "called").read_text().split()
    assert called == [str(tmp_path / "app"), "--console=plain", task]
    assert apk.name == "app-debug.apk"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'INSTALL_FAILED_INSUFFICIENT_STORAGE: x'; exit 1", "no room"),
        ("echo 'com.android.builder: No connected devices!'; exit 1", "no phone is connected"),
        ("printf '* What went wrong:\\nSDK 36 is missing\\n'; exit 1", "SDK 36 is missing"),
        ("exit 3", "gives no reason"),
    ],
)
def test_what_gradle_says(gradle, model: Path, tmp_path: Path, script: str, message: str) -> None:
    from edgekit.errors import RuntimeFailure

    gradle(script)
    with pytest.raises(RuntimeFailure, match=message):
        _bundle_and("install", model, tmp_path / "app")


def test_without_an_sdk(run_cli, model: Path, tmp_path: Path, monkeypatch) -> None:
    for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    run = run_cli("bundle", "android", model, "-o", tmp_path / "app", "--build")
    assert run.returncode == 5
    assert "no Android SDK" in run.stderr
    assert (tmp_path / "app" / "settings.gradle.kts").exists()
