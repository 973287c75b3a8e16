"""MobileNet V1, V2, V3 and V3's minimalistic forms.

Parameters as published: V1 4.2 M (table 8), V2 3.4 M (table 4), V3 Large 5.4 M and Small 2.5 M
(table 3); minimalistic 3.9 and 2.0 M (tensorflow/models, research/slim/nets/mobilenet, README).
The minimalistic forms of keras.applications keep relu where the others have it, and so do these.
"""

from __future__ import annotations

from typing import Any

from edgekit.training.zoo.catalogue.description import KERAS_WEIGHTS, Application, Entry

_V3 = "Howard et al. 2019, arXiv:1905.02244, table 3"
_SLIM = "Howard et al. 2019, arXiv:1905.02244; tensorflow/models, slim, MobileNet README"


def _entry(
    name: str,
    parameters: int,
    macs: int,
    arguments: dict[str, Any],
    paper: str,
    weights: Application,
) -> Entry:
    return Entry(
        name=name,
        family="MobileNet",
        size=224,
        parameters=parameters,
        macs=macs,
        builder="mobilenet",
        arguments=arguments,
        normalization="tf",
        crop_fraction=0.875,
        dropout=0.2,
        paper=paper,
        licence="Apache-2.0",
        weights=weights,
    )


def _v3(kind: str, parameters: int, macs: int, md5: str, *, minimalistic: bool = False) -> Entry:
    suffix = "_minimalistic" if minimalistic else ""
    return _entry(
        f"mobilenet_v3_{kind}{suffix}",
        parameters,
        macs,
        {"version": 3, "large": kind == "large", "minimalistic": minimalistic},
        _SLIM if minimalistic else _V3,
        Application(
            f"MobileNetV3{kind.capitalize()}",
            f"{KERAS_WEIGHTS}/mobilenet_v3/weights_mobilenet_v3_{kind}{suffix}_224_1.0_float.h5",
            md5,
        ),
    )


ENTRIES = (
    _entry(
        "mobilenet_v1",
        4_231_976,
        568_740_352,
        {"version": 1},
        "Howard et al. 2017, arXiv:1704.04861, table 8",
        Application("MobileNet", f"{KERAS_WEIGHTS}/mobilenet/mobilenet_1_0_224_tf.h5"),
    ),
    _entry(
        "mobilenet_v2",
        3_504_872,
        300_774_272,
        {"version": 2},
        "Sandler et al. 2018, arXiv:1801.04381, table 4",
        Application(
            "MobileNetV2",
            f"{KERAS_WEIGHTS}/mobilenet_v2/"
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5",
        ),
    ),
    _v3("small", 2_542_856, 56_510_400, "8768d4c2e7dee89b9d02b2d03d65d862"),
    _v3("large", 5_483_032, 216_589_760, "59e551e166be033d707958cf9e29a6a7"),
    _v3("small", 2_044_736, 52_288_448, "99cd97fb2fcdad2bf028eb838de69e37", minimalistic=True),
    _v3("large", 3_924_288, 209_136_704, "675e7b876c45c57e9e63e6d90a36599c", minimalistic=True),
)
