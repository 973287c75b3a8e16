"""Looking at a calibration set before it is used."""

from __future__ import annotations

from collections import Counter

import numpy as np

from edgekit.contract import Contract
from edgekit.datasets.loading import Loaded


def lint(loaded: Loaded, contract: Contract, classes: int) -> list[str]:
    """Looks at a calibration set and says what will hurt, and what to do about it.

    The limits come from measurements on EfficientNet-Lite0, where 32 photos lost half a point of
    top-1 against 200.

    Returns:
        Warnings, one sentence or two each; none where the set looks fit.
    """
    count = len(loaded.samples)
    warnings = []
    if loaded.broken:
        names = ", ".join(f"{path.name} ({reason})" for path, reason in loaded.broken[:3])
        more = f" and {len(loaded.broken) - 3} more" if len(loaded.broken) > 3 else ""
        warnings.append(
            f"{len(loaded.broken)} file(s) can't be read and were left out: {names}{more}."
        )
    if count < 100:
        warnings.append(
            f"Only {count} picture(s) to calibrate on. Ranges need about 100 to 200 photos like "
            "those the device will see; add more with --data."
        )
    repeated = [n for n in Counter(loaded.digests).values() if n > 1]
    if repeated:
        warnings.append(
            f"{sum(repeated) - len(repeated)} picture(s) are exact copies of others: they add "
            "nothing to the ranges. Remove the copies."
        )
    constant = [
        sample.path.name
        for sample, picture in zip(loaded.samples, loaded.pictures, strict=True)
        if int(picture.max()) - int(picture.min()) < 8
    ]
    if constant:
        warnings.append(
            f"{len(constant)} picture(s) show a single colour ({', '.join(constant[:3])}): "
            "remove them, no photo looks like that."
        )
    small = int(np.sum(loaded.sizes.max(axis=1) < max(contract.height, contract.width) / 2))
    if small:
        warnings.append(
            f"{small} picture(s) are less than half the model's input of {contract.height} x "
            f"{contract.width}: enlarged pictures are smoother than what the camera gives. Use "
            "the originals."
        )
    present = {s.index if s.index is not None else s.class_name for s in loaded.samples} - {None}
    if present and count >= classes > len(present):
        warnings.append(
            f"{classes - len(present)} of the model's {classes} classes have no picture here. Add "
            "some of each class."
        )
    return warnings
