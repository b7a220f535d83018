"""A comparison for people: terminal and Markdown.

The first table is the one to read: methods down, budgets across, mean and spread over the seeds; a method
that does not reach a budget shows its smallest file there. The second says how each figure came about.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from qtrain_cli.methods.table import OURS
from qtrain_cli.report.markdown import escaped, pipes
from qtrain_cli.report.terminal import stacked, styled
from qtrain_cli.results.comparison import UNREACHED, Comparison, Point
from qtrain_cli.results.verdict import verdict

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_DETAILS = ("method", "budget", "file", "header", "numbers", "rate", "bits", "95 % interval")


def comparison_terminal(comparison: Comparison) -> RenderableType:
    """Both tables and the verdict."""
    from rich.text import Text

    said = [Text(sentence) for sentence in verdict(comparison)]
    return stacked(
        styled(title_of(comparison), "bold"),
        _table(("method", *(f"{budget:,} B" for budget in comparison.budgets)), _overview(comparison)),
        Text(""),
        _table(_DETAILS, _details(comparison)),
        Text("\nVerdict", style="bold"),
        *said,
    )


def comparison_markdown(comparison: Comparison) -> str:
    """The same, with what was trained and tuned of each method."""
    budgets = tuple(f"{budget:,} B" for budget in comparison.budgets)
    figures = pipes(("method", *budgets), _overview(comparison), "---:")
    lines = [f"## {escaped(title_of(comparison))}", "", *figures, ""]
    lines += [f"Mean ± spread (standard deviation) over seeds {_seeds(comparison)}; {_what(comparison)}.", ""]
    lines += [*(f"- {sentence}" for sentence in verdict(comparison)), ""]
    lines += [*pipes(_DETAILS, _details(comparison), "---:"), ""]
    tuned = [(row.name, row.summary, row.trained, row.tuned) for row in comparison.methods]
    head = ("method", "what it is", "what is trained and stored", "what was tuned")
    lines += [*pipes(head, tuned), ""]
    return "\n".join(lines)


def title_of(comparison: Comparison) -> str:
    """Model, figure, and what the teacher has."""
    head = f"{comparison.model}: test {comparison.row.word} at equal bytes"
    return head if comparison.teacher is None else f"{head} (teacher {comparison.show(comparison.teacher)})"


def _what(comparison: Comparison) -> str:
    return (
        f"{comparison.epochs} epochs, {comparison.count:,} test rows, every figure measured on the tensors"
        f" that the finished file gives back; the model takes {comparison.model_bytes:,} bytes in float32"
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
