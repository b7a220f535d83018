"""What the test rows say, on a page: figures by class and confusions, predictions against what is true, loss
by place.
"""

from __future__ import annotations

from collections.abc import Sequence

from qtrain_cli.report.page.axes import Canvas, brief, count_text, scaled
from qtrain_cli.report.page.curves import Compared, PointAt, Trace, compared_drawn
from qtrain_cli.report.page.parts import (
    Block,
    DrawingOf,
    Matrix,
    Section,
    Sentences,
    TableCell,
    TableOf,
    cell_of,
)
from qtrain_cli.report.page.svg import dot, drawing, line
from qtrain_cli.results import Scores
from qtrain_cli.results.dossier import ClassFigures, Dossier, Examination

#: Confusions that are named.
_NAMED = 5


def examined_sections(dossier: Dossier, scores: Scores | None) -> tuple[Section, ...]:
    """One for what was examined; none where nothing was."""
    found = dossier.examined
    blocks = [] if found is None else [*_classes(found), *_pairs(found), *_places(found)]
    if found is None or not blocks:
        return ()
    figure = "" if scores is None else f"; test {scores.row.word} here {scores.show(found.figure)}"
    other = "" if found.same_data else ", other data than the record's"
    lead = f"Looked at again on {found.count:,} test rows of '{found.source}'{other}{figure}."
    return (Section("rows", "Row by row", tuple(blocks), lead),)


def _classes(found: Examination) -> list[Block]:
    if not found.classes:
        return []
    names, blocks = tuple(one.name for one in found.classes), list[Block]()
    if found.confusions:
        caption = "How many test rows of each class were given which class"
        blocks.append(Matrix(caption, "true", "predicted", names, found.confusions))
        blocks.append(Sentences(tuple(_confused(names, found.confusions))))
    head = ("class", "test rows", "recall, %", "precision, %", "F1, %")
    table = TableOf("Each class by itself", head, [_class(one) for one in found.classes], numbers=4)
    return [*blocks, table]


def _confused(names: Sequence[str], counts: Sequence[Sequence[int]]) -> list[str]:
    """The commonest mistakes."""
    wrong = [
        (count, names[true], names[given])
        for true, row in enumerate(counts)
        for given, count in enumerate(row)
        if count and true != given
    ]
    worst = sorted(wrong, key=lambda one: -one[0])[:_NAMED]
    if not worst:
        return ["No row was taken for another class."]
    said = ", ".join(f"{true} for {given} ({count:,})" for count, true, given in worst)
    return [f"Most often taken for another class: {said}."]


def _class(one: ClassFigures) -> tuple[TableCell, ...]:
    recall = one.right / one.rows if one.rows else None
    precision = one.right / one.given if one.given else None
    both = one.rows + one.given
    return (
        TableCell(one.name),
        TableCell(f"{one.rows:,}", one.rows),
        *(cell_of(value, _per_cent) for value in (recall, precision, 2 * one.right / both if both else None)),
    )


def _per_cent(share: float) -> str:
    return f"{100 * share:.2f}"


def _pairs(found: Examination) -> list[Block]:
    """Predicted against true, with the line on which both are the same."""
    if not found.pairs:
        return []
    both = scaled([value for pair in found.pairs for value in pair], False)
    plot = Canvas(both, both, height=300)
    parts = plot.frame("true", "predicted", (brief, brief))
    parts.append(line(*plot.at(both.low, both.low), *plot.at(both.high, both.high), "mark"))
    parts += [dot(*plot.at(true, given), 2.4, "point own thin") for true, given in found.pairs]
    said = f"predicted against true values of {len(found.pairs)} test rows"
    return [DrawingOf(drawing(parts, said, plot.height), "On the dotted line a prediction is what is true.")]


def _places(found: Examination) -> list[Block]:
    points = tuple(PointAt(place, loss) for place, loss in found.places)
    if len(points) < 2:
        return []
    given = Compared((Trace("own", "loss", points),), "place in the row", "mean loss", (count_text, brief),
                     powers=False)  # fmt: skip
    drawn = compared_drawn(given, f"mean loss at each of {len(points)} places of a row")
    return [drawn] if drawn else []
