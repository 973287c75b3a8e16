"""Where models of the zoo are cut in two, and that the parts make the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgekit.errors import UsageError
from edgekit.training.zoo.catalogue import CATALOGUE

#: ResNet-18: the stem and 8 residual blocks. GoogLeNet: 2 convolutions and 9 inception modules.
#: VGG-16: 5 stages, and its dense layers. MobileNetV2: 10 residual blocks, 4 changes of resolution
#: (within a block that has no shortcut), and what follows the last of them.
_BLOCKS = {"mobilenet_v2": 15, "resnet18": 9, "googlenet": 11, "vgg16": 6}


@pytest.fixture(scope="module", params=_BLOCKS)
def model(keras3: Any, request: pytest.FixtureRequest) -> tuple[str, Any]:
    from edgekit.training import classifier
    from edgekit.training.zoo.assembly import assemble

    size = 32 if request.param != "googlenet" else 64
    built = assemble(CATALOGUE[request.param], None, classes=10, size=size).model
    return request.param, classifier.replace(built, 3, 0.2, seed=1)


def _pictures(model: Any) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, *model.input.shape[1:])).astype(np.float32)


def test_how_many_blocks_there_are(model: tuple[str, Any]) -> None:
    from edgekit.training import freezing

    name, built = model
    assert freezing.split(built, "all").blocks == _BLOCKS[name]


@pytest.mark.parametrize("unfreeze", [1, 3, "all"])
def test_the_parts_make_the_whole(model: tuple[str, Any], unfreeze: int | str) -> None:
    from edgekit.training import classifier, freezing

    _, built = model
    parts, head = freezing.split(built, unfreeze), classifier.head(built)
    pictures = _pictures(built)
    assert parts.body is not None
    inner = pictures if parts.trunk is None else parts.trunk(pictures, training=False)
    features = parts.body(inner, training=False)
    np.testing.assert_allclose(
        features, parts.features(pictures, training=False), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        head(features, training=False), built(pictures, training=False), rtol=1e-4, atol=1e-5
    )


def test_every_weight_is_in_one_part(model: tuple[str, Any]) -> None:
    from edgekit.training import classifier, freezing

    _, built = model
    parts, head = freezing.split(built, 2), classifier.head(built)
    assert parts.trunk is not None and parts.body is not None
    paths = [v.path for part in (parts.trunk, parts.body, head) for v in part.trainable_variables]
    assert sorted(paths) == sorted(v.path for v in built.trainable_variables)
    assert all(part.trainable_variables for part in (parts.trunk, parts.body, head))


def test_each_further_block_takes_more_weights_along(model: tuple[str, Any]) -> None:
    from edgekit.training import freezing

    _, built = model
    counts = []
    for unfreeze in range(1, freezing.split(built, "all").blocks + 1):
        body = freezing.split(built, unfreeze).body
        assert body is not None
        counts.append(sum(int(np.prod(v.shape)) for v in body.trainable_variables))
    assert counts == sorted(set(counts))


def test_more_blocks_than_there_are(model: tuple[str, Any]) -> None:
    from edgekit.training import freezing

    name, built = model
    with pytest.raises(UsageError, match=f"{name} has .* blocks, and 100 are to be fine-tuned"):
        freezing.split(built, 100)


def test_the_classifier_starts_where_the_old_classes_are_that_the_photos_are_taken_for(
    keras3: Any,
) -> None:
    """Two new classes, each taken for one old class by a clear margin."""
    from edgekit.training import classifier

    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(4, 5)).astype(np.float32) * 20, np.zeros(5, np.float32)
    features = np.repeat(np.linalg.pinv(kernel)[[1, 3]], 3, axis=0).astype(np.float32) * 30
    labels = np.array([0, 0, 0, 1, 1, 1])
    taken_for = np.argmax(features @ kernel + bias, axis=1)
    assert len(set(taken_for[labels == 0])) == len(set(taken_for[labels == 1])) == 1
    new_kernel, new_bias = classifier.start(kernel, bias, features, labels, 2)
    assert new_kernel.shape == (4, 2) and new_bias.shape == (2,)
    assert np.array_equal(np.argmax(features @ new_kernel + new_bias, axis=1), labels)
    old = kernel[:, [taken_for[0], taken_for[3]]]
    np.testing.assert_allclose(
        new_kernel, old - old.mean(axis=1, keepdims=True), rtol=0.05, atol=0.3
    )
