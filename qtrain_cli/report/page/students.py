"""Students and their controls on a page: how they learned, a row a student and method, the verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtrain_cli.report.page.axes import count_text, ticks_of
from qtrain_cli.report.page.curves import Compared, PointAt, Trace, coloured, compared_drawn, key_of, thinned
from qtrain_cli.report.page.parts import Block, Page, Section, Sentences, TableCell, TableOf, Tile, cell_of
from qtrain_cli.report.page.strips import Strip, intervals_drawn
from qtrain_cli.results.schema import task_of_fields
from qtrain_cli.tasks import Task

#: Points of one line, each of which has a dot.
_MOST_DOTS = 60
Courses = Mapping[str, Sequence[float | None]]


def students_page(document: Mapping[str, Any], courses: Courses) -> Page:
    """The page of `compare-students --html`: its JSON, and each row's validation figures by epoch."""
    rows = document["rows"]
    task = task_of_fields(rows[0])
    best = max(rows, key=lambda row: task.gain(row[f"test_{task.word}"], 0.0))
    known = (row[f"teacher_{task.word}"] for row in rows)  # a row of labels has none
    teacher = next((figure for figure in known if figure is not None), None)
    tiles = [Tile("Best", task.show(best[f"test_{task.word}"]), f"{best['name']}, {best['method']}")]
    if teacher is not None:
        tiles.append(Tile("Teacher", task.show(teacher)))
    tiles.append(Tile("Students and methods", str(len(rows)), f"{rows[0]['seeds']} seeds each"))
    return Page(
        title="Students compared",
        kicker="qtrain compare-students",
        headline=f"{len(rows)} ways to teach a student: {task.show(best[f'test_{task.word}'])} by the best",
        lead="Students and their classical controls, over the same seeds and the same test rows.",
        tiles=tuple(tiles),
        sections=(
            Section("verdicts", "Verdict", (Sentences(tuple(document["verdicts"])),)),
            _figures(rows, task),
            *_learning(courses, task),
        ),
    )


def _figures(rows: Sequence[Mapping[str, Any]], task: Task) -> Section:
    strips = [
        Strip(_called(row), row[f"test_{task.word}"], row["low"], row["high"], _kind(row)) for row in rows
    ]
    figure = task.heading(f"test {task.word}")
    head = ("student", "method", "numbers", figure, "spread", "95 % interval", "epochs to 95 %", "seeds")
    table = TableOf("Mean over the seeds", head, [_row(row, task) for row in rows], numbers=6)
    drawn = intervals_drawn(strips, f"{figure}, 95 % intervals", task)
    return Section("figures", "Every figure", (drawn, table))


def _called(row: Mapping[str, Any]) -> str:
    return f"{row['name']}, {row['method']}"


def _kind(row: Mapping[str, Any]) -> str:
    """Classical controls have a colour of their own."""
    return "other" if row["kind"] == "classical" else "own"


def _row(row: Mapping[str, Any], task: Task) -> tuple[TableCell, ...]:
    mean, spread, epochs = row[f"test_{task.word}"], row["spread"], row["epochs_to_95"]
    return (
        TableCell(row["name"]),
        TableCell(row["method"]),
        TableCell(f"{row['parameters']:,}", row["parameters"]),
        TableCell(task.bare(mean), mean),
        cell_of(spread, task.bare),
        TableCell(task.show_interval(row["low"], row["high"]), row["low"]),
        cell_of(epochs, "{:.1f}".format, 1e18),
        TableCell(str(row["seeds"]), row["seeds"]),
    )


def _learning(courses: Courses, task: Task) -> list[Section]:
    """Validation by epochs, a line a row."""
    drawn_of = tuple(
        Trace("ours" if place == 0 else coloured(place - 1), name, _points(figures))
        for place, (name, figures) in enumerate(courses.items())
    )
    beside = task.heading(f"validation {task.word}")
    given = Compared(drawn_of, "epoch", beside, (count_text, ticks_of(task)), powers=False)
    drawn = compared_drawn(given, f"{beside} by epoch, a line a student and method")
    if drawn is None:
        return []
    blocks: tuple[Block, ...] = (drawn, key_of(drawn_of))
    return [Section("learning", "How they learned", blocks, "Of the first seed.")]


def _points(figures: Sequence[float | None]) -> tuple[PointAt, ...]:
    kept = [(number, figure) for number, figure in enumerate(figures, 1) if figure is not None]
    return tuple(PointAt(number, figure) for number, figure in thinned(kept, _MOST_DOTS))
