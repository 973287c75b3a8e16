"""Ships a model to the emulated Pi as a user would, and compares its answers with the desk's.

    sudo python benchmarks/emulated_pi/package.py MODEL.tflite --data PHOTOS [--photos 50]

Starts the userland unless it runs, and writes what was typed and said to
benchmarks/results/emulated_pi_package.txt. Exit code 1 where an answer differs.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from run import versions
from userland import CPU, FOLDER, SUITE, Connection, Userland, errors_as_exit_codes

import edgekit
from edgekit.errors import RuntimeFailure

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "benchmarks" / "results" / "emulated_pi_package.txt"
#: Of Debian bookworm, as of Raspberry Pi OS.
PYTHON = "3.11"
_PHOTOS = "photos"
_SHOWN = 200
#: Every score, not only the best: so the whole outputs are compared.
_ALL = "--top 1000"


class Transcript:
    """What was typed, what came out, and how long it took."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lines: list[str] = []

    def note(self, text: str) -> None:
        self._lines.append(text)
        print(text, flush=True)

    def desk(self, *words: object) -> str:
        """Runs edgekit here."""
        command = [str(word) for word in words]
        environment = {**os.environ, **self._connection.environment}
        shown = f"desk$ edgekit {shlex.join(command)}"
        return self._run(shown, [sys.executable, "-m", "edgekit", *command], environment)

    def pi(self, script: str) -> str:
        """Runs a line of sh there."""
        there = [*self._connection.ssh, "-p", str(self._connection.port), "pi@127.0.0.1", script]
        return self._run(f"pi$ {script}", there, dict(os.environ))

    def send(self, folder: str) -> None:
        """Copies a folder there."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(folder)
        there = [*self._connection.ssh, "-p", str(self._connection.port), "pi@127.0.0.1"]
        subprocess.run([*there, "tar -xf -"], input=archive.getvalue(), check=True)

    def write(self, path: Path) -> None:
        text = "\n".join(self._lines) + "\n"
        path.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text), encoding="utf-8")

    def _run(self, shown: str, command: list[str], environment: dict[str, str]) -> str:
        started = time.monotonic()
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=3600
        )
        took = time.monotonic() - started
        self._lines.append(f"\n{shown}")
        print(f"\n{shown}", flush=True)
        said = (done.stderr + done.stdout).rstrip()
        # Of many lines of JSON, one shows what they look like.
        rows = said.splitlines()
        if len(rows) > 1 and all(row.startswith("{") for row in rows):
            rows = [f"{rows[0][:_SHOWN]} ...", f"... and {len(rows) - 1} more lines"]
        self.note("\n".join([*rows, f"[exit code {done.returncode}, {took:.1f} s]"]))
        if done.returncode != 0:
            raise RuntimeFailure(f"{shown}: ended with {done.returncode}")
        return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, metavar="MODEL.tflite")
    parser.add_argument("--data", type=Path, required=True, help="photos to classify")
    parser.add_argument("--photos", type=int, default=50, help="how many of them")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="default: build/emulated_pi")
    arguments = parser.parse_args()
    found = sorted(p for p in arguments.data.rglob("*") if p.suffix.lower() in (".jpg", ".png"))
    photos = found[:: max(1, len(found) // arguments.photos)][: arguments.photos]

    with tempfile.TemporaryDirectory() as work, Userland(arguments.folder).running() as pi:
        model, golden = arguments.model.name, arguments.model.with_suffix(".golden.zip")
        for source, to in ((arguments.model, "."), (golden, "."), *((p, _PHOTOS) for p in photos)):
            (Path(work) / to).mkdir(exist_ok=True)
            shutil.copy(source, Path(work) / to)
        os.chdir(work)
        transcript = Transcript(pi)
        transcript.note(
            f"edgekit {edgekit.__version__}: a package on an arm64 Debian {SUITE} that qemu "
            f"emulates as a {CPU}. Times are the emulator's.\n{json.dumps(versions())}"
        )
        transcript.pi("uname -m; python3 -V; rm -rf edgekit-* photos")
        transcript.desk(
            *("bundle", "pi", model, "-o", "package", "--wheels", PYTHON, "--install", pi.device)
        )
        there = f"./edgekit-{Path(model).stem}"
        transcript.pi(f"{there}/install.sh")  # again: nothing is left to do but the check
        transcript.send(_PHOTOS)
        on_pi = transcript.pi(f"{there}/classify.py {_PHOTOS} --json {_ALL}")
        transcript.pi(f"{there}/classify.py {_PHOTOS}/{shlex.quote(photos[0].name)}")
        on_desk = transcript.desk("predict", model, _PHOTOS, "--json", *_ALL.split())
        same = _compare(on_pi, on_desk)
        transcript.note(
            f"\nThe same answer as on the desk: {same['answers']} of {same['photos']} photos; "
            f"the same in every score: {same['outputs']}"
        )
        transcript.desk("verify", model, "--on", pi.device)
        options = "--min-time 100ms --min-runs 3 --emulated"
        transcript.pi(f"{there}/benchmark.sh {options} 2>/dev/null | cut -c 1-300")
        transcript.write(RESULTS)
    print(f"Written: {RESULTS}")
    return 0 if same["answers"] == same["outputs"] == same["photos"] == len(photos) else 1


def _compare(there: str, here: str) -> dict[str, int]:
    """How many photos got the same answer, and the same scores, by file name."""
    pi, desk = _by_name(there), _by_name(here)
    pairs = [(pi[name], desk[name]) for name in pi.keys() & desk.keys()]
    return {
        "photos": len(pairs),
        "answers": sum(a[0]["index"] == b[0]["index"] for a, b in pairs),
        "outputs": sum(
            [(s["index"], s["raw"]) for s in a] == [(s["index"], s["raw"]) for s in b]
            for a, b in pairs
        ),
    }


def _by_name(lines: str) -> dict[str, list[dict[str, Any]]]:
    found = [json.loads(line) for line in lines.splitlines()]
    return {Path(one["path"]).name: one["scores"] for one in found}


if __name__ == "__main__":
    with errors_as_exit_codes():
        sys.exit(main())
