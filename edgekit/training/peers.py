"""The workers of a training on several machines: who they are, and that all have come.

TensorFlow waits for a missing worker for ever, deaf to Ctrl-C and SIGTERM, and doesn't notice that
two workers were asked for different things. So they meet before TensorFlow is told of them: the
first worker listens where it will serve later, hears from each of the others what it was asked for,
and answers all of them in what they differ. Imports nothing heavy.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgekit.errors import RuntimeFailure, UsageError

VARIABLE = "TF_CONFIG"
_EXAMPLE = (
    'TF_CONFIG=\'{"cluster": {"worker": ["host1:9000", "host2:9000"]}, '
    '"task": {"type": "worker", "index": 0}}\''
)
#: Seconds that the first worker waits for the last one.
PATIENCE = 300.0
#: Seconds after which it is said who is missing.
_QUIET = 5.0
#: Seconds between two attempts to reach it, and that a single message may take.
_PAUSE, _SLOW = 0.2, 5.0
_LONGEST_LINE = 1 << 16


@dataclass(frozen=True)
class Peers:
    """This worker and the others.

    Attributes:
        addresses: `host:port` of each.
        index: Which one this is; the first is the chief, which writes.
    """

    addresses: tuple[str, ...]
    index: int

    @classmethod
    def from_environment(cls) -> Peers:
        """The workers that the environment variable TF_CONFIG describes.

        Raises:
            UsageError: It is missing, or no such document.
        """
        text = os.environ.get(VARIABLE)
        if not text:
            raise UsageError(
                f"--distribute multiworker needs the environment variable {VARIABLE}",
                f"Set it on every machine, such as {_EXAMPLE}",
            )
        try:
            config = json.loads(text)
            addresses, task = config["cluster"]["worker"], config["task"]
            if set(config["cluster"]) != {"worker"} or task["type"] != "worker":
                raise ValueError("only tasks of the type worker are known")
            index = int(task["index"])
            if not addresses or not 0 <= index < len(addresses):
                raise ValueError(f"task {index} of {len(addresses)} workers")
            for address in addresses:
                _endpoint(address)
        except KeyError as error:
            raise _no_config(f"{error} is missing") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise _no_config(str(error)) from error
        return cls(tuple(addresses), index)

    def meet(
        self,
        request: Mapping[str, Any],
        say: Callable[[str], None] = lambda message: None,
        patience: float = PATIENCE,
    ) -> None:
        """Returns when all workers are there and were asked for the same.

        Args:
            request: What this one was asked for; plain JSON values.
            say: Called where it takes longer, with who is missing.
            patience: Seconds to wait for the last one.

        Raises:
            UsageError: They were asked for different things, which are named.
            RuntimeFailure: A worker didn't come, or this one's port is taken.
        """
        if len(self.addresses) == 1:
            return
        asked = json.loads(json.dumps(request))  # as the others get it
        part = self._gather if self.index == 0 else self._report
        differences = part(asked, say, time.monotonic() + patience)
        if differences:
            raise UsageError(
                f"the workers were asked for different trainings: {'; '.join(differences)}",
                "Start all of them with the same data, options and --resume, and the same folder "
                "to write to.",
            )

    def _gather(
        self, asked: dict[str, Any], say: Callable[[str], None], deadline: float
    ) -> list[str]:
        """The first worker's part: hears all others, and answers them."""
        others, heard = range(1, len(self.addresses)), dict[int, Any]()
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(self._listen())
            answers, quiet = [], True
            while missing := set(others) - set(heard):
                left = deadline - time.monotonic()
                server.settimeout(max(0.01, min(left, _QUIET) if quiet else left))
                try:
                    connection, _ = server.accept()
                except TimeoutError as error:
                    if time.monotonic() > deadline:
                        raise self._alone(missing) from error
                    say(f"Waiting for worker {self._names(missing)}.")
                    quiet = False
                    continue
                stack.enter_context(connection)
                message = _receive(connection)
                if message is not None and message.get("index") in others:
                    heard[message["index"]] = message.get("request")
                    answers.append(connection)
            differences = list(_differences(asked, heard))
            for connection in answers:
                # One that went away meanwhile is missed by TensorFlow.
                with contextlib.suppress(OSError):
                    _send(connection, {"differences": differences})
        return differences

    def _report(
        self, asked: dict[str, Any], say: Callable[[str], None], deadline: float
    ) -> list[str]:
        """Another worker's part: tells the first one, and waits for its answer."""
        host, port = _endpoint(self.addresses[0])
        patient, quiet = time.monotonic() + _QUIET, True
        while time.monotonic() < deadline:
            if quiet and time.monotonic() > patient:
                say(f"Waiting for worker {self._names({0})}.")
                quiet = False
            with (
                contextlib.suppress(OSError),
                socket.create_connection((host, port), timeout=_SLOW) as connection,
            ):
                _send(connection, {"index": self.index, "request": asked})
                connection.settimeout(max(0.01, deadline - time.monotonic()))
                answer = _receive(connection)
                if answer is not None and "differences" in answer:
                    return list(answer["differences"])
            time.sleep(_PAUSE)
        raise self._alone({0})

    def _listen(self) -> socket.socket:
        port = _endpoint(self.addresses[0])[1]
        try:
            return socket.create_server(("", port))
        except OSError as error:
            raise RuntimeFailure(
                f"port {port} can't be listened on ({error.strerror or error})",
                f"Name a free one in {VARIABLE}.",
            ) from error

    def _alone(self, missing: set[int]) -> RuntimeFailure:
        return RuntimeFailure(
            f"worker {self.index} waited in vain for worker {self._names(missing)}",
            f"Start the same command on every machine of {VARIABLE}, and see that they reach each "
            "other.",
        )

    def _names(self, workers: set[int]) -> str:
        return ", ".join(f"{i} ({self.addresses[i]})" for i in sorted(workers))


def require_equal_shares(devices: int, batch: int) -> None:
    """Checks that so many devices, or machines, can share a batch equally.

    Raises:
        UsageError: They can't.
    """
    if batch % devices:
        raise UsageError(
            f"a batch of {batch} can't be shared equally by {devices} devices",
            f"Choose a multiple: --batch {-(-batch // devices) * devices}",
        )


def _endpoint(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError(f"{address!r} is no host:port")
    return host.strip("[]"), int(port)


def _no_config(reason: str) -> UsageError:
    return UsageError(
        f"{VARIABLE} is no description of workers ({reason})", f"An example: {_EXAMPLE}"
    )


def _differences(asked: dict[str, Any], heard: Mapping[int, Any]) -> Iterator[str]:
    for index, other in sorted(heard.items()):
        theirs = other if isinstance(other, dict) else {}
        for name in sorted({*asked, *theirs}):
            if asked.get(name) != theirs.get(name):
                yield (
                    f"{name.replace('_', '-')} is {asked.get(name)!r} on worker 0, "
                    f"{theirs.get(name)!r} on worker {index}"
                )


def _send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _receive(connection: socket.socket) -> dict[str, Any] | None:
    """A line of JSON, or None where something else came, or nothing."""
    if connection.gettimeout() is None:
        connection.settimeout(_SLOW)
    try:
        with connection.makefile("rb") as lines:
            message = json.loads(lines.readline(_LONGEST_LINE))
    except (OSError, ValueError):
        return None
    return message if isinstance(message, dict) else None
