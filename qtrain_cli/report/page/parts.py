"""What a page is made of, as plain data: `render` makes HTML of it, the other files fill it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qtrain_cli.report.text import LabelledTexts

#: How something is meant: colours follow, and a word or a sign beside them says the same.
GOOD, BAD, PLAIN_TONE = "good", "bad", ""
#: Rows of a table that are shown at once, and at most.
SHOWN_ROWS, MOST_TABLE_ROWS = 40, 2000


@dataclass(frozen=True)
class Tile:
    """One figure at the top: what it is, the figure, and a few words about it."""

    label: str
    value: str
    note: str = ""
    tone: str = PLAIN_TONE


@dataclass(frozen=True)
class TableCell:
    """A cell; `key` is what a column is sorted by, the text where it is None."""

    text: str
    key: float | None = None
    tone: str = PLAIN_TONE


def cell_of(figure: float | None, write: Callable[[float], str], unknown: float = -1.0) -> TableCell:
    """A figure; a dash, sorted by `unknown`, where there is none."""
    return TableCell("-", unknown) if figure is None else TableCell(write(figure), figure)


@dataclass(frozen=True)
class TableOf:
    """A table whose columns can be sorted; `numbers` of them, counted from the last, stand to the right."""

    caption: str
    head: tuple[str, ...]
    rows: Sequence[tuple[TableCell, ...]]
    numbers: int = 0
    kind: str = "table"

    @property
    def hidden(self) -> bool:
        """Whether it is shown when it is asked for."""
        return len(self.rows) > SHOWN_ROWS

    @property
    def shown(self) -> Sequence[tuple[TableCell, ...]]:
        """The rows that the page has."""
        return self.rows[:MOST_TABLE_ROWS]

    @property
    def left_out(self) -> int:
        """How many it has not."""
        return len(self.rows) - len(self.shown)


@dataclass(frozen=True)
class Facts:
    """Labels and texts."""

    rows: LabelledTexts
    kind: str = "facts"


@dataclass(frozen=True)
class DrawingOf:
    """A picture, as SVG that has escaped itself; `said` is a line below it. `scrolls`: as wide as it is."""

    svg: str
    said: str = ""
    scrolls: bool = False
    kind: str = "drawing"


@dataclass(frozen=True)
class KeyOf:
    """What the lines of a drawing mean: a class of the style sheet, and a name."""

    rows: tuple[tuple[str, str], ...]
    kind: str = "key"


@dataclass(frozen=True)
class Sentences:
    """Lines of prose."""

    lines: tuple[str, ...]
    kind: str = "sentences"


@dataclass(frozen=True)
class CommandLines:
    """What a reader would type."""

    lines: tuple[str, ...]
    kind: str = "commands"


@dataclass(frozen=True)
class Matrix:
    """Counts by row and column, each with a shade from 0 to 9; the diagonal is what is right."""

    caption: str
    rows_are: str
    columns_are: str
    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    kind: str = "matrix"

    @property
    def shades(self) -> tuple[tuple[int, ...], ...]:
        """What is right by its share of its row, what is wrong beside the commonest mistake."""
        worst = max([1, *(n for y, row in enumerate(self.counts) for x, n in enumerate(row) if x != y)])
        return tuple(
            tuple(-(-9 * n // (max(1, sum(row)) if x == y else worst)) for x, n in enumerate(row))
            for y, row in enumerate(self.counts)
        )


Block = Facts | DrawingOf | KeyOf | Sentences | CommandLines | TableOf | Matrix


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it; `anchor` is where the contents lead."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]
    lead: str = ""


@dataclass(frozen=True)
class Page:
    """A whole page. `missing` says what could stand on it and how."""

    title: str
    kicker: str
    headline: str
    lead: str
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]
    missing: tuple[str, ...] = ()
    warning: str = ""
    footer: tuple[str, ...] = ()
