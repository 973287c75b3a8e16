"""The golden vectors of a converted file: made of the photos that it was checked on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgekit import images
from edgekit.converters import procedural
from edgekit.converters.reading import Read
from edgekit.errors import UsageError
from edgekit.golden import making, pictures
from edgekit.golden.vectors import Golden

#: Where golden vectors go.
PLACES = ("beside", "inside", "none")


def require_place(place: str) -> None:
    """Checks where they are to go.

    Raises:
        UsageError: It is none of PLACES.
    """
    if place not in PLACES:
        raise UsageError(f"golden vectors: {place!r} is none of {', '.join(PLACES)}")


def make(read: Read, final: bytes, scores: npt.NDArray[np.float32] | None, name: str) -> Golden:
    """Makes them.

    Args:
        read: Where the photos and the contract come from.
        final: The bytes of the converted file.
        scores: float32[N, classes], what it gave for the calibration images, or None.
        name: The file's name.

    Raises:
        UnreadableError: A photo vanished meanwhile.
    """
    contract, calibration = read.found.contract, read.calibration
    if calibration is not None and calibration.paths and scores is not None:
        chosen = [calibration.paths[i] for i in pictures.choose(scores)]
        photos = [images.decode(path) for path in chosen]
    else:
        size = (contract.height * 9 // 8 | 1, contract.width * 5 // 4 | 1)
        photos = list(procedural.images(*size, seed=0, count=pictures.PHOTOS))
    return making.make(final, name, contract, photos)
