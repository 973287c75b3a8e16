"""`edgekit doctor`: the real command here, and how all areas together judge a machine."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
import venv
from pathlib import Path

import click
import numpy as np
import pytest
from doctor_support import Run, board, desk, host, local, of

import edgekit
from edgekit.cli import doctor as cli
from edgekit.cli.main import VERBS
from edgekit.doctor import EVERY, PURPOSES, Finding
from edgekit.doctor.examine import AREAS, judge
from edgekit.doctor.facts import Facts, Look
from edgekit.errors import UsageError


@pytest.mark.parametrize("facts", [local(), board()], ids=["desk", "board"])
def test_a_machine_where_all_is_well(facts: Facts) -> None:
    findings = judge(facts)
    assert [f for f in findings if f.state != "ok"] == []
    assert len(findings) > 8
    assert [f.mend for f in findings if f.mend is not None] == []


@pytest.mark.parametrize("system", ["windows", "darwin"])
def test_other_systems_are_judged_too(system: str) -> None:
    sight = None if system == "windows" else Look(kernel="arm64")
    facts = Facts(host(system=system, libc=None), sight, desk(binary=None))
    findings = judge(facts)
    assert of(findings, "not looked at").state == "note"
    assert not any(finding.matters(()) for finding in findings)


def test_every_area_has_its_own_tests() -> None:
    for area in AREAS:
        name = area.__name__.rpartition(".")[2]
        assert Path(__file__).with_name(f"test_doctor_{name}.py").is_file()


def test_what_matters() -> None:
    lacks = Finding("Tools", "adb", "missing", "not installed", None, ("adb",))
    assert (
        lacks.matters(("train", "adb")) and not lacks.matters(()) and not lacks.matters(("train",))
    )
    assert Finding("Runtime", "runtime", "missing", "none", None, (EVERY,)).matters(())
    assert not dataclasses.replace(lacks, state="note").matters(("adb",))


# --- the real command


def test_here(run_cli: Run) -> None:
    began = time.monotonic()
    done = run_cli("doctor")
    assert time.monotonic() - began < 20, "it is to be quick"
    assert (done.returncode, done.stderr) == (0, "")
    for line in ("Packages\n", "  ok      numpy ", "loads and runs a tiny int8 model\n", "XNNPACK"):
        assert line in done.stdout
    *_, summary, following = done.stdout.splitlines()
    assert summary.startswith("Ready for what every verb needs: ")
    assert following.startswith("Next: edgekit ")


def test_json_here(run_cli: Run) -> None:
    done = run_cli("doctor", "--json", "--for", "predict")
    told = json.loads(done.stdout)
    assert (
        done.returncode == 0 and told["ready"] and (told["on"], told["for"]) == (None, ["predict"])
    )
    by_name = {finding["what"]: finding for finding in told["findings"]}
    assert by_name["numpy"]["state"] == "ok" and np.__version__ in by_name["numpy"]["detail"]
    fields = {"area", "what", "state", "detail", "mend", "needed_for"}
    assert all(set(finding) == fields for finding in told["findings"])


def test_not_ready(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_HOME", "/no/such/folder")
    done = run_cli("doctor", "--for", "android", "--for", "predict")
    assert done.returncode == 1
    assert "BROKEN  Android SDK" in done.stdout
    mending = done.stdout.partition("To mend:\n")[2].partition("\n\n")[0]
    assert 'export ANDROID_HOME="$HOME/Android/Sdk"' in mending
    *_, summary, following = done.stdout.splitlines()
    assert summary.startswith("Not ready for android, predict: ") and "Android SDK" in summary
    assert following == "Next: edgekit doctor --for android --for predict, once that is mended"
    assert json.loads(run_cli("doctor", "--json", "--for", "android").stdout)["ready"] is False


def test_unknown_purpose(run_cli: Run) -> None:
    done = run_cli("doctor", "--for", "trian")
    assert done.returncode == 2
    assert "--for trian" in done.stderr and "train, tune, qat" in done.stderr
    with pytest.raises(UsageError):
        edgekit.doctor(for_="trian")


def test_purposes_are_the_verbs_and_what_help_says() -> None:
    verbs = {name for name, meaning in PURPOSES.items() if meaning == "the verb"}
    assert verbs == set(VERBS) - {"doctor"}
    (option,) = [p for p in cli.command.params if p.name == "asked"]
    written = (getattr(option, "help", "") or "").partition("a verb, or ")[2].partition(";")[0]
    assert written.split(", ") == [name for name in PURPOSES if name not in verbs]


def test_python_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_HOME", "/no/such/folder")
    assert of(edgekit.doctor(), "numpy").state == "ok"
    assert "Android SDK" in {finding.what for finding in edgekit.doctor(for_=["android"])}
    assert edgekit.doctor(for_="predict") == ()


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(path: Path) -> Path:  # as for a user's number that has no name
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", none)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    findings = edgekit.doctor()
    assert of(findings, "home folder").state == "broken"
    assert not any(finding.what == "disk for cache" for finding in findings)


def test_the_call_stays_one_once_the_package_is_imported() -> None:
    code = (
        "import edgekit; first = edgekit.doctor; import edgekit.doctor.facts; "
        "print(callable(first), callable(edgekit.doctor), edgekit.doctor.EVERY)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split("\n")[0] == (
        "True True every verb"
    )


def test_it_runs_where_nothing_is_installed(tmp_path: Path) -> None:
    """Without numpy, OpenCV, a runtime, pip and edgekit's own metadata it still says so."""
    venv.create(tmp_path / "bare")
    lib = tmp_path / "lib"
    lib.mkdir()
    for package in (edgekit, click):
        folder = Path(str(package.__file__)).parent
        (lib / folder.name).symlink_to(folder)
    done = subprocess.run(
        [tmp_path / "bare" / "bin" / "python", "-m", "edgekit", "doctor"],
        env={"PYTHONPATH": str(lib), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "MISSING cv2" in done.stdout and "BROKEN  runtime" in done.stdout
    assert "what it asks for can't be read" in done.stdout
    mending = done.stdout.partition("To mend:\n")[2].partition("\n\n")[0]
    assert "  pip install opencv-python\n" in mending and "  pip install numpy" in mending
