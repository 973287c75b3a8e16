"""What TensorFlow keeps of a training that is over. Imports TensorFlow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tensorflow.python.framework import ops

#: How `tf.custom_gradient` names what it registers for a graph.
_PREFIX = "CustomGradient-"


@contextlib.contextmanager
def custom_gradients_forgotten() -> Iterator[None]:
    """Forgets the custom gradients of the graphs that were built within.

    `tf.custom_gradient`, through which each Keras optimizer sums its gradients, enters a closure
    for every traced graph in a global table and never takes it out; the closure holds the graph:
    100 MiB for each training of a MobileNet. There is no public way to forget one.
    """
    table = ops.gradient_registry._registry
    before = set(table)
    try:
        yield
    finally:
        for name in [n for n in table if n.startswith(_PREFIX) and n not in before]:
            del table[name]
