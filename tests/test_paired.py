"""The statistics of a promise."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from edgekit.evaluation.paired import Paired, images_needed, limits, lower_limit


def test_without_a_difference_the_limit_has_a_closed_form() -> None:
    """With no discordant image the score of Tango 1998 is -n d / sqrt(n d (1 - d))."""
    z = NormalDist().inv_cdf(0.95)
    for images in (50, 200, 1000):
        low, high = limits(Paired(images, 0, 0), 0.95)
        assert high == pytest.approx(z**2 / (images + z**2), abs=1e-6)
        assert low == pytest.approx(-high, abs=1e-6)


def test_limits_are_where_the_likelihood_says() -> None:
    """At a limit, the score from a brute-force restricted maximum likelihood is z."""
    paired, confidence = Paired(120, 9, 4), 0.975
    z = NormalDist().inv_cdf(confidence)
    for limit, sign in zip(limits(paired, confidence), (1, -1), strict=True):
        rare = np.linspace(max(1e-9, -limit + 1e-9), 0.3, 300_001)
        often = rare + limit
        likelihood = (
            paired.lost * np.log(np.maximum(often, 1e-300))
            + paired.won * np.log(rare)
            + (paired.images - paired.lost - paired.won) * np.log(1 - rare - often)
        )
        best = rare[np.argmax(likelihood)]
        variance = paired.images * (2 * best + limit - limit**2)
        score = (paired.lost - paired.won - paired.images * limit) / variance**0.5
        assert score == pytest.approx(sign * z, abs=1e-2)


def test_the_limit_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    images, lost, won = 300, 0.03, 0.015
    draws = rng.multinomial(images, [lost, won, 1 - lost - won], 1500)
    covered = [limits(Paired(images, int(a), int(b)), 0.95)[1] >= lost - won for a, b, _ in draws]
    assert 0.925 <= np.mean(covered) <= 0.975


def test_images_needed_are_enough_and_no_more() -> None:
    paired = Paired(200, 2, 1)
    needed = images_needed(paired, 0.01, 0.95)
    assert needed is not None
    assert needed > 200
    factor = needed / 200
    more = Paired(20 * needed, round(2 * 20 * factor), round(20 * factor))
    assert limits(more, 0.95)[1] < 0.01
    assert images_needed(Paired(200, 4, 1), 0.01, 0.95) is None


def test_confidence_of_a_half_is_what_was_observed() -> None:
    assert limits(Paired(100, 3, 1), 0.5) == (0.02, 0.02)


def test_lower_limit_of_a_share() -> None:
    # Wilson at 97.5 %, one-sided: the lower end of the two-sided 95 % interval of 9 of 10.
    assert lower_limit(9, 10, 0.975) == pytest.approx(0.5958, abs=1e-4)
    assert lower_limit(0, 10, 0.975) == 0
