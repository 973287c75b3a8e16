"""Runs the fast tests of what changed: of the working tree, or since a commit that is given.

    python tests/changed.py [COMMIT]

The tests of a file are those that import its module, those that are named after it or its room,
and itself where it is a test. That is a guess, for minutes at the desk; `make test` is what
counts.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"


def main() -> int:
    changed = _changed(sys.argv[1] if len(sys.argv) > 1 else "HEAD")
    chosen = [path for path in sorted(TESTS.glob("test_*.py")) if _concerns(path, changed)]
    if not chosen:
        print(f"No test is named after what changed ({len(changed)} files).")
        return 0
    print(f"{len(changed)} files changed: {' '.join(path.name for path in chosen)}", flush=True)
    command = [sys.executable, "-m", "pytest", "-m", "not slow", *map(str, chosen)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def _changed(since: str) -> set[Path]:
    """What differs from a commit, with what git doesn't know yet; relative to the root."""
    lines = []
    for command in (["diff", "--name-only", since], ["ls-files", "--others", "--exclude-standard"]):
        said = subprocess.run(
            ["git", *command], cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True
        )
        if said.returncode:  # git has said why
            sys.exit(said.returncode)
        lines += said.stdout.splitlines()
    return {Path(line) for line in lines}


def _concerns(test: Path, changed: set[Path]) -> bool:
    if test.relative_to(ROOT) in changed:
        return True
    imported = set(_imports(test))
    for path in changed:
        if path.parts[0] == "tests":
            if path.stem in imported:
                return True
        elif path.suffix == ".py" and path.parts[0] in ("edgekit", "converters"):
            module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
            module = module if path.parts[0] == "edgekit" else f"edgekit.{module}"
            rooms = module.split(".")[1:]
            if module in imported or any(test.stem.startswith(f"test_{room}") for room in rooms):
                return True
    return False


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


if __name__ == "__main__":
    sys.exit(main())
