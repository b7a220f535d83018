"""How a setting is said: each field of a record carries the option that fills it, and nothing repeats it.

    validation: Annotated[float, Option("--validation", "Share of train set apart.")] = 0.1

From this one line come the command line, its help, what `qtrain.toml` may hold, and the record's own default.
`declared` reads the annotations; `cli` makes options of typer of them. An option that several records have is
an annotation with a name (`shared`), so that it too is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: What was said on a command line: a value by the option's name, as in ``said["arch-args"]``; None: nothing.
Said = Mapping[str, Any]
#: A value from all that was said.
Rule = Callable[[Said], Any]
#: Refuses, with `UsageError`, an option (its flag) beside which something else had to be said.
Needs = Callable[[str, Said], None]


@dataclass(frozen=True)
class Option:
    """One option of the command line, or with a flag such as ``MODEL`` an argument.

    Args:
        flag: ``--data``, ``--bare/--no-bare`` or ``MODEL``.
        help: a sentence; ``{choices}`` stands for the names of `choices`.
        short: ``-o``.
        choices: the rows of the table that it names one of (or several); a word for a table that only `cli`
            may import (`cli.table.CHOICES`).
        every: where nothing is said, every one of the choices.
        read: makes the value of the text; without it the text's own type is the field's.
        typed: what the command line reads; the field's own type, and text where there is a `read`.
        least: the smallest whole number there is.
        kind: what may stand for it in `qtrain.toml` (`cli.config.VALUE_KINDS`); by the type where none is
            given, ``absent`` for what has no place there.
        needs: called where it was said.
        completes: what a shell proposes beside `choices`: a row of `cli.completion.PROPOSALS`.
    """

    flag: str
    help: str
    short: str = ""
    choices: Iterable[str] | str = ()
    every: bool = False
    read: Callable[[Any], Any] | None = None
    typed: Any = None
    least: int | None = None
    kind: str = ""
    needs: Needs | None = None
    completes: str = ""

    @property
    def name(self) -> str:
        """How `qtrain.toml` and `Said` call it: ``data``, ``bare``, ``model``."""
        return self.flag.partition("/")[0].removeprefix("--").lower()

    @property
    def is_argument(self) -> bool:
        """Whether it goes by its place and not by a flag."""
        return not self.flag.startswith("--")


@dataclass(frozen=True)
class Otherwise:
    """What a field is where nothing is said of it: `rule`'s value, or without one the field's default.

    `text` says it in the help. On a field without an option the rule alone fills it.
    """

    text: str = ""
    rule: Rule | None = None


@dataclass(frozen=True)
class Inside:
    """On a field that is a record: another `Otherwise` for one of its fields."""

    field: str
    otherwise: Otherwise
