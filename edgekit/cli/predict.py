"""`edgekit predict`."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import contract_options, force_option
from edgekit.errors import EXIT_INTERRUPTED, UnreadableError, UsageError

if TYPE_CHECKING:
    from edgekit.evaluation import Classifier, Prediction
    from edgekit.overrides import Overrides


@click.command(
    epilog="""\b
Examples:
  edgekit predict model.tflite photo.jpg
  edgekit predict model.tflite photos/ --top 1 --json | jq .scores[0].label
  edgekit predict model.tflite --video drive.mp4 --output labelled.mp4 --no-window
  edgekit predict model.tflite --camera 0
"""
)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("inputs", nargs=-1, type=click.Path(path_type=Path), metavar="[INPUT]...")
@click.option("--video", type=click.Path(path_type=Path), metavar="FILE", help="Classify a video.")
@click.option("--camera", type=click.IntRange(min=0), metavar="N", help="Classify a camera: 0, ...")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the labelled video to this .mp4 or .avi file.",
)
@click.option("--no-window", is_flag=True, help="Open no window; for machines without a screen.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How many guesses to show.",
)
@force_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one line a picture or frame.")
@contract_options
def command(
    model: Path,
    inputs: tuple[Path, ...],
    video: Path | None,
    camera: int | None,
    output: Path | None,
    no_window: bool,
    top: int,
    force: bool,
    as_json: bool,
    overrides: Overrides,
) -> int:
    """Classify images, folders of images (INPUT), a video or a camera with MODEL.

    Scores are probabilities: the model's own, or the softmax of its logits. A Keras file runs as
    its float32 TFLite export. In the window, q or Esc quits.
    """
    from edgekit import api
    from edgekit.files import refuse_overwrite

    if sum((bool(inputs), video is not None, camera is not None)) != 1:
        raise UsageError("give images, or --video, or --camera", "See: edgekit predict --help")
    if output is not None:
        if inputs:
            raise UsageError("--output goes with --video or --camera")
        if output.suffix.lower() not in (".mp4", ".avi"):
            raise UsageError(f"--output {output}: the video is a .mp4 or an .avi file")
        refuse_overwrite(output, force=force)
    classifier = api.open_classifier(model, overrides)
    if inputs:
        return _images(classifier, inputs, top, as_json)
    origin = video if video is not None else camera
    assert origin is not None
    return _video(classifier, origin, output, no_window, top, as_json)


def _images(classifier: Classifier, inputs: tuple[Path, ...], top: int, as_json: bool) -> int:
    from edgekit.evaluation import predict

    read, broken, milliseconds = 0, 0, 0.0
    for prediction in predict(classifier, inputs, top):
        _show(prediction, as_json)
        if prediction.error is None:
            read += 1
            milliseconds += prediction.milliseconds
        else:
            broken += 1
    if not read:
        raise UnreadableError(f"none of the {broken} picture(s) could be read")
    if not as_json:
        trouble = f", {broken} could not be read" if broken else ""
        click.echo(f"{read} picture(s), {milliseconds / read:.1f} ms each{trouble}.")
    return 0


def _video(
    classifier: Classifier,
    origin: Path | int,
    output: Path | None,
    no_window: bool,
    top: int,
    as_json: bool,
) -> int:
    from edgekit.evaluation import Predictor
    from edgekit.evaluation.video import FrameRate, Recorder, Source, Window, annotate
    from edgekit.report.table import printable

    interrupted = False
    frames, milliseconds, last = 0, 0.0, ""
    with contextlib.ExitStack() as stack:
        source = Source(origin)
        stack.callback(source.close)
        window = None if no_window else Window()
        if window is not None:
            stack.callback(window.close)
        recorder = stack.enter_context(Recorder(output, source.rate)) if output else None
        predictor, rate = Predictor(classifier, top), FrameRate()
        try:
            for frame in source.frames():
                prediction = predictor.predict_frame(frame)
                drawn = annotate(frame, prediction, rate.tick())
                frames += 1
                milliseconds += prediction.milliseconds
                if recorder is not None:
                    recorder.write(drawn)
                if as_json:
                    _show_json({"frame": frames - 1, **prediction.to_dict()})
                elif prediction.scores[0].label != last:
                    last = prediction.scores[0].label
                    score = prediction.scores[0].score
                    click.echo(f"frame {frames - 1}: {printable(last)} {score:.1%}")
                if window is not None and not window.show(drawn):
                    break
        except KeyboardInterrupt:
            # What was recorded so far is a whole video, and the usual way to end a camera's.
            interrupted = True
    if not as_json and frames:
        click.echo(f"{frames} frame(s), {milliseconds / frames:.1f} ms each.")
        if output is not None:
            click.echo(f"Wrote {output}")
    return EXIT_INTERRUPTED if interrupted and isinstance(origin, Path) else 0


def _show(prediction: Prediction, as_json: bool) -> None:
    if as_json:
        _show_json(prediction.to_dict())
    else:
        click.echo(prediction.to_text(), err=prediction.error is not None)


def _show_json(document: dict[str, object]) -> None:
    # click.echo flushes after every line, so that a reader at the other end of a pipe sees it.
    click.echo(json.dumps(document, ensure_ascii=False))
