"""Estimators of the gradient on a page: how far each came by epochs, by circuit runs and by seconds, a row an
estimator, and the plateaus of random circuits. Made of the JSON document of `compare-gradients`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtrain_cli.report.page.axes import brief, count_text
from qtrain_cli.report.page.curves import Compared, PointAt, Trace, coloured, compared_drawn, key_of, thinned
from qtrain_cli.report.page.parts import Block, KeyOf, Page, Section, TableCell, TableOf, Tile, cell_of
from qtrain_cli.results.schema import task_of_fields
from qtrain_cli.tasks import Task

#: Points of one line, and of one whose spread over the seeds is drawn at each.
_MOST_DOTS, _MOST_BARS = 60, 12
#: The reference, which is drawn thick: what the others estimate.
_EXACT = "adjoint"


def gradients_page(document: Mapping[str, Any]) -> Page:
    """The page of `compare-gradients --html`."""
    rows = document["rows"]
    task = task_of_fields(rows[0])
    best = max(rows, key=lambda row: task.gain(row[f"test_{task.word}"], 0.0))
    fewest = min(rows, key=lambda row: row["evaluations"])
    seeds = rows[0]["seeds"]
    by_best = task.show(best[f"test_{task.word}"])
    return Page(
        title="Gradients compared",
        kicker="qtrain compare-gradients",
        headline=f"{len(rows)} ways to estimate a gradient: {by_best} by the best",
        lead="The same training of one student under each, on the same rows; losses are without shots.",
        tiles=(
            Tile("Best", by_best, _called(best)),
            Tile("Fewest circuit runs", f"{fewest['evaluations']:,}", _called(fewest)),
            Tile("Estimators", str(len(rows)), f"{seeds} seed{'s' * (seeds != 1)} each"),
        ),
        footer=(f"Student {document['student'].replace(',', ', ')}",),
        sections=(*_courses(rows), _figures(rows, task), *_plateaus(document)),
    )


def _called(row: Mapping[str, Any]) -> str:
    return f"{row['gradient']}, {'{:,} shots'.format(row['shots']) if row['shots'] else 'exact'}"


def _courses(rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    """The loss along each of the three axes that a training costs something by."""
    axes = (
        ("epoch", "epochs", False),
        ("circuit runs (one circuit on one sample)", "evaluations", True),
        ("seconds of training steps", "seconds", True),
    )
    kinds = {name: _kind(name, place) for place, name in enumerate(dict.fromkeys(map(_called, rows)))}
    drawings: list[Block] = []
    for below, whole, powers in axes:
        traces = tuple(Trace(kinds[_called(row)], _called(row), _points(row, row[whole])) for row in rows)
        shows = (brief if whole == "seconds" else count_text, brief)
        drawn = compared_drawn(
            Compared(
                tuple(trace for trace in traces if trace.points), below, "training loss", shows, powers=powers
            ),
            f"training loss by {below}, a line an estimator",
        )
        drawings += [drawn] if drawn else []
    key = KeyOf(tuple((kind, name) for name, kind in kinds.items()))
    lead = "Bars are a standard deviation over the seeds; estimates from shots are dashed."
    return [Section("learning", "How they learned", (*drawings, key), lead)] if drawings else []


def _kind(name: str, place: int) -> str:
    """The exact gradient is drawn as ours is, and what comes from shots as controls are."""
    colour = "ours" if name.startswith(_EXACT) else coloured(place)
    return colour + " control" * name.endswith("shots")


def _points(row: Mapping[str, Any], whole: float | None) -> tuple[PointAt, ...]:
    """The losses at even steps of the whole; none where that is not known."""
    losses, count = row["losses"], len(row["losses"])
    kept = [(number, loss) for number, loss in enumerate(losses, 1) if loss is not None]
    if not whole or not kept:
        return ()
    spreads = row["loss_spreads"] if count <= _MOST_BARS else [None] * count
    return tuple(_point(whole * number / count, loss, spreads[int(number) - 1])
                 for number, loss in thinned(kept, _MOST_DOTS))  # fmt: skip


def _point(x: float, loss: float, spread: float | None) -> PointAt:
    return PointAt(x, loss) if spread is None else PointAt(x, loss, loss - spread, loss + spread)


def _figures(rows: Sequence[Mapping[str, Any]], task: Task) -> Section:
    figure = task.heading(f"test {task.word}")
    head = ("gradient", "shots", figure, "spread", "last loss", "circuit runs", "shots in all", "seconds")
    table = TableOf("Mean over the seeds", head, [_row(row, task) for row in rows], numbers=7)
    return Section("figures", "Every figure", (table,), "Runs, shots and seconds are of one training.")


def _row(row: Mapping[str, Any], task: Task) -> tuple[TableCell, ...]:
    mean = row[f"test_{task.word}"]
    return (
        TableCell(row["gradient"]),
        TableCell(f"{row['shots']:,}" if row["shots"] else "exact", row["shots"] or 1e18),
        TableCell(task.bare(mean), mean),
        cell_of(row["spread"], task.bare),
        cell_of(row["final_loss"], brief),
        TableCell(f"{row['evaluations']:,}", row["evaluations"]),
        TableCell(f"{row['total_shots']:,}" if row["total_shots"] else "-", row["total_shots"]),
        cell_of(row["seconds"], brief),
    )


def _plateaus(document: Mapping[str, Any]) -> list[Section]:
    """How the gradient of a random circuit shrinks with its qubits, a line a depth."""
    found = document["plateaus"]
    if not found:
        return []
    traces = tuple(
        Trace(coloured(place), _deep(layers), _line(found, layers))
        for place, layers in enumerate(dict.fromkeys(row["layers"] for row in found))
    )
    shots = max((row["shots"] for row in document["rows"]), default=0)
    # Parameter-shift: half the difference of two means whose variances are at most 1 / S.
    mark = (f"noise of {shots:,} shots", 1 / (2 * shots)) if shots else None
    drawn = compared_drawn(
        Compared(traces, "qubits", "variance of d<Z0>/dtheta", (count_text, brief), mark, powers=False,
                 tall=True), "variance of the gradient of random circuits by qubits, a line a depth",
    )  # fmt: skip
    head = ("qubits", "layers", "variance")
    rows = [tuple(TableCell(brief(row[name]), row[name]) for name in ("qubits", "layers", "variance"))
            for row in found]  # fmt: skip
    table = TableOf("Mean over all angles", head, rows, numbers=3)
    lead = "Of random circuits of the student's ansatz: a gradient below the noise of its shots is not seen."
    blocks: list[Block] = [drawn, key_of(traces)] if drawn else []
    return [Section("plateaus", "Barren plateaus", (*blocks, table), lead)]


def _deep(layers: float) -> str:
    return f"{layers:g} layer{'s' * (layers != 1)}"


def _line(found: Sequence[Mapping[str, Any]], layers: float) -> tuple[PointAt, ...]:
    return tuple(PointAt(row["qubits"], row["variance"]) for row in found if row["layers"] == layers)
