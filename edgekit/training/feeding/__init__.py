"""From checked examples to batches: augmentation, decoded pictures kept on the disk, prefetching.

Nothing below here imports TensorFlow.
"""

from edgekit.training.feeding.augmentation import NONE, Augmentation, augment
from edgekit.training.feeding.loader import Batch, Loader, evaluation_batches
from edgekit.training.feeding.store import PictureStore

__all__ = [
    "NONE",
    "Augmentation",
    "Batch",
    "Loader",
    "PictureStore",
    "augment",
    "evaluation_batches",
]
