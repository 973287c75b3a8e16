"""The passport beside a converted model: made from what, how, with what, and how it came out."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import math
import platform
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.converters.pipeline import Conversion

SCHEMA_VERSION = 1

_PACKAGES = (
    "edgekit",
    "ai-edge-litert",
    "litert-quantizer",
    "tensorflow",
    "keras",
    "numpy",
    "opencv-python",
)


def write(conversion: Conversion, model: bytes, recipe: Any) -> bytes:
    """The passport as a JSON document.

    Args:
        conversion: What was done and how it came out.
        model: The bytes of the converted file.
        recipe: The quantizer's recipe, or None.
    """
    quality = conversion.quality
    document = {
        "schema": SCHEMA_VERSION,
        "source": {
            "file": conversion.source.name,
            "kind": conversion.source_kind,
            "read_with": conversion.framework,
            "sha256": conversion.source_sha256,
        },
        "output": {
            "file": conversion.output.name,
            "bytes": len(model),
            "sha256": hashlib.sha256(model).hexdigest(),
        },
        "options": dataclasses.asdict(conversion.options),
        "contract": conversion.contract.to_dict(),
        "contract_source": conversion.contract_source,
        "calibration": {
            "source": conversion.calibration_source,
            "method": conversion.calibration_method,
            "pixels_sha256": conversion.calibration_sha256,
            "warnings": list(conversion.warnings),
        },
        "rewritten": [dataclasses.asdict(made) for made in conversion.rewritten],
        "recipe": recipe,
        "results": {
            "on": "calibration images",
            "images": quality.images,
            "top1_agreement_with_float": quality.agreement,
            "sqnr_db": _finite(quality.sqnr_db),
            "worst_layers": [
                {"name": layer.name, "sqnr_db": layer.sqnr_db} for layer in conversion.worst_layers
            ],
        }
        if quality is not None
        else None,
        "promise": conversion.climb.to_dict() if conversion.climb is not None else None,
        "parity": dataclasses.asdict(conversion.parity) if conversion.parity is not None else None,
        "seconds": {name: round(seconds, 3) for name, seconds in conversion.seconds.items()},
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": f"{platform.system()} {platform.machine()}",
    }
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A file name can hold bytes that are no UTF-8.
    return text.encode("utf-8", "backslashreplace")


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _finite(value: float) -> float | None:
    """JSON has no infinity: two equal models have no SQNR."""
    return value if math.isfinite(value) else None
