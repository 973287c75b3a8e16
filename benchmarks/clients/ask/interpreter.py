"""Runs a file in a TFLite interpreter: `interpreter.py MODEL INPUTS.npy ANSWERS.npy`.

INPUTS: [N, H, W, 3] of the model's dtype. ANSWERS: [N, classes], as the model gives them.
"""

import importlib
import sys

import numpy as np

for name in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite"):
    try:
        module = importlib.import_module(name)
        break
    except ImportError:
        continue
interpreter = module.Interpreter(sys.argv[1])
interpreter.allocate_tensors()
source = interpreter.get_input_details()[0]["index"]
scores = interpreter.get_output_details()[0]["index"]
answers = []
for value in np.load(sys.argv[2]):
    interpreter.set_tensor(source, value[None])
    interpreter.invoke()
    answers.append(interpreter.get_tensor(scores)[0])
np.save(sys.argv[3], np.stack(answers))
