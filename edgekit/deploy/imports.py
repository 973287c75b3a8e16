"""Which modules of edgekit a program needs, to ship just those."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def closure(module: str) -> dict[str, Path]:
    """A module of edgekit and all others that it imports, directly or not, wherever in them.

    Imports for type checkers only don't count.

    Args:
        module: Its dotted name.

    Returns:
        Path relative to the folder that holds `edgekit` -> file, sorted.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        for part in _with_packages(name):
            path = _file(part)
            relative = None if path is None else f"edgekit/{path.relative_to(_PACKAGE).as_posix()}"
            if path is None or relative is None or relative in found:
                continue
            found[relative] = path
            waiting += _imports(ast.parse(path.read_text("utf-8")))
    return dict(sorted(found.items()))


def _with_packages(name: str) -> Iterator[str]:
    """`a.b.c` -> `a`, `a.b`, `a.b.c`."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        yield ".".join(parts[:count])


def _imports(node: ast.AST) -> Iterator[str]:
    """What may be a module of edgekit: the names after `import`, and those of `from ... import`."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.startswith("edgekit"))
    elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("edgekit"):
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from _imports(child)


def _file(name: str) -> Path | None:
    """The file of a module, or None where the name is something else."""
    path = _PACKAGE.joinpath(*name.split(".")[1:])
    for file in (path / "__init__.py", path.with_suffix(".py")):
        if file.is_file():
            return file
    return None
