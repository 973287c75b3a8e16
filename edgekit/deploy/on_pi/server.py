"""A page for the browser on this machine: drop a photo on it, and it is classified.

It listens on 127.0.0.1 only, and answers only requests that name this machine, so that no page of
the web can reach it by a name that it makes resolve to 127.0.0.1. From another machine:
`ssh -L 8000:localhost:8000 pi@raspberrypi.local`.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from edgekit import images
from edgekit.deploy.on_pi.starting import Started
from edgekit.errors import EdgekitError, RuntimeFailure

_PAGE = Path(__file__).with_name("page.html")
_HERE = ("localhost", "127.0.0.1")
_MOST_BYTES = 64 << 20
#: Of silence in the middle of a request.
_PATIENCE_S = 30
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'self'; img-src blob:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; frame-ancestors 'none'",
}


def serve(started: Started, port: int, notify: Callable[[str], None]) -> int:
    """Serves the page until Ctrl-C.

    Args:
        started: The classifier.
        port: On 127.0.0.1; 0 for a free one.
        notify: Called with where the page is.

    Raises:
        RuntimeFailure: The port is taken, or not for this user.
    """
    try:
        server = _Server(("127.0.0.1", port), started)
    except OSError as error:
        raise RuntimeFailure(
            f"port {port} of 127.0.0.1: {error.strerror or error}",
            f"Choose another one: --http {port + 1}",
        ) from error
    with server:
        notify(f"{started.classifier.name} on the {started.runs_on}. {started.verdict}")
        notify(f"Open http://localhost:{server.server_port}  (Ctrl-C ends it)")
        server.serve_forever()
    return 0


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], started: Started) -> None:
        super().__init__(address, _Handler)
        self.started = started
        self.turn = threading.Lock()  # an interpreter is for one thread at a time

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no fault; others are told, and serving goes on."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _PATIENCE_S
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if not self._is_for_here():
            return
        if self.path == "/":
            self._answer(HTTPStatus.OK, _PAGE.read_bytes(), "text/html; charset=utf-8")
        elif self.path == "/model":
            started = self.server.started
            self._answer_json(
                HTTPStatus.OK,
                {
                    "name": started.classifier.name,
                    "classes": started.classifier.classes,
                    "runs_on": started.runs_on,
                    "verified": started.is_right,
                    "verdict": started.verdict,
                },
            )
        else:
            self._refuse(HTTPStatus.NOT_FOUND, f"{self.path}: there is /, /model and /classify")

    def do_POST(self) -> None:
        """The body of /classify is a picture's file; the answer, JSON as `--json` gives it."""
        if not self._is_for_here():
            return
        length = self.headers.get("Content-Length", "")
        if self.path != "/classify":
            self._refuse(HTTPStatus.NOT_FOUND, f"{self.path}: there is only /classify")
        elif not length.isdecimal():
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "a picture with its length is needed")
        elif int(length) > _MOST_BYTES:
            too_large = f"more than {_MOST_BYTES >> 20} MiB"
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large)
        else:
            self._classify(self.rfile.read(int(length)))

    def _classify(self, data: bytes) -> None:
        try:
            picture = images.decode_bytes(data, "the picture")
            with self.server.turn:
                prediction = self.server.started.predictor.predict_frame(picture)
        except EdgekitError as error:
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, error.message)
        else:
            self._answer_json(HTTPStatus.OK, prediction.to_dict())

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing: what matters is in the answers."""

    def _is_for_here(self) -> bool:
        if self.headers.get("Host", "").rpartition(":")[0] in _HERE:
            return True
        self._refuse(HTTPStatus.FORBIDDEN, "this page is for http://localhost on its machine only")
        return False

    def _refuse(self, status: HTTPStatus, error: str) -> None:
        # What the body holds was not read: the connection can't go on.
        self.close_connection = True
        self._answer_json(status, {"error": error})

    def _answer_json(self, status: HTTPStatus, values: dict[str, Any]) -> None:
        content = json.dumps(values, ensure_ascii=False).encode()
        self._answer(status, content, "application/json; charset=utf-8")

    def _answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
