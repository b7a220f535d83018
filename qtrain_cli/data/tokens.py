"""Texts of a split as token numbers (N, L): as they come, cut off at the limit, filled up at the end.

    ("a good film",)                 [CLS] a good film [SEP]
    ("a man sleeps", "he is awake")  [CLS] a man sleeps [SEP] he is awake [SEP]

L is the longest row of all splits. They are held in two or four bytes a number, and a batch is cut down to
its own longest row when it goes to the model (`splits.Normalisation`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.data.room import Room
from qtrain_cli.data.tokenizer import Texts, Tokenizer, load_tokenizer, tokenizer_folder
from qtrain_cli.data.words import WordLabels
from qtrain_cli.errors import BadInput
from qtrain_cli.tasks.places import IGNORED

_ADVICE = "--tokenizer FOLDER (or its tokenizer.json) makes tokens of them; in a table drop or encode them"


@dataclass
class TextForm:
    """How texts become tokens. The tokenizer is read when the first text comes; `cut` counts rows cut off,
    `pairs` says whether two texts a row came, `labels` are those of words."""

    said: Path | None = None
    beside: Path | None = None
    most: int | None = None
    cut: int = 0
    longest: int = 0
    pairs: bool = False
    labels: WordLabels = field(default_factory=WordLabels)
    _found: Tokenizer | None = field(default=None, repr=False)

    def tokenizer(self, column: str) -> Tokenizer:
        """The tokenizer. Raises `BadInput` that names the column of texts where there is none."""
        if self._found is None:
            place = tokenizer_folder(self.said, self.beside)
            if place is None:
                raise BadInput(
                    f"the column '{column}' holds texts, and there is no tokenizer for them", _ADVICE
                )
            self._found = load_tokenizer(place, self.beside, self.most)
        return self._found

    @property
    def padding(self) -> int | None:
        """The number that fills rows up; None where no text came."""
        return self._found.padding if self._found else None

    @property
    def separator(self) -> int | None:
        """What ends the first text of each pair, if the model has to be told which of both a token is of."""
        return self._found.separator if self._found and self.pairs else None

    @property
    def told(self) -> tuple[str, ...]:
        """A line on what became of texts, if any came."""
        if self._found is None:
            return ()
        cut = f", {self.cut:,} of them cut off there" if self.cut else ""
        return (
            f"texts by the tokenizer of '{self._found.name}': {self._found.words:,} words, padding"
            f" {self._found.padding}, at most {self._found.limit} tokens{cut}; the longest row has"
            f" {self.longest}",
        )


class TokenStack:
    """Collects a split's rows."""

    def __init__(self, form: TextForm, room: Room, column: str) -> None:
        self._form, self._room = form, room
        self._tokenizer = form.tokenizer(column)
        self._dtype = np.int16 if self._tokenizer.words <= np.iinfo(np.int16).max else np.int32
        self._numbers: list[np.ndarray] = []
        self._lengths: list[np.ndarray] = []

    def add(self, texts: Texts) -> None:
        """The next rows. Raises `BadInput` where there is no room for them."""
        if not texts:
            return
        self._form.pairs = len(texts[0]) == 2
        self._keep(*self._tokenizer(texts))

    def add_words(self, rows: list[list[str]]) -> list[list[int | None]]:
        """The next rows, each a list of words: of which word each token is, None for none. Raises as
        `add`."""
        tokens, places, cut = self._tokenizer.of_words(rows)
        if rows:
            self._keep(tokens, cut)
        return places

    def _keep(self, rows: list[list[int]], cut: int) -> None:
        self._form.cut += cut
        lengths = np.fromiter(map(len, rows), np.int32, len(rows))
        self._room.take(int(lengths.sum()) * self._dtype().itemsize, f"{len(rows):,} texts")
        self._lengths.append(lengths)
        self._numbers.append(np.fromiter((n for row in rows for n in row), self._dtype, int(lengths.sum())))

    def finish(self) -> np.ndarray:
        """All rows (N, L), L the longest of them. Raises `BadInput` where there is no room."""
        lengths = np.concatenate(self._lengths) if self._lengths else np.zeros(0, np.int32)
        width = max(1, int(lengths.max(initial=1)))
        self._form.longest = max(self._form.longest, width)
        self._room.take(
            len(lengths) * width * self._dtype().itemsize, f"{len(lengths):,} texts of {width} tokens"
        )
        filled = np.full((len(lengths), width), self._tokenizer.padding, self._dtype)
        first = 0
        for numbers, count in zip(self._numbers, self._lengths, strict=True):
            part = filled[first : first + len(count)]
            part[np.arange(width) < count[:, None]] = numbers
            first += len(count)
        return filled


def of_one_length(arrays: Arrays) -> Arrays:
    """The same with token rows of all splits filled up to the longest; others as they are."""
    if arrays.padding is None:
        return arrays
    there = arrays.named("x")
    width = max(x.shape[1] for x in there.values())
    filled: dict[str, Any] = {name: _filled(x, width, arrays.padding) for name, x in there.items()}
    if arrays.y_train.ndim == 2 and arrays.y_train.shape == arrays.x_train.shape:  # type: ignore[union-attr]
        filled |= {name: _filled(y, width, IGNORED) for name, y in arrays.named("y").items()}
    return replace(arrays, **filled)


def _filled(x: np.ndarray, width: int, padding: int) -> np.ndarray:
    if x.shape[1] == width:
        return x
    return np.pad(x, ((0, 0), (0, width - x.shape[1])), constant_values=padding)
