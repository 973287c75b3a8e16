"""VGG-16 and VGG-19; the paper's table 2 has 138 and 144 M parameters."""

from __future__ import annotations

from edgekit.training.zoo.catalogue.description import KERAS_WEIGHTS, Application, Entry


def _entry(depth: int, repeats: tuple[int, ...], parameters: int, macs: int, md5: str) -> Entry:
    return Entry(
        name=f"vgg{depth}",
        family="VGG",
        size=224,
        parameters=parameters,
        macs=macs,
        builder="vgg",
        arguments={"repeats": repeats},
        normalization="caffe",
        crop_fraction=0.875,
        dropout=0.5,
        paper="Simonyan and Zisserman 2014, arXiv:1409.1556, table 2",
        licence="CC-BY-4.0",
        weights=Application(
            f"VGG{depth}",
            f"{KERAS_WEIGHTS}/vgg{depth}/vgg{depth}_weights_tf_dim_ordering_tf_kernels.h5",
            md5,
        ),
    )


ENTRIES = (
    _entry(16, (2, 2, 3, 3, 3), 138_357_544, 15_470_264_320, "64373286793e3c8b2b4e3219cbf3544b"),
    _entry(19, (2, 2, 4, 4, 4), 143_667_240, 19_632_062_464, "cbe5617147190e668d6c5d5026f83318"),
)
