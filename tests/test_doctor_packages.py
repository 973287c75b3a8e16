"""`edgekit doctor`: Python packages, what edgekit asks of them and the traps among them."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
from doctor_support import (
    CONVERT,
    NO_GL,
    AreaTests,
    Trap,
    local,
    needing,
    packages,
)

from edgekit.doctor import EVERY, requirements
from edgekit.doctor.areas import packages as area
from edgekit.doctor.facts import Conflict, Facts, Need, Trial

QUANTIZER = Conflict("litert-quantizer 0.12.0", "ai-edge-litert==2.4.0", "2.3.0")

TRAPS: dict[str, Trap] = {
    "run from a folder": (
        local(packages=packages(needs=None, unread="runs from a folder")),
        *("edgekit", "note", "pip install edgekit", ()),
    ),
    "an old numpy": (
        local(**needing(Need("numpy", ">=1.26", "", "1.21.0", False))),
        *("numpy", "broken", 'pip install "numpy>=1.26"', (EVERY,)),
    ),
    "another LiteRT than edgekit's": (
        local(**needing(Need("ai-edge-litert", "==2.3.0", "", "2.4.0", False))),
        *("ai-edge-litert", "broken", 'pip install "ai-edge-litert==2.3.0"', CONVERT),
    ),
    "an old optuna": (
        local(**needing(Need("optuna", ">=4.9,<5", "train", "3.0", False))),
        *("optuna", "broken", 'pip install "optuna>=4.9,<5"', ("train", "tune")),
    ),
    "no click": (
        local(**needing(Need("click", ">=8.1"))),
        *("click", "missing", 'pip install "click>=8.1"', (EVERY,)),
    ),
    "no TensorFlow": (
        local(**needing(Need("tensorflow", ">=2.20,<2.22", "convert"))),
        *("edgekit[convert]", "missing", 'pip install "edgekit[convert]"', CONVERT),
    ),
    "no TensorFlow for 32-bit Arm": (
        local(on={"machine": "armv7l"}, **needing(Need("tensorflow", ">=2.20,<2.22", "convert"))),
        *("edgekit[convert]", "missing", None, CONVERT),
    ),
    "no tfmot": (
        local(**needing(Need("tensorflow-model-optimization", ">=0.8", "tfmot"))),
        *("edgekit[tfmot]", "missing", 'pip install "edgekit[tfmot]"', ("tfmot",)),
    ),
    "Keras 2": (
        local(packages=packages(installed={"keras": "2.15.0"})),
        *("keras", "broken", 'pip install "keras>=3"', CONVERT),
    ),
    "TF_USE_LEGACY_KERAS with tf-keras": (
        local(packages=packages(installed={"tf-keras": "2.21.0"}), legacy_keras="1"),
        *("TF_USE_LEGACY_KERAS", "note", "unset TF_USE_LEGACY_KERAS", CONVERT),
    ),
    "TF_USE_LEGACY_KERAS without tf-keras": (
        local(legacy_keras="true"),
        *("TF_USE_LEGACY_KERAS", "broken", "unset TF_USE_LEGACY_KERAS", CONVERT),
    ),
    "no AVX": (
        local(sight={"avx": False}),
        *("TensorFlow", "broken", None, CONVERT),
    ),
    "libGL is missing": (
        local(opencv=Trial("refused", NO_GL)),
        *("cv2", "broken", "sudo apt install libgl1", (EVERY,)),
    ),
    "glib is missing": (
        local(opencv=Trial("refused", NO_GL.replace("libGL.so.1", "libgthread-2.0.so.0"))),
        *("cv2", "broken", "sudo apt install libglib2.0-0", (EVERY,)),
    ),
    "no OpenCV": (
        local(opencv=Trial("refused", "ModuleNotFoundError: No module named 'cv2'")),
        *("cv2", "missing", 'pip install "opencv-python>=4.10"', (EVERY,)),
    ),
    "OpenCV crashes": (
        local(opencv=Trial("crashed", "signal 4")),
        *("cv2", "broken", 'pip install --force-reinstall "opencv-python>=4.10"', (EVERY,)),
    ),
    "OpenCV without windows": (
        local(
            opencv=Trial("works", "5.0.0 NONE"),
            packages=packages(
                installed={"opencv-python": None, "opencv-python-headless": "5.0.0.93"}
            ),
        ),
        *("cv2", "note"),
        'pip uninstall -y opencv-python-headless && pip install "opencv-python>=4.10"',
        (),
    ),
    "two OpenCVs that load": (
        local(packages=packages(installed={"opencv-python-headless": "4.9"})),
        *("opencv-python and opencv-python-headless", "note"),
        "pip uninstall -y opencv-python opencv-python-headless && "
        'pip install "opencv-python>=4.10"',
        (EVERY,),
    ),
    "two OpenCVs that don't": (
        local(
            packages=packages(installed={"opencv-python-headless": "4.9"}),
            opencv=Trial("refused", "AttributeError: no attribute 'imread'"),
        ),
        *("opencv-python and opencv-python-headless", "broken"),
        "pip uninstall -y opencv-python opencv-python-headless && "
        'pip install "opencv-python>=4.10"',
        (EVERY,),
    ),
    "litert-quantizer wants another LiteRT": (
        local(packages=packages(conflicts=(QUANTIZER,))),
        *("litert-quantizer and ai-edge-litert", "broken"),
        'pip install "ai-edge-litert==2.3.0" "litert-quantizer==0.11.0"',
        CONVERT,
    ),
    "packages that disagree": (
        local(packages=packages(conflicts=(Conflict("tensorflow 2.21.0", "h5py<3.15", "3.16"),))),
        *("h5py<3.15", "note", 'pip install "h5py<3.15"', ()),
    ),
}


UNSAID: dict[str, tuple[Facts, str]] = {
    "litert-quantizer's pin has a rule of its own": (
        local(packages=packages(conflicts=(QUANTIZER,))),
        "ai-edge-litert==2.4.0",
    ),
    "LiteRT's absence is the runtime's": (
        local(**needing(Need("ai-edge-litert", "==2.3.0"))),
        "ai-edge-litert",
    ),
    "an extra's package is the extra's": (
        local(**needing(Need("tensorflow", ">=2.20,<2.22", "convert"))),
        "tensorflow",
    ),
    "other conflicts aren't litert-quantizer's": (
        local(packages=packages(conflicts=(Conflict("tensorflow 2.21.0", "litert<1", "2.3"),))),
        "litert-quantizer and ai-edge-litert",
    ),
}


class TestPackages(AreaTests):
    area, traps, unsaid = area, TRAPS, UNSAID


# --- the pins


def test_pins_are_read_from_the_metadata_of_edgekit() -> None:
    found = requirements.read()
    assert found.needs is not None and found.python_fits
    needs = {(need.name, need.extra): need for need in found.needs}
    assert needs["ai-edge-litert", ""].wanted.startswith("==")
    assert needs["tensorflow", "convert"].wanted.startswith(">=")
    assert needs["numpy", ""].installed == np.__version__ and needs["numpy", ""].fits
    assert not any(name in ("pytest", "edgekit", "scikit-image") for name, _ in needs)


def distribution(folder: Path, name: str, version: str, *requires: str) -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: >=3.99"]
    (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {r}" for r in requires)]))


def test_metadata_of_another_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    distribution(
        *(tmp_path, "edgekit", "9.9"),
        *("numpy>=99", "nothing-of-that-name", 'other-machine; platform_machine == "vax"'),
        *('edgekit[convert]; extra == "train"', 'optuna<1; extra == "train"'),
    )
    distribution(
        tmp_path, "litert-quantizer", "0.12.0", "ai-edge-litert==99.1", "not a requirement"
    )
    found = requirements.read()
    assert [(need.name, need.extra, need.fits) for need in found.needs or ()] == [
        ("numpy", "", False),
        ("nothing-of-that-name", "", False),
        ("optuna", "train", False),
    ]
    assert (found.python_fits, found.requires_python) == (False, ">=3.99")
    installed = found.version("ai-edge-litert")
    assert Conflict("litert-quantizer 0.12.0", "ai-edge-litert==99.1", installed) in found.conflicts


def test_metadata_that_is_not_there() -> None:
    found = requirements.read("no-such-distribution")
    assert found.needs is None and "not installed" in found.unread


def test_a_python_built_from_its_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "python_version", lambda: "3.13.0+")
    assert requirements.read().python_fits
