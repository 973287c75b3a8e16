"""Folders and CSVs of pictures: find and label them, split, choose, decode and lint them."""

from edgekit.datasets.finding import Dataset, Sample, find
from edgekit.datasets.holding_out import HeldOut, hold_out, refuse_overlap
from edgekit.datasets.linting import lint
from edgekit.datasets.loading import Loaded, Progress, load
from edgekit.datasets.selection import select
from edgekit.datasets.splitting import Example, Splits, open_splits

__all__ = [
    "Dataset",
    "Example",
    "HeldOut",
    "Loaded",
    "Progress",
    "Sample",
    "Splits",
    "find",
    "hold_out",
    "lint",
    "load",
    "open_splits",
    "refuse_overlap",
    "select",
]
