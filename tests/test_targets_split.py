"""The share of time of an accelerator and of the CPU beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from targets_support import chain, graph, tensor

from edgekit import targets, tflite
from edgekit.errors import UnreadableError
from edgekit.targets.estimate import rates
from edgekit.tflite.model import Model

_FOLDER = Path(targets.__file__).parent


def floats(*ops: tuple[str, tuple[int, ...]], size: tuple[int, ...] = (1, 64, 64, 16)) -> Model:
    """A float model of (op, shape of its output), one after the other."""
    shapes = [size, *[shape for _, shape in ops]]
    tensors = [tensor(i, shape, "float32") for i, shape in enumerate(shapes)]
    return graph(*[(name, (i,), (i + 1,)) for i, (name, _) in enumerate(ops)], tensors=tensors)


def shares_of(model: Model, target: str) -> targets.Split | None:
    wanted = targets.find(target)
    return targets.split_of(model, targets.place(model, wanted), wanted)


def test_a_part_counts_by_its_largest_tensor() -> None:
    """A reduction behind a cut reads what the other part wrote."""
    model = floats(("RELU", (1, 64, 64, 16)), ("MEAN", (1, 16)))
    assert targets.work_of(model).activations == 64 * 64 * 16 + 16
    assert targets.work_of(model, {1}).activations == 64 * 64 * 16
    assert targets.work_of(model, {0}).activations == 64 * 64 * 16


def test_parts_of_a_real_model_add_up(lite0_float: Path) -> None:
    model = tflite.read(lite0_float.read_bytes(), "lite0")
    placement = targets.place(model, targets.find("android_gpu"))
    left = {op.index for op in placement.left}
    whole = targets.work_of(model)
    first, second = (
        targets.work_of(model, {op.index for op in placement.ops} - left),
        targets.work_of(model, left),
    )
    assert [op.op for op in placement.left] == ["MEAN"]
    assert first.macs + second.macs == whole.macs
    assert first.parameters + second.parameters == whole.parameters
    assert second.activations == 7 * 7 * 1280
    found = shares_of(model, "android_gpu")
    assert found is not None
    assert [share.accelerator.rate.setting for share in found.shares] == [
        "Pixel 4 GPU, TFLite",
        "Pixel 3 GPU, TFLite",
    ]
    for share in found.shares:
        assert 0.97 < share.low < share.of_accelerator < share.high < 1


def test_the_share_of_time_by_hand() -> None:
    """A constant of the accelerator's rate counts, that of the CPU's doesn't."""
    shape = (1, 64, 64, 16)
    found = shares_of(floats(("RELU", shape), ("GELU", shape), ("GELU", shape)), "android_gpu")
    assert found is not None
    assert found.unknown is None
    megabytes = 64 * 64 * 16 * 4 / 1e6
    by_setting = {(rate.setting, rate.precision): rate for rate in rates()}
    for share, phone in zip(found.shares, ("Pixel 4", "Pixel 3"), strict=True):
        gpu = by_setting[f"{phone} GPU, TFLite", "float32"]
        cpu = by_setting[f"{phone} CPU, 4 thread(s), TFLite", "float32"]
        assert (share.accelerator.rate, share.cpu.rate) == (gpu, cpu)
        on_gpu = gpu.coefficients[1] * megabytes + gpu.coefficients[3]
        on_cpu = 2 * cpu.coefficients[1] * megabytes
        assert share.accelerator.ms == pytest.approx(on_gpu)
        assert share.cpu.ms == pytest.approx(on_cpu)
        assert share.of_accelerator == pytest.approx(on_gpu / (on_gpu + on_cpu))
        lowest, highest = on_gpu * gpu.low, on_cpu * cpu.high
        assert share.low == pytest.approx(lowest / (lowest + highest))
        lowest, highest = on_cpu * cpu.low, on_gpu * gpu.high
        assert share.high == pytest.approx(highest / (lowest + highest))


def test_what_takes_no_time_is_no_reason_to_know_nothing() -> None:
    """Nothing of the CPU's part counts, so its precision is that of the tensors it passes on."""
    shape = (1, 64, 64, 16)
    found = shares_of(floats(("RELU", shape), ("SQUEEZE", (64, 64, 16))), "android_gpu")
    assert found is not None
    assert [share.of_accelerator for share in found.shares] == [1, 1]


def test_each_part_is_priced_in_its_own_precision(tmp_path: Path) -> None:
    """Of the Pixel 4's CPU nothing is fitted in int8."""
    shape = (1, 64, 64, 16)
    tensors = [tensor(0, shape, "float32"), tensor(1, shape, "float32"), tensor(2, shape)]
    model = graph(("RELU", (0,), (1,)), ("GELU", (1,), (2,)), tensors=tensors)
    found = shares_of(model, "android_gpu")
    assert found is not None
    rates_of = [(share.accelerator.rate.precision, share.cpu.rate) for share in found.shares]
    assert [(of_gpu, cpu.precision, cpu.setting) for of_gpu, cpu in rates_of] == [
        ("float32", "int8", "Pixel 3 CPU, 4 thread(s), TFLite")
    ]
    lines = (_FOLDER / "android_gpu.toml").read_text().splitlines()
    path = tmp_path / "pixel4.toml"
    path.write_text("\n".join(line for line in lines if not line.startswith('"Pixel 3')))
    found = shares_of(model, str(path))
    assert found is not None
    assert found.unknown == "too little is published of int8 models on the CPU beside it"


@pytest.mark.parametrize(
    ("model", "target", "unknown"),
    [
        (chain("RELU", "SIN"), "coral", "for the CPU beside it (the host's)"),
        (chain("RELU", "SIN"), "dev_board", "the CPU beside it (NXP i.MX 8M, Cortex-A53)"),
        (chain("RELU", "SIN"), "gpu", "too little is published of int8 models on Android phone"),
        (chain("RELU", "mine"), "nnapi", "what mine costs is not known"),
    ],
)
def test_a_share_that_is_not_known_is_not_guessed(model: Model, target: str, unknown: str) -> None:
    found = shares_of(model, target)
    assert found is not None
    assert found.shares == ()
    assert unknown in (found.unknown or "")


@pytest.mark.parametrize(
    ("ops", "target"), [(("RELU", "RELU"), "coral"), (("SIN", "SIN"), "coral"), (("SIN",), "pi4")]
)
def test_nothing_to_share(ops: tuple[str, ...], target: str) -> None:
    assert shares_of(chain(*ops), target) is None


def test_the_cpu_beside_an_accelerator_is_of_the_same_device() -> None:
    """The settings' first words are the device: `Pixel 3`."""
    pairs = [pair for name in targets.names() for pair in targets.find(name).cpu_like.items()]
    assert len(pairs) == 3
    for accelerator, cpu in pairs:
        assert accelerator.replace(",", "").split()[:2] == cpu.split()[:2]


_USB, _PI = (
    "Desktop CPU + USB Accelerator, TFLite",
    "Raspberry Pi 4, Cortex-A72 1.5 GHz x 4, TFLite 2.4.1 (ruy)",
)


def on_a_pi(tmp_path: Path, accelerator: str = _USB, cpu: str = f'"{_PI}"') -> Path:
    """A Coral USB Accelerator with another CPU beside it, as a file of one's own."""
    text = (_FOLDER / "coral_usb.toml").read_text()
    path = tmp_path / "coral_on_pi4.toml"
    path.write_text(f'{text}\n[cpu_like]\n"{accelerator}" = {cpu}\n')
    return path


def test_a_host_of_ones_own(run_cli, shared_models: Path, tmp_path: Path) -> None:
    model = shared_models / "edgetpu" / "deeplabv3_mnv2_dm05_pascal_quant.tflite"
    path = on_a_pi(tmp_path)
    run = run_cli("inspect", model, "--target", path)
    assert run.returncode == 0, run.stderr
    assert f" ms on {_USB}), CPU " in run.stdout
    assert f" ms on {_PI}); Edge TPU " in run.stdout
    assert "Not counted there: moving tensors between the two." in run.stdout
    split = json.loads(run_cli("inspect", model, "--target", path, "--json").stdout)["split"]
    assert split["unknown"] is None
    assert len(split["shares"]) == 1
    share = split["shares"][0]
    assert 0 < share["low"] < share["of_accelerator"] < share["high"] < 1
    assert share["cpu"]["rate"]["target"] == "pi4"
    run = run_cli("inspect", model, "--target", "coral")
    assert "The share of time on each processor isn't known: no rate is fitted" in run.stdout


@pytest.mark.parametrize(
    ("accelerator", "cpu", "message"),
    [
        ("Desktop", f'"{_PI}"', f"'Desktop' is no fitted setting of coral_usb: {_USB}; MacBook"),
        ("TFLite 2.4.1", f'"{_PI}"', "'TFLite 2.4.1' is no fitted setting of coral_usb"),
        (_USB, '"Raspberry Pi 9"', f"{_USB} = 'Raspberry Pi 9' is none of Pixel 2 CPU"),
        (_USB, f'"{_USB}"', f"{_USB} = '{_USB}' is none of Pixel 2 CPU"),
        (_USB, "4", f"cpu_like.{_USB} is no text"),
    ],
)
def test_settings_that_are_not_fitted(
    tmp_path: Path, accelerator: str, cpu: str, message: str
) -> None:
    path = on_a_pi(tmp_path, accelerator, cpu)
    line = len(path.read_text().splitlines())
    with pytest.raises(UnreadableError) as caught:
        targets.find(str(path))
    assert f"{path}, line {line}: {message}" in str(caught.value)
