"""Photos for tests of the advisor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from conftest import write_picture


def write_photos(root: Path) -> Path:
    """120 noisy pictures of two classes, 90 of one and 30 of the other, 320 x 240."""
    rng = np.random.default_rng(0)
    for name, count in (("cat", 90), ("dog", 30)):
        (root / name).mkdir(parents=True)
        for number in range(count):
            picture = rng.integers(0, 256, (240, 320, 3), np.uint8)
            picture[4:] = picture[:1]
            write_picture(root / name / f"{number}.png", picture)
    return root
