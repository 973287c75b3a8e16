"""The peer: int8 conversion as TensorFlow's own guide shows it, with TFLiteConverter.

    python benchmarks/peers/stock_int8.py MODEL.keras PHOTOS OUT.tflite --samples 200

The preprocessing is EfficientNet-Lite's (centre crop of 0.875, bicubic, (x - 127) / 128), written
out as a user would.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow as tf


def load_image(path: Path, size: int) -> np.ndarray:
    picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    side = min(picture.shape[:2])
    crop = int(side * size / (size + 32))
    top, left = (picture.shape[0] - crop) // 2, (picture.shape[1] - crop) // 2
    picture = picture[top : top + crop, left : left + crop]
    picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC)
    return ((picture.astype(np.float32) - 127.0) / 128.0)[None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--samples", type=int, default=200)
    arguments = parser.parse_args()

    model = keras.saving.load_model(arguments.model, compile=False)
    size = model.input_shape[1]
    photos = sorted(arguments.photos.glob("*.jpg"))
    chosen = [photos[i * len(photos) // arguments.samples] for i in range(arguments.samples)]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([load_image(p, size)] for p in chosen)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    arguments.output.write_bytes(converter.convert())


if __name__ == "__main__":
    main()
