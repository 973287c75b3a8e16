"""One model of a trial: its steps one after the other, and what came of them."""

from __future__ import annotations

from collections.abc import Callable

from edgekit.advisor import outcome as reading
from edgekit.advisor import recipe, steps
from edgekit.advisor.advice import Advice
from edgekit.advisor.candidates import Candidate
from edgekit.advisor.outcome import Outcome
from edgekit.advisor.recipe import Command
from edgekit.advisor.steps import Done, Take
from edgekit.errors import EdgekitError, MissingError


def attempt(
    candidate: Candidate,
    first_ms: float | None,
    advice: Advice,
    take: Take,
    say: Callable[[str], object],
) -> Outcome:
    """Trains, converts, judges and measures a model; its error where a step fails.

    Args:
        candidate: The model.
        first_ms: The latency that was estimated before anything was measured, or None.
        advice: What it is tried for.
        take: Takes one step.
        say: Called with what goes on, a sentence each.

    Raises:
        MissingError: A program of another's, that a step takes, isn't installed.
    """
    commands = _wanted(candidate, advice)
    steps.require(commands.values())
    done: dict[str, Done] = {}
    # What starts from something new is to be made anew.
    again = False
    for verb, command in commands.items():
        say(f"   {command.what}{_how_long(command, candidate)}")
        try:
            done[verb] = take(command, advice.photos.digest, again=again)
        except EdgekitError as error:
            # What installs something that is missing is not to be lost.
            hint = f". {error.hint}" if isinstance(error, MissingError) and error.hint else ""
            say(f"   {error.message}{hint}")
            return Outcome(candidate, first_ms, error=f"{error.message}{hint}")
        if done[verb].kept:
            say(f"   taken from before: {command.writes}")
        again |= command.writes is not None and not done[verb].kept
    return _outcome(candidate, first_ms, advice, commands, done)


def _wanted(candidate: Candidate, advice: Advice) -> dict[str, Command]:
    """verb -> the command, of those that tell something; `inspect` only shows."""
    lines = recipe.commands(candidate, advice.photos, advice.target, advice.wishes, advice.probe)
    commands = {command.verb: command for command in lines if command.verb != "inspect"}
    if advice.photos.judge is None:
        # It would be judged by photos that it learned from. The training held some back.
        del commands["evaluate"]
    return commands


def _how_long(command: Command, candidate: Candidate) -> str:
    if command.verb != "train" or "--epochs" in command.arguments:
        return ""
    return f" ({candidate.training.low:.2g} to {candidate.training.high:.2g} min on two cores)"


def _outcome(
    candidate: Candidate,
    first_ms: float | None,
    advice: Advice,
    commands: dict[str, Command],
    done: dict[str, Done],
) -> Outcome:
    wishes, target = advice.wishes, advice.target
    tflite = commands["convert"].writes
    assert tflite is not None
    last = done.get("qat", done["train"])
    accuracy = (
        reading.evaluated_accuracy(done["evaluate"].result, tflite)
        if "evaluate" in done
        else reading.trained_accuracy(last.result)
    )
    latency = reading.measured_latency(done["benchmark"].result)
    # With an accelerator it is what its compiler made of the file that was measured.
    measured = [command.writes for command in commands.values() if command.writes][-1]
    size = measured.stat().st_size / (1 << 20)
    seconds = sum(done[verb].seconds for verb in ("train", "qat") if verb in done)
    return Outcome(
        candidate,
        first_ms,
        accuracy,
        latency,
        size,
        seconds / 60,
        measured,
        tuple(reading.limits(wishes, latency, size)),
        wishes.min_accuracy is None or accuracy.top1 >= wishes.min_accuracy,
        reading.is_on(done["benchmark"].result, target),
    )
