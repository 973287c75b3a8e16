"""Which model of the zoo to use, before any of them is trained and any hardware is bought.

    advice = advise(Wishes(Path("photos"), "pi4", max_latency=50, device="ssh:pi@pi4.local"))
    trial = trial.run(advice)  # trains and measures the short list, where that is wanted

| module | what it does |
|---|---|
| `zoo.csv`, `facts` | what is known of each model: from benchmarks/zoo_facts.py, or published |
| `photos` | looks at the photos, without training |
| `wishes` | what was asked for |
| `candidates` | each model for these photos on that target: size, latency, training time, checks |
| `rules.toml`, `rules` | what speaks against a model, with its source; read and applied |
| `ranking` | the order, the Pareto set, what comes nearest, why a family is not on the list |
| `features`, `probing` | how near to ImageNet the photos are; the training that tells |
| `training` | how it is to be trained |
| `recipe` | the commands to type |
| `advice` | all of it together |
| `picture` | draws it |
| `steps`, `outcome`, `attempt` | runs a recipe's commands; what they printed; one model's turn |
| `trial` | trains and measures the short list, and corrects the estimates as it goes |
"""

from edgekit.advisor.advice import Advice, advise
from edgekit.advisor.candidates import Candidate, Check
from edgekit.advisor.features import Probe
from edgekit.advisor.photos import Photos
from edgekit.advisor.ranking import Nearest
from edgekit.advisor.wishes import Wishes

__all__ = ["Advice", "Candidate", "Check", "Nearest", "Photos", "Probe", "Wishes", "advise"]
