"""`edgekit doctor`: what only a try can tell, in child processes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from doctor_support import WORKS

from edgekit.doctor import tiny, trials
from edgekit.doctor.facts import Trial
from edgekit.runtime import interpreter, probes


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
    sound = probes.requantized()
    other = dataclasses.replace(sound, expected=sound.expected + 3)
    monkeypatch.setattr(interpreter, "all_probes", lambda: (other,))
    interpreter.faults.cache_clear()
    told: dict[str, Any] = {}
    try:
        tiny._run(told)
    finally:
        interpreter.faults.cache_clear()
    assert "computes QUANTIZE from uint8 to int8 wrong" in told["fault"]
