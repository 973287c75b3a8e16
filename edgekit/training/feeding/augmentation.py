"""What is changed about a training picture, so that no two epochs show the same one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from edgekit import images
from edgekit.contract import Contract
from edgekit.errors import UsageError
from edgekit.training.feeding import colour, geometry

Range = tuple[float, float]
Operations = list[tuple[str, float]]


@dataclass(frozen=True)
class Augmentation:
    """How training pictures are varied; the default suits a few hundred photos of things.

    Attributes:
        crop_scale: Range of the share of the picture's area that a random crop shows, (0, 1];
            (1, 1) for no random crop: then the contract's own is shown.
        crop_ratio: Range of the crop's width over height, relative to an undistorted one.
        flip: Whether half of the pictures are mirrored left to right.
        vertical_flip: Whether half of the pictures are turned upside down.
        rotation: Largest angle to either side, in degrees, 0..180.
        brightness: Largest change of the factor, 0..1: 0.2 for a factor of 0.8 to 1.2.
        contrast: The same.
        saturation: The same.
        hue: Largest turn of the colour circle to either side, 0..0.5 (half a turn).
        randaugment: (operations, magnitude 0..10) of RandAugment, or None: Cubuk et al. 2019,
            arXiv:1909.13719.
        erase: Share of the pictures in which a rectangle is erased, 0..1.
        mixup: Alpha of mixup, 0 for none; see `mixing.mix`.
        cutmix: Alpha of CutMix, 0 for none.
    """

    crop_scale: Range = (0.3, 1.0)
    crop_ratio: Range = (3 / 4, 4 / 3)
    flip: bool = True
    vertical_flip: bool = False
    rotation: float = 0.0
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.02
    randaugment: tuple[int, float] | None = None
    erase: float = 0.0
    mixup: float = 0.2
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        _require_range("crop_scale", self.crop_scale, 0, 1)
        _require_range("crop_ratio", self.crop_ratio, 0, 10)
        for name, highest in _HIGHEST.items():
            value = getattr(self, name)
            if not 0 <= value <= highest:  # also refuses NaN
                raise UsageError(f"augmentation: {name} {value!r} is not in 0..{highest:g}")
        if self.randaugment is not None:
            count, magnitude = self.randaugment
            if not (isinstance(count, int) and 1 <= count <= 14 and 0 <= magnitude <= 10):
                raise UsageError(
                    f"augmentation: randaugment {self.randaugment!r} is not a number of operations "
                    "(1..14) and a magnitude (0..10)",
                    "Give the usual 2:9, or off.",
                )

    @property
    def crops(self) -> bool:
        """Whether a random crop is shown, not the contract's own."""
        return self.crop_scale != (1, 1)

    @property
    def changes_pictures(self) -> bool:
        """Whether a picture may come out other than in evaluation, mixing left aside."""
        ratio = self.crop_ratio if self.crops else NONE.crop_ratio
        return dataclasses.replace(self, crop_ratio=ratio, mixup=0.0, cutmix=0.0) != NONE

    @property
    def mixes(self) -> bool:
        """Whether pictures, and their targets, are mixed in pairs."""
        return self.mixup > 0 or self.cutmix > 0

    @classmethod
    def parse(cls, text: str) -> Augmentation:
        """Reads what `str` gives: `default` or `none`, then changes: `none,flip=on,rotation=15`.

        Ranges are written with a colon (`crop_scale=0.5:1`, `randaugment=2:9`), and a start may be
        left out where it is `default`.

        Raises:
            UsageError: A name is not known, or a value is out of its range.
        """
        words = [word.strip() for word in text.split(",") if word.strip()]
        base = cls()
        if words and words[0] in _STARTS:
            base = _STARTS[words.pop(0)]
        changes: dict[str, object] = {}
        for word in words:
            name, equals, value = word.partition("=")
            if name not in _READERS or not equals:
                raise UsageError(
                    f"augmentation {word!r} is not known",
                    f"Start with {' or '.join(_STARTS)}, then NAME=VALUE with commas between: "
                    f"{', '.join(_READERS)}.",
                )
            try:
                changes[name] = _READERS[name](value.strip())
            except (ValueError, KeyError) as error:
                raise UsageError(
                    f"augmentation: {value!r} is no value for {name}",
                    "Write on or off, a number, or two with a colon between: crop_scale=0.5:1, "
                    "randaugment=2:9.",
                ) from error
        return dataclasses.replace(base, **changes)  # type: ignore[arg-type]

    def __str__(self) -> str:
        """The text that `parse` reads back."""
        start, base = ("none", NONE) if not self.changes_pictures else ("default", Augmentation())
        changes = [
            f"{field.name}={_written(getattr(self, field.name))}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != getattr(base, field.name)
        ]
        return ",".join([start, *changes])


def augment(
    picture: images.Picture,
    rng: np.random.Generator,
    augmentation: Augmentation,
    contract: Contract,
) -> images.Picture:
    """Varies one picture and fits it to the model's input.

    Crop, rotation, shear and translation are one resampling; colours follow on the fitted picture.

    Args:
        picture: uint8[H, W, 3], RGB, any size; it is not written to.
        rng: All chance comes from here: equal states give equal bytes.
        augmentation: Its mixing is left to `mixing.mix`, which takes two pictures.
        contract: How the picture is fitted; with `NONE` this is exactly `images.fit`.

    Returns:
        uint8[height, width, 3], RGB.
    """
    motions, colours = _drawn_operations(augmentation, rng)
    height, width = picture.shape[:2]
    if augmentation.crops:
        scale, ratio = augmentation.crop_scale, augmentation.crop_ratio
        box = geometry.random_box(height, width, contract, scale, ratio, rng)
        shown = geometry.show(picture, box, motions, contract)
    elif motions:
        box = geometry.fitted_box(height, width, contract)
        shown = geometry.show(picture, box, motions, contract)
    else:
        shown = images.fit(picture, contract)
    if augmentation.flip and rng.uniform() < 0.5:
        shown = cv2.flip(shown, 1)
    if augmentation.vertical_flip and rng.uniform() < 0.5:
        shown = cv2.flip(shown, 0)
    shown = colour.apply(shown, colours)
    if augmentation.erase and rng.uniform() < augmentation.erase:
        shown = colour.erase(shown, rng)
    return shown


def _drawn_operations(
    augmentation: Augmentation, rng: np.random.Generator
) -> tuple[Operations, Operations]:
    """What happens to one picture: (motions, colour operations)."""
    motions: Operations = []
    colours: Operations = []
    if augmentation.rotation:
        motions.append(("rotate", rng.uniform(-augmentation.rotation, augmentation.rotation)))
    if augmentation.randaugment is not None:
        count, magnitude = augmentation.randaugment
        for choice in rng.integers(len(_RANDAUGMENT), size=count):
            name, amount = _RANDAUGMENT[int(choice)]
            sign = 1.0 if rng.uniform() < 0.5 else -1.0
            if name in geometry.MOTIONS:
                motions.append((name, amount(magnitude / 10, sign)))
            elif name != "identity":
                colours.append((name, amount(magnitude / 10, sign)))
    for name in ("brightness", "contrast", "saturation"):
        if spread := getattr(augmentation, name):
            colours.append((name, rng.uniform(1 - spread, 1 + spread)))
    if augmentation.hue:
        colours.append(("hue", rng.uniform(-augmentation.hue, augmentation.hue)))
    return motions, colours


def _factor(level: float, sign: float) -> float:
    return 1 + sign * 0.9 * level


#: The operations of RandAugment (section 3 of the paper), each with its amount for a level 0..1 and
#: a sign. The ranges are those of AutoAugment, table 6 (Cubuk et al. 2018, arXiv:1805.09501), whose
#: translation of 150 pixels is of 331. Solarize and posterize grow stronger with the level.
_RANDAUGMENT: tuple[tuple[str, Callable[[float, float], float]], ...] = (
    ("identity", lambda level, sign: 0.0),
    ("autocontrast", lambda level, sign: 0.0),
    ("equalize", lambda level, sign: 0.0),
    ("rotate", lambda level, sign: sign * 30 * level),
    ("solarize", lambda level, sign: 256 * (1 - level)),
    ("saturation", _factor),
    ("posterize", lambda level, sign: 8 - round(4 * level)),
    ("contrast", _factor),
    ("brightness", _factor),
    ("sharpness", _factor),
    ("shear_x", lambda level, sign: sign * 0.3 * level),
    ("shear_y", lambda level, sign: sign * 0.3 * level),
    ("translate_x", lambda level, sign: sign * 150 / 331 * level),
    ("translate_y", lambda level, sign: sign * 150 / 331 * level),
)

_HIGHEST = {
    "rotation": 180.0,
    "brightness": 1.0,
    "contrast": 1.0,
    "saturation": 1.0,
    "hue": 0.5,
    "erase": 1.0,
    "mixup": 100.0,
    "cutmix": 100.0,
}


def _read_range(text: str) -> Range:
    low, high = text.split(":")
    return float(low), float(high)


def _read_switch(text: str) -> bool:
    return {"on": True, "off": False}[text]


def _read_randaugment(text: str) -> tuple[int, float] | None:
    if text == "off":
        return None
    count, magnitude = text.split(":")
    return int(count), float(magnitude)


def _written(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ":".join(_written(v) for v in value)
    return str(value)


def _require_range(name: str, value: Range, above: float, highest: float) -> None:
    low, high = value
    if not (math.isfinite(low) and above < low <= high <= highest):
        raise UsageError(
            f"augmentation: {name} {value!r} is not a range within ({above:g}, {highest:g}]",
            f"Give the smaller number first: {name}=0.5:1.",
        )


_READERS: dict[str, Callable[[str], object]] = {
    "crop_scale": _read_range,
    "crop_ratio": _read_range,
    "flip": _read_switch,
    "vertical_flip": _read_switch,
    **dict.fromkeys(("rotation", "brightness", "contrast", "saturation", "hue"), float),
    "randaugment": _read_randaugment,
    **dict.fromkeys(("erase", "mixup", "cutmix"), float),
}

#: The evaluation picture, untouched.
NONE = Augmentation(
    crop_scale=(1.0, 1.0),
    flip=False,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    hue=0.0,
    mixup=0.0,
)

_STARTS = {"default": Augmentation(), "none": NONE}
