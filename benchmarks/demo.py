"""`make demo`: the main job on a real model and real photos, with the commands a user would type.

Creates EfficientNet-Lite0 with ImageNet weights, converts it to int8, classifies a few photos,
compares size, agreement and latency of float and int8, replays the golden vectors, and puts the
model into the Android app. The photos are those that scikit-image ships; there are few of them, and
`convert` says so.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path("demo")
#: The colour photographs among skimage/data; the rest are drawings, textures and microscopy.
PHOTOS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "rocket.jpg",
)


def main() -> None:
    photos = FOLDER / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        sys.exit('scikit-image is not installed: pip install "edgekit[demo]"')
    for name in PHOTOS:
        shutil.copy(Path(spec.submodule_search_locations[0]) / "data" / name, photos / name)

    model, converted = FOLDER / "lite0.keras", FOLDER / "lite0.tflite"
    edgekit("models", "create", "efficientnet_lite0", "-o", model, "--force")
    edgekit("convert", "--int8", model, "--data", photos, "-o", converted, "--force")
    edgekit("predict", converted, photos, "--top", "1")
    edgekit("evaluate", model, converted, "--data", photos)
    edgekit("verify", converted)
    edgekit("bundle", "android", converted, "-o", FOLDER / "app", "--force")


def edgekit(*arguments: object) -> None:
    words = [str(argument) for argument in arguments]
    print(f"\n$ edgekit {' '.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "edgekit", *words], check=True)


if __name__ == "__main__":
    main()
