"""What it brings to keep freed memory for the next training step.

    python benchmarks/heap.py --rounds 3

Times the same steps (EfficientNet-Lite0, 224 pixels, batch 32, all weights trained by AdamW) in
processes that take turns, with the heap as the C library has it and as `edgekit train` sets it.
Writes benchmarks/results/heap.json.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from edgekit.cpus import describe_machine
from edgekit.training import heap

RESULTS = Path(__file__).resolve().parent / "results" / "heap.json"
MODEL, BATCH, WARM_UP, STEPS = "efficientnet_lite0", 32, 3, 8
HEAPS = ("default", "kept")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=HEAPS, help="measure one, in this process")
    asked = parser.parse_args()
    if asked.only:
        print(json.dumps(measure(asked.only)))
        return
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in HEAPS}
    for number in range(asked.rounds):
        for name in HEAPS if number % 2 else reversed(HEAPS):
            run = subprocess.run(
                [sys.executable, __file__, "--only", name],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                check=True,
            )
            rounds[name].append(json.loads(run.stdout.splitlines()[-1]))
            print(name, rounds[name][-1], flush=True)
    medians = {
        name: {key: statistics.median(r[key] for r in found) for key in found[0]}
        for name, found in rounds.items()
    }
    document = {
        "what": f"a training step of {MODEL}, 224 pixels, batch {BATCH}, all weights, AdamW",
        "machine": describe_machine(),
        "versions": {name: importlib.metadata.version(name) for name in ("tensorflow", "keras")},
        "command": f"python benchmarks/heap.py --rounds {asked.rounds}",
        "times_faster": round(medians["default"]["step_s"] / medians["kept"]["step_s"], 2),
        "medians": medians,
        "rounds": rounds,
    }
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=2))


def measure(name: str) -> dict[str, float]:
    """Seconds and page faults of a step, and the most memory that was taken."""
    if name == "kept":
        heap.keep_freed_memory()
    import keras
    import numpy as np
    import tensorflow as tf

    from edgekit.training.zoo import entry
    from edgekit.training.zoo.assembly import assemble

    model = assemble(entry(MODEL), None, classes=1000, size=224).model
    optimizer = keras.optimizers.AdamW(1e-5)

    @tf.function
    def step(pictures: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = model(pictures, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        gradients = tape.gradient(losses, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return tf.reduce_mean(losses)

    rng = np.random.default_rng(0)
    pictures = tf.constant(rng.normal(0, 1, (BATCH, 224, 224, 3)).astype(np.float32))
    labels = tf.constant(np.arange(BATCH))
    for _ in range(WARM_UP):
        float(step(pictures, labels))
    faults, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, []
    for _ in range(STEPS):
        began = time.perf_counter()
        float(step(pictures, labels))
        seconds.append(time.perf_counter() - began)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "step_s": round(statistics.median(seconds), 3),
        "page_faults": round((used.ru_minflt - faults) / STEPS),
        "most_memory_mib": round(used.ru_maxrss / 1024),
    }


if __name__ == "__main__":
    main()
