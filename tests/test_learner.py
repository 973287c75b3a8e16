"""One step of training: its loss, its gradients, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgekit.contract import Contract
from edgekit.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("keras3")

_CLASSES, _FEATURES = 3, 5
_RATE = 0.1
#: Nothing but the gradient of the loss changes a weight.
_PLAIN = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "label_smoothing": 0.0}


def _recipe(**changes: Any) -> Recipe:
    return Recipe(**{**_PLAIN, **changes})


def _head(seed: int = 0) -> Any:
    """Features -> logits, its weights all different from 0."""
    import keras

    inputs = keras.Input((_FEATURES,))
    head = keras.Model(inputs, keras.layers.Dense(_CLASSES, name="logits")(inputs))
    rng = np.random.default_rng(seed)
    head.set_weights([rng.normal(size=w.shape) for w in head.get_weights()])
    return head


def _body() -> Any:
    """Pictures [8, 8, 3] -> features, with a batch norm and a learned table."""
    import keras

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(_FEATURES, 3, bias_initializer="ones", name="conv")(inputs)
    x = keras.layers.BatchNormalization(beta_initializer="ones", name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    row = keras.ops.cast(keras.ops.zeros_like(x[:, :1]), "int32")
    table = keras.layers.Embedding(1, _FEATURES, name="table")(row)
    return keras.Model(inputs, x + keras.layers.Flatten()(table))


def _learner(body: Any, head: Any, recipe: Recipe, **arguments: Any) -> Any:
    from edgekit.training.learner import Learner

    return Learner(_as_fed, body, head, recipe, **arguments)


def _as_fed(inputs: Any) -> Any:
    return inputs


def _features(count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    targets = rng.dirichlet(np.ones(_CLASSES), count)  # as mixup makes them
    return rng.normal(size=(count, _FEATURES)).astype(np.float32), targets.astype(np.float32)


def _pictures(count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    pictures = np.random.default_rng(2).normal(1, 2, (count, 8, 8, 3))
    return pictures.astype(np.float32), np.eye(_CLASSES, dtype=np.float32)[
        np.arange(count) % _CLASSES
    ]


def _values(model: Any) -> dict[str, np.ndarray]:
    return {v.path: np.array(v.numpy()) for v in model.variables}


def _expected_gradient(
    head: Any, x: np.ndarray, targets: np.ndarray, smoothing: float, weights: np.ndarray
) -> tuple[np.ndarray, float]:
    """Of the mean loss by the kernel, and the summed loss, in float64."""
    kernel, bias = (w.astype(np.float64) for w in head.get_weights())
    logits = x @ kernel + bias
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    smooth = targets * (1 - smoothing) + smoothing / _CLASSES
    each = (targets @ weights)[:, None]
    gradient = x.T @ ((probabilities - smooth) * each) / len(x)
    return gradient, float(-(each * smooth * np.log(probabilities)).sum())


@pytest.mark.parametrize(
    ("smoothing", "weights"), [(0.0, [1, 1, 1]), (0.2, [1, 1, 1]), (0.1, [0.5, 2, 3])]
)
@pytest.mark.parametrize("pieces", [1, 3])
def test_loss_and_gradient_are_those_of_the_formula(
    smoothing: float, weights: list[float], pieces: int
) -> None:
    head, (x, targets) = _head(), _features()
    gradient, loss = _expected_gradient(head, x, targets, smoothing, np.array(weights))
    before = head.get_weights()[0]
    learner = _learner(
        None,
        head,
        _recipe(label_smoothing=smoothing),
        class_weights=np.array(weights, np.float32),
    )
    learner.pieces = pieces
    outcome = learner.train(x, targets, _RATE, len(x))
    assert outcome.loss == pytest.approx(loss, rel=1e-5)
    assert outcome.count == len(x)
    np.testing.assert_allclose(
        (before - head.get_weights()[0]) / _RATE, gradient, rtol=1e-4, atol=1e-5
    )


def test_hits_are_counted_by_the_highest_target() -> None:
    head, (x, targets) = _head(), _features()
    kernel, bias = head.get_weights()
    right = (x @ kernel + bias).argmax(axis=1) == targets.argmax(axis=1)
    assert 0 < right.sum() < len(x)
    assert _learner(None, head, _recipe()).train(x, targets, _RATE, len(x)).hits == right.sum()


@pytest.mark.parametrize("batch_norm", ["frozen", "train"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_pieces_make_the_step_of_the_whole_batch(
    keras3: Any, optimizer: str, batch_norm: str
) -> None:
    """With batch norm in training each piece has a mean of its own: then it may not."""
    ends = []
    x, targets = _pictures(7)
    for pieces in (1, 3):
        keras3.utils.set_random_seed(0)
        body, head = _body(), _head()
        learner = _learner(
            body,
            head,
            Recipe(optimizer=optimizer, batch_norm=batch_norm, pull=0.5),
            start=np.zeros((_FEATURES, _CLASSES), np.float32),
        )
        learner.pieces = pieces
        for _ in range(3):
            learner.train(x, targets, _RATE, len(x))
        ends.append([*body.get_weights(), *head.get_weights()])
    same = all(np.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(*ends, strict=True))
    assert same == (batch_norm == "frozen")


def test_frozen_batch_norm_keeps_its_statistics_and_learns_its_scale() -> None:
    body, head = _body(), _head()
    before = _values(body)
    x, targets = _pictures()
    _learner(body, head, _recipe(batch_norm="frozen")).train(x, targets, _RATE, len(x))
    changed = {path for path, value in _values(body).items() if (value != before[path]).any()}
    assert {path.rpartition("/")[2] for path in changed} == {
        *("kernel", "bias", "gamma", "beta", "embeddings")
    }


def test_trained_batch_norm_adapts_its_statistics() -> None:
    body, head = _body(), _head()
    x, targets = _pictures()
    before = body.get_layer("norm").moving_mean.numpy()
    _learner(body, head, _recipe(batch_norm="train")).train(x, targets, _RATE, len(x))
    assert (body.get_layer("norm").moving_mean.numpy() != before).all()


def test_a_body_without_batch_norm_drops_in_training_alone(keras3: Any) -> None:
    """As VGG does between its dense layers."""
    inputs = keras3.Input((_FEATURES,))
    body = keras3.Model(inputs, keras3.layers.Dropout(0.5, seed=1)(inputs))
    x, targets = _features()
    learner = _learner(body, _head(), _recipe(batch_norm="frozen"))
    losses = {learner.train(x, targets, 0.0, len(x)).loss for _ in range(3)}
    assert len(losses) == 3
    np.testing.assert_array_equal(learner.predict(x), learner.predict(x))


@pytest.mark.parametrize("pieces", [1, 4])
def test_pull_goes_to_the_start(pieces: int) -> None:
    """With inputs of zeros the loss has no say in the kernel."""
    head, start = _head(), np.full((_FEATURES, _CLASSES), 2, np.float32)
    before = head.get_weights()[0]
    learner = _learner(None, head, _recipe(pull=0.5), start=start)
    learner.pieces = pieces
    x, targets = np.zeros((8, _FEATURES), np.float32), _features()[1]
    learner.train(x, targets, _RATE, len(x))
    expected = before - _RATE * 0.5 * (before - start)
    np.testing.assert_allclose(head.get_weights()[0], expected, rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weight_decay_shrinks_kernels_alone(optimizer: str) -> None:
    """With class weights of 0 there is no gradient."""
    body, head = _body(), _head()
    before = {**_values(body), **_values(head)}
    learner = _learner(
        body,
        head,
        Recipe(optimizer=optimizer, weight_decay=0.3, batch_norm="frozen"),
        class_weights=np.zeros(_CLASSES, np.float32),
    )
    x, targets = _pictures()
    learner.train(x, targets, _RATE, len(x))
    for path, value in {**_values(body), **_values(head)}.items():
        factor = 1 - _RATE * 0.3 if path.endswith("kernel") else 1
        np.testing.assert_allclose(value, factor * before[path], rtol=1e-6, err_msg=path)


def test_a_smaller_last_batch_costs_one_more_trace() -> None:
    from edgekit.training.learner import Learner

    traces = []

    def prepare(inputs: Any) -> Any:
        traces.append(inputs.shape)
        return inputs

    learner = Learner(prepare, None, _head(), _recipe())
    x, targets = _features(8)
    for count in (8, 8, 3, 8, 5, 8, 3):
        learner.train(x[:count], targets[:count], _RATE, count)
    assert len(traces) == 2


def test_predictions_in_pieces_are_the_same() -> None:
    body, head = _body(), _head()
    learner = _learner(body, head, _recipe())
    x = _pictures(7)[0]
    whole = learner.predict(x)
    assert whole.shape == (7, _CLASSES)
    learner.pieces = 16
    np.testing.assert_allclose(learner.predict(x), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_normalizer_follows_the_contract(order: str) -> None:
    from edgekit.training.learner import normalizer

    mean, std = (10.0, 20.0, 30.0), (2.0, 4.0, 8.0)
    contract = Contract(height=2, width=2, mean=mean, std=std, colour_order=order)
    picture = np.array([[[[0, 100, 200]]]], np.uint8)
    shown = picture[..., ::-1] if order == "BGR" else picture
    expected = (shown.astype(np.float32) - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(normalizer(contract)(picture), expected, rtol=1e-6)


def test_a_frozen_part_gives_no_gradient(keras3: Any) -> None:
    import tensorflow as tf

    from edgekit.training.learner import frozen

    x = tf.constant(_pictures(2)[0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        features = frozen(_body(), _as_fed)(x)
    assert tape.gradient(features, x) is None
