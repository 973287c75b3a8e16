"""How many faults do the tests find? Puts faults into the product and looks, in copies of it.

    python tests/faults.py draw FAULTS.json --seed 15 --count 30
    python tests/faults.py reach FAULTS.json COPY REACHED.json [PYTEST ARGUMENT...]
    python tests/faults.py judge FAULTS.json REACHED.json COPY JUDGED.json [--marked EXPRESSION]
        [--first JUDGED.json] [--seconds 1800]
    python tests/faults.py table FAULTS.json JUDGED.json...

A fault is one small change inside a function: a comparison, an arithmetic operation, a constant, a
condition turned round, a statement left out. `draw` takes a room of the house at random, then a
file in it by its length, then a place in the file, so that small rooms get their share.

A suite takes too long to be run once a fault. So `reach` runs it once, with a line in each function
concerned that writes down which test came by, in whatever process; a test that never enters the
function can't find the fault in it. `judge` then puts in one fault after the other and runs only
the tests that came by, until the first fails. What a fixture reached counts for all tests of its
file.

COPY is a checkout with an environment of its own (`make test` was run in it once); its working tree
is changed and put back.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


@dataclass(frozen=True)
class Fault:
    """One change: in `file`, the bytes from `start` to `end` become `after`.

    Attributes:
        body: Where the first statement of the function begins, in bytes: before it, `reach` writes
            down who comes by.
        line: For whoever reads the table.
    """

    file: str
    function: str
    line: int
    start: int
    end: int
    before: str
    after: str
    body: int

    def put_into(self, source: bytes) -> bytes:
        assert source[self.start : self.end].decode() == self.before, self
        return source[: self.start] + self.after.encode() + source[self.end :]


# --- draw


def draw(seed: int, count: int) -> list[Fault]:
    """Draws faults over all rooms, no two in one function."""
    dice = random.Random(seed)
    rooms: dict[str, list[Path]] = defaultdict(list)
    for folder in ("edgekit", "converters"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).parts
            rooms["/".join(parts[: max(1, min(2, len(parts) - 1))])].append(path)
    drawn, names = list[Fault](), list[str]()
    while len(drawn) < count:
        names = names or dice.sample(sorted(rooms), len(rooms))
        room = rooms[names.pop()]
        (path,) = dice.choices(room, [p.stat().st_size for p in room])
        places = list(_places(path))
        if places:
            fault = dice.choice(places)
            if (fault.file, fault.function) not in {(f.file, f.function) for f in drawn}:
                drawn.append(fault)
    return drawn


def _places(path: Path) -> Iterator[Fault]:
    """Every fault that a file can be given."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for name, function in _functions(ast.parse(source), ""):
        first = function.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            if len(function.body) == 1:
                continue
            first = function.body[1]
        at = getattr(first, "decorator_list", None) or [first]
        if first.lineno == function.lineno:
            continue
        body = starts[at[0].lineno - 1] + at[0].col_offset - (1 if at[0] is not first else 0)
        for node in _walk(function.body):
            for after in _changes(node):
                start = starts[node.lineno - 1] + node.col_offset
                end = starts[node.end_lineno - 1] + node.end_col_offset
                before = source[start:end].decode()
                yield Fault(
                    path.relative_to(ROOT).as_posix(),
                    name,
                    node.lineno,
                    start,
                    end,
                    before,
                    after,
                    body,
                )


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield f"{prefix}{child.name}", child
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")


def _walk(body: list[ast.stmt]) -> Iterator[Any]:
    """Nodes that compute: no annotations, no texts of errors, nothing within an f-string."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.JoinedStr, ast.Raise, ast.Import, ast.ImportFrom, ast.Assert)):
            continue
        if isinstance(node, (ast.expr, ast.stmt)):
            yield node
        for name, value in ast.iter_fields(node):
            if name not in ("annotation", "returns", "decorator_list"):
                children = value if isinstance(value, list) else [value]
                waiting.extend(child for child in children if isinstance(child, ast.AST))


def _changes(node: Any) -> Iterator[str]:
    """What could stand there by mistake."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARISONS:
        other = _COMPARISONS[type(node.ops[0])]()
        yield f"({ast.unparse(ast.Compare(node.left, [other, *node.ops[1:]], node.comparators))})"
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield f"({ast.unparse(ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right))})"
    elif isinstance(node, ast.BoolOp):
        other_bool = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield f"({ast.unparse(ast.BoolOp(other_bool, node.values))})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield repr(node.value + 1 if abs(node.value) < 100 else node.value * 2)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield repr(not node.value)
    elif isinstance(node, (ast.Expr, ast.AugAssign)) and not _is_text(node):
        yield "pass"


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(
        node.value, (ast.Constant, ast.Yield, ast.YieldFrom)
    )


# --- reach

_RECORDER = """
import os
_seen = set()
def by(number):
    test = os.environ.get("PYTEST_CURRENT_TEST", "outside")
    if (number, test) not in _seen:
        _seen.add((number, test))
        with open({path!r}, "a") as file:
            file.write(f"{{number}}\\t{{test}}\\n")
"""


def reach(faults: list[Fault], copy: Path, arguments: list[str]) -> dict[str, list[str]]:
    """Runs the suite of a copy once; for each fault the tests that entered its function."""
    python = copy / ".venv" / "bin" / "python"
    site = _say(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    with tempfile.TemporaryDirectory() as folder:
        log, recorder = Path(folder) / "log", Path(site) / "edgekit_came.py"
        log.touch()
        recorder.write_text(_RECORDER.format(path=str(log)))
        by_file: dict[str, list[int]] = defaultdict(list)
        for number, fault in enumerate(faults):
            by_file[fault.file].append(number)
        before = {name: (copy / name).read_bytes() for name in by_file}
        try:
            for name, numbers in by_file.items():
                source = before[name]
                for number in sorted(numbers, key=lambda n: -faults[n].body):
                    at = faults[number].body
                    indent = source[source.rfind(b"\n", 0, at) + 1 : at].decode()
                    statement = (
                        f"try: import edgekit_came; edgekit_came.by({number})\n"
                        f"{indent}except ImportError: pass  # on a device\n{indent}"
                    )
                    source = source[:at] + statement.encode() + source[at:]
                (copy / name).write_bytes(source)
            subprocess.run([python, "-m", "pytest", *arguments], cwd=copy, check=False)
            came = [line.split("\t", 1) for line in log.read_text().splitlines()]
        finally:
            for name, content in before.items():
                (copy / name).write_bytes(content)
            recorder.unlink()
    found: dict[str, set[str]] = {str(number): set() for number in range(len(faults))}
    for number, test in came:
        name, _, phase = test.rpartition(" ")
        # What a fixture did, other tests may have relied on.
        found[number].add(name.partition("::")[0] if phase in ("(setup)", "(teardown)") else name)
    return {number: sorted(tests) for number, tests in found.items()}


# --- judge


def judge(
    faults: list[Fault],
    reached: dict[str, list[str]],
    copy: Path,
    output: Path,
    marked: str = "",
    first: Path | None = None,
    seconds: int = 1800,
) -> None:
    """Puts in each fault in turn and runs the tests that came by, until one fails.

    A test that fails without the fault too, or not a second time with it, has found nothing, and
    is left out. A fault whose tests don't end counts as not found.

    Args:
        output: The verdicts; those it has already are kept.
        marked: pytest's -m.
        first: Verdicts of another suite: what found a fault there is tried first.
        seconds: The longest that the tests of one fault may take.
    """
    suite = _Suite(copy, marked, seconds)
    hints = json.loads(first.read_text()) if first else {}
    verdicts: dict[str, Any] = json.loads(output.read_text()) if output.exists() else {}
    breadth = Counter(test for tests in reached.values() for test in tests)
    for number, fault in enumerate(faults):
        if str(number) in verdicts:
            continue
        tests = [test for test in reached[str(number)] if test not in ("", "outside")]
        files = {test for test in tests if "::" not in test}
        tests = [test for test in tests if test.partition("::")[0] not in files] + sorted(files)
        # What comes by at few places probably is about this one.
        hint = hints.get(str(number), {}).get("by")
        tests.sort(key=lambda test: (test != hint, breadth[test]))
        start, path = time.monotonic(), copy / fault.file
        source, failing = path.read_bytes(), list[str]()
        while True:
            try:
                path.write_bytes(fault.put_into(source))
                by = suite.first_failure(tests, failing)
                again = by in ("", "pytest") or bool(suite.first_failure([by], []))
            finally:
                path.write_bytes(source)
            if by in ("", "pytest") or (again and not suite.first_failure([by], [])):
                break
            failing.append(by)
        taken = round(time.monotonic() - start)
        verdicts[str(number)] = {"found": bool(by), "by": by, "tests": len(tests), "seconds": taken}
        output.write_text(json.dumps(verdicts, indent=1))
        print(number, fault.file, fault.function, verdicts[str(number)], flush=True)


@dataclass(frozen=True)
class _Suite:
    copy: Path
    marked: str
    seconds: int

    def first_failure(self, tests: list[str], without: list[str]) -> str:
        """Runs tests until one fails: its name, or nothing; `pytest` where that can't start."""
        if not tests:
            return ""
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
            listed.write("\n".join(tests))
            listed.flush()
            command = [self.copy / ".venv" / "bin" / "python", "-m", "pytest", "-x", "-q"]
            command += ["-p", "no:cacheprovider", "-m", self.marked, f"@{listed.name}"]
            command += [f"--deselect={test}" for test in without]
            try:
                done = subprocess.run(
                    command,
                    cwd=self.copy,
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=self.seconds,
                )
            except subprocess.TimeoutExpired:
                return ""
        if done.returncode in (0, 5):  # 5: none has that mark
            return ""
        for line in done.stdout.splitlines():
            if line.startswith(("FAILED ", "ERROR ")):
                return line.split(" ", 1)[1].partition(" - ")[0]
        return "pytest"


def table(faults: list[Fault], *paths: Path) -> str:
    """The faults and who finds them, in Markdown."""
    judged = [json.loads(path.read_text()) for path in paths]
    lines = ["| fault | " + " | ".join(path.stem for path in paths) + " |"]
    lines.append("|---" * (len(paths) + 1) + "|")
    for number, fault in enumerate(faults):
        what = f"{fault.file}:{fault.line} `{_short(fault.before)}` -> `{_short(fault.after)}`"
        marks = ["found" if j[str(number)]["found"] else "-" for j in judged]
        lines.append(f"| {what.replace('|', '/')} | {' | '.join(marks)} |")
    sums = [str(sum(v["found"] for v in j.values())) for j in judged]
    lines.append(f"| found of {len(faults)} | {' | '.join(sums)} |")
    return "\n".join(lines)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 50 else f"{line[:47]}..."


def _say(*command: object) -> str:
    return subprocess.check_output([str(word) for word in command], text=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    drawing = verbs.add_parser("draw")
    drawing.add_argument("faults", type=Path)
    drawing.add_argument("--seed", type=int, default=15)
    drawing.add_argument("--count", type=int, default=30)
    reaching = verbs.add_parser("reach")
    judging = verbs.add_parser("judge")
    for verb in (reaching, judging):
        verb.add_argument("faults", type=Path)
    reaching.add_argument("copy", type=Path)
    reaching.add_argument("reached", type=Path)
    reaching.add_argument("arguments", nargs=argparse.REMAINDER)
    judging.add_argument("reached", type=Path)
    judging.add_argument("copy", type=Path)
    judging.add_argument("output", type=Path)
    judging.add_argument("--marked", default="", metavar="EXPRESSION")
    judging.add_argument("--first", type=Path, metavar="JUDGED.json")
    judging.add_argument("--seconds", type=int, default=1800)
    tabling = verbs.add_parser("table")
    tabling.add_argument("faults", type=Path)
    tabling.add_argument("judged", type=Path, nargs="+")
    given = parser.parse_args()
    if given.verb == "draw":
        drawn = [asdict(fault) for fault in draw(given.seed, given.count)]
        given.faults.write_text(json.dumps(drawn, indent=1))
        return
    faults = [Fault(**values) for values in json.loads(given.faults.read_text())]
    if given.verb == "reach":
        found = reach(faults, given.copy.resolve(), given.arguments)
        given.reached.write_text(json.dumps(found, indent=1))
    elif given.verb == "judge":
        reached = json.loads(given.reached.read_text())
        judge(
            faults,
            reached,
            given.copy.resolve(),
            given.output,
            given.marked,
            given.first,
            given.seconds,
        )
    else:
        print(table(faults, *given.judged))


if __name__ == "__main__":
    sys.exit(main())
