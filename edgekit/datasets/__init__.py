"""Folders and CSVs of pictures: find and label them, choose from them, decode them, lint them."""

from edgekit.datasets.finding import Dataset, Sample, find
from edgekit.datasets.linting import lint
from edgekit.datasets.loading import Loaded, Progress, load
from edgekit.datasets.selection import select

__all__ = ["Dataset", "Loaded", "Progress", "Sample", "find", "lint", "load", "select"]
