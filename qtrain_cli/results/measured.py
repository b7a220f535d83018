"""What only the run itself can say, and the short form in which an artifact stores it.

The stored form is a list, because in an artifact of a few hundred bytes the names of the fields would
outweigh their values:

    [model, figures, train loss, test loss, epochs, seed, device, versions, trust]
                                                                   then note, entry, rest, beside

    figures    [train, validation, test, count, teacher, closeness], then low, high where the interval of the
               test figure is stored, then the task's name where their number does not tell it
    versions   "name=version name=version ...", last the kernel and the threads in one word: "v4*2"
    entry      which of several sets of weights in the model's file was taken; left out where it has but one
    rest       {"output": which of the model's several outputs counts, "skipped": how many damaged rows of the
               data were left out, "precision": of the model's products in training}; each left out where
               there is none to choose, none might be skipped, or all of it was float32
    beside     [trivial figure, further metrics in the order of the task's row]; left out where there are
               none; of a task whose rows are right or wrong, the trivial figure as the number of right ones

Six figures are a classification and eight a regression (`told_by_count` of their rows); others are named.

The note says what keeps the figures from being those that anyone finds with the file's weights (`NOTES`).

The digests of data and model are stored beside it, in whatever form costs the file least.
"""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass, replace
from typing import Any

from qtrain_cli.errors import BadInput, suggestion
from qtrain_cli.results.schema import (
    INTEGER,
    LIST,
    MAYBE,
    NUMBER,
    TABLE,
    TEXT,
    check_digest,
    check_kind,
    check_whole,
)
from qtrain_cli.results.scores import Scores
from qtrain_cli.settings.fit import FLOAT32, PRECISIONS
from qtrain_cli.tasks import TASKS, Task
from qtrain_cli.tasks.task import seven_digits

ONE_DRAW = "the model draws random numbers in evaluation: the figures are those of one draw"
UNREPEATABLE = "the model's outputs differ from call to call, whatever the seed: no figure comes again"
UNCHECKED = "unchecked: the model could not be made a second time to load the weights into"
NOTES = (ONE_DRAW, UNREPEATABLE, UNCHECKED)

_WORD = re.compile(r"[^\s=]+")
_COUNT = re.compile(r"0|[1-9][0-9]{0,17}")
#: The machine's words in a table of versions, at its end (`quantum.machine`).
MACHINE_WORDS = ("kernel", "threads")
_STORED_KINDS = (TEXT, LIST, MAYBE, MAYBE, INTEGER, INTEGER, TEXT, TEXT, TEXT)
_FIGURE_KINDS = (MAYBE, MAYBE, NUMBER, INTEGER, MAYBE, MAYBE)
_INTERVAL_KINDS = (NUMBER, NUMBER)
_PROCESSES = "processes"
#: What may stand behind the trust, by its type and in this order.
_LATER: dict[type, str] = {int: INTEGER, str: TEXT, dict: TABLE}


@dataclass(frozen=True)
class Measured:
    """The measured half of a record.

    `model` is the model file's name, `trust` how it was read; the losses are the task's (cross-entropy, or
    squared error), None when not finite; `versions` names software, kernel, threads and, of several,
    processes, no spaces or ``=``; `figure_note` is one of `NOTES`, or None; `weights_entry` says which of the
    file's sets of weights, `output` which of the model's several outputs, `skipped_rows` how many damaged
    rows were left out, None where none might be; `precision` that of the model's products in training.

    Raises:
        BadInput: a digest that is none, a negative count, or a version that is not one word.
    """

    model: str
    scores: Scores
    train_loss: float | None
    test_loss: float | None
    epochs: int
    seed: int
    device: str
    versions: dict[str, str]
    data_sha256: str
    model_sha256: str
    trust: str
    figure_note: str | None = None
    weights_entry: str | None = None
    output: str | None = None
    skipped_rows: int | None = None
    precision: str = FLOAT32

    def __post_init__(self) -> None:
        for name in ("data_sha256", "model_sha256"):
            check_digest(name, getattr(self, name))
        for name in ("epochs", "seed", *(["skipped_rows"] if self.skipped_rows is not None else [])):
            check_whole(name, getattr(self, name), least=0)
        for word in (*self.versions, *self.versions.values()):
            if not _WORD.fullmatch(word):
                raise BadInput(f"the version {reprlib.repr(word)} is not one word without '='")
        if not _COUNT.fullmatch(self.versions.get(_PROCESSES, "1")):
            raise BadInput(f"{_PROCESSES} is {reprlib.repr(self.versions[_PROCESSES])}; expected: a count")
        if self.figure_note is not None and self.figure_note not in NOTES:
            raise BadInput(
                f"the note on the figures is {reprlib.repr(self.figure_note)}; known: {len(NOTES)}"
            )
        if self.precision not in PRECISIONS:
            raise BadInput(
                f"unknown precision {reprlib.repr(self.precision)}", suggestion(self.precision, PRECISIONS)
            )
        object.__setattr__(self, "train_loss", seven_digits(self.train_loss))
        object.__setattr__(self, "test_loss", seven_digits(self.test_loss))

    @property
    def processes(self) -> int:
        """How many shared each batch."""
        return int(self.versions.get(_PROCESSES, "1"))

    @property
    def generalization_gap(self) -> float | None:
        """Test loss minus train loss; None when one of them is missing."""
        if self.train_loss is None or self.test_loss is None:
            return None
        return seven_digits(self.test_loss - self.train_loss)

    def to_stored(self) -> list[Any]:
        """The list above, ready for `json.dumps`."""
        return [
            self.model,
            _stored_figures(self.scores),
            self.train_loss,
            self.test_loss,
            self.epochs,
            self.seed,
            self.device,
            _written_versions(self.versions),
            self.trust,
            *([] if self.figure_note is None else [NOTES.index(self.figure_note)]),
            *([self.weights_entry] if self.weights_entry else []),
            *([rest] if (rest := _stored_rest(self.output, self.skipped_rows, self.precision)) else []),
            *_stored_beside(self.scores),
        ]

    @classmethod
    def from_stored(cls, stored: Any, data_sha256: str, model_sha256: str) -> Measured:
        """The inverse of `to_stored`, from parsed JSON of any origin. Raises `BadInput`."""
        check_kind("the stored form", LIST, stored)
        _check_kinds("entries", _STORED_KINDS, stored[: len(_STORED_KINDS)])
        model, figures, train_loss, test_loss, epochs, seed, device, versions, trust, *later = stored
        *later, last = [*later, None] if not (later and isinstance(later[-1], list)) else later
        note, entry, (output, skipped, precision) = _stored_later(later)
        return cls(
            model=model,
            scores=_with_beside(_stored_scores(figures), last),
            train_loss=train_loss,
            test_loss=test_loss,
            epochs=epochs,
            seed=seed,
            device=device,
            versions=_stored_versions(versions),
            data_sha256=data_sha256,
            model_sha256=model_sha256,
            trust=trust,
            figure_note=note,
            weights_entry=entry,
            output=output,
            skipped_rows=skipped,
            precision=precision,
        )


def _check_kinds(what: str, kinds: tuple[str, ...], values: list[Any]) -> None:
    if len(values) != len(kinds):
        raise BadInput(f"the stored record has {len(values)} {what}; expected: {len(kinds)}")
    for place, (kind, value) in enumerate(zip(kinds, values, strict=True)):
        check_kind(f"{what}[{place}]", kind, value)


def _stored_rest(output: str | None, skipped: int | None, precision: str) -> dict[str, str]:
    rest = {
        "output": output,
        "skipped": None if skipped is None else str(skipped),
        "precision": "" if precision == FLOAT32 else precision,
    }
    return {name: text for name, text in rest.items() if text}


def _stored_later(later: list[Any]) -> tuple[str | None, str | None, tuple[str | None, int | None, str]]:
    """The note, entry and the rest of a stored record: a number, a text and a table, as far as they are
    there, in this order."""
    kinds = [_LATER.get(type(value), "") for value in later]
    if kinds != [kind for kind in _LATER.values() if kind in kinds]:
        raise BadInput(
            f"the stored record ends with {reprlib.repr(later)}; allowed: a note, an entry, and a table"
        )
    _check_kinds("last entries", tuple(kinds), later)
    found = dict(zip(kinds, later, strict=True))
    note, entry, rest = (found.get(kind) for kind in _LATER.values())
    if note is not None and note >= len(NOTES):
        raise BadInput(f"the stored record has the note {note}; allowed: 0 to {len(NOTES) - 1}")
    if entry == "":
        raise BadInput("the stored record names an entry of no name")
    known = _read_rest(rest or {})
    if rest is not None and (not rest or list(rest.items()) != list(_stored_rest(*known).items())):
        allowed = "the output's name, how many rows were skipped, and the precision"
        raise BadInput(f"the stored record ends with {reprlib.repr(rest)}; allowed: {allowed}")
    return None if note is None else NOTES[note], entry, known


def _read_rest(rest: dict[str, str]) -> tuple[str | None, int | None, str]:
    """The output, the number of skipped rows, and the precision."""
    skipped = rest.get("skipped", "")
    precision = rest.get("precision", FLOAT32)
    return rest.get("output"), int(skipped) if _COUNT.fullmatch(skipped) else None, precision


def _stored_figures(scores: Scores) -> list[Any]:
    splits = [scores.train, scores.validation, scores.test, scores.count]
    return [
        *splits,
        scores.teacher,
        scores.closeness,
        *(scores.stored_interval or ()),
        *([] if scores.row.told_by_count else [scores.task]),
    ]


def _stored_beside(scores: Scores) -> list[Any]:
    """At most one entry."""
    if scores.trivial is None and not scores.metrics:
        return []
    names = [metric.name for metric in scores.row.metrics if metric.name in scores.metrics]
    trivial = scores.trivial
    if trivial is not None and scores.row.derived:
        trivial = round(trivial * scores.count)  # rows are right or wrong: their number is shorter
    return [[trivial, *(scores.metrics[name] for name in names)]]


def _with_beside(scores: Scores, beside: list[Any] | None) -> Scores:
    """The inverse: a record of an earlier version may lack metrics that came later."""
    if beside is None:
        return scores
    names = [metric.name for metric in scores.row.metrics]
    if not 1 <= len(beside) <= 1 + len(names):
        raise BadInput(f"the stored record has {len(beside)} figures beside; expected: {1 + len(names)}")
    _check_kinds("figures beside", (MAYBE,) * len(beside), beside)
    trivial, *values = beside
    if trivial is not None and scores.row.derived:
        check_kind("the number of rows beside", INTEGER, trivial)
        trivial = seven_digits(trivial / scores.count)
    return replace(scores, trivial=trivial, metrics=dict(zip(names, values, strict=False)))


def _stored_scores(figures: list[Any]) -> Scores:
    *numbers, last = figures or [None]
    named = isinstance(last, str)
    numbers = numbers if named else figures
    task = _named_task(last) if named else _task_of_count(len(numbers) > len(_FIGURE_KINDS))
    _check_kinds("figures", _FIGURE_KINDS + (_INTERVAL_KINDS if task.stores_interval else ()), numbers)
    train, validation, test, count, teacher, closeness, *interval = numbers
    stored = (interval[0], interval[1]) if task.stores_interval else None
    return Scores(task.name, train, validation, test, count, teacher, closeness, stored)


def _task_of_count(has_interval: bool) -> Task:
    return next(row for row in TASKS.values() if row.told_by_count and row.stores_interval == has_interval)


def _named_task(name: str) -> Task:
    if name not in TASKS:
        raise BadInput(f"unknown task {reprlib.repr(name)}", suggestion(name, TASKS))
    return TASKS[name]


def _written_versions(versions: dict[str, str]) -> str:
    """The words of a table of versions; those of the machine, which ends it, take a few bytes together."""
    machine = tuple(versions)[-2:] == MACHINE_WORDS and not any(
        "*" in versions[name] for name in MACHINE_WORDS
    )
    named = list(versions.items())[:-2] if machine else versions.items()
    words = [f"{name}={version}" for name, version in named]
    return " ".join([*words, "*".join(versions[name] for name in MACHINE_WORDS)] if machine else words)


def _stored_versions(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in text.split(" ") if text else ():
        name, equals, version = word.partition("=")
        if equals:
            found[name] = version
        else:
            found |= zip(MACHINE_WORDS, _machine_words(word), strict=True)
    return found


def _machine_words(word: str) -> list[str]:
    values = word.split("*")
    if len(values) != len(MACHINE_WORDS):
        raise BadInput(f"the stored record has the version {reprlib.repr(word)}; expected: name=version")
    return values
