"""The layer that stands for a TensorFlow function in a translated Keras 2 model."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

#: What a Keras 2 classifier may call: plain arithmetic and shape functions, nothing that reads,
#: writes or runs anything. Names as Keras 2 writes them.
ALLOWED: dict[str, Any] = {
    "__operators__.add": tf.math.add,
    "__operators__.getitem": lambda x, spec: x[spec],
    "math.add": tf.math.add,
    "math.subtract": tf.math.subtract,
    "math.multiply": tf.math.multiply,
    "math.truediv": tf.math.truediv,
    "math.divide": tf.math.divide,
    "math.reduce_mean": tf.math.reduce_mean,
    "math.maximum": tf.math.maximum,
    "math.minimum": tf.math.minimum,
    "math.sigmoid": tf.math.sigmoid,
    "nn.bias_add": tf.nn.bias_add,
    "nn.relu": tf.nn.relu,
    "nn.relu6": tf.nn.relu6,
    "nn.silu": tf.nn.silu,
    "nn.softmax": tf.nn.softmax,
    "nn.sigmoid": tf.nn.sigmoid,
    "concat": tf.concat,
    "cast": tf.cast,
    "identity": tf.identity,
    "reshape": tf.reshape,
    "compat.v1.transpose": tf.transpose,
    "compat.v1.nn.bias_add": tf.nn.bias_add,
}


@keras.saving.register_keras_serializable(package="edgekit")
class TFOp(keras.layers.Layer):
    """Calls one of the `ALLOWED` TensorFlow functions on its inputs."""

    def __init__(self, function: str, **options: Any) -> None:
        super().__init__(**options)
        if function not in ALLOWED:
            raise ValueError(f"the TensorFlow function {function!r} is not translated")
        self.function = function

    def call(self, inputs: Any, **arguments: Any) -> Any:
        """Applies the function to one tensor or to several in order."""
        tensors = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        return ALLOWED[self.function](*tensors, **arguments)

    def get_config(self) -> dict[str, Any]:
        """What Keras needs to make it again."""
        return super().get_config() | {"function": self.function}
