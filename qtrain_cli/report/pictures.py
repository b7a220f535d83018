"""What every picture shares: Matplotlib, imported late; bytes without a clock; colours and marks.

The same figures give the same bytes as long as the same Matplotlib draws them.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtrain_cli.errors import missing_package

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Colours that people of any colour vision tell apart (Okabe and Ito 2008).
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000",
)  # fmt: skip
MARKS = "osD^vPX"
#: No clock and no version in a file.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None},
}  # fmt: skip


def picture(
    draw: Callable[[Figure], None],
    ending: str,
    size: tuple[float, float],
    dpi: int,
    font_size: float = 9,
    what: str = "a plot",
) -> bytes:
    """What `draw` puts on a figure of this size (inches), as ``png``, ``svg`` or ``pdf``.

    `what` is its name in the refusal where Matplotlib is missing.

    Raises:
        BadInput: Matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise missing_package(what, "matplotlib", "plot") from None
    style: Any = {"svg.hashsalt": "qtrain", "svg.fonttype": "none", "font.size": font_size}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        out = io.BytesIO()
        figure.savefig(out, format=ending, dpi=dpi, metadata=_METADATA[ending])
    return out.getvalue()
