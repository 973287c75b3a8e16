"""Which recipe comes next, and which trial is not worth going on with. Imports Optuna.

TPE (Bergstra et al. 2011) in its multivariate form: with ten trials an hour it works as a local
search around the best ones, where a model of each parameter alone would mix the good halves of two
recipes that don't go together. Running trials count as bad ones (constant liar), so that several
processes don't try the same thing.

A trial ends early when its best epoch so far is below the median of what finished trials had by
then (`MedianPruner`). The default is the first that finishes, so at first a trial has to keep up
with the default. Hyperband and ASHA would divide ten trials among brackets and rungs, and need far
more of them to be worth it.
"""

from __future__ import annotations

import math
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
)
from optuna.study import Study
from optuna.trial import FrozenTrial

from edgekit.training.tuning.space import Space, Value

#: Trials before TPE models anything; the queue (`Space.queue`) fills most of them.
_STARTUP = 5
#: The share of the epochs of fine-tuning before a trial is first compared, and between two looks.
#: What varies the pictures more, or moves more of the network, is behind at first and gains while
#: the rate falls; and each look is a chance to end a good trial by bad luck.
_LOOK = 0.5


class SeededTPE(optuna.samplers.BaseSampler):
    """TPE whose chance depends on the seed and the trial's number, and on nothing else.

    So processes that share a study don't draw alike, and a search that was stopped goes on as if
    it had not been.

    Args:
        seed: From 0 on.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._number = -1
        self._sampler: optuna.samplers.TPESampler | None = None

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As TPE does."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As TPE does."""
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """As TPE does."""
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def _of(self, trial: FrozenTrial) -> optuna.samplers.TPESampler:
        if self._sampler is None or trial.number != self._number:
            self._number = trial.number
            self._sampler = optuna.samplers.TPESampler(
                n_startup_trials=_STARTUP,
                multivariate=True,
                constant_liar=True,
                seed=(self._seed * 1_000_003 + trial.number) % 2**32,
            )
        return self._sampler


def pruner(epochs: int) -> optuna.pruners.BasePruner:
    """Ends trials that fall behind.

    Args:
        epochs: Of fine-tuning; what is reported is counted in them.
    """
    look = max(1, math.ceil(_LOOK * epochs))
    return optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=look, interval_steps=look)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """A space in Optuna's terms."""
    found: dict[str, BaseDistribution] = {}
    for name in space.names:
        domain = space.domain(name)
        if space.is_number(name):
            found[name] = FloatDistribution(float(domain[0]), float(domain[1]), log=True)
        else:
            found[name] = CategoricalDistribution(domain)
    return found


def settings(trial: optuna.Trial, space: Space) -> dict[str, Value]:
    """What a trial is to try."""
    return {name: _suggested(trial, name, d) for name, d in distributions(space).items()}


def _suggested(trial: optuna.Trial, name: str, domain: BaseDistribution) -> Value:
    if isinstance(domain, FloatDistribution):
        return trial.suggest_float(name, domain.low, domain.high, log=domain.log)
    assert isinstance(domain, CategoricalDistribution)
    value = trial.suggest_categorical(name, domain.choices)
    assert isinstance(value, (str, float, int))
    return value
