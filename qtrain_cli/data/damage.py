"""A row that nobody can read: it names itself and ends the reading, or is left out and counted.

    damage.found(DamagedRow("train.csv, line 7, column 'a' is empty"))

With `--skip-damaged` such rows are left out of every split; how many, and which was the first, is said, and
the record counts them. What is wrong with a whole file, a column or the data's form is no damaged row.
"""

from __future__ import annotations

from dataclasses import dataclass

from qtrain_cli.errors import BadInput

#: What else helps, beside mending the row.
SKIP = "--skip-damaged leaves such rows out"


class DamagedRow(BadInput):
    """One row cannot be read. The message names file, row and column."""


@dataclass
class Damage:
    """How many rows were damaged so far; `skips`: whether they may be left out."""

    skips: bool = False
    count: int = 0
    first: str = ""

    def found(self, error: DamagedRow) -> None:
        """Counts the row. Raises the error, with the way on, where rows may not be left out."""
        if not self.skips:
            advice = f"{error.advice}; {SKIP}" if error.advice else SKIP
            raise DamagedRow(error.message, advice) from error.__cause__
        self.count += 1
        self.first = self.first or error.message

    @property
    def said(self) -> tuple[str, ...]:
        """A line on what was left out, if anything was."""
        if not self.count:
            return ()
        return (
            f"{self.count:,} damaged row{'s are' * (self.count > 1) or ' is'} left out, first: {self.first}",
        )
