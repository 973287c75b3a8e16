"""Training on several devices and machines: the result of one, and a word where one is missing."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_support import TINY, history, recipe, register_tiny, train, weights, write_photos

from edgekit.errors import EdgekitError, RuntimeFailure, UsageError
from edgekit.training.checkpoint import Checkpoint
from edgekit.training.peers import Peers
from edgekit.training.result import Training

_WORKER = Path(__file__).with_name("distributed_worker.py")
#: Without dropout and with frozen batch norms, how a batch is shared changes nothing but the order
#: of sums.
_RECIPE = recipe(batch=12, epochs=12, dropout=0.0, batch_norm="frozen")
_OPTIONS = (
    *("--size", _RECIPE.size, "--batch", 12, "--epochs", 12, "--feature-epochs", 2, "--views", 2),
    *("--rate", 1e-3, "--dropout", 0, "--batch-norm", "frozen", "--average", 0.5),
    *("--patience", 0, "--unfreeze", "all"),
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"), train=12, val=6)


@pytest.fixture(scope="module")
def alone(
    keras3: Any, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Training]:
    """What one device makes of the same."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKIT_CACHE", str(folder / "cache"))
        register_tiny(patch)
        yield train(photos, folder / "m.keras", _RECIPE)


# --- the results of one device


@pytest.mark.slow
def test_two_workers_train_what_one_does(alone: Training, photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "m.keras"
    ends = _ended(_start_both(photos, output))
    assert [end.returncode for end in ends] == [0, 0], ends[0].stderr + ends[1].stderr
    _assert_same(alone, output)
    assert sorted(p.name for p in tmp_path.glob("m.*")) == ["m.edgekit", "m.keras"]
    chief, other = ends
    assert "Written:" in chief.stdout
    assert (other.stdout, other.stderr) == ("", f"Done; worker 0 writes {output}.\n")


@pytest.mark.slow
def test_two_devices_of_one_machine_train_what_one_does(
    alone: Training, photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "m.keras"
    end = _ended([_start(photos, output, "--distribute", "mirrored", devices=2)])[0]
    assert end.returncode == 0, end.stderr
    _assert_same(alone, output)


@pytest.mark.slow
def test_a_lost_worker_is_told_and_all_go_on_with_resume(
    alone: Training, photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "m.keras"
    workers = _start_both(photos, output)
    _wait_for_fine_tuning(tmp_path / "m.training", workers)
    workers[1].kill()
    chief = _ended(workers)[0]
    assert chief.returncode == RuntimeFailure.exit_code
    assert "lost another of the 2 workers" in chief.stderr
    assert "--resume" in chief.stderr
    assert not output.exists()
    ends = _ended(_start_both(photos, output, "--resume"))
    assert [end.returncode for end in ends] == [0, 0], ends[0].stderr + ends[1].stderr
    _assert_same(alone, output)


@pytest.mark.slow
def test_replicas_share_the_statistics_of_batch_norm(keras3: Any) -> None:
    """Each one's are of its own pictures; the mean of all is kept."""
    run = subprocess.run(
        [sys.executable, "-c", _STATISTICS],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    first, second = json.loads(run.stdout)
    assert first == second == [pytest.approx(0.5 * 2 + 0.5 * 6)]


#: Prints the moving mean of each of two devices after a step on pictures of 0, 4 and of 6, 6.
_STATISTICS = """
import json
import keras, numpy as np, tensorflow as tf
from edgekit.training.learner import Learner
from edgekit.training.recipe import Recipe

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    inputs = keras.Input((1,))
    norm = keras.layers.BatchNormalization(momentum=0.0)
    body = keras.Model(inputs, norm(inputs))
    features = keras.Input((1,))
    head = keras.Model(features, keras.layers.Dense(2)(features))
    learner = Learner(lambda x: x, body, head, Recipe(batch_norm="train"))
    x = np.array([[0], [4], [6], [6]], np.float32)
    learner.train(x, np.eye(2, dtype=np.float32)[[0, 1, 0, 1]], 0.1, 4)
print(json.dumps([v.numpy().tolist() for v in norm.moving_mean.value.values]))
"""


def _assert_same(alone: Training, output: Path) -> None:
    rows = json.loads((output.with_suffix(".edgekit") / "metrics.json").read_text())["history"]
    expected = history(alone)
    assert expected[-1]["loss"] < 0.9 * expected[0]["loss"]  # it learns something
    assert len(rows) == len(expected)
    for row, wanted in zip(rows, expected, strict=True):
        assert (row["phase"], row["epoch"]) == (wanted["phase"], wanted["epoch"])
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert row[name] == pytest.approx(wanted[name], rel=1e-3), (row["epoch"], name)
    ours, theirs = weights(output), weights(alone.output)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-2, atol=2e-4, err_msg=name)


def _start_both(photos: Path, output: Path, *options: object) -> list[subprocess.Popen[str]]:
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(2)]
    return [
        _start(photos, output, "--distribute", "multiworker", *options, tf_config=config)
        for config in (_tf_config(addresses, i) for i in range(2))
    ]


def _start(
    photos: Path, output: Path, *options: object, devices: int = 1, tf_config: str = ""
) -> subprocess.Popen[str]:
    arguments = ("train", photos, "-o", output, "--model", TINY, "--weights", "none", *_OPTIONS)
    environment = {
        **os.environ,
        "EDGEKIT_CACHE": str(output.parent / "cache"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        **({"TF_CONFIG": tf_config} if tf_config else {}),
    }
    return subprocess.Popen(
        [sys.executable, str(_WORKER), str(devices), *map(str, (*arguments, *options))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def _ended(workers: list[subprocess.Popen[str]]) -> list[subprocess.CompletedProcess[str]]:
    ends = []
    try:
        for worker in workers:
            stdout, stderr = worker.communicate(timeout=240)
            # TensorFlow's C++ logs before it can be told not to.
            lines = [x for x in stderr.splitlines(keepends=True) if not _is_log(x)]
            ends.append(
                subprocess.CompletedProcess("worker", worker.returncode, stdout, "".join(lines))
            )
    finally:
        for worker in workers:
            worker.kill()
    return ends


def _is_log(line: str) -> bool:
    return line.startswith("WARNING: All log messages") or line[:5] in ("I0000", "W0000", "E0000")


def _wait_for_fine_tuning(folder: Path, workers: list[subprocess.Popen[str]]) -> None:
    keeper = Checkpoint(folder)
    while all(worker.poll() is None for worker in workers):
        if keeper.exists() and keeper.load()[0].phase == "fine-tuning":
            return
        time.sleep(0.02)
    pytest.fail("the training was over before it could be disturbed")


# --- requests that can't be


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "needs the environment variable TF_CONFIG"),
        ("", "needs the environment variable TF_CONFIG"),
        ("{", "is no description of workers"),
        ("[]", "is no description of workers"),
        ('{"cluster": {"worker": ["a:1"]}}', "'task' is missing"),
        ('{"cluster": {"worker": []}, "task": {"type": "worker", "index": 0}}', "of 0 workers"),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
            "task 1 of 1 workers",
        ),
        (
            '{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}',
            "'a' is no host:port",
        ),
        (
            '{"cluster": {"worker": [7]}, "task": {"type": "worker", "index": 0}}',
            "is no description of workers",
        ),
        (
            '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, '
            '"task": {"type": "worker", "index": 0}}',
            "only tasks of the type worker",
        ),
    ],
)
def test_a_bad_tf_config_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None, message: str
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    register_tiny(monkeypatch)
    with pytest.raises(UsageError, match=message) as error:
        train(tmp_path, tmp_path / "m.keras", _RECIPE, distribute="multiworker")
    assert "TF_CONFIG='" in (error.value.hint or "")


def test_a_batch_that_cannot_be_shared_names_one_that_can(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TF_CONFIG", _tf_config(["a:1", "b:1", "c:1"], 0))
    register_tiny(monkeypatch)
    how = dataclasses.replace(_RECIPE, batch=32)
    with pytest.raises(UsageError, match="32 can't be shared equally by 3 devices") as error:
        train(tmp_path, tmp_path / "m.keras", how, distribute="multiworker")
    assert "--batch 33" in (error.value.hint or "")


def test_several_machines_keep_no_time_budget(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    register_tiny(monkeypatch)
    with pytest.raises(UsageError, match="time budget"):
        train(tmp_path, tmp_path / "m.keras", _RECIPE, distribute="multiworker", budget=60.0)


@pytest.mark.slow
def test_too_large_a_step_for_several_devices_asks_for_a_smaller_batch(keras3: Any) -> None:
    from edgekit.training.distribution import Cluster

    class TwoDevices:
        num_replicas_in_sync = 2

    cluster = Cluster("mirrored", TwoDevices())
    cluster.require_whole_steps(32, 1)
    with pytest.raises(RuntimeFailure, match="32 pictures at once") as error:
        cluster.require_whole_steps(32, 4)
    assert "--batch" in (error.value.hint or "")
    assert cluster.batch(32, 9) == 8
    assert Cluster().batch(32, 9) == 9
    with pytest.raises(UsageError, match="1 pictures can't be shared"):
        cluster.batch(32, 1)


def test_a_device_out_of_memory_asks_for_a_smaller_batch(
    keras3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    from edgekit.training.learner import Learner

    inputs = keras3.Input((4,))
    head = keras3.Model(inputs, keras3.layers.Dense(2)(inputs))
    learner = Learner(lambda x: x, None, head, _RECIPE)
    x, targets = np.ones((4, 4), np.float32), np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]

    def full(*_: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "no room")

    monkeypatch.setattr(learner, "_step", full)
    with pytest.raises(tf.errors.ResourceExhaustedError):  # one device goes on in pieces
        learner.train(x, targets, 0.1, 4)

    class TwoDevices:
        num_replicas_in_sync = 2

    monkeypatch.setattr(learner, "_strategy", TwoDevices())
    monkeypatch.setattr("edgekit.training.learner._dealt", lambda strategy, values: values)
    with pytest.raises(RuntimeFailure, match="out of memory") as error:
        learner.train(x, targets, 0.1, 4)
    assert "smaller --batch" in (error.value.hint or "")


# --- meeting


def test_workers_meet() -> None:
    assert _meet([{"rate": 0.1, "size": [1, 2]}] * 3) == [None, None, None]


def test_workers_that_were_asked_for_different_things_all_hear_of_it() -> None:
    errors = _meet([{"rate": 0.1}, {"rate": 0.1}, {"rate": 0.2, "step": 3}])
    for error in errors:
        assert isinstance(error, UsageError)
        assert "rate is 0.1 on worker 0, 0.2 on worker 2" in error.message
        assert "step is None on worker 0, 3 on worker 2" in error.message
        assert "worker 1" not in error.message


@pytest.mark.parametrize(("index", "missing"), [(0, "1"), (1, "0")])
def test_a_worker_that_never_comes_is_named(index: int, missing: str) -> None:
    addresses = tuple(f"127.0.0.1:{port}" for port in _free_ports(2))
    with pytest.raises(RuntimeFailure, match=f"in vain for worker {missing} .127"):
        Peers(addresses, index).meet({}, patience=0.5)


def test_who_is_missing_is_said_while_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.training.peers._QUIET", 0.1)
    addresses = tuple(f"127.0.0.1:{port}" for port in _free_ports(2))
    for index in range(2):
        said: list[str] = []
        with pytest.raises(RuntimeFailure):
            Peers(addresses, index).meet({}, said.append, patience=0.8)
        assert said == [f"Waiting for worker {1 - index} ({addresses[1 - index]})."]


def test_a_port_that_is_taken_is_named() -> None:
    with closing(socket.create_server(("", 0))) as server:
        port = server.getsockname()[1]
        with pytest.raises(RuntimeFailure, match=f"port {port} can't be listened on"):
            Peers((f"127.0.0.1:{port}", "127.0.0.1:1"), 0).meet({}, patience=0.5)


def test_strangers_are_not_taken_for_workers() -> None:
    def intrude(port: int) -> None:
        for message in (b"GET / HTTP/1.1\r\n\r\n", b'{"index": 7}\n', b"[1]\n", b""):
            _knock(port, message)

    assert _meet([{}, {}], intrude) == [None, None]


def _meet(
    requests: list[dict[str, Any]], before: Callable[[int], None] = lambda port: None
) -> list[EdgekitError | None]:
    """Lets workers meet in threads: what each one raised."""
    ports = _free_ports(len(requests))
    addresses = tuple(f"127.0.0.1:{port}" for port in ports)
    errors: list[EdgekitError | None] = [None] * len(requests)

    def run(index: int) -> None:
        try:
            Peers(addresses, index).meet(requests[index], patience=20)
        except EdgekitError as error:
            errors[index] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(requests))]
    threads[0].start()
    before(ports[0])
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def _knock(port: int, message: bytes) -> None:
    """Sends a line to the first worker, as soon as it listens."""
    for _ in range(100):
        try:
            with closing(socket.create_connection(("127.0.0.1", port), timeout=1)) as connection:
                connection.sendall(message)
                return
        except ConnectionRefusedError:
            time.sleep(0.02)
    pytest.fail("the first worker doesn't listen")


def _free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


def _tf_config(addresses: list[str], index: int) -> str:
    return json.dumps(
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    )
