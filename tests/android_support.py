"""Compiles and runs the Android project's parts here: with a JDK, JUnit and aapt2 from Debian.

Where a tool is missing, the test that asked is skipped, with the reason.
"""

from __future__ import annotations

import atexit
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

_ROOT = Path(__file__).resolve().parents[1]
DEMO = _ROOT / "android_demo"
APP = DEMO / "app" / "src" / "main"
_ENGINE = DEMO / "classifier" / "src"
_STUBS = _ROOT / "tests" / "android" / "stubs"
#: What takes long to fetch is kept here; git ignores the folder.
_CACHE = _ROOT / "build" / "android"

_JARS = Path("/usr/share/java")
#: Android's own org.json, from Debian's libandroid-json-java.
JSON = _JARS / "com.android.json.jar"
_JUNIT = [
    *(f"junit-jupiter-{part}.jar" for part in ("api", "engine")),
    *(f"junit-platform-{p}.jar" for p in ("console", "commons", "engine", "launcher", "reporting")),
    *("opentest4j.jar", "apiguardian-api.jar", "picocli.jar"),
]
_FRAMEWORK = Path("/usr/share/android-framework-res/framework-res.apk")


def run(*command: object, cwd: Path | None = None) -> str:
    """What a command says; an AssertionError with it where the command fails."""
    arguments = [str(c) for c in command]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_junit(assets: Path) -> str:
    """Replays the golden vectors of bundled models in a JVM, with all other tests of the engine.

    Compiles android_demo/classifier, with its tests, and runs JUnit as Gradle would.

    Args:
        assets: The folder that holds `models/index.json`: of a bundled project
            `app/src/main/assets`.

    Returns:
        JUnit's report: a tree of the tests with one line for each model. A model without golden
        vectors is named there with the reason why it was skipped.

    Raises:
        AssertionError: A test failed; its message is the report.
    """
    path, tests = _tests_of_the_engine()
    return run(
        *("java", "-Djava.awt.headless=true", f"-Dedgekit.assets={assets}", "-cp", path),
        *("org.junit.platform.console.ConsoleLauncher", "--disable-banner", "--fail-if-no-tests"),
        *("--disable-ansi-colors", "--details=tree", "--scan-classpath", tests),
    )


@cache
def _tests_of_the_engine() -> tuple[str, str]:
    """The class path of the engine's tests, and their own folder; compiled once in a process."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    engine, tests = Path(folder.name) / "engine", Path(folder.name) / "tests"
    compile_engine(engine)
    for name in _JUNIT:
        _need(_JARS / name, "junit5")
    libraries = [*(_JARS / name for name in _JUNIT), JSON, engine]
    _javac(tests, libraries, (_ENGINE / "test").rglob("*.java"))
    return _path(*libraries, tests), str(tests)


def compile_engine(classes: Path) -> None:
    """The engine as for Android: Java 11, no warning."""
    _need("javac", "openjdk-17-jdk-headless")
    _need(JSON, "libandroid-json-java")
    _javac(classes, [JSON], (_ENGINE / "main").rglob("*.java"))


def link_resources(folder: Path, assets: Path | None = None) -> Path:
    """Compiles the app's resources and links them with the manifest; gives the folder of R.java.

    `folder`/app.apk is what comes of it: with assets, models stored uncompressed.

    Debian's framework is Android 10's. The manifest element `uses-native-library` came with 12, so
    it is left out here.
    """
    _need("aapt2", "aapt")
    _need(_FRAMEWORK, "android-framework-res")
    manifest = (APP / "AndroidManifest.xml").read_text("utf-8")
    manifest = re.sub(r"<uses-native-library[^>]*/>", "", manifest)
    manifest = manifest.replace("<manifest ", f'<manifest package="{namespace()}" ')
    for name, value in bundle_properties().items():
        manifest = manifest.replace(f"${{{name}}}", escape(value, {'"': "&quot;"}))
    (folder / "AndroidManifest.xml").write_text(manifest, "utf-8")
    run("aapt2", "compile", "--dir", APP / "res", "-o", folder / "resources.zip")
    versions = catalog()["versions"]
    packed = () if assets is None else ("-A", assets, "-0", ".tflite")
    run(
        *("aapt2", "link", "-I", _FRAMEWORK, "--manifest", folder / "AndroidManifest.xml"),
        *("--min-sdk-version", versions["minSdk"], "--target-sdk-version", versions["targetSdk"]),
        *("--java", folder / "java", "-o", folder / "app.apk", *packed),
        folder / "resources.zip",
    )
    return folder / "java"


def compile_app(folder: Path) -> str:
    """Compiles the app's Kotlin, warnings as errors; gives the class path of all.

    Android, CameraX and LiteRT are stand-ins in tests/android/stubs: the signatures that the app
    uses, without what is behind them.
    """
    compiler = _kotlin_compiler()
    engine, stubs, app = folder / "engine", folder / "stubs", folder / "app"
    compile_engine(engine)
    resources = folder / "resources"
    resources.mkdir()
    generated = link_resources(resources)
    sources = [*_STUBS.rglob("*.java"), *generated.rglob("*.java")]
    _javac(stubs, [], sources, "-Xlint:all,-serial")
    kotlin = compiler / "kotlin-stdlib.jar"
    libraries = [kotlin, JSON, engine, stubs]
    run(
        *("java", "-Xmx1g", "-cp", _path(*compiler.glob("*.jar"))),
        *("org.jetbrains.kotlin.cli.jvm.K2JVMCompiler", "-no-stdlib", "-no-reflect", "-Werror"),
        *("-jvm-target", "11", "-cp", _path(*libraries), "-d", app),
        *(APP / "java", *_STUBS.rglob("*.kt")),
    )
    return _path(*libraries, app)


def _kotlin_compiler() -> Path:
    """The folder of jars of the Kotlin compiler."""
    home = _kotlin_home()
    if not home.exists():
        pytest.skip("no Kotlin compiler here: `make kotlin` fetches it, with npm")
    return home / "lib"


def _kotlin_home() -> Path:
    return _CACHE / f"kotlin-compiler-{catalog()['versions']['kotlin']}"


def fetch_kotlin() -> None:
    """Fetches the Kotlin compiler that the version catalog names, from npm, unless it is here."""
    home = _kotlin_home()
    if home.exists():
        return
    if shutil.which("npm") is None:
        print("No npm on this machine: the tests of the Android app's Kotlin skip.")
        return
    _CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CACHE) as folder:
        package = f"kotlin-compiler@{catalog()['versions']['kotlin']}"
        done = subprocess.run(["npm", "pack", package, "--silent"], check=False, cwd=folder)
        if done.returncode != 0:
            print(f"npm can't fetch {package}: the tests of the Android app's Kotlin skip.")
            return
        subprocess.run(["tar", "-xzf", next(Path(folder).glob("*.tgz"))], check=True, cwd=folder)
        (Path(folder) / "package").rename(home)


def _javac(target: Path, libraries: list, sources, lint: str = "-Xlint:all,-path") -> None:
    path = ("-cp", _path(*libraries)) if libraries else ()
    run("javac", "--release", "11", lint, "-Werror", *path, "-d", target, *sources)


def _path(*entries: object) -> str:
    return ":".join(str(entry) for entry in entries)


def _need(tool: str | Path, package: str) -> None:
    found = tool.exists() if isinstance(tool, Path) else shutil.which(tool) is not None
    if not found:
        pytest.skip(f"no {tool} on this machine: apt install {package}")


@cache
def catalog() -> dict[str, dict]:
    """gradle/libs.versions.toml: its tables, each value a text or a table within one line.

    Python 3.10 has no reader for TOML; a line that isn't understood here is an error.
    """
    tables: dict[str, dict] = {}
    table: dict = {}
    for line in (DEMO / "gradle" / "libs.versions.toml").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if head := re.fullmatch(r"\[([\w-]+)\]", line):
            table = tables.setdefault(head[1], {})
            continue
        pair = re.fullmatch(r'([\w-]+) = (?:"([^"]*)"|\{ (.*) \})', line)
        assert pair and pair[1] not in table, line
        inner = dict(re.findall(r'([\w.]+) = "([^"]*)"', pair[3] or ""))
        table[pair[1]] = inner or pair[2]
    return tables


def bundle_properties() -> dict[str, str]:
    """What `edgekit bundle android` sets for an app."""
    return properties(DEMO / "bundle.properties")


def properties(path: Path) -> dict[str, str]:
    """A file of Java properties."""
    lines = [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    pairs = [line.split("=", 1) for line in lines if not line.startswith("#")]
    return {key.strip(): value.strip().replace("\\:", ":") for key, value in pairs}


def namespace() -> str:
    """The app's package."""
    script = (DEMO / "app" / "build.gradle.kts").read_text("utf-8")
    found = re.search(r'namespace = "([\w.]+)"', script)
    assert found
    return found[1]


if __name__ == "__main__":
    fetch_kotlin()
