"""The `edgekit` command: a lazy group of verbs, and the one place that renders errors."""

from __future__ import annotations

import importlib
import os
import sys

import click

from edgekit.errors import EXIT_INTERRUPTED, EdgekitError, RuntimeFailure
from edgekit.quiet import DEBUG_VARIABLE
from edgekit.version import __version__

#: verb -> its one-line help. The module `edgekit.cli.VERB` is imported when the verb is used, so
#: that `edgekit --help` loads nothing heavy.
VERBS = {
    "models": "List the model zoo, or create a model from it.",
    "convert": "Convert a Keras model to a .tflite file that is proven to be the same classifier.",
    "inspect": "Show what is in a .tflite file: ops, quantization, memory, metadata.",
    "evaluate": "Compare the accuracy of models on the same photos.",
    "predict": "Classify images, a video or the camera.",
}

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
    debug = "--debug" in arguments
    # --debug is wanted after the verb too, where people add it.
    arguments = [a for a in arguments if a != "--debug"]
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"  # child processes see it too
    if hasattr(sys.stdout, "reconfigure"):
        # File names can hold bytes that are no UTF-8: they are shown, and stop nothing.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = group.main(args=arguments, prog_name="edgekit", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("\nInterrupted; nothing was left behind.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        click.echo("\nInterrupted; nothing was left behind.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        if debug:
            raise
        error.show()
        sys.exit(2)
    except EdgekitError as error:
        if debug:
            raise
        _render(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        # A disk or the system refuses; where a better word is due, it was raised as EdgekitError.
        if debug:
            raise
        place = f"{error.filename}: " if error.filename else ""
        _render(RuntimeFailure(f"{place}{error.strerror or error}", _LOOK_CLOSER))
        sys.exit(RuntimeFailure.exit_code)
    except MemoryError:
        if debug:
            raise
        _render(RuntimeFailure("out of memory", "Close other programs, or use fewer --samples."))
        sys.exit(RuntimeFailure.exit_code)
    except Exception as error:
        if debug:
            raise
        click.echo(f"Error: edgekit failed: {type(error).__name__}: {error}", err=True)
        click.echo("This is a bug in edgekit. Run again with --debug and report it.", err=True)
        sys.exit(4)
    sys.exit(code if isinstance(code, int) else 0)


def _render(error: EdgekitError) -> None:
    click.echo(f"Error: {error.message}", err=True)
    if error.hint:
        click.echo(f"  {error.hint}", err=True)
