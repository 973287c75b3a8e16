"""The export child: reads a model with TensorFlow and writes it as a float32 TFLite file.

TensorFlow lives in this process only. That keeps its 1 GiB out of the parent, where calibration
runs; a crash of its native code can't take the command down; its log stays out of the terminal; and
the parent decodes images while TensorFlow is still being imported.

Protocol: the request is one JSON object on stdin. On stdout, one JSON object a line: `described`
(once the model is read), then `exported`; or `error` at any time. Of a quantization-aware model it
is asked for its answers after that: `scored`.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from edgekit.errors import BY_NAME, EdgekitError, RuntimeFailure, UnreadableError, UsageError
from edgekit.limits import limit_memory

#: The disk is full, its quota is used up, or a file grew past the limit of the process.
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(serve: Callable[[dict[str, Any], TextIO], None] | None = None) -> int:
    """Serves one request.

    Args:
        serve: What is done with the request and the stream of events, where that is not an export.
    """
    events = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # whatever TensorFlow prints goes to the log
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Not RLIMIT_AS: TensorFlow reserves far more addresses than it ever uses.
    limit_memory("RLIMIT_DATA", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    # TensorFlow and Keras raise anything from a damaged or unusual model.
    try:
        (serve or _serve)(request, events)
    except Exception as error:
        # First, since the parent ends this process once it has the error.
        with contextlib.suppress(OSError):  # the log's disk may be what is full
            traceback.print_exc()
        known = _known(error, request)
        send(
            events,
            "error",
            type=next(n for n, cls in BY_NAME.items() if isinstance(known, cls)),
            message=known.message,
            hint=known.hint,
        )
        return known.exit_code
    return 0


def _known(error: Exception, request: dict[str, Any]) -> EdgekitError:
    """An error in edgekit's words."""
    if isinstance(error, EdgekitError):
        return error
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        return RuntimeFailure(
            f"{request['work']}: no space for temporary files ({error.strerror})",
            "Free some space, or set TMPDIR to a folder on another disk.",
        )
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
    return UnreadableError(
        f"{request['path']}: TensorFlow can't work with this model ({reason})",
        "The file is damaged, asks for more memory than there is, or uses what TFLite can't run.",
    )


def _serve(request: dict[str, Any], events: TextIO) -> None:
    from edgekit.converters import graph
    from edgekit.converters.tfmot import learned_ranges

    path, kind = Path(request["path"]), request["kind"]
    size = tuple(request["size"]) if request["size"] else None
    if kind == "savedmodel":
        source = graph.open_savedmodel(path, size)
    else:
        from edgekit.converters import keras_loader
        from edgekit.converters.qat import child, export

        loaded = keras_loader.load(path, kind, request["modules"])
        if export.is_quantization_aware(loaded):
            child.serve(loaded, request, events)
            return
        source = graph.open_keras(path, loaded, size)
    send(events, "described", **source.description)

    work = Path(request["work"])
    probe_input, probe_output = source.probe()
    frozen = source.freeze(path)
    source.release()
    gc.collect()
    learned = None
    if learned_ranges.has_fake_quantization(frozen):
        if request["stock"]:
            raise UsageError(
                f"{path}: was trained with quantization, and --engine tflite would calibrate it",
                "Leave out --engine: the ranges it was trained in are used.",
            )
        separated = learned_ranges.separate(frozen, probe_input, path)
        model, probe_output = separated.model, separated.probe
        learned = {"ranges": separated.ranges, "unlearned": separated.unlearned}
    else:
        model = graph.to_tflite(frozen, path)
    graph.save_probe(work / "probe.npz", probe_input, probe_output)
    (work / "float32.tflite").write_bytes(model)
    if request["stock"]:
        send(events, "exported", model=str(work / "float32.tflite"), learned=learned)
        # The calibration inputs arrive once the parent has decoded them.
        sys.stdin.readline()
        stock = graph.to_tflite_stock(frozen, work / "calibration.npy", request["stock"], path)
        (work / "stock.tflite").write_bytes(stock)
        send(events, "exported", model=str(work / "stock.tflite"))
        return
    send(events, "exported", model=str(work / "float32.tflite"), learned=learned)


def send(events: TextIO, event: str, **values: Any) -> None:
    """Tells the parent something; the values are plain JSON."""
    print(json.dumps({"event": event, **values}), file=events, flush=True)


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, so that nothing is left running."""
    import time

    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
