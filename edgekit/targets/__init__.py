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
| `split` | who takes how long, where an accelerator leaves some ops to the CPU |
| `memory`, `xnnpack` | how much memory a model needs, of how much there is; XNNPACK's part |
| `own` | what the user measured: it goes before any estimate |
| `latency` | what is known best of a latency: measured, corrected, borrowed or published |
"""

from edgekit.targets import own
from edgekit.targets.catalogue import find, names
from edgekit.targets.estimate import Estimate, Work, estimates, work_if_known, work_of
from edgekit.targets.latency import Latency, latency_of
from edgekit.targets.memory import Memory, memory_of
from edgekit.targets.placement import Placed, Placement, place, takes
from edgekit.targets.split import Share, Split, split_of
from edgekit.targets.target import Accelerator, Number, Target

__all__ = [
    "Accelerator",
    "Estimate",
    "Latency",
    "Memory",
    "Number",
    "Placed",
    "Placement",
    "Share",
    "Split",
    "Target",
    "Work",
    "estimates",
    "find",
    "latency_of",
    "memory_of",
    "names",
    "own",
    "place",
    "split_of",
    "takes",
    "work_if_known",
    "work_of",
]
