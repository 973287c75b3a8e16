"""Proves the wheel: built, installed in a clean environment without TensorFlow, and used there.

    python tests/check_wheel.py

Part of CI, not of pytest, since it installs packages.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
import zipfile
from pathlib import Path

import cv2
import numpy as np
import processor_time
from conftest import build_colour_model, colour_picture
from deploy_support import classifier

ROOT = Path(__file__).resolve().parent.parent
#: On the reference machine of processor_time.py.
HELP_SECONDS = 0.3
MACHINES = ("x86_64", "aarch64", "armv7l")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="edgekit-wheel-") as folder:
        work = Path(folder)
        wheel = build(work)
        names = zipfile.ZipFile(wheel).namelist()
        for needed in (
            "edgekit/converters/pipeline.py",
            "edgekit/training/data/imagenet_labels.txt",
            "edgekit/cli/main.py",
            "edgekit/deploy/on_pi/files/install.sh",
            "edgekit/deploy/on_pi/page.html",
            "edgekit/deploy/android_demo/settings.gradle.kts",
            *(f"edgekit/benchmark/bin/edgekit-bench-{machine}-linux-gnu" for machine in MACHINES),
        ):
            check(needed in names, f"{needed} is in the wheel")
        check(not any(n.startswith(("tests/", "converters/")) for n in names), "nothing else is")

        venv.create(work / "clean", with_pip=True)
        binaries = work / "clean" / "bin"
        run(binaries / "python", "-m", "pip", "install", "--quiet", wheel)
        found = run(binaries / "python", "-m", "pip", "list", "--format", "json").stdout
        installed = {package["name"] for package in json.loads(found)}
        check("tensorflow" not in installed, "no TensorFlow in the clean environment")
        use(work, binaries / "edgekit")
    print("the wheel is sound")


def build(work: Path) -> Path:
    for left in ("lib", f"bdist.{sysconfig.get_platform()}"):  # setuptools would pack it again
        shutil.rmtree(ROOT / "build" / left, ignore_errors=True)
    run(sys.executable, "-m", "build", "--wheel", "--outdir", work / "dist", ROOT)
    return next((work / "dist").glob("*.whl"))


def use(work: Path, edgekit: Path) -> None:
    model, labels, photo = work / "m.tflite", work / "labels.txt", work / "red.png"
    model.write_bytes(build_colour_model(quantized=True))
    labels.write_text("blue\ngreen\nred\n")
    cv2.imwrite(str(photo), np.ascontiguousarray(colour_picture("red", 1)[..., ::-1]))

    run(edgekit, "--help")  # the first run compiles
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        run(edgekit, "--help")
        seconds.append(time.perf_counter() - start)
    fastest = min(seconds) * processor_time.scale()
    check(fastest < HELP_SECONDS, f"edgekit --help took {fastest:.2f} s")

    check("int8" in run(edgekit, "inspect", model).stdout, "edgekit inspect works")
    said = run(edgekit, "predict", model, photo, "--preprocess", "raw", "--labels", labels).stdout
    check("red" in said, "edgekit predict works")

    if platform.machine() in MACHINES:
        measured = run(edgekit, "benchmark", model, "--min-time", "50ms", "--json").stdout
        rounds = json.loads(measured)["cells"][0]["rounds"]
        check(rounds[0]["tool"]["name"] == "edgekit-bench", "edgekit benchmark works")

    shipped, package = classifier(work / "colours.tflite"), work / "package"
    run(edgekit, "bundle", "pi", shipped, "-o", package)
    said = run(package / "install.sh")
    check("Right: every byte is the same" in said.stdout, "the package for a Pi installs itself")
    said = run(package / "classify.py", photo)
    check("red" in said.stdout, "and classifies")
    run(edgekit, "bundle", "android", shipped, "-o", work / "app")
    demo = tracked("android_demo")
    check(demo <= files_of(work / "app"), f"the app has all {len(demo)} files of the demo")

    keras_file = work / "k.keras"
    with zipfile.ZipFile(keras_file, "w") as archive:
        archive.writestr("config.json", "{}")
    refused = run(edgekit, "convert", "--int8", keras_file, expect=5)
    check('pip install "edgekit[convert]"' in refused.stderr, "convert says what to install")


def tracked(folder: str) -> set[str]:
    """What git knows below a folder, relative to it."""
    listed = run("git", "-C", ROOT / folder, "ls-files", ".").stdout
    return set(listed.splitlines())


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def run(*command: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
    # An editable checkout on the path would hide what the wheel lacks.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tempfile.gettempdir(),
    )
    if done.returncode != expect:
        sys.exit(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def check(condition: bool, what: str) -> None:
    if not condition:
        sys.exit(f"not so: {what}")
    print(f"ok: {what}")


if __name__ == "__main__":
    main()
