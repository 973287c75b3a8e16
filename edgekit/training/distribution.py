"""Several devices or machines through tf.distribute. Imports TensorFlow.

Each step, every replica computes the gradients of its share of the batch, all sum them up, and all
make the same update: the result is that of one device with the whole batch, apart from the order of
float32 sums. Dropout draws the same masks on all replicas.

On several machines each worker reads all the data, keeps its own caches and judges each epoch on
its own; the first one's answers count. Only the first one writes. The others read its checkpoints,
so the output's folder has to be one that all machines share (NFS, or the like). Where a worker is
lost the others end with a RuntimeFailure, and all of them started with --resume go on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from edgekit.errors import RuntimeFailure, UsageError
from edgekit.training.peers import Peers
from edgekit.training.sources import Shard

MODES = ("none", "mirrored", "multiworker")

#: How a collective operation fails where another worker is gone.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


@dataclass(frozen=True)
class Cluster:
    """The machines a training runs on.

    Attributes:
        mode: One of `MODES`.
        strategy: Of tf.distribute, or None for one device.
        shard: Which worker this is.
    """

    mode: str = "none"
    strategy: Any = None
    shard: Shard = field(default_factory=Shard)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the outputs."""
        return self.shard.index == 0

    @property
    def replicas(self) -> int:
        """Devices in all."""
        return 1 if self.strategy is None else int(self.strategy.num_replicas_in_sync)

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """The context in which the model is built and trained.

        Raises:
            RuntimeFailure: Another worker was lost.
        """
        if self.strategy is None:
            yield
            return
        with _saying_who_is_lost(self.shard), self.strategy.scope():
            yield

    def batch(self, asked: int, pictures: int) -> int:
        """The size of a batch: what was asked for, or as much as a small set can fill.

        Args:
            asked: A multiple of the devices.
            pictures: How many there are to learn from.

        Raises:
            UsageError: There are fewer pictures than devices.
        """
        fitting = min(asked, pictures // self.replicas * self.replicas)
        if not fitting:
            raise UsageError(
                f"{pictures} pictures can't be shared by {self.replicas} devices",
                "Use fewer devices.",
            )
        return fitting

    def require_whole_steps(self, share: int, pieces: int) -> None:
        """Checks that a step needs no pieces on several devices, whose steps are one operation.

        Args:
            share: Pictures of a step on this machine.
            pieces: In how many pieces they would have to go through its memory.

        Raises:
            RuntimeFailure: They don't fit in one.
        """
        if pieces > 1 and self.replicas > 1:
            raise RuntimeFailure(
                f"{share} pictures at once are too many for the memory of this machine, and with "
                "several devices a step can't go through in pieces",
                f"Choose a smaller batch, such as a {pieces}th of it, with --batch.",
            )

    def agreed(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The chief's values, on all workers: the same to the last bit, whatever machines they are.

        Args:
            values: This worker's, of the same shape on each.
        """
        if self.shard.count == 1:
            return values
        mine = values if self.is_chief else np.zeros_like(values)
        total = _summed(self.strategy, tf.constant(mine))
        first = self.strategy.experimental_local_results(total)[0].numpy()
        return np.asarray(first / np.float32(self.replicas // self.shard.count))

    def wait(self) -> None:
        """Returns when all workers have come to this point."""
        self.agreed(np.zeros(1, np.float32))


def join(mode: str, peers: Peers | None = None) -> Cluster:
    """Takes this process's place among the machines; the first thing TensorFlow has to do.

    Args:
        mode: `none`; `mirrored` for all devices of this machine; `multiworker` for the machines of
            the environment variable TF_CONFIG.
        peers: Those machines, where they have met already.

    Raises:
        UsageError: The mode isn't known, or TF_CONFIG is missing or no such document.
        RuntimeFailure: The port of this worker is taken, or another was lost.
    """
    if mode == "none":
        return Cluster()
    if mode == "mirrored":
        devices = [d.name for d in tf.config.list_logical_devices("GPU")]
        devices = devices or [d.name for d in tf.config.list_logical_devices("CPU")]
        return Cluster(mode, tf.distribute.MirroredStrategy(devices))
    if mode != "multiworker":
        raise UsageError(f"distribute {mode!r} is not known", f"Choose {', '.join(MODES)}.")
    peers = peers or Peers.from_environment()
    shard = Shard(peers.index, len(peers.addresses))
    try:
        with _saying_who_is_lost(shard):
            return Cluster(mode, tf.distribute.MultiWorkerMirroredStrategy(), shard)
    except tf.errors.UnknownError as error:
        raise RuntimeFailure(
            f"{peers.addresses[peers.index]} can't be served at ({_first_line(error)})",
            "Name an address of this machine and a free port in TF_CONFIG.",
        ) from error


@tf.function
def _summed(strategy: Any, values: Any) -> Any:
    """The sum of every replica's values, on each."""

    def reduce() -> Any:
        # The identity lies on the replica's device, which is what the sum is sent to.
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(values))

    return strategy.run(reduce)


@contextlib.contextmanager
def _saying_who_is_lost(shard: Shard) -> Iterator[None]:
    try:
        yield
    except _LOST as error:
        if shard.count == 1:
            raise
        raise RuntimeFailure(
            f"worker {shard.index} lost another of the {shard.count} workers "
            f"({_first_line(error)})",
            "See what the others say. What was done so far is kept: start all of them again with "
            "--resume.",
        ) from error


def _first_line(error: tf.errors.OpError) -> str:
    """What TensorFlow says, its traceback left out."""
    lines = [line.strip() for line in str(error.message).splitlines()]
    said = [x for x in lines if x and not x.startswith(("Graph execution", "Detected", "File "))]
    return said[0] if said else type(error).__name__
