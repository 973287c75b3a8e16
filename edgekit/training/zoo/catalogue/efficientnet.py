"""EfficientNet B0 to B7, and V2 B0 to B3.

Parameters of B0 to B7 are published in table 2 of arXiv:1905.11946, those of V2 B0 to B3 in the
table of keras.applications. The evaluation crop is the reference's, `size / (size + 32)`.

Keras.applications puts the normalization into the model: `Rescaling`, `Normalization` and, to mend
a variance that was never squared, a second `Rescaling`. Together they are what is called `torch`
here.
"""

from __future__ import annotations

from edgekit.training.zoo.catalogue.description import KERAS_WEIGHTS, Application, Entry

_CROP_PADDING = 32
_OLDER_WEIGHTS = KERAS_WEIGHTS.replace("tensorflow/", "")


def _entry(
    version: int,
    number: int,
    size: int,
    width: float,
    depth: float,
    dropout: float,
    parameters: int,
    macs: int,
    md5: str,
) -> Entry:
    if version == 1:
        name, paper = f"efficientnet_b{number}", "Tan and Le 2019, arXiv:1905.11946, table 2"
        url = f"{_OLDER_WEIGHTS}/efficientnetb{number}.h5"
    else:
        name = f"efficientnet_v2_b{number}"
        paper = "Tan and Le 2021, arXiv:2104.00298; keras.applications' table"
        url = f"{KERAS_WEIGHTS}/efficientnet_v2/efficientnetv2-b{number}.h5"
    return Entry(
        name=name,
        family="EfficientNet",
        size=size,
        parameters=parameters,
        macs=macs,
        builder="efficientnet",
        # torchvision trained B5 to B7 with another epsilon than B0 to B4.
        arguments={
            "version": version,
            "width": width,
            "depth": depth,
            "torch_epsilon": 1e-5 if number < 5 else 1e-3,
        },
        normalization="torch",
        crop_fraction=size / (size + _CROP_PADDING),
        dropout=dropout,
        paper=paper,
        licence="Apache-2.0",
        weights=Application(f"EfficientNet{'V2' if version == 2 else ''}B{number}", url, md5),
    )


ENTRIES = (
    _entry(1, 0, 224, 1.0, 1.0, 0.2, 5_288_548, 385_814_752, "902e53a9f72be733fc0bcb005b3ebbac"),
    _entry(1, 1, 240, 1.0, 1.1, 0.2, 7_794_184, 686_802_832, "1d254153d4ab51201f1646940f018540"),
    _entry(1, 2, 260, 1.1, 1.2, 0.3, 9_109_994, 993_561_872, "b15cce36ff4dcbd00b6dd88e7857a6ad"),
    _entry(1, 3, 300, 1.2, 1.4, 0.3, 12_233_232, 1_827_141_392, "ffd1fdc53d0ce67064dc6a9c7960ede0"),
    _entry(1, 4, 380, 1.4, 1.8, 0.4, 19_341_616, 4_393_771_024, "18c95ad55216b8f92d7e70b3a046e2fc"),
    _entry(
        1, 5, 456, 1.6, 2.2, 0.4, 30_389_784, 10_266_384_752, "ace28f2a6363774853a83a0b21b9421a"
    ),
    _entry(
        1, 6, 528, 1.8, 2.6, 0.5, 43_040_704, 19_067_593_536, "165f6e37dce68623721b423839de8be5"
    ),
    _entry(
        1, 7, 600, 2.0, 3.1, 0.5, 66_347_960, 37_745_884_192, "8c03f828fec3ef71311cd463b6759d99"
    ),
    _entry(2, 0, 224, 1.0, 1.0, 0.2, 7_139_704, 718_086_176, "21ecbf6da12460d5c40bb2f29ceb2188"),
    _entry(2, 1, 240, 1.0, 1.1, 0.2, 8_141_052, 1_196_819_360, "069f0534ff22adf035c89e2d9547a9dc"),
    _entry(2, 2, 260, 1.1, 1.2, 0.2, 10_096_086, 1_697_542_832, "424e49f28180edbde1e94797771950a7"),
    _entry(2, 3, 300, 1.2, 1.4, 0.2, 14_358_406, 3_011_458_816, "1f1fc43bd98a6e4fd8fdfd551e02c7a0"),
)
