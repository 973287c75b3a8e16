"""`edgekit doctor`: what only a try can tell, in child processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from doctor_support import WORKS

from edgekit.doctor import tiny, trials
from edgekit.doctor.facts import Trial


def test_the_tiny_model_is_sound() -> None:
    interpreter = Interpreter(model_content=tiny.model())
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, np.array([[1, 2, 3, 4]], np.int8))
    interpreter.invoke()
    index = interpreter.get_output_details()[0]["index"]
    assert interpreter.get_tensor(index).tolist() == [[1 + 4 + 9 + 16 + 5, 4 + 6 + 6 + 4 + 6]]


def test_the_runtime_here() -> None:
    tried = trials.runtime()
    assert tried.trial == WORKS and (tried.name or "").startswith("ai-edge-litert ")
    assert tried.xnnpack and tried.refused == ()


@pytest.mark.parametrize("noise", ["", "print('and good bye')"])
def test_a_runtime_that_is_not_alone_on_the_line(
    noise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a library prints as it ends comes after the answer, or in place of it."""
    answer = f"from edgekit.doctor.tiny import main; main(); {noise}" if noise else "print('x')"
    monkeypatch.setattr(trials, "_RUNTIME", answer)
    tried = trials.runtime()
    assert tried.trial == (WORKS if noise else Trial("refused", "gives no answer: x"))


@pytest.mark.parametrize(
    ("code", "trial"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", Trial("crashed", "signal 11")),
        ("import time; time.sleep(60)", Trial("hung", "no answer within 0.5 s")),
        ("print('noise'); import no_such_module", None),
        ("sys.exit(3)", Trial("refused", "exit code 3")),
        ("print('all is well')", Trial("works", "all is well")),
    ],
)
def test_trials_that_end_otherwise(code: str, trial: Trial | None) -> None:
    found = trials.python(code, 0.5 if "sleep" in code else 30)
    wanted = Trial("refused", "ModuleNotFoundError: No module named 'no_such_module'")
    assert found == (trial or wanted)


def test_a_program_that_is_not_there() -> None:
    assert trials.run(["/no/such/program"]).outcome == "refused"


def test_a_wrong_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "_OUTPUT", [1, 2])
    told: dict[str, Any] = {}
    tiny._run(told)
    assert "gives a wrong answer: [35, 26]" in told["fault"]
