"""GoogLeNet (Inception v1), Inception v3 and v4.

Parameters as published: GoogLeNet 7.0 M (BVLC's model; the rows of table 1 sum to 6.8 M, which
leaves out the biases and rounds), v3 23.9 M (keras.applications), v4 42.7 M (tensorflow/models,
slim, as timm counts it).
"""

from __future__ import annotations

from edgekit.training.zoo.catalogue.description import KERAS_WEIGHTS, Application, Entry

ENTRIES = (
    Entry(
        name="googlenet",
        family="Inception",
        size=224,
        parameters=7_005_832,
        macs=1_582_671_872,
        builder="googlenet",
        normalization="tf",
        crop_fraction=0.875,
        dropout=0.4,
        paper="Szegedy et al. 2014, arXiv:1409.4842, table 1, with batch norms",
        licence="Apache-2.0",
    ),
    Entry(
        name="inception_v3",
        family="Inception",
        size=299,
        parameters=23_817_352,
        macs=5_713_216_096,
        builder="inception_v3",
        normalization="tf",
        crop_fraction=0.875,
        dropout=0.2,
        paper="Szegedy et al. 2015, arXiv:1512.00567, table 1",
        licence="Apache-2.0",
        weights=Application(
            "InceptionV3",
            f"{KERAS_WEIGHTS}/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
            "9a0d58056eeedaa3f26cb7ebd46da564",
        ),
    ),
    Entry(
        name="inception_v4",
        family="Inception",
        size=299,
        parameters=42_679_816,
        macs=12_253_974_624,
        builder="inception_v4",
        normalization="tf",
        crop_fraction=0.875,
        dropout=0.2,
        paper="Szegedy et al. 2016, arXiv:1602.07261, figures 3 to 9",
        licence="Apache-2.0",
    ),
)
