"""Decoding of what people really have in their folders, and the bit-exact resize."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import encode, write_picture

from edgekit import images
from edgekit.contract import NORMALIZATIONS, Contract
from edgekit.errors import UnreadableError, UsageError


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


# --- decoding


def exif_jpeg(orientation: int) -> tuple[bytes, np.ndarray]:
    """A JPEG with an EXIF orientation, and how its stored pixels look without it."""
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :16] = (255, 0, 0)
    stored[:8, 16:] = (0, 255, 0)
    stored[8:, :16] = (0, 0, 255)
    plain = encode(".jpg", stored[..., ::-1])
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"MM\x00\x2a" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    payload = b"Exif\x00\x00" + tiff
    segment = b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload
    return plain[:2] + segment + plain[2:], stored


#: What a viewer does to the stored pixels (EXIF 2.32, table 6).
ORIENTATIONS = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    data, stored = exif_jpeg(orientation)
    path = tmp_path / "turned.jpg"
    path.write_bytes(data)
    picture, expected = images.decode(path), ORIENTATIONS[orientation](stored)
    assert picture.shape == expected.shape
    assert np.abs(picture.astype(int) - expected).mean() < 12  # JPEG's own loss


def test_colours_come_as_rgb(tmp_path: Path) -> None:
    picture = noise(9, 7)
    write_picture(tmp_path / "a.png", picture)
    assert np.array_equal(images.decode(tmp_path / "a.png"), picture)


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_grey_is_repeated(tmp_path: Path, suffix: str) -> None:
    grey = noise(9, 7, 1)[..., 0]
    write_picture(tmp_path / f"a{suffix}", grey)
    assert np.array_equal(images.decode(tmp_path / f"a{suffix}"), np.stack([grey] * 3, -1))


def test_alpha_is_dropped(tmp_path: Path) -> None:
    picture = noise(9, 7, 4)
    write_picture(tmp_path / "a.png", picture)
    assert np.array_equal(images.decode(tmp_path / "a.png"), picture[..., :3])


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    picture = noise(9, 7)
    wide = picture[..., ::-1].astype(np.uint16) * 257
    (tmp_path / "a.png").write_bytes(encode(".png", wide))
    assert np.array_equal(images.decode(tmp_path / "a.png"), picture)


def test_webp_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.webp").write_bytes(encode(".webp", np.full((8, 8, 3), (10, 20, 200), np.uint8)))
    assert np.abs(images.decode(tmp_path / "a.webp").mean((0, 1)) - (200, 20, 10)).max() < 6


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_cut_off_picture_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    data = encode(suffix, noise(64, 64))
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UnreadableError, match=str(path)):
        images.decode(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_the_end_marker_is_what_counts(suffix: str) -> None:
    data = encode(suffix, noise(64, 64))
    assert not images.is_truncated(data)
    assert images.is_truncated(data[:-14])
    # A phone's motion photo carries a film behind the picture, and its bytes hold markers too.
    assert not images.is_truncated(data + b"\x00\x00ftyp\xff\xda\x12\x34" * 9)


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_picture() -> None:
    data, thumbnail = encode(".jpg", noise(64, 64)), encode(".jpg", noise(8, 8))
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = data[:2] + segment + data[2:]
    assert not images.is_truncated(whole)
    assert images.is_truncated(whole[:-100])
    assert images.is_truncated(whole[: len(segment) + 40])


def test_a_cut_progressive_jpeg_is_seen() -> None:
    ok, data = cv2.imencode(".jpg", noise(64, 64), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert ok and not images.is_truncated(data.tobytes())
    assert images.is_truncated(data.tobytes()[: len(data) // 2])


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"this is no picture at all\n" * 9, "not a picture")],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match=reason) as caught:
        images.decode(path)
    assert str(path) in caught.value.message


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(UnreadableError, match=str(path)):
            images.decode(path)


def test_every_shared_photo_is_whole(shared_data: Path) -> None:
    photos = sorted(shared_data.rglob("*.jpg"))
    assert photos
    assert [p for p in photos if images.is_truncated(p.read_bytes())] == []


# --- the exact resize, against integers only


def reference_exact(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """The resize that contracts call `exact`, from its definition and nothing else."""
    boxed = reference_box(picture, picture.shape[0] // height, picture.shape[1] // width)
    if boxed.shape[:2] == (height, width):
        return boxed
    rows, columns = taps(boxed.shape[0], height), taps(boxed.shape[1], width)
    source = boxed.astype(np.int64)
    # Horizontally: 8 integer and 8 fractional bits, nothing rounded.
    lines = np.stack([source[:, a] * (256 - w) + source[:, b] * w for a, b, w in columns], axis=1)
    # Vertically: 16 fractional bits, rounded once, half up.
    sums = np.stack([lines[a] * (256 - w) + lines[b] * w for a, b, w in rows], axis=0)
    return ((sums + (1 << 15)) >> 16).astype(np.uint8)


def taps(source: int, target: int) -> list[tuple[int, int, int]]:
    """(first pixel, second pixel, weight of the second in 256ths) for each target pixel.

    As interpolationLinear of OpenCV's resize.cpp: pixel centres meet, the border is repeated.
    """
    found = []
    for x in range(target):
        place = Fraction(source, target) * (x + Fraction(1, 2)) - Fraction(1, 2)
        left = place.__floor__()
        if left < 0:
            found.append((0, 0, 0))
        elif left >= source - 1:
            found.append((source - 1, source - 1, 0))
        else:
            found.append((left, left + 1, round((place - left) * 256)))  # half to even
    return found


def reference_box(picture: np.ndarray, factor_y: int, factor_x: int) -> np.ndarray:
    factor_y, factor_x = max(1, factor_y), max(1, factor_x)
    height, width = picture.shape[0] // factor_y, picture.shape[1] // factor_x
    top = (picture.shape[0] - height * factor_y) // 2
    left = (picture.shape[1] - width * factor_x) // 2
    result = np.empty((height, width, 3), np.uint8)
    area = factor_y * factor_x
    for y in range(height):
        for x in range(width):
            y0, x0 = top + y * factor_y, left + x * factor_x
            box = picture[y0 : y0 + factor_y, x0 : x0 + factor_x].astype(int)
            result[y, x] = (box.sum(axis=(0, 1)) + area // 2) // area
    return result


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((37, 53), (16, 16)),  # box by 2 x 3, then linear
        ((64, 64), (32, 32)),  # box alone
        ((40, 30), (32, 32)),  # down in one direction, up in the other
        ((20, 20), (32, 32)),  # enlarged
        ((32, 32), (32, 32)),  # as it is
        ((31, 33), (32, 32)),
        ((63, 65), (32, 32)),  # just below and just above the factor 2
        ((7, 90), (12, 20)),
        ((1, 1), (5, 5)),
        ((1, 300), (8, 8)),
        ((300, 2), (8, 8)),
    ],
)
def test_exact_is_what_the_contract_defines(
    source: tuple[int, int], target: tuple[int, int]
) -> None:
    picture = noise(*source, seed=sum(source))
    got = images.resize(picture, *target, "exact")
    assert np.array_equal(got, reference_exact(picture, *target))


def test_exact_on_a_real_photo(shared_data: Path) -> None:
    picture = images.decode(shared_data / "imagenet_sample" / "007_cock.jpg")
    got = images.resize(picture, 64, 64, "exact")
    assert np.array_equal(got, reference_exact(picture, 64, 64))


def test_large_boxes_do_not_overflow() -> None:
    white = np.full((700, 700, 3), 255, np.uint8)
    assert images.box_reduce(white, 350, 350).tolist() == [[[255] * 3] * 2] * 2


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "area", "nearest"])
def test_the_others_are_opencvs(interpolation: str) -> None:
    picture = noise(40, 50)
    flag = getattr(cv2, f"INTER_{interpolation.upper()}")
    expected = cv2.resize(picture, (20, 30), interpolation=flag)
    assert np.array_equal(images.resize(picture, 30, 20, interpolation), expected)


# --- fitting


def test_crop_keeps_the_centre() -> None:
    picture = np.zeros((40, 100, 3), np.uint8)
    picture[:, 30:70] = 200
    assert images.fit(picture, Contract(20, 20, fit="crop")).min() == 200


def test_crop_keeps_its_share() -> None:
    picture = noise(80, 80)
    got = images.fit(picture, Contract(40, 40, fit="crop", crop_fraction=0.5))
    assert np.array_equal(got, picture[20:60, 20:60])


def test_pad_keeps_the_aspect_ratio_on_black() -> None:
    got = images.fit(np.full((20, 40, 3), 90, np.uint8), Contract(40, 40, fit="pad"))
    assert (got[10:30] == 90).all()
    assert (got[:10] == 0).all() and (got[30:] == 0).all()


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(1, 4000), (4000, 1), (3, 1000), (1, 1)])
def test_extreme_shapes_fit(fit: str, size: tuple[int, int]) -> None:
    got = images.fit(np.full((*size, 3), 77, np.uint8), Contract(32, 48, fit=fit))
    assert got.shape == (32, 48, 3)
    assert got.max() == 77


# --- the model's input


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_float_input_is_the_formula(name: str) -> None:
    contract = Contract(8, 8).with_normalization(NORMALIZATIONS[name])
    picture = noise(8, 8)
    channels = picture[..., ::-1] if contract.colour_order == "BGR" else picture
    expected = (channels - np.asarray(contract.mean)) / np.asarray(contract.std)
    got = images.to_input(picture, contract, np.float32)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-5)  # a mean in float32


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_integer_input_means_the_float_input(name: str) -> None:
    contract = Contract(8, 8).with_normalization(NORMALIZATIONS[name])
    picture = noise(8, 8)
    scale, zero_point = contract.int8_quantization()
    got = images.to_input(picture, contract, np.int8)
    real = (got.astype(float) - zero_point) * scale
    wanted = images.to_input(picture, contract, np.float32)
    assert got.dtype == np.int8
    assert np.abs(real - wanted).max() <= 0.501 * scale
    unsigned = images.to_input(picture, contract, np.uint8)
    assert np.array_equal(unsigned.astype(int), got.astype(int) + 128)


def test_other_input_types_are_refused() -> None:
    with pytest.raises(UsageError, match="int16"):
        images.to_input(noise(4, 4), Contract(4, 4), np.int16)


def test_the_models_own_quantization_counts() -> None:
    contract = Contract(8, 8).with_normalization(NORMALIZATIONS["torch"])
    picture = noise(8, 8)
    wanted = images.to_input(picture, contract, np.float32)
    for dtype, zero_point in ((np.int8, 3), (np.uint8, 131)):
        scale = 0.03  # wider than the pinned one, as another tool may have calibrated it
        got = images.to_input(picture, contract, dtype, (scale, zero_point)).astype(float)
        assert np.abs((got - zero_point) * scale - wanted).max() <= 0.501 * scale


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_the_pinned_quantization_as_the_file_stores_it_changes_nothing(name: str) -> None:
    contract = Contract(8, 8).with_normalization(NORMALIZATIONS[name])
    scale, zero_point = contract.int8_quantization()
    picture = noise(8, 8)
    for dtype, shift in ((np.int8, 0), (np.uint8, 128)):
        stored = (float(np.float32(scale)), zero_point + shift)
        assert np.array_equal(
            images.to_input(picture, contract, dtype, stored),
            images.to_input(picture, contract, dtype),
        )
