"""One way to draw with matplotlib: no pyplot, no settings of the user, the same bytes each time.

matplotlib comes with `edgekit[train]` and is imported only when something is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgekit.errors import MissingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe & Ito's colours, which are told apart without colour vision too.
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
INK, PALE_INK, GRID = "#282828", "#707070", "#E1E1E1"

_DPI = 100
_STYLE = {
    "font.size": 9.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.edgecolor": PALE_INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def png(width: int, height: int, paint: Callable[[Figure], None]) -> bytes:
    """Draws a figure.

    Args:
        width: In pixels.
        height: In pixels.
        paint: Called with the empty figure, whose layout is constrained to it.

    Returns:
        The bytes of a PNG file: the same for the same drawing and version of matplotlib.

    Raises:
        MissingError: matplotlib is not installed.
    """
    try:
        from matplotlib import style
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingError(
            "drawing curves needs matplotlib, which is not installed",
            'pip install "edgekit[train]"',
        ) from error
    # The style of the user or of a notebook is set aside, and comes back.
    with style.context(["default", _STYLE]):
        figure = Figure((width / _DPI, height / _DPI), dpi=_DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        paint(figure)
        buffer = io.BytesIO()
        canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def tidy(axes: Axes) -> None:
    """A quiet grid behind the data, and no frame at the top and right."""
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
