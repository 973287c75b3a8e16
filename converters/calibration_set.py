"""Where calibration images come from: the user's photos, photos kept beside the model, or none."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgekit import datasets, images
from edgekit.contract import Contract
from edgekit.converters import procedural
from edgekit.converters.options import Options
from edgekit.datasets import Dataset
from edgekit.errors import UnreadableError, UsageError
from edgekit.training import keras_file

#: More pixels than this are not held; 200 photos of 1024 x 1024 take 0.6 GiB.
_MOST_BYTES = 4 << 30


@dataclass(frozen=True)
class CalibrationSet:
    """Images to calibrate on.

    Attributes:
        pictures: uint8[N, height, width, 3], RGB, fitted to the contract.
        source: Where they come from, in words.
        kind: `photos` or `procedural`.
        warnings: What the linter found.
        digest: SHA-256 over the fitted pixels, in hexadecimal.
        paths: The photos' files, one for each picture; none where they are procedural.
    """

    pictures: images.Picture
    source: str
    kind: str
    warnings: tuple[str, ...]
    digest: str
    paths: tuple[Path, ...] = ()


def find(data: Path | None, labels_csv: Path | None, model: Path) -> Dataset | None:
    """Finds the photos to calibrate on, or None where there are none.

    Raises:
        UnreadableError: `data` was given and holds no picture.
        UsageError: Labels were given without photos.
    """
    if labels_csv is not None and data is None:
        raise UsageError("--labels-csv goes with --data", "Give the photos that it labels.")
    if data is not None:
        return datasets.find(data, labels_csv)
    kept = keras_file.calibration_beside(model)
    return datasets.find(kept) if kept.is_dir() else None


def load(
    dataset: Dataset | None,
    contract: Contract,
    classes: int,
    options: Options,
    progress: Callable[[int, int], None] | None = None,
    *,
    fitted: bool = False,
) -> CalibrationSet:
    """Chooses, decodes and lints the images.

    Args:
        dataset: The photos, or None for procedural images.
        contract: How to fit them.
        classes: The model's number of outputs.
        options: `samples` and `seed` are used.
        progress: Called with (done, total).
        fitted: Whether the photos were cropped when they were kept, and are not cropped again.

    Raises:
        UnreadableError: Not one of the chosen photos can be read.
        UsageError: So many of that size are not held in memory.
    """
    if dataset is None:
        count = min(procedural.COUNT, options.samples)
        _check_memory(count, contract)
        pictures = procedural.images(contract.height, contract.width, options.seed, count)
        warning = (
            f"No --data was given: calibrated on {len(pictures)} procedural images, and checked "
            "only on those. On EfficientNet-Lite0 to 2 up to 2.3 % of photos then got another "
            "answer; on your model it can be more. Give about 200 photos like those the device "
            "will see: --data PHOTOS"
        )
        source = f"{len(pictures)} procedural images (seed {options.seed})"
        return CalibrationSet(pictures, source, "procedural", (warning,), _digest(pictures))
    chosen = datasets.select(dataset.samples, options.samples)
    _check_memory(len(chosen), contract)
    fit = "stretch" if fitted else contract.fit
    loaded = datasets.load(chosen, dataclasses.replace(contract, fit=fit), progress)
    if not loaded.samples:
        path, reason = loaded.broken[0]
        raise UnreadableError(
            f"{dataset.root}: none of its {len(chosen)} chosen pictures can be read "
            f"({path.name}: {reason})",
            "Give a folder of sound photos with --data.",
        )
    source = f"{len(loaded.samples)} of {len(dataset.samples)} photos in {dataset.root}"
    if dataset.labelled_by:
        source += f", chosen evenly by {dataset.labelled_by}"
    warnings = tuple(datasets.lint(loaded, contract, classes))
    paths = tuple(sample.path for sample in loaded.samples)
    return CalibrationSet(
        loaded.pictures, source, "photos", warnings, _digest(loaded.pictures), paths
    )


def _check_memory(count: int, contract: Contract) -> None:
    each = contract.height * contract.width * 3
    if count * each > _MOST_BYTES:
        raise UsageError(
            f"{count} calibration images of {contract.height} x {contract.width} take "
            f"{count * each / 2**30:.0f} GiB, and edgekit holds at most {_MOST_BYTES >> 30}",
            f"Use fewer: --samples {_MOST_BYTES // each}",
        )


def _digest(pictures: images.Picture) -> str:
    return hashlib.sha256(pictures.tobytes()).hexdigest()
