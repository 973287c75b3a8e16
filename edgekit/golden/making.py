"""Makes the golden vectors of a model: prepares each picture, runs it, and keeps the bytes."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence

import cv2
import numpy as np

from edgekit import images
from edgekit.contract import Contract
from edgekit.golden import pictures
from edgekit.golden.stages import STEPS
from edgekit.golden.vectors import Golden, Vector, of_model
from edgekit.images import Picture
from edgekit.runtime import Interpreter, runtime_name


def make(model: bytes, name: str, contract: Contract, photos: Sequence[Picture]) -> Golden:
    """Makes golden vectors of a card and of photos.

    Args:
        model: The bytes of a .tflite file.
        name: The file's name.
        contract: How its pictures are prepared.
        photos: uint8[H, W, 3], RGB, each of any size.

    Raises:
        RuntimeFailure: The runtime refuses the model.
    """
    interpreter = Interpreter(model)
    kept = {"card": pictures.card(contract)}
    for number, photo in enumerate(photos, 1):
        kept[f"photo-{number}"] = pictures.small(photo, contract)
    vectors = tuple(
        _vector(key, picture, contract, interpreter, judged=key != "card")
        for key, picture in kept.items()
    )
    return of_model(
        model,
        name=name,
        runtime=runtime_name(),
        machine=platform.machine(),
        contract=contract,
        ends=(interpreter.input, interpreter.output),
        vectors=vectors,
    )


def _vector(
    name: str, picture: Picture, contract: Contract, interpreter: Interpreter, *, judged: bool
) -> Vector:
    fitted = images.fit(picture, contract)
    value = images.to_input(
        fitted, contract, interpreter.input.dtype, interpreter.input.quantization
    )
    output = interpreter.invoke(value)
    scores = output[None].astype(np.float32)
    step = 1.0 if interpreter.output.scale is not None else float(np.ptp(scores)) / 255
    clear = bool(pictures.margins(scores)[0] > 2 * STEPS * step)
    return Vector(
        name,
        _png(picture),
        hashlib.sha256(picture.tobytes()).hexdigest(),
        hashlib.sha256(fitted.tobytes()).hexdigest(),
        np.ascontiguousarray(value).tobytes(),
        output.tobytes(),
        int(output.argmax()) if judged and clear else None,
    )


def _png(picture: Picture) -> bytes:
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done
    return data.tobytes()
