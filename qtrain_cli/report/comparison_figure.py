"""A comparison as a picture: quality against bytes, with the intervals over seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtrain_cli.methods.table import OURS, Contender
from qtrain_cli.report.comparison import title_of
from qtrain_cli.report.pictures import picture
from qtrain_cli.results.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Accuracies so far below the best are cut off: they would squeeze the others into a line.
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
    if comparison.row.higher_is_better:
        axes.axhline(100 * comparison.teacher, color="black", linewidth=0.8, linestyle=":")
        axes.annotate(
            "teacher", (0.005, 100 * comparison.teacher), xycoords=("axes fraction", "data"), va="bottom"
        )
        axes.set_ylim(*_reach(comparison))
    _label(axes, comparison)
    figure.legend(loc="outside right center", frameon=False)


def _line(axes: Any, comparison: Comparison, row: Contender, place: int) -> None:
    """One method: thick for ours, dashed for a control; moved aside a little, to tell error bars apart."""
    points = [point for budget in comparison.budgets if (point := comparison.point(row.name, budget))]
    if not points:
        return
    unit = 100 if comparison.row.higher_is_better else 1
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
    axes.set_ylabel("test accuracy in %" if comparison.row.higher_is_better else "test error")
    axes.set_title(title_of(comparison), fontsize=10)
    axes.grid(alpha=0.3)


def _reach(comparison: Comparison) -> tuple[float, float]:
    """The lowest and highest accuracy that the picture shows, in %."""
    points = [point for budget in comparison.budgets for point in comparison.points(budget)]
    best = max([comparison.teacher, *(point.mean for point in points)])
    worst = min((point.low for point in points), default=0.0)
    lowest = max(worst, best - _DEEPEST)
    return 100 * (lowest - 0.05 * (best - lowest)), 100 * (best + 0.1 * (best - lowest) + 1e-3)
