"""Rows of words with a label for each, as tokens with a label for the first one of each word.

    words     EU     rejects   German               a list of texts
    labels    B-ORG  O         B-MISC               a list of texts or of numbers, as long
    tokens    [CLS]  EU     re  ##jects  German  [SEP]
    targets   -      B-ORG  O   -        B-MISC  -

What has no label does not count (Devlin et al. 2018, section 5.3). A word that is cut off with the end of a
row takes its label along, and so does one that the tokenizer makes no token of.

Numbers of labels are the model's: by the names in its `config.json` (`id2label`), else those of the data's
own schema, else, of texts, in the order of the alphabet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.data.room import shown
from qtrain_cli.errors import BadInput, first_few
from qtrain_cli.files.json_file import read_object
from qtrain_cli.tasks.places import IGNORED

_CONFIG, _UNNAMED = "config.json", "LABEL_"
#: Of labels that are texts.
MOST_LABELS = 10_000
_ADVICE = "write lists of texts, and as many labels"


@dataclass
class WordLabels:
    """The labels of all splits: `declared` by the data, `texts` by number as they come."""

    beside: Path | None = None
    declared: tuple[str, ...] = ()
    texts: dict[str, int] = field(default_factory=dict)
    came: bool = False

    def numbers(self, labels: Sequence[Any]) -> list[int]:
        """Of a row's labels; texts in the order in which they first came."""
        self.came = True
        found = [
            self.texts.setdefault(label, len(self.texts)) if isinstance(label, str) else int(label)
            for label in labels
        ]
        if len(self.texts) > MOST_LABELS:
            raise BadInput(
                f"there are more than {MOST_LABELS:,} different labels of words", "check --columns"
            )
        return found

    def named(self, arrays: Arrays) -> Arrays:
        """The same arrays with the labels in the model's order, and their names."""
        if not self.came:
            return arrays
        names = names_beside(self.beside) or self.declared
        if not self.texts:
            return replace(arrays, names=names)
        if not names:
            names = tuple(sorted(self.texts))
        unknown = [text for text in self.texts if text not in names]
        if unknown:
            raise BadInput(
                f"the label '{shown(unknown[0])}' is none of the model's: {first_few(list(names), 12)}",
                f"write the labels as the model's {_CONFIG} has them (id2label)",
            )
        order = np.array([names.index(text) for text in self.texts])
        made = arrays.with_targets(lambda y: np.where(y == IGNORED, IGNORED, order[np.maximum(y, 0)]))
        return replace(made, names=names)


def names_beside(folder: Path | None) -> tuple[str, ...]:
    """The labels in the order of a model's outputs, by its configuration; none where that names none."""
    path = folder / _CONFIG if folder else None
    if path is None or not path.is_file():
        return ()
    named = read_object(path).get("id2label")
    if not isinstance(named, Mapping):
        return ()
    found = [named.get(str(place)) for place in range(len(named))]
    names = tuple(name for name in found if isinstance(name, str) and not name.startswith(_UNNAMED))
    return names if len(names) == len(set(names)) == len(found) else ()


class Words(Protocol):
    """What makes tokens of words and keeps them (`tokens.TokenStack`)."""

    def add_words(self, rows: list[list[str]]) -> list[list[int | None]]:
        """The next rows: of which word each token is."""

    def finish(self) -> np.ndarray:
        """All tokens (N, L)."""


class WordRows:
    """Collects a split's rows of words and of labels, out of columns of these names."""

    def __init__(self, columns: tuple[str, str], stack: Words, labels: WordLabels) -> None:
        self.words, self.target = columns
        self.stack, self.labels = stack, labels
        self._rows: list[list[int]] = []

    def add(self, sieve: Any) -> None:
        """The next rows, but for those with a word or a label missing."""
        batch = sieve.cut.batch
        sieve.look(self.words, _unlike(batch[self.target]))
        words, labels = (sieve.kept(batch[name]).to_pylist() for name in (self.words, self.target))
        for places, row in zip(self.stack.add_words(words), labels, strict=True):
            self._rows.append(_of_firsts(places, self.labels.numbers(row)))

    def finish(self, left_out: int) -> np.ndarray:
        """Tokens (N, L)."""
        return self.stack.finish()

    def targets(self, width: int) -> np.ndarray:
        """Labels (N, `width`)."""
        filled = np.full((len(self._rows), width), IGNORED, np.int32)
        for target, row in zip(filled, self._rows, strict=True):
            target[: len(row)] = row
        return filled


def _of_firsts(places: Sequence[int | None], labels: Sequence[int]) -> list[int]:
    """The label at the first token of each word: `places` says which word a token is of, None for none."""
    before = (None, *places)
    return [
        IGNORED if word is None or word == last else labels[word]
        for word, last in zip(places, before, strict=False)
    ]


def _unlike(labels: Any) -> Callable[[Any], tuple[np.ndarray, Callable[[int], tuple[str, str]]]]:
    """Rows without words, or with other than one label for each."""

    def look(column: Any) -> tuple[np.ndarray, Callable[[int], tuple[str, str]]]:
        rows = list(zip(column.to_pylist(), labels.to_pylist(), strict=True))
        told = [_wrong(words, given) for words, given in rows]
        return np.array([bool(one) for one in told]), lambda row: (told[row], _ADVICE)

    return look


def _wrong(words: list[Any] | None, labels: list[Any] | None) -> str:
    if not words:
        return "has no words"
    if not labels or len(words) != len(labels):
        return f"has {len(words)} words and {len(labels or ())} labels"
    return "has an empty word or label" if None in words or None in labels else ""
