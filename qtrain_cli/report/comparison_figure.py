"""A comparison as a picture: quality against bytes, with the intervals over seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtrain_cli.methods.table import OURS, Contender
from qtrain_cli.report.comparison import title_of
from qtrain_cli.report.pictures import picture
from qtrain_cli.results.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Bounded figures so much worse than the best are cut off: they would squeeze the others into a line.
_DEEPEST = 0.2


def comparison_figure(comparison: Comparison, ending: str) -> bytes:
    """Test figure against bytes, one line a method: ``png``, ``svg`` or ``pdf`` as bytes.

    Raises:
        BadInput: matplotlib is not installed.
    """
    return picture(lambda figure: _draw(figure, comparison), ending, (9, 5.5), 150, 10, "drawing")


def _draw(figure: Figure, comparison: Comparison) -> None:
    axes: Any = figure.subplots()
    for place, row in enumerate(comparison.methods):
        _line(axes, comparison, row, place)
    if comparison.row.bounded:
        if comparison.teacher is not None:
            teacher = comparison.row.scale.factor * comparison.teacher
            axes.axhline(teacher, color="black", linewidth=0.8, linestyle=":")
            axes.annotate("teacher", (0.005, teacher), xycoords=("axes fraction", "data"), va="bottom")
        axes.set_ylim(*_reach(comparison))
    _label(axes, comparison)
    figure.legend(loc="outside right center", frameon=False)


def _line(axes: Any, comparison: Comparison, row: Contender, place: int) -> None:
    """One method: thick for ours, dashed for a control; moved aside a little, to tell error bars apart."""
    points = [point for budget in comparison.budgets if (point := comparison.point(row.name, budget))]
    if not points:
        return
    unit = comparison.row.scale.factor
    shift = 1 + 0.008 * (place - len(comparison.methods) / 2)
    style = (
        {"linewidth": 3.0, "color": "black"} if row.name == OURS else {"linewidth": 1.3, "color": f"C{place}"}
    )
    axes.errorbar(
        [point.budget * shift for point in points],
        [unit * point.mean for point in points],
        yerr=[
            [unit * (point.mean - point.low) for point in points],
            [unit * (point.high - point.mean) for point in points],
        ],
        label=row.name, marker="o", markersize=4, capsize=2, elinewidth=0.8,
        linestyle="--" if row.control else "-", zorder=3 if row.name == OURS else 2, **style,
    )  # fmt: skip


def _label(axes: Any, comparison: Comparison) -> None:
    axes.set_xscale("log")
    axes.set_xticks(comparison.budgets, [f"{budget:,}" for budget in comparison.budgets])
    axes.minorticks_off()
    axes.set_xlabel("bytes of the whole file (log scale)")
    axes.set_ylabel(comparison.row.heading(f"test {comparison.row.word}"))
    axes.set_title(title_of(comparison), fontsize=10)
    axes.grid(alpha=0.3)


def _reach(comparison: Comparison) -> tuple[float, float]:
    """The lowest and highest figure that the picture shows, as people see them."""
    row = comparison.row
    points = [point for budget in comparison.budgets for point in comparison.points(budget)]
    taught = [] if comparison.teacher is None else [comparison.teacher]
    figures = [*taught, *(point.mean for point in points)]
    best = max(figures, key=lambda figure: row.gain(figure, 0.0))
    depths = (row.gain(best, row.worse_first((point.low, point.high))[0]) for point in points)
    depth = min(max(depths, default=_DEEPEST), _DEEPEST)
    beyond = row.gain(0.1 * depth + 1e-3, 0.0)  # with the sign of better
    low, high = sorted((best - row.gain(1.05 * depth, 0.0), best + beyond))
    return row.scale.factor * low, row.scale.factor * high
