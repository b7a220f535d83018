"""Train, validation and test as three types, and the normalisation they share.

The splits are deliberately not one class with a flag, nor children of one base: a function that trains
takes a `TrainSplit`, and handing it the test rows is a type error. Validation rows are drawn from train:

    order = argsort(Philox(seed) words)        k = round(share * N), at least 1, at most N - 1; 0 of none
    validation = order[:k]                     train = order[k:]         both put back in file order

Data that have validation rows of their own keep all of train. Philox is counter-based and its stream is
fixed, so the same seed draws the same rows in every version. Left out: stratification, cross-validation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from qtrain_cli.data.inputs import Inputs, NamedInputs, dtype_in_words, row_shape, tensors_in
from qtrain_cli.files.spilled import large_array, let_go
from qtrain_cli.settings import TaskSettings
from qtrain_cli.tasks import TASKS, Task
from qtrain_cli.tasks.objective import Objective
from qtrain_cli.tasks.recognition import Reading
from qtrain_cli.tasks.weights import weights_of

#: Looked at or moved together, so that this takes little memory of its own.
_ROWS_AT_ONCE = 1024
#: Numbers of the outputs that are held to be scored, 256 MB in float32, where a split's are more.
OUTPUTS_AT_ONCE = 2**26


@dataclass(frozen=True)
class Pair:
    """What ends the first of two texts, and what fills rows up: so a model is told which of both a token is
    of."""

    separator: int
    padding: int

    def __call__(self, tokens: Tensor) -> NamedInputs:
        """Tokens (N, L) with their mask and types, as models of Hugging Face take them by name."""
        there, ends = tokens != self.padding, tokens == self.separator
        second = (ends.cumsum(1) > ends.long()) & there  # behind a separator
        parts = {"input_ids": tokens, "attention_mask": there.long(), "token_type_ids": second.long()}
        return NamedInputs(parts)


@dataclass(frozen=True)
class Normalisation:
    """``(x - mean) / std`` per channel (dimension 1); one number serves all channels, none leaves x alone.

    With `tokens` a batch becomes int64, pixels aside; columns at its end that hold `padding` in every row are
    cut off, if there is such a number. Of several inputs the pixels are normalised, or where there are none,
    all floats; integers and truth values stay what they are. Tokens of a `pair` of texts come with mask and
    types, by name.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    tokens: bool = False
    padding: int | None = None
    pair: Pair | None = None

    @overload
    def __call__(self, batch: Tensor) -> Tensor: ...
    @overload
    def __call__(self, batch: Inputs) -> Inputs: ...
    def __call__(self, batch: Inputs) -> Inputs:
        """A batch ``(N, C, ...)`` as float32 of the same shape; uint8 is divided by 255 first."""
        if isinstance(batch, Tensor):
            one = self._of_one(batch)
            return self.pair(one) if self.pair and self.tokens else one
        chosen, plain = normalised_parts(batch), replace(self, mean=(), std=(), tokens=False)
        made = {
            name: (self if name in chosen else plain)._of_one(part) if _is_measured(part) else part
            for name, part in batch.parts.items()
        }
        return NamedInputs(made)

    def _of_one(self, batch: Tensor) -> Tensor:
        if self.tokens and batch.dtype != torch.uint8:
            width = batch.shape[1] if self.padding is None else max(1, int(self._places(batch).max()))
            return batch[:, :width].to(torch.int64)
        x = batch.to(torch.float32)
        if batch.dtype == torch.uint8:
            x = x / 255
        if not self.mean:
            return x
        shape = (1, -1) + (1,) * (x.dim() - 2) if x.dim() > 1 else (-1,)  # (1, C, 1, ...)
        mean, std = (torch.tensor(v, device=x.device).reshape(shape) for v in (self.mean, self.std))
        return (x - mean) / std

    def lengths(self, inputs: Inputs) -> Tensor | None:
        """How many places of each row (N,) are not padding at its end; None where rows are taken whole."""
        if not self.tokens or self.padding is None or not isinstance(inputs, Tensor):
            return None
        return self._places(inputs)

    @property
    def whole(self) -> Normalisation:
        """The same, with rows taken whole."""
        return replace(self, padding=None)

    def _places(self, inputs: Tensor) -> Tensor:
        places = torch.arange(1, inputs.shape[1] + 1, device=inputs.device)
        return torch.cat([((part != self.padding) * places).amax(1) for part in inputs.split(_ROWS_AT_ONCE)])


def _is_measured(part: Tensor) -> bool:
    """Pixels and floats: what is no token, mask or count."""
    return part.is_floating_point() or part.dtype == torch.uint8


def has_pixels(inputs: Inputs) -> bool:
    """Whether these, or some of their parts, are pictures."""
    return any(part.dtype == torch.uint8 for part in tensors_in(inputs))


def normalised_parts(inputs: Inputs) -> dict[str, Tensor]:
    """What a mean and deviation are for, by name; "" for inputs that are one tensor."""
    if isinstance(inputs, Tensor):
        return {"": inputs}
    wanted = (lambda part: part.dtype == torch.uint8) if has_pixels(inputs) else Tensor.is_floating_point
    return {name: part for name, part in inputs.parts.items() if wanted(part)}


@dataclass(frozen=True, eq=False)
class TrainSplit:
    """The rows that gradients may see. inputs ``(N, ...)``, targets ``(N,)`` or ``(N, k)``."""

    inputs: Inputs
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, eq=False)
class ValidationSplit:
    """The rows that choose the best state. inputs ``(N, ...)``, targets ``(N,)`` or ``(N, k)``."""

    inputs: Inputs
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, eq=False)
class TestSplit:
    """The rows that are used once, at the end. inputs ``(N, ...)``, targets ``(N,)`` or ``(N, k)``."""

    __test__ = False  # the name is no pytest class

    inputs: Inputs
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Everything a run needs of its data.

    `task` is the name of a row of the table of tasks, `output_numbers` how many numbers the model's outputs
    for one input are, where they are known. Targets are int64 class numbers ``(N,)``, 0 to
    `classes` - 1, or float32, and then `classes` is None. `labels` are the names of class numbers that have
    other ones, `said` what became of the rows, and `skipped_rows` how many damaged ones were left out (None
    where that was not asked for). `padding` is the number that fills token rows up that were made of texts.
    `sha256` covers train, validation and test, and depends on neither the seed nor the share of validation.
    `asked` is what was said of the task, `class_weights` what came of it, `answers` the test rows' class
    numbers where the targets are a teacher's outputs.
    """

    train: TrainSplit
    validation: ValidationSplit
    test: TestSplit
    task: str
    classes: int | None
    sha256: str
    normalisation: Normalisation
    labels: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    padding: int | None = None
    skipped_rows: int | None = None
    output_numbers: int = 1
    asked: TaskSettings = field(default_factory=TaskSettings)
    class_weights: tuple[float, ...] = ()
    answers: Tensor | None = None

    @property
    def row(self) -> Task:
        """The task's row of the table."""
        return self.objective().row

    def objective(
        self, distill: float = 0.0, temperature: float = 1.0, temperature_end: float | None = None
    ) -> Objective:
        """What is learned of these data from a teacher of this weight, and what a split is worth."""
        at_once = max(1, OUTPUTS_AT_ONCE // self.output_numbers)
        return Objective(
            self.task, distill, temperature, at_once,
            labels=self.labels, answers=self.answers, weights=self.class_weights,
            temperature_end=temperature_end,
        )  # fmt: skip

    @property
    def shown(self) -> Inputs:
        """Rows that a model may be looked at with: those of validation, or of train where there are none."""
        return self.validation.inputs if len(self.validation) else self.train.inputs

    @property
    def rows_in_words(self) -> str:
        """How many rows each split has and what became of them, for a line of progress."""
        splits = (self.train, self.validation, self.test)
        train, validation, test = (f"{len(split):,}" for split in splits)
        return "; ".join([f"{train} train, {validation} validation, {test} test rows", *self.said])

    @property
    def every_target(self) -> Tensor:
        """Those of all splits: what they may be is the data's, and tells nothing of a row."""
        return torch.cat([split.targets for split in (self.train, self.validation, self.test)])

    def read_as(self, reading: Reading) -> Dataset:
        """The same rows for the task that the model's outputs tell."""
        turned = reading.targets
        row, train = TASKS[reading.task], turned(self.train.targets)
        return replace(
            self,
            train=replace(self.train, targets=train),
            validation=replace(self.validation, targets=turned(self.validation.targets)),
            test=replace(self.test, targets=turned(self.test.targets)),
            task=reading.task,
            classes=reading.classes,
            class_weights=weights_of(row, self.asked.class_weights, train, reading.classes),
        )

    def taught(self, ask: Callable[[Inputs], Tensor]) -> Dataset:
        """The same rows with a teacher's outputs for targets; class numbers of the test rows, if they have
        any, are kept to measure by."""
        train = replace(self.train, targets=ask(self.train.inputs))
        validation = replace(self.validation, targets=ask(self.validation.inputs))
        test = replace(self.test, targets=ask(self.test.inputs))
        given = self.test.targets
        answers = given if given.dtype == torch.int64 and given.dim() == 1 else None
        return replace(self, train=train, validation=validation, test=test, answers=answers)

    def for_lookups(self, looks_up: bool) -> Dataset:
        """The same data; for a model that looks its inputs up in a table, whole numbers stay whole, those of
        a CSV file too."""
        tokens = (
            (looks_up or self.padding is not None)
            and not self.normalisation.mean
            and all(are_whole(split.inputs) for split in (self.train, self.validation, self.test))
        )
        return replace(self, normalisation=replace(self.normalisation, tokens=tokens))

    def trimmed(self, trims: bool) -> Dataset:
        """The same data; for a model that takes rows of any length, those of a batch end with its longest."""
        padding = self.padding if trims and self.normalisation.tokens else None
        return replace(self, normalisation=replace(self.normalisation, padding=padding))


def are_whole(inputs: Inputs) -> bool:
    """Whether these may be places in a table: whole numbers from 0 on that float32 holds exactly. Of several
    inputs each says so by its type."""
    if not isinstance(inputs, Tensor):
        return False
    if inputs.dtype != torch.float32:
        return inputs.dtype in (torch.int64, torch.int32, torch.int16)
    return all(map(_in_a_table, inputs.split(_ROWS_AT_ONCE)))


def _in_a_table(rows: Tensor) -> bool:
    let_go()
    return bool(((rows == rows.round()) & (rows >= 0) & (rows < 2**24)).all())


def hold_out(rows: int, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Which of 0..`rows`-1 stay in train, and which become validation; both ascending, int64.

    `rows` is at least 2; neither part is ever empty, but for validation where its share is 0.
    """
    count = min(max(round(share * rows), 1), rows - 1) if share else 0
    order = np.argsort(np.random.Philox(key=seed).random_raw(rows), kind="stable")
    train, validation = np.sort(order[count:]), np.sort(order[:count])
    return torch.from_numpy(train), torch.from_numpy(validation)


def set_apart(rows: Tensor, parts: tuple[Tensor, Tensor], owned: bool) -> tuple[Tensor, Tensor]:
    """Train and validation of rows (N, ...), by their places (`hold_out`).

    Args:
        owned: nobody else holds the rows: they change places, so that both parts are views of them and
            nothing is held twice. `rows` themselves are of no more use then.
    """
    train, validation = parts
    held = _taken(rows, validation)
    if not owned:
        return _taken(rows, train), held
    # Ascending: what comes to a place is read from there or behind it, and never after it was written over.
    for first in range(0, len(train), _ROWS_AT_ONCE):
        part = train[first : first + _ROWS_AT_ONCE]
        rows[first : first + len(part)] = rows[part]
        let_go()
    kept, rest = rows[: len(train)], rows[len(train) :]
    for first in range(0, len(held), _ROWS_AT_ONCE):
        rest[first : first + _ROWS_AT_ONCE] = held[first : first + _ROWS_AT_ONCE]
        let_go()
    return kept, rest


def _taken(rows: Tensor, places: Tensor) -> Tensor:
    """A copy of the rows at these places; a large one lies in a file (`spilled`). Raises `DiskIsFull`."""
    taken = torch.from_numpy(large_array((len(places), *rows.shape[1:]), rows.numpy().dtype))
    for first in range(0, len(places), _ROWS_AT_ONCE):
        part = places[first : first + _ROWS_AT_ONCE]
        taken[first : first + len(part)] = rows[part]
        let_go()
    return taken


def describe_data(dataset: Dataset) -> dict[str, Any]:
    """Rows of each split, the shape and type of one input, task, classes and hash, ready for JSON."""
    return {
        "task": dataset.task,
        "classes": dataset.classes,
        "train_rows": len(dataset.train),
        "validation_rows": len(dataset.validation),
        "test_rows": len(dataset.test),
        "input_shape": row_shape(dataset.train.inputs),
        "input_dtype": dtype_in_words(dataset.train.inputs),
        "data_sha256": dataset.sha256,
    }
