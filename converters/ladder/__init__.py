"""The accuracy contract: climb from cheap to dear until int8 keeps what was promised, or say no."""

from edgekit.converters.ladder.advice import advice
from edgekit.converters.ladder.climbing import Climb, Promised, PromiseNotKept, Training, climb
from edgekit.converters.ladder.data import MOST_CALIBRATION, Data, Judges, load_judges, open_data
from edgekit.converters.ladder.promise import Judgement, Promise
from edgekit.converters.ladder.result import Step

__all__ = [
    "MOST_CALIBRATION",
    "Climb",
    "Data",
    "Judgement",
    "Judges",
    "Promise",
    "PromiseNotKept",
    "Promised",
    "Step",
    "Training",
    "advice",
    "climb",
    "load_judges",
    "open_data",
]
