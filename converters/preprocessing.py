"""How a model's input was prepared: told, stored, or inferred from the model; never guessed.

In this order: what the user gives; the contract stored with the model; layers in the model that
normalize (the contract is then `raw`); the name of a keras.applications model. What was found, and
from what, is part of the result, so that it can be shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgekit.contract import NORMALIZATIONS, Contract
from edgekit.converters.export import Description
from edgekit.errors import UsageError
from edgekit.overrides import Overrides, normalization_choices

#: Names that keras.applications gives its models, and the mode of their preprocess_input (Keras
#: 3.15, keras/src/applications/*.py). Models that carry their own Rescaling are found by that.
_APPLICATIONS: tuple[tuple[str, str], ...] = (
    (r"mobilenet_\d", "tf"),
    (r"mobilenetv2_\d", "tf"),
    (r"MobilenetV3|MobileNetV3", "tf"),
    (r"resnet(50|101|152)v2$", "tf"),
    (r"resnet(50|101|152)$", "caffe"),
    (r"vgg(16|19)$", "caffe"),
    (r"inception_v3$|inception_resnet_v2$|xception$", "tf"),
    (r"densenet(121|169|201)$", "torch"),
    (r"[Nn][Aa][Ss][Nn]et", "tf"),
    (r"efficientnet_lite\d$", "efficientnet_lite"),
)


@dataclass(frozen=True)
class Found:
    """A contract and where it comes from.

    Attributes:
        contract: The contract.
        source: In words, such as `inferred from layer 'rescaling' (Rescaling)`.
    """

    contract: Contract
    source: str


def resolve(
    path: Path,
    description: Description,
    stored: tuple[Contract, str] | None,
    overrides: Overrides,
) -> Found:
    """Settles the contract of a model.

    Args:
        path: The model, for errors.
        description: What the model is.
        stored: The contract stored with it and where, if any.
        overrides: What the user gives.

    Raises:
        UsageError: Nothing can be known, or two sources contradict each other.
    """
    found = _stored_or_inferred(path, description, stored, overrides)
    contract = overrides.apply(found.contract, description.classes)
    given = [
        option
        for option, value in (
            ("--preprocess or --mean/--std", overrides.normalization),
            ("--resize", overrides.resize_rule),
            ("--interpolation", overrides.interpolation),
            ("--labels", overrides.labels),
        )
        if value is not None
    ]
    source = found.source
    if given and stored is not None:
        source += f", changed by {', '.join(given)}"
    if stored is None and overrides.resize_rule is None:
        source += "; resize: stretch, the default of Keras' image loaders (--resize changes it)"
    return Found(contract, source)


def _stored_or_inferred(
    path: Path,
    description: Description,
    stored: tuple[Contract, str] | None,
    overrides: Overrides,
) -> Found:
    normalizing = ", ".join(f"{name!r} ({kind})" for kind, name in description.pixelwise)
    raw = NORMALIZATIONS["raw"]
    if normalizing and _is_raw(stored) and overrides.normalization not in (None, raw):
        raise UsageError(
            f"{path}: the model normalizes its input itself in layer {normalizing}; what you "
            "gave would do it a second time",
            "Use --preprocess raw, or leave it out.",
        )
    if stored is not None:
        contract, where = stored
        if (contract.height, contract.width) != (description.height, description.width):
            raise UsageError(
                f"{path}: the contract in {where} says {contract.height} x {contract.width}, the "
                f"model's input is {description.height} x {description.width}",
                "Correct the contract, or remove it and give --preprocess and --resize.",
            )
        if contract.labels is not None and len(contract.labels) != description.classes:
            raise UsageError(
                f"{path}: the contract in {where} has {len(contract.labels)} labels, the model "
                f"{description.classes} outputs",
                "Correct the contract, or give --labels FILE with one label a line.",
            )
        return Found(contract, f"from {where}")

    contract = Contract(description.height, description.width)
    if normalizing:
        return Found(contract, f"raw pixels, inferred from layer {normalizing} at the input")
    if overrides.normalization is not None:
        return Found(contract, "given on the command line")
    for name in description.models:
        for pattern, mode in _APPLICATIONS:
            if re.match(pattern, name):
                return Found(
                    contract.with_normalization(NORMALIZATIONS[mode]),
                    f"{mode}, inferred from the name {name!r} (keras.applications)",
                )
    raise UsageError(
        f"{path}: nothing in the model tells how its input was prepared in training, and edgekit "
        "doesn't guess",
        f"Say it with --preprocess: {normalization_choices()}; or with --mean and --std.",
    )


def _is_raw(stored: tuple[Contract, str] | None) -> bool:
    """Whether nothing stored says that something comes before the model's own arithmetic."""
    return stored is None or stored[0] == stored[0].with_normalization(NORMALIZATIONS["raw"])
