"""What finite shots and noise leave of an artifact, on a page."""

from __future__ import annotations

from qtrain_cli.report.page.axes import brief, count_text, ticks_of
from qtrain_cli.report.page.curves import Compared, PointAt, Trace, coloured, compared_drawn
from qtrain_cli.report.page.parts import Block, Facts, KeyOf, Page, Section, TableCell, TableOf, Tile
from qtrain_cli.report.sampling import sampled_against
from qtrain_cli.results import SampleCell, SampleRecord


def sampling_page(record: SampleRecord) -> Page:
    """The page of `sample --html`."""
    task = record.row
    best = max(record.cells, key=lambda cell: task.gain(cell.mean, 0.0))
    most = max(record.cells, key=lambda cell: cell.shots or 0)
    shots = f"{most.shots:,} shots" if most.shots else "exact probabilities"
    return Page(
        title=f"{record.artifact} from measured circuits",
        kicker="qtrain sample",
        headline=f"{record.artifact} from measured circuits: {task.show(most.mean)} at {shots}",
        lead=(
            f"Its weights are made of measured frequencies instead of exact probabilities, {record.repeat:,}"
            f" times over, and tested on {record.count:,} rows each time. Exact probabilities have"
            f" {task.show(record.exact)}."
        ),
        tiles=(
            Tile(
                f"Exact test {task.word}", task.show(record.exact), task.show_interval(*record.exact_interval)
            ),
            Tile("Best cell", task.show(best.mean), _named(best)),
            Tile("Circuits", f"{record.circuits:,}", f"{record.qubits} qubits, {record.layers:,} layers"),
        ),
        sections=(
            _picture(record),
            _cells(record),
            Section("compared", "Compare with", (Facts(sampled_against(record)),)),
        ),
        footer=(f"{record.artifact}, SHA-256 {record.artifact_sha256}", f"Data SHA-256 {record.data_sha256}"),
    )


def _named(cell: SampleCell) -> str:
    return f"noise {cell.noise}, {f'{cell.shots:,} shots' if cell.shots else 'exact'}"


def _picture(record: SampleRecord) -> Section:
    """A line a level of noise; exact probabilities have no place on an axis of shots and are in the table."""
    task, courses = record.row, []
    for place, noise in enumerate(dict.fromkeys(cell.noise for cell in record.cells)):
        cells = sorted((cell for cell in record.cells if cell.noise == noise and cell.shots), key=_shots)
        points = tuple(
            PointAt(_shots(cell), cell.mean, *(cell.repetition_interval or (None, None))) for cell in cells
        )
        if points:
            courses.append(Trace("ours" if place == 0 else coloured(place - 1), noise, points))
    shows = (count_text, ticks_of(task))
    said = f"test {task.word} against shots of each circuit, a line a level of noise"
    given = Compared(tuple(courses), "shots of each circuit", task.heading(f"test {task.word}"), shows,
                     ("exact", record.exact), tall=False if task.bounded else None)  # fmt: skip
    drawn = compared_drawn(given, said)
    key = KeyOf(
        tuple((course.kind, "no noise" if course.name == "none" else course.name) for course in courses)
    )
    blocks: tuple[Block, ...] = (drawn, key) if drawn else ()
    return Section("picture", "Figure by shots", blocks, "Whiskers are 95 % intervals over the repetitions.")


def _shots(cell: SampleCell) -> float:
    return float(cell.shots or 0)


def _cells(record: SampleRecord) -> Section:
    task = record.row
    head = ("noise", "shots", task.heading(f"test {task.word}"), "95 % interval", "drop", "error of z")
    rows = [_row(record, cell) for cell in record.cells]
    return Section("cells", "Every figure", (TableOf("A row a level of noise and shots", head, rows, 5),))


def _row(record: SampleRecord, cell: SampleCell) -> tuple[TableCell, ...]:
    task, (low, high) = record.row, cell.interval(record.most)
    drop = record.drop(cell)
    return (
        TableCell(cell.noise),
        TableCell(f"{cell.shots:,}" if cell.shots else "exact", cell.shots or 1e18),
        TableCell(task.bare(cell.mean), cell.mean),
        TableCell(task.show_interval(low, high), low),
        TableCell(task.show_change(drop), drop),
        TableCell(brief(cell.z_error), cell.z_error),
    )
