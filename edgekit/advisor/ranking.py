"""The order of the candidates, and what is to be said of those that are not on the list."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.advisor.candidates import Candidate, Check

#: Points of ImageNet top-1 that a model of twice the cost has to bring where no latency was asked
#: for. From Lite0 to Lite4 a doubling of the MACs brings 2.3. A judgement, not a measurement.
_POINTS_PER_DOUBLING = 2.0
#: Likewise where a limit of the latency or a wish for accuracy says what matters: a few tenths of a
#: point, by which weights of one architecture differ too, aren't worth several times the latency.
_POINTS_WHERE_ACCURACY_COUNTS = 0.25

_ESTIMATES = "edgekit/advisor/zoo.csv; edgekit/targets/fitted/rates.toml"


@dataclass(frozen=True)
class Nearest:
    """What comes nearest where nothing meets what was asked for.

    Attributes:
        candidate: The model.
        relax: The limits that it exceeds, each with the value that it would have to be.
    """

    candidate: Candidate
    relax: tuple[tuple[Check, float], ...]


def ranked(
    all_of_them: Sequence[Candidate], *, accuracy_counts: bool, sure_first: bool = True
) -> tuple[Candidate, ...]:
    """Those that can be recommended, best first.

    By ImageNet top-1: of 16 networks it had a correlation of 0.96 with the accuracy after
    fine-tuning, as log odds and averaged over twelve data sets (Kornblith et al. 2019,
    arXiv:1805.08974, abstract and figure 1). On six data sets of practical tasks a higher one
    didn't consistently help (Fang et al. 2023, arXiv:2301.04644, abstract). Models that a rule
    lowers come after the others.

    Args:
        all_of_them: The candidates.
        accuracy_counts: A limit of the latency, or a wish for accuracy, says that within it the
            accuracy counts; without, each doubling of the cost has to bring
            `_POINTS_PER_DOUBLING`.
        sure_first: If there is one that surely keeps the limits of the device, the best such is the
            first choice: what is better and only probably does stands behind it.
    """
    eligible = [candidate for candidate in all_of_them if candidate.eligible]
    found = sorted(eligible, key=lambda c: (bool(c.lowered), -_score(c, accuracy_counts), c.cost))
    sure = next((c for c in found if c.sure and not c.lowered), None)
    if sure is None or not sure_first:
        return tuple(found)
    return (sure, *(c for c in found if c is not sure))


def _score(candidate: Candidate, accuracy_counts: bool) -> float:
    """Higher is better; a model whose accuracy isn't published comes last."""
    if candidate.facts.top1 is None:
        return -math.inf
    points = _POINTS_WHERE_ACCURACY_COUNTS if accuracy_counts else _POINTS_PER_DOUBLING
    return candidate.facts.top1 - points * math.log2(candidate.cost)


def pareto(all_of_them: Sequence[Candidate]) -> frozenset[str]:
    """Names of those that no other beats in both accuracy and cost.

    Only models that no rule speaks against: the accuracy in float, which is what is published, is
    not what those that lose in int8 give.
    """
    left = [c for c in all_of_them if not (c.rejected or c.lowered) and c.facts.top1 is not None]
    return frozenset(c.name for c in left if not any(_beats(other, c) for other in left))


def _beats(one: Candidate, other: Candidate) -> bool:
    mine, theirs = (-(one.facts.top1 or 0), one.cost), (-(other.facts.top1 or 0), other.cost)
    return mine != theirs and mine[0] <= theirs[0] and mine[1] <= theirs[1]


def nearest(all_of_them: Sequence[Candidate]) -> Nearest | None:
    """What has to be relaxed least, by factors; None where rules reject every model."""
    left = [candidate for candidate in all_of_them if not candidate.rejected]
    if not left:
        return None
    best = min(left, key=_excess)
    failed = [check for check in best.checks if check.met == "no"]
    return Nearest(best, tuple((check, check.value or 0.0) for check in failed))


def _excess(candidate: Candidate) -> float:
    """The product of the factors by which limits are exceeded, as a logarithm."""
    return sum(
        math.log(check.value / check.asked)
        for check in candidate.checks
        if check.value is not None and check.met == "no"
    )


def left_out(
    all_of_them: Sequence[Candidate], chosen: Sequence[Candidate]
) -> dict[str, tuple[str, str]]:
    """family -> why none of it is among the chosen, and the source of that; in the zoo's order."""
    listed = {candidate.facts.family for candidate in chosen}
    families: dict[str, list[Candidate]] = {}
    for candidate in all_of_them:
        families.setdefault(candidate.facts.family, []).append(candidate)
    return {
        family: _why_not(members, chosen)
        for family, members in families.items()
        if family not in listed
    }


def _why_not(members: Sequence[Candidate], chosen: Sequence[Candidate]) -> tuple[str, str]:
    left = [candidate for candidate in members if not candidate.rejected]
    if not left:
        rule = members[0].rejected[0]
        return rule.text, rule.source
    within = [candidate for candidate in left if candidate.eligible]
    if not within:
        best = min(left, key=_excess)
        return f"{best.name} comes nearest: {_exceeds(best)}.", _ESTIMATES
    lowered = [rule for candidate in within for rule in candidate.lowered]
    if lowered and all(candidate.lowered for candidate in within):
        return lowered[0].text, lowered[0].source
    best = max(within, key=lambda c: c.facts.top1 or 0)
    first = chosen[0]
    return (
        f"{best.name} has {words(best)}, {first.name} {words(first)}.",
        f"{best.facts.source}; {first.facts.source}",
    )


def _exceeds(candidate: Candidate) -> str:
    return " and ".join(
        f"{check.value:.3g} {check.unit} where {check.asked:g} were asked for"
        for check in candidate.checks
        if check.met == "no"
    )


def words(candidate: Candidate) -> str:
    """Accuracy and cost of a model."""
    top1 = "no published" if candidate.facts.top1 is None else f"{candidate.facts.top1:.1f} %"
    cost = f"{candidate.macs / 1e6:,.0f} million MACs"
    if candidate.by_latency and candidate.latency:
        cost = f"{candidate.latency.ms:.3g} ms"
    return f"{top1} ImageNet top-1 in {cost}"
