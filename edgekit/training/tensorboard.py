"""A log that TensorBoard shows. Needs TensorFlow, but not the package tensorboard."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import tensorflow as tf

from edgekit.errors import RuntimeFailure
from edgekit.training.hooks import OnEpoch
from edgekit.types import EpochRow

_TAGS = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


@contextmanager
def log(folder: Path, name: str, first: int) -> Iterator[OnEpoch]:
    """Writes a run to a new folder in `folder`, named by its model and the time.

    Args:
        folder: Where TensorBoard looks; made if it is missing.
        name: Of the run.
        first: How many epochs earlier runs did: the step of the first epoch.

    Yields:
        What takes each finished epoch.

    Raises:
        RuntimeFailure: Nothing can be written there.
    """
    # Two runs may start in one second.
    run = folder / f"{name}-{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    try:
        run.mkdir(parents=True)
        writer = tf.summary.create_file_writer(str(run))
    except (OSError, tf.errors.OpError) as error:
        raise RuntimeFailure(
            f"{folder}: no log can be written there ({getattr(error, 'strerror', None) or error})",
            "Choose another place with --tensorboard.",
        ) from error
    step = first

    def write(row: EpochRow) -> None:
        nonlocal step
        with writer.as_default():
            for tag in _TAGS:
                tf.summary.write(tag, getattr(row, tag), step=step, metadata=_scalar())
        writer.flush()
        step += 1

    try:
        yield write
    finally:
        writer.close()


def _scalar() -> tf.compat.v1.SummaryMetadata:
    """What makes TensorBoard's scalar plug-in take a tensor for its own (summary.proto)."""
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = "scalars"
    metadata.data_class = 1  # DATA_CLASS_SCALAR
    return metadata
