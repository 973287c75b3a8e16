"""How good a classifier is: metrics, models side by side, and single predictions."""

from edgekit.evaluation.classifier import Classifier, open_tflite
from edgekit.evaluation.evaluate import evaluate
from edgekit.evaluation.predict import Prediction, Predictor, Score, pictures_in, predict
from edgekit.evaluation.results import Evaluation, ModelResult

__all__ = [
    "Classifier",
    "Evaluation",
    "ModelResult",
    "Prediction",
    "Predictor",
    "Score",
    "evaluate",
    "open_tflite",
    "pictures_in",
    "predict",
]
