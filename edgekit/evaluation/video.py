"""Frames in and out: cameras, video files, the drawing on top, and the window."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from edgekit import images
from edgekit.errors import MissingError, RuntimeFailure, UnreadableError
from edgekit.evaluation.predict import Prediction

# FFmpeg reports broken files on stderr by itself; edgekit names them in its own words.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
import cv2

_TITLE = "edgekit"
_ESCAPE = 27


class Source:
    """A video file or a camera, as RGB frames."""

    def __init__(self, origin: Path | int) -> None:
        """Opens it.

        Args:
            origin: A video file, or a camera's number.

        Raises:
            UnreadableError: The file is missing or no video.
            RuntimeFailure: The camera can't be opened.
        """
        if isinstance(origin, Path) and not origin.is_file():
            raise UnreadableError(f"{origin}: no such file")
        self._origin = origin
        self._capture = cv2.VideoCapture(origin if isinstance(origin, int) else str(origin))
        if not self._capture.isOpened():
            if isinstance(origin, Path):
                raise UnreadableError(f"{origin}: not a video that OpenCV can decode")
            raise RuntimeFailure(
                f"camera {origin}: can't be opened",
                "Is it connected, free, and may this user read it? On Linux: ls -l /dev/video*. A "
                "Raspberry Pi camera module needs libcamera: put libcamerify before the command.",
            )

    @property
    def rate(self) -> float:
        """Frames per second as the source says, 25 where it doesn't."""
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        return rate if 0 < rate <= 1000 else 25.0

    def frames(self) -> Iterator[images.Picture]:
        """The frames, uint8[H, W, 3], RGB, until the end.

        Raises:
            UnreadableError: A file without a single frame.
            RuntimeFailure: A camera stopped delivering.
        """
        count = 0
        while True:
            ok, frame = self._capture.read()
            if not ok:
                break
            count += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        if isinstance(self._origin, int):
            raise RuntimeFailure(f"camera {self._origin}: no more pictures after {count}")
        if count == 0:
            raise UnreadableError(f"{self._origin}: a video without a frame that can be decoded")

    def close(self) -> None:
        """Releases the file or the camera."""
        self._capture.release()


class FrameRate:
    """Frames per second over the last second or so of calls."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=30)

    def tick(self) -> float:
        """Counts a frame; 0 for the first."""
        self._times.append(time.perf_counter())
        span = self._times[-1] - self._times[0]
        return (len(self._times) - 1) / span if span > 0 else 0.0


def annotate(frame: images.Picture, prediction: Prediction, rate: float) -> images.Picture:
    """The frame with the best guess and the frame rate written on it.

    Args:
        frame: uint8[H, W, 3], RGB; left as it is.
        prediction: Its first score is shown.
        rate: Frames per second.

    Returns:
        uint8[H, W, 3], RGB.
    """
    drawn = frame.copy()
    best = prediction.scores[0]
    scale = max(frame.shape[0], 120) / 480
    thickness = max(1, round(2 * scale))
    lines = (f"{best.label} {best.score:.0%}", f"{rate:.1f} fps  {prediction.milliseconds:.1f} ms")
    for number, text in enumerate(lines, 1):
        place = (round(10 * scale), round(32 * scale * number))
        # Light letters with a dark edge can be read on anything.
        for colour, extra in (((0, 0, 0), 2 * thickness), ((255, 255, 255), 0)):
            cv2.putText(
                drawn, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness + extra,
                cv2.LINE_AA,
            )  # fmt: skip
    return drawn


class Recorder:
    """Writes frames to a video file, which gets its name when it is complete."""

    def __init__(self, path: Path, rate: float) -> None:
        """Prepares to write; the size is that of the first frame.

        Args:
            path: Where to; `.mp4` (MPEG-4) or `.avi` (Motion JPEG).
            rate: Frames per second.
        """
        self._path, self._rate = path, rate
        # OpenCV chooses the container by the suffix, so the temporary name keeps it.
        self._temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
        self._writer: cv2.VideoWriter | None = None

    def __enter__(self) -> Recorder:
        return self

    def write(self, frame: images.Picture) -> None:
        """Adds a frame, uint8[H, W, 3], RGB.

        Raises:
            MissingError: This OpenCV can't write such a file.
        """
        if self._writer is None:
            codec = "MJPG" if self._path.suffix.lower() == ".avi" else "mp4v"
            self._writer = cv2.VideoWriter(
                str(self._temporary),
                cv2.VideoWriter.fourcc(*codec),
                self._rate,
                (frame.shape[1], frame.shape[0]),
            )
            if not self._writer.isOpened():
                raise MissingError(
                    f"{self._path}: this OpenCV can't write it",
                    "Name a .mp4 or .avi file in a folder you may write to.",
                )
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.release()
        if kind is None and self._temporary.exists():
            self._temporary.replace(self._path)
        self._temporary.unlink(missing_ok=True)


class Window:
    """A window on this machine's screen."""

    def __init__(self) -> None:
        """Checks that there is a screen, and opens the window with the first frame.

        Raises:
            MissingError: There is none, or this OpenCV has no windows.
        """
        # Without a screen Qt aborts the whole process: try in a child.
        child = subprocess.run(
            [sys.executable, "-c", f"import cv2; cv2.namedWindow({_TITLE!r})"],
            capture_output=True,
            check=False,
        )
        if child.returncode != 0:
            raise MissingError(
                "no window can be opened: no screen here, or an OpenCV without windows",
                "Use --no-window, with --output annotated.mp4 to keep the pictures.",
            )

    def show(self, frame: images.Picture) -> bool:
        """Shows a frame, uint8[H, W, 3], RGB; False once q, Esc or the window's close was used."""
        cv2.imshow(_TITLE, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        key = cv2.waitKey(1) & 0xFF
        return key not in (ord("q"), _ESCAPE) and (
            cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1
        )

    def close(self) -> None:
        """Closes it."""
        cv2.destroyAllWindows()
