"""The preprocessing contract: how a picture becomes the numbers a model takes.

One frozen value says it all, and training, calibration, evaluation and every device apply the same
one. It travels inside the model file as `edgekit.json` (see `edgekit.tflite.metadata`).

The arithmetic is fixed so that any implementation can agree in every byte:

* float input: `(pixel - mean) / std`, per channel, in float32;
* int8 input: a pixel is one of 256 values, so the int8 input is a look-up table of 256 x 3 entries
  (`Contract.int8_table`). Where all channels share one mean and std (as in `raw`, `tf` and
  `efficientnet_lite`) that table is `pixel - 128`: the device does no arithmetic at all. With an
  integer mean this is exact; with a mean of 127.5 it stands within half a grey level.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import UnreadableError, UsageError

SCHEMA_VERSION = 1

FITS = ("stretch", "crop", "pad")
INTERPOLATIONS = ("exact", "linear", "cubic", "area", "nearest")
COLOUR_ORDERS = ("RGB", "BGR")
OUTPUTS = ("logits", "probabilities")

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Normalization:
    """How pixels 0..255 become the model's float input: `(pixel - mean) / std` per channel.

    Attributes:
        mean: Per channel, in the model's colour order, in grey levels.
        std: Per channel, in grey levels.
        colour_order: `RGB` or `BGR`, the order in which the model takes the channels.
    """

    mean: Channels
    std: Channels
    colour_order: str = "RGB"


#: Named normalizations. `tf`, `torch` and `caffe` are the modes of
#: keras.applications.imagenet_utils.preprocess_input; `efficientnet_lite` is MEAN_RGB and
#: STDDEV_RGB of the reference implementation (tensorflow/tpu, models/official/efficientnet/lite).
NORMALIZATIONS: dict[str, Normalization] = {
    "raw": Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "unit": Normalization((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "tf": Normalization((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "torch": Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "caffe": Normalization((103.939, 116.779, 123.68), (1.0, 1.0, 1.0), "BGR"),
    "efficientnet_lite": Normalization((127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
}


@dataclass(frozen=True)
class Contract:
    """The preprocessing contract of one model.

    Attributes:
        height: Input height in pixels.
        width: Input width in pixels.
        mean: Per-channel mean in grey levels, in `colour_order`.
        std: Per-channel divisor in grey levels, in `colour_order`.
        colour_order: `RGB` or `BGR`.
        fit: How a picture is fitted to the input: `stretch` it to the size; `crop` the centre with
            the input's aspect ratio, then resize; `pad` with black after resizing.
        crop_fraction: With `crop`, the share of the largest centred crop that is kept (0..1]; 0.875
            is the usual evaluation crop of ImageNet (224 of 256).
        interpolation: How pixels are resampled; see `edgekit.images.resize`.
        labels: One name per class, in the order of the outputs, or None where unknown.
        output: `logits` or `probabilities` (after a softmax or sigmoid).
    """

    height: int
    width: int
    mean: Channels = (0.0, 0.0, 0.0)
    std: Channels = (1.0, 1.0, 1.0)
    colour_order: str = "RGB"
    fit: str = "stretch"
    crop_fraction: float = 1.0
    interpolation: str = "exact"
    labels: tuple[str, ...] | None = None
    output: str = "logits"

    def __post_init__(self) -> None:
        _require(1 <= self.height <= 8192, f"height {self.height} is not in 1..8192")
        _require(1 <= self.width <= 8192, f"width {self.width} is not in 1..8192")
        for name, values in (("mean", self.mean), ("std", self.std)):
            _require(
                len(values) == 3 and all(math.isfinite(v) for v in values),
                f"{name} {values!r} is not three finite numbers",
            )
        _require(all(v > 0 for v in self.std), f"std {self.std!r} has a value that is not positive")
        _require(self.colour_order in COLOUR_ORDERS, _choice("colour order", self.colour_order))
        _require(self.fit in FITS, _choice("fit", self.fit))
        _require(self.interpolation in INTERPOLATIONS, _choice("interpolation", self.interpolation))
        _require(self.output in OUTPUTS, _choice("output", self.output))
        _require(
            0 < self.crop_fraction <= 1, f"crop fraction {self.crop_fraction} is not in (0, 1]"
        )

    @property
    def resize_rule(self) -> str:
        """The resize rule as `--resize` takes it, such as `crop:0.875`."""
        if self.fit == "crop" and self.crop_fraction < 1:
            return f"crop:{self.crop_fraction:g}"
        return self.fit

    @property
    def normalization_name(self) -> str:
        """The name of this normalization, or `mean ... std ...` where it has none."""
        mine = Normalization(self.mean, self.std, self.colour_order)
        for name, known in NORMALIZATIONS.items():
            if known == mine:
                return name
        return f"mean {_numbers(self.mean)} std {_numbers(self.std)} {self.colour_order}"

    def with_normalization(self, normalization: Normalization) -> Contract:
        """A copy with another normalization."""
        return dataclasses.replace(
            self,
            mean=normalization.mean,
            std=normalization.std,
            colour_order=normalization.colour_order,
        )

    def float_table(self) -> npt.NDArray[np.float32]:
        """The float input for every pixel value: float32[256, 3], in the model's channel order."""
        pixels = np.arange(256, dtype=np.float32)[:, None]
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return np.asarray((pixels - mean) / std, np.float32)

    def int8_quantization(self) -> tuple[float, int]:
        """The pinned scale and zero point of an int8 input.

        Where the channels share one mean and std the scale is one grey level, 1 / std, and the
        zero point is floor(mean) - 128, so that the input is `pixel - 128`. Otherwise the scale
        spans what all 256 x 3 inputs cover, zero included.

        Returns:
            (scale, zero_point), scale in the model's input units per step.
        """
        if self._is_uniform:
            return float(np.float32(1.0 / self.std[0])), math.floor(self.mean[0]) - 128
        table = self.float_table()
        low, high = min(float(table.min()), 0.0), max(float(table.max()), 0.0)
        scale = float(np.float32((high - low) / 255.0))
        return scale, int(np.clip(round(-128 - low / scale), -128, 127))

    @property
    def int8_is_pixel_minus_128(self) -> bool:
        """Whether the int8 input is `pixel - 128`, so that a device needs no arithmetic."""
        return self._is_uniform

    def int8_table(self) -> npt.NDArray[np.int8]:
        """The int8 input for every pixel value: int8[256, 3], in the model's channel order."""
        if self._is_uniform:
            return np.repeat(np.arange(-128, 128, dtype=np.int8)[:, None], 3, axis=1)
        scale, zero_point = self.int8_quantization()
        steps = np.rint(self.float_table().astype(np.float64) / scale) + zero_point
        return np.clip(steps, -128, 127).astype(np.int8)

    @property
    def _is_uniform(self) -> bool:
        """Whether all channels share a mean and std, and the zero point fits in int8."""
        return len(set(self.mean)) == len(set(self.std)) == 1 and 0 <= self.mean[0] < 256

    def to_dict(self) -> dict[str, Any]:
        """The contract as plain JSON values."""
        values = dataclasses.asdict(self)
        values["labels"] = list(self.labels) if self.labels is not None else None
        values["mean"], values["std"] = list(self.mean), list(self.std)
        return values

    def to_json(self) -> str:
        """The document stored as `edgekit.json`: versioned, with sorted keys, reproducible."""
        document = {"schema": SCHEMA_VERSION, "contract": self.to_dict()}
        return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> Contract:
        """Reads an `edgekit.json` document.

        Args:
            text: The document.
            where: The file it came from, for the error.

        Raises:
            UnreadableError: It is no contract, or one of a newer schema.
        """
        try:
            document = json.loads(text)
            if document["schema"] != SCHEMA_VERSION:
                raise UnreadableError(
                    f"{where}: contract schema {document['schema']!r}, this edgekit reads "
                    f"{SCHEMA_VERSION}",
                    "Use a newer edgekit.",
                )
            return cls.from_dict(document["contract"])
        except (ValueError, KeyError, TypeError, UsageError) as error:
            raise UnreadableError(
                f"{where}: the preprocessing contract in edgekit.json can't be read ({error})",
                "Give it on the command line: --preprocess, --resize, --labels.",
            ) from error

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Contract:
        """The contract from the values of `to_dict`.

        Raises:
            UsageError: A value is out of its range.
            TypeError, ValueError, KeyError: The values are of the wrong kind.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown entries {', '.join(unknown)}")
        plain = dict(values)
        for name in ("mean", "std"):
            plain[name] = tuple(float(v) for v in plain[name])
        if plain.get("labels") is not None:
            plain["labels"] = tuple(str(label) for label in plain["labels"])
        return cls(**plain)


def parse_resize_rule(rule: str) -> tuple[str, float]:
    """Reads `stretch`, `pad`, `crop` or `crop:0.875` into (fit, crop_fraction).

    Raises:
        UsageError: The rule is none of these.
    """
    fit, _, fraction = rule.partition(":")
    if fit in FITS and (not fraction or fit == "crop"):
        try:
            return fit, float(fraction) if fraction else 1.0
        except ValueError:
            pass
    raise UsageError(
        f"resize rule {rule!r} is not known",
        "Choose stretch, pad, crop, or crop with the share to keep, such as crop:0.875.",
    )


def _numbers(values: Channels) -> str:
    return ",".join(f"{v:g}" for v in (values[:1] if len(set(values)) == 1 else values))


def _choice(what: str, value: str) -> str:
    choices = {
        "fit": FITS,
        "interpolation": INTERPOLATIONS,
        "output": OUTPUTS,
        "colour order": COLOUR_ORDERS,
    }
    return f"{what} {value!r} is none of {', '.join(choices[what])}"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(f"contract: {message}")
