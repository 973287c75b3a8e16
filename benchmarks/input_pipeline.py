"""Pictures per second of edgekit's input pipeline next to Keras' `image_dataset_from_directory`.

    python benchmarks/input_pipeline.py PHOTOS --rounds 5

PHOTOS holds class folders. Both sides give batches of 32 pictures of 224 x 224, stretched, as
float32 tensors in TensorFlow: for edgekit the copy into TensorFlow and the cast are counted.

* plain: every picture decoded and resized in every pass, nothing else. Keras resizes bilinearly
  without antialiasing (its default), edgekit by its bit-exact rule.
* augmented: Keras with RandomFlip, RandomZoom and RandomContrast in `map(AUTOTUNE)` and
  `prefetch(AUTOTUNE)`, and again with RandomCrop from 256 x 256 instead of RandomZoom; edgekit
  with its default: random crop, flip, brightness, contrast, saturation and hue. First with an
  empty store (decoding, and writing what is decoded to the disk).
* later passes: Keras with `.cache()` in memory (as float32) before the augmentation;
  edgekit from its store (uint8, on the disk, in the cache of the system as far as there is room).

All of it runs in one process, `--rounds` times in random order, after one round to warm up. Ratios
are medians over rounds, of pictures per second and of pictures per second of CPU time: what is
left of the CPU is there for the training, and other work on the machine matters less to it.
Writes benchmarks/results/input_pipeline.json.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import cv2
import numpy as np

from edgekit.contract import Contract
from edgekit.cpus import describe_machine, usable_cpus
from edgekit.datasets import Example, open_splits
from edgekit.training.feeding import (
    NONE,
    Augmentation,
    Loader,
    PictureStore,
    augment,
    evaluation_batches,
)

RESULTS = Path(__file__).resolve().parent / "results" / "input_pipeline.json"
SIZE, BATCH = 224, 32
FIRST_PASS = "first"
IN_PROCESSES = "edgekit augmented, processes"
CONTRACT = Contract(SIZE, SIZE)

#: What is divided by what: name -> (edgekit's arm, the arm it is held against).
RATIOS = {
    "plain decode and resize": ("edgekit plain", "keras plain"),
    "augmented, first pass": ("edgekit augmented, empty store", "keras augmented"),
    "augmented, decoding each pass": ("edgekit augmented, no store", "keras augmented"),
    "augmented, first pass, against RandomCrop": (
        "edgekit augmented, empty store",
        "keras RandomCrop",
    ),
    "augmented, later passes": ("edgekit augmented, store", "keras augmented, cached"),
    "augmented, later passes, against RandomCrop": (
        "edgekit augmented, store",
        "keras RandomCrop, cached",
    ),
    "later passes against no cache": ("edgekit augmented, store", "keras augmented"),
    "plain, later passes": ("edgekit plain, store", "keras plain, cached"),
    "threads against processes": ("edgekit augmented, store", IN_PROCESSES),
    "OpenCV's threads off against on": (
        "edgekit augmented, one OpenCV thread",
        "edgekit augmented, store",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    splits = open_splits(arguments.photos, val_share=0.01)
    examples = (*splits.train, *splits.val)
    with tempfile.TemporaryDirectory() as folder:
        arms = {
            **_keras_arms(arguments.photos),
            **_edgekit_arms(examples, len(splits.classes), Path(folder)),
        }
        wall: dict[str, list[float]] = {name: [] for name in arms}
        cpu: dict[str, list[float]] = {name: [] for name in arms}
        for round_number in range(arguments.rounds + 1):
            for name in random.Random(round_number).sample(sorted(arms), len(arms)):
                began, worked = time.perf_counter(), time.process_time()
                pictures = arms[name](round_number)
                seconds, work = time.perf_counter() - began, time.process_time() - worked
                if pictures != len(examples):
                    raise SystemExit(f"{name}: {pictures} of {len(examples)} pictures")
                shutil.rmtree(Path(folder) / FIRST_PASS, ignore_errors=True)
                if round_number > 0:  # the one before warms up, and fills the store
                    wall[name].append(pictures / seconds)
                    cpu[name].append(pictures / work)
            print(f"round {round_number} of {arguments.rounds}", file=sys.stderr)

    document: dict[str, Any] = {
        "command": f"python benchmarks/input_pipeline.py PHOTOS --rounds {arguments.rounds}",
        "machine": describe_machine(),
        "load_average_at_the_end": [round(load, 1) for load in os.getloadavg()],
        "versions": {
            name: version(name) for name in ("tensorflow", "keras", "opencv-python", "numpy")
        },
        "photos": len(examples),
        "size": SIZE,
        "batch": BATCH,
        "keras_augmentation": "RandomFlip(horizontal), RandomZoom(0.2), RandomContrast(0.2)",
        "edgekit_augmentation": repr(Augmentation()),
        "ratios": {name: _median_ratio(wall, *pair) for name, pair in RATIOS.items()},
        "ratios_by_cpu_time": {
            name: _median_ratio(cpu, *pair)
            for name, pair in RATIOS.items()
            if IN_PROCESSES not in pair
        },
        "pictures_per_second": {
            name: {
                "median": round(statistics.median(rates)),
                "per_cpu_second": round(statistics.median(cpu[name])),
                "rounds": [round(rate) for rate in rates],
            }
            for name, rates in wall.items()
        },
    }
    document["pictures_per_second"][IN_PROCESSES].pop("per_cpu_second")
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")
    print(json.dumps(document, indent=2))


def _median_ratio(rates: dict[str, list[float]], ours: str, theirs: str) -> float:
    pairs = zip(rates[ours], rates[theirs], strict=True)
    return round(statistics.median(a / b for a, b in pairs), 2)


# --- an arm takes the number of the round, goes over all pictures, and says how many there were


def _keras_arms(photos: Path) -> dict[str, Callable[[int], int]]:
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import tensorflow as tf

    def read(size: int = SIZE) -> Any:
        return keras.utils.image_dataset_from_directory(
            photos, image_size=(size, size), batch_size=BATCH, verbose=False
        )

    def varied(dataset: Any, geometry: Any) -> Any:
        layers = [
            keras.layers.RandomFlip("horizontal"),
            geometry,
            keras.layers.RandomContrast(0.2),
        ]

        def vary(pictures: Any, labels: Any) -> tuple[Any, Any]:
            for layer in layers:
                pictures = layer(pictures, training=True)
            return pictures, labels

        return dataset.map(vary, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def over(dataset: Any) -> Callable[[int], int]:
        return lambda _: sum(int(pictures.shape[0]) for pictures, _ in dataset)

    return {
        "keras plain": over(read()),
        "keras plain, cached": over(read().cache().prefetch(tf.data.AUTOTUNE)),
        "keras augmented": over(varied(read(), keras.layers.RandomZoom(0.2))),
        "keras augmented, cached": over(varied(read().cache(), keras.layers.RandomZoom(0.2))),
        "keras RandomCrop": over(varied(read(256), keras.layers.RandomCrop(SIZE, SIZE))),
        "keras RandomCrop, cached": over(
            varied(read(256).cache(), keras.layers.RandomCrop(SIZE, SIZE))
        ),
    }


def _edgekit_arms(
    examples: tuple[Example, ...], classes: int, folder: Path
) -> dict[str, Callable[[int], int]]:
    import tensorflow as tf

    def over(batches: Iterable[Any]) -> int:
        """Takes the batches into TensorFlow as what a model is trained on."""
        count = 0
        for batch in batches:
            pictures = tf.cast(tf.convert_to_tensor(batch.pictures), tf.float32)
            tf.convert_to_tensor(batch.targets)
            count += int(pictures.shape[0])
        return count

    def loader(store: PictureStore | None, augmentation: Augmentation) -> Loader:
        return Loader(examples, classes, CONTRACT, store, augmentation, BATCH, seed=0)

    def with_empty_store(number: int) -> int:
        store = PictureStore(folder / FIRST_PASS, examples, CONTRACT)
        return over(loader(store, Augmentation()).epoch(number))

    def with_one_opencv_thread(number: int) -> int:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            return over(loader(store, Augmentation()).epoch(number))
        finally:
            cv2.setNumThreads(threads)

    store = PictureStore(folder / "kept", examples, CONTRACT)
    processes = ProcessPoolExecutor(
        usable_cpus(),
        multiprocessing.get_context("spawn"),
        _open_store,
        (folder / "kept", examples),
    )

    def with_processes(number: int) -> int:
        return over(_Pictures(p) for p in _from_processes(processes, len(examples), number))

    return {
        "edgekit plain": lambda _: over(evaluation_batches(examples, CONTRACT, BATCH)),
        "edgekit plain, store": lambda n: over(loader(store, NONE).epoch(n)),
        "edgekit augmented, no store": lambda n: over(loader(None, Augmentation()).epoch(n)),
        "edgekit augmented, empty store": with_empty_store,
        "edgekit augmented, store": lambda n: over(loader(store, Augmentation()).epoch(n)),
        "edgekit augmented, one OpenCV thread": with_one_opencv_thread,
        IN_PROCESSES: with_processes,
    }


# --- the same work in processes, which hand their batches over


class _Pictures:
    """A batch without labels."""

    def __init__(self, pictures: np.ndarray) -> None:
        self.pictures = pictures
        self.targets = np.zeros((len(pictures), 1), np.float32)


_store: PictureStore


def _open_store(folder: Path, examples: tuple[Example, ...]) -> None:
    global _store
    _store = PictureStore(folder, examples, CONTRACT)


def _make(number: int, indices: list[int]) -> np.ndarray:
    return np.stack(
        [
            augment(
                _store.picture(i), np.random.default_rng((0, number, i)), Augmentation(), CONTRACT
            )
            for i in indices
        ]
    )


def _from_processes(pool: ProcessPoolExecutor, count: int, number: int) -> Iterator[np.ndarray]:
    order = np.random.default_rng(number).permutation(count).tolist()
    batches = [order[i : i + BATCH] for i in range(0, count, BATCH)]
    yield from pool.map(functools.partial(_make, number), batches)


if __name__ == "__main__":
    main()
