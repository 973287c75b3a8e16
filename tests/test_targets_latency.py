"""What is known best of a latency: measured, corrected, borrowed, published; and what keeps it."""

from __future__ import annotations

import dataclasses
import json
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from advise_support import write_photos

import edgekit
from edgekit import targets, tflite
from edgekit.advisor import Advice, facts
from edgekit.targets import Work
from edgekit.targets.estimate import borrowed, rates
from edgekit.targets.own import Measured

Cli = Callable[..., subprocess.CompletedProcess[str]]

_LITE0 = next(fact for fact in facts.zoo() if fact.name == "efficientnet_lite0").work(1000)
_RESNET50 = next(fact for fact in facts.zoo() if fact.name == "resnet50").work(1000)
_PI4 = Measured(
    *("0" * 64, "lite0.tflite", "Raspberry Pi 4 Model B Rev 1.4", "aarch64", "Debian 12"),
    *("xnnpack", 4, 60.0, 100, "litert 2.3.0", "2026-11-28T10:00:00+00:00", _LITE0),
)
_PI5 = dataclasses.replace(_PI4, machine="Raspberry Pi 5 Model B Rev 1.0", p50_ms=10.0)


@pytest.fixture(autouse=True)
def data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "edgekit" / "measurements.jsonl"


def _latency(work: Work, target: str = "pi4") -> targets.Latency:
    found = targets.latency_of(work, targets.find(target))
    assert found is not None
    return found


def test_published_alone() -> None:
    found = _latency(_LITE0)
    (same,) = targets.estimates(_LITE0, targets.find("pi4"))
    assert (found.kind, found.own, found.factor) == ("published", 0, 1)
    assert (found.ms, found.low, found.high, found.setting) == (
        *(same.ms, same.low, same.high),
        same.rate.setting,
    )


def test_ones_own_goes_first() -> None:
    targets.own.keep([_PI4])
    found = _latency(_LITE0)
    assert (found.kind, found.ms, found.low, found.high) == ("measured", 60, 60, 60)
    assert found.setting == "Raspberry Pi 4 Model B Rev 1.4, xnnpack, 4 threads"
    # Other classes are no other architecture; another number of MACs is.
    assert _latency(facts.zoo()[6].work(2)).kind == "measured"
    more = dataclasses.replace(_LITE0, macs=int(1.05 * _LITE0.macs))
    assert _latency(more).kind == "corrected"
    floats = dataclasses.replace(_LITE0, precision="float32")
    assert targets.latency_of(floats, targets.find("pi4")) is None


def test_other_models_are_corrected() -> None:
    published = {work: _latency(work) for work in (_LITE0, _RESNET50)}
    targets.own.keep([_PI4])
    found = _latency(_RESNET50)
    factor = 60 / published[_LITE0].ms
    assert (found.kind, found.own) == ("corrected", 1)
    assert found.factor == pytest.approx(factor)
    assert found.ms == pytest.approx(factor * published[_RESNET50].ms)
    assert found.high == pytest.approx(factor * published[_RESNET50].high)
    # A second model, as fast as published: the geometric mean of both.
    other = facts.zoo()[1].work(1000)
    fast = dataclasses.replace(_PI4, sha256="1" * 64, work=other, p50_ms=_pi4_ms(other))
    targets.own.keep([fast])
    assert _latency(_RESNET50).factor == pytest.approx(factor**0.5)
    assert _latency(_RESNET50).own == 2


def _pi4_ms(work: Work) -> float:
    (estimate,) = targets.estimates(work, targets.find("pi4"))
    return estimate.ms


def test_a_cpu_without_published_latencies_borrows() -> None:
    assert targets.latency_of(_RESNET50, targets.find("pi5")) is None
    targets.own.keep([_PI5])
    found = _latency(_RESNET50, "pi5")
    assert found.kind == "borrowed"
    assert found.ms == pytest.approx(_pi4_ms(_RESNET50) * 10 / _pi4_ms(_LITE0))
    assert found.low == pytest.approx(found.ms * borrowed().low)
    assert found.high == pytest.approx(found.ms * borrowed().high)
    # Not for another precision, nor for what isn't a CPU.
    floats = dataclasses.replace(_RESNET50, precision="float32")
    assert targets.latency_of(floats, targets.find("pi5")) is None
    gpu = dataclasses.replace(_PI5, delegate="gpu", os="Android 14")
    targets.own.keep([gpu])
    assert targets.latency_of(_RESNET50, targets.find("android_gpu")) is None


def test_what_is_borrowed_is_off_by_more_than_what_is_published() -> None:
    (lender,) = (r for r in rates() if (r.target, r.precision) == ("pi4", "int8"))
    assert borrowed().coefficients == lender.coefficients
    assert borrowed().low < lender.low < 1 < lender.high < borrowed().high
    assert lender.median_error < borrowed().median_error <= 0.25


def test_the_fastest_threads_as_measured_last() -> None:
    slow = dataclasses.replace(_PI4, threads=1, p50_ms=100.0)
    again = dataclasses.replace(_PI4, p50_ms=70.0)
    targets.own.keep([_PI4, slow, again])
    assert _latency(_LITE0).ms == 70


def test_another_machine_is_another_story() -> None:
    phones = [
        dataclasses.replace(_PI4, machine=machine, os="Android 14", p50_ms=ms, threads=threads)
        for machine, ms, threads in (("Pixel 3", 5.0, 1), ("Pixel 9", 20.0, 4))
    ]
    targets.own.keep(phones)
    assert _latency(_LITE0, "android_cpu").ms == 20


def test_what_can_not_be_counted_corrects_nothing() -> None:
    targets.own.keep([dataclasses.replace(_PI4, work=None)])
    assert _latency(_LITE0).kind == "published"


def test_a_float_model_says_nothing_of_int8() -> None:
    floats = dataclasses.replace(_LITE0, precision="float32")
    targets.own.keep([dataclasses.replace(one, work=floats) for one in (_PI4, _PI5)])
    assert _latency(_RESNET50).kind == "published"
    assert targets.latency_of(_RESNET50, targets.find("pi5")) is None


def test_a_cpu_without_xnnpack_says_nothing_of_one_with_it() -> None:
    targets.own.keep([dataclasses.replace(_PI4, delegate="none")])
    assert _latency(_LITE0).kind == "published"


@pytest.mark.parametrize("how", ["int16x8", "dynamic", "float16", "float32", "int8"])
def test_the_precision_of_a_file(tiny_keras: Path, tmp_path: Path, run_cli: Cli, how: str) -> None:
    path = tmp_path / "m.tflite"
    run = run_cli("convert", tiny_keras, f"--{how}", "-o", path)
    assert run.returncode == 0, run.stderr
    work = targets.work_of(tflite.read(path.read_bytes(), "m"))
    # Half precision is only how weights are stored.
    assert work.precision == ("float32" if how == "float16" else how)


def test_an_old_line_and_a_broken_one(data_home: Path) -> None:
    old = dataclasses.asdict(_PI4)
    del old["work"]
    work = dataclasses.asdict(_LITE0)
    lines = [
        *(old, {**old, "work": 3}, {**old, "work": {"macs": 1}}, 5),
        *({**old, "threads": "4"}, {**old, "sha256": [1]}, {**old, "p50_ms": float("inf")}),
        *({**old, "samples": True}, {**old, "p50_ms": -1}, {**old, "machine": None}),
        {**old, "work": {**work, "macs": "385187552"}},
        {**old, "work": {**work, "macs": -1}},
        {**old, "work": {**work, "macs": 0}},
        {**old, "work": {**work, "precision": "int7"}},
    ]
    data_home.parent.mkdir(parents=True)
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    data_home.write_text(text + "[" * 100_000 + "\n")
    found = targets.own.find("0" * 64, targets.find("pi4"))
    assert [one.work for one in found] == [None]
    assert _latency(_LITE0).kind == "published"


# --- as the commands have it


@pytest.mark.slow
def test_the_work_is_kept_and_used(run_cli: Cli, colour_int8: Path, data_home: Path) -> None:
    effort = ("--rounds", "1", "--min-time", "20ms", "--max-time", "1s", "--threads", "1")
    assert run_cli("benchmark", colour_int8, *effort).returncode == 0
    model = tflite.read(colour_int8.read_bytes(), "colour")
    kept = json.loads(data_home.read_text())
    assert kept["work"] == dataclasses.asdict(targets.work_of(model))
    # Another file that does the same.
    other = data_home.with_name("other.tflite")
    other.write_bytes(colour_int8.read_bytes() + b"\0" * 8)
    here = "arm64" if platform.machine() == "aarch64" else platform.machine()
    run = run_cli("inspect", other, "--target", here)
    assert f"of another model that does the same: {kept['p50_ms']:.3g} ms" in run.stdout
    found = json.loads(run_cli("inspect", other, "--target", here, "--json").stdout)
    assert found["latency"]["kind"] == "measured"


def test_compiled_models_have_no_work(shared_models: Path, run_cli: Cli) -> None:
    compiled = sorted((shared_models / "edgetpu").glob("*_edgetpu.tflite"))
    if not compiled:
        pytest.skip("there is no compiled model in ../shared/models")
    for path in compiled:
        model = tflite.read(path.read_bytes(), str(path))
        assert targets.work_if_known(model) is None
        for target in ("coral", "pi4"):
            run = run_cli("inspect", path, "--target", target)
            assert "The memory isn't known" in run.stdout
            assert "No estimate of the latency" in run.stdout
            found = json.loads(run_cli("inspect", path, "--target", target, "--json").stdout)
            assert (found["memory"], found["latency"], found["estimates"]) == (None, None, [])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos")


def _candidates(advice: Advice) -> dict[str, targets.Latency]:
    return {c.name: c.latency for c in advice.candidates if c.latency is not None}


def test_advice_follows_what_was_measured(photos: Path, run_cli: Cli) -> None:
    before = edgekit.advise(photos, "pi4", max_latency=50)
    targets.own.keep([_PI4])
    after = edgekit.advise(photos, "pi4", max_latency=50)
    assert before.short_list[0].name == "efficientnet_lite0"
    # It took twice the estimate, and more than 50 ms.
    assert "efficientnet_lite0" not in [c.name for c in after.short_list]
    assert after.short_list[0].met == "surely"
    found = _candidates(after)
    assert found["efficientnet_lite0"].kind == "measured"
    assert found["resnet50"].kind == "corrected"
    run = run_cli("advise", "--data", photos, "--target", "pi4", "--max-latency", 70)
    assert "60 ms, measured" in run.stdout
    assert f"times {found['resnet50'].factor:.2f}, by 1 model(s) that you measured" in run.stdout
    assert "1 model(s) as you measured them" in run.stdout


def test_one_measurement_is_enough_for_a_pi5(photos: Path, run_cli: Cli) -> None:
    ask = ("advise", "--data", photos, "--target", "pi5", "--max-latency", 20)
    said = " ".join(run_cli(*ask).stdout.split())
    assert "One int8 model measured there gives estimates of all" in said
    targets.own.keep([_PI5])
    run = run_cli(*ask)
    assert "No latency" not in run.stdout
    assert "latency surely" in run.stdout
    assert "times that, by 1 model(s) that you measured on such a target" in run.stdout
    documents = json.loads(run_cli(*ask, "--json").stdout)["candidates"]
    kinds = {document["model"]: document["latency_kind"] for document in documents}
    assert (kinds["efficientnet_lite0"], kinds["resnet50"]) == ("measured", "borrowed")


def test_one_known_latency_is_not_compared_with_macs(photos: Path, run_cli: Cli) -> None:
    """On a GPU nothing is published of int8; what was measured there says nothing of others."""
    before = edgekit.advise(photos, "android_gpu")
    slow = facts.zoo()[0].work(2)
    on_gpu = dataclasses.replace(_PI4, os="Android 14", delegate="gpu", work=slow, p50_ms=49.0)
    targets.own.keep([on_gpu])
    after = edgekit.advise(photos, "android_gpu")
    assert [c.name for c in after.short_list] == [c.name for c in before.short_list]
    assert after.pareto == before.pareto
    assert any("No latency but of what you measured" in note for note in after.notes)
    run = run_cli("advise", "--data", photos, "--target", "android_gpu", "--top", 9)
    assert "latency, MACs" in run.stdout
    assert "49 ms, measured" in run.stdout


def test_an_interval_widens_for_ops_that_no_rate_was_fitted_to(photos: Path) -> None:
    plain, swish = "mobilenet_v3_large_minimalistic", "mobilenet_v3_large"

    def width(advice: Advice, name: str) -> float:
        latency = _candidates(advice)[name]
        return latency.high / latency.ms

    on_pi4 = edgekit.advise(photos, "pi4")
    # Of MobileNetV3 there are published latencies, of transformers none.
    assert width(on_pi4, plain) == width(on_pi4, swish) < 1.2
    assert width(on_pi4, "vit_ti16") == pytest.approx(4 * width(on_pi4, plain))
    targets.own.keep([_PI5])
    on_pi5 = edgekit.advise(photos, "pi5")
    assert width(on_pi5, plain) == pytest.approx(borrowed().high)
    assert width(on_pi5, swish) == pytest.approx(4 * borrowed().high)
