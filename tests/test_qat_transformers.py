"""Quantization-aware training of vision transformers: a small ViT and a small Swin."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qat_support as support
from training_support import write_photos

import edgekit
from edgekit.training import zoo
from edgekit.training.zoo.catalogue import Entry

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("keras3")]

SIZE = 64
SMALL = {
    "vit": dataclasses.replace(
        zoo.entry("vit_ti16"), name="vit_nano", arguments={"width": 32, "depth": 2, "heads": 2}
    ),
    "swin": dataclasses.replace(
        zoo.entry("swin_t"), name="swin_nano", arguments={"width": 32, "depths": (2, 2, 1, 1)}
    ),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"), train=16, val=12)


def _trained(entry: Entry, photos: Path, path: Path) -> Path:
    """The model after some epochs on photos of three colours."""
    import keras

    from edgekit import datasets, images

    if entry.builder == "vit":
        from edgekit.training.zoo import vit as builder
    else:
        from edgekit.training.zoo import swin as builder
    keras.utils.set_random_seed(1)
    model: Any = builder.build(entry, 3, SIZE)
    splits = datasets.open_splits(photos)
    contract = support.contract(SIZE, "logits", splits.classes)
    pictures = np.stack([images.load(e.path, contract) for e in splits.train])
    model.compile(
        keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.fit(
        images.to_input(pictures, contract, np.float32),
        np.array([e.label for e in splits.train]),
        16,
        epochs=25,
        verbose=0,
    )
    return support.write(model, path, labels=splits.classes)


@pytest.mark.parametrize("family", SMALL)
def test_a_transformer_from_the_twin_to_the_file(family: str, photos: Path, tmp_path: Path) -> None:
    from edgekit.converters.qat import export, twin

    path = _trained(SMALL[family], photos, tmp_path / "m.keras")
    of = support.quantized(path, photos)
    expected = support.answers(of.model, of)
    found = twin.build(of.model, None, None, family)(of.inputs).numpy()
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()

    model = twin.build(of.model, of.int8, of.contract, family)
    exported = export.export(model)
    again = support.to_int8(exported.model, exported.ranges, of.contract)
    assert support.grids(again) == support.grids(of.int8)
    parity = support.compare(model, of)
    assert parity.is_met, f"{parity}; {support.differences(model, of)}"

    result = edgekit.qat(path, photos, tmp_path / "q.keras", epochs=2, batch=8)
    assert result.float_accuracy > 0.8
    assert result.accuracy.top1 >= result.before
