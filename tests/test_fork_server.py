"""That tests are still served: a command line that no longer matches would only make them slow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import fork_server
import pytest

from edgekit.converters import export

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")


def test_commands_and_the_export_child_are_forked_and_other_programs_are_not() -> None:
    child = export._CHILD.format(module=export.Export._module)
    assert fork_server._is_served([sys.executable, "-m", "edgekit", "--help"])
    assert fork_server._is_served([sys.executable, "-c", child])
    assert not fork_server._is_served([sys.executable, "-c", "import edgekit"])
    assert not fork_server._is_served(["ls", "-m", "edgekit"])
    assert fork_server._client is not None
    assert fork_server._client.fits(dict(os.environ))
    assert not fork_server._client.fits({**os.environ, "PYTHONHASHSEED": "7"})


def test_a_forked_command_is_a_child_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgekit", "inspect", "none.tflite"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("Error: none.tflite")
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        process.kill()
        assert process.wait() in (-signal.SIGKILL, 3)  # it may have ended before
