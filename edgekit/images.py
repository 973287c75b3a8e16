"""Pictures in, model inputs out: decode with OpenCV, then apply the preprocessing contract.

The steps, each bit-exact once the picture is decoded, so that another implementation can be held
against it byte for byte:

1. `decode`: the file to uint8[H, W, 3] RGB, EXIF orientation applied, grey repeated, alpha dropped.
2. `fit`: crop or pad, then `resize`, to uint8[height, width, 3] RGB.
3. `Contract.int8_table` / `float_table`: one table look-up per pixel.
"""

from __future__ import annotations

import functools
import math
import os
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgekit.contract import Contract
from edgekit.errors import UnreadableError, UsageError

# OpenCV reports broken files on stderr by itself; edgekit names them in its own words.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
import cv2

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})

#: A picture: uint8[H, W, 3], RGB.
Picture = npt.NDArray[np.uint8]

#: The largest file that is taken for a picture, in bytes.
MAX_FILE_BYTES = 256 * 2**20


def decode(path: Path) -> Picture:
    """Reads a JPEG, PNG, BMP or WebP file.

    EXIF orientation is applied, grey is repeated over the channels, alpha is dropped (as Keras and
    Pillow's `convert("RGB")` do), 16 bits become 8.

    Returns:
        uint8[H, W, 3], RGB.

    Raises:
        UnreadableError: The file is missing, empty, truncated or no picture.
    """
    return decode_bytes(read_file(path), str(path))


def read_file(path: Path) -> bytes:
    """The bytes of a picture's file.

    Raises:
        UnreadableError: The file is missing, unreadable or larger than `MAX_FILE_BYTES`.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UnreadableError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB, not read")
        return path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}") from error


def decode_bytes(data: bytes, where: str) -> Picture:
    """Reads a picture from its encoded bytes; see `decode`."""
    if not data:
        raise UnreadableError(f"{where}: the file is empty")
    if is_truncated(data):
        raise UnreadableError(f"{where}: the picture is cut off (its end marker is missing)")
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise UnreadableError(f"{where}: OpenCV can't decode it ({error.err})") from error
    if picture is None:
        raise UnreadableError(f"{where}: not a picture that OpenCV can decode")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def is_truncated(data: bytes) -> bool:
    """Whether a JPEG or PNG ends before its end marker.

    OpenCV may fill the missing rows of such a file with grey and say nothing. The markers are
    followed one by one, since what comes before (thumbnails) and after the picture (the film of a
    phone's motion photo) can hold the same bytes.
    """
    if data.startswith(b"\xff\xd8"):
        return not _jpeg_ends(data)
    if data.startswith(b"\x89PNG"):
        return not _png_ends(data)
    return False


def _jpeg_ends(data: bytes) -> bool:
    """Whether the end of image (EOI) is reached: ITU-T T.81, annex B."""
    position = 2
    while marker := _JPEG_MARKER.search(data, position):
        if marker[0][-1] == 0xD9:
            return True
        # Every other marker found here starts a segment that gives its own length.
        length = int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        position = marker.end() + max(length, 2)
    return False


def _png_ends(data: bytes) -> bool:
    """Whether the IEND chunk is reached: PNG specification, section 5.3."""
    position = 8
    while position + 12 <= len(data):
        if data[position + 4 : position + 8] == b"IEND":
            return True
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    return False


def fit(picture: Picture, contract: Contract) -> Picture:
    """Fits a picture to the model's input by the contract's resize rule.

    Args:
        picture: uint8[H, W, 3], RGB, any size.
        contract: Its `fit`, `crop_fraction`, `interpolation`, `height` and `width` are used.

    Returns:
        uint8[height, width, 3], RGB.
    """
    height, width = contract.height, contract.width
    if contract.fit == "crop":
        picture = _centre_crop(picture, height, width, contract.crop_fraction)
    if contract.fit == "pad":
        return _pad(picture, height, width, contract.interpolation)
    return resize(picture, height, width, contract.interpolation)


def resize(picture: Picture, height: int, width: int, interpolation: str) -> Picture:
    """Resamples a picture.

    `exact`, the default of contracts, is defined in integers only: where the picture is at least
    twice the size in a direction, a box average by the integer factor `floor(size / target)`
    (centred; sum of the box plus half its area, floor-divided by its area), then OpenCV's
    INTER_LINEAR_EXACT, which is specified to be bit-exact (8 fractional bits per weight, rounded
    once). `linear`, `cubic`, `area` and `nearest` are OpenCV's own and may differ by a grey level
    between builds and processors.

    Args:
        picture: uint8[H, W, 3].
        height: Target height in pixels.
        width: Target width in pixels.
        interpolation: One of `edgekit.contract.INTERPOLATIONS`.

    Returns:
        uint8[height, width, 3].
    """
    if interpolation == "exact":
        picture = box_reduce(picture, picture.shape[0] // height, picture.shape[1] // width)
    if picture.shape[:2] == (height, width):
        return np.ascontiguousarray(picture)
    return cv2.resize(picture, (width, height), interpolation=_OPENCV_INTERPOLATION[interpolation])


def box_reduce(picture: Picture, factor_y: int, factor_x: int) -> Picture:
    """Averages boxes of factor_y x factor_x pixels, in integers, rounding half up.

    The rows and columns that fill no box are cut off evenly at both sides.
    """
    factor_y, factor_x = max(factor_y, 1), max(factor_x, 1)
    if factor_y == factor_x == 1:
        return picture
    height, width = picture.shape[0] // factor_y, picture.shape[1] // factor_x
    top = (picture.shape[0] - height * factor_y) // 2
    left = (picture.shape[1] - width * factor_x) // 2
    picture = picture[top : top + height * factor_y, left : left + width * factor_x]
    # Adding strided slices beats a reduction over a reshaped array five times. A column of up to
    # 257 pixels fits in 16 bits.
    columns = np.zeros((height, width * factor_x, 3), np.uint16 if factor_y <= 257 else np.uint32)
    for y in range(factor_y):
        columns += picture[y::factor_y]
    boxes = np.zeros((height, width, 3), np.uint32)
    for x in range(factor_x):
        boxes += columns[:, x::factor_x]
    area = factor_y * factor_x
    return ((boxes + area // 2) // area).astype(np.uint8)


def load(path: Path, contract: Contract) -> Picture:
    """Decodes a file and fits it: uint8[height, width, 3], RGB."""
    return fit(decode(path), contract)


def to_input(
    pictures: Picture,
    contract: Contract,
    dtype: npt.DTypeLike,
    quantization: tuple[float, int] | None = None,
) -> npt.NDArray[np.generic]:
    """Turns fitted pictures into what the model takes.

    Args:
        pictures: uint8[..., height, width, 3], RGB.
        contract: Gives normalization and colour order.
        dtype: float32 (normalized), int8 (the pinned quantization) or uint8 (int8 + 128).
        quantization: The (scale, zero point) of the model's input. Where another tool quantized
            the model they may not be the pinned ones, and then they are what counts.

    Returns:
        dtype[..., height, width, 3].

    Raises:
        UsageError: The dtype is none of these.
    """
    if contract.colour_order == "BGR":
        pictures = pictures[..., ::-1]
    table = _table(contract, np.dtype(dtype).name, quantization)
    if np.array_equal(table[:, 0], table[:, 1]) and np.array_equal(table[:, 0], table[:, 2]):
        return np.take(table[:, 0], pictures)
    return np.stack([np.take(table[:, c], pictures[..., c]) for c in range(3)], axis=-1)


@functools.lru_cache(maxsize=16)
def _table(
    contract: Contract, dtype: str, quantization: tuple[float, int] | None
) -> npt.NDArray[np.generic]:
    """The input for every pixel value: dtype[256, 3], in the model's channel order."""
    if dtype == "float32":
        return contract.float_table()
    if dtype not in ("int8", "uint8"):
        raise UsageError(f"a model input of type {dtype} is not supported: float32, int8 or uint8")
    lowest = -128 if dtype == "int8" else 0
    pinned_scale, pinned_zero_point = contract.int8_quantization()
    scale, zero_point = quantization or (pinned_scale, pinned_zero_point + lowest + 128)
    if zero_point == pinned_zero_point + lowest + 128 and math.isclose(
        scale, pinned_scale, rel_tol=1e-6
    ):
        return (contract.int8_table().astype(np.int16) + lowest + 128).astype(dtype)
    steps = np.rint(contract.float_table().astype(np.float64) / scale) + zero_point
    return np.clip(steps, lowest, lowest + 255).astype(dtype)


def _centre_crop(picture: Picture, height: int, width: int, fraction: float) -> Picture:
    """The largest centred crop with the aspect ratio height:width, times fraction."""
    full_height, full_width = picture.shape[:2]
    if full_width * height >= full_height * width:
        crop_height, crop_width = full_height, full_height * width // height
    else:
        crop_height, crop_width = full_width * height // width, full_width
    crop_height = max(1, int(crop_height * fraction + 0.5))
    crop_width = max(1, int(crop_width * fraction + 0.5))
    top, left = (full_height - crop_height) // 2, (full_width - crop_width) // 2
    return picture[top : top + crop_height, left : left + crop_width]


def _pad(picture: Picture, height: int, width: int, interpolation: str) -> Picture:
    """Resizes to fit inside height x width, keeping the aspect ratio, on black."""
    full_height, full_width = picture.shape[:2]
    if full_width * height >= full_height * width:
        inner_height, inner_width = max(1, full_height * width // full_width), width
    else:
        inner_height, inner_width = height, max(1, full_width * height // full_height)
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    canvas[top : top + inner_height, left : left + inner_width] = resize(
        picture, inner_height, inner_width, interpolation
    )
    return canvas


_OPENCV_INTERPOLATION = {
    "exact": cv2.INTER_LINEAR_EXACT,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "nearest": cv2.INTER_NEAREST,
}

#: A marker that isn't a stuffed zero, a restart marker, a fill byte, or one without a segment.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
