"""`edgekit bundle android` and `edgekit bundle pi`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import json_option
from edgekit.cli.progress import ProgressBars

if TYPE_CHECKING:
    from edgekit.deploy.android import AndroidBundle
    from edgekit.deploy.installing import Installed
    from edgekit.deploy.pi import PiBundle

_EXIT_CODES = """\b
Exit codes: 0 done; 1 the answers there are not those of the desk; 2 usage; 3 a file that can't
be read; 4 a device, compiler or disk that failed; 5 something is not installed.
"""

_output_option = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="The folder to write.",
)
_force_option = click.option(
    "--force", is_flag=True, help="Bring a bundle up to date; files that you added stay."
)


@click.group()
def command() -> None:
    """Ship a model with all that it needs: an Android app, a Raspberry Pi package."""


@command.command(
    "android",
    epilog=f"""\b
Examples:
  edgekit bundle android model.tflite -o app/
  edgekit bundle android birds.tflite trees.tflite -o app/ --app-id com.example.nature
  edgekit bundle android model.tflite -o assets/models --assets-only

{_EXIT_CODES}""",
)
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@_output_option
@click.option(
    "--app-id",
    default="dev.edgekit.demo",
    show_default=True,
    metavar="ID",
    help="The app's id on the phone.",
)
@click.option(
    "--app-name",
    default="edgekit demo",
    show_default=True,
    metavar="NAME",
    help="Its name on the screen.",
)
@click.option("--assets-only", is_flag=True, help="Only the files for the assets of your own app.")
@click.option(
    "--delegate",
    "planned",
    multiple=True,
    type=click.Choice(["gpu", "nnapi"]),
    help="Say which ops this delegate may leave to the CPU; may be given again.",
)
@click.option("--build", is_flag=True, help="Build the app; needs an Android SDK.")
@click.option("--install", is_flag=True, help="Build it and install it on the connected phone.")
@_force_option
@json_option
def android(
    models: tuple[Path, ...],
    output: Path,
    app_id: str,
    app_name: str,
    assets_only: bool,
    planned: tuple[str, ...],
    build: bool,
    install: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Put MODELS into an Android app, with labels, contract and golden vectors.

    The app is a Gradle project that opens in Android Studio: the camera or a photo, a choice of
    models and delegates, latencies, and a check at start-up that the phone gives the answers of
    the desk.
    """
    from edgekit.deploy import gradle
    from edgekit.deploy.android import bundle
    from edgekit.errors import UsageError

    if assets_only and (build or install):
        raise UsageError("--assets-only makes no app that could be built")
    apk = None
    with ProgressBars(quiet=as_json) as bars:
        made = bundle(
            models,
            output,
            application_id=app_id,
            app_name=app_name,
            assets_only=assets_only,
            planned=planned,
            force=force,
            notify=bars.say,
        )
        if build or install:
            apk = gradle.run(output, "install" if install else "build", bars.say)
    if as_json:
        document = {**made.to_dict(), "apk": None if apk is None else str(apk)}
        click.echo(json.dumps(document, ensure_ascii=False))
    else:
        _show_android(made, apk, installed=install)


def _show_android(made: AndroidBundle, apk: Path | None, *, installed: bool) -> None:
    from edgekit.report.table import table

    click.echo(table(("asset", "bytes"), [(name, f"{size:,}") for name, size in made.assets]))
    click.echo(f"\nWritten: {made.folder}")
    if made.application_id is None:
        click.echo("Next: copy it to app/src/main/assets/models of your app, not compressed;")
        click.echo("      android_demo/README.md says how to read it.")
    elif apk is None:
        click.echo(f"Next: open {made.folder} in Android Studio, or")
        click.echo(f"      cd {made.folder} && ./gradlew installDebug")
    else:
        click.echo(f"Built: {apk}{', and installed on the phone' if installed else ''}")


@command.command(
    "pi",
    epilog=f"""\b
Examples:
  edgekit bundle pi model.tflite -o classifier/
  edgekit bundle pi model.tflite -o classifier/ --install ssh:pi@raspberrypi.local
  edgekit bundle pi model.tflite -o classifier/ --edgetpu
  edgekit bundle pi model.tflite -o classifier/ --wheels 3.11     for a Pi without a network

{_EXIT_CODES}""",
)
@click.argument("model", type=click.Path(path_type=Path))
@_output_option
@click.option(
    "--golden",
    type=click.Path(path_type=Path),
    metavar="FILE.zip",
    help="The golden vectors.  [default: MODEL.golden.zip, or those inside MODEL]",
)
@click.option(
    "--edgetpu", is_flag=True, help="Compile it for the Edge TPU too; needs edgetpu_compiler."
)
@click.option(
    "--wheels",
    multiple=True,
    metavar="VERSION",
    help="Put the wheels for this Python in, such as 3.11, for a 64-bit Pi without a network; may "
    "be given again.",
)
@click.option(
    "--install",
    metavar="DEVICE",
    help="Put it on ssh:USER@HOST[:PORT], install it and verify it there.",
)
@_force_option
@json_option
def pi(
    model: Path,
    output: Path,
    golden: Path | None,
    edgetpu: bool,
    wheels: tuple[str, ...],
    install: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make a package of MODEL for a Raspberry Pi: a folder and the same as a .tar.gz.

    There, install.sh makes it ready without root, and classify.py classifies photos, a camera, or
    what a browser sends. It checks at every start that its answers are those of the desk.
    """
    from edgekit.deploy import installing
    from edgekit.deploy.pi import bundle
    from edgekit.devices import open_device

    there = None
    if install is not None:
        open_device(install)  # a name that is none is told before any work
    with ProgressBars(quiet=as_json) as bars:
        made = bundle(
            model,
            output,
            golden,
            for_edgetpu=edgetpu,
            wheels=wheels,
            force=force,
            notify=bars.say,
        )
        if install is not None:
            there = installing.install(made, install, bars.say)
    if as_json:
        click.echo(json.dumps({**made.to_dict(), "installed": _place(there)}, ensure_ascii=False))
    else:
        _show_pi(made, there)


def _place(there: Installed | None) -> dict[str, Any] | None:
    return None if there is None else {"device": there.device, "folder": there.folder}


def _show_pi(made: PiBundle, there: Installed | None) -> None:
    size = made.archive.stat().st_size / (1 << 20)
    if made.compiled is not None:
        click.echo(f"Edge TPU: {made.compiled}")
    click.echo(f"Written: {made.folder} ({made.files} files), {made.archive} ({size:.1f} MiB)")
    if there is None:
        click.echo(f"Next: scp {made.archive} pi@raspberrypi.local: and unpack it there, then")
        click.echo("      ./install.sh; or let --install ssh:pi@raspberrypi.local do all of it")
        return
    click.echo(f"\n{there.device}: {there.folder}\n{there.said}")
    host = there.device.removeprefix("ssh:")
    click.echo(f"Next: ssh {host}, then {there.folder}/classify.py --help")
