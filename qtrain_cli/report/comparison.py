"""A comparison for people: terminal, Markdown, and the picture of quality against bytes.

The first table is the one to read: methods down, budgets across, mean and spread over the seeds; a method
that does not reach a budget shows its smallest file there. The second says how each figure came about.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtrain_cli.methods.table import OURS, Contender
from qtrain_cli.report.pictures import picture
from qtrain_cli.results.comparison import UNREACHED, Comparison, Point
from qtrain_cli.results.verdict import verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType
    from rich.table import Table

#: Bounded figures so much worse than the best are cut off: they would squeeze the others into a line.
_DEEPEST = 0.2
_DETAILS = ("method", "budget", "file", "header", "numbers", "rate", "bits", "95 % interval")


def as_terminal(comparison: Comparison) -> RenderableType:
    """Both tables and the verdict."""
    from rich.console import Group
    from rich.text import Text

    said = [Text(sentence) for sentence in verdict(comparison)]
    return Group(
        Text(_title(comparison), style="bold"),
        _table(("method", *(f"{budget:,} B" for budget in comparison.budgets)), _overview(comparison)),
        Text(""),
        _table(_DETAILS, _details(comparison)),
        Text("\nVerdict", style="bold"),
        *said,
    )


def as_markdown(comparison: Comparison) -> str:
    """The same, with what was trained and tuned of each method."""
    budgets = tuple(f"{budget:,} B" for budget in comparison.budgets)
    figures = _pipes(("method", *budgets), _overview(comparison), "---:")
    lines = [f"## {_title(comparison)}", "", *figures, ""]
    lines += [f"Mean ± spread (standard deviation) over seeds {_seeds(comparison)}; {_what(comparison)}.", ""]
    lines += [*(f"- {sentence}" for sentence in verdict(comparison)), ""]
    lines += [*_pipes(_DETAILS, _details(comparison), "---:"), ""]
    tuned = [(row.name, row.summary, row.trained, row.tuned) for row in comparison.methods]
    head = ("method", "what it is", "what is trained and stored", "what was tuned")
    lines += [*_pipes(head, iter(tuned), "---"), ""]
    return "\n".join(lines)


def draw(comparison: Comparison, path: Path) -> bytes:
    """The picture, in the format that the path's ending names.

    Raises:
        BadInput: matplotlib is not installed.
    """
    ending = path.suffix.removeprefix(".")
    return picture(lambda figure: _draw(figure, comparison), ending, (9, 5.5), 150, 10, "drawing")


def _draw(figure: Figure, comparison: Comparison) -> None:
    axes: Any = figure.subplots()
    for place, row in enumerate(comparison.methods):
        _line(axes, comparison, row, place)
    if comparison.row.bounded:
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
    axes.set_title(_title(comparison), fontsize=10)
    axes.grid(alpha=0.3)


def _reach(comparison: Comparison) -> tuple[float, float]:
    """The lowest and highest figure that the picture shows, as people see them."""
    row = comparison.row
    points = [point for budget in comparison.budgets for point in comparison.points(budget)]
    figures = [comparison.teacher, *(point.mean for point in points)]
    best = max(figures, key=lambda figure: row.gain(figure, 0.0))
    depths = (row.gain(best, row.worse_first((point.low, point.high))[0]) for point in points)
    depth = min(max(depths, default=_DEEPEST), _DEEPEST)
    beyond = row.gain(0.1 * depth + 1e-3, 0.0)  # with the sign of better
    low, high = sorted((best - row.gain(1.05 * depth, 0.0), best + beyond))
    return row.scale.factor * low, row.scale.factor * high


def _title(comparison: Comparison) -> str:
    teacher = comparison.show(comparison.teacher)
    return f"{comparison.model}: test {comparison.row.word} at equal bytes (teacher {teacher})"


def _what(comparison: Comparison) -> str:
    return (
        f"{comparison.epochs} epochs, {comparison.count:,} test rows, every figure measured on the tensors"
        f" that the finished file gives back; the teacher takes {comparison.model_bytes:,} bytes in float32"
    )


def _seeds(comparison: Comparison) -> str:
    return ", ".join(map(str, comparison.seeds))


def _overview(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    for row in comparison.methods:
        yield (row.name, *(_shown(comparison, row.name, budget) for budget in comparison.budgets))


def _shown(comparison: Comparison, method: str, budget: int) -> str:
    """A figure with its spread; or the smallest file; or how it ended."""
    point = comparison.point(method, budget)
    if point is None:
        first = next((cell for cell in comparison.cells_of(method, budget) if cell.end != "done"), None)
        if first is None:
            return "-"
        return f"needs {first.file_bytes:,} B" if first.end == UNREACHED else first.end
    figure = comparison.show(point.mean)
    return figure if point.spread is None else f"{figure} ± {comparison.row.bare(point.spread)}"


def _details(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    for budget in comparison.budgets:
        for point in comparison.points(budget):
            yield _detail(comparison, point)


def _detail(comparison: Comparison, point: Point) -> tuple[str, ...]:
    return (
        point.method, f"{point.budget:,}", f"{point.file_bytes:,}", f"{point.header_bytes:,}",
        f"{point.numbers:,}", f"{point.lr:g}", str(point.bits or "-"),
        f"{comparison.show(point.low)} to {comparison.show(point.high)}",
    )  # fmt: skip


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for place, name in enumerate(head):
        table.add_column(Text(name), justify="right" if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row), style="bold" if row[0] == OURS else "")
    return table


def _pipes(head: tuple[str, ...], rows: Iterator[tuple[str, ...]], rule: str) -> list[str]:
    """A table of Markdown; `rule` aligns all columns but the first."""
    lines = [f"| {' | '.join(head)} |", f"|---|{f'{rule}|' * (len(head) - 1)}"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]
