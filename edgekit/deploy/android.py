"""The Android demo with models in place, or only the assets for an app of one's own."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.deploy import delegates, folder, shipment
from edgekit.deploy.folder import File
from edgekit.deploy.shipment import Shipment
from edgekit.errors import MissingError, UsageError

#: `android_demo/` of the checkout, through a link that the wheel follows.
_DEMO = Path(__file__).parent / "android_demo"
_ASSETS = "app/src/main/assets/models"
#: What Gradle and Android Studio leave there, and what is filled in.
_LEFT_OUT = frozenset({"build", ".gradle", ".idea", ".kotlin", "local.properties", "assets"})
_PROGRAMS = ("gradlew",)
_SCHEMA_VERSION = 1
#: Google Play's limit of a base module that is downloaded at once:
#: https://support.google.com/googleplay/android-developer/answer/9859372
_MOST_BYTES = 200 << 20
#: https://developer.android.com/build/configure-app-module#set-application-id
_APPLICATION_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+")


@dataclass(frozen=True)
class AndroidBundle:
    """What was made.

    Attributes:
        folder: The Gradle project, or the assets.
        models: The names of the models.
        assets: (file, bytes) of each asset, relative to the folder.
        application_id: Of the app, or None for assets only.
    """

    folder: Path
    models: tuple[str, ...]
    assets: tuple[tuple[str, int], ...]
    application_id: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "folder": str(self.folder),
            "models": list(self.models),
            "assets": [{"file": name, "bytes": size} for name, size in self.assets],
            "application_id": self.application_id,
        }


def bundle(
    models: Sequence[Path],
    output: Path,
    *,
    application_id: str = "dev.edgekit.demo",
    app_name: str = "edgekit demo",
    assets_only: bool = False,
    planned: Sequence[str] = (),
    force: bool = False,
    notify: Callable[[str], None] = lambda message: None,
) -> AndroidBundle:
    """Makes a Gradle project, or the assets, of some models.

    Args:
        models: .tflite files, in the order in which the app lists them.
        output: The folder.
        application_id: What the app is called on the phone and in the store.
        app_name: What it is called on the screen.
        assets_only: Only the files for the assets of another app.
        planned: Delegates that will be used there, to check the ops for: `gpu`, `nnapi`.
        force: Bring an existing bundle up to date.
        notify: Called with what the user should know.

    Raises:
        UsageError: A model can't be shipped or fed there, two clash, or something is in the way.
        UnreadableError: A model or its golden vectors are damaged.
        RuntimeFailure: The disk is full.
    """
    folder.check(output, force=force)
    _check_names(application_id, app_name)
    shipments = [shipment.take(path, notify=notify) for path in models]
    shipment.require_distinct(shipments)
    for shipped in shipments:
        _check_feeds(shipped)
        for remark in delegates.remarks(shipped, planned):
            notify(remark)
    assets = _assets(shipments)
    total = sum(len(file.content) for file in assets.values())
    if total > _MOST_BYTES:
        notify(
            f"The assets take {total >> 20} MiB; Google Play takes {_MOST_BYTES >> 20} MiB at once."
        )
    if assets_only:
        files = assets
    else:
        files = _project(application_id, app_name)
        files |= {f"{_ASSETS}/{name}": file for name, file in assets.items()}
    folder.write(output, files)
    prefix = "" if assets_only else f"{_ASSETS}/"
    return AndroidBundle(
        output,
        tuple(shipped.name for shipped in shipments),
        tuple((f"{prefix}{name}", len(file.content)) for name, file in sorted(assets.items())),
        None if assets_only else application_id,
    )


def _check_names(application_id: str, app_name: str) -> None:
    if not _APPLICATION_ID.fullmatch(application_id):
        raise UsageError(
            f"application id {application_id!r}: is none",
            "Two or more words of letters, digits and _, with dots between: com.example.birds.",
        )
    if not app_name.strip() or not app_name.isprintable():
        raise UsageError(f"app name {app_name!r}: can't be shown on a screen")
    if app_name.strip().startswith(("@", "?")):
        raise UsageError(
            f"app name {app_name!r}: begins as Android's references to resources do",
            "Begin it with another character.",
        )


def _check_feeds(shipped: Shipment) -> None:
    """What the engine in Java refuses is refused here, where it can be mended."""
    if shipped.contract.interpolation != "exact":
        raise UsageError(
            f"{shipped.path}: its pictures are resampled with {shipped.contract.interpolation}, "
            "which only OpenCV has, and not on a phone",
            "Convert it with --interpolation exact, which is the same in every byte everywhere.",
        )


def _assets(shipments: Sequence[Shipment]) -> dict[str, File]:
    files: dict[str, File] = {}
    entries = []
    for shipped in shipments:
        name = shipped.name
        mine = {
            "model": (shipped.model_file, shipped.model),
            "contract": (f"{name}.contract.json", shipped.contract.to_json().encode()),
            "labels": (f"{name}.labels.txt", shipped.labels_text),
            "golden": (shipped.golden_file, shipped.golden.to_zip()),
        }
        files |= {file: File(content) for file, content in mine.values() if content is not None}
        entries.append(
            {
                "name": name,
                **{kind: file for kind, (file, content) in mine.items() if content is not None},
                "bytes": len(shipped.model),
                "sha256": hashlib.sha256(shipped.model).hexdigest(),
                "ops": sum(shipped.ops.values()),
            }
        )
    index = json.dumps({"schema": _SCHEMA_VERSION, "models": entries}, indent=2) + "\n"
    return files | {"index.json": File(index.encode())}


def _project(application_id: str, app_name: str) -> dict[str, File]:
    """The demo's own files, with its id and its name."""
    if not (_DEMO / "settings.gradle.kts").is_file():
        raise MissingError(
            "the Android demo is not part of this installation", "Install edgekit from its wheel."
        )
    files = {
        path.relative_to(_DEMO).as_posix(): File(path.read_bytes(), path.name in _PROGRAMS)
        for path in sorted(_DEMO.rglob("*"))
        if path.is_file() and not _LEFT_OUT & set(path.relative_to(_DEMO).parts)
    }
    properties = f"applicationId={application_id}\nappName={_escaped(app_name)}\n"
    return files | {"bundle.properties": File(properties.encode("ascii"))}


def _escaped(text: str) -> str:
    """As java.util.Properties reads it."""
    escaped = text.strip().replace("\\", "\\\\")
    units = escaped.encode("utf-16-be")
    codes = [int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2)]
    return "".join(chr(code) if 32 <= code < 127 else f"\\u{code:04x}" for code in codes)
