"""The Raspberry Pi package: a folder, and the same as a .tar.gz."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit import pip
from edgekit.benchmark import artefacts
from edgekit.deploy import edgetpu, folder, imports, shipment
from edgekit.deploy.folder import File
from edgekit.deploy.on_pi.package import INDEX, Entry, Package
from edgekit.deploy.shipment import Shipment
from edgekit.errors import MissingError, UsageError
from edgekit.files import refuse_overwrite, write_all
from edgekit.version import __version__

_ROOM = Path(__file__).parent / "on_pi"
_FILES = _ROOM / "files"
_PROGRAM = "edgekit.deploy.on_pi.program"
_MACHINES = ("aarch64", "armv7l")


@dataclass(frozen=True)
class PiBundle:
    """What was made.

    Attributes:
        folder: The package.
        archive: The same as a .tar.gz.
        name: The model's.
        files: How many files it has.
        compiled: What the Edge TPU's compiler did, in words, or None.
    """

    folder: Path
    archive: Path
    name: str
    files: int
    compiled: str | None

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "folder": str(self.folder),
            "archive": str(self.archive),
            "name": self.name,
            "files": self.files,
            "bytes": self.archive.stat().st_size,
            "edgetpu": self.compiled,
        }


def bundle(
    model: Path,
    output: Path,
    golden: Path | None = None,
    *,
    for_edgetpu: bool = False,
    wheels: Sequence[str] = (),
    force: bool = False,
    notify: Callable[[str], None] = lambda message: None,
) -> PiBundle:
    """Makes the package of a model.

    Args:
        model: A .tflite file for the CPU.
        output: The folder; `output`.tar.gz is written too.
        golden: Its golden vectors, where they aren't beside it.
        for_edgetpu: Put the model for the Edge TPU beside that for the CPU.
        wheels: Python versions, such as `3.11`, for which to put the wheels in: then the board
            needs no network.
        force: Bring an existing package up to date.
        notify: Called with what the user should know.

    Raises:
        UsageError: The model can't be shipped, or something is in the way.
        UnreadableError: The model or its golden vectors are damaged.
        MissingError: The compiler, a binary or a wheel can't be had.
        RuntimeFailure: The compiler failed, or the disk is full.
    """
    archive = output.with_name(f"{output.name}.tar.gz")
    if not output.name:
        raise UsageError(f"{output}: is no name for a folder", "Name one with -o.")
    folder.check(output, force=force)
    # That of a package whose folder was removed stands in nobody's way.
    left = not output.exists() and _is_package(archive)
    refuse_overwrite(archive, force=force or left, source=model)
    if for_edgetpu:
        edgetpu.require_compiler()
    shipped = shipment.take(model, golden, notify)
    if shipped.contract.interpolation != "exact":
        notify(
            f"{model.name} is prepared with the interpolation {shipped.contract.interpolation}, "
            "which isn't the same in every build of OpenCV: golden vectors may differ on the Pi."
        )
    compiled = edgetpu.compile_model(shipped, notify) if for_edgetpu else None
    files = _files(shipped, compiled) | _wheels(wheels, notify)
    fresh = not output.exists()
    folder.write(output, files)
    try:
        write_all({archive: _packed(output.name, output, files)})
    except BaseException:
        if fresh:
            shutil.rmtree(output)
        raise
    words = None if compiled is None else compiled.in_words
    return PiBundle(output, archive, shipped.name, len(files), words)


def _files(shipped: Shipment, compiled: edgetpu.Compiled | None) -> dict[str, File]:
    """Everything but the wheels: relative path -> file."""
    binaries = artefacts.carried()
    missing = [machine for machine in _MACHINES if machine not in binaries]
    if missing:
        raise MissingError(
            f"no edgekit-bench for {' and '.join(missing)} is installed here",
            "In a checkout, build them with `make native`.",
        )
    files = {
        shipped.model_file: File(shipped.model),
        shipped.golden_file: File(shipped.golden.to_zip()),
        "contract.json": File(shipped.contract.to_json().encode()),
        **{f"bin/{binaries[m].name}": File(binaries[m].read_bytes(), True) for m in _MACHINES},
        **{f"lib/{name}": File(path.read_bytes()) for name, path in _library().items()},
    }
    if shipped.labels_text is not None:
        files["labels.txt"] = File(shipped.labels_text)
    for_edgetpu = None
    if compiled is not None:
        for_edgetpu = f"{shipped.name}_edgetpu"
        golden = shipped.golden.moved_to(compiled.model, f"{for_edgetpu}.tflite")
        files[f"{for_edgetpu}.tflite"] = File(compiled.model)
        files[f"{for_edgetpu}.golden.zip"] = File(golden.to_zip())
    package = Package(
        shipped.name,
        __version__,
        _entry(shipped.name, files),
        None if for_edgetpu is None else _entry(for_edgetpu, files),
    )
    files[INDEX] = File(package.to_json().encode())
    return files | _texts(shipped, compiled)


def _entry(name: str, files: Mapping[str, File]) -> Entry:
    model = f"{name}.tflite"
    digest = hashlib.sha256(files[model].content).hexdigest()
    return Entry(model, digest, f"{name}.golden.zip")


def _library() -> dict[str, Path]:
    """The program and what it imports, as they are here."""
    page = _ROOM / "page.html"
    return imports.closure(_PROGRAM) | {f"edgekit/deploy/on_pi/{page.name}": page}


def _texts(shipped: Shipment, compiled: edgetpu.Compiled | None) -> dict[str, File]:
    """The scripts and the README, with the names of this model."""
    words = {
        "name": shipped.name,
        "model": shipped.model_file,
        "golden": shipped.golden_file,
        "classes": str(shipped.classes),
        "size": f"{len(shipped.model) / (1 << 20):.1f}",
        "edgekit": __version__,
        "litert": artefacts.LITERT_VERSION,
        "edgetpu": "",
    }
    if compiled is not None:
        words["compiled"] = f"{shipped.name}_edgetpu.tflite"
        words["mapped"] = f": {compiled.in_words}"
        words["edgetpu"] = _filled((_FILES / "edgetpu.md").read_text("utf-8"), words)
    names = ("README.md", "benchmark.sh", "classify.py", "install.sh", "requirements.txt")
    return {
        name: File(
            _filled((_FILES / name).read_text("utf-8"), words).encode(),
            executable=name.endswith((".sh", ".py")),
        )
        for name in names
    }


def _filled(text: str, words: Mapping[str, str]) -> str:
    for name, value in words.items():
        text = text.replace(f"@{name}@", value)
    return text


def _wheels(versions: Sequence[str], notify: Callable[[str], None]) -> dict[str, File]:
    files: dict[str, File] = {}
    for version in versions:
        notify(f"fetching the wheels for Python {version} on aarch64 ...")
        with tempfile.TemporaryDirectory(prefix="edgekit-wheels-") as work:
            requirements = Path(work) / "requirements.txt"
            text = (_FILES / requirements.name).read_text("utf-8")
            requirements.write_text(_filled(text, {"litert": artefacts.LITERT_VERSION}))
            hint = "Is there a connection, and a LiteRT for that Python? Or leave --wheels out."
            found = pip.download(
                ["-r", str(requirements)], Path(work), "aarch64", version, hint=hint
            )
            files |= {f"wheels/{path.name}": File(path.read_bytes()) for path in found}
    return files


def _is_package(archive: Path) -> bool:
    try:
        with tarfile.open(archive) as opened:
            return any(Path(name).name == folder.MANIFEST for name in opened.getnames())
    except (OSError, tarfile.TarError):
        return False


def _packed(name: str, made: Path, files: Mapping[str, File]) -> bytes:
    """The .tar.gz of a package; same files, same bytes."""
    whole = {**files, folder.MANIFEST: File((made / folder.MANIFEST).read_bytes())}
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, file in sorted(whole.items()):
            info = tarfile.TarInfo(f"{name}/{path}")
            info.size, info.mode = len(file.content), 0o755 if file.executable else 0o644
            archive.addfile(info, io.BytesIO(file.content))
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as stream:
        stream.write(plain.getvalue())
    return packed.getvalue()
