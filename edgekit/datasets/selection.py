"""Choosing some of many pictures, evenly and always the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from edgekit.datasets.finding import Sample


def select(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Chooses `count` samples, evenly over classes, and evenly spaced in each.

    The same samples and count always give the same choice. Every class gets its turn before any
    class gets a second one, so with fewer samples than classes the classes are evenly spaced too.

    Args:
        samples: Sorted by path.
        count: How many are wanted.

    Returns:
        At most `count` samples, in the order of `samples`.
    """
    if len(samples) <= count:
        return list(samples)
    by_class: dict[object, list[int]] = defaultdict(list)
    for position, sample in enumerate(samples):
        by_class[sample.class_name if sample.index is None else sample.index].append(position)
    groups = list(by_class.values())
    quota = _even_quota([len(group) for group in groups], count)
    chosen = [
        group[i]
        for group, share in zip(groups, quota, strict=True)
        for i in _evenly_spaced(len(group), share)
    ]
    return [samples[position] for position in sorted(chosen)]


def _even_quota(sizes: Sequence[int], count: int) -> list[int]:
    """Shares `count` over groups as evenly as their sizes allow."""
    if count < len(sizes):
        turn = set(_evenly_spaced(len(sizes), count))
        return [1 if i in turn else 0 for i in range(len(sizes))]
    quota = [0] * len(sizes)
    left = count
    while left:
        open_groups = [i for i, size in enumerate(sizes) if quota[i] < size]
        share = max(left // len(open_groups), 1)
        for i in open_groups[:left] if left < len(open_groups) else open_groups:
            step = min(share, sizes[i] - quota[i], left)
            quota[i] += step
            left -= step
    return quota


def _evenly_spaced(length: int, count: int) -> list[int]:
    """`count` distinct positions in range(length), evenly spaced."""
    return [(2 * i + 1) * length // (2 * count) for i in range(count)]
