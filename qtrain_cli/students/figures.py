"""The estimators' comparison as a picture: loss by epochs, by circuit runs and by seconds, and the plateaus.

Matplotlib is imported inside the function. The same table gives the same bytes with the same Matplotlib.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

from qtrain_cli.errors import missing_package
from qtrain_cli.results import GradientTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colours that people of any colour vision tell apart (Okabe and Ito 2008), one an estimator.
_COLOURS = {
    "adjoint": "#000000",
    "parameter-shift": "#0072B2",
    "spsa": "#D55E00",
    "finite-difference": "#009E73",
}
_LINES = ("-", "--", ":", "-.")
_MARKS = "osD^vPX"
_METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}


def gradients_figure(table: GradientTable, ending: str) -> bytes:
    """``png``, ``svg`` or ``pdf`` as bytes.

    Raises:
        BadInput: Matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise missing_package("a plot", "matplotlib", "plot") from None
    style: Any = {"svg.hashsalt": "qtrain", "svg.fonttype": "none", "font.size": 9}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(9.0, 6.4), layout="constrained")
        axes = figure.subplots(2, 2)
        _losses(axes[0][0], table, "epoch")
        _losses(axes[0][1], table, "circuit runs (one circuit on one sample)")
        _losses(axes[1][0], table, "seconds of training")
        _plateaus(axes[1][1], table)
        axes[0][0].legend(frameon=False, fontsize=7)
        figure.suptitle(
            f"{table.student.partition(',encoding')[0]}, {table.rows[0].to_json()['seeds']} seeds", fontsize=9
        )
        out = io.BytesIO()
        figure.savefig(out, format=ending, dpi=150, metadata=_METADATA[ending])
    return out.getvalue()


def _losses(axes: Axes, table: GradientTable, by: str) -> None:
    shots = sorted({row.shots for row in table.rows})
    for row in table.rows:
        losses = [math.nan if loss is None else loss for loss in row.losses]
        epochs = [number + 1 for number in range(len(losses))]
        whole = {"epoch": len(losses), "seconds of training": row.mean_seconds}.get(by, row.evaluations)
        if whole is None or not losses:
            continue
        places = [whole * epoch / len(losses) for epoch in epochs]
        label = f"{row.gradient}, {f'{row.shots:,} shots' if row.shots else 'exact'}"
        style = _LINES[shots.index(row.shots) % len(_LINES)]
        axes.plot(places, losses, style, color=_COLOURS[row.gradient], lw=1.3, label=label)
    if by != "epoch":
        axes.set_xscale("log")
    axes.set_xlabel(by)
    axes.set_ylabel("training loss")
    _plain(axes)


def _plateaus(axes: Axes, table: GradientTable) -> None:
    for number, layers in enumerate(dict.fromkeys(row["layers"] for row in table.plateaus)):
        rows = [row for row in table.plateaus if row["layers"] == layers]
        axes.plot(
            [row["qubits"] for row in rows],
            [row["variance"] for row in rows],
            marker=_MARKS[number % len(_MARKS)],
            ms=4,
            lw=1.2,
            color=list(_COLOURS.values())[number % len(_COLOURS)],
            label=f"{layers:g} layers",
        )
    axes.set_yscale("log")
    axes.set_xlabel("qubits")
    axes.set_ylabel("variance of d<Z0>/dθ, random angles")
    axes.legend(frameon=False, fontsize=7)
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.grid(True, color="0.9", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
