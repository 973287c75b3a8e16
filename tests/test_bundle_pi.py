"""`edgekit bundle pi`: what is in the package, and that it runs by itself."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import COLOURS, colour_picture, write_picture
from deploy_support import CONTRACT, classifier, classify
from devices_support import SshServer, ssh_server
from native_support import build_stub

from edgekit import tflite
from edgekit.contract import NORMALIZATIONS, Contract
from edgekit.golden import vectors


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("model") / "colours.tflite")


@pytest.fixture(scope="module")
def package(run_cli, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("package") / "pi package"
    run = run_cli("bundle", "pi", model, "-o", output)
    assert run.returncode == 0, run.stderr
    return output


@pytest.fixture
def copy(package: Path, tmp_path: Path) -> Path:
    """The package, to be spoilt."""
    return Path(shutil.copytree(package, tmp_path / "copy"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return write_photo(tmp_path / "red.png", "red")


def write_photo(path: Path, colour: str) -> Path:
    write_picture(path, colour_picture(colour, 5, 90, 120))
    return path


# --- what is in it


def test_what_is_in_the_package(package: Path, model: Path) -> None:
    assert (package / "colours.tflite").read_bytes() == model.read_bytes()
    golden = package / "colours.golden.zip"
    assert golden.read_bytes() == vectors.beside(model).read_bytes()
    assert (package / "labels.txt").read_text().split() == list(COLOURS)
    assert json.loads((package / "contract.json").read_text())["contract"] == CONTRACT.to_dict()
    binaries = {path.name for path in (package / "bin").iterdir()}
    assert binaries == {f"edgekit-bench-{m}-linux-gnu" for m in ("aarch64", "armv7l")}
    for program in ("classify.py", "install.sh", "benchmark.sh", *(f"bin/{b}" for b in binaries)):
        assert os.access(package / program, os.X_OK), program
    assert "@" not in (package / "README.md").read_text().replace("pi@raspberrypi", "").replace(
        "--data-binary @photo.jpg", ""
    )


def test_the_archive_is_the_folder(package: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xzf", f"{package}.tar.gz"], check=True, cwd=tmp_path)
    there = tmp_path / "pi package"
    names = {path.relative_to(package) for path in package.rglob("*") if path.is_file()}
    assert {path.relative_to(there) for path in there.rglob("*") if path.is_file()} == names
    for name in names:
        assert (there / name).read_bytes() == (package / name).read_bytes()
        assert os.access(there / name, os.X_OK) == os.access(package / name, os.X_OK)


def test_same_model_same_package(run_cli, model: Path, package: Path, tmp_path: Path) -> None:
    assert run_cli("bundle", "pi", model, "-o", tmp_path / "pi package").returncode == 0
    archives = [p.with_name("pi package.tar.gz") for p in (package, tmp_path / "pi package")]
    assert archives[0].read_bytes() == archives[1].read_bytes()


def test_json(run_cli, model: Path, tmp_path: Path) -> None:
    run = run_cli("bundle", "pi", model, "-o", tmp_path / "p", "--json")
    found = json.loads(run.stdout)
    assert found["folder"] == str(tmp_path / "p")
    assert found["bytes"] == (tmp_path / "p.tar.gz").stat().st_size
    assert found["installed"] is found["edgetpu"] is None


# --- classify.py


def test_photos_and_folders(package: Path, tmp_path: Path) -> None:
    for colour in COLOURS:
        write_photo(tmp_path / f"{colour}.png", colour)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    run = classify(package, tmp_path / "red.png", tmp_path, "--json", "--top", 1)
    assert run.returncode == 0, run.stderr
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert found[0]["scores"][0]["label"] == "red"
    for one in found[1:]:
        name = Path(one["path"]).stem
        assert name == one["scores"][0]["label"] if one["error"] is None else name == "broken"
    assert len(found) == 5


def test_answers_are_those_of_edgekit_predict(run_cli, package, model, photo: Path) -> None:
    there = json.loads(classify(package, photo, "--json").stdout)
    here = json.loads(run_cli("predict", model, photo, "--json").stdout)
    assert there["scores"] == here["scores"]


def test_it_brings_its_own_edgekit_and_needs_little(package: Path, photo: Path) -> None:
    """From its lib/, without this environment's edgekit, click or TensorFlow."""
    script = (
        "import runpy, sys; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: code = end.code\n"
        "import edgekit; print(edgekit.__file__, code, *sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(package / "classify.py"), str(photo)],
        capture_output=True,
        text=True,
        check=True,
    )
    last = run.stdout.splitlines()[-1]
    assert last.startswith(f"{package / 'lib' / 'edgekit' / '__init__.py'} 0 ")
    modules = {name.partition(".")[0] for name in last.split()[2:]}
    assert {"numpy", "cv2", "ai_edge_litert"} <= modules
    assert not modules & {"click", "tensorflow", "keras", "h5py", "litert_quantizer"}


def test_verify_shows_every_stage(package: Path) -> None:
    run = classify(package, "--verify", "--json")
    assert run.returncode == 0
    found = json.loads(run.stdout)
    assert found["runs_on"] == "CPU"
    assert {s for v in found["vectors"] for s in v["stages"].values()} == {"same"}
    assert "Right: every byte is the same for 4 pictures." in classify(package, "--verify").stdout


def test_an_edited_contract_is_noticed_at_every_start(copy: Path, photo: Path) -> None:
    """As by somebody who packs another resize rule into the model and mends the hash."""
    path = copy / "colours.tflite"
    contract = dataclasses.replace(CONTRACT, fit="pad")
    path.write_bytes(tflite.pack(path.read_bytes(), contract))
    index = json.loads((copy / "package.json").read_text())
    index["cpu"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (copy / "package.json").write_text(json.dumps(index))
    run = classify(copy, photo)
    assert run.returncode == 0
    assert "WARNING: the answers are not those of the desk" in run.stderr
    assert "differs in the stage fit" in run.stderr
    run = classify(copy, "--verify")
    assert run.returncode == 1
    assert "the resize rule pad instead of crop:0.875" in run.stderr


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("colours.tflite", None, "colours.tflite: No such file"),
        ("colours.tflite", b"x", "damaged, not the file that was shipped"),
        ("colours.golden.zip", b"x", "no file of golden vectors"),
        ("package.json", b"{", "package.json: can't be read"),
        ("package.json", b'{"schema": 2}', "schema"),
        ("package.json", None, "package.json: can't be read"),
    ],
)
def test_a_damaged_package(copy: Path, photo: Path, name, content, message: str) -> None:
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_bytes(content)
    run = classify(copy, photo)
    assert run.returncode == 3
    assert message in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "give photos, or one of"),
        (("x.jpg", "--verify"), 2, "give photos, or one of"),
        (("x.jpg", "--threads", "0"), 2, "at least 1"),
        (("x.jpg", "--top", "0"), 2, "at least 1"),
        (("--http", "70000"), 2, "65535"),
        (("x.jpg", "--delegate", "npu"), 2, "delegate npu: not known"),
        (("x.jpg", "--delegate", "edgetpu"), 2, "no model for the Edge TPU"),
        (("x.jpg", "--delegate", "external:/x.so"), 5, "can't be loaded"),
        (("x.jpg",), 3, "none of the 1 picture(s)"),
        (("--camera", "63"), 4, "camera 63: can't be opened"),
    ],
)
def test_bad_use(package: Path, arguments, code: int, message: str) -> None:
    run = classify(package, *arguments)
    assert (run.returncode, "Traceback" in run.stderr) == (code, False), run.stderr
    assert message in run.stderr


def test_a_delegate_of_a_library(package: Path, photo: Path, tmp_path: Path) -> None:
    """The stub claims nothing, so the answer is the CPU's; a broken one is an error."""
    stub = build_stub(tmp_path)
    run = classify(package, photo, "--delegate", f"external:{stub}", "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1])["scores"][0]["label"] == "red"
    run = classify(package, "--verify", "--delegate", f"external:{stub}")
    assert f"on the external:{stub}" in run.stdout
    (tmp_path / "libbroken.so").write_bytes(b"no library")
    run = classify(package, photo, "--delegate", f"external:{tmp_path / 'libbroken.so'}")
    assert run.returncode == 5


class FakeCamera:
    """A camera that gives some pictures and is pulled out."""

    pictures: tuple[str, ...] = ()

    def __init__(self, number: int) -> None:
        self.left = list(self.pictures)
        self.released = False

    def isOpened(self) -> bool:
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        if not self.left:
            return False, None
        return True, np.ascontiguousarray(colour_picture(self.left.pop(0), 1)[..., ::-1])

    def release(self) -> None:
        self.released = True


@pytest.mark.parametrize("as_json", [False, True])
def test_a_camera_that_disappears(package, monkeypatch, capsys, as_json: bool) -> None:
    """No camera is on the machines that test this: its place is taken in this process."""
    from edgekit.deploy.on_pi import program
    from edgekit.evaluation import video

    monkeypatch.setattr(FakeCamera, "pictures", ("red", "red", "blue"))
    monkeypatch.setattr(video.cv2, "VideoCapture", FakeCamera)
    arguments = ["--camera", "0", *(["--json"] if as_json else [])]
    assert program.main(package, arguments) == 4
    said = capsys.readouterr()
    assert "camera 0: no more pictures after 3" in said.err
    lines = said.out.splitlines()
    if as_json:
        best = [json.loads(line)["scores"][0]["label"] for line in lines]
        assert best == ["red", "red", "blue"]
    else:  # a line whenever the answer changes
        assert [line.split()[-1] for line in lines] == ["red", "blue"]


# --- the Edge TPU


@pytest.fixture
def compiler(shared_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An edgetpu_compiler that knows one model: what the real one made of it."""
    compiled = shared_models / "edgetpu" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "edgetpu_compiler"
    program.write_text(
        "#!/bin/sh\n"
        'while [ "$1" != -o ]; do shift; done\n'
        f'cp "{compiled}" "$2/$(basename "$3" .tflite)_edgetpu.tflite"\n'
        "echo 'Number of operations that will run on Edge TPU: 31'\n"
        "echo 'Number of operations that will run on CPU: 0'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return program


@pytest.fixture
def mobilenet(shared_models: Path, tmp_path: Path) -> Path:
    source = shared_models / "edgetpu" / "mobilenet_v1_0.25_128_quant.tflite"
    contract = Contract(128, 128, output="probabilities").with_normalization(NORMALIZATIONS["tf"])
    path = tmp_path / "mobilenet.tflite"
    path.write_bytes(tflite.pack(source.read_bytes(), contract))
    return path


def test_edgetpu(run_cli, compiler: Path, mobilenet: Path, photo: Path, tmp_path: Path) -> None:
    run = run_cli("bundle", "pi", mobilenet, "-o", tmp_path / "p", "--edgetpu")
    assert run.returncode == 0, run.stderr
    assert "Edge TPU: 31 operations run on it, 0 on the CPU" in run.stdout
    compiled = tmp_path / "p" / "mobilenet_edgetpu.tflite"
    assert tflite.read_contract(compiled.read_bytes(), "c").height == 128
    golden, _ = vectors.find(compiled, compiled.read_bytes())
    assert (
        golden.vectors
        == vectors.read((tmp_path / "p" / "mobilenet.golden.zip").read_bytes(), "g").vectors
    )
    # Without the accelerator the CPU's model runs, and that is said.
    run = classify(tmp_path / "p", photo, "--json")
    assert run.returncode == 0
    assert "The Edge TPU is not used, the CPU runs mobilenet.tflite" in run.stderr
    assert json.loads(run.stdout)["scores"]
    assert classify(tmp_path / "p", photo, "--delegate", "cpu").stderr == ""
    run = classify(tmp_path / "p", photo, "--delegate", "edgetpu")
    assert run.returncode == 5
    assert "libedgetpu1-std" in run.stderr
    assert "libedgetpu1-std" in (tmp_path / "p" / "README.md").read_text()


@pytest.mark.parametrize(
    ("script", "code", "message"),
    [
        ("echo 'Internal compiler error' >&2; exit 1", 4, "Internal compiler error"),
        ("exit 0", 4, "made no model"),
        ('while [ "$1" != -o ]; do shift; done; cp "$3" "$2/colours_edgetpu.tflite"', 2, "none of"),
    ],
)
def test_a_compiler_that_fails(run_cli, compiler: Path, model, tmp_path, script, code, message):
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    run = run_cli("bundle", "pi", model, "-o", tmp_path / "p", "--edgetpu")
    assert run.returncode == code
    assert message in run.stderr
    assert not (tmp_path / "p").exists()


def test_without_the_compiler(run_cli, model: Path, tmp_path: Path) -> None:
    run = run_cli("bundle", "pi", model, "-o", tmp_path / "p", "--edgetpu")
    assert run.returncode == 5
    assert "edgetpu_compiler is not installed" in run.stderr
    assert "apt-get install edgetpu-compiler" in run.stderr


# --- install.sh


@pytest.fixture
def ready(copy: Path) -> Path:
    """A package whose environment is there."""
    make_environment(copy, copy)
    return copy


def make_environment(package: Path, place: Path) -> None:
    """What pip would install there: here, the packages of this environment, without a network."""
    command = [sys.executable, "-m", "venv", "--without-pip", str(place / ".venv")]
    subprocess.run(command, check=True)
    script = "{ cat requirements.txt; python3 -V; } | sha256sum | cut -d ' ' -f 1"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    stamp = subprocess.check_output(["sh", "-c", script], cwd=package, env=environment)
    (place / ".venv" / "installed").write_bytes(stamp)
    library = next((place / ".venv" / "lib").glob("python3*")) / "site-packages"
    (library / "those.pth").write_text(str(Path(np.__file__).parents[1]))


def install(package: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    first = f"{path}:" if path else ""
    return subprocess.run(
        [str(package / "install.sh"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PATH": f"{first}{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
    )


def test_install_again_does_only_the_check(ready: Path) -> None:
    run = install(ready)
    assert run.returncode == 0, run.stderr
    assert "Installing" not in run.stderr
    assert "Right: every byte is the same" in run.stdout


def programs(folder: Path, **scripts: str) -> str:
    """Stand-ins for programs, by name; the folder for PATH."""
    folder.mkdir()
    for name, script in scripts.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("scripts", "code", "message"),
    [
        ({"uname": "echo armv6l"}, 5, "armv6l"),
        ({"getconf": "echo 32", "uname": "echo aarch64"}, 5, "32-bit system on a 64-bit"),
        ({"df": "echo h; echo / 1 1 10240 1 /"}, 4, "10 MiB are free, 600 are needed"),
        ({"python3": "[ $1 != -V ] || exec echo Python 3.9.2; exit 1"}, 5, "3.9.2 is too old"),
    ],
)
def test_boards_that_can_not_run_it(copy: Path, tmp_path, scripts, code, message: str) -> None:
    run = install(copy, path=programs(tmp_path / "stand-ins", **scripts))
    assert run.returncode == code
    assert message in run.stderr
    assert not (copy / ".venv").exists()


@pytest.mark.slow
def test_wheels_that_lack_something(copy: Path) -> None:
    """Without a network pip takes what is in wheels/, or nothing."""
    (copy / "wheels").mkdir()
    run = install(copy)
    assert run.returncode == 5
    assert "pip could not install what is needed" in run.stderr
    assert not (copy / ".venv" / "installed").exists()


def test_service(ready: Path, tmp_path: Path) -> None:
    """systemd is not in a container: stand-ins keep what they were told."""
    stand_ins = programs(
        tmp_path / "stand-ins",
        id="[ $1 = -u ] && echo 1000 || echo pi",
        sudo='exec "$@"',
        tee=f'cat >"{tmp_path}/$(basename $1)"',
        systemctl=f'echo "$@" >>{tmp_path}/systemctl',
    )
    for _ in range(2):
        run = install(ready, "--service", path=stand_ins)
        assert run.returncode == 0, run.stderr
    unit = (tmp_path / "edgekit-colours.service").read_text()
    assert f'ExecStart="{ready.resolve()}/classify.py" --http 8000' in unit
    assert "User=pi" in unit
    told = (tmp_path / "systemctl").read_text().splitlines()
    assert told[:2] == ["daemon-reload", "enable edgekit-colours.service"]
    assert install(ready, "--servise").returncode == 2


# --- over SSH


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    for server in ssh_server(tmp_path / "server"):
        monkeypatch.setenv("EDGEKIT_SSH", server.command)
        monkeypatch.setenv("EDGEKIT_DEVICE_FOLDER", str(tmp_path / "device"))
        yield server


@pytest.fixture
def at_home(server: SshServer, tmp_path: Path) -> Path:
    """Sessions of the server get a home folder of their own."""
    home = tmp_path / "home"
    home.mkdir()
    _log_in(server, home, f"{Path(sys.executable).parent}:$PATH")
    return home


def _log_in(server: SshServer, home: Path, path: str) -> None:
    variables = f'HOME="{home}"; PATH="{path}"; export HOME PATH'
    server.log_in_with(f'{variables}; exec sh -c "$SSH_ORIGINAL_COMMAND"')


def _device(server: SshServer) -> str:
    return f"ssh:{server.host}"


@pytest.mark.slow
def test_install_over_ssh(
    run_cli, server, at_home: Path, model: Path, package: Path, tmp_path: Path
) -> None:
    """Over an older package: its environment and the user's files stay, other files of ours go."""
    there = at_home / "edgekit-colours"
    (there / "lib").mkdir(parents=True)
    for name in (".edgekit-bundle.json", "mine.jpg", "lib/old.py"):
        (there / name).write_text("{}")
    make_environment(package, there)
    options = ("-o", tmp_path / "p", "--install", _device(server), "--json")
    run = run_cli("bundle", "pi", model, *options)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["installed"] == {"device": _device(server), "folder": str(there)}
    assert "Installing" not in run.stderr
    assert (there / "mine.jpg").exists()
    assert not (there / "lib" / "old.py").exists()
    assert (there / "classify.py").read_bytes() == (package / "classify.py").read_bytes()
    assert sorted(path.name for path in at_home.iterdir()) == ["edgekit-colours"]
    run = run_cli("bundle", "pi", model, *options[:-1], "--force")
    assert f"{_device(server)}: {there}" in run.stdout
    assert "Right: every byte is the same for 4 pictures." in run.stdout


def test_something_else_is_there(run_cli, server, at_home: Path, model, tmp_path: Path) -> None:
    (at_home / "edgekit-colours").mkdir()
    (at_home / "edgekit-colours" / "thesis.txt").write_text("years of work")
    run = run_cli("bundle", "pi", model, "-o", tmp_path / "p", "--install", _device(server))
    assert run.returncode == 2
    assert "exists there and is no package" in run.stderr
    assert (at_home / "edgekit-colours" / "thesis.txt").exists()


def test_wrong_answers_there_are_told_here(
    run_cli, server, at_home: Path, model: Path, package: Path, tmp_path: Path
) -> None:
    """A runtime there that computes otherwise: its scores come in the wrong order."""
    there = at_home / "edgekit-colours"
    there.mkdir()
    (there / ".edgekit-bundle.json").write_text("{}")
    make_environment(package, there)
    library = next((there / ".venv" / "lib").glob("python3*")) / "site-packages"
    (library / "wrong_runtime.py").write_text(
        "import ai_edge_litert.interpreter as module\n"
        "right = module.Interpreter.get_tensor\n"
        "module.Interpreter.get_tensor = lambda self, index: right(self, index)[:, ::-1]\n"
    )
    # Python imports it at its start; Debian's has a sitecustomize of its own already.
    (library / "wrong_runtime.pth").write_text("import wrong_runtime\n")
    run = run_cli("bundle", "pi", model, "-o", tmp_path / "p", "--install", _device(server))
    assert run.returncode == 1
    assert "colours.tflite: differs in the stage inference" in run.stderr


def test_what_fails_there_is_told_here(run_cli, server, at_home, model, tmp_path: Path) -> None:
    stand_ins = programs(tmp_path / "stand-ins", df="echo h; echo / 1 1 10240 1 /")
    _log_in(server, at_home, f"{stand_ins}:$PATH")
    run = run_cli("bundle", "pi", model, "-o", tmp_path / "p", "--install", _device(server))
    assert run.returncode == 4
    assert "disk is full" in run.stderr or "10 MiB are free" in run.stderr
    assert (tmp_path / "p" / "classify.py").exists()
