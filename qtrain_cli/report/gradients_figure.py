"""The estimators' comparison as a picture: loss by epochs, by circuit runs and by seconds, and the plateaus.

`pictures` makes the bytes.
"""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from qtrain_cli.report.pictures import BLACK, BLUE, GREEN, MARKS, VERMILION, picture
from qtrain_cli.results import GradientRow, GradientTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {"adjoint": BLACK, "parameter-shift": BLUE, "spsa": VERMILION, "finite-difference": GREEN}
_LINES = ("-", "--", ":", "-.")
#: Curves of more epochs than this have no markers.
_MARKED = 12


def gradients_figure(table: GradientTable, ending: str) -> bytes:
    """``png``, ``svg`` or ``pdf`` as bytes.

    Raises:
        BadInput: Matplotlib is not installed.
    """
    return picture(lambda figure: _draw(figure, table), ending, (9.0, 7.2), 150)


def _draw(figure: Figure, table: GradientTable) -> None:
    axes = figure.subplots(2, 2)
    _losses(axes[0][0], table, "epoch")
    _losses(axes[0][1], table, "circuit runs (one circuit on one sample)")
    _losses(axes[1][0], table, "seconds of training steps")
    _plateaus(axes[1][1], table)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.suptitle(_title(table), fontsize=9)


def _title(table: GradientTable) -> str:
    seeds = len(table.rows[0].records)
    bands = "one seed" if seeds == 1 else f"mean and standard deviation of {seeds} seeds"
    student = textwrap.fill(table.student.replace(",", ", "), 120, break_on_hyphens=False)
    return f"{student}\nlosses without shots, {bands}"


def _losses(axes: Axes, table: GradientTable, by: str) -> None:
    from matplotlib.ticker import MaxNLocator

    shots = sorted({row.shots for row in table.rows})
    for row in table.rows:
        _course(axes, row, by, _LINES[shots.index(row.shots) % len(_LINES)])
    if by == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        axes.set_xscale("log")
    axes.set_xlabel(by)
    axes.set_ylabel("training loss")
    _plain(axes)


def _course(axes: Axes, row: GradientRow, by: str, line: str) -> None:
    """One estimator's mean loss, and the band of its spread over seeds."""
    losses = [math.nan if loss is None else loss for loss in row.losses]
    spreads = [spread or 0.0 for spread in row.loss_spreads]
    whole = {"epoch": len(losses), "seconds of training steps": row.mean_seconds}.get(by, row.evaluations)
    if whole is None or not losses:
        return
    places = [whole * (number + 1) / len(losses) for number in range(len(losses))]
    colour, reference = _COLOURS[row.gradient], row.gradient == "adjoint"
    axes.plot(
        places,
        losses,
        line,
        color=colour,
        label=f"{row.gradient}, {f'{row.shots:,} shots' if row.shots else 'exact'}",
        marker="o" if len(losses) <= _MARKED else None,
        ms=3,
        # Other exact gradients lie on adjoint's curve, which is drawn wide and pale below them.
        lw=4.5 if reference else 1.4,
        alpha=0.3 if reference else 1.0,
    )
    low = [loss - spread for loss, spread in zip(losses, spreads, strict=True)]
    high = [loss + spread for loss, spread in zip(losses, spreads, strict=True)]
    axes.fill_between(places, low, high, color=colour, alpha=0.12, lw=0)


def _plateaus(axes: Axes, table: GradientTable) -> None:
    from matplotlib.ticker import MaxNLocator

    for number, layers in enumerate(dict.fromkeys(row["layers"] for row in table.plateaus)):
        rows = [row for row in table.plateaus if row["layers"] == layers]
        axes.plot(
            [row["qubits"] for row in rows],
            [row["variance"] for row in rows],
            marker=MARKS[number % len(MARKS)],
            ms=4,
            lw=1.2,
            color=list(_COLOURS.values())[number % len(_COLOURS)],
            label=f"{layers:g} layer{'s' * (layers != 1)}",
        )
    for shots in sorted({row.shots for row in table.rows if row.shots}):
        # Parameter-shift: half the difference of two means whose variances are at most 1 / S.
        axes.axhline(1 / (2 * shots), color="0.45", ls="--", lw=1)
        axes.annotate(
            f"noise of {shots:,} shots",
            (0, 1 / (2 * shots)),
            (3, 2),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            fontsize=7,
            color="0.35",
        )
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("qubits of a random circuit")
    axes.set_ylabel("Var(∂⟨Z$_0$⟩/∂θ), mean over all θ")
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.grid(True, color="0.9", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
