"""Folders and CSVs of pictures: find and label them, split, choose, decode and lint them."""

from edgekit.datasets.finding import Dataset, Sample, find
from edgekit.datasets.linting import lint
from edgekit.datasets.loading import Loaded, Progress, load
from edgekit.datasets.selection import select
from edgekit.datasets.splitting import Example, Splits, open_splits

__all__ = [
    "Dataset",
    "Example",
    "Loaded",
    "Progress",
    "Sample",
    "Splits",
    "find",
    "lint",
    "load",
    "open_splits",
    "select",
]
