"""Which parameters decided how well a trial went. Imports Optuna."""

from __future__ import annotations

import optuna
from optuna.distributions import BaseDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

#: With fewer trials than this, chance would be all there is to see.
MIN_TRIALS = 6
#: The better part of the trials, which the others are compared with. The paper takes a tenth; of
#: ten trials that is one.
_TOP = 1 / 3


def importances(
    trials: list[FrozenTrial], distributions: dict[str, BaseDistribution]
) -> dict[str, float] | None:
    """Shares of the parameters in how good a trial is, the largest first; they sum to 1.

    PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255): how differently a parameter is spread among
    the best trials and among all. It needs no package besides Optuna (fANOVA needs scikit-learn).
    Trials that were ended early count with the best they had reached: they were ended for being
    worse, and the few that finished are too much alike to say why.

    Args:
        trials: All of a study.
        distributions: Parameter -> its domain; others are left out.

    Returns:
        None where too few trials say something, or all are equally good.
    """
    judged = [
        optuna.create_trial(
            state=TrialState.COMPLETE,
            params={name: trial.params[name] for name in distributions},
            distributions=distributions,
            value=_value(trial),
        )
        for trial in trials
        if _value(trial) is not None
        and all(trial.distributions.get(name) == d for name, d in distributions.items())
    ]
    if len(judged) < MIN_TRIALS or len({trial.value for trial in judged}) == 1:
        return None
    study = optuna.create_study(direction="maximize")
    study.add_trials(judged)
    found = get_param_importances(
        study, evaluator=PedAnovaImportanceEvaluator(target_quantile=_TOP)
    )
    return dict(found) if sum(found.values()) > 0 else None


def _value(trial: FrozenTrial) -> float | None:
    if trial.state is TrialState.COMPLETE:
        return trial.value
    if trial.state is TrialState.PRUNED and trial.intermediate_values:
        return max(trial.intermediate_values.values())
    return None
