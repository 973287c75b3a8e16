"""`edgekit tune`: a search for better hyper-parameters, on Optuna.

| module | what it does |
|---|---|
| `space` | what is searched, as data, and the recipes that are tried first |
| `sampling` | proposes the next recipe, and ends trials that fall behind |
| `storage` | the study in a database that several processes share |
| `trials` | one trial: the same training as `edgekit train`'s, without its files |
| `leaks` | what TensorFlow would keep of every trial |
| `importance` | which parameters mattered |
| `search`, `running` | the façade, and the search behind it |
| `result` | what comes out |
"""

from __future__ import annotations

from edgekit.training.tuning.result import Trial, Tuning
from edgekit.training.tuning.search import Request, tune

__all__ = ["Request", "Trial", "Tuning", "tune"]
