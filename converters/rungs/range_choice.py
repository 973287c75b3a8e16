"""The range of each activation, by whichever method serves the scores best.

Percentiles over images, the least squared error and the least divergence disagree most where a
few large values matter, and no rule says which is right: it depends on what the layers after make
of them. So each is tried as a whole, and then, tensor by tensor, whether another method's range
brings the scores nearer to the float model's. What is compared is the SQNR of the scores on
calibration images, its mean over them.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from edgekit import tflite
from edgekit.converters import calibrate, tflite_source
from edgekit.converters.activations import observe
from edgekit.converters.ranges import Ranges, percentile_ranges, without_masks
from edgekit.converters.rungs.draft import Draft, Material, Progress
from edgekit.converters.rungs.histograms import Histograms, range_by_entropy, range_by_error
from edgekit.evaluation.metrics import mean_sqnr
from edgekit.evaluation.run import run_all

#: Percentiles over the images' extremes that are tried as a whole.
_PERCENTILES = (100.0, 97.0, 90.0)
#: Images that a choice is judged by, and tensors that are gone through one by one.
_IMAGES, _TENSORS = 48, 24


def choose_ranges(draft: Draft, material: Material, progress: Progress) -> Draft:
    """Chooses the range of each activation among those of several methods."""
    methods = _methods(draft, material)
    pictures, scores = material.first(_IMAGES)

    def quality(ranges: Ranges) -> float:
        made = dataclasses.replace(draft, ranges=ranges).quantized(material.contract)
        return mean_sqnr(scores, run_all(made, pictures, material.contract))

    total, done = len(methods) + 1 + _TENSORS, 0
    best, reached = draft.ranges, quality(draft.ranges)
    for method in methods:
        found = quality(method)
        if found > reached:
            best, reached = method, found
        done += 1
        progress(done, total)
    for name in _most_disputed(best, methods):
        for value in {method[name] for method in (draft.ranges, *methods)} - {best[name]}:
            changed = {**best, name: value}
            found = quality(changed)
            if found > reached:
                best, reached = changed, found
        done += 1
        progress(done, total)
    progress(total, total)
    return dataclasses.replace(draft, ranges=best)


def _methods(draft: Draft, material: Material) -> list[Ranges]:
    """The ranges by each method; those of the scores stay as they are."""
    calibrated = calibrate.calibrate(draft.base, material.pictures, material.contract)
    parsed = tflite.read(draft.base, material.where)
    scores = tflite_source.end_names(parsed)[1]
    extremes = percentile_ranges(calibrated.observed, 100.0, scores)
    spread = {n for n, (low, high) in extremes.items() if high > low and n != scores}
    tallies = observe(
        draft.base, material.pictures, material.contract, spread, lambda: Histograms(extremes)
    )
    found = [percentile_ranges(calibrated.observed, p, scores) for p in _PERCENTILES]
    for choose in (range_by_error, range_by_entropy):
        by_method = dict(extremes)
        for name in spread:
            counts = np.sum([t.counts[name] for t in tallies if name in t.counts], axis=0)
            if np.ndim(counts):
                by_method[name] = choose(counts, *extremes[name])
        found.append(by_method)
    return [without_masks(ranges, parsed) for ranges in found]


def _most_disputed(best: Ranges, methods: list[Ranges]) -> list[str]:
    """The tensors whose width the methods disagree on most."""

    def dispute(name: str) -> float:
        widths = [ranges[name][1] - ranges[name][0] for ranges in (best, *methods)]
        return max(widths) / min(widths) if min(widths) > 0 else 1.0

    return sorted(best, key=dispute, reverse=True)[:_TENSORS]
