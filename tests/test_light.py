"""What is imported where: light commands stay light, and no room imports from above its floor."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import colour_picture, write_picture

from edgekit.cli.main import VERBS

_ROOT = Path(__file__).resolve().parents[1]
_HEAVY = frozenset({"tensorflow", "keras", "tf_keras", "h5py", "litert_quantizer"})

_SNIPPET = """
import json, sys
from edgekit.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    code = end.code
packages = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"code": code, "packages": packages}), file=sys.stderr)
"""


def _run(*arguments: object) -> tuple[int, set[str], str]:
    """Runs a command in a fresh process: its exit code, the packages it imported, its output."""
    run = subprocess.run(
        [sys.executable, "-c", _SNIPPET, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(run.stderr.splitlines()[-1])
    return found["code"], set(found["packages"]), run.stdout


# --- fresh processes


@pytest.mark.parametrize(
    "arguments", [(), *((verb,) for verb in VERBS), ("models", "list"), ("models", "create")]
)
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    code, packages, output = _run(*arguments, "--help")
    assert code == 0
    assert "Usage: edgekit" in output
    assert "click" in packages
    assert not packages & (_HEAVY | {"numpy", "cv2", "ai_edge_litert", "tqdm"})


def test_help_names_every_verb() -> None:
    _, _, output = _run("--help")
    assert all(f"  {verb} " in output for verb in VERBS)


def test_models_list_is_light() -> None:
    code, packages, output = _run("models", "list")
    assert code == 0
    assert "efficientnet_lite0" in output
    assert not packages & (_HEAVY | {"cv2", "ai_edge_litert"})


def test_import_edgekit_is_light() -> None:
    code = "import edgekit, sys; print(edgekit.__version__, *sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "edgekit.version" in modules
    assert not set(modules) & (_HEAVY | {"numpy", "cv2", "ai_edge_litert", "click"})


@pytest.mark.slow
def test_collecting_the_tests_imports_no_tensorflow() -> None:
    code = (
        "import pytest, sys\n"
        "assert pytest.main(['--collect-only', '-q', '-p', 'no:xdist']) == 0\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_ROOT
    )
    packages = set(done.stdout.splitlines()[-1].split())
    assert "numpy" in packages
    assert not packages & (_HEAVY - {"h5py"})


def test_inspect_needs_no_runtime(colour_int8: Path) -> None:
    code, packages, output = _run("inspect", colour_int8)
    assert code == 0
    assert "FULLY_CONNECTED" in output
    assert not packages & (_HEAVY | {"ai_edge_litert"})


def test_predict_needs_no_tensorflow(
    colour_int8: Path, colour_labels: Path, tmp_path: Path
) -> None:
    write_picture(tmp_path / "p.png", colour_picture("green", 1))
    code, packages, output = _run(
        *("predict", colour_int8, tmp_path / "p.png", "--preprocess", "raw"),
        *("--labels", colour_labels, "--resize", "stretch"),
    )
    assert code == 0
    assert "green" in output
    assert "ai_edge_litert" in packages
    assert not packages & _HEAVY


def test_evaluate_needs_no_tensorflow(
    colour_float: Path, colour_int8: Path, colour_labels: Path, colour_photos: Path
) -> None:
    code, packages, output = _run(
        *("evaluate", colour_float, colour_int8, "--data", colour_photos),
        *("--preprocess", "raw", "--labels", colour_labels, "--resize", "stretch"),
    )
    assert code == 0
    assert "colour_int8.tflite" in output
    assert "ai_edge_litert" in packages
    assert not packages & _HEAVY


def test_lazy_names_are_there_and_others_are_not() -> None:
    import edgekit

    for name in edgekit.__all__:
        assert getattr(edgekit, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = edgekit.nothing


def test_names_written_out_for_help_are_the_real_ones() -> None:
    """`edgekit.cli` repeats what it can't import without numpy."""
    from edgekit import contract
    from edgekit.cli import options

    assert tuple(contract.NORMALIZATIONS) == options.PREPROCESS_NAMES
    assert options.INTERPOLATION_NAMES == contract.INTERPOLATIONS


def test_keywords_of_the_python_call_are_the_fields_of_a_recipe() -> None:
    from edgekit.training.recipe import Recipe, Settings

    assert set(Settings.__annotations__) == {field.name for field in dataclasses.fields(Recipe)}


def test_defaults_written_out_for_help_are_those_of_the_recipe() -> None:
    from edgekit.cli import train
    from edgekit.training.recipe import Recipe

    recipe, seen = Recipe(), 0
    for option in train.command.params:
        written = re.search(r"\[default: (.+)\]", getattr(option, "help", None) or "")
        if written and hasattr(recipe, str(option.name)):
            own = getattr(recipe, str(option.name))
            shown = f"{own:g}" if isinstance(own, float) else str(own)
            assert written[1] == ("the model's" if own is None else shown), option.name
            seen += 1
    assert seen >= 15


# --- the floors of DESIGN.md

#: room -> its floor. `edgekit/__init__.py` names rooms of all floors and imports them when used.
_FLOORS = {
    **dict.fromkeys(("types", "errors", "version", "cpus", "limits", "quiet"), 1),
    **dict.fromkeys(
        (
            "files",
            "folders",
            "zipped",
            "pip",
            "contract",
            "overrides",
            "devices",
            "report",
        ),
        2,
    ),
    **dict.fromkeys(("images", "tflite", "runtime"), 3),
    **dict.fromkeys(("datasets", "targets", "benchmark"), 4),
    **dict.fromkeys(("evaluation", "golden", "training", "advisor", "doctor"), 5),
    # What is shipped proves itself there, by golden vectors.
    **dict.fromkeys(("converters", "deploy"), 6),
    **dict.fromkeys(("api", "cli"), 7),
}
#: Neighbours on one floor that may be used, in this direction only.
_NEIGHBOURS = {
    ("overrides", "contract"),
    ("devices", "files"),
    ("runtime", "tflite"),
    ("cli", "api"),
    ("training", "evaluation"),
}
_TENSORFLOW = frozenset({"tensorflow", "keras", "tf_keras"})


def _sources() -> Iterator[tuple[str, Path]]:
    """(room, file) of every module of the package."""
    for path in sorted((_ROOT / "edgekit").rglob("*.py")):
        relative = path.relative_to(_ROOT / "edgekit")
        if relative.parts[0] not in ("converters", "__init__.py", "__main__.py"):
            yield relative.parts[0].removesuffix(".py"), path
    for path in sorted((_ROOT / "converters").rglob("*.py")):
        yield "converters", path


def _imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it, dotted."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            if node.module == "edgekit":
                yield from (f"edgekit.{alias.name}" for alias in node.names)
            else:
                yield node.module


def test_a_floor_imports_only_from_floors_beneath() -> None:
    seen, wrong = set(), []
    for room, path in _sources():
        assert room in _FLOORS, f"{path}: the room {room} has no floor in this table"
        for module in _imports(path):
            parts = module.split(".")
            if parts[0] != "edgekit" or len(parts) < 2 or parts[1] == room:
                continue
            seen.add((room, parts[1]))
            if _FLOORS[parts[1]] >= _FLOORS[room] and (room, parts[1]) not in _NEIGHBOURS:
                wrong.append(f"{path.relative_to(_ROOT)} (floor {_FLOORS[room]}): {module}")
    assert not wrong
    assert {("cli", "converters"), ("converters", "evaluation"), ("runtime", "types")} <= seen


def test_tensorflow_is_imported_in_two_rooms_only() -> None:
    found = {
        room for room, path in _sources() for m in _imports(path) if m.split(".")[0] in _TENSORFLOW
    }
    assert found == {"converters", "training"}


def test_converters_are_one_package_under_both_names() -> None:
    import edgekit.converters as package

    assert Path(package.__path__[0]).resolve() == _ROOT / "converters"
    assert (_ROOT / "edgekit" / "converters" / "pipeline.py").samefile(
        _ROOT / "converters" / "pipeline.py"
    )
