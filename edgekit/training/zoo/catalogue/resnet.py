"""ResNet-18, 34, 50, 101 and 152.

The paper's table 1 has FLOPs and no parameters; those published are torchvision's for 18 and 34
and keras.applications' for the others, which have biases before the batch norms as the paper's own
models do.
"""

from __future__ import annotations

from edgekit.training.zoo.catalogue.description import KERAS_WEIGHTS, Application, Entry


def _entry(
    depth: int, repeats: tuple[int, ...], parameters: int, macs: int, md5: str | None = None
) -> Entry:
    bottleneck = depth >= 50
    return Entry(
        name=f"resnet{depth}",
        family="ResNet",
        size=224,
        parameters=parameters,
        macs=macs,
        builder="resnet",
        arguments={"repeats": repeats, "bottleneck": bottleneck},
        normalization="caffe" if bottleneck else "torch",
        crop_fraction=0.875,
        dropout=0.2,
        paper="He et al. 2015, arXiv:1512.03385, table 1",
        licence="MIT" if md5 else "Apache-2.0",
        weights=Application(
            f"ResNet{depth}",
            f"{KERAS_WEIGHTS}/resnet/resnet{depth}_weights_tf_dim_ordering_tf_kernels.h5",
            md5,
        )
        if md5
        else None,
    )


ENTRIES = (
    _entry(18, (2, 2, 2, 2), 11_689_512, 1_814_073_344),
    _entry(34, (3, 4, 6, 3), 21_797_672, 3_663_761_408),
    _entry(50, (3, 4, 6, 3), 25_583_592, 3_857_973_248, "2cb95161c43110f7111970584f804107"),
    _entry(101, (3, 4, 23, 3), 44_601_832, 7_570_194_432, "f1aeb4b969a6efcfb50fad2f0c20cfc5"),
    _entry(152, (3, 8, 36, 3), 60_268_520, 11_282_415_616, "100835be76be38e30d865e96f2aaae62"),
)
