"""The Android project: resources, manifest, Gradle files, and the app's Kotlin over stand-ins."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from android_support import (
    APP,
    DEMO,
    bundle_properties,
    catalog,
    compile_app,
    link_resources,
    properties,
    run,
    run_junit,
)
from conftest import COLOURS, build_colour_model

from edgekit import tflite
from edgekit.contract import Contract
from edgekit.golden import making

_ANDROID = "{http://schemas.android.com/apk/res/android}"
_RES = APP / "res"
_KOTLIN = sorted((APP / "java").rglob("*.kt"))
_HARNESS = Path(__file__).resolve().parent / "android" / "RuntimeHarness.java"


def _xml(path: Path) -> ElementTree.Element:
    return ElementTree.parse(path).getroot()


def _layouts() -> dict[Path, ElementTree.Element]:
    return {path: _xml(path) for path in sorted(_RES.glob("layout*/*.xml"))}


def _values(folder: str, tag: str) -> dict[str, str]:
    """The resources of a kind in `values` or `values-night`."""
    found = {}
    for path in (_RES / folder).glob("*.xml"):
        for element in _xml(path).iter(tag):
            assert element.get("name") not in found, f"{path}: twice"
            found[element.attrib["name"]] = element.text or ""
    return found


# --- resources


def test_resources_link(tmp_path: Path) -> None:
    """Every reference leads somewhere, in Android's framework too."""
    generated = link_resources(tmp_path)
    assert list(generated.rglob("R.java"))


def test_xml_is_well_formed() -> None:
    paths = list((DEMO / "app").rglob("*.xml"))
    assert len(paths) > 10
    for path in paths:
        assert path.read_text("utf-8").startswith('<?xml version="1.0" encoding="utf-8"?>'), path
        _xml(path)


def _uses(kind: str) -> set[str]:
    """Names of resources of a kind that code, resources or the manifest use."""
    code = "".join(path.read_text("utf-8") for path in _KOTLIN)
    files = [*_RES.rglob("*.xml"), APP / "AndroidManifest.xml"]
    markup = "".join(path.read_text("utf-8") for path in files)
    names = re.findall(rf"(?<!android\.)\bR\.{kind}\.(\w+)", code)
    return {*names, *re.findall(rf'[">]@{kind}/([\w.]+)', markup)}


@pytest.mark.parametrize("kind", ["string", "color", "dimen"])
def test_values_are_there_and_used(kind: str) -> None:
    assert _uses(kind) == _values("values", kind).keys()


def test_drawables_and_layouts_are_there_and_used() -> None:
    for kind in ("drawable", "layout"):
        assert _uses(kind) == {path.stem for path in _RES.glob(f"{kind}*/*.xml")}


def test_ids_are_there_and_used() -> None:
    """Code finds every view, in upright and in wide layouts."""
    code = "".join(path.read_text("utf-8") for path in _KOTLIN)
    used = set(re.findall(r"\bR\.id\.(\w+)", code))
    found = {
        folder: {
            element.attrib[f"{_ANDROID}id"].removeprefix("@+id/")
            for path, root in _layouts().items()
            if path.parent.name == folder or not (_RES / folder / path.name).exists()
            for element in root.iter()
            if f"{_ANDROID}id" in element.attrib
        }
        for folder in ("layout", "layout-land")
    }
    assert found["layout"] == found["layout-land"] == used


def test_no_text_outside_strings() -> None:
    for path in _RES.rglob("*.xml"):
        for element in _xml(path).iter():
            for name in ("text", "contentDescription", "hint", "title", "label"):
                text = element.get(_ANDROID + name, "@string/")
                assert text.startswith("@string/"), f"{path}: {text}"


def test_strings_get_what_they_ask_for() -> None:
    """A wrong number of arguments would end the app when the text is shown."""
    asked = {
        name: len(set(re.findall(r"%(\d+)\$", text)))
        for name, text in _values("values", "string").items()
    }
    code = "".join(path.read_text("utf-8") for path in _KOTLIN)
    given: dict[str, set[int]] = {}
    for name, start in [
        (m[1], m.end()) for m in re.finditer(r"getString\(\s*R\.string\.(\w+)", code)
    ]:
        given.setdefault(name, set()).add(_arguments(code[start:]))
    assert {"latency", "check_wrong", "no_model"} <= given.keys()
    for name, counts in given.items():
        assert counts == {asked[name]}, name
    for name in asked.keys() - given.keys():  # given by their number to a view
        assert asked[name] == 0, name


def _arguments(rest: str) -> int:
    """How many arguments stand before the bracket that closes the call."""
    depth, commas, last = 1, 0, ""
    for character in rest:
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return commas - (last == ",")
        commas += character == "," and depth == 1
        last = character if not character.isspace() else last
    raise AssertionError(rest[:80])


def test_dark_theme_has_all_colours() -> None:
    light, dark = _values("values", "color"), _values("values-night", "color")
    assert light.keys() == dark.keys()
    assert light["background"] != dark["background"]
    for folder, parent in (
        ("values", "Theme.Material.Light"),
        ("values-night", "Theme.Material.No"),
    ):
        theme = _xml(_RES / folder / "themes.xml").find("style")
        assert theme is not None and theme.attrib["parent"].startswith(f"android:{parent}")


@pytest.mark.parametrize("folder", ["values", "values-night"])
def test_text_can_be_read(folder: str) -> None:
    """WCAG 2.1, 1.4.3: a contrast of 4.5 at least; 1.4.11: 3 for the bars."""
    colours = _values(folder, "color")
    for text, ground, least in (
        ("text_quiet", "background", 4.5),
        ("text_right", "background", 4.5),
        ("text_on_wrong", "banner_wrong", 4.5),
        ("accent", "background", 3),
        ("bar", "background", 3),
    ):
        bright, dark = sorted((_luminance(colours[text]), _luminance(colours[ground])))[::-1]
        assert (bright + 0.05) / (dark + 0.05) >= least, (text, ground)


def _luminance(colour: str) -> float:
    """WCAG 2.1's relative luminance of #RRGGBB."""
    channels = np.frombuffer(bytes.fromhex(colour.removeprefix("#")), np.uint8) / 255
    linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_what_is_seen_or_touched_is_told() -> None:
    """TalkBack reads it, and a finger hits it."""
    styles = {
        style.attrib["name"]: {item.attrib["name"]: item.text for item in style}
        for style in _xml(_RES / "values" / "styles.xml").iter("style")
    }
    touch = _values("values", "dimen")["touch"]
    assert int(touch.removesuffix("dp")) >= 48
    kinds = {"Button", "ImageButton", "ImageView", "ProgressBar", "Spinner", "PreviewView"}
    seen = set()
    for path, root in _layouts().items():
        for element in root.iter():
            kind = element.tag.rpartition(".")[2]
            if kind not in kinds:
                continue
            seen.add(kind)
            says = [element.get(_ANDROID + name) for name in ("text", "contentDescription")]
            hidden = element.get(f"{_ANDROID}importantForAccessibility") == "no"
            assert any(says) or hidden, f"{path}: {kind}"
            if kind in {"Button", "ImageButton", "Spinner"}:
                style = styles[element.attrib["style"].removeprefix("@style/")]
                assert style["android:minHeight"] == "@dimen/touch", f"{path}: {kind}"
    assert seen >= {"Button", "ImageView", "PreviewView", "Spinner"}


# --- manifest


def test_manifest() -> None:
    root = _xml(APP / "AndroidManifest.xml")
    permissions = [p.get(f"{_ANDROID}name") for p in root.iter("uses-permission")]
    assert permissions == ["android.permission.CAMERA"]  # and no INTERNET
    features = {
        f.get(f"{_ANDROID}name"): f.get(f"{_ANDROID}required") for f in root.iter("uses-feature")
    }
    wanted = ("camera.any", "camera", "camera.autofocus")
    assert features == {f"android.hardware.{name}": "false" for name in wanted}
    application = root.find("application")
    assert application is not None
    assert application.get(f"{_ANDROID}allowBackup") == "false"
    assert application.get(f"{_ANDROID}label") == "${appName}"
    (activity,) = root.iter("activity")
    assert activity.get(f"{_ANDROID}exported") == "true"
    assert (APP / "java" / "dev" / "edgekit" / "demo" / "MainActivity.kt").exists()
    assert activity.get(f"{_ANDROID}name") == ".MainActivity"
    libraries = {
        element.get(f"{_ANDROID}name"): element.get(f"{_ANDROID}required")
        for element in application.iter("uses-native-library")
    }
    assert libraries["libOpenCL.so"] == "false" and set(libraries.values()) == {"false"}


# --- Gradle

#: What an Android Gradle plugin wants: Gradle at least, Kotlin at least, API at most. Sources:
#: https://developer.android.com/build/releases/agp-9-2-0-release-notes (Gradle, API) and
#: https://developer.android.com/build/migrate-to-built-in-kotlin (Kotlin).
_PLUGINS = {"9.2": ((9, 4, 1), (2, 2, 10), 36)}
#: SHA-256 of what Gradle publishes for a version: https://gradle.org/release-checksums
_GRADLE = {
    "9.4.1": {
        "bin": "2ab2958f2a1e51120c326cad6f385153bb11ee93b3c216c5fccebfdfbb7ec6cb",
        "wrapper": "55243ef57851f12b070ad14f7f5bb8302daceeebc5bce5ece5fa6edb23e1145c",
    }
}


def _scripts() -> dict[str, str]:
    paths = [*DEMO.glob("*.gradle.kts"), *DEMO.glob("*/build.gradle.kts")]
    assert len(paths) == 4
    return {str(path.relative_to(DEMO)): path.read_text("utf-8") for path in paths}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def test_catalog_and_scripts_agree() -> None:
    """Every alias that a script uses is in the catalog, and every one there is used."""
    text = "".join(_scripts().values())
    used = set(re.findall(r"\blibs((?:\.\w+)+)", text))
    tables = catalog()
    there = {f".{name}".replace("-", ".") for name in tables["libraries"]}
    there |= {f".plugins.{name}".replace("-", ".") for name in tables["plugins"]}
    asked = {name.removesuffix(".get") for name in used if not name.startswith(".versions")}
    assert asked == there
    versions = {
        value["version.ref"] for kind in ("libraries", "plugins") for value in tables[kind].values()
    }
    versions |= {name.split(".")[2] for name in used if name.startswith(".versions")}
    assert versions == tables["versions"].keys()


def test_coordinates_and_versions_are_pinned() -> None:
    tables = catalog()
    for name, value in tables["libraries"].items():
        assert re.fullmatch(r"[a-z][\w.]+:[a-z][\w-]+", value["module"]), name
    for name, version in tables["versions"].items():
        assert re.fullmatch(r"\d+(\.\d+)*(\.vaadin1)?", version), name
    for path, text in _scripts().items():
        assert not re.search(r'"[\w.-]+:[\w.-]+:[^"]+"', text), f"{path} names a library itself"


def test_tools_go_together() -> None:
    versions = catalog()["versions"]
    gradle, kotlin, api = _PLUGINS[".".join(versions["androidGradlePlugin"].split(".")[:2])]
    wrapper = properties(DEMO / "gradle" / "wrapper" / "gradle-wrapper.properties")
    url = wrapper["distributionUrl"]
    found = re.fullmatch(
        r"https://services\.gradle\.org/distributions/gradle-([\d.]+)-bin\.zip", url
    )
    assert found and _numbers(found[1]) >= gradle
    published = _GRADLE[found[1]]
    assert wrapper["distributionSha256Sum"] == published["bin"]
    jar = (DEMO / "gradle" / "wrapper" / "gradle-wrapper.jar").read_bytes()
    assert hashlib.sha256(jar).hexdigest() == published["wrapper"]
    assert _numbers(versions["kotlin"]) >= kotlin
    assert int(versions["compileSdk"]) == int(versions["targetSdk"]) <= api
    assert versions["minSdk"] == "23"  # of CameraX 1.6 and activity 1.13
    assert versions["litert"].startswith("1.")  # the last with delegates for its Interpreter


def test_wrapper_scripts() -> None:
    assert (DEMO / "gradlew").stat().st_mode & 0o111
    for name in ("gradlew", "gradlew.bat"):
        text = (DEMO / name).read_text("utf-8")
        assert "SPDX-License-Identifier: Apache-2.0" in text and "gradle-wrapper.jar" in text


def test_app_script() -> None:
    """Models can be mapped, native libraries suit pages of 16 KB, names come from one file."""
    app = _scripts()["app/build.gradle.kts"]
    assert 'noCompress += "tflite"' in app
    assert re.search(r"jniLibs \{[^}]*useLegacyPackaging = false", app)
    assert bundle_properties() == {"applicationId": "dev.edgekit.demo", "appName": "edgekit demo"}
    for key in bundle_properties():
        assert f'identity.getProperty("{key}")' in app
    namespaces = re.findall(r'namespace = "(.+)"', app)
    assert namespaces == ["dev.edgekit.demo"]
    assert all(p.read_text("utf-8").startswith(f"package {namespaces[0]}\n") for p in _KOTLIN)
    settings = _scripts()["settings.gradle.kts"]
    assert 'include(":app", ":classifier")' in settings
    # LiteRT's libraries share a namespace; the plugin 9 refuses that by default.
    assert properties(DEMO / "gradle.properties")["android.uniquePackageNames"] == "false"


# --- the app's code


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The class path of the app, compiled over stand-ins."""
    return compile_app(tmp_path_factory.mktemp("app"))


@pytest.fixture(scope="module")
def runtime(app: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict]:
    """Opens the app's runtime, runs it twice and closes it."""
    classes = tmp_path_factory.mktemp("harness")
    run("javac", "-cp", app, "-d", classes, _HARNESS)

    def open_and_run(request: str, plan: int = 1, **given: object) -> dict:
        told = json.dumps({"request": request, "ops": 64, "plan": plan, **given})
        return json.loads(run("java", "-cp", f"{app}:{classes}", "RuntimeHarness", told))

    return open_and_run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("request_", "made", "xnnpack", "said"),
    [
        ("XNNPACK", [], True, "XNNPACK took all 64 ops."),
        ("CPU", [], False, "TFLite's own CPU kernels run all 64 ops; no delegate was asked for."),
        ("GPU", ["GpuDelegate made"], False, "The GPU delegate took all 64 ops."),
        ("NNAPI", ["NnApiDelegate made"], False, "NNAPI took all 64 ops."),
    ],
)
def test_what_runs_is_told(runtime, request_, made, xnnpack, said) -> None:
    found = runtime(request_, plan=64 if request_ == "CPU" else 1)
    assert found["said"] == said
    assert found["scores"] == [1, 2, 3, 1, 2, 3]
    interpreter = f"Interpreter made, threads 4, XNNPACK {str(xnnpack).lower()}"
    closed = ["Interpreter closed", *(event.replace("made", "closed") for event in made)]
    assert found["events"] == [*made, interpreter, *closed]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("refused_at_first", "Internal error: Failed to apply delegate."),
        ("refused_when_run", "Internal error: Failed to apply delegate."),
        ("unlinked", "no such library"),
    ],
)
def test_a_refused_delegate_is_told_and_closed(runtime, how, reason) -> None:
    """The CPU runs the model then, never silently."""
    found = runtime("GPU", **{how: "GpuDelegate"})
    wanted = f"The GPU delegate was refused ({reason}). Instead: XNNPACK took all 64 ops."
    assert found["said"] == wanted
    assert found["scores"] == [1, 2, 3, 1, 2, 3]
    events = found["events"]
    assert events.count("GpuDelegate made") == events.count("GpuDelegate closed")
    made = [event for event in events if event.startswith("Interpreter made")]
    assert len(made) == events.count("Interpreter closed")
    assert made[-1] == "Interpreter made, threads 4, XNNPACK true"


@pytest.mark.slow
def test_errors_of_nnapi_are_told(runtime) -> None:
    found = runtime("NNAPI", plan=5, errno=4)
    assert found["said"].startswith("NNAPI took at least 60 of 64 ops;")
    assert found["said"].endswith(" NNAPI reported error 4.")


@pytest.mark.slow
def test_no_call_that_old_android_lacks(app: str, tmp_path: Path) -> None:
    """Java 9 gave ByteBuffer methods of its own that Android has since version 9 only."""
    folders = [Path(entry) for entry in app.split(":") if Path(entry).name in ("app", "engine")]
    classes = [path for folder in folders for path in folder.rglob("*.class")]
    assert len(classes) > 30
    assert not _covariant(classes)
    source = tmp_path / "Wrong.java"
    source.write_text("class Wrong { void f(java.nio.ByteBuffer b) { b.rewind(); } }")
    run("javac", "--release", "11", "-d", tmp_path, source)
    assert _covariant([tmp_path / "Wrong.class"])


def _covariant(classes: list[Path]) -> list[str]:
    """Calls of them."""
    names = "position|limit|flip|clear|mark|reset|rewind"
    code = run("javap", "-c", "-p", *classes)
    return re.findall(rf"java/nio/ByteBuffer\.(?:{names}):\(I?\)Ljava/nio/ByteBuffer;", code)


# --- a bundle, replayed by JUnit


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Assets with two models, one of them without golden vectors."""
    folder = tmp_path_factory.mktemp("assets")
    models = folder / "models"
    models.mkdir()
    contract = Contract(32, 32, fit="crop", crop_fraction=0.875, labels=COLOURS)
    model = tflite.pack(build_colour_model(quantized=True), contract)
    rng = np.random.default_rng(1)
    photos = [rng.integers(0, 256, (71, 53, 3), np.uint8) for _ in range(3)]
    (models / "colours.tflite").write_bytes(model)
    (models / "colours.contract.json").write_text(contract.to_json())
    made = making.make(model, "colours.tflite", contract, photos)
    (models / "colours.golden.zip").write_bytes(made.to_zip())
    entry = {
        **{"name": "colours", "model": "colours.tflite", "contract": "colours.contract.json"},
        **{"labels": "colours.labels.txt", "golden": "colours.golden.zip", "bytes": len(model)},
        **{"sha256": hashlib.sha256(model).hexdigest(), "ops": 2},
    }
    unproven = entry | {"name": "unproven", "golden": None}
    index = {"schema": 1, "models": [entry, unproven]}
    (models / "index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.slow
def test_a_bundle_is_replayed(assets: Path) -> None:
    report = run_junit(assets)
    assert re.search(r"colours .*\n.*unproven .*no golden vectors: nothing proves unproven", report)
    assert "0 tests failed" in report and "1 tests aborted" in report


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("colours.tflite", lambda data: data[:-1], "colours.tflite is damaged"),
        ("colours.golden.zip", lambda data: data[: len(data) // 2], "golden"),
        ("colours.contract.json", lambda data: data.replace(b"RGB", b"BGR"), "the stage input"),
        ("colours.contract.json", lambda data: data.replace(b"crop", b"pad"), "contract"),
        ("index.json", lambda data: data.replace(b'"schema": 1', b'"schema": 2'), "schema 2"),
    ],
)
def test_a_damaged_bundle_is_refused(assets, tmp_path, file, change, said) -> None:
    shutil.copytree(assets, tmp_path / "assets")
    path = tmp_path / "assets" / "models" / file
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(AssertionError, match=said):
        run_junit(tmp_path / "assets")


@pytest.mark.slow
def test_without_a_bundle_the_replay_is_skipped(tmp_path: Path) -> None:
    report = run_junit(tmp_path)
    assert "edgekit bundle android puts them there" in report and "0 tests failed" in report
