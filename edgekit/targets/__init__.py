"""Where models are to run, as data, and what of a model will run where.

    target = targets.find("coral")
    placement = targets.place(model, target)      # of edgekit.tflite.read

| module | what it does |
|---|---|
| `NAME.toml` | a target: its numbers, each with unit and source, what it wants of a model |
| `ops/NAME.toml` | an accelerator: the ops it takes, and under which conditions |
| `target`, `reading` | both as frozen values; read from TOML and checked |
| `catalogue` | finds a target by name, alias, or file |
| `conditions` | the conditions by name |
| `placement` | for each op of a model where it will run, why, and what to change |
| `measurements.csv` | published latencies and accuracies, each with its source and conditions |
| `fitted/rates.toml`, `estimate` | rates fitted to them, and the latency that follows for a model |
| `own` | what the user measured: it goes before any estimate |
"""

from edgekit.targets import own
from edgekit.targets.catalogue import find, names
from edgekit.targets.estimate import Estimate, Work, estimates, work_of
from edgekit.targets.placement import Placed, Placement, place, takes
from edgekit.targets.target import Accelerator, Number, Target

__all__ = [
    "Accelerator",
    "Estimate",
    "Number",
    "Placed",
    "Placement",
    "Target",
    "Work",
    "estimates",
    "find",
    "names",
    "own",
    "place",
    "takes",
    "work_of",
]
