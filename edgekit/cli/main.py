"""The `edgekit` command: a lazy group of verbs, and the one place that renders errors."""

from __future__ import annotations

import importlib
import os
import sys
import traceback

import click

from edgekit.errors import EXIT_INTERRUPTED, EdgekitError, RuntimeFailure, UsageError
from edgekit.quiet import DEBUG_VARIABLE, debugging
from edgekit.version import __version__

#: verb -> its one-line help. The module `edgekit.cli.VERB` is imported when the verb is used, so
#: that `edgekit --help` loads nothing heavy.
VERBS = {
    "advise": "Say which model to use, for your photos on a target.",
    "models": "List the model zoo, or create a model from it.",
    "train": "Fine-tune a model on your photos.",
    "tune": "Search for better hyper-parameters.",
    "qat": "Train a model to be as good in int8 as in float.",
    "convert": "Convert a Keras model to a .tflite file that is proven to be the same classifier.",
    "inspect": "Show what is in a .tflite file: ops, quantization, memory, metadata.",
    "evaluate": "Compare the accuracy of models on the same photos.",
    "predict": "Classify images, a video or the camera.",
    "verify": "Check that a device or an app gives the answers of the desk.",
    "benchmark": "Measure latency here, on a board over SSH, or on a phone over adb.",
    "compare": "Say whether one benchmark is really faster than another.",
    "bundle": "Ship a model: an Android app, a Raspberry Pi package.",
    "doctor": "Say what is installed, what is missing, and the line that mends it.",
}

_NOTHING_LEFT = "nothing was left behind."
_LOOK_CLOSER = "Look at the disk and its permissions; --debug shows where it happened."


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command = importlib.import_module(f"edgekit.cli.{name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Click would import every verb to read its help.
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: edgekit models create efficientnet_lite0 -o m.keras",
)
@click.version_option(__version__, prog_name="edgekit")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def group(debug: bool) -> None:
    """Image classifiers on edge devices: convert, check, measure, ship."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and ends the process with the documented exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--debug" in arguments:
        os.environ[DEBUG_VARIABLE] = "1"
        # It is wanted after the verb too, where people add it.
        arguments = [argument for argument in arguments if argument != "--debug"]
    if hasattr(sys.stdout, "reconfigure"):
        # File names can hold bytes that are no UTF-8: they are shown, and stop nothing.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        # Not `group.main`: that ends with 1, a valid "no", when `head` has seen enough.
        with group.make_context("edgekit", list(arguments)) as context:
            code = group.invoke(context)
    except click.exceptions.Exit as done:  # after --help and --version
        sys.exit(done.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt) as interrupt:
        click.echo(
            f"\nInterrupted; {interrupt.args[0] if interrupt.args else _NOTHING_LEFT}", err=True
        )
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        # The one place where an error becomes words: no traceback reaches a user who didn't ask.
        if debugging():
            traceback.print_exc()
        sys.exit(_explain(error))
    sys.exit(code if isinstance(code, int) else 0)


def _explain(error: Exception) -> int:
    """Says what went wrong and what to do; returns the exit code."""
    if isinstance(error, click.ClickException):
        error.show()
        return UsageError.exit_code
    if isinstance(error, BrokenPipeError):  # `edgekit ... | head` has seen enough
        _point_stdout_nowhere()
        return 0
    if isinstance(error, MemoryError):
        error = RuntimeFailure("out of memory", "Close other programs, or use fewer --samples.")
    elif isinstance(error, OSError):
        # A disk or the system refuses; where a better word is due, it was raised as EdgekitError.
        place = f"{error.filename}: " if error.filename else ""
        error = RuntimeFailure(f"{place}{error.strerror or error}", _LOOK_CLOSER)
    elif not isinstance(error, EdgekitError):
        error = RuntimeFailure(
            f"edgekit failed: {type(error).__name__}: {error}",
            "This is a bug in edgekit. Run again with --debug and report it.",
        )
    assert isinstance(error, EdgekitError)
    click.echo(f"Error: {error.message}", err=True)
    if error.hint:
        click.echo(f"  {error.hint}", err=True)
    return error.exit_code


def _point_stdout_nowhere() -> None:
    """Python flushes stdout when it ends, and would complain of the broken pipe then."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
