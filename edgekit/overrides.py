"""What a user says about a model's preprocessing, and how it joins what is known already."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from edgekit.contract import (
    NORMALIZATIONS,
    Channels,
    Contract,
    Normalization,
    parse_resize_rule,
)
from edgekit.errors import UnreadableError, UsageError

_ONE_A_LINE = "Give a UTF-8 text file with one label a line, in the order of the outputs."


@dataclass(frozen=True)
class Overrides:
    """Parts of a contract given by the user; None means not given.

    Attributes:
        normalization: From `--preprocess`, or `--mean` and `--std`.
        resize_rule: From `--resize`, such as `crop:0.875`.
        interpolation: From `--interpolation`.
        labels: From `--labels`.
        labels_from: The file they came from.
    """

    normalization: Normalization | None = None
    resize_rule: str | None = None
    interpolation: str | None = None
    labels: tuple[str, ...] | None = None
    labels_from: str | None = None

    def apply(self, contract: Contract, classes: int) -> Contract:
        """The contract with everything given put in its place.

        Args:
            contract: What is known of the model.
            classes: How many outputs the model has.

        Raises:
            UsageError: A value is out of range, or the labels are not one per class.
        """
        if self.normalization is not None:
            contract = contract.with_normalization(self.normalization)
        if self.resize_rule is not None:
            fit, fraction = parse_resize_rule(self.resize_rule)
            contract = dataclasses.replace(contract, fit=fit, crop_fraction=fraction)
        if self.interpolation is not None:
            contract = dataclasses.replace(contract, interpolation=self.interpolation)
        if self.labels is not None:
            contract = dataclasses.replace(contract, labels=self.labels)
        if contract.labels is not None and len(contract.labels) != classes:
            raise UsageError(
                f"{self.labels_from or 'the contract'}: {len(contract.labels)} labels, but the "
                f"model has {classes} outputs",
                "Give a file with one label a line, in the order of the outputs (--labels).",
            )
        return contract


class Given(TypedDict, total=False):
    """What a user may say of a model's preprocessing, as keywords.

    Attributes:
        preprocess: A name of `edgekit.contract.NORMALIZATIONS`.
        mean: One number or three, in grey levels; with `std`, instead of `preprocess`.
        std: One number or three, in grey levels.
        colour_order: `RGB` or `BGR`; goes with mean and std.
        resize: `stretch`, `pad`, `crop` or `crop:FRACTION`.
        interpolation: One of `edgekit.contract.INTERPOLATIONS`.
        labels: A text file with one label a line, or the labels.
    """

    preprocess: str | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    colour_order: str | None
    resize: str | None
    interpolation: str | None
    labels: Path | str | Sequence[str] | None


def parse(
    preprocess: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    colour_order: str | None = None,
    resize: str | None = None,
    interpolation: str | None = None,
    labels: Path | str | Sequence[str] | None = None,
) -> Overrides:
    """Reads what the command line or a Python caller gave.

    The arguments are those of `Given`.

    Raises:
        UsageError: A value is unknown, or two contradict each other.
        UnreadableError: The labels file can't be read.
    """
    normalization = None
    if preprocess is not None:
        if mean is not None or std is not None or colour_order is not None:
            raise UsageError("--preprocess goes without --mean, --std and --colour-order")
        if preprocess not in NORMALIZATIONS:
            raise UsageError(
                f"--preprocess {preprocess!r} is not known", f"Choose {normalization_choices()}."
            )
        normalization = NORMALIZATIONS[preprocess]
    elif mean is not None or std is not None:
        if mean is None or std is None:
            raise UsageError("--mean and --std go together", "Give both, in grey levels (0..255).")
        normalization = Normalization(
            _three(mean, "--mean"), _three(std, "--std"), colour_order or "RGB"
        )
    elif colour_order is not None:
        raise UsageError("--colour-order goes with --mean and --std")
    if resize is not None:
        parse_resize_rule(resize)
    names: tuple[str, ...] | None = None
    if isinstance(labels, str):
        labels = Path(labels)
    if isinstance(labels, Path):
        names = read_labels(labels)
    elif labels is not None:
        names = tuple(labels)
    return Overrides(
        normalization,
        resize,
        interpolation,
        names,
        str(labels) if isinstance(labels, Path) else None,
    )


def normalization_choices() -> str:
    """The named normalizations in words, for a message."""
    words = {
        "raw": "raw (0..255 as they are)",
        "unit": "unit (0..1)",
        "tf": "tf (-1..1: MobileNet, Inception)",
        "torch": "torch (ImageNet mean and std)",
        "caffe": "caffe (BGR minus mean: ResNet50, VGG)",
        "efficientnet_lite": "efficientnet_lite ((x - 127) / 128)",
    }
    return ", ".join(words[name] for name in NORMALIZATIONS)


def read_labels(path: Path) -> tuple[str, ...]:
    """Reads a text file with one label a line; trailing empty lines are ignored.

    Raises:
        UnreadableError: The file is missing, empty or no UTF-8 text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}", _ONE_A_LINE) from error
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{path}: not a UTF-8 text file", _ONE_A_LINE) from error
    labels = tuple(line.strip() for line in lines)
    if not labels or not all(labels):
        raise UnreadableError(f"{path}: empty, or an empty line among the labels", _ONE_A_LINE)
    return labels


def _three(values: Sequence[float], option: str) -> Channels:
    if len(values) == 1:
        return (values[0],) * 3
    if len(values) == 3:
        return (values[0], values[1], values[2])
    raise UsageError(f"{option} takes one number or three, not {len(values)}")
