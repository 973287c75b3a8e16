"""Builds and installs the Android demo, where an Android SDK is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from edgekit.errors import MissingError, RuntimeFailure

_TASKS = {"build": ":app:assembleDebug", "install": ":app:installDebug"}
_APK = "app/build/outputs/apk/debug/app-debug.apk"
#: What adb says of a phone without room.
_NO_ROOM = "INSTALL_FAILED_INSUFFICIENT_STORAGE"


def run(project: Path, action: str, notify: Callable[[str], None]) -> Path:
    """Builds the app, and installs it on the phone that is connected.

    Args:
        project: The Gradle project.
        action: `build`, or `install`, which builds too.
        notify: Called with each line that Gradle writes.

    Returns:
        The .apk file.

    Raises:
        MissingError: There is no Android SDK, or no Java.
        RuntimeFailure: Gradle failed; or there is no phone, or no room on it.
    """
    if not any(os.environ.get(name) for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT")):
        raise MissingError(
            "no Android SDK: neither ANDROID_HOME nor ANDROID_SDK_ROOT is set",
            f"Install Android Studio and set ANDROID_HOME, or open {project} in Android Studio.",
        )
    command = [str(project.resolve() / "gradlew"), "--console=plain", _TASKS[action]]
    lines: list[str] = []
    try:
        with subprocess.Popen(
            command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as child:
            assert child.stdout is not None
            for line in child.stdout:
                lines.append(line.rstrip())
                notify(lines[-1])
    except OSError as error:
        raise RuntimeFailure(f"{command[0]}: {error.strerror or error}") from error
    if child.returncode != 0:
        raise _failure(project, action, lines)
    return project / _APK


def _failure(project: Path, action: str, lines: list[str]) -> RuntimeFailure:
    said = "\n".join(lines)
    if _NO_ROOM in said:
        return RuntimeFailure(
            "the phone has no room for the app", "Remove something there, or bundle fewer models."
        )
    if "No connected devices" in said or "no devices/emulators found" in said:
        return RuntimeFailure(
            "no phone is connected", "Switch USB debugging on and look: adb devices"
        )
    after = said.rpartition("* What went wrong:")[2].strip().splitlines()
    return RuntimeFailure(
        f"Gradle could not {action} {project}: {after[0] if after else 'it gives no reason'}",
        f"See all of it: cd {project} && ./gradlew {_TASKS[action]}",
    )
