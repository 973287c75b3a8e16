"""An `edgekit` process whose CPU poses as several devices: their number, then the arguments.

Its zoo has the tiny model of `training_support`.
"""

from __future__ import annotations

import sys

import pytest
import tensorflow as tf
from training_support import register_tiny

from edgekit.cli.main import main

if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1])
    )
    register_tiny(pytest.MonkeyPatch())
    main(sys.argv[2:])
