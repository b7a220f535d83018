"""A comparison on a page: the picture, the verdict, a row a method and budget.

All of it is made of the JSON document, so that one that lies beside an artifact is shown as it was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtrain_cli.methods.table import OURS
from qtrain_cli.report.page.axes import brief, count_text, ticks_of
from qtrain_cli.report.page.curves import Compared, PointAt, Trace, coloured, compared_drawn, key_of
from qtrain_cli.report.page.parts import Block, Page, Section, Sentences, TableCell, TableOf, Tile, cell_of
from qtrain_cli.results.comparison import Comparison
from qtrain_cli.results.comparison_file import points_of, teacher_figure
from qtrain_cli.results.schema import task_of_fields
from qtrain_cli.results.verdict import verdict
from qtrain_cli.tasks import Task

#: Budgets that have a tile.
_MOST_TILES = 6
#: Of bounded figures, how far below the best the picture reaches.
_DEEPEST = 0.2


def comparison_page(comparison: Comparison) -> Page:
    """The page of `compare --html`."""
    document = comparison.to_json(verdict(comparison))
    task, teacher = task_of_fields(document), teacher_figure(document)
    whole = Tile("Teacher", task.show(teacher), f"{document['model_bytes']:,} bytes in float32")
    return Page(
        title=f"{document['model']}: methods at equal bytes",
        kicker="qtrain compare",
        headline=f"{document['model']}: {len(document['methods'])} methods at equal bytes",
        lead=(
            f"Test {task.word} at the same size of the finished file: {document['epochs']:,} epochs,"
            f" {len(document['seeds'])} seeds, {document['test_count']:,} test rows, every figure measured on"
            " what the file gives back."
        ),
        tiles=(*_firsts(document, task), whole),
        sections=(comparison_section(document), _details(document, task), _methods(document)),
        footer=(f"Model SHA-256 {document['model_sha256']}", f"Data SHA-256 {document['data_sha256']}"),
    )  # fmt: skip


def _firsts(document: Mapping[str, Any], task: Task) -> list[Tile]:
    """Who is first at each budget, and where ours stands."""
    tiles = []
    for budget in document["budgets"][:_MOST_TILES]:
        points = [point for point in document["points"] if point["budget"] == budget]
        ours = next((point for point in points if point["method"] == OURS), None)
        if points:
            first = max(points, key=lambda point: task.gain(point["mean"], 0.0))
            note = "" if ours is None or ours is first else f"; ours {task.show(ours['mean'])}"
            tiles.append(Tile(f"At {budget:,} bytes", task.show(first["mean"]), f"{first['method']}{note}"))
    return tiles


def comparison_section(document: Mapping[str, Any]) -> Section:
    """The picture with its key, and the verdict."""
    task, courses = task_of_fields(document), _courses(document)
    said = f"test {task.word} against bytes of the file, a line a method, with 95 % intervals"
    teacher = teacher_figure(document)
    drawn = compared_drawn(
        Compared(
            courses, "bytes of the whole file", task.heading(f"test {task.word}"),
            (count_text, ticks_of(task)),
            None if teacher is None else ("teacher", teacher), reach=_reach(document, task),
        ),
        said,
    )  # fmt: skip
    blocks: list[Block] = [drawn, key_of(courses)] if drawn else []
    return Section(
        "comparison",
        "Beside other methods",
        (*blocks, Sentences(tuple(document["verdict"]))),
        f"Each method at equal bytes of the same model ({document['test_count']:,} test rows,"
        f" seeds {', '.join(map(str, document['seeds']))}); controls of ours are dashed.",
    )


def _courses(document: Mapping[str, Any]) -> tuple[Trace, ...]:
    """A line a method that has a point; ours is the thick one."""
    courses = []
    for place, row in enumerate(document["methods"]):
        kind = "ours" if row["name"] == OURS else coloured(place)
        points = tuple(
            PointAt(point["budget"], point["mean"], point["low"], point["high"])
            for point in points_of(document, row["name"])
        )
        if points:
            courses.append(Trace(kind + " control" * row["control"], row["name"], points))
    return tuple(courses)


def _reach(document: Mapping[str, Any], task: Task) -> tuple[float, float] | None:
    """Where figures are bounded: much worse ones are cut off, which would squeeze the others into a line."""
    means = [point["mean"] for point in document["points"]]
    if not task.bounded or not means:
        return None
    teacher = teacher_figure(document)
    best = max([*means, *([] if teacher is None else [teacher])])
    lows = [point["low"] for point in document["points"]]
    depth = min(max(best - min(lows), 1e-3), _DEEPEST)
    return max(0.0, best - 1.1 * depth), best + 0.12 * depth


def _details(document: Mapping[str, Any], task: Task) -> Section:
    rows = [_point(point, task) for budget in document["budgets"]
            for point in document["points"] if point["budget"] == budget]  # fmt: skip
    figure = task.heading(f"test {task.word}")
    head = ("budget, bytes", "method", figure, "spread", "95 % interval", "file, bytes",
            "numbers", "rate", "bits")  # fmt: skip
    caption = "Mean over the seeds, spread as a standard deviation, the best first at each budget"
    return Section("figures", "Every figure", (TableOf(caption, head, rows, numbers=7),))


def _point(point: Mapping[str, Any], task: Task) -> tuple[TableCell, ...]:
    spread = point["spread"]
    return (
        TableCell(f"{point['budget']:,}", point["budget"]),
        TableCell(point["method"]),
        TableCell(task.bare(point["mean"]), point["mean"]),
        cell_of(spread, task.bare),
        TableCell(f"{task.bare(point['low'])} to {task.bare(point['high'])}", point["low"]),
        TableCell(f"{point['file_bytes']:,}", point["file_bytes"]),
        TableCell(f"{point['numbers']:,}", point["numbers"]),
        TableCell(brief(point["lr"]), point["lr"]),
        TableCell(str(point["bits"] or "-"), point["bits"]),
    )


def _methods(document: Mapping[str, Any]) -> Section:
    names = ("name", "summary", "trained", "tuned")
    rows = [tuple(TableCell(row[name]) for name in names) for row in document["methods"]]
    head = ("method", "what it is", "what is trained and stored", "what was tuned")
    return Section("methods", "The methods", (TableOf("What each method is", head, rows),))
