"""The picture of an advice: accuracy against latency."""

from __future__ import annotations

from edgekit.advisor.advice import Advice
from edgekit.advisor.candidates import Candidate
from edgekit.report.pareto import Kind, Point, pareto_png


def as_png(advice: Advice) -> bytes:
    """Draws the models whose accuracy is published.

    Returns:
        The bytes of a PNG file.

    Raises:
        MissingError: matplotlib is not installed.
    """
    known = all(candidate.by_latency for candidate in advice.candidates)
    return pareto_png(
        [
            _point(candidate, candidate.facts.top1, advice)
            for candidate in advice.candidates
            if candidate.facts.top1 is not None
        ],
        f"For {advice.target.title}, in int8",
        "latency, ms" if known else "million multiply-accumulates",
        advice.wishes.max_latency if known else None,
    )


def _point(candidate: Candidate, top1: float, advice: Advice) -> Point:
    front = candidate.name in advice.pareto
    latency = candidate.latency
    cost = (candidate.macs / 1e6,) * 3
    if candidate.by_latency and latency is not None:
        cost = latency.ms, latency.low, latency.high
    return Point(candidate.name, *cost, top1, _kind(candidate, advice), front)


def _kind(candidate: Candidate, advice: Advice) -> Kind:
    if candidate in advice.short_list:
        return "listed"
    if not candidate.eligible:
        return "out"
    return "lowered" if candidate.lowered else "possible"
