"""Rules for columns and splits that all tables share.

The target is the column named `target`, `label` or `y`, in this order of preference, else the last; a `y`
beside an `x` and further columns is a coordinate. `--columns` names it, and the inputs, where that is not so.
One file may hold all splits when its column `split` says ``train``, ``test`` or ``validation`` in every row.

Splits go by their usual names; `--split` names others. Validation rows of the data's own are used as such;
where there are none, qtrain sets some of train apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.data.labels import numbered
from qtrain_cli.data.room import shown
from qtrain_cli.errors import BadInput, suggestion

#: Of one split: numbers (N,), or N texts.
Targets = np.ndarray | list[str]
#: Inputs (N, ...) and N targets.
SplitPart = tuple[np.ndarray, Targets]
TARGET_NAMES = ("target", "label", "y")
SPLIT_COLUMN = "split"
#: Role of a split -> what it is called where nobody says it; the first that is there.
SPLIT_NAMES: dict[str, tuple[str, ...]] = {
    "train": ("train",),
    "test": ("test",),
    "validation": ("validation", "valid", "val", "dev", "eval"),
}
NEEDED_SPLITS = ("train", "test")
#: Splits several columns that are one input: ``table=age+height``.
AND = "+"

#: How pandas writes a row number that nobody asked for.
_INDEX_NAMES = ("", "Unnamed: 0", "__index_level_0__")


@dataclass(frozen=True)
class Roles:
    """Which columns were said to be what (`--columns`); None and () where nothing was."""

    image: str | None = None
    text: str | None = None
    text2: str | None = None
    tokens: str | None = None
    table: tuple[str, ...] = ()
    label: str | None = None
    split: str | None = None

    @classmethod
    def said(cls, named: Mapping[str, str]) -> Roles:
        """Of names by role. Raises `BadInput` for inputs of two kinds, or a second text without a first."""
        table = tuple(part.strip() for part in named.get("table", "").split(AND) if part.strip())
        roles = cls(**{role: name for role, name in named.items() if role != "table"}, table=table)
        kinds = [role for role in ("image", "text", "tokens", "table") if getattr(roles, role)]
        if len(kinds) > 1:
            raise BadInput(
                f"--columns names inputs of {len(kinds)} kinds: {', '.join(kinds)}", "name one kind"
            )
        if roles.text2 and not roles.text:
            raise BadInput("--columns names text2 and no text", "name the first of the pair as text")
        return roles

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that are inputs, if that was said."""
        alone = (self.image, self.text, self.text2, self.tokens)
        return (*(name for name in alone if name), *self.table)

    def refuse_absent(self, names: Sequence[str]) -> None:
        """Raises `BadInput` for a column that was named and is not there, with those that are."""
        for name in (*self.inputs, self.label, self.split):
            if name is not None and name not in names:
                found = ", ".join(shown(one) for one in names)
                raise BadInput(
                    f"there is no column '{name}', which --columns names; there are: {found}",
                    suggestion(name, names),
                )


def refuse_bad_names(names: Sequence[str], roles: Roles) -> None:
    """Raises `BadInput` for a name that stands twice, for one that was said and is absent, and for pandas'
    index, which would leak row order."""
    seen: set[str] = set()
    for position, name in enumerate(names, start=1):
        if name in _INDEX_NAMES and not roles.inputs:
            raise BadInput(
                f"column {position} ('{name}') looks like a row number", "write it with index=False"
            )
        if name in seen:
            raise BadInput(f"the column '{shown(name)}' stands twice", "rename one of them")
        seen.add(name)
    roles.refuse_absent(names)


def target_column(names: Sequence[str]) -> str:
    """Which of `names` (not empty) is the target."""
    plane = len(names) > 2 and "x" in names
    return next((name for name in TARGET_NAMES if name in names and not (plane and name == "y")), names[-1])


def splits_there(
    there: Callable[[str], bool], said: Mapping[str, str], what: str, advice: str
) -> dict[str, str]:
    """Role -> name of the splits to read: what was said, else the usual name that is there.

    Args:
        there: whether the data have a split of a name.
        said: `--split`.
        what: how a split is called in a message, with ``{}`` for its name.
        advice: where train or test is absent and nothing else can be named.

    Raises:
        BadInput: train or test is not there, or one that was named; or two are the same.
    """
    _refuse_paths(said)
    found: dict[str, str] = {}
    for role, usual in SPLIT_NAMES.items():
        names = (said[role],) if role in said else tuple(name for name in usual if name not in said.values())
        name = next(filter(there, names), None)
        if name is None and (role in said or role in NEEDED_SPLITS):
            raise BadInput(
                f"there is no {what.format((*names, role)[0])}", _instead(there, role, said) or advice
            )
        if name is not None:
            found[role] = name
    twice = next((name for name in found.values() if list(found.values()).count(name) > 1), None)
    if twice:
        raise BadInput(f"--split takes '{twice}' for two splits", "give each its own")
    return found


def _refuse_paths(said: Mapping[str, str]) -> None:
    """Raises `BadInput` for a split that is no name: what lies elsewhere is no part of the data."""
    for role, name in said.items():
        if {"/", "\\"} & set(name) or name in (".", ".."):
            raise BadInput(
                f"--split {role}={shown(name)} is a path; allowed: the name of a split",
                "give the folder that holds all splits as --data",
            )


def _instead(there: Callable[[str], bool], role: str, said: Mapping[str, str]) -> str:
    other = next(filter(there, SPLIT_NAMES["validation"]), None)
    if role != "test" or "test" in said or other is None:
        return ""
    return f"--split test={other} takes {other} for it, and sets validation rows of train apart"


def divide(
    x: np.ndarray, y: Targets, splits: Sequence[str], said: Mapping[str, str], left_out: int = 0
) -> Arrays:
    """Rows ``(N, ...)`` by the value of their split column. Raises `BadInput` for any other value, with the
    row's number where none was left out."""
    roles = {name: role for role, usual in SPLIT_NAMES.items() for name in usual}
    roles |= {name: role for role, name in said.items()}
    for row, name in enumerate(splits):
        if name not in roles:
            where = "a row" if left_out else f"row {row}"
            raise BadInput(
                f"{where} has the {SPLIT_COLUMN} '{shown(name)}'; allowed: {' or '.join(SPLIT_NAMES)}",
                "--split train=NAME,test=NAME says what others are",
            )
    parts: dict[str, SplitPart] = {}
    for role in SPLIT_NAMES:
        rows = np.array([row for row, found in enumerate(splits) if roles[found] == role], int)
        if len(rows) or role in NEEDED_SPLITS:
            parts[role] = (x[rows], [y[row] for row in rows] if isinstance(y, list) else y[rows])
    return arrays_of(parts)


def arrays_of(parts: Mapping[str, SplitPart]) -> Arrays:
    """Arrays of the splits by role, targets that are texts as class numbers. Raises `BadInput` for texts that
    are no labels."""
    x = {role: part[0] for role, part in parts.items()}
    texts = [part[1] for part in parts.values() if isinstance(part[1], list)]
    if texts and len(texts) < len(parts):
        raise BadInput("the targets are texts in one split and numbers in another", "write all alike")
    names: tuple[str, ...] = ()
    if texts:
        numbers, names = numbered(*texts)
        y = dict(zip(parts, numbers, strict=True))
    else:
        y = {role: np.asarray(part[1]) for role, part in parts.items()}
    return Arrays(
        x["train"], y["train"], x["test"], y["test"], names,
        x_validation=x.get("validation"), y_validation=y.get("validation"),
    )  # fmt: skip
