"""How much memory a model needs on a target."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from targets_support import graph, tensor

from edgekit import targets
from edgekit.targets.xnnpack import indirection_bytes
from edgekit.tflite.model import Model

_FOLDER = Path(targets.__file__).parent


def memory_of(model: Model, target: str) -> targets.Memory:
    wanted = targets.find(target)
    return targets.memory_of(model, targets.place(model, wanted), wanted)


def test_the_memory_by_hand() -> None:
    """Two layers; the second, which the accelerator leaves, has parameters that are packed.

    The input of 16 bytes and the output of 8 are there all the time, at the peak with two of 32.
    """
    tensors = [tensor(0, (1, 16)), tensor(1, (32, 16), buffer=2), tensor(2, (1, 32))]
    tensors += [tensor(3, (1, 32)), tensor(4, (8, 32), buffer=5), tensor(5, (1, 8))]
    model = graph(
        ("FULLY_CONNECTED", (0, 1), (2,)),
        ("SIN", (2,), (3,)),
        ("FULLY_CONNECTED", (3, 4), (5,)),
        tensors=tensors,
    )
    found = memory_of(model, "coral")
    assert (found.activation_bytes, found.parameter_bytes) == (16 + 64 + 8, 32 * 16 + 8 * 32)
    assert (found.packed_bytes, found.indirection_bytes) == (8 * 32, 0)
    assert found.quantization_bytes == 6 * 20
    assert found.needed_bytes == 88 + 32 * 16 + 2 * 8 * 32 + 6 * 20
    assert (found.available_bytes, found.fits) == (None, None)
    assert memory_of(model, "dev_board").available_bytes == 1 << 30
    on_cpu = memory_of(model, "pi_zero2w")
    assert on_cpu.packed_bytes == on_cpu.parameter_bytes
    assert on_cpu.fits is True


def test_more_memory_than_there_is() -> None:
    """Input and output are there at once: together just all of it, then a byte more.

    The scales of the two take 40 bytes.
    """
    half = tensor(0, (1 << 28,)), tensor(1, ((1 << 28) - 40,))
    assert memory_of(graph(("RELU", (0,), (1,)), tensors=list(half)), "pi_zero2w").fits is True
    more = half[0], tensor(1, ((1 << 28) - 39,))
    found = memory_of(graph(("RELU", (0,), (1,)), tensors=list(more)), "pi_zero2w")
    assert found.needed_bytes == (512 << 20) + 1
    assert found.fits is False


def test_scales_and_zero_points() -> None:
    """A layer whose weights have a scale for each of 32 outputs."""
    weights = replace(tensor(1, (32, 16), buffer=1), scales=np.ones(32, np.float32))
    tensors = [tensor(0, (1, 16)), weights, tensor(2, (1, 32))]
    model = graph(("FULLY_CONNECTED", (0, 1), (2,)), tensors=tensors)
    assert memory_of(model, "pi4").quantization_bytes == (1 + 32 + 1) * 20


@pytest.mark.parametrize(
    ("op", "kernel", "options", "expected"),
    [
        ("CONV_2D", (3, 5), {"stride_w": 2, "stride_h": 2}, 10 * 20 * 3 * 5 * 8),
        ("CONV_2D", (1, 1), {"stride_w": 1, "stride_h": 1}, 0),
        ("CONV_2D", (1, 1), {"stride_w": 2, "stride_h": 1}, 10 * 20 * 8),
        ("CONV_2D", (1, 1), {"stride_w": 1, "stride_h": 2}, 10 * 20 * 8),
        ("DEPTHWISE_CONV_2D", (3, 5), {"stride_w": 1}, 10 * 3 * (5 + 19) * 8),
        ("DEPTHWISE_CONV_2D", (3, 5), {"stride_w": 2}, 10 * 3 * (5 + 19 * 2) * 8),
        ("DEPTHWISE_CONV_2D", (3, 5), {"stride_w": 7}, 10 * 3 * (5 + 19 * 5) * 8),
        ("DEPTHWISE_CONV_2D", (3, 5), {"stride_w": 1, "dilation_w_factor": 2}, 10 * 20 * 15 * 8),
        (
            "MAX_POOL_2D",
            (9, 9),
            {"stride_w": 2, "filter_height": 3, "filter_width": 5},
            10 * 3 * (5 + 19 * 2) * 8,
        ),
        ("RESIZE_BILINEAR", (9, 9), {}, 10 * 20 * (4 * 8 + 2 * 2)),
        ("AVERAGE_POOL_2D", (9, 9), {"filter_height": 3, "filter_width": 5}, 0),
    ],
)
def test_indirection_buffers(
    op: str, kernel: tuple[int, int], options: dict[str, int], expected: int
) -> None:
    """An output of 10 x 20 pixels; how many images and channels doesn't matter."""
    tensors = [
        tensor(0, (2, 40, 40, 4)),
        tensor(1, (6, *kernel, 4), buffer=1),
        tensor(2, (2, 10, 20, 6)),
    ]
    model = graph((op, (0, 1), (2,)), tensors=tensors)
    operator = replace(model.main.operators[0], options=options)
    assert indirection_bytes(operator, model.main) == expected


def test_indirection_buffers_of_what_the_cpu_computes() -> None:
    """The accelerator takes the first of two resizings; the weights of floats take 4 bytes."""
    tensors = [tensor(i, (1, 8, 8, 3)) for i in range(4)]
    model = graph(
        ("RESIZE_BILINEAR", (0,), (1,)),
        ("SIN", (1,), (2,)),
        ("RESIZE_BILINEAR", (2,), (3,)),
        tensors=tensors,
    )
    assert memory_of(model, "coral").indirection_bytes == 64 * 36
    found = memory_of(model, "pi4")
    assert found.indirection_bytes == 2 * 64 * 36
    assert found.needed_bytes == 4 * 64 * 3 + 4 * 20 + 2 * 64 * 36
    tensors[3] = tensor(3, (1, 8, 8, 3), "float32")
    model = graph(("RESIZE_BILINEAR", (0,), (3,)), tensors=tensors)
    assert memory_of(model, "pi4").indirection_bytes == 64 * 40


def test_the_memory_is_told(run_cli, colour_int8: Path, tmp_path: Path) -> None:
    said = run_cli("inspect", colour_int8, "--target", "pi4").stdout
    assert "Memory: about 0.00" in said
    assert "scales and zero points < 0.001 MiB, XNNPACK's copy" in said
    assert "indirection" not in said
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


def test_indirection_buffers_are_told(run_cli, shared_models: Path) -> None:
    """Those of DeepLab's two resizings that the accelerator leaves, to 33 x 33 and 513 x 513."""
    model = shared_models / "edgetpu" / "deeplabv3_mnv2_dm05_pascal_quant.tflite"
    said = run_cli("inspect", model, "--target", "coral").stdout
    size = (33 * 33 * 2 + 513 * 513) * 36 / (1 << 20)
    assert f", XNNPACK's indirection buffers {size:.3g} MiB)" in said


def test_how_far_the_memory_is_off() -> None:
    """benchmarks/memory.py measured it: a little too small."""
    root = Path(__file__).resolve().parents[1]
    rows = json.loads((root / "benchmarks" / "results" / "memory.json").read_text())["models"]
    assert len(rows) >= 6
    parts = ("activations", "parameters", "quantization", "packed", "indirection")
    for row in rows:
        total = sum(row[f"{part}_mib"] for part in parts)
        assert row["estimated_mib"] == pytest.approx(total, abs=0.03)
        assert row["error"] == pytest.approx(
            row["estimated_mib"] / row["measured_mib"] - 1, abs=2e-3
        )
        assert -0.17 <= row["error"] <= 0.02
