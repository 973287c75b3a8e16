"""How much memory a model needs on a target."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from targets_support import graph, tensor

from edgekit import targets
from edgekit.tflite.model import Model

_FOLDER = Path(targets.__file__).parent


def memory_of(model: Model, target: str) -> targets.Memory:
    wanted = targets.find(target)
    return targets.memory_of(model, targets.place(model, wanted), wanted)


def test_the_memory_by_hand() -> None:
    """Two layers; the second, which the accelerator leaves, has parameters that are packed."""
    tensors = [tensor(0, (1, 16)), tensor(1, (32, 16), buffer=2), tensor(2, (1, 32))]
    tensors += [tensor(3, (1, 32)), tensor(4, (8, 32), buffer=5), tensor(5, (1, 8))]
    model = graph(
        ("FULLY_CONNECTED", (0, 1), (2,)),
        ("SIN", (2,), (3,)),
        ("FULLY_CONNECTED", (3, 4), (5,)),
        tensors=tensors,
    )
    found = memory_of(model, "coral")
    assert (found.activation_bytes, found.parameter_bytes) == (64, 32 * 16 + 8 * 32)
    assert found.packed_bytes == 8 * 32
    assert found.needed_bytes == 64 + 32 * 16 + 2 * 8 * 32
    assert (found.available_bytes, found.fits) == (None, None)
    assert memory_of(model, "dev_board").available_bytes == 1 << 30
    on_cpu = memory_of(model, "pi_zero2w")
    assert on_cpu.packed_bytes == on_cpu.parameter_bytes
    assert on_cpu.fits is True


def test_more_memory_than_there_is() -> None:
    """Input and output are there at once: together just all of it, then a byte more."""
    half = tensor(0, (1 << 28,)), tensor(1, (1 << 28,))
    assert memory_of(graph(("RELU", (0,), (1,)), tensors=list(half)), "pi_zero2w").fits is True
    more = half[0], tensor(1, ((1 << 28) + 1,))
    found = memory_of(graph(("RELU", (0,), (1,)), tensors=list(more)), "pi_zero2w")
    assert found.needed_bytes == (512 << 20) + 1
    assert found.fits is False


def test_the_memory_is_told(run_cli, colour_int8: Path, tmp_path: Path) -> None:
    said = run_cli("inspect", colour_int8, "--target", "pi4").stdout
    assert "Memory: about 0.00" in said
    assert ", of 2048 MiB; an estimate, without the runtime and the system" in said
    assert "Warning" not in said
    assert (
        "not known how much there is" in run_cli("inspect", colour_int8, "--target", "gpu").stdout
    )
    small = tmp_path / "small.toml"
    text = (_FOLDER / "pi4.toml").read_text()
    small.write_text(text.replace("value = 2048", "value = 0.001"))
    run = run_cli("inspect", colour_int8, "--target", small)
    assert run.returncode == 0
    assert "Warning: it can't fit: the model alone needs more memory than there is." in run.stdout
    found = json.loads(run_cli("inspect", colour_int8, "--target", small, "--json").stdout)
    assert found["memory"]["fits"] is False
    assert found["memory"]["available_bytes"] == 1048


def test_how_far_the_memory_is_off() -> None:
    """benchmarks/memory.py measured it: too little, and by a few MiB."""
    root = Path(__file__).resolve().parents[1]
    rows = json.loads((root / "benchmarks" / "results" / "memory.json").read_text())["models"]
    assert len(rows) >= 5
    for row in rows:
        twice = row["activations_mib"] + 2 * row["parameters_mib"]
        assert row["estimated_mib"] == pytest.approx(twice, abs=0.03)
        assert row["error"] == pytest.approx(
            row["estimated_mib"] / row["measured_mib"] - 1, abs=2e-3
        )
        assert -0.36 <= row["error"] <= 0
