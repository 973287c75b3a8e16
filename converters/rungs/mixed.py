"""Mixed precision: the fewest layers in higher precision that keep the promise.

An error is either in the weights of one layer, or in an activation between layers, which stays in
int8 until all that write or read it are in higher precision. So two kinds of candidates are tried
alone: each layer, and each layer with those that read its output. What that does for the SQNR of
the scores, for each op it takes, is how much a candidate is worth; the best ones are put in higher
precision together, as many as it takes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from edgekit.converters.rewriting import Graph
from edgekit.converters.rungs.draft import Draft, Material, Progress, Skipped
from edgekit.converters.weighted import layers
from edgekit.evaluation.metrics import mean_sqnr
from edgekit.evaluation.run import run_all

#: Calibration images that sensitivity is measured on.
_IMAGES = 24


def mix_precision(
    draft: Draft, material: Material, keeps: Callable[[Draft], bool], progress: Progress
) -> Draft:
    """Leaves as few layers as possible in higher precision.

    Args:
        draft: Its options say which precision the target can compute in.
        material: Calibration images.
        keeps: Whether a draft is good enough.
        progress: Called with (done, total).

    Returns:
        The draft with the fewest layers that is good enough, or with all of those that help.

    Raises:
        Skipped: The target takes int8 only, or no layer helps.
    """
    if draft.options.mixed is None:
        raise Skipped("all layers must be int8 (--mixed int16 or --mixed float allows others)")
    ranked = _ranked(draft, material, progress)
    if not ranked:
        raise Skipped("no layer in higher precision brings the scores nearer to the float model's")

    def with_first(count: int) -> Draft:
        return dataclasses.replace(draft, higher=frozenset[str]().union(*ranked[:count]))

    # Twice as many until it is enough, then the fewest by bisection.
    enough = 1
    while not keeps(with_first(enough)):
        if enough == len(ranked):
            return with_first(enough)
        enough = min(2 * enough, len(ranked))
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        enough, too_few = (middle, too_few) if keeps(with_first(middle)) else (enough, middle)
    return with_first(enough)


def _ranked(draft: Draft, material: Material, progress: Progress) -> list[frozenset[str]]:
    """The candidates that help, each as the outputs of its ops, the most helpful first."""
    pictures, scores = material.first(_IMAGES)

    def quality(higher: frozenset[str]) -> float:
        made = dataclasses.replace(draft, higher=higher).quantized(material.contract)
        return mean_sqnr(scores, run_all(made, pictures, material.contract))

    candidates = _candidates(Graph(draft.model, material.where))
    without, worth = quality(frozenset()), {}
    for done, candidate in enumerate(candidates, 1):
        worth[candidate] = (quality(candidate) - without) / len(candidate)
        progress(done, len(candidates))
    helpful = [candidate for candidate in candidates if worth[candidate] > 0]
    return sorted(helpful, key=worth.__getitem__, reverse=True)


def _candidates(graph: Graph) -> list[frozenset[str]]:
    found = []
    for layer in layers(graph):
        alone = {graph.name(layer.op.output)}
        readers = {graph.name(op.output) for op in graph.consumers(layer.op.output)}
        found += [frozenset(alone), frozenset(alone | readers)]
    return list(dict.fromkeys(found))
