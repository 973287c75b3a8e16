#!/usr/bin/env python3
"""Classifies photos, a camera, or what a browser sends, with the model in this folder.

See ./classify.py --help and README.md.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE / ".venv"
#: A picture of more isn't decoded: it could take all the memory of a small board.
MOST_PIXELS = 100_000_000

if __name__ == "__main__":
    python = ENVIRONMENT / "bin" / "python"
    if python.exists() and Path(sys.prefix).resolve() != ENVIRONMENT:
        os.execv(python, [str(python), *sys.argv])
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))
    sys.path.insert(0, str(HERE / "lib"))
    try:
        from edgekit.deploy.on_pi.program import main
    except ImportError as error:
        print(f"Error: {error}\n  Run {HERE}/install.sh first.", file=sys.stderr)
        sys.exit(5)
    sys.exit(main(HERE))
