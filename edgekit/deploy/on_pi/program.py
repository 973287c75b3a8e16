"""`classify.py`: classifies photos, a camera, or what a browser on this machine sends."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from edgekit.deploy.on_pi import package, starting
from edgekit.deploy.on_pi.starting import Started
from edgekit.errors import EXIT_INTERRUPTED, EdgekitError, UnreadableError, UsageError
from edgekit.evaluation import pictures_in
from edgekit.golden import words
from edgekit.report.table import printable

_PORT = 8000
_DESCRIPTION = """\
Classifies photos, a camera, or what a browser on this machine sends. At every start it checks that
the model gives the answers that it gave where it was converted.
"""
_EPILOG = """\
examples:
  ./classify.py photo.jpg
  ./classify.py photos/ --json
  ./classify.py --camera 0
  ./classify.py --http            then open http://localhost:8000
  ./classify.py --verify          only the check, in detail

exit codes: 0 done; 1 the answers are not those of the desk (--verify); 2 usage; 3 a file that can't
be read; 4 a runtime, camera or accelerator that failed; 5 something is not installed
"""


def main(folder: Path, arguments: list[str] | None = None) -> int:
    """Runs the command line of the package in a folder; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _run(folder, options)
    except EdgekitError as error:
        _say(f"Error: {error.message}")
        if error.hint:
            _say(f"  {error.hint}")
        return error.exit_code
    except BrokenPipeError:  # `classify.py ... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="classify.py",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", nargs="*", type=Path, metavar="PHOTO", help="files and folders")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--camera", nargs="?", type=int, const=0, metavar="N", help="default: 0")
    where.add_argument(
        "--http",
        nargs="?",
        type=int,
        const=_PORT,
        metavar="PORT",
        help=f"a page for the browser on this machine; default: {_PORT}",
    )
    where.add_argument("--verify", action="store_true", help="the check of the answers, in detail")
    parser.add_argument(
        "--delegate",
        default=starting.AUTO,
        metavar="D",
        help="cpu, edgetpu or external:PATH; default: the Edge TPU where the package has a model "
        "for it and there is one, else the CPU",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="of the CPU; default: all")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="guesses; default: 5")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each picture")
    return parser


def _run(folder: Path, options: argparse.Namespace) -> int:
    _require_work(options)
    started = starting.start(
        folder, package.read(folder), options.delegate, options.threads, options.top, _say
    )
    if options.verify:
        return _verify(started, options.json)
    if not started.is_right:
        _say(f"WARNING: the answers are not those of the desk. {started.verdict}")
    if options.http is not None:
        # Only who asks for it pays for the server's modules.
        from edgekit.deploy.on_pi import server

        return server.serve(started, options.http, _say)
    if options.camera is not None:
        return _camera(started, options.camera, options.json)
    return _photos(started, options.photos, options.json)


def _require_work(options: argparse.Namespace) -> None:
    chosen = options.verify or options.http is not None or options.camera is not None
    if bool(options.photos) == chosen:
        raise UsageError(
            "give photos, or one of --camera, --http, --verify", "See: ./classify.py --help"
        )
    if options.threads is not None and options.threads < 1:
        raise UsageError(f"--threads {options.threads}: at least 1")
    if options.http is not None and not 0 <= options.http <= 65535:
        raise UsageError(f"--http {options.http}: a port is a number up to 65535")


def _verify(started: Started, as_json: bool) -> int:
    fault = words.fault(started.replay, started.classifier.name)
    if as_json:
        print(json.dumps({"runs_on": started.runs_on, **started.replay.to_dict()}))
    else:
        golden, found = started.golden, started.replay
        print(f"Model    {started.classifier.name}, on the {started.runs_on}")
        print(f"Golden   made with {golden.runtime} on {golden.machine}")
        print(f"Against  {found.runtime} on {found.machine}\n")
        print(words.stages(golden, found))
        print(f"\n{started.verdict}" if fault is None else "")
    if fault is not None:
        raise fault
    return 0


def _photos(started: Started, paths: list[Path], as_json: bool) -> int:
    read = broken = 0
    for path in pictures_in(paths):
        prediction = started.predictor.predict_file(path)
        read, broken = read + (prediction.error is None), broken + (prediction.error is not None)
        if as_json:
            print(json.dumps(prediction.to_dict(), ensure_ascii=False), flush=True)
        elif prediction.error is None:
            print(prediction.to_text(), flush=True)
        else:
            _say(prediction.to_text())
    if not read:
        raise UnreadableError(f"none of the {broken} picture(s) could be read")
    return 0


def _camera(started: Started, number: int, as_json: bool) -> int:
    """A line whenever the best guess changes; or each frame, as JSON. Ctrl-C ends it."""
    from edgekit.evaluation.video import Source

    source, last = Source(number), None
    try:
        for frame in source.frames():
            prediction = started.predictor.predict_frame(frame)
            if as_json:
                print(json.dumps(prediction.to_dict(), ensure_ascii=False), flush=True)
            elif prediction.scores[0].label != last:
                last = prediction.scores[0].label
                print(f"{prediction.scores[0].score:7.2%}  {printable(last)}", flush=True)
    finally:
        source.close()
    return 0


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
