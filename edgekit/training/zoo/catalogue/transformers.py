"""The vision transformers of the zoo.

ViT-B/16 is in table 1 of Dosovitskiy et al. 2020 (86 M); Ti/16 and S/16 in table 1 of Touvron et
al. 2020 (5 M and 22 M). Swin-T, S and B are in table 1a of Liu et al. 2021 (29, 50 and 88 M). MACs
count the products of attention too.

Their pixels are normalized as in timm: ViT's by 0.5 (the paper's weights) or by ImageNet's mean and
deviation (DeiT and torchvision); Swin's by the latter. As most weights are of the second kind, it
is the entry's here.
"""

from __future__ import annotations

from edgekit.training.zoo.catalogue.description import Entry


def _vit(
    name: str, width: int, depth: int, heads: int, parameters: int, macs: int, paper: str
) -> Entry:
    return Entry(
        name=name,
        family="ViT",
        size=224,
        parameters=parameters,
        macs=macs,
        builder="vit",
        arguments={"width": width, "depth": depth, "heads": heads},
        normalization="torch",
        crop_fraction=0.875,
        dropout=0.0,
        paper=paper,
        licence="Apache-2.0",
    )


def _swin(name: str, width: int, depths: tuple[int, ...], parameters: int, macs: int) -> Entry:
    return Entry(
        name=name,
        family="Swin",
        size=224,
        parameters=parameters,
        macs=macs,
        builder="swin",
        arguments={"width": width, "depths": depths},
        normalization="torch",
        crop_fraction=0.875,
        dropout=0.0,
        paper="Liu et al. 2021, arXiv:2103.14030, table 1a",
        licence="MIT",
    )


_VIT = "Dosovitskiy et al. 2020, arXiv:2010.11929, table 1"
_DEIT = "Touvron et al. 2020, arXiv:2012.12877, table 1"

ENTRIES: tuple[Entry, ...] = (
    _vit("vit_ti16", 192, 12, 3, 5_717_416, 1_253_683_200, _DEIT),
    _vit("vit_s16", 384, 12, 6, 22_050_664, 4_598_882_304, _DEIT),
    _vit("vit_b16", 768, 12, 12, 86_567_656, 17_563_828_224, _VIT),
    _swin("swin_t", 96, (2, 2, 6, 2), 28_288_354, 4_490_566_656),
    _swin("swin_s", 96, (2, 2, 18, 2), 49_606_258, 8_740_875_264),
    _swin("swin_b", 128, (2, 2, 18, 2), 87_768_224, 15_430_946_816),
)
