"""ViT and Swin against an independent numpy implementation, with PyTorch's names of weights."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import randomize

import edgekit
from edgekit.contract import Contract
from edgekit.errors import UsageError
from edgekit.training import keras_file, zoo
from edgekit.training.zoo.catalogue import Entry

State = dict[str, np.ndarray]

_VIT = dataclasses.replace(
    zoo.entry("vit_ti16"), name="vit_nano", arguments={"width": 32, "depth": 2, "heads": 2}
)
_SWIN = dataclasses.replace(
    zoo.entry("swin_t"), name="swin_nano", arguments={"width": 32, "depths": (2, 2, 1, 1)}
)


def _build(entry: Entry, classes: int, size: int) -> Any:
    if entry.builder == "vit":
        from edgekit.training.zoo import vit as builder
    else:
        from edgekit.training.zoo import swin as builder
    return builder.build(entry, classes, size)


def _filled(entry: Entry, state: State, classes: int, size: int) -> Any:
    """The model with the weights of a state dict, through the way that `--weights` goes."""
    from edgekit.training.zoo import swin, vit
    from edgekit.training.zoo.weights.filling import fill
    from edgekit.training.zoo.weights.stored import Weights

    from_torch = vit.from_torch if entry.builder == "vit" else swin.from_torch
    model = _build(entry, classes, size)
    weights = Weights(Path("weights.pth"), entry, lambda built: from_torch(built, state))
    assert fill(model, weights) == ()
    return model


def _images(count: int, size: int) -> np.ndarray:
    """Fields of colour under noise: noise alone looks the same to a mean over all tokens."""
    rng = np.random.default_rng(4)
    fields = rng.normal(size=(count, 4, 4, 3)).repeat(size // 4, axis=1).repeat(size // 4, axis=2)
    return (fields + rng.normal(size=fields.shape)).astype(np.float32)


class _Torch:
    """Layers with PyTorch's weights, drawn when they are first asked for."""

    def __init__(self) -> None:
        self.state: State = {}
        self._rng = np.random.default_rng(2)

    def get(self, name: str, *shape: int) -> np.ndarray:
        if name not in self.state:
            inputs = math.prod(shape[1:]) if len(shape) > 1 else 4
            value = self._rng.normal(0, inputs**-0.5, shape) + (name.endswith("norm.weight"))
            self.state[name] = value.astype(np.float32)
        return self.state[name]

    def dense(self, name: str, x: np.ndarray, outputs: int, bias: bool = True) -> np.ndarray:
        y = x @ self.get(f"{name}.weight", outputs, x.shape[-1]).T
        return y + self.get(f"{name}.bias", outputs) if bias else y

    def norm(self, name: str, x: np.ndarray, epsilon: float) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        unit = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
        return unit * self.get(f"{name}.weight", x.shape[-1]) + self.get(
            f"{name}.bias", x.shape[-1]
        )

    def patches(self, name: str, image: np.ndarray, patch: int, width: int) -> np.ndarray:
        """[H, W, 3] -> [H / patch, W / patch, width]."""
        side = image.shape[0] // patch
        cut = image.reshape(side, patch, side, patch, 3).transpose(0, 2, 4, 1, 3)
        kernel = self.get(f"{name}.weight", width, 3, patch, patch)
        flat = cut.reshape(side, side, -1) @ kernel.reshape(width, -1).T
        return flat + self.get(f"{name}.bias", width)

    def attention(
        self, name: str, x: np.ndarray, heads: int, bias: Callable[[int], np.ndarray]
    ) -> np.ndarray:
        """[tokens, width]; `bias` gives what is added to a head's scores."""
        qkv = self.dense(f"{name}.qkv", x, 3 * x.shape[1])
        query, key, value = np.split(qkv, 3, axis=1)
        wide = x.shape[1] // heads
        mixed = []
        for head in range(heads):
            part = slice(head * wide, (head + 1) * wide)
            scores = query[:, part] @ key[:, part].T / math.sqrt(wide) + bias(head)
            powers = np.exp(scores - scores.max(1, keepdims=True))
            mixed.append(powers / powers.sum(1, keepdims=True) @ value[:, part])
        return self.dense(f"{name}.proj", np.concatenate(mixed, 1), x.shape[1])

    def mlp(self, first: str, second: str, x: np.ndarray) -> np.ndarray:
        hidden = self.dense(first, x, 4 * x.shape[-1])
        erf = np.vectorize(math.erf)(hidden / math.sqrt(2))
        return self.dense(second, 0.5 * hidden * (1 + erf), x.shape[-1])


def _vit(torch: _Torch, image: np.ndarray) -> np.ndarray:
    """timm's VisionTransformer: two blocks of width 32, two heads."""
    tokens = torch.patches("patch_embed.proj", image, 16, 32).reshape(-1, 32)
    x = np.concatenate([torch.get("cls_token", 1, 1, 32)[0], tokens])
    x = x + torch.get("pos_embed", 1, len(x), 32)[0]
    for number in range(2):
        name = f"blocks.{number}"
        y = torch.norm(f"{name}.norm1", x, 1e-6)
        x = x + torch.attention(f"{name}.attn", y, 2, lambda head: np.zeros(1))
        y = torch.norm(f"{name}.norm2", x, 1e-6)
        x = x + torch.mlp(f"{name}.mlp.fc1", f"{name}.mlp.fc2", y)
    return torch.dense("head", torch.norm("norm", x, 1e-6)[0], 5)


def _swin(torch: _Torch, image: np.ndarray) -> np.ndarray:
    """torchvision's SwinTransformer: width 32, depths 2, 2, 1 and 1, windows of size / 32."""
    window = image.shape[0] // 32
    x = torch.patches("features.0.0", image, 4, 32)
    x = torch.norm("features.0.2", x, 1e-5)
    for stage, depth in enumerate((2, 2, 1, 1)):
        if stage:
            name = f"features.{2 * stage}"
            corners = [x[0::2, 0::2], x[1::2, 0::2], x[0::2, 1::2], x[1::2, 1::2]]
            x = torch.norm(f"{name}.norm", np.concatenate(corners, -1), 1e-5)
            x = torch.dense(f"{name}.reduction", x, x.shape[-1] // 2, bias=False)
        for number in range(depth):
            shift = window // 2 if number % 2 and len(x) > window else 0
            x = _swin_block(torch, f"features.{2 * stage + 1}.{number}", x, window, shift)
    return torch.dense("head", torch.norm("norm", x, 1e-5).mean((0, 1)), 5)


def _swin_block(torch: _Torch, name: str, x: np.ndarray, window: int, shift: int) -> np.ndarray:
    """Window by window, token pair by token pair."""
    side, heads = len(x), x.shape[-1] // 32
    table = torch.get(f"{name}.attn.relative_position_bias_table", (2 * window - 1) ** 2, heads)
    normed, mixed = torch.norm(f"{name}.norm1", x, 1e-5), np.zeros_like(x)
    for top in range(0, side, window):
        for left in range(0, side, window):
            places = [
                ((top + i + shift) % side, (left + j + shift) % side)
                for i in range(window)
                for j in range(window)
            ]
            bias = np.zeros((heads, len(places), len(places)))
            for a, (ya, xa) in enumerate(places):
                for b, (yb, xb) in enumerate(places):
                    # In a window that is whole, neighbours are less than a window apart.
                    if abs(ya - yb) >= window or abs(xa - xb) >= window:
                        bias[:, a, b] = -100
                    dy, dx = a // window - b // window, a % window - b % window
                    row = (dy + window - 1) * (2 * window - 1) + dx + window - 1
                    bias[:, a, b] += table[row]
            rows, columns = map(list, zip(*places, strict=True))
            mixed[rows, columns] = torch.attention(
                f"{name}.attn", normed[rows, columns], heads, bias.__getitem__
            )
    x = x + mixed
    y = torch.norm(f"{name}.norm2", x, 1e-5)
    return x + torch.mlp(f"{name}.mlp.0", f"{name}.mlp.3", y)


@pytest.mark.parametrize(
    ("entry", "reference", "size"),
    [(_VIT, _vit, 48), (_SWIN, _swin, 64), (_SWIN, _swin, 96)],
    ids=["vit", "swin, windows of 2", "swin, windows of 3"],
)
def test_answers_as_numpy_does(
    keras3: Any, entry: Entry, reference: Callable[[_Torch, np.ndarray], np.ndarray], size: int
) -> None:
    torch, images = _Torch(), _images(2, size)
    expected = np.stack([reference(torch, image) for image in images])
    model = _filled(entry, torch.state, 5, size)
    found = np.asarray(model(images, training=False))
    assert np.ptp(expected, axis=0).max() > 0.02
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_positions_are_resampled_for_another_size(keras3: Any) -> None:
    torch = _Torch()
    _vit(torch, _images(1, 48)[0])
    row = np.linspace(-1, 1, 32, dtype=np.float32)
    torch.state["pos_embed"][0, 1:] = row  # the same everywhere, so it has to stay
    model = _filled(_VIT, torch.state, 5, 80)
    (positions,) = model.get_layer("position_embedding").get_weights()
    assert positions.shape == (26, 32)
    np.testing.assert_array_equal(positions[0], torch.state["pos_embed"][0, 0])
    np.testing.assert_allclose(positions[1:], np.tile(row, (25, 1)), atol=1e-6)


def test_position_biases_are_resampled_for_another_size(keras3: Any) -> None:
    torch = _Torch()
    _swin(torch, _images(1, 64)[0])
    name = "features.1.0.attn.relative_position_bias_table"
    # By distance downwards: the middle and the sign have to stay.
    torch.state[name] = np.repeat(np.array([-1, 0, 1], np.float32), 3)[:, None]
    model = _filled(_SWIN, torch.state, 5, 128)
    (table,) = model.get_layer("stage1_block1_position_bias").get_weights()
    assert table.shape == (49, 1)
    down = table.reshape(7, 7)
    np.testing.assert_allclose(down, np.tile(down[:, :1], 7), atol=1e-6)
    np.testing.assert_allclose(down[3], 0, atol=1e-6)
    assert np.all(np.diff(down[1:6, 0]) > 0)


@pytest.mark.parametrize(
    ("depth", "says"),
    [
        (3, r"nothing for the layer block3_norm1 of shape \(32,\)"),
        (1, r"the file has the layer blocks\.1\.norm1\.weight, which the model lacks"),
    ],
)
def test_weights_of_another_depth_are_refused(keras3: Any, depth: int, says: str) -> None:
    torch = _Torch()
    _vit(torch, _images(1, 48)[0])
    other = dataclasses.replace(_VIT, arguments=dict(_VIT.arguments) | {"depth": depth})
    with pytest.raises(UsageError, match=says):
        _filled(other, torch.state, 5, 48)


@pytest.mark.parametrize(
    ("entry", "size", "sizes"),
    [(_VIT, 100, "96, 112"), (_VIT, 40, "32, 48"), (_SWIN, 100, "96, 128"), (_SWIN, 32, "64, 96")],
)
def test_sizes_that_work_are_named(keras3: Any, entry: Entry, size: int, sizes: str) -> None:
    with pytest.raises(UsageError) as raised:
        _build(entry, 5, size)
    assert sizes in raised.value.hint
    for works in sizes.split(", "):
        assert _build(entry, 5, int(works)).output_shape == (None, 5)


_ELSEWHERE = """
import sys, keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
np.save(sys.argv[2], model(np.load(sys.argv[2]), training=False))
assert not [name for name in sys.modules if name.startswith("edgekit")]
"""


@pytest.mark.slow
@pytest.mark.parametrize(("entry", "size"), [(_VIT, 48), (_SWIN, 64)], ids=["vit", "swin"])
def test_the_file_loads_where_edgekit_is_not(
    keras3: Any, tmp_path: Path, entry: Entry, size: int
) -> None:
    model, images = _build(entry, 5, size), _images(2, size)
    randomize(model)
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "values.npy", images)
    subprocess.run(
        [sys.executable, "-c", _ELSEWHERE, tmp_path / "m.keras", tmp_path / "values.npy"],
        check=True,
        cwd=tmp_path,
    )
    expected = np.asarray(model(images, training=False))
    np.testing.assert_allclose(np.load(tmp_path / "values.npy"), expected, atol=1e-5)


@pytest.mark.parametrize(("entry", "size"), [(_VIT, 48), (_SWIN, 64)], ids=["vit", "swin"])
def test_every_block_can_be_frozen_at(keras3: Any, entry: Entry, size: int) -> None:
    """What the layers behind a block read from before it is the block's output and nothing else."""
    model = _build(entry, 5, size)
    ends = [layer for layer in model.layers if layer.name.endswith("_add2")]
    assert len(ends) == (2 if entry is _VIT else 6)
    for end in ends:
        head = keras3.Model(end.output, model.output)  # raises where it needs anything else
        assert len(head.inputs) == 1


@pytest.mark.slow
def test_training_moves_every_weight(keras3: Any) -> None:
    for entry, size in ((_VIT, 48), (_SWIN, 64)):
        model = _build(entry, 5, size)
        randomize(model)
        before = [weight.numpy() for weight in model.trainable_weights]
        loss = keras3.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras3.optimizers.SGD(0.1), loss)
        assert np.isfinite(model.train_on_batch(_images(4, size), np.arange(4)))
        still = [
            weight.path
            for weight, old in zip(model.trainable_weights, before, strict=True)
            # A summand of all keys changes no attention: softmax takes it out.
            if np.array_equal(weight.numpy(), old) and "key/bias" not in weight.path
        ]
        assert not still


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit_ti16", "swin_t"])
def test_macs_are_those_that_inspect_counts(keras3: Any, tmp_path: Path, name: str) -> None:
    from edgekit.converters import graph

    entry, path = zoo.entry(name), tmp_path / "float.tflite"
    model = _build(entry, 1000, entry.size)
    path.write_bytes(graph.to_tflite(graph.open_keras(path, model, None).freeze(path), path))
    inspection = edgekit.inspect(path)
    assert (inspection.macs, inspection.macs_unknown) == (entry.macs, ())


@pytest.mark.slow
@pytest.mark.parametrize(("entry", "size"), [(_VIT, 48), (_SWIN, 64)], ids=["vit", "swin"])
def test_int8_throughout(
    keras3: Any, tmp_path: Path, tiny_photos: Path, entry: Entry, size: int
) -> None:
    path = tmp_path / "m.keras"
    model = _build(entry, 5, size)
    randomize(model)
    model.save(path)
    keras_file.add_contract(path, Contract(size, size, (127.5,) * 3, (127.5,) * 3))
    conversion = edgekit.convert(path, data=tiny_photos)
    inspection = edgekit.inspect(conversion.output)
    assert (inspection.arithmetic.kind, inspection.arithmetic.islands) == ("int8", ())
    assert {op.output_dtype for op in inspection.operators} == {"int8"}
    assert not {op.name for op in inspection.operators} & {"NEG", "SQUARED_DIFFERENCE"}
    assert conversion.quality is not None
    assert 18 < conversion.quality.sqnr_db < 40
